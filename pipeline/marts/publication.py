"""Publication: the new tables replace the old ones in one transaction.

Readers of schema `transformed` see last night's tables or tonight's, never none and never a
mixture. Three things make that true, and each of them was measured:

1.  The new tables are frozen first. A snapshot older than the build would otherwise find them
    empty.
2.  All old tables, and what others built on them, are locked with a short time limit, again and
    again: readers queue behind one lock for 200 ms at most, behind all of them for 0.9 s, and no
    session dies of a deadlock. What was read before the locks is then read again, because others
    may have changed it meanwhile.
3.  Only then do the new tables replace the old ones. Any wait of 200 ms undoes everything, and the
    publication is attempted again.

The schema itself stays, with what others granted on it and put into it, and so do the tables that
were not built or are held. Table `data_status_facts` is locked with the rest and filled with
frozen rows, so that nobody reads the status of one generation and the rows of another in one
transaction. What needs no lock (ledger, privileges) is done before: readers wait only for the
exchange and the commit.
"""

import random
import time
from collections.abc import Callable, Iterable

import psycopg
from psycopg import sql

from pipeline.database import catalog, grants, ledger, locks
from pipeline.database.catalog import NEXT, PUBLISHED
from pipeline.database.queries import scalar
from pipeline.errors import SourceError
from pipeline.marts import data_status, dependents
from pipeline.marts.build_schema import postponed
from pipeline.marts.freshness import Row
from pipeline.settings import Settings
from pipeline.state import Outcome


class _Changed(Exception):
    """What was read before the locks was no longer true under them, or they took too long."""


def publish(
    connection: psycopg.Connection,
    here: Settings,
    schema_oid: int,
    names: Iterable[str],
    record: Callable[[psycopg.Connection, int], list[Row]],
    dropped: Iterable[str] = (),
    known_generation: int = 0,
) -> int:
    """Publish tables that were built in `transformed_next`; the others stay as they are.

    Parameters
    ----------
    schema_oid: what `build_schema.create` returned before the build.
    names:      the tables to publish.
    record:     called with the connection and the new generation within the transaction, before
                anything is locked: what it writes is committed together with the tables, or not at
                all. It returns the new rows of `data_status`; none leaves it as it is.
    dropped:    published tables to drop, because their model was deleted long enough ago.
    known_generation: a generation that was recorded elsewhere; the new one is greater.

    Returns the generation. Raises SourceError when readers held their locks for too long, and
    Refused when something that others built on a published table cannot be recreated; nothing has
    changed then.
    """
    names = sorted(names)
    deadline = time.monotonic() + here.publish_patience
    _freeze(connection, deadline)
    while True:
        try:
            with connection.transaction():
                connection.execute(f"set local lock_timeout = '{locks.LOCK_TIMEOUT}'")
                _check_schema(connection, schema_oid)
                old = _our_tables(connection, {*names, *dropped})
                generation = 1 + max(known_generation, ledger.generation(connection))
                status = record(connection, generation)
                locks.cancel_autovacuum(connection, [_published(name) for name in old])
                _exchange(connection, names, old)
                if status:
                    data_status.replace(connection, status)
            return generation
        except (*locks.TIMED_OUT, _Changed):
            if time.monotonic() > deadline:
                oldest = locks.oldest_holder(connection, PUBLISHED)
                raise postponed("readers hold published tables", oldest) from None
            time.sleep(random.uniform(0.05, 0.5))  # noqa: S311 - not for secrets


def _freeze(connection: psycopg.Connection, deadline: float) -> None:
    """Freeze the new tables until no snapshot anywhere can find them empty."""
    built_by = scalar(connection, "select pg_current_xact_id()::xid")
    while True:
        built = connection.execute(
            """select relname, reltuples >= 0 from pg_class
            where relnamespace = %s::regnamespace and relkind = 'r'""",
            [NEXT],
        ).fetchall()
        for table, is_analyzed in built:
            options = sql.SQL("freeze" if is_analyzed else "freeze, analyze")
            name = sql.Identifier(NEXT, table)
            connection.execute(sql.SQL("vacuum ({}) {}").format(options, name))
        if not scalar(
            connection,
            """select count(*) from pg_catalog.pg_class as unfrozen
            where (
                unfrozen.relnamespace = %(next)s::regnamespace and unfrozen.relkind = 'r'
                or unfrozen.oid in (
                    select reltoastrelid from pg_catalog.pg_class
                    where relnamespace = %(next)s::regnamespace and relkind = 'r'
                )
            ) and age(unfrozen.relfrozenxid) > age(%(built_by)s::xid)""",
            {"next": NEXT, "built_by": str(built_by)},
        ):
            return
        if time.monotonic() > deadline:
            oldest = locks.oldest_snapshot(connection)
            raise postponed("readers hold a snapshot older than the build", oldest)
        time.sleep(0.2)


