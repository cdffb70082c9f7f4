"""Whose prod it is: nothing is revoked, altered or dropped there that is not provably ours.

Schema `pipeline` of prod has one table, `copy_of`: the identity of the dev database that prod is a
copy of. It is in no dump and no hash. Without it, a database must be empty, or be the prod that an
earlier version made of this dev database.
"""

from dataclasses import dataclass
from typing import LiteralString

import psycopg

from pipeline import prod
from pipeline.database import ledger, one_line
from pipeline.database.queries import scalar
from pipeline.errors import SettingError
from pipeline.marts import data_status
from pipeline.prod import permissions
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
# A role that we made has a comment that says so. `is_old`: earlier versions left none, but made
# these settings; what other logins of readers have is theirs to choose. `elsewhere`: another prod
# stands on this server, whose application may use the same login.
_ROLE = """
select
    coalesce(shobj_description(role.oid, 'pg_authid'), ''),
    exists (
        select from pg_catalog.pg_shdepend
        where refclassid = 'pg_authid'::regclass and refobjid = role.oid and deptype = 'o'
            and not exists (
                select from pg_catalog.pg_class
                where dbid = current.oid and classid = 'pg_class'::regclass
                    and pg_class.oid = objid and relnamespace = to_regnamespace('transformed')
            )
    ),
    exists (
        select from pg_catalog.pg_auth_members
        where roleid = to_regrole(%(reader)s) and member = role.oid
    ),
    exists (
        select from pg_catalog.pg_db_role_setting
        where setrole = role.oid and setdatabase = 0
            and setconfig @> array['search_path=transformed', 'default_transaction_read_only=on']
    ),
    exists (
        select from pg_catalog.pg_shdepend
        where refclassid = 'pg_authid'::regclass and refobjid = to_regrole(%(reader)s)
            and dbid not in (0, current.oid)
    )
from pg_catalog.pg_roles as role, pg_catalog.pg_database as current
where rolname = %(role)s and datname = current_database()
"""


@dataclass(frozen=True)
class _Role:
    """What tells whose a role is."""

    comment: str
    owns: bool  # anything but tables of ours
    reads: bool  # is a member of the readers
    is_old: bool
    elsewhere: bool

    @property
    def is_marked(self) -> bool:
        return self.comment.startswith((permissions.MADE, permissions.FORMERLY_MADE))


def claim(
    connection: psycopg.Connection, dev: psycopg.Connection, here: Settings, take_over: bool = False
) -> str:
    """Make sure that prod is ours to replace, and mark it; returns the identity of dev.

    Parameters
    ----------
    connection: to prod, in autocommit.
    dev:        to the dev database, prepared.
    take_over:  the operator says that prod is to be a copy of this dev database from now on.

    Raises SettingError, and nothing was changed, when PROD_DATABASE_URL leads to the dev database,
    to a database of others or to the copy of another dev database, or a role is not ours.
    """
    dev_id = ledger.identity(dev)
    with connection.transaction():
        prod.take_turn(connection)
        is_ours = check(connection, dev, here, take_over)
        if _marked(connection) != dev_id:
            info = dev.info
            where = f"database {info.dbname} at {info.host or info.hostaddr}, port {info.port}"
            if not scalar(connection, "select to_regclass('pipeline.copy_of')"):
                connection.execute(_TABLE)
            connection.execute(_MARK, {"dev_id": dev_id, "dev": where, "is_filled": is_ours})
    return dev_id


def recognise(connection: psycopg.Connection, dev_id: str) -> str:
    """Make sure that prod is the copy of the dev database remembered here, while that is away.

    Returns its identity. Raises SettingError when prod is the copy of another, or of none.
    """
    if not dev_id or _marked(connection) != dev_id:
        raise SettingError(
            "the dev database cannot be reached, and prod is not known to be its copy; "
            f"{_UNTOUCHED}",
            "see that the server of DATABASE_URL runs",
        )
    return dev_id


def is_filled(connection: psycopg.Connection) -> bool:
    """Whether what is in a claimed prod came from the dev database that claimed it."""
    return scalar(connection, "select is_filled from pipeline.copy_of")


def note_filled(connection: psycopg.Connection) -> None:
    """Note that prod is filled, in the transaction that fills it."""
    if scalar(connection, "select to_regclass('pipeline.copy_of')"):
        connection.execute("update pipeline.copy_of set is_filled = true where not is_filled")


def check(
    connection: psycopg.Connection, dev: psycopg.Connection, here: Settings, take_over: bool = False
) -> bool:
    """Find out whether `claim` would be refused: raises what it raises, changes nothing.

    Returns whether what is in prod came from this dev database.
    """
    dev_id = ledger.identity(dev)
    if _identity(connection) == dev_id:
        raise SettingError(
            f"database {connection.info.dbname}, to which PROD_DATABASE_URL leads, is the dev "
            "database itself; nothing was touched",
            "let PROD_DATABASE_URL lead to a database of its own",
        )
    if scalar(connection, "select to_regclass('pipeline.steps')"):
        raise SettingError(
            f"database {connection.info.dbname}, to which prod would go, is the dev database of "
            f"another installation: it has table pipeline.steps; {_UNTOUCHED}",
            "let PROD_DATABASE_URL lead to an empty database",
        )
    marked = _marked(connection)
    # The embedded server has one dev database, and nobody else's prod.
    may_take = take_over or not (here.database_url or here.prod_database_url)
    is_ours = marked == dev_id or (marked is None and _is_made_by(connection, dev))
    if marked is None and not is_ours:
        _check_unmarked(connection, may_take)
    elif not is_ours and not may_take:
        raise SettingError(
            f"prod (database {connection.info.dbname}) is the copy of another dev database: "
            f"{_dev_of(connection)}; {_UNTOUCHED}",
            "let PROD_DATABASE_URL lead to a prod of its own; if this dev database replaces that "
            "one, ./run_pipeline.sh publish --take-over",
        )
    _check_roles(connection, here, dev_id, take_over)
    return is_ours


