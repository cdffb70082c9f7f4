"""All publishers on one port of loopback; MIRRORS maps each host to it."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from publisher import Answer, Publisher, serving

Handler = Callable[..., Answer]


@dataclass
class World:
    """Several hosts on one publisher: `https://host/path` is `/host/path` there."""

    publisher: Publisher
    hosts: set[str]

    @property
    def mirrors(self) -> str:
        """The value of MIRRORS that leads here."""
        return ",".join(f"{host}={self.publisher.url}/{host}" for host in sorted(self.hosts))

    def place(self, host: str, path: str) -> str:
        """The path on the publisher for a host's path; the host is added to the world."""
        self.hosts.add(host)
        return f"/{host}{path}"

    def answer(self, host: str, path: str, what: Handler | list[Answer] | Answer) -> None:
        """Set the response of a host's path: a handler, several in order, or one."""
        answers = [what] if isinstance(what, Answer) else what
        self.publisher.answers[self.place(host, path)] = answers

    def fault(self, host: str, path: str, switch: Callable[[Handler], Handler]) -> None:
        """Put a fault (`faults.switched` without its handler) before the response of a path."""
        place = self.place(host, path)
        honest = self.publisher.answers[place]
        self.publisher.answers[place] = switch(honest if callable(honest) else _scripted(honest))

    def asked(self, host: str) -> list[str]:
        """The paths requested from a host, in order."""
        start = f"/{host}/"
        return [p.removeprefix(f"/{host}") for p in self.publisher.paths() if p.startswith(start)]


def _scripted(answers: list[Answer]) -> Handler:
    return lambda request: answers.pop(0) if len(answers) > 1 else answers[0]


@contextmanager
def world(tls: ssl.SSLContext | None = None) -> Iterator[World]:
    """A world without hosts, during the context; with `tls` it uses https."""
    with serving(tls) as publisher:
        yield World(publisher, set())