def _check_schema(connection: psycopg.Connection, schema_oid: int) -> None:
    """Publish only what this run built: while it slept, another run may have built here."""
    if scalar(connection, "select to_regnamespace(%s)::oid", [NEXT]) != schema_oid:
        raise SourceError("another run built new tables meanwhile; this run's are not published")


def _our_tables(connection: psycopg.Connection, names: set[str]) -> dict[str, int]:
    """The oids of those of these tables that this pipeline published.

    The ledger tells which did; if it is lost, all of them count.
    """
    ours = ledger.newest(connection, "transform", (Outcome.PUBLISHED,)).keys() or names
    return {name: oid for name, oid in catalog.tables(connection).items() if name in ours & names}


def _exchange(connection: psycopg.Connection, names: list[str], old: dict[str, int]) -> None:
    """Replace the old tables, given by name with their oids, by the new ones.

    Readers wait from the first lock to the end of the transaction: everything else comes before.
    """
    connection.execute(f"create schema if not exists {PUBLISHED}")
    granted = grants.of_others(connection, old.values())
    by_default = grants.by_default(connection, PUBLISHED)
    for name in names:
        privileges = granted[old[name]] if name in old else by_default
        grants.give(connection, sql.Identifier(NEXT, name), privileges)
    views = _views(connection, old)
    _lock(connection, old, views)
    if (grants.of_others(connection, old.values()), _views(connection, old)) != (granted, views):
        raise _Changed
    for view in reversed(views):
        with dependents.refusing(view.tables):
            connection.execute(sql.SQL("drop view {}").format(view.name))
    for name in old:
        with dependents.refusing({name}):
            connection.execute(sql.SQL("drop table {}").format(_published(name)))
    for name in names:
        _move_in(connection, name)
    connection.execute(f"drop schema {NEXT} cascade")  # with the views on published tables
    for view in views:
        dependents.create(connection, view)


def _views(connection: psycopg.Connection, old: dict[str, int]) -> list[dependents.View]:
    try:
        return dependents.views(connection, old)
    except psycopg.errors.InternalError_ as error:
        if "could not open relation" not in str(error):
            raise
        raise _Changed from None  # its owner dropped one at this moment


def _lock(
    connection: psycopg.Connection, old: dict[str, int], views: list[dependents.View]
) -> None:
    """Lock everything that readers could mix with the new tables, within LONGEST_ATTEMPT.

    The views come first, the outermost before all others, because readers lock in this order too.
    """
    status = catalog.tables(connection).keys() & {data_status.FACTS}
    deadline = time.monotonic() + locks.LONGEST_ATTEMPT
    for view in reversed(views):
        _limit_next_statement(connection, deadline)
        dependents.lock(connection, view)
    _limit_next_statement(connection, deadline)
    if tables := [_published(name) for name in (*old, *status)]:
        statement = sql.SQL("lock table {} in access exclusive mode")
        connection.execute(statement.format(sql.SQL(", ").join(tables)))
    connection.execute("set local statement_timeout = 0")


def _limit_next_statement(connection: psycopg.Connection, deadline: float) -> None:
    """Cancel the next statement at a time of `time.monotonic()`."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise _Changed
    connection.execute(f"set local statement_timeout = '{locks.milliseconds(seconds)}'")


def _move_in(connection: psycopg.Connection, name: str) -> None:
    move = sql.SQL("alter table {} set schema {}")
    with dependents.refusing({name}):
        connection.execute(move.format(sql.Identifier(NEXT, name), sql.Identifier(PUBLISHED)))


def _published(name: str) -> sql.Identifier:
    return sql.Identifier(PUBLISHED, name)
