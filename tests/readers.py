"""Who reads what is published, again and again, and keeps whatever happens to a reader.

What was seen is judged by those who know what it may be.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import psycopg
from patience import Stopwatch, not_counted

Read = Callable[[psycopg.Connection], object]
PAUSE = 0.05  # seconds before another connection


class Reader(threading.Thread):
    """Reads until told to stop; makes another connection when one is lost.

    read: what it does in an autocommit connection, whose statements are prepared at once; what it
    returns is `seen`, and an assertion of it that fails is an error. pause: seconds at least
    between two readings; rest: the same in times of what a reading took.
    """

    def __init__(self, url: str, read: Read, pause: float = 0.0, rest: float = 0.0):
        super().__init__(daemon=True, name=f"reader {getattr(read, '__name__', '')}")
        self.url, self.read, self.pause, self.rest = url, read, pause, rest
        self.stopping, self._guard = threading.Event(), threading.Lock()
        self.seen: list = []
        self.errors: list[str] = []
        self.lost: list[str] = []  # connections: as when a server is killed
        self.longest, self.waited, self.reads = 0.0, 0.0, 0
        self.start()

    def run(self) -> None:
        """Read until told to stop."""
        words = {"autocommit": True, "prepare_threshold": 0, "application_name": self.name}
        while not self.stopping.is_set():
            try:
                with (
                    psycopg.connect(self.url, **words) as connection,
                    not_counted(threading.get_native_id(), connection.info.backend_pid),
                ):
                    while not self.stopping.is_set():
                        self._look(connection)
            except psycopg.OperationalError as error:
                with self._guard:
                    self.lost.append(self._told(error))
                self.stopping.wait(PAUSE)

    def _look(self, connection: psycopg.Connection) -> None:
        began, watch = time.monotonic(), Stopwatch()
        try:
            seen = self.read(connection)
            with self._guard:
                self.seen.append(seen)
        except (psycopg.Error, AssertionError) as error:
            if _is_lost(connection, error):
                raise
            with self._guard:
                self.errors.append(self._told(error))
        self.longest = max(self.longest, watch.seconds())  # what a promise bounds
        self.waited = max(self.waited, time.monotonic() - began)  # by the clock
        self.reads += 1
        self.stopping.wait(max(self.pause, self.rest * (time.monotonic() - began)))

    def _told(self, error: Exception) -> str:
        return f"{self.name}: {' '.join(repr(error).split())[:300]}"

    @property
    def wrong(self) -> list[str]:
        """All that no reader may meet while the server is well."""
        return self.errors + self.lost

    def take(self) -> tuple[list, list[str]]:
        """What it saw and what went wrong since the last call."""
        with self._guard:
            seen, wrong = self.seen, self.wrong
            self.seen, self.errors, self.lost = [], [], []
        return seen, wrong


def _is_lost(connection: psycopg.Connection, error: Exception) -> bool:
    is_ended = (getattr(error, "sqlstate", "") or "").startswith("57P")  # by an administrator
    return isinstance(error, psycopg.OperationalError) and (connection.broken or is_ended)


def stop(readers: Iterable[Reader]) -> None:
    """End readers."""
    for reader in readers:
        reader.stopping.set()
    for reader in readers:
        reader.join()


@contextmanager
def reading(
    url: str, reads: Iterable[Read], pause: float = 0.0, rest: float = 0.0
) -> Iterator[list[Reader]]:
    """A reader of each kind for as long as the context lasts, also when what is in it fails."""
    readers = [Reader(url, read, pause, rest) for read in reads]
    try:
        yield readers
    finally:
        stop(readers)


def in_one_transaction(read: Read) -> Read:
    """The same in a READ COMMITTED transaction."""

    def together(connection: psycopg.Connection) -> object:
        with connection.transaction():
            return read(connection)

    return together


def from_a_snapshot(read: Read, pause: float = 0.0) -> Read:
    """The same in a REPEATABLE READ transaction, whose snapshot is older by a pause: often begun
    before a build and read first after its publication.
    """

    def repeatable(connection: psycopg.Connection) -> object:
        with connection.transaction():
            connection.execute("set transaction isolation level repeatable read")
            connection.execute("select 1")  # this takes the snapshot
            time.sleep(pause)
            return read(connection)

    return repeatable
