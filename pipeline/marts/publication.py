"""Publication: the new tables take the place of the old ones in one transaction.

Readers of schema `transformed` see last night's tables or tonight's, never none and never some of
each. Three things make that true, each of them measured:

1.  The new tables are frozen first. A snapshot older than the build would otherwise find them
    empty.
2.  All old tables are locked, and what others built on them, with a short time limit, tried again:
    readers queue behind one lock for 200 ms at most, behind all of them for 0.9 s, and nobody dies
    of a deadlock. What was read before is read again then: others may have changed it meanwhile.
3.  Only then do the new tables take the places of the old ones. A wait of 200 ms, for whatever it
    may be, undoes all of it, and it is tried again.

The schema itself stays, with what others granted on it and put into it, and so do the tables that
were not built, or are held. Table `data_status_facts` is locked with the rest and filled anew with
frozen rows, so that nobody reads the status of one generation and the rows of another in one
transaction. What needs no lock (ledger, privileges) is done before: readers wait for the exchange
and the commit alone.
"""

import random
import time
from collections.abc import Callable, Iterable
from typing import LiteralString

import psycopg
from psycopg import sql

from pipeline.database import grants, ledger
from pipeline.database.queries import detail, scalar, trusted
from pipeline.errors import SourceError
from pipeline.marts import data_status, dependents
from pipeline.marts.freshness import Row
from pipeline.settings import Settings

PUBLISHED, NEXT = "transformed", "transformed_next"
LOCK_TIMEOUT = "200ms"  # for one lock; below the server's deadlock_timeout of 1 s
LONGEST_ATTEMPT = 0.9  # seconds for all: readers of the first wait while we wait for the last
TO_CANCEL_AUTOVACUUM = "1500ms"  # the server does that when we waited for deadlock_timeout
# What a wait of ours ends with, when it is to be tried again.
WAITED = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.QueryCanceled,
    psycopg.errors.DeadlockDetected,
)


class _Again(Exception):
    """What was read before the locks had changed when they were there."""


def tables(connection: psycopg.Connection, schema: str = PUBLISHED) -> dict[str, int]:
    """The oids of the tables in a schema, by name."""
    rows = connection.execute(
        """select relname, oid from pg_class
        where relnamespace = to_regnamespace(%s) and relkind = 'r' order by 1""",
        [schema],
    )
    return dict(rows.fetchall())


def make_room(connection: psycopg.Connection, patience: float) -> int:
    """An empty schema for the build; what a killed build left in it goes. Returns its oid.

    Raises SourceError when somebody reads there for longer than `patience`, in seconds.
    """
    drop_schema(connection, NEXT, patience)
    with connection.transaction():
        connection.execute(f"create schema {NEXT}")
        return scalar(connection, f"select '{NEXT}'::regnamespace::oid")


