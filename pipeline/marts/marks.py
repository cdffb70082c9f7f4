"""Whether somebody changed a table since the pipeline wrote it, found out without reading it.

The server counts every row that is inserted, updated or deleted in a table, even if the
transaction is rolled back; TRUNCATE and everything else that rewrites a table gives it another
file. When the pipeline writes a table it records counts, file and columns. As long as they stay
the same, nobody changed it.

If they differ, its rows are counted and, if a hash is known, hashed again, because some harmless
things change them too: counters emptied by a crash, a rewritten file, a rolled-back change.
Without a hash the rows tell which transaction wrote them: a row that was inserted or updated since
has another one (`xmin`, which COPY FREEZE, VACUUM FREEZE and FULL, and CLUSTER keep; tried on 15
and 18). If that is not known either, counts that increased are a change.

A session reports its counts up to ten seconds after its transaction. So what changes in the very
seconds of a check is found by the next check.
"""

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import psycopg
from psycopg import sql

from pipeline.database.queries import one

LOCKED = "a session keeps it locked"
LOCK_TIMEOUT = "1s"  # for a table whose rows are to be counted
REPORTED = 2.0  # seconds to wait for the counts of a session that has ended
_HASH = """
select count(*), coalesce(sum(hashtextextended(published::text, 0)::numeric), 0)::text
from {} as published
"""
_LATER = "select count(*), count(*) filter (where xmin::text <> %s) from {}"
_STATES = """
select relname, pg_catalog.pg_relation_filenode(oid)::bigint,
    pg_catalog.pg_stat_get_tuples_inserted(oid) + pg_catalog.pg_stat_get_tuples_updated(oid)
        + pg_catalog.pg_stat_get_tuples_deleted(oid),
    coalesce((
        select string_agg(format('%%I %%s', attname, format_type(atttypid, atttypmod)), ', '
            order by attnum)
        from pg_catalog.pg_attribute
        where attrelid = pg_class.oid and attnum > 0 and not attisdropped
    ), '')
from pg_catalog.pg_class
where relnamespace = to_regnamespace(%s) and relkind = 'r' and relname = any(%s)
"""


class Version(NamedTuple):
    """The rows of a table as the pipeline wrote them at one time."""

    of: str  # which time: a fingerprint, or a generation
    rows: int | None = None
    hash: str | None = None
    writer: str | None = None  # the transaction that wrote all rows, as their `xmin` says


class _State(NamedTuple):
    """What the server says of a table."""

    file: int
    changes: int
    columns: str


def content(connection: psycopg.Connection, table: sql.Composable) -> tuple[int, str]:
    """The number of rows of a table, and a hash of them that does not depend on their order."""
    return one(connection, sql.SQL(_HASH).format(table))


def writer(connection: psycopg.Connection, schema: str, name: str) -> str | None:
    """The transaction that wrote a table which one transaction wrote; None if it is empty."""
    statement = sql.SQL("select xmin::text from {} limit 1").format(sql.Identifier(schema, name))
    row = connection.execute(statement).fetchone()
    return row[0] if row else None


def altered(
    connection: psycopg.Connection, schema: str, versions: Mapping[str, Version]
) -> dict[str, str]:
    """The existing tables of a schema that are not as the pipeline wrote them: how, by name.

    A table that turns out to be unchanged is recorded again, so that it is not counted again. A
    table whose number of rows was never recorded is taken for unchanged. Call this outside of a
    transaction: within one the server shows the counts as they were first read.
    """
    states, recorded = _states(connection, schema, versions), _recorded(connection, schema)
    differences = {}
    for name in versions.keys() & states.keys():
        mark, before = recorded.get(name, (None, None))
        if mark and mark.of != versions[name].of:
            mark = before = None  # of an earlier version: a killed run did not record this one
        version = versions[name]._replace(
            hash=mark.hash if mark else None, writer=mark.writer if mark else None
        )
        if before == states[name] or version.rows is None:
            continue
        difference = _difference_in_time(connection, schema, name, version, before, states[name])
        if difference:
            differences[name] = difference
        elif before or _is_reported(version, states[name]):
            _record(connection, schema, name, version, states[name])
    return differences


