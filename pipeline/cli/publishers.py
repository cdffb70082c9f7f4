"""Whether the publishers of all sources respond, asked all at once and briefly: for `doctor`."""

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
NO_HEAD = 501  # from a server that knows no HEAD, but is there
_NOT_ASKED = ("page", "licence_page")  # addresses for people


def silent(here: Settings, sources: Iterable[str], seconds: float = SECONDS) -> list[str]:
    """The publishers that do not respond, each with the sources that need it and why.

    Each host is sent one HEAD request without parameters, by way of mirrors and proxies; any
    response below 500 will do. One line for all when none responds.
    """
    hosts: dict[str, tuple[str, list[str]]] = {}
    for source in sources:
        for url in addresses(here, source):
            host = urlsplit(url).netloc
            hosts.setdefault(host, (url, []))[1].append(source)
    troubles = _ask_all(here, {host: url for host, (url, _) in hosts.items()}, seconds)
    if hosts and len(troubles) == len(hosts):
        host, why = next(iter(troubles.items()))
        return [f"no publisher responds: see to the network ({host}: {why})"]
    return [
        f"{host} does not respond ({why}): {', '.join(dict.fromkeys(hosts[host][1]))} would keep "
        "the last good data"
        for host, why in troubles.items()
    ]


def addresses(here: Settings, source: str) -> list[str]:
    """The addresses that a source is read from: those of its snapshots, else of its script."""
    found = [url for url in snapshot.addresses(here, source) if _host(url)]
    return found or _in_script(ROOT / "api" / f"{source}.py")


def _in_script(path: Path) -> list[str]:
    """The addresses in a script's code; not those in its texts, nor of pages for people."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError):
        return []  # its own checks say so
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
    """Whether what stands there is a docstring, or the address of a page."""
    return isinstance(node, ast.Expr) or (isinstance(node, ast.keyword) and node.arg in _NOT_ASKED)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _ask_all(here: Settings, urls: dict[str, str], seconds: float) -> dict[str, str]:
    """Why hosts do not respond, by host. Names are resolved without a time limit: by daemons."""
    why = dict.fromkeys(urls, f"no response within {seconds:g} s")
    threads = []
    for host, url in urls.items():

        def ask(host: str = host, url: str = url) -> None:
            if trouble := _trouble(here, url, seconds):
                why[host] = trouble
            else:
                why.pop(host, None)

        threads.append(threading.Thread(target=ask, daemon=True))
        threads[-1].start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    return dict(why)


def _trouble(here: Settings, url: str, seconds: float) -> str:
    """What is wrong with a response to a URL, or why there is none; empty when all is well."""
    scheme, host, path, _, _ = urlsplit(network.mirrored(here, url))
    asked = urlunsplit((scheme, host, path or "/", "", ""))
    with requests.Session() as session:
        session.auth = lambda request: request  # credentials of ~/.netrc are nobody's business here
        session.headers["User-Agent"] = here.user_agent
        try:
            login = network.login(here, url)
            response = session.head(asked, auth=login, timeout=seconds, allow_redirects=False)
        except (requests.exceptions.RequestException, ValueError) as error:
            return redact(framing.reason(error))[:200]
    is_down = response.status_code >= 500 and response.status_code != NO_HEAD
    return f"status {response.status_code}" if is_down else ""
