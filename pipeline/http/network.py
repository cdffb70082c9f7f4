"""Mirrors, proxies, and whether there is a network at all.

The network is probed before the first request, so that a night offline is short: by connecting to
the host of that request and to those of the other URLs that the caller gives, by way of MIRRORS
and proxies. No other host is ever contacted.
"""

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
LATER_PROBE_SECONDS = 2.0  # for another host, when this run has found no network before
_PORTS = {"http": 80, "https": 443}
_SOCKS_PORT = 1080
_ORIGIN = re.compile(r"(https?):(.+:[0-9]+)")  # scheme:host:port

Endpoint = tuple[str, int]  # host, port


def joined(url: str, link: str) -> str:
    """The absolute URL of a link in the document at `url`; empty when it is not valid."""
    try:
        target = urljoin(url, link)
        is_valid = urlsplit(target).port != 0
    except ValueError:  # `https://[::1`, or an invalid port
        return ""
    return target if is_valid else ""


def mirrored(settings: Settings, url: str) -> str:
    """The URL that is really requested: MIRRORS maps a host to a base URL.

    A host that is not named there goes below the base URL of `*`, as `base/host/path`, or as
    `base/scheme:host:port/path` if it is not https at port 443. The user and password of a mirror
    are left out: see `login`.
    """
    parts, base = urlsplit(url), _mirror(settings, url)
    if not base:
        return url
    scheme, netloc, path, _, _ = urlsplit(base)
    base = urlunsplit((scheme, netloc.rpartition("@")[2], path, "", ""))
    return base + urlunsplit(("", "", parts.path, parts.query, ""))


def login(settings: Settings, url: str) -> HTTPBasicAuth | None:
    """User and password of the mirror of a URL; None without them."""
    parts = urlsplit(_mirror(settings, url))
    if parts.username is None:
        return None
    user, password = unquote_to_bytes(parts.username), unquote_to_bytes(parts.password or "")
    return HTTPBasicAuth(user, password)


def _mirror(settings: Settings, url: str) -> str:
    """The base URL, with user and password, of the mirror of a URL's host; empty without one."""
    base = settings.mirrors.get((urlsplit(url).hostname or "").lower())
    if not base and "*" in settings.mirrors:
        base = f"{settings.mirrors['*']}/{_origin(url)}"
    return base or ""


def below(url: str) -> str:
    """A URL in the form in which it follows the base URL of `*`: its origin, path and query."""
    parts = urlsplit(url)
    return _origin(url) + urlunsplit(("", "", parts.path, parts.query, ""))


def url_of(path: str) -> str:
    """The URL that `below` turned into this form."""
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
    """The proxy for a URL, according to the environment; None without one."""
    return select_proxy(url, get_environ_proxies(url))


def is_down(settings: Settings, url: str, others: Iterable[str]) -> bool:
    """True when neither the host of `url` nor that of any other URL accepts a connection.

    The scripts of a run share the result (`data/state/network.json`).
    """
    run = runs.parent_id()
    earlier = durable.read_json(settings.state / "network.json")
    if not run or earlier.get("run") != run:
        earlier = {}
    if earlier.get("is_down") is False:
        return False
    tried = {(host, port) for host, port in earlier.get("tried", [])}
    endpoints = {_endpoint(settings, each) for each in [url, *others]}
    seconds = LATER_PROBE_SECONDS if tried else PROBE_SECONDS
    down = not _any_responds(endpoints - tried, seconds)
    if run:
        probe = {"run": run, "is_down": down, "tried": sorted(endpoints | tried)}
        durable.write_json(settings.state / "network.json", probe)
    return down


def _any_responds(endpoints: set[Endpoint], seconds: float) -> bool:
    """Whether one of the endpoints accepts a connection in time.

    Every address of every host is tried at once, since one family of addresses may be broken. The
    threads are daemons, because name resolution has no time limit and must not delay the end of the
    process.
    """
    responded = threading.Event()
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
        responded.set()

    deadline = time.monotonic() + seconds
    for endpoint in endpoints:
        start(resolve, *endpoint)
    while any(thread.is_alive() for thread in list(threads)) and time.monotonic() < deadline:
        if responded.wait(0.02):
            break
    return responded.is_set()


def _endpoint(settings: Settings, url: str) -> Endpoint:
    """Where a request for a URL connects to: its host, its mirror, or a proxy."""
    target = mirrored(settings, url)
    if proxy := proxy_of(target):
        target = proxy if "://" in proxy else f"http://{proxy}"
    parts = urlsplit(target)
    return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, _SOCKS_PORT)
