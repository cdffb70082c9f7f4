"""Which publishers do not respond; all are asked at once and briefly, for `doctor`."""

import ast
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TypeGuard
from urllib.parse import urlsplit, urlunsplit

import requests

from pipeline.http import framing, network
from pipeline.raw import snapshot
from pipeline.settings import ROOT, Settings, redact

SECONDS = 8.0  # for all of them
NO_HEAD = 501  # from a server that does not support HEAD, but is there
_PAGES = ("page", "licence_page")  # addresses for people


def silent(here: Settings, sources: Iterable[str], seconds: float = SECONDS) -> list[str]:
    """A line on each publisher that does not respond: why, and which sources need it.

    Each host gets one HEAD request without parameters, through mirrors and proxies; any status
    below 500 is a response. If no publisher responds, there is one line for all.
    """
    hosts: dict[str, tuple[str, list[str]]] = {}
    for source in sources:
        for url in addresses(here, source):
            host = urlsplit(url).netloc
            hosts.setdefault(host, (url, []))[1].append(source)
    problems = _ask_all(here, {host: url for host, (url, _) in hosts.items()}, seconds)
    if hosts and len(problems) == len(hosts):
        host, why = next(iter(problems.items()))
        return [f"no publisher responds: check the network ({host}: {why})"]
    return [
        f"{host} does not respond ({why}): {', '.join(dict.fromkeys(hosts[host][1]))} would keep "
        "the last good data"
        for host, why in problems.items()
    ]


def addresses(here: Settings, source: str) -> list[str]:
    """The addresses of a source: those in its snapshots, otherwise those in its script."""
    urls = [url for url in snapshot.addresses(here, source) if _host(url)]
    return urls or _in_script(ROOT / "api" / f"{source}.py")


def _in_script(path: Path) -> list[str]:
    """The addresses in the code of a script, except those in docstrings and of pages for people."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError):
        return []  # other checks report it
    skipped = {id(part.value) for part in ast.walk(tree) if _is_for_people(part)}
    texts = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in skipped
    )
    return [text for text in texts if text.startswith(("https://", "http://")) and _host(text)]


def _is_for_people(node: ast.AST) -> TypeGuard[ast.Expr | ast.keyword]:
    """Whether a node is a docstring, or the address of a page."""
    return isinstance(node, ast.Expr) or (isinstance(node, ast.keyword) and node.arg in _PAGES)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _ask_all(here: Settings, urls: dict[str, str], seconds: float) -> dict[str, str]:
    """Why hosts do not respond, by host.

    Names are resolved without a time limit, so the threads are daemons and may outlast this.
    """
    why = dict.fromkeys(urls, f"no response within {seconds:g} s")
    threads = []
    for host, url in urls.items():

        def ask(host: str = host, url: str = url) -> None:
            if problem := _problem(here, url, seconds):
                why[host] = problem
            else:
                why.pop(host, None)

        threads.append(threading.Thread(target=ask, daemon=True))
        threads[-1].start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    return dict(why)


def _problem(here: Settings, url: str, seconds: float) -> str:
    """What is wrong with the response to a URL, or why there is none; empty if it is good."""
    scheme, host, path, _, _ = urlsplit(network.mirrored(here, url))
    address = urlunsplit((scheme, host, path or "/", "", ""))
    with requests.Session() as session:
        session.auth = lambda request: request  # no credentials from ~/.netrc
        session.headers["User-Agent"] = here.user_agent
        try:
            login = network.login(here, url)
            response = session.head(address, auth=login, timeout=seconds, allow_redirects=False)
        except (requests.exceptions.RequestException, ValueError) as error:
            return redact(framing.reason(error))[:200]
    is_down = response.status_code >= 500 and response.status_code != NO_HEAD
    return f"status {response.status_code}" if is_down else ""
