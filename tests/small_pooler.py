"""A pooler on loopback, as small as it can be: it hands out the sessions of an embedded server.

It speaks just enough of PostgreSQL's protocol (version 3) to pass messages on, keeps no state, and,
as pgbouncer without a `server_reset_query`, leaves each session as its last client left it.
"""

import os
import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from publisher import stop_listening

CHOICES = {
    "newest": lambda free: free.pop(),
    "oldest": lambda free: free.pop(0),
    "random": lambda free: free.pop(random.Random(os.urandom(8)).randrange(len(free))),
}


class Link:
    """One end of a connection, message by message."""

    def __init__(self, connected: socket.socket):
        self.socket, self.stream = connected, connected.makefile("rb")

    def read(self) -> tuple[bytes, bytes]:
        """Kind and body of the next message."""
        head = self._bytes(5)
        return head[:1], self._bytes(struct.unpack("!i", head[1:])[0] - 4)

    def startup(self) -> bytes:
        """The body of a client's first message; encryption is declined."""
        while True:
            body = self._bytes(struct.unpack("!i", self._bytes(4))[0] - 4)
            if struct.unpack("!i", body[:4])[0] not in (80877103, 80877104):
                return body
            self.socket.sendall(b"N")

    def send(self, kind: bytes, body: bytes) -> None:
        self.socket.sendall(kind + struct.pack("!i", len(body) + 4) + body)

    def close(self) -> None:
        self.stream.close()
        self.socket.close()

    def _bytes(self, count: int) -> bytes:
        found = self.stream.read(count)
        if len(found) < count:
            raise EOFError
        return found


class Pooler:
    """`size` server sessions in a pool, by `mode` (session or transaction); `asked`: statements."""

    def __init__(self, path: Path, database: str, size: int, mode: str, choice: str):
        self.path, self.database, self.mode = path, database, mode
        self.choose, self.asked, self.greeting = CHOICES[choice], [], b""
        self.free = [self._backend() for _ in range(size)]
        self.changed = threading.Condition()
        self.listening = socket.create_server(("127.0.0.1", 0))
        port = self.listening.getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{port}/{database}?sslmode=disable"
        threading.Thread(target=self._listen, daemon=True).start()

    def wait_for_all(self, size: int) -> None:
        """Wait until no client has a session any more."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.free) == size, 30), "a session is lost"

    def close(self) -> None:
        stop_listening(self.listening)
        for backend in self.free:
            backend.close()

    def _backend(self) -> Link:
        connected = socket.socket(socket.AF_UNIX)
        connected.connect(str(self.path))
        backend = Link(connected)
        words = f"user\0postgres\0database\0{self.database}\0\0".encode()
        connected.sendall(struct.pack("!ii", len(words) + 8, 196608) + words)
        greeting = b""
        while (message := backend.read())[0] != b"Z":
            if message[0] == b"S":  # a setting that clients are told of
                kind, body = message
                greeting += kind + struct.pack("!i", len(body) + 4) + body
        self.greeting = greeting
        return backend

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                client = Link(self.listening.accept()[0])
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: Link) -> None:
        backend, state = None, b"I"
        with suppress(EOFError, OSError):
            client.startup()
            client.send(b"R", struct.pack("!i", 0))
            client.socket.sendall(self.greeting)
            client.send(b"K", os.urandom(8))  # a process and a key of its own making
            client.send(b"Z", b"I")
            while (message := client.read())[0] != b"X":
                backend = backend or self._take()
                self.asked.append(message[1].split(b"\0")[0].decode(errors="replace"))
                backend.send(*message)
                if message[0] in (b"Q", b"S", b"c", b"f"):
                    state = self._pass_on(backend, client)
                    if state == b"I" and self.mode == "transaction":
                        backend = self._give_back(backend)
        if backend and state == b"I":
            self._give_back(backend)
        elif backend:
            backend.close()
            self._give_back(self._backend())
        client.close()

    def _pass_on(self, backend: Link, client: Link) -> bytes:
        """Pass on what the server says, up to the client's turn; how its transaction stands."""
        while True:
            kind, body = backend.read()
            client.send(kind, body)
            if kind in (b"Z", b"G"):
                return body[:1] if kind == b"Z" else b"T"

    def _take(self) -> Link:
        with self.changed:
            self.changed.wait_for(lambda: self.free)
            return self.choose(self.free)

    def _give_back(self, backend: Link) -> None:
        with self.changed:
            self.free.append(backend)
            self.changed.notify_all()


@contextmanager
def pooling(path: Path, database: str, mode: str, choice="newest", size=3) -> Iterator[Pooler]:
    """A pooler before the server whose socket is at `path`, for as long as the context lasts."""
    made = Pooler(path, database, size, mode, choice)
    try:
        yield made
    finally:
        made.close()
