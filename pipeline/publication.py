"""Publication: the new tables take the place of the old ones in one transaction.

Readers of schema `transformed` see last night's tables or tonight's, never none and never some of
each. Three things make that true, each of them measured:

1.  The new tables are frozen first. A snapshot older than the build would otherwise find them
    empty.
2.  All old relations are locked in one statement, with a short time limit, tried again: readers
    queue behind it for 200 ms at most, and nobody dies of a deadlock.
3.  Only then are names exchanged, which waits for nothing.
"""

import random
import time

import psycopg
from psycopg import sql

from pipeline import ledger, script
from pipeline.errors import SourceError
from pipeline.settings import Settings

PUBLISHED, NEXT, OLD = "transformed", "transformed_next", "transformed_old"
ALL_MODELS = "all models"  # the name of the whole stage's step; no source or model is called so
LOCK_TIMEOUT = "200ms"  # below the server's deadlock_timeout of 1 s


def exists(connection: psycopg.Connection, tables: list[str]) -> bool:
    """Whether all these tables are published."""
    return set(tables) <= set(_relations(connection, PUBLISHED))


def make_room(connection: psycopg.Connection) -> None:
    """An empty schema for the build; what a killed build left in it goes."""
    with connection.transaction():
        connection.execute(f"drop schema if exists {NEXT} cascade")
        connection.execute(f"create schema {NEXT}")


def publish(
    connection: psycopg.Connection,
    here: Settings,
    run_id: str,
    models: dict[str, dict],
    fingerprint: str,
    facts: dict,
) -> dict:
    """Publish what stands in `transformed_next`; the ledger's rows are part of the transaction.

    Parameters
    ----------
    models:      rows and seconds of each table built, by name.
    fingerprint: what the tables are made of.
    facts:       what else to note.

    Returns the facts of the stage. Raises SourceError when readers did not let go in time, or
    when an object that is not ours depends on a published table; nothing has changed then.
    """
    started = time.monotonic()
    deadline = started + here.publish_patience
    _freeze(connection, deadline)
    grants = _grants(connection)
    while True:
        _refuse_dependents(connection)
        try:
            with connection.transaction():
                connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
                _lock_old(connection)
                connection.execute("set local lock_timeout = 0")
                _exchange(connection, grants)
                facts = facts | {"generation": _next_generation(connection)}
                facts |= {
                    "outcome": "published",
                    "rows": sum(m["rows"] or 0 for m in models.values()),
                }
                _note(connection, run_id, models, fingerprint, facts)
            break
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            if time.monotonic() > deadline:
                raise _put_off(connection, here, "hold the published tables") from None
            time.sleep(random.uniform(0.05, 0.5))  # noqa: S311 - not for secrets
    return facts | {"publication_seconds": round(time.monotonic() - started, 3)}


def _freeze(connection: psycopg.Connection, deadline: float) -> None:
    """Freeze the new tables until no snapshot anywhere can find them empty."""
    built_by = connection.execute("select pg_current_xact_id()::xid").fetchone()[0]
    while True:
        for table in _relations(connection, NEXT):
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
            raise _put_off(connection, None, "hold a snapshot older than the build")
        time.sleep(0.2)


def _put_off(connection: psycopg.Connection, here: Settings | None, why: str) -> SourceError:
    """The error of a publication that readers did not let happen, naming the oldest of them."""
    row = connection.execute(
        """select pid, usename, application_name, now() - xact_start, left(query, 80)
        from pg_catalog.pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null
        order by xact_start limit 1"""
    ).fetchone()
    who = f"process {row[0]} of {row[1]} ({row[2]}), for {row[3]}: {row[4]}" if row else "now gone"
    return SourceError(
        f"the publication is put off: readers {why}; the oldest is {' '.join(who.split())}",
        "the published tables stay as they were; the next night tries again",
    )


def _relations(connection: psycopg.Connection, schema: str) -> list[str]:
    return [
        row[0]
        for row in connection.execute(
            """select relname from pg_catalog.pg_class
            where relnamespace = to_regnamespace(%s) and relkind in ('r', 'v', 'm', 'p', 'f')
            order by 1""",
            [schema],
        )
    ]