def _check_unmarked(connection: psycopg.Connection, may_take: bool) -> None:
    """A database that nobody marked, and this dev did not make, must be empty."""
    name = connection.info.dbname
    if prod.is_of_server(connection):
        raise SettingError(
            f"database {name}, to which prod would go, came with the server, for everybody on it; "
            f"{_UNTOUCHED}",
            "let PROD_DATABASE_URL lead to a database of its own",
        )
    if others := prod.others(connection) + prod.traces(connection):
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        raise SettingError(
            f"database {name}, to which prod would go, belongs to others: it has "
            f"{', '.join(others[:5])}{more}; {_UNTOUCHED}",
            "let PROD_DATABASE_URL lead to an empty database: prod is closed to everybody else",
        )
    counted = "select count(*) from pg_catalog.pg_class where relnamespace = to_regnamespace(%s)"
    if scalar(connection, counted, ["transformed"]) and not may_take:
        raise SettingError(
            f"database {name} has a schema transformed that this dev database did not make; "
            f"{_UNTOUCHED}",
            "let PROD_DATABASE_URL lead to an empty database; if this dev database is to replace "
            "what is there, ./run_pipeline.sh publish --take-over",
        )


def _is_made_by(connection: psycopg.Connection, dev: psycopg.Connection) -> bool:
    """Whether each table in prod is a publication that the ledger of dev knows, to the second."""
    try:
        with connection.transaction():
            told = {
                (row["name"], row["generation"], row["published_at"])
                for row in data_status.read(connection)
                if row["kind"] == "table" and row["published_at"]
            }
    except (psycopg.Error, KeyError):
        return False  # a data_status of others
    known = dev.execute(
        """select name, (facts ->> 'generation')::bigint, started_at from pipeline.steps
        where stage = 'transform' and outcome = 'published'"""
    ).fetchall()
    return bool(told) and told <= set(known)


def _check_roles(
    connection: psycopg.Connection, here: Settings, dev_id: str, take_over: bool
) -> None:
    """The roles are there to be altered: the pipeline must have made them."""
    app, reader = _role(connection, here.app_role), _role(connection, permissions.READER)
    # The roles of an earlier version. Once the readers are marked there are none of these any more.
    is_marked = bool(reader and reader.is_marked)
    is_old = bool(app and app.reads and app.is_old and not app.owns and not is_marked)
    for name in (permissions.OWNER, permissions.READER):
        role = _role(connection, name)
        if role and not (role.is_marked or is_old or _is_used_here(connection, name)):
            raise SettingError(
                f"role {name} exists, and the pipeline did not make it; {_UNTOUCHED}",
                f"the pipeline needs a role of that name of its own: rename that one, let prod "
                f"stand on another server, or, if it is the pipeline's: comment on role {name} is "
                f"'{permissions.MADE}'",
            )
    if app and (problem := _problem(connection, here, app, is_old, dev_id, take_over)):
        raise SettingError(
            f"APP_ROLE={here.app_role} names a role that {problem}; {_UNTOUCHED}",
            "set APP_ROLE to a name that no role has yet: the pipeline makes the login, and "
            "replaces its password",
        )


def _problem(connection, here: Settings, app: _Role, is_old: bool, dev_id: str, take_over: bool):
    """Why the application's role must not be altered; empty where it may."""
    if app.owns:
        return "owns objects"
    if app.is_marked:
        of_none = (permissions.MADE, permissions.FORMERLY_MADE)  # which name no installation
        is_of_other = dev_id not in app.comment and app.comment not in of_none
        if is_of_other and app.elsewhere and not take_over:
            return "another installation made for its own prod on this server"
        return ""
    # What we may not alter anyway is an administrator's, who lets it read.
    is_lent = app.reads and not permissions.manages(connection, here.app_role)
    return "" if is_old or is_lent else "exists, and the pipeline did not make it"


def _role(connection: psycopg.Connection, name: str) -> _Role | None:
    row = connection.execute(_ROLE, {"role": name, "reader": permissions.READER}).fetchone()
    return _Role(*row) if row else None


def _is_used_here(connection: psycopg.Connection, role: str) -> bool:
    """Whether schema transformed is a role's, or gives it something: an earlier version's work."""
    return scalar(
        connection,
        """select exists (
            select from pg_catalog.pg_namespace
            where nspname = 'transformed' and (
                nspowner = to_regrole(%(role)s)
                or exists (select from aclexplode(nspacl) where grantee = to_regrole(%(role)s))
            )
        )""",
        {"role": role},
    )


def _identity(connection: psycopg.Connection) -> str | None:
    return _id_in(connection, "pipeline.identity", "dev_id")


def _marked(connection: psycopg.Connection) -> str | None:
    """The dev database that prod is marked as a copy of; "" where we may not even look.

    A mark that came here with a copy of another database is none.
    """
    return _id_in(connection, "pipeline.copy_of", "dev_id")


def _dev_of(connection: psycopg.Connection) -> str:
    return _id_in(connection, "pipeline.copy_of", "dev || ', since ' || marked_at::date") or "of "


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
