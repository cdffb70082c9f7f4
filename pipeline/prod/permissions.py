"""Who may do what in prod: `publish/permissions.sql`, and the application's password.

An owner that cannot log in has schema `transformed`; the role of the connection replicates; the
application's login may SELECT. What our role may not change, on a server that others manage, is
noted and never an error: `pipeline.prod.audit` says what it means.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from pipeline import prod
from pipeline.database import one_line
from pipeline.database.queries import scalar, trusted
from pipeline.errors import SettingError
from pipeline.prod import password
from pipeline.settings import ROOT, Settings

OWNER, READER = "prod_owner", "prod_read"
MADE = "Made by the open-data pipeline"  # the comment of a role that we may alter
FORMERLY_MADE = "Made by the county hazards pipeline"  # the same, written by earlier versions
LOCK_TIMEOUT = "1s"
STATEMENTS = ROOT / "publish" / "permissions.sql"
# What the text of a statement is made of, as psql reads it (`standard_conforming_strings` is on).
_PART = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)
    | (?P<quoted>
        \b[eE]'(?:[^'\\]|\\.|'')*' | '[^']*' | "[^"]*"
        | (?P<tag>\$(?:[a-zA-Z_]\w*)?\$).*?(?P=tag))
    | (?P<end>(?:;\s*)?^\\gexec[ \t]*$ | ;)""",
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_BEYOND = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedObject,  # a role that we may not make
    psycopg.errors.InvalidCatalogName,  # a database that was dropped this instant
    psycopg.errors.LockNotAvailable,
)
_WARNINGS = ("01006", "01007")  # privilege not revoked, not granted: for want of rights


@dataclass
class Rights:
    """What our role can do about the permissions of prod."""

    owner: str | None = None  # the role to create objects as; None: as ourselves
    beyond: list[str] = field(default_factory=list)  # what could not be done, a sentence each
    revoked: list[str] = field(default_factory=list, compare=False)  # the statements that did
    mark: str = MADE  # the comment of the application's role: whose installation's it is


def prepare(connection: psycopg.Connection, here: Settings, dev_id: str = "") -> Rights:
    """Make the roles, and close the database to all others; idempotent.

    connection: to prod, in autocommit. dev_id: what `ownership.claim` returned, which made sure
    that database and roles are ours.

    Raises SettingError when APP_ROLE is the role that replicates.
    """
    if here.app_role == connection.info.user:
        raise SettingError(
            f"APP_ROLE={here.app_role} is the role that replicates to prod",
            "name another: the application must not be able to write",
        )
    rights = Rights(mark=f"{MADE} (dev {dev_id})" if dev_id else MADE)
    _write(connection, here, rights, OWNER)
    if _can_own(connection):
        rights.owner = OWNER
    return rights


def apply(connection: psycopg.Connection, here: Settings, rights: Rights) -> None:
    """Write the permissions anew, within the transaction that made the tables; idempotent."""
    _write(connection, here, rights, rights.owner or connection.info.user)


def words(
    connection: psycopg.Connection, here: Settings, creator: str = OWNER, mark: str = MADE
) -> dict[str, str]:
    """What the statements under publish/ know by name.

    creator: who makes the tables; mark: the comment that the application's role is given.
    """
    return {
        "owner": OWNER,
        "creator": creator,
        "reader": READER,
        "app": here.app_role,
        "replicator": connection.info.user,
        "manages": "on" if manages(connection, here.app_role) else "off",
        "mark": mark,
        "dedicated": "off" if prod.others(connection) else "on",
        "embedded": "off" if here.prod_database_url or here.database_url else "on",
    }


def filled(statement: str, known: dict[str, str]) -> LiteralString:
    """A statement with its words put in: :"word" as a name, :'word' as a text."""

    def word(found: re.Match) -> str:
        kind = sql.Identifier if found[1] == '"' else sql.Literal
        return kind(known[found[2]]).as_string()

    return trusted(re.sub(r""":(["'])(\w+)\1""", word, statement))