def _lock_old(connection: psycopg.Connection) -> None:
    if old := _relations(connection, PUBLISHED):
        names = sql.SQL(", ").join(sql.Identifier(PUBLISHED, name) for name in old)
        connection.execute(sql.SQL("lock table {} in access exclusive mode").format(names))


def _exchange(connection: psycopg.Connection, grants: list[tuple]) -> None:
    """Rename, grant, drop the old tables. Waits for nothing: all is locked already."""
    old = _relations(connection, PUBLISHED)
    if connection.execute("select to_regnamespace(%s)", [PUBLISHED]).fetchone()[0]:
        connection.execute(f"alter schema {PUBLISHED} rename to {OLD}")
    connection.execute(f"alter schema {NEXT} rename to {PUBLISHED}")
    new = _relations(connection, PUBLISHED)
    for grant, table in grants:
        if table is None or table in new:
            connection.execute(grant)
    for table in old:
        connection.execute(sql.SQL("drop table {}").format(sql.Identifier(OLD, table)))
    connection.execute(f"drop schema if exists {OLD}")


def _grants(connection: psycopg.Connection) -> list[tuple[sql.Composed, str | None]]:
    """What others may do with the published schema and its tables, as statements to repeat.

    Grants belong to relations, so those of tomorrow's tables have to be written anew. With each
    statement comes the table it needs, None for the schema's own.
    """
    rows = connection.execute(
        """select null as relname, acl.grantee::regrole::text, acl.privilege_type, acl.is_grantable
        from pg_catalog.pg_namespace, aclexplode(nspacl) as acl
        where nspname = %(schema)s and acl.grantee <> nspowner and acl.grantee <> 0
        union all
        select relname, acl.grantee::regrole::text, acl.privilege_type, acl.is_grantable
        from pg_catalog.pg_class, aclexplode(relacl) as acl
        where relnamespace = to_regnamespace(%(schema)s) and relkind = 'r'
            and acl.grantee <> relowner and acl.grantee <> 0
        order by 1 nulls first, 2, 3""",
        {"schema": PUBLISHED},
    ).fetchall()
    return [(_grant(*row), row[0]) for row in rows]


def _grant(table: str | None, grantee: str, privilege: str, is_grantable: bool) -> sql.Composed:
    on = sql.Identifier(PUBLISHED, table) if table else sql.SQL(f"schema {PUBLISHED}")
    # A regrole's text is quoted already where it must be.
    words = sql.SQL(f"grant {privilege} on {{}} to {grantee}").format(on)  # type: ignore[arg-type]
    return words + sql.SQL(" with grant option" if is_grantable else "")


def _refuse_dependents(connection: psycopg.Connection) -> None:
    """Refuse to drop what an object outside our schema is built upon."""
    rows = connection.execute(
        """select distinct pg_describe_object(view.classid, view.objid, 0), published.relname
        from pg_catalog.pg_depend as view
        join pg_catalog.pg_class as published on published.oid = view.refobjid
        left join pg_catalog.pg_rewrite as rule
            on view.classid = 'pg_rewrite'::regclass and rule.oid = view.objid
        left join pg_catalog.pg_class as dependent on dependent.oid = rule.ev_class
        left join pg_catalog.pg_constraint as constrained
            on view.classid = 'pg_constraint'::regclass and constrained.oid = view.objid
        where published.relnamespace = to_regnamespace(%(schema)s)
            and view.refclassid = 'pg_class'::regclass
            and view.deptype = 'n'
            and coalesce(dependent.relnamespace, constrained.connamespace)
                is distinct from to_regnamespace(%(schema)s)
        order by 1""",
        {"schema": PUBLISHED},
    ).fetchall()
    if rows:
        named = "; ".join(f"{what} on {table}" for what, table in rows[:5])
        raise SourceError(
            f"the publication is put off: objects of others depend on published tables: {named}",
            "drop them, or make them read a copy; the published tables stay as they were",
        )


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
