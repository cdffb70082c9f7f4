"""Whether somebody changed a table since the pipeline made it, found out without reading it.

The server counts every row that is inserted, updated or deleted in a table, also in vain; TRUNCATE
and whatever else rewrites it gives it another file. Counts, file and columns are noted with the
rows when a table is made. Where they stand as noted, nobody changed it. Else its rows are counted
and, where a hash is known, hashed again: an emptied counter (after a crash), a rewritten file and
what was rolled back change no row. Without a hash the rows are asked which transaction made them:
one that was inserted or updated since is of another (`xmin`, which COPY FREEZE, VACUUM FREEZE and
FULL, and CLUSTER keep; tried on 15 and 18). Where that is not known, counts that went on are a
change.

A session reports its counts up to ten seconds after its transaction: what is changed in the very
seconds of a check is found by the next one.
"""

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import psycopg
from psycopg import sql

from pipeline.database.queries import one

LOCKED = "a session keeps it to itself"
LOCK_TIMEOUT = "1s"  # for a table that is to be counted
REPORTED = 2.0  # seconds for which the counts of a session that has ended are waited for
_HASH = """
select count(*), coalesce(sum(hashtextextended(published::text, 0)::numeric), 0)::text
from {} as published
"""
_LATER = "select count(*), count(*) filter (where xmin::text <> %s) from {}"
_SEEN = """
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


class Made(NamedTuple):
    """What a table was made: which making it was, its rows, and a hash of them where known."""

    of: str  # a fingerprint, or a generation
    rows: int | None = None
    hash: str | None = None
    maker: str | None = None  # the transaction that made all rows, as their `xmin` has it


class _Seen(NamedTuple):
    """What the server says of a table."""

    file: int
    changes: int
    columns: str


def content(connection: psycopg.Connection, table: sql.Composable) -> tuple[int, str]:
    """Rows of a table, and a hash of them in whatever order they stand."""
    return one(connection, sql.SQL(_HASH).format(table))


def maker(connection: psycopg.Connection, schema: str, name: str) -> str | None:
    """The transaction that made a table which one transaction made; None of an empty one."""
    statement = sql.SQL("select xmin::text from {} limit 1").format(sql.Identifier(schema, name))
    row = connection.execute(statement).fetchone()
    return row[0] if row else None


def altered(
    connection: psycopg.Connection, schema: str, made: Mapping[str, Made]
) -> dict[str, str]:
    """The tables of a schema that are there and not as they were made: in what, by name.

    What turns out to be as it was made is noted anew, so that it is not counted again. Of a table
    whose rows nobody noted nothing is known. To be called outside of a transaction: in one, counts
    stay as they were read first.
    """
    seen, noted = _seen(connection, schema, made), _noted(connection, schema)
    found = {}
    for name in made.keys() & seen.keys():
        known, before = noted.get(name, (None, None))
        if known and known.of != made[name].of:
            known = before = None  # of what stood there before; the run was killed as it noted this
        expected = made[name]._replace(
            hash=known.hash if known else None, maker=known.maker if known else None
        )
        if before == seen[name] or expected.rows is None:
            continue
        if why := _difference_in_time(connection, schema, name, expected, before, seen[name]):
            found[name] = why
        elif before or _is_reported(expected, seen[name]):
            _note(connection, schema, name, expected, seen[name])
    return found


def note(
    connection: psycopg.Connection, schema: str, name: str, made: Made, where: str = ""
) -> None:
    """Note a table as it is now: as it was made, by a session that has ended or is this one.

    where: the schema in which it stands until it is published, if that is another one.
    """
    deadline = time.monotonic() + REPORTED
    while True:
        connection.execute("select pg_stat_clear_snapshot()")
        seen = _seen(connection, where or schema, [name]).get(name)
        if seen and _is_reported(made, seen):
            _note(connection, schema, name, made, seen)
            return
        if time.monotonic() > deadline:  # its rows are counted before it is called current
            return
        time.sleep(0.02)


def flush(connection: psycopg.Connection) -> None:
    """Let the server have the counts of this session at once, rather than within seconds."""
    connection.execute("select pg_stat_force_next_flush()")


def changes(connection: psycopg.Connection, schema: str, name: str) -> int:
    """How many rows of a table were ever inserted, updated and deleted, as far as reported."""
    seen = _seen(connection, schema, [name])
    return seen[name].changes if name in seen else 0


def add_hash(connection: psycopg.Connection, schema: str, name: str, made: Made) -> None:
    """Add a hash to what is noted of a table, if it is still the same making of it."""
    connection.execute(
        """update pipeline.table_marks set row_count = %s, content_hash = %s
        where (schema_name, table_name, made_of) = (%s, %s, %s)""",
        [made.rows, made.hash, schema, name, made.of],
    )


def noted(connection: psycopg.Connection, schema: str) -> dict[str, Made]:
    """What is noted of the tables of a schema, by name."""
    return {name: made for name, (made, _) in _noted(connection, schema).items()}


def _is_reported(made: Made, seen: _Seen) -> bool:
    """Whether the session that made a table has reported its counts: its rows, at least."""
    return seen.changes >= (made.rows or 0)


def _difference_in_time(connection: psycopg.Connection, *about) -> str:
    """In what a table is not as it was made; LOCKED where a session lets nobody read it."""
    try:
        with connection.transaction():
            connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
            return _difference(connection, *about)
    except psycopg.errors.LockNotAvailable:
        return LOCKED


def _difference(connection, schema: str, name: str, made: Made, before, now: _Seen) -> str:
    """In what a table is not as it was made; empty when it is."""
    if before and before.columns != now.columns:
        return "its columns changed"
    table = sql.Identifier(schema, name)
    digest, later = None, 0
    if made.hash:
        rows, digest = content(connection, table)
    else:
        rows, later = connection.execute(sql.SQL(_LATER).format(table), [made.maker]).fetchone()
    if rows != made.rows:
        return f"it has {rows:,} rows, and was made with {made.rows:,}"
    if digest != made.hash:
        return "it has other values"
    went_on = before and now.changes > before.changes
    is_told = made.hash or made.maker or not rows
    return "rows of it were changed" if later or (went_on and not is_told) else ""


def _seen(connection: psycopg.Connection, schema: str, names: Iterable[str]) -> dict[str, _Seen]:
    rows = connection.execute(_SEEN, [schema, list(names)]).fetchall()
    return {name: _Seen(*found) for name, *found in rows}


def _noted(connection: psycopg.Connection, schema: str) -> dict[str, tuple[Made, _Seen]]:
    rows = connection.execute(
        """select table_name, made_of, row_count, content_hash, made_by, file, changes, columns
        from pipeline.table_marks where schema_name = %s""",
        [schema],
    )
    return {name: (Made(*found[:4]), _Seen(*found[4:])) for name, *found in rows}


def _note(connection: psycopg.Connection, schema: str, name: str, made: Made, seen: _Seen) -> None:
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
        [schema, name, *made, *seen],
    )
