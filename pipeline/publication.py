"""Publication: the new tables take the place of the old ones in one transaction.

Readers of schema `transformed` see last night's tables or tonight's, never none and never some of
each. Three things make that true, each of them measured:

1.  The new tables are frozen first. A snapshot older than the build would otherwise find them
    empty.
2.  All old tables are locked in one statement, with a short time limit, tried again: readers
    queue behind it for 200 ms at most, and nobody dies of a deadlock.
3.  Only then do the new tables take the places of the old ones. A wait of 200 ms, for whatever it
    may be, undoes all of it, and it is tried again.

The schema itself stays, with what others granted on it and put into it.
"""

import random
import time

import psycopg
from psycopg import sql

from pipeline import dependents, grants, ledger, script
from pipeline.errors import SourceError
from pipeline.settings import Settings

PUBLISHED, NEXT = "transformed", "transformed_next"
ALL_MODELS = "all models"  # the name of the whole stage's step; no source or model is called so
LOCK_TIMEOUT = "200ms"  # below the server's deadlock_timeout of 1 s


def exists(connection: psycopg.Connection, tables: list[str]) -> bool:
    """Whether all these tables are published."""
    return set(tables) <= set(_tables(connection, PUBLISHED))


def make_room(connection: psycopg.Connection) -> int:
    """An empty schema for the build; what a killed build left in it goes. Returns its oid."""
    with connection.transaction():
        connection.execute(f"drop schema if exists {NEXT} cascade")
        connection.execute(f"create schema {NEXT}")
        return connection.execute(f"select '{NEXT}'::regnamespace::oid").fetchone()[0]


def publish(
    connection: psycopg.Connection,
    here: Settings,
    run_id: str,
    room: int,
    models: dict[str, dict],
    fingerprint: str,
    facts: dict,
) -> dict:
    """Publish what stands in `transformed_next`; the ledger's rows are part of the transaction.

    Parameters
    ----------
    room:        what `make_room` returned before the build.
    models:      rows and seconds of each table built, by name.
    fingerprint: what the tables are made of.
    facts:       what else to note.

    Returns the facts of the stage. Raises SourceError when readers did not let go in time, or
    when what others built upon a published table cannot be made anew; nothing has changed then.
    """
    started = time.monotonic()
    deadline = started + here.publish_patience
    _freeze(connection, deadline)
    while True:
        try:
            with connection.transaction():
                connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
                _hold_room(connection, room)
                _exchange(connection, models)
                facts = facts | {"generation": _next_generation(connection)}
                facts |= {
                    "outcome": "published",
                    "rows": sum(m["rows"] or 0 for m in models.values()),
                }
                _note(connection, run_id, models, fingerprint, facts)
            break
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            if time.monotonic() > deadline:
                raise _put_off(connection, "hold published tables", _HOLDERS) from None
            time.sleep(random.uniform(0.05, 0.5))  # noqa: S311 - not for secrets
        except psycopg.errors.DependentObjectsStillExist as error:
            raise dependents.refused(" ".join(error.diag.message_detail.split())) from None
        except psycopg.errors.DuplicateTable as error:
            raise dependents.refused(error.diag.message_primary) from None
    return facts | {"publication_seconds": round(time.monotonic() - started, 3)}


def _freeze(connection: psycopg.Connection, deadline: float) -> None:
    """Freeze the new tables until no snapshot anywhere can find them empty."""
    built_by = connection.execute("select pg_current_xact_id()::xid").fetchone()[0]
    while True:
        for table in _tables(connection, NEXT):
            name = sql.Identifier(NEXT, table)
            connection.execute(sql.SQL("vacuum (freeze, analyze) {}").format(name))
        waiting = connection.execute(
            """select count(*) from pg_catalog.pg_class as held
            where (
                held.relnamespace = %(next)s::regnamespace and held.relkind = 'r'
                or held.oid in (
                    select reltoastrelid from pg_catalog.pg_class
                    where relnamespace = %(next)s::regnamespace and relkind = 'r'
                )
            ) and age(held.relfrozenxid) > age(%(built_by)s::xid)""",
            {"next": NEXT, "built_by": str(built_by)},
        ).fetchone()[0]
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise _put_off(connection, "hold a snapshot older than the build", _OLDEST)
        time.sleep(0.2)


