"""Restore a dump in `prod` in one transaction, after which readers find the new tables.

The old schema is renamed, which no reader notices; the dump's tables are created, filled, indexed
and compared with what was dumped; last, the old tables are locked, in one statement with a short
time limit, and dropped. A failure before the commit leaves prod as it was.
"""

import random
import time
from collections.abc import Callable
from typing import LiteralString

import psycopg
from psycopg import sql

from pipeline.database import catalog, locks
from pipeline.database.catalog import PUBLISHED
from pipeline.database.queries import detail, scalar, trusted
from pipeline.errors import SourceError
from pipeline.marts import data_status
from pipeline.prod import connection as prod
from pipeline.prod import dump, ownership, permissions, pg_restore
from pipeline.prod.dump import Dump
from pipeline.settings import Settings

OLD = "transformed_old"


def replicate(
    connection: psycopg.Connection,
    here: Settings,
    source: Dump,
    rights: permissions.Rights,
    update_status: Callable[[psycopg.Connection], None],
) -> float:
    """Replace the contents of prod by a dump; returns the seconds that readers were locked out.

    Parameters
    ----------
    connection:    to prod, in autocommit.
    rights:        what `permissions.prepare` returned.
    update_status: updates `data_status_facts` within the transaction.

    Raises SourceError if the dump is damaged, if prod would differ from it, if readers hold the old
    tables for too long, or if objects of others depend on them.
    """
    dump.verify(here, source)
    with connection.transaction():
        prod.take_turn(connection)
        _become(connection, rights)
        old = _set_aside(connection)
        _fill(connection, source)
        update_status(connection)
        connection.execute("reset role")
        ownership.note_filled(connection)
        permissions.apply(connection, here, rights)
        _compare(connection, source)
        locked = _drop_old(connection, old, rights, time.monotonic() + here.publish_patience)
    return round(time.monotonic() - locked, 3)


def changed_by_others(connection: psycopg.Connection, left: dict[str, dict[str, str]]) -> str:
    """How the tables of prod differ from those we left there; empty if they do not.

    A prod without tables is a new one, and nothing would be lost.

    left: the columns (types by name) of each table that we left; empty without a record, and then
          ours are the tables that `data_status` names.
    """
    tables = _relations(connection, PUBLISHED, "r")
    views = [name for name in _relations(connection, PUBLISHED, "v") if name != data_status.VIEW]
    if not tables and not views:
        return ""
    ours = left.keys() or {*prod.generations(connection), data_status.FACTS}
    changes = [f"table {name} is gone" for name in left if name not in tables]
    changes += [f"table {name} is not ours" for name in tables if name not in ours]
    changes += [f"view {name} is not ours" for name in views]
    for name in left.keys() & set(tables):
        now = catalog.columns(connection, PUBLISHED, name)
        if difference := catalog.column_changes(left[name], now):
            changes.append(f"{name}: {difference}")
    return "; ".join(changes)


def _become(connection: psycopg.Connection, rights: permissions.Rights) -> None:
    if rights.owner:
        connection.execute(sql.SQL("set local role {}").format(sql.Identifier(rights.owner)))


def _set_aside(connection: psycopg.Connection) -> dict[LiteralString, list[str]]:
    """Rename the published schema; returns its relations by kind, views first."""
    if not scalar(connection, "select to_regnamespace(%s)", [PUBLISHED]):
        return {}
    connection.execute(f"alter schema {PUBLISHED} rename to {OLD}")
    return {"view": _relations(connection, OLD, "v"), "table": _relations(connection, OLD, "r")}


def _relations(connection: psycopg.Connection, schema: str, kind: str) -> list[str]:
    rows = connection.execute(
        """select relname from pg_class
        where relnamespace = to_regnamespace(%s) and relkind = %s order by 1""",
        [schema, kind],
    )
    return [row[0] for row in rows]


def _fill(connection: psycopg.Connection, source: Dump) -> None:
    """Create the tables of a dump, with their rows, constraints and indexes."""
    connection.execute(trusted(pg_restore.before_rows(source.path)))
    with pg_restore.rows(source.path) as tables, connection.cursor() as cursor:
        for command, blocks in tables:
            # Frozen, so that even an older snapshot finds the rows.
            with cursor.copy(f"{trusted(command)} from stdin (freeze)") as copy:
                for block in blocks:
                    copy.write(block)
    connection.execute(trusted(pg_restore.after_rows(source.path)) or "select")
    for name in _relations(connection, PUBLISHED, "r"):
        connection.execute(sql.SQL("analyze {}").format(sql.Identifier(PUBLISHED, name)))


def _compare(connection: psycopg.Connection, source: Dump) -> None:
    """Compare what prod would have with what was dumped."""
    for name, table in source.tables.items():
        found = dump.content(connection, name)
        if found != table.content:
            raise SourceError(
                f"prod would differ from the dump: {name} has {found.rows:,} rows of "
                f"{table.rows:,}, or other values",
                "prod stays as it was; the next night tries again",
            )


def _drop_old(
    connection: psycopg.Connection,
    old: dict[LiteralString, list[str]],
    rights: permissions.Rights,
    deadline: float,
) -> float:
    """Lock all old tables at once, and drop them; returns when the lock began."""
    while True:
        try:
            with connection.transaction():  # a savepoint: the new tables stay
                _become(connection, rights)
                began = _lock(connection, old)
                _drop(connection, old)
                connection.execute("reset role")
                return began
        except locks.TIMED_OUT:
            if time.monotonic() > deadline:
                oldest = locks.oldest_holder(connection, OLD)
                raise SourceError(
                    "replication postponed: readers hold the tables of prod; the oldest is "
                    f"{oldest}",
                    "prod stays as it was; the next night tries again",
                ) from None
            time.sleep(random.uniform(0.05, 0.5))  # noqa: S311 - not for secrets


def _lock(connection: psycopg.Connection, old: dict[LiteralString, list[str]]) -> float:
    """Lock the old relations, in one statement with a short time limit; returns when it began."""
    views, tables = (
        [sql.Identifier(OLD, name) for name in old.get(kind, [])] for kind in ("view", "table")
    )
    locks.cancel_autovacuum(connection, tables)
    began = time.monotonic()
    if tables:
        limit = locks.milliseconds(locks.LONGEST_ATTEMPT)
        connection.execute(f"set local statement_timeout = '{limit}'")
        # A reader of a view locks it before its tables. So do we, to avoid a deadlock.
        statement = sql.SQL("lock table {} in access exclusive mode")
        connection.execute(statement.format(sql.SQL(", ").join([*views, *tables])))
        connection.execute("set local statement_timeout = 0")
    return began


def _drop(connection: psycopg.Connection, old: dict[LiteralString, list[str]]) -> None:
    try:
        for kind, names in old.items():
            if names:
                identifiers = sql.SQL(", ").join(sql.Identifier(OLD, name) for name in names)
                connection.execute(sql.SQL(f"drop {kind} {{}}").format(identifiers))
        if old:
            connection.execute(f"drop schema {OLD}")
    except psycopg.errors.DependentObjectsStillExist as error:
        raise SourceError(
            f"objects of others in prod depend on it: {detail(error)}",
            "drop them: prod has schema transformed and nothing else; prod stays as it was",
        ) from None
