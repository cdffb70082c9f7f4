"""The schema in which dbt builds, where nobody reads: `transformed_next`."""

import time
from collections.abc import Iterable
from typing import LiteralString

import psycopg
from psycopg import sql

from pipeline.database import catalog, locks
from pipeline.database.catalog import NEXT, PUBLISHED
from pipeline.database.queries import scalar
from pipeline.errors import SourceError


def create(connection: psycopg.Connection, patience: float) -> int:
    """Create the schema, empty; what a killed build left in it is dropped. Returns its oid.

    Raises SourceError when a session reads there for longer than `patience`, in seconds.
    """
    drop(connection, NEXT, patience)
    with connection.transaction():
        connection.execute(f"create schema {NEXT}")
        return scalar(connection, f"select '{NEXT}'::regnamespace::oid")


def drop(connection: psycopg.Connection, schema: LiteralString, patience: float) -> None:
    """Drop a schema of ours on which nobody should depend, with everything in it.

    Raises SourceError when a session reads there for longer than `patience`, in seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            with connection.transaction():
                connection.execute(f"set local lock_timeout = '{locks.LOCK_TIMEOUT}'")
                connection.execute(f"drop schema if exists {schema} cascade")
            return
        except locks.TIMED_OUT:
            if time.monotonic() > deadline:
                reason = f"readers hold what is left in schema {schema}"
                raise postponed(reason, locks.oldest_holder(connection, schema)) from None
            time.sleep(0.2)


def show_published(connection: psycopg.Connection, names: Iterable[str]) -> None:
    """Show the published tables, by views, in place of those that are not built or are held.

    What was built under such a name is dropped. A name that is not published yet gets no view.
    """
    published, built = catalog.tables(connection), catalog.tables(connection, NEXT)
    for name in names:
        built_name = sql.Identifier(NEXT, name)
        with connection.transaction():
            if name in built:
                connection.execute(sql.SQL("drop table {}").format(built_name))
            if name in published:
                view = sql.SQL("create or replace view {} as select * from {}")
                connection.execute(view.format(built_name, sql.Identifier(PUBLISHED, name)))


def postponed(reason: str, oldest: str) -> SourceError:
    """The error when sessions, of which `oldest` is one, prevent a publication."""
    return SourceError(
        f"publication postponed: {reason}; the oldest is {oldest}",
        "the published tables stay as they were; the next night tries again",
    )
