"""A publisher on loopback that responds, and misbehaves, as a test requires."""

import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

from pipeline.drill.faults import Reply as Answer
from pipeline.drill.faults import send


@dataclass(frozen=True)
class Request:
    """A request: the path with its query, and the headers."""

    path: str
    headers: dict[str, str]


@dataclass
class Publisher:
    """A publisher on loopback: it sends the answers of a path in order, then repeats the last."""

    url: str
    answers: dict[str, list[Answer] | Callable]
    requests: list[Request] = field(default_factory=list)

    def paths(self) -> list[str]:
        """The requested paths, in order."""
        return [request.path for request in self.requests]


def held(answer: Answer) -> tuple[Callable, Event]:
    """An answer that is not sent before the event is set: a silence of any length."""
    released = Event()

    def handler(request) -> Answer:
        released.wait()
        return answer

    return handler, released


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A closed connection is not an error of the publisher; anything else is."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def stop_listening(listener: socket.socket) -> None:
    """Close a socket that a thread accepts on.

    Closing alone would leave the thread waiting for the next socket with this number.
    """
    with suppress(OSError):  # some systems refuse it; there, closing is enough
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Publisher]:
    """A publisher that exists during the context; with `tls` it uses https."""
    publisher = Publisher("", {})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self):
            publisher.requests.append(Request(self.path, dict(self.headers)))
            scripted = publisher.answers.get(self.path.partition("?")[0])
            if callable(scripted):
                answer = scripted(self)
            elif scripted:
                answer = scripted.pop(0) if len(scripted) > 1 else scripted[0]
            else:
                answer = Answer(b"no such page", 404)
            send(self, answer)

        def log_message(self, *arguments):
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    publisher.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield publisher
    server.shutdown()
    server.server_close()
