"""The server of a drill: it stands between the pipeline and every publisher, on loopback.

The pipeline is led here by `MIRRORS=*=…`. What it asks for the first time is fetched from the
publisher (through the user's own MIRRORS and proxies) and recorded; from then on the recording is
replayed, with a fault in it when one is switched on.
"""

import hashlib
import secrets
import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import requests

from pipeline.drill import faults
from pipeline.drill.faults import Answer, Fault
from pipeline.http import network, responses
from pipeline.http.client import CONNECT_SECONDS, READ_SECONDS
from pipeline.http.framing import reason
from pipeline.raw import snapshot
from pipeline.settings import Settings

MOVED, LOGIN = "moved.drill.invalid", "login.drill.invalid"  # hosts that redirects lead to
_BLOCK = 256 * 1024
# Of a request, what would ask for less than a whole answer; of both, what is of one connection.
_NOT_ASKED = {"range", "if-range", "if-none-match", "if-modified-since"}
_OF_CONNECTION = {"connection", "host", "keep-alive", "transfer-encoding", "te", "upgrade"}
_NOT_KEPT = _OF_CONNECTION | {"content-length", "date", "server"}


@dataclass(frozen=True)
class Recorded:
    """An answer of a publisher; its body stands in a file, as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: Path

    @property
    def answer(self) -> Answer:
        """The same, to be sent again."""
        return Answer(self.body.read_bytes(), self.status, self.headers)


class Server:
    """All publishers: what they answered, which fault is on, and for which address."""

    def __init__(self, here: Settings, folder: Path):
        self.url = ""  # where MIRRORS lead to
        self.asked: list[str] = []  # URLs, in order, since `listen`
        self.is_offline = False  # no publisher at all could be reached
        self.met = 0  # answers that the fault was in
        self._here, self._folder = here, folder
        self._recorded: dict[str, Recorded] = {}
        self._is_recording = True
        self._fault: Callable[[str], Fault] | None = None
        self._addresses, self._left = set(), 0.0
        self._session = requests.Session()
        self._session.auth = lambda request: request  # ~/.netrc is nobody's business here
        self._session.headers.clear()

    def listen(self, *, recording: bool) -> None:
        """From now on record everything anew, or replay what is known; no fault is on."""
        self.asked, self._is_recording, self._fault, self.met = [], recording, None, 0

    def switch_on(self, fault: Callable[[str], Fault], addresses: set[str], times: float) -> None:
        """Put a fault in the answers of addresses (URLs without query), so many times in all.

        `fault` makes it for a URL.
        """
        self._fault, self._addresses, self._left = fault, addresses, times

    def addresses_of(self, urls: list[str], files: list[str]) -> set[str]:
        """Those addresses of URLs that files came from; else the one that gave most bytes."""
        sizes: dict[str, int] = {}
        for url in set(urls) & self._recorded.keys():
            place = address_of(url)
            sizes[place] = sizes.get(place, 0) + self._recorded[url].body.stat().st_size
        named = sizes.keys() & set(map(address_of, files))
        return named or {max(sizes, key=sizes.__getitem__, default="")}

    def recorded(self, addresses: set[str]) -> list[Answer]:
        """What addresses answered."""
        known = self._recorded.items()
        return [recorded.answer for url, recorded in known if address_of(url) in addresses]

    def answer(self, path: str, headers: dict[str, str]) -> Answer:
        """The answer of a request for `/host/path`, with the fault that is on."""
        host, _, rest = path.removeprefix("/").partition("/")
        if host == LOGIN:
            return faults.html("Please log in")(Answer())
        url = network.url_of(rest if host == MOVED else f"{host}/{rest}")
        self.asked.append(url)
        honest = self._honest(url, headers)
        is_bad = self._left > 0 and address_of(url) in self._addresses
        if self._fault is None or not is_bad or path.startswith(f"/{MOVED}/"):
            return honest
        self._left -= 1
        self.met += 1
        return self._fault(url)(honest)

    def _honest(self, url: str, headers: dict[str, str]) -> Answer:
        if url in self._recorded and not self._is_recording:
            return self._recorded[url].answer
        try:
            response = self._forwarded(url, headers)
            length = response.headers.get("Content-Length")
            if self._is_recording and length is not None:  # it may be large: pass it on at once
                return Answer(send=lambda file: self._record(url, response, file))
            return self._record(url, response).answer
        except (requests.exceptions.RequestException, OSError) as error:
            self.is_offline = network.is_down(self._here, url, snapshot.addresses(self._here))
            told = f"the drill could not read this from its publisher: {reason(error)}"
            return faults.status(502, body=told.encode())(Answer())

    def _forwarded(self, url: str, headers: dict[str, str]) -> requests.Response:
        """The publisher's answer, its body not read yet."""
        unwanted = _OF_CONNECTION | _NOT_ASKED
        return self._session.get(
            network.mirrored(self._here, url),
            headers={k: v for k, v in headers.items() if k.lower() not in unwanted},
            auth=network.login(self._here, url),
            stream=True,
            allow_redirects=False,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
        )

    def _record(self, url: str, response: requests.Response, file: BufferedIOBase | None = None):
        """Read an answer to its end and keep it, passing it on meanwhile; returns a Recorded.

        One that asks for another try is not kept. The last block is passed on when it is kept, so
        that whoever has a whole answer may ask for the recording.
        """
        headers = {k: v for k, v in response.headers.items() if k.lower() not in _NOT_KEPT}
        known = Recorded(response.status_code, headers, self._folder / _file_name(url))
        held_back = b""
        if file:
            length = f"Content-Length: {response.headers['Content-Length']}"
            held_back = faults.head(Answer(b"", known.status, headers), length)
        with response, known.body.open("wb") as body:
            for block in response.raw.stream(_BLOCK, decode_content=False):
                body.write(block)
                if file:
                    file.write(held_back)
                    held_back = block
        if known.status not in responses.RETRIED_STATUSES:
            self._recorded[url] = known
        if file:
            file.write(held_back)
        return known


def address_of(url: str) -> str:
    """A URL without its query."""
    return url.partition("?")[0]


def _file_name(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def hosts(urls: list[str]) -> list[str]:
    """The hosts of URLs, each once."""
    return sorted({urlsplit(url).hostname or "" for url in urls})


@contextmanager
def serving(server: Server, tls: ssl.SSLContext | None = None) -> Generator[str]:
    """Serve on a port of loopback for as long as the context lasts: the base URL for MIRRORS.

    A word that nobody else on this machine knows stands in it, so that this is no open proxy.
    """
    secret = secrets.token_urlsafe(16)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self):
            _, _, rest = self.path.partition(f"/{secret}/")
            told = server.answer(f"/{rest}", dict(self.headers)) if rest else Answer(b"", 404)
            faults.send(self, told)

        def log_message(self, format, *args):
            pass

    listener = _Listener(("127.0.0.1", 0), Handler)
    if tls:
        listener.socket = tls.wrap_socket(
            listener.socket, server_side=True, do_handshake_on_connect=False
        )
    scheme = "https" if tls else "http"
    Thread(target=listener.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"{scheme}://127.0.0.1:{listener.server_port}/{secret}"
    finally:
        listener.shutdown()
        listener.server_close()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address) -> None:
        """Whoever asked has gone away in the middle of an answer, as faults make them do."""


@contextmanager
def nobody() -> Generator[str]:
    """A port of loopback that refuses every connection, for as long as the context lasts."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"