def drop_schema(connection: psycopg.Connection, schema: LiteralString, patience: float) -> None:
    """Drop a schema of ours that nobody is meant to depend on, with all in it.

    Raises SourceError when somebody reads there for longer than `patience`, in seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            with connection.transaction():
                connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
                connection.execute(f"drop schema if exists {schema} cascade")
            return
        except WAITED:
            if time.monotonic() > deadline:
                oldest = holder(connection, schema)
                raise _postponed(f"readers hold what is left in schema {schema}", oldest) from None
            time.sleep(0.2)


def milliseconds(patience: float) -> LiteralString:
    """Seconds of patience as a time limit of PostgreSQL, for which 0 would be no limit."""
    return trusted(f"{max(1, round(patience * 1000))}ms")


def pass_through(connection: psycopg.Connection, names: Iterable[str]) -> None:
    """Let the published tables stand in for those that are not built, or are held.

    What was built under such a name goes; where nothing is published yet, nothing stands in.
    """
    published, built = tables(connection), tables(connection, NEXT)
    for name in names:
        beside = sql.Identifier(NEXT, name)
        with connection.transaction():
            if name in built:
                connection.execute(sql.SQL("drop table {}").format(beside))
            if name in published:
                view = sql.SQL("create or replace view {} as select * from {}")
                connection.execute(view.format(beside, _published(name)))


def publish(
    connection: psycopg.Connection,
    here: Settings,
    room: int,
    names: Iterable[str],
    note: Callable[[psycopg.Connection, int], list[Row]],
    gone: Iterable[str] = (),
    known: int = 0,
) -> int:
    """Publish tables that stand in `transformed_next`; the others stay as they are.

    Parameters
    ----------
    room:  what `make_room` returned before the build.
    names: the tables to publish.
    note:  called with the connection and the new generation within the transaction, before
           anything is locked: what it writes is there together with the tables, or not at all.
           It returns what readers are to be told in `data_status`.
    gone:  published tables whose model is no more and whose time is up; they are dropped.
    known: a generation that is known elsewhere; the new one is greater.

    Returns the generation. Raises SourceError when readers did not let go in time and Refused when
    what others built upon a published table cannot be made anew; nothing has changed then.
    """
    names = sorted(names)
    deadline = time.monotonic() + here.publish_patience
    _freeze(connection, deadline)
    while True:
        try:
            with connection.transaction():
                connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
                _hold_room(connection, room)
                old = _ours(connection, {*names, *gone})
                generation = 1 + max(known, ledger.generation(connection))
                told = note(connection, generation)
                keep_autovacuum_off(connection, [_published(name) for name in old])
                _exchange(connection, names, old)
                if told:
                    data_status.replace(connection, told)
            return generation
        except (*WAITED, _Again):
            if time.monotonic() > deadline:
                oldest = holder(connection, PUBLISHED)
                raise _postponed("readers hold published tables", oldest) from None
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
        for table, is_known_to_the_planner in built:
            words = sql.SQL("freeze" if is_known_to_the_planner else "freeze, analyze")
            name = sql.Identifier(NEXT, table)
            connection.execute(sql.SQL("vacuum ({}) {}").format(words, name))
        if not scalar(
            connection,
            """select count(*) from pg_catalog.pg_class as held
            where (
                held.relnamespace = %(next)s::regnamespace and held.relkind = 'r'
                or held.oid in (
                    select reltoastrelid from pg_catalog.pg_class
                    where relnamespace = %(next)s::regnamespace and relkind = 'r'
                )
            ) and age(held.relfrozenxid) > age(%(built_by)s::xid)""",
            {"next": NEXT, "built_by": str(built_by)},
        ):
            return
        if time.monotonic() > deadline:
            # They keep the new tables from being frozen; of one that wrote its number does.
            age = "greatest(age(backend_xmin), age(backend_xid))"
            oldest = _oldest(connection, f"{age} is not null order by {age} desc, xact_start")
            raise _postponed("readers hold a snapshot older than the build", oldest)
        time.sleep(0.2)


def holder(connection: psycopg.Connection, schema: str, mode: str = "%") -> str:
    """Of the sessions that hold locks (of a mode) on a schema's relations, the oldest, in words."""
    return _oldest(
        connection,
        """pid in (
            select pg_locks.pid from pg_locks
            join pg_class on relation in (pg_class.oid, reltoastrelid)
                and relnamespace = to_regnamespace(%s)
            where granted and mode like %s
        ) order by xact_start""",
        schema,
        mode,
    )


def _oldest(connection: psycopg.Connection, condition: LiteralString, *words: str) -> str:
    """The first session by a condition, with its order, on `pg_stat_activity`."""
    row = connection.execute(
        f"""select pid, coalesce(usename, backend_type), application_name, now() - xact_start,
            left(query, 80)
        from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and {condition}
        limit 1""",  # noqa: S608
        words,
    ).fetchone()
    if not row:
        return "gone by now"
    who = f"process {row[0]} of {row[1]} ({row[2]}), for {row[3]}: {row[4]}"
    return "".join(c if c.isprintable() else " " for c in who)


def _postponed(why: str, oldest: str) -> SourceError:
    return SourceError(
        f"publication postponed: {why}; the oldest is {oldest}",
        "the published tables stay as they were; the next night tries again",
    )


def _hold_room(connection: psycopg.Connection, room: int) -> None:
    """Publish only what this run built: a run that slept may find another one's tables here."""
    if scalar(connection, "select to_regnamespace(%s)::oid", [NEXT]) != room:
        raise SourceError("another run built new tables meanwhile; this one's are not published")


