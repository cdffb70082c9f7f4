"""The server of a drill, on loopback, between the pipeline and every publisher.

`MIRRORS=*=…` redirects the pipeline to it. The first request of a URL is forwarded to the publisher
(through the user's own MIRRORS and proxies) and its response recorded; later requests get the
recording, with a fault in it if one is switched on.
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
from pipeline.drill.faults import Fault, Reply
from pipeline.http import network, responses
from pipeline.http.client import CONNECT_SECONDS, READ_SECONDS
from pipeline.http.framing import reason
from pipeline.raw import snapshot
from pipeline.settings import Settings

MOVED, LOGIN = "moved.drill.invalid", "login.drill.invalid"  # the targets of redirects
_BLOCK = 256 * 1024
# Headers that would request less than a complete response; headers of a single connection.
_PARTIAL = {"range", "if-range", "if-none-match", "if-modified-since"}
_OF_CONNECTION = {"connection", "host", "keep-alive", "transfer-encoding", "te", "upgrade"}
_NOT_KEPT = _OF_CONNECTION | {"content-length", "date", "server"}


@dataclass(frozen=True)
class Recorded:
    """A response of a publisher; its body is in a file, as it was sent."""

    status: int
    headers: dict[str, str]
    body: Path

    @property
    def reply(self) -> Reply:
        """The same, to be sent again."""
        return Reply(self.body.read_bytes(), self.status, self.headers)


class Server:
    """All publishers: their recorded responses, which fault is on, and for which addresses."""

    def __init__(self, here: Settings, folder: Path):
        self.requested: list[str] = []  # URLs, in order, since `listen`
        self.is_offline = False  # no publisher at all could be reached
        self.faults_sent = 0  # replies that had the fault
        self._here, self._folder = here, folder
        self._recorded: dict[str, Recorded] = {}
        self._is_recording = True
        self._fault: Callable[[str], Fault] | None = None
        self._addresses, self._left = set(), 0.0
        self._session = requests.Session()
        self._session.auth = lambda request: request  # nothing from ~/.netrc
        self._session.headers.clear()

    def listen(self, *, recording: bool) -> None:
        """Start to record everything again, or to replay the recordings; no fault is on."""
        self.requested, self._is_recording, self._fault, self.faults_sent = [], recording, None, 0

    def switch_on(self, fault: Callable[[str], Fault], addresses: set[str], times: float) -> None:
        """Put a fault into the replies of addresses (URLs without query), at most `times` times.

        fault: makes the fault for a URL.
        """
        self._fault, self._addresses, self._left = fault, addresses, times

    def addresses_of(self, urls: list[str], files: list[str]) -> set[str]:
        """The addresses of URLs that files came from; otherwise the one with the most bytes."""
        sizes: dict[str, int] = {}
        for url in set(urls) & self._recorded.keys():
            address = address_of(url)
            sizes[address] = sizes.get(address, 0) + self._recorded[url].body.stat().st_size
        named = sizes.keys() & set(map(address_of, files))
        return named or {max(sizes, key=sizes.__getitem__, default="")}

    def recorded(self, addresses: set[str]) -> list[Reply]:
        """The recorded responses of addresses."""
        recordings = self._recorded.items()
        return [recorded.reply for url, recorded in recordings if address_of(url) in addresses]

    def reply(self, path: str, headers: dict[str, str]) -> Reply:
        """The reply to a request for `/host/path`, with the fault that is on."""
        host, _, rest = path.removeprefix("/").partition("/")
        if host == LOGIN:
            return faults.html("Please log in")(Reply())
        url = network.url_of(rest if host == MOVED else f"{host}/{rest}")
        self.requested.append(url)
        correct = self._correct(url, headers)
        has_fault = self._left > 0 and address_of(url) in self._addresses
        if self._fault is None or not has_fault or path.startswith(f"/{MOVED}/"):
            return correct
        self._left -= 1
        self.faults_sent += 1
        return self._fault(url)(correct)

    def _correct(self, url: str, headers: dict[str, str]) -> Reply:
        if url in self._recorded and not self._is_recording:
            return self._recorded[url].reply
        try:
            response = self._forward(url, headers)
            length = response.headers.get("Content-Length")
            if self._is_recording and length is not None:  # it may be large: pass it on at once
                return Reply(send=lambda file: self._record(url, response, file))
            return self._record(url, response).reply
        except (requests.exceptions.RequestException, OSError) as error:
            self.is_offline = network.is_down(self._here, url, snapshot.addresses(self._here))
            message = f"the drill could not read this from its publisher: {reason(error)}"
            return faults.status(502, body=message.encode())(Reply())

    def _forward(self, url: str, headers: dict[str, str]) -> requests.Response:
        """Request a URL from its publisher; the body of the response is not read yet."""
        unwanted = _OF_CONNECTION | _PARTIAL
        return self._session.get(
            network.mirrored(self._here, url),
            headers={k: v for k, v in headers.items() if k.lower() not in unwanted},
            auth=network.login(self._here, url),
            stream=True,
            allow_redirects=False,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
        )

    def _record(self, url: str, response: requests.Response, file: BufferedIOBase | None = None):
        """Read a response to its end and keep it, passing it on meanwhile; returns a Recorded.

        A status that calls for a retry is not kept. The last block is passed on after the rest is
        kept, so that a client with a complete response can request the recording.
        """
        headers = {k: v for k, v in response.headers.items() if k.lower() not in _NOT_KEPT}
        recorded = Recorded(response.status_code, headers, self._folder / _file_name(url))
        held_back = b""
        if file:
            length = f"Content-Length: {response.headers['Content-Length']}"
            held_back = faults.head(Reply(b"", recorded.status, headers), length)
        with response, recorded.body.open("wb") as body:
            for block in response.raw.stream(_BLOCK, decode_content=False):
                body.write(block)
                if file:
                    file.write(held_back)
                    held_back = block
        if recorded.status not in responses.RETRIED_STATUSES:
            self._recorded[url] = recorded
        if file:
            file.write(held_back)
        return recorded


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
    """Serve on a port of loopback while the context lasts; yields the base URL for MIRRORS.

    The URL contains a secret, so that this is not an open proxy for others on the machine.
    """
    secret = secrets.token_urlsafe(16)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self):
            _, _, rest = self.path.partition(f"/{secret}/")
            reply = server.reply(f"/{rest}", dict(self.headers)) if rest else Reply(b"", 404)
            faults.send(self, reply)

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
        """The client closed the connection during a reply, as faults make it do."""


@contextmanager
def nobody() -> Generator[str]:
    """A port of loopback that refuses every connection, while the context lasts."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"
