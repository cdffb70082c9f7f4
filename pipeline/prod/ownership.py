"""Whose prod it is: nothing in it is revoked, altered or dropped unless it is provably ours.

Schema `pipeline` of prod has one table, `copy_of`: the identity of the dev database that prod is a
copy of. It is in no dump and no hash. Without it, a database must be empty, or be the prod that an
earlier version created for this dev database.
"""

from typing import LiteralString

import psycopg

from pipeline.database import ledger, one_line
from pipeline.database.queries import scalar
from pipeline.errors import SettingError
from pipeline.marts import data_status
from pipeline.prod import connection as prod
from pipeline.prod import roles
from pipeline.settings import Settings

_UNTOUCHED = "prod was not touched"
_TABLE = """
create schema if not exists pipeline;
create table if not exists pipeline.copy_of (
    is_only boolean primary key default true check (is_only),
    dev_id uuid not null,
    dev text not null,
    database_oid oid not null,
    is_filled boolean not null,
    marked_at timestamptz not null default clock_timestamp()
);
comment on schema pipeline is 'Whose copy this prod is; made by the open-data pipeline.';
comment on table pipeline.copy_of is 'The dev database that prod is a copy of: one row.';
comment on column pipeline.copy_of.is_filled is 'Whether what is in prod came from that database';
"""
_MARK = """
insert into pipeline.copy_of (dev_id, dev, database_oid, is_filled)
select %(dev_id)s::uuid, %(dev)s::text, oid, %(is_filled)s
from pg_catalog.pg_database where datname = current_database()
on conflict (is_only) do update set
    dev_id = excluded.dev_id, dev = excluded.dev, database_oid = excluded.database_oid,
    is_filled = excluded.is_filled, marked_at = excluded.marked_at
"""


def claim(
    connection: psycopg.Connection, dev: psycopg.Connection, here: Settings, take_over: bool = False
) -> str:
    """Make sure that prod is ours to replace, and mark it; returns the identity of dev.

    Parameters
    ----------
    connection: to prod, in autocommit.
    dev:        to the dev database, prepared.
    take_over:  prod becomes a copy of this dev database, whichever it was a copy of.

    Raises SettingError, with nothing changed, if PROD_DATABASE_URL names the dev database, a
    database of others or the copy of another dev database, or if a role is not ours.
    """
    dev_id = ledger.identity(dev)
    with connection.transaction():
        prod.take_turn(connection)
        is_ours = check(connection, dev, here, take_over)
        if _copied_id(connection) != dev_id:
            info = dev.info
            where = f"database {info.dbname} at {info.host or info.hostaddr}, port {info.port}"
            if not scalar(connection, "select to_regclass('pipeline.copy_of')"):
                connection.execute(_TABLE)
            connection.execute(_MARK, {"dev_id": dev_id, "dev": where, "is_filled": is_ours})
    return dev_id


def recognise(connection: psycopg.Connection, dev_id: str) -> str:
    """Make sure that prod is the copy of the dev database on record here, while that is down.

    Returns its identity. Raises SettingError if prod is the copy of another, or of none.
    """
    if not dev_id or _copied_id(connection) != dev_id:
        raise SettingError(
            "the dev database cannot be reached, and nothing shows that prod is its copy; "
            f"{_UNTOUCHED}",
            "start the server of DATABASE_URL",
        )
    return dev_id


def is_filled(connection: psycopg.Connection) -> bool:
    """Whether the contents of a claimed prod came from the dev database that claimed it."""
    return scalar(connection, "select is_filled from pipeline.copy_of")


def note_filled(connection: psycopg.Connection) -> None:
    """Record that prod is filled, in the transaction that fills it."""
    if scalar(connection, "select to_regclass('pipeline.copy_of')"):
        connection.execute("update pipeline.copy_of set is_filled = true where not is_filled")