def _exchange(connection: psycopg.Connection, names: list[str], old: dict[str, int]) -> None:
    """Put the new tables in the places of the old ones, whose oids are given by name.

    From the first lock to the end of the transaction readers wait: all else comes before.
    """
    connection.execute(f"create schema if not exists {PUBLISHED}")
    granted = grants.of_others(connection, old.values())
    by_default = grants.by_default(connection, PUBLISHED)
    for name in names:
        as_before = granted[old[name]] if name in old else by_default
        grants.give(connection, sql.Identifier(NEXT, name), as_before)
    views = _views(connection, old)
    until = time.monotonic() + LONGEST_ATTEMPT
    # Views first, the outermost before all: in this order their readers lock too.
    for view in reversed(views):
        _bound_next(connection, until)
        dependents.lock(connection, view)
    _bound_next(connection, until)
    _lock(connection, old)
    connection.execute("set local statement_timeout = 0")
    if (grants.of_others(connection, old.values()), _views(connection, old)) != (granted, views):
        raise _Again
    for view in reversed(views):
        _drop(connection, "drop view {}", view.name, view.tables)
    for name in old:
        _drop(connection, "drop table {}", _published(name), {name})
    for name in names:
        _move_in(connection, name)
    connection.execute(f"drop schema {NEXT} cascade")  # with the views that stood in
    for view in views:
        dependents.make(connection, view)


def _bound_next(connection: psycopg.Connection, until: float) -> None:
    """Let the next statement end at a time of `time.monotonic()`."""
    left = until - time.monotonic()
    if left <= 0:
        raise _Again
    connection.execute(f"set local statement_timeout = '{milliseconds(left)}'")


def _views(connection: psycopg.Connection, old: dict[str, int]) -> list[dependents.View]:
    try:
        return dependents.views(connection, old)
    except psycopg.errors.InternalError_ as error:
        if "could not open relation" not in str(error):
            raise
        raise _Again from None  # its owner dropped one, this instant


def _ours(connection: psycopg.Connection, wanted: set[str]) -> dict[str, int]:
    """Those of the tables that are published by this pipeline; by name if the ledger is lost."""
    known = ledger.newest(connection, "transform", ("published",)).keys() or wanted
    return {k: oid for k, oid in tables(connection).items() if k in known & wanted}


def _published(name: str) -> sql.Identifier:
    return sql.Identifier(PUBLISHED, name)


def _lock(connection: psycopg.Connection, old: Iterable[str]) -> None:
    """Lock all that readers could mix with what comes, in one statement."""
    status = [name for name in (data_status.FACTS,) if name in tables(connection)]
    if found := [_published(name) for name in (*old, *status)]:
        statement = sql.SQL("lock table {} in access exclusive mode")
        connection.execute(statement.format(sql.SQL(", ").join(found)))


def keep_autovacuum_off(connection: psycopg.Connection, names: list[sql.Identifier]) -> None:
    """Have autovacuum of these tables cancelled and keep it off, while readers go on.

    The server cancels it for who waits for longer than our locks do.
    """
    if names:
        connection.execute(f"set local lock_timeout = '{TO_CANCEL_AUTOVACUUM}'")
        statement = sql.SQL("lock table {} in share update exclusive mode")
        connection.execute(statement.format(sql.SQL(", ").join(names)))
        connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")


def _drop(connection, statement: LiteralString, name: sql.Identifier, at_fault: set[str]) -> None:
    try:
        connection.execute(sql.SQL(statement).format(name))
    except psycopg.errors.DependentObjectsStillExist as error:
        raise dependents.Refused(at_fault, detail(error)) from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise dependents.Refused(at_fault, error.diag.message_primary or str(error)) from None


def _move_in(connection: psycopg.Connection, name: str) -> None:
    move = sql.SQL("alter table {} set schema {}")
    try:
        connection.execute(move.format(sql.Identifier(NEXT, name), sql.Identifier(PUBLISHED)))
    except psycopg.errors.DuplicateTable as error:
        raise dependents.Refused({name}, error.diag.message_primary or str(error)) from None
