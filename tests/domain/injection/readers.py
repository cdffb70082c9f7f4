"""Five readers of the published tables, which record everything that no reader may see.

Two read in autocommit, one table at a time, one of them by prepared statements. The others read all
tables in one transaction: READ COMMITTED, REPEATABLE READ, and the same with a snapshot that is
taken a while before it reads, often before a build is published.
"""

from psycopg import sql
from readers import Read, Reader, from_a_snapshot, in_one_transaction, stop

from injection.invariants import Tables, contents

PAUSE = 0.1  # seconds at least between two readings
REST = 2.0  # each uses at most a third of a core
EARLY = 1.2  # seconds between a snapshot and the first reading in it


class Readers:
    """Five threads, from `start` to `stop`; they can be started again."""

    def __init__(self, url: str):
        self._url = url
        self._readers: list[Reader] = []
        self._reads = 0  # of those that were stopped

    def start(self) -> None:
        """Begin to read."""
        self._readers += [Reader(self._url, read, PAUSE, REST) for read in _reads()]

    def stop(self) -> None:
        """End the readers."""
        stop(self._readers)

    @property
    def reads(self) -> int:
        """Readings so far."""
        return sum(reader.reads for reader in self._readers)

    def take(self, *generations: Tables) -> list[str]:
        """What was wrong since the last call: errors, and tables of none or of two generations."""
        wrong, seen = [], set()
        for reader in self._readers:
            looks, troubles = reader.take()
            wrong += troubles
            seen.update(frozenset(tables.items()) for look in looks for tables in look)
        return wrong + mixtures(seen, *generations)


def mixtures(seen: set[frozenset], *generations: Tables) -> list[str]:
    """The tables that were seen together and are of no generation."""
    return [
        f"a reader saw what is of no generation: {dict(tables)}"
        for tables in seen
        if not any(tables <= frozenset(known.items()) for known in generations)
    ]


def _reads() -> list[Read]:
    reads = [_tables, _prepared, in_one_transaction(_together)]
    return reads + [from_a_snapshot(_together, pause) for pause in (0, EARLY)]


def _tables(connection, prepare: int | None = None) -> list[Tables]:
    connection.prepare_threshold = prepare
    return [{name: contents(connection, "transformed", name)} for name in _names(connection)]


def _prepared(connection) -> list[Tables]:
    return _tables(connection, prepare=0)


def _together(connection) -> list[Tables]:
    return [{name: contents(connection, "transformed", name) for name in _names(connection)}]


def _names(one) -> list[str]:
    rows = one.execute(
        sql.SQL(
            """select tablename from pg_catalog.pg_tables
            where schemaname = 'transformed' and tablename <> 'data_status_facts' order by 1"""
        )
    )
    return [name for (name,) in rows]
