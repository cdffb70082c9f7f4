"""A proxy for PostgreSQL that counts the requests of clients, and puts a fault into the n-th.

Counted is what the server responds to, or what contains data: the start of a session, a
query, the end of an extended query, a block of COPY, its end.
"""

import contextlib
import socket
import struct
import threading
import time
from pathlib import Path

from publisher import stop_listening

KINDS = ("cut before", "cut after", "answer lost", "late")
_COUNTED = b"QSdcX"
_LATE = 0.5  # seconds


class Proxy:
    """Listens on a port of loopback and forwards to a server's socket."""

    def __init__(self, server: Path):
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._guard = threading.Lock()
        self.arm()
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, at: int = 0, kind: str = "") -> None:
        """Count from now on; put a fault of a kind into the `at`-th message (0: none)."""
        with self._guard:
            self.count, self._at, self._kind = 0, at, kind

    def disarm(self) -> tuple[int, str]:
        """Inject no more faults; returns the messages counted, and the fault that happened."""
        with self._guard:
            done = self._kind if 0 < self._at <= self.count else ""
            count, self._at = self.count, 0
            return count, done

    def stop(self) -> None:
        """Accept no more clients."""
        stop_listening(self._listener)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(str(self._server))
            _Session(self, client, server).run()
        except OSError:
            return  # one of the two went away
        finally:
            for end in (client, server):
                _hang_up(end)
                end.close()

    def trouble(self) -> str:
        """Count a message; returns the kind of fault to inject, '' for none."""
        with self._guard:
            self.count += 1
            return self._kind if self.count == self._at else ""


class _Session:
    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket):
        self._proxy, self._client, self._server = proxy, client, server
        self._is_mute = False  # responses are lost from now on

    def run(self) -> None:
        threading.Thread(target=self._answers, daemon=True).start()
        started = False
        while True:
            kind = b"" if started else b"S"
            head = self._exactly(5 if started else 4)
            kind = head[:1] if started else b"S"
            size = struct.unpack("!I", head[-4:])[0]
            message = head + self._exactly(size - 4)
            started = True
            trouble = self._proxy.trouble() if kind in _COUNTED else ""
            if trouble == "cut before":
                return
            if trouble == "late":
                time.sleep(_LATE)
            self._is_mute = self._is_mute or trouble == "answer lost"
            self._server.sendall(message)
            if trouble == "cut after":
                return

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = self._client.recv(size - len(parts))
            if not part:
                raise ConnectionError("the client is gone")
            parts += part
        return bytes(parts)

    def _answers(self) -> None:
        """Forward the server's messages, each complete; a lost response ends the connection."""
        with contextlib.suppress(OSError):
            while data := self._server.recv(1 << 16):
                if self._is_mute:
                    break
                self._client.sendall(data)
        for end in (self._client, self._server):
            _hang_up(end)


def _hang_up(end: socket.socket) -> None:
    """Close it, and wake a thread that waits to read from it."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
