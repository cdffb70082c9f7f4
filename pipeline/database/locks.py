"""Locks on the dev database and on prod: who holds them, and for how long others wait for them."""

import time
from typing import LiteralString

import psycopg
from psycopg import sql

from pipeline.database.queries import scalar, trusted
from pipeline.errors import BusyError
from pipeline.text import printable

RUN_LOCK = 7_305_812_164  # advisory lock: one run at a time on one database, from any machine
SETUP_LOCK = RUN_LOCK + 1
ENDED_LOCK_PATIENCE = 1.0  # seconds until a run that has just ended has released its lock
LOST_LOCK_PATIENCE = 10.0  # seconds until a killed process of ours has released its lock
LOCK_TIMEOUT = "200ms"  # for one table lock; below the server's deadlock_timeout of 1 s
LONGEST_ATTEMPT = 0.9  # seconds for all of them: readers of the first table wait meanwhile
TO_CANCEL_AUTOVACUUM = "1500ms"  # the server cancels it for who waited for deadlock_timeout
# How a wait for a table lock ends without the lock.
TIMED_OUT = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.QueryCanceled,
    psycopg.errors.DeadlockDetected,
)


def hold_run_lock(connection: psycopg.Connection, patience: float = ENDED_LOCK_PATIENCE) -> None:
    """Keep other machines' runs off this database as long as the connection lasts.

    The session of a run that ended a moment ago may still be there, so its lock is waited for.

    Raises BusyError when another run holds the lock for longer than `patience` (seconds).
    """
    busy = "another run is in progress on this database; nothing was loaded"
    take_lock(connection, "pg_try_advisory_lock", RUN_LOCK, patience, busy)


def is_run_in_progress(connection: psycopg.Connection) -> bool:
    """Whether a run of some machine holds its lock on this database."""
    return scalar(
        connection,
        """select exists (
            select from pg_catalog.pg_locks
            where locktype = 'advisory' and granted and objsubid = 1
                and database = (
                    select oid from pg_catalog.pg_database where datname = current_database()
                )
                and (classid::bigint << 32) + objid::bigint = %s
        )""",
        [RUN_LOCK],
    )


def take_lock(
    connection: psycopg.Connection, function: LiteralString, lock: int, patience: float, busy: str
) -> None:
    """Take an advisory lock with `function`; raises BusyError with the text `busy` otherwise.

    patience: seconds. If the holder was killed or lost its connection, its server process ends,
    and releases the lock, only some time later.
    """
    deadline = time.monotonic() + patience
    while not scalar(connection, f"select {function}(%s)", [lock]):
        if time.monotonic() >= deadline:
            raise BusyError(busy)
        time.sleep(0.1)


def milliseconds(seconds: float) -> LiteralString:
    """A time limit as PostgreSQL writes it; at least 1 ms, because 0 would mean no limit."""
    return trusted(f"{max(1, round(seconds * 1000))}ms")


def cancel_autovacuum(connection: psycopg.Connection, names: list[sql.Identifier]) -> None:
    """Cancel autovacuum of these tables and keep it off until the transaction ends.

    Readers continue. The server cancels autovacuum only for a session that waits for longer than
    LOCK_TIMEOUT, which holds again afterwards.
    """
    if names:
        connection.execute(f"set local lock_timeout = '{TO_CANCEL_AUTOVACUUM}'")
        statement = sql.SQL("lock table {} in share update exclusive mode")
        connection.execute(statement.format(sql.SQL(", ").join(names)))
        connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")


def oldest_holder(connection: psycopg.Connection, schema: str, mode: str = "%") -> str:
    """Describe the oldest session that holds locks (of a mode) on a schema's relations."""
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


def oldest_snapshot(connection: psycopg.Connection) -> str:
    """Describe the session with the oldest snapshot, which keeps new tables from being frozen.

    A session that wrote has a transaction number, which has the same effect.
    """
    age = "greatest(age(backend_xmin), age(backend_xid))"
    return _oldest(connection, f"{age} is not null order by {age} desc, xact_start")


def _oldest(connection: psycopg.Connection, condition: LiteralString, *params: str) -> str:
    """Describe the first session of `pg_stat_activity` by a condition with its order."""
    row = connection.execute(
        f"""select pid, coalesce(usename, backend_type), application_name, now() - xact_start,
            left(query, 80)
        from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and {condition}
        limit 1""",  # noqa: S608
        params,
    ).fetchone()
    if not row:
        return "gone by now"
    session = f"process {row[0]} of {row[1]} ({row[2]}), for {row[3]}: {row[4]}"
    return printable(session)