def check(
    connection: psycopg.Connection, dev: psycopg.Connection, here: Settings, take_over: bool = False
) -> bool:
    """Find out whether `claim` would fail: raises what it raises, changes nothing.

    Returns whether the contents of prod came from this dev database.
    """
    dev_id, name = ledger.identity(dev), connection.info.dbname
    if _id_in(connection, "pipeline.identity", "dev_id") == dev_id:
        raise SettingError(
            f"PROD_DATABASE_URL names the dev database itself, {name}; nothing was touched",
            "set PROD_DATABASE_URL to another database",
        )
    if scalar(connection, "select to_regclass('pipeline.steps')"):
        raise SettingError(
            f"database {name}, to which prod would go, is the dev database of another "
            f"installation: it has table pipeline.steps; {_UNTOUCHED}",
            "set PROD_DATABASE_URL to an empty database",
        )
    copied_id = _copied_id(connection)
    # The embedded server has one dev database, and nobody else's prod.
    may_take = take_over or not (here.database_url or here.prod_database_url)
    is_ours = copied_id == dev_id or (copied_id is None and _is_made_by(connection, dev))
    if copied_id is None and not is_ours:
        _check_unmarked(connection, may_take)
    elif not is_ours and not may_take:
        other = _id_in(connection, "pipeline.copy_of", "dev || ', since ' || marked_at::date")
        raise SettingError(
            f"prod (database {name}) is the copy of another dev database: {other}; {_UNTOUCHED}",
            "set PROD_DATABASE_URL to another database; if this dev database replaces that one, "
            "./run_pipeline.sh publish --take-over",
        )
    roles.check(connection, here, dev_id, take_over)
    return is_ours


def _check_unmarked(connection: psycopg.Connection, may_take: bool) -> None:
    """Raise SettingError unless a database that nobody marked, and dev did not make, is empty."""
    name = connection.info.dbname
    if prod.is_of_server(connection):
        raise SettingError(
            f"database {name}, to which prod would go, came with the server, for everybody on it; "
            f"{_UNTOUCHED}",
            "set PROD_DATABASE_URL to a database for prod alone",
        )
    if others := prod.others(connection) + prod.traces(connection):
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        raise SettingError(
            f"database {name}, to which prod would go, belongs to others: it has "
            f"{', '.join(others[:5])}{more}; {_UNTOUCHED}",
            "set PROD_DATABASE_URL to an empty database: prod is closed to everybody else",
        )
    count = "select count(*) from pg_catalog.pg_class where relnamespace = to_regnamespace(%s)"
    if scalar(connection, count, ["transformed"]) and not may_take:
        raise SettingError(
            f"database {name} has a schema transformed that this dev database did not make; "
            f"{_UNTOUCHED}",
            "set PROD_DATABASE_URL to an empty database; if this dev database is to replace what "
            "is there, ./run_pipeline.sh publish --take-over",
        )


def _is_made_by(connection: psycopg.Connection, dev: psycopg.Connection) -> bool:
    """Whether the ledger of dev has each table of prod as a publication of the same second."""
    try:
        with connection.transaction():
            in_prod = {
                (row["name"], row["generation"], row["published_at"])
                for row in data_status.read(connection)
                if row["kind"] == "table" and row["published_at"]
            }
    except (psycopg.Error, KeyError):
        return False  # a data_status of others
    published = dev.execute(
        """select name, (facts ->> 'generation')::bigint, started_at from pipeline.steps
        where stage = 'transform' and outcome = 'published'"""
    ).fetchall()
    return bool(in_prod) and in_prod <= set(published)


def _copied_id(connection: psycopg.Connection) -> str | None:
    """The dev database that prod is marked as a copy of; "unreadable …" without the right to look.

    A mark that came here with a copy of another database does not count.
    """
    return _id_in(connection, "pipeline.copy_of", "dev_id")


def _id_in(connection: psycopg.Connection, table: LiteralString, sql: LiteralString) -> str | None:
    if scalar(connection, "select to_regclass(%s)", [table]) is None:
        return None
    try:
        with connection.transaction():
            row = connection.execute(
                f"""select ({sql})::text from {table}
                join pg_catalog.pg_database on pg_database.oid = database_oid
                where datname = current_database()"""  # noqa: S608 - our own names
            ).fetchone()
    except psycopg.Error as error:
        return f"unreadable ({one_line(error)})"
    return row[0] if row else None
