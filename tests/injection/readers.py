"""Five readers of the published tables, who note whatever no reader may meet.

tables      autocommit, one table at a time
prepared    the same with a statement that the server has planned once
together    all tables in one READ COMMITTED transaction
repeatable  all tables in one REPEATABLE READ transaction
early       the same, but its snapshot is taken a while before it reads: often before a build
            is published, and read after
"""

import threading
import time

import psycopg
from psycopg import IsolationLevel, sql

from injection.invariants import Tables, contents

PAUSE = 0.1  # seconds at least between two readings
EARLY = 1.2  # seconds between a snapshot and the first reading in it


class Readers:
    """Five threads, from `start` to `stop`; they can be started again."""

    def __init__(self, url: str):
        self._url = url
        self._ending = threading.Event()
        self._guard = threading.Lock()
        self._seen: set[frozenset] = set()
        self._threads: list[threading.Thread] = []
        self.reads, self.errors = 0, []

    def start(self) -> None:
        """Begin to read."""
        self._ending.clear()
        polls = (self._tables, self._prepared, self._together, self._repeatable, self._early)
        self._threads = [
            threading.Thread(target=self._poll, args=(poll,), daemon=True) for poll in polls
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the readers."""
        self._ending.set()
        for thread in self._threads:
            thread.join(10)

    def take(self, *generations: Tables) -> list[str]:
        """What was wrong since the last call: errors, and tables of none or of two generations."""
        with self._guard:
            seen, errors, self._seen, self.errors = self._seen, self.errors, set(), []
        wrong = [f"a reader: {error}" for error in errors]
        for tables in seen:
            if not any(tables <= frozenset(known.items()) for known in generations):
                wrong.append(f"a reader saw what is of no generation: {dict(tables)}")
        return wrong

    def _poll(self, poll) -> None:
        name = f"reader {poll.__name__}"
        while not self._ending.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True, application_name=name) as one:
                    while not self._ending.is_set():
                        started = time.monotonic()
                        poll(one)
                        # No more than a third of the time of a core each.
                        self._ending.wait(max(PAUSE, 2 * (time.monotonic() - started)))
            except psycopg.Error as error:
                with self._guard:
                    self.errors.append(f"{name}: {' '.join(str(error).split())[:200]}")
                self._ending.wait(PAUSE)

    def _tables(self, one) -> None:
        for name in _names(one):
            self._note({name: contents(one, "transformed", name)})

    def _prepared(self, one) -> None:
        one.prepare_threshold = 0
        self._tables(one)

    def _together(self, one) -> None:
        with one.transaction():
            self._note({name: contents(one, "transformed", name) for name in _names(one)})

    def _repeatable(self, one) -> None:
        one.isolation_level = IsolationLevel.REPEATABLE_READ
        self._together(one)

    def _early(self, one) -> None:
        one.isolation_level = IsolationLevel.REPEATABLE_READ
        with one.transaction():
            one.execute("select count(*) from pg_class")  # this takes the snapshot
            names = _names(one)
            self._ending.wait(EARLY)
            self._note({name: contents(one, "transformed", name) for name in names})

    def _note(self, tables: Tables) -> None:
        with self._guard:
            self.reads += 1
            self._seen.add(frozenset(tables.items()))


def _names(one) -> list[str]:
    rows = one.execute(
        sql.SQL(
            """select tablename from pg_catalog.pg_tables
            where schemaname = 'transformed' and tablename <> 'data_status_facts' order by 1"""
        )
    )
    return [name for (name,) in rows]