def record(
    connection: psycopg.Connection, schema: str, name: str, version: Version, built_in: str = ""
) -> None:
    """Record a table as it is now, when this session, or one that has ended, has written it.

    built_in: the schema in which it is until it is published, if that is another one.
    """
    deadline = time.monotonic() + REPORTED
    while True:
        connection.execute("select pg_stat_clear_snapshot()")
        state = _states(connection, built_in or schema, [name]).get(name)
        if state and _is_reported(version, state):
            _record(connection, schema, name, version, state)
            return
        if time.monotonic() > deadline:  # its rows will be counted at the next check
            return
        time.sleep(0.02)


def flush(connection: psycopg.Connection) -> None:
    """Report the counts of this session to the server now instead of within seconds."""
    connection.execute("select pg_stat_force_next_flush()")


def changes(connection: psycopg.Connection, schema: str, name: str) -> int:
    """How many rows of a table were ever inserted, updated and deleted, as far as reported."""
    states = _states(connection, schema, [name])
    return states[name].changes if name in states else 0


def add_hash(connection: psycopg.Connection, schema: str, name: str, version: Version) -> None:
    """Add a hash to the record of a table, if that is of the same version."""
    connection.execute(
        """update pipeline.table_marks set row_count = %s, content_hash = %s
        where (schema_name, table_name, made_of) = (%s, %s, %s)""",
        [version.rows, version.hash, schema, name, version.of],
    )


def recorded(connection: psycopg.Connection, schema: str) -> dict[str, Version]:
    """The recorded version of each table of a schema, by name."""
    return {name: version for name, (version, _) in _recorded(connection, schema).items()}


def _is_reported(version: Version, state: _State) -> bool:
    """Whether the session that wrote a table has reported its counts: at least its rows."""
    return state.changes >= (version.rows or 0)


def _difference_in_time(connection: psycopg.Connection, *arguments) -> str:
    """The same as `_difference`, but LOCKED if a session lets nobody read the table."""
    try:
        with connection.transaction():
            connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
            return _difference(connection, *arguments)
    except psycopg.errors.LockNotAvailable:
        return LOCKED


def _difference(
    connection: psycopg.Connection,
    schema: str,
    name: str,
    version: Version,
    before: _State | None,
    now: _State,
) -> str:
    """How a table differs from a version of it; empty when it does not."""
    if before and before.columns != now.columns:
        return "its columns changed"
    table = sql.Identifier(schema, name)
    digest, later = None, 0
    if version.hash:
        rows, digest = content(connection, table)
    else:
        rows, later = one(connection, sql.SQL(_LATER).format(table), [version.writer])
    if rows != version.rows:
        return f"it has {rows:,} rows, and was written with {version.rows:,}"
    if digest != version.hash:
        return "it has other values"
    is_certain = version.hash or version.writer or not rows
    has_more_changes = before and now.changes > before.changes
    return "rows of it were changed" if later or (has_more_changes and not is_certain) else ""


def _states(connection: psycopg.Connection, schema: str, names: Iterable[str]) -> dict[str, _State]:
    rows = connection.execute(_STATES, [schema, list(names)]).fetchall()
    return {name: _State(*state) for name, *state in rows}


def _recorded(connection: psycopg.Connection, schema: str) -> dict[str, tuple[Version, _State]]:
    rows = connection.execute(
        """select table_name, made_of, row_count, content_hash, made_by, file, changes, columns
        from pipeline.table_marks where schema_name = %s""",
        [schema],
    )
    return {name: (Version(*values[:4]), _State(*values[4:])) for name, *values in rows}


def _record(
    connection: psycopg.Connection, schema: str, name: str, version: Version, state: _State
) -> None:
    connection.execute(
        """insert into pipeline.table_marks (
            schema_name, table_name, made_of, row_count, content_hash, made_by, file, changes,
            columns
        ) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
        on conflict (schema_name, table_name) do update set
            (made_of, row_count, content_hash, made_by, file, changes, columns, noted_at) = (
                excluded.made_of, excluded.row_count, excluded.content_hash, excluded.made_by,
                excluded.file, excluded.changes, excluded.columns, clock_timestamp()
            )""",
        [schema, name, *version, *state],
    )
