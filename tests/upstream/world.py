"""All publishers on one port of loopback, each under its own host by MIRRORS."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from publisher import Answer, Publisher, serving

Handler = Callable[..., Answer]


@dataclass
class World:
    """Hosts on one publisher. A path of `https://host/path` is `/host/path` there."""

    publisher: Publisher
    hosts: set[str]

    @property
    def mirrors(self) -> str:
        """The value of MIRRORS that leads here."""
        return ",".join(f"{host}={self.publisher.url}/{host}" for host in sorted(self.hosts))

    def place(self, host: str, path: str) -> str:
        """Where a host's path is on the publisher; the host is one of the world's from now on."""
        self.hosts.add(host)
        return f"/{host}{path}"

    def answer(self, host: str, path: str, what: Handler | list[Answer] | Answer) -> None:
        """Let a host's path answer: a handler, answers in order, or one answer."""
        answers = [what] if isinstance(what, Answer) else what
        self.publisher.answers[self.place(host, path)] = answers

    def fault(self, host: str, path: str, switch: Callable[[Handler], Handler]) -> None:
        """Put a fault (`faults.switched` with its handler still open) before what answers."""
        place = self.place(host, path)
        honest = self.publisher.answers[place]
        self.publisher.answers[place] = switch(honest if callable(honest) else _scripted(honest))

    def asked(self, host: str) -> list[str]:
        """The paths that a host was asked for, in order."""
        start = f"/{host}/"
        return [p.removeprefix(f"/{host}") for p in self.publisher.paths() if p.startswith(start)]


def _scripted(answers: list[Answer]) -> Handler:
    return lambda request: answers.pop(0) if len(answers) > 1 else answers[0]


@contextmanager
def world(tls: ssl.SSLContext | None = None) -> Iterator[World]:
    """A world without hosts, for as long as the context lasts; with `tls` it speaks https."""
    with serving(tls) as publisher:
        yield World(publisher, set())
