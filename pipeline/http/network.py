"""Is there a network at all? Asked before the first request, so that an offline night is short.

The hosts asked are the one about to be used and those of the addresses the caller knows, through
MIRRORS and proxies where those are set; no other is ever tried.
"""

import json
import re
import socket
import threading
import time
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes, urljoin, urlsplit, urlunsplit

from requests.auth import HTTPBasicAuth
from requests.utils import get_environ_proxies, select_proxy

from pipeline import durable, runs
from pipeline.settings import Settings

PROBE_SECONDS = 6.0  # a resolver that lost one packet asks again after 5 s
LATER_PROBE_SECONDS = 2.0  # of a further host, when this run found no network already
_PORTS = {"http": 80, "https": 443}
_SOCKS_PORT = 1080
_ORIGIN = re.compile(r"(https?):(.+:[0-9]+)")  # scheme:host:port

Endpoint = tuple[str, int]  # host, port


def joined(url: str, link: str) -> str:
    """The address that a link leads to, from where it stands; empty when it is no address."""
    try:
        target = urljoin(url, link)
        is_one = urlsplit(target).port != 0
    except ValueError:  # `https://[::1`, or a port that is none
        return ""
    return target if is_one else ""


def mirrored(settings: Settings, url: str) -> str:
    """The address that is really asked: MIRRORS maps a host to a base URL.

    Every host that is not named there goes below the base URL of `*`, as `base/host/path`; where
    it is not https at port 443, as `base/scheme:host:port/path`. The user and password of a mirror
    are not in it: they are `login`.
    """
    parts, base = urlsplit(url), _mirror(settings, url)
    if not base:
        return url
    scheme, netloc, path, _, _ = urlsplit(base)
    base = urlunsplit((scheme, netloc.rpartition("@")[2], path, "", ""))
    return base + urlunsplit(("", "", parts.path, parts.query, ""))


def login(settings: Settings, url: str) -> HTTPBasicAuth | None:
    """User and password of the mirror that is asked for a URL; None without them."""
    parts = urlsplit(_mirror(settings, url))
    if parts.username is None:
        return None
    user, password = unquote_to_bytes(parts.username), unquote_to_bytes(parts.password or "")
    return HTTPBasicAuth(user, password)


def _mirror(settings: Settings, url: str) -> str:
    """The base URL, with user and password, that stands for the host of a URL; empty without."""
    base = settings.mirrors.get((urlsplit(url).hostname or "").lower())
    if not base and "*" in settings.mirrors:
        base = f"{settings.mirrors['*']}/{_origin(url)}"
    return base or ""


def below(url: str) -> str:
    """What stands below the base URL of `*` for a URL: its origin, path and query."""
    parts = urlsplit(url)
    return _origin(url) + urlunsplit(("", "", parts.path, parts.query, ""))


def url_of(path: str) -> str:
    """The URL that stands below the base URL of `*` in this form, as `below` writes it."""
    origin, slash, rest = path.partition("/")
    found = _ORIGIN.fullmatch(origin)
    return f"{found[1]}://{found[2]}{slash}{rest}" if found else f"https://{path}"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    port = parts.port or _PORTS.get(parts.scheme, "")
    is_usual = (parts.scheme, port) == ("https", _PORTS["https"])
    return host if is_usual else f"{parts.scheme}:{host}:{port}"


def proxy_of(url: str) -> str | None:
    """The proxy that requests for a URL go through, by the environment; None without one."""
    return select_proxy(url, get_environ_proxies(url))


def is_down(settings: Settings, url: str, others: Iterable[str]) -> bool:
    """True when neither the host of `url` nor that of any other URL can be connected to.

    What one script finds serves the others of the same run (`data/state/network.json`).
    """
    run = runs.parent_id()
    noted = _noted(settings, run)
    if noted.get("is_down") is False:
        return False
    tried = {(host, port) for host, port in noted.get("tried", [])}
    endpoints = {_endpoint(settings, known) for known in [url, *others]}
    seconds = LATER_PROBE_SECONDS if tried else PROBE_SECONDS
    down = not _any_answers(endpoints - tried, seconds)
    if run:
        answer = {"run": run, "is_down": down, "tried": sorted(endpoints | tried)}
        durable.write_json(settings.state / "network.json", answer)
    return down


def _noted(settings: Settings, run: str) -> dict:
    """What was found earlier in this run; empty when nothing was."""
    try:
        noted = json.loads((settings.state / "network.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return noted if run and isinstance(noted, dict) and noted.get("run") == run else {}


def _any_answers(endpoints: set[Endpoint], seconds: float) -> bool:
    """Whether one of the endpoints accepts a connection in time.

    Every address of every host is tried at once, since one family of addresses may be broken. The
    threads are daemons: name resolution cannot be given a time limit, and must not hold up the end
    of the process either.
    """
    answered = threading.Event()
    threads: list[threading.Thread] = []

    def start(work, *arguments) -> None:
        threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        threads[-1].start()

    def resolve(host: str, port: int) -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        for family, kind, protocol, _, address in found:
            start(connect, family, kind, protocol, address)

    def connect(family, kind, protocol, address) -> None:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.settimeout(seconds)
                probe.connect(address)
        except OSError:
            return
        answered.set()

    deadline = time.monotonic() + seconds
    for endpoint in endpoints:
        start(resolve, *endpoint)
    while any(thread.is_alive() for thread in list(threads)) and time.monotonic() < deadline:
        if answered.wait(0.02):
            break
    return answered.is_set()


def _endpoint(settings: Settings, url: str) -> Endpoint:
    """Where a request for a URL would connect to: its host, its mirror, or a proxy."""
    asked = mirrored(settings, url)
    if proxy := proxy_of(asked):
        asked = proxy if "://" in proxy else f"http://{proxy}"
    parts = urlsplit(asked)
    return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, _SOCKS_PORT)
