"""A publisher on loopback that answers, and misbehaves, as a test tells it to."""

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import BinaryIO


@dataclass
class Answer:
    """One scripted answer. `hang` seconds pass before it; `cut` sends only so many bytes.

    `send` writes to the connection by itself, head and all, instead of everything else.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang: float = 0
    cut: int | None = None
    length: str | None = "right"  # the Content-Length sent; None sends none
    send: Callable[[BinaryIO], None] | None = None


@dataclass(frozen=True)
class Request:
    """What was asked: the path with its query, and the headers."""

    path: str
    headers: dict[str, str]


@dataclass
class Publisher:
    """A publisher on loopback: answers by path, in order, the last one again and again."""

    url: str
    answers: dict[str, list[Answer] | Callable]
    requests: list[Request] = field(default_factory=list)

    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [request.path for request in self.requests]


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Publisher]:
    """A publisher for as long as the context lasts; with `tls` it speaks https."""
    known = Publisher("", {})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self):
            known.requests.append(Request(self.path, dict(self.headers)))
            scripted = known.answers.get(self.path.partition("?")[0])
            if callable(scripted):
                answer = scripted(self)
            elif scripted:
                answer = scripted.pop(0) if len(scripted) > 1 else scripted[0]
            else:
                answer = Answer(b"no such page", 404)
            _send(self, answer)

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    known.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield known
    server.shutdown()
    server.server_close()


def _send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    time.sleep(answer.hang)
    if answer.send:
        handler.close_connection = True
        answer.send(handler.wfile)
        return
    handler.send_response(answer.status)
    for name, value in answer.headers.items():
        handler.send_header(name, value)
    if answer.length is not None and answer.status != 304:
        length = str(len(answer.body)) if answer.length == "right" else answer.length
        handler.send_header("Content-Length", length)
    else:
        handler.close_connection = answer.length is None
    handler.end_headers()
    if answer.status != 304:
        handler.wfile.write(answer.body if answer.cut is None else answer.body[: answer.cut])
    if answer.cut is not None:
        handler.close_connection = True