def statements(file: Path) -> Iterator[tuple[str, str, bool]]:
    """Of each statement of a file: what it is for, its text, whether its rows are statements.

    What it is for is the first line of the comment above it, or above one before it; a comment
    that an empty line divides from the statement is about the file.
    """
    text = file.read_text("utf-8")
    what, code, heads, last = "", "", [], 0
    for part in _PART.finditer(text):
        between, last = text[last : part.start()], part.end()
        code += between
        if not code.strip() and "\n\n" in between:
            heads.clear()
        if part["quoted"]:
            code += part[0]
        elif part["comment"]:
            code += " "
            is_own_line = not text[: part.start()].rpartition("\n")[2].strip()
            if is_own_line and not code.strip() and part[0].startswith("-- "):
                heads.append(part[0].removeprefix("-- "))
        elif code.strip():
            what = heads[0] if heads else what
            yield what, code.strip(), part[0] != ";"
            code = ""
            heads.clear()


def _write(connection: psycopg.Connection, here: Settings, rights: Rights, creator: str) -> None:
    with connection.transaction():
        prod.take_turn(connection)  # two at once would meet in the catalogue's rows
        known = words(connection, here, creator, rights.mark)
        connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")  # readers come first
        for what, statement, is_query in statements(STATEMENTS):
            rows = _try(connection, rights, what, filled(statement, known)) or []
            for made in [cell for row in rows for cell in row if cell] if is_query else []:
                is_done = _try(connection, rights, what, made) is not None
                if is_done and re.match(r"revoke|alter default privileges.* revoke", made):
                    rights.revoked.append(" ".join(made.split()))
        _set_password(connection, here, rights)
        connection.execute("set local lock_timeout = 0")


def _try(
    connection: psycopg.Connection, rights: Rights, what: str, statement
) -> list[tuple] | None:
    """Execute in a savepoint; returns the rows, None when it is beyond our rights."""
    refusals: list[str] = []

    def warned(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.sqlstate in _WARNINGS:
            refusals.append(diagnostic.message_primary or "")

    connection.add_notice_handler(warned)
    try:
        with connection.transaction():
            done = connection.execute(statement)
            rows = done.fetchall() if done.description else []
        return None if refusals else rows
    except _BEYOND as error:
        refusals.append(one_line(error.diag.message_primary or error))
        return None
    finally:
        connection.remove_notice_handler(warned)
        told = f"could not {what}: "
        if refusals and not any(sentence.startswith(told) for sentence in rights.beyond):
            rights.beyond.append(told + refusals[0])


def _set_password(connection: psycopg.Connection, here: Settings, rights: Rights) -> None:
    statement = sql.SQL("alter role {} password {}").format(
        sql.Identifier(here.app_role), sql.Literal(password.verifier(connection, here))
    )
    _try(connection, rights, "set the application's password", statement)


def manages(connection: psycopg.Connection, role: str) -> bool:
    """Whether our role may alter another one, or make it where it is not there."""
    return scalar(
        connection,
        """select rolsuper or rolcreaterole and (
            current_setting('server_version_num')::int < 160000
            or not exists (select from pg_roles where rolname = %(role)s)
            or exists (
                select from pg_auth_members join pg_roles as managed on managed.oid = roleid
                where managed.rolname = %(role)s and admin_option
                    and pg_has_role(pg_auth_members.member, 'member')
            )
        )
        from pg_roles where rolname = current_user""",
        {"role": role},
    )


def _can_own(connection: psycopg.Connection) -> bool:
    """Whether objects can be created as the owner, and the schema that is there is its own."""
    return scalar(
        connection,
        """select
            (
                select pg_has_role(oid, case
                    when current_setting('server_version_num')::int >= 160000 then 'set'
                    else 'member' end)
                and has_database_privilege(oid, current_database(), 'create')
                and not exists (
                    select from pg_namespace where nspname = 'transformed' and nspowner <> role.oid
                )
                from pg_roles as role where rolname = %s
            ) is true""",
        [OWNER],
    )