# Who stands in the way: of the locks, and of freezing the new tables.
_HOLDERS = """pid in (
    select pg_locks.pid from pg_locks
    join pg_class on pg_class.oid = relation and relnamespace = to_regnamespace('transformed')
    where granted
)"""
_OLDEST = "backend_xmin is not null"


def _put_off(connection: psycopg.Connection, why: str, condition: str) -> SourceError:
    """The error of a publication that readers did not let happen, naming the oldest of them."""
    row = connection.execute(
        f"""select pid, usename, application_name, now() - xact_start, left(query, 80)
        from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and {condition}
        order by age(backend_xmin) desc nulls last, xact_start limit 1"""  # noqa: S608
    ).fetchone()
    who = f"process {row[0]} of {row[1]} ({row[2]}), for {row[3]}: {row[4]}" if row else ""
    who = "".join(c if c.isprintable() else " " for c in who)
    return SourceError(
        f"the publication is put off: readers {why}; the oldest is {who or 'gone by now'}",
        "the published tables stay as they were; the next night tries again",
    )


def _tables(connection: psycopg.Connection, schema: str) -> dict[str, int]:
    """The oids of the tables in a schema, by name."""
    return dict(
        connection.execute(
            """select relname, oid from pg_class
            where relnamespace = to_regnamespace(%s) and relkind = 'r' order by 1""",
            [schema],
        ).fetchall()
    )


def _hold_room(connection: psycopg.Connection, room: int) -> None:
    """Publish only what this run built: a run that slept may find another one's tables here."""
    found = connection.execute("select to_regnamespace(%s)::oid", [NEXT]).fetchone()[0]
    if found != room:
        raise SourceError("another run built new tables meanwhile; this one's are not published")


def _exchange(connection: psycopg.Connection, models: dict[str, dict]) -> None:
    """Put the new tables in the places of the old ones."""
    old = _ours(connection, models)
    views = dependents.views(connection, list(old.values()))
    # Views first, the outermost before all: in this order their readers lock too. LOCK TABLE would
    # demand that a view's owner may lock what is below it.
    try:
        _all_at_once(connection, "drop view {}", [view.name for view in reversed(views)])
    except psycopg.errors.InsufficientPrivilege as error:
        raise dependents.refused(error.diag.message_primary) from None
    tables = [_published(name) for name in old]
    _all_at_once(connection, "lock table {} in access exclusive mode", tables)
    granted = {name: grants.of_others(connection, oid) for name, oid in old.items()}
    _all_at_once(connection, "drop table {}", tables)
    connection.execute(f"create schema if not exists {PUBLISHED}")
    by_default = grants.by_default(connection, PUBLISHED)
    for name in _tables(connection, NEXT):
        move = sql.SQL("alter table {} set schema {}")
        move = move.format(sql.Identifier(NEXT, name), sql.Identifier(PUBLISHED))
        connection.execute(move)
        grants.give(connection, _published(name), granted.get(name, by_default))
    connection.execute(f"drop schema {NEXT}")
    for view in views:
        dependents.make(connection, view)


def _ours(connection: psycopg.Connection, models: dict[str, dict]) -> dict[str, int]:
    """The published tables that this pipeline made; by their names alone if the ledger is lost."""
    known = ledger.newest(connection, "transform", ("published",)).keys() or models.keys()
    return {k: oid for k, oid in _tables(connection, PUBLISHED).items() if k in known}


def _published(name: str) -> sql.Identifier:
    return sql.Identifier(PUBLISHED, name)


def _all_at_once(connection, statement: str, relations: list[sql.Identifier]) -> None:
    if relations:
        connection.execute(sql.SQL(statement).format(sql.SQL(", ").join(relations)))


def _next_generation(connection: psycopg.Connection) -> int:
    last = ledger.newest(connection, "transform", ("published",))
    return 1 + max((step["facts"].get("generation", 0) for step in last.values()), default=0)


def _note(connection, run_id: str, models: dict[str, dict], fingerprint: str, facts: dict) -> None:
    ledger.begin(connection, run_id, "transform", script.now())
    stamp = {"started_at": script.now()}
    for name, model in models.items():
        told = model | stamp | {"outcome": "published", "generation": facts["generation"]}
        ledger.note(connection, run_id, "transform", name, told)
    ledger.note(connection, run_id, "transform", ALL_MODELS, facts | stamp, fingerprint)
