"""Readers of a drill: they poll the published tables and note whatever no reader may meet.

One reads in autocommit, a table at a time; one reads all tables in a REPEATABLE READ transaction.
"""

import threading
import time
from collections import Counter
from dataclasses import dataclass

import psycopg
from psycopg import IsolationLevel, sql

from pipeline.database.queries import one

Tables = dict[str, tuple[int, str]]  # of each table of a generation, its rows and a hash of them

UNHASHED = {"data_status_facts"}  # it is brought up to date on every night
PAUSE = 0.05  # seconds at least between two readings


@dataclass(frozen=True)
class Seen:
    """What the readers met in a while."""

    reads: int
    troubles: list[str]


def published(connection: psycopg.Connection) -> Tables:
    """The rows, and a hash of them, of every published table, in one transaction."""
    with connection.transaction():
        return {name: _read(connection, name) for name in _names(connection)}


class Readers:
    """Two readers in threads of their own, from `start` to `stop`."""

    def __init__(self, url: str):
        self._url = url
        self._ending = threading.Event()
        self._guard = threading.Lock()
        self._seen: Counter[frozenset] = Counter()
        self._errors: list[str] = []
        self._threads = [
            threading.Thread(target=self._poll, args=(isolation,), daemon=True)
            for isolation in (None, IsolationLevel.REPEATABLE_READ)
        ]

    def start(self) -> None:
        """Begin to read."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the readers."""
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def take(self, before: Tables, after: Tables) -> Seen:
        """What was met since the last call; only generations `before` and `after` are right."""
        with self._guard:
            seen, errors = self._seen, self._errors
            self._seen, self._errors = Counter(), []
        troubles = [trouble(dict(tables), before, after) for tables in seen]
        return Seen(seen.total() + len(errors), errors + sorted(set(filter(None, troubles))))

    def _poll(self, isolation: IsolationLevel | None) -> None:
        while not self._ending.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True) as connection:
                    connection.isolation_level = isolation
                    self._read_on(connection)
            except psycopg.Error as error:
                with self._guard:
                    self._errors.append(f"an error: {' '.join(str(error).split())[:200]}")
                self._ending.wait(PAUSE)

    def _read_on(self, connection: psycopg.Connection) -> None:
        while not self._ending.is_set():
            started = time.monotonic()
            if connection.isolation_level:
                self._note(published(connection))
            else:
                for name in _names(connection):
                    self._note({name: _read(connection, name)})
            # No more than half of the time of a core each.
            self._ending.wait(max(PAUSE, time.monotonic() - started))

    def _note(self, tables: Tables) -> None:
        with self._guard:
            self._seen[frozenset(tables.items())] += 1


def trouble(seen: Tables, before: Tables, after: Tables) -> str:
    """What is wrong with tables read at one time; empty when they are of one generation."""
    for generation in (before, after):
        if all(generation.get(name) == of_table for name, of_table in seen.items()):
            return ""
    for name, of_table in seen.items():
        right = (before.get(name), after.get(name))
        if of_table not in right:
            empty = of_table[0] == 0
            return f"transformed.{name} {'empty' if empty else 'with rows of no generation'}"
    return "tables of two generations in one transaction"


def _names(connection: psycopg.Connection) -> list[str]:
    found = connection.execute(
        "select tablename from pg_catalog.pg_tables where schemaname = 'transformed' order by 1"
    )
    return [name for (name,) in found if name not in UNHASHED]


def _read(connection: psycopg.Connection, table: str) -> tuple[int, str]:
    # A sum, so that the order of the rows does not matter.
    query = sql.SQL(
        "select count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text from {} as t"
    )
    return one(connection, query.format(sql.Identifier("transformed", table)))
