"""Readers of a drill: they poll the published tables and record what no reader may see.

One reads in autocommit, a table at a time; one reads all tables in a REPEATABLE READ transaction.
"""

import threading
import time
from collections import Counter
from dataclasses import dataclass

import psycopg
from psycopg import IsolationLevel, sql

from pipeline.database.queries import one

Tables = dict[str, tuple[int, str]]  # number of rows, and a hash of them, by table

UNHASHED = {"data_status_facts"}  # updated every night
PAUSE = 0.05  # minimum seconds between two reads


@dataclass(frozen=True)
class Seen:
    """What the readers saw in a period."""

    reads: int
    troubles: list[str]


def published(connection: psycopg.Connection) -> Tables:
    """Every published table, read in one transaction."""
    with connection.transaction():
        return {name: _read(connection, name) for name in _names(connection)}


class Readers:
    """Two readers, each in its own thread, from `start` to `stop`."""

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
        """Start to read."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop to read."""
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def take(self, before: Tables, after: Tables) -> Seen:
        """What was seen since the last call; only generations `before` and `after` are correct."""
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
                    self._read_repeatedly(connection)
            except psycopg.Error as error:
                with self._guard:
                    self._errors.append(f"an error: {' '.join(str(error).split())[:200]}")
                self._ending.wait(PAUSE)

    def _read_repeatedly(self, connection: psycopg.Connection) -> None:
        while not self._ending.is_set():
            started = time.monotonic()
            if connection.isolation_level:
                self._record(published(connection))
            else:
                for name in _names(connection):
                    self._record({name: _read(connection, name)})
            # Each reader uses at most half of a core.
            self._ending.wait(max(PAUSE, time.monotonic() - started))

    def _record(self, tables: Tables) -> None:
        with self._guard:
            self._seen[frozenset(tables.items())] += 1


def trouble(seen: Tables, before: Tables, after: Tables) -> str:
    """What is wrong with tables read together; empty if they belong to one generation."""
    for generation in (before, after):
        if all(generation.get(name) == table for name, table in seen.items()):
            return ""
    for name, table in seen.items():
        if table not in (before.get(name), after.get(name)):
            state = "empty" if table[0] == 0 else "with rows of no generation"
            return f"transformed.{name} {state}"
    return "tables of two generations in one transaction"


def _names(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute(
        "select tablename from pg_catalog.pg_tables where schemaname = 'transformed' order by 1"
    )
    return [name for (name,) in rows if name not in UNHASHED]


def _read(connection: psycopg.Connection, table: str) -> tuple[int, str]:
    # A sum, so that the order of the rows does not matter.
    query = sql.SQL(
        "select count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text from {} as t"
    )
    return one(connection, query.format(sql.Identifier("transformed", table)))
