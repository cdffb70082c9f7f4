"""Who may do what in prod: `publish/permissions.sql`, and the application's password.

Schema `transformed` belongs to an owner that cannot log in; the role of the connection replicates;
the application's login may SELECT. What our role may not change, on a server that others manage, is
recorded and never an error: `pipeline.prod.audit` says what it means.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from pipeline.database import one_line
from pipeline.database.queries import scalar, trusted
from pipeline.errors import SettingError
from pipeline.prod import connection as prod
from pipeline.prod import login
from pipeline.settings import ROOT, Settings

OWNER, READER = "prod_owner", "prod_read"
MADE = "Made by the open-data pipeline"  # the comment of a role that the pipeline created
FORMERLY_MADE = "Made by the county hazards pipeline"  # the same, written by earlier versions
LOCK_TIMEOUT = "1s"
STATEMENTS = ROOT / "publish" / "permissions.sql"
# The parts of a statement, as psql reads them (`standard_conforming_strings` is on).
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
    psycopg.errors.UndefinedObject,  # a role that we may not create
    psycopg.errors.InvalidCatalogName,  # a database that was dropped meanwhile
    psycopg.errors.LockNotAvailable,
)
_WARNINGS = ("01006", "01007")  # privilege not revoked, not granted: without the right to


@dataclass
class Rights:
    """What our role could and could not do about the permissions of prod."""

    owner: str | None = None  # the role to create objects as; None: our own
    beyond: list[str] = field(default_factory=list)  # what could not be done, as sentences
    revoked: list[str] = field(
        default_factory=list, compare=False
    )  # the statements that revoked something
    mark: str = MADE  # the comment of the application's role: whose installation's it is


def prepare(connection: psycopg.Connection, here: Settings, dev_id: str = "") -> Rights:
    """Create the roles, and close the database to all others; idempotent.

    connection: to prod, in autocommit.
    dev_id:     what `ownership.claim` returned, which made sure that database and roles are ours.

    Raises SettingError if APP_ROLE is the role that replicates.
    """
    if here.app_role == connection.info.user:
        raise SettingError(
            f"APP_ROLE={here.app_role} is the role that replicates to prod",
            "set APP_ROLE to another role: the application must not be able to write",
        )
    rights = Rights(mark=f"{MADE} (dev {dev_id})" if dev_id else MADE)
    _write(connection, here, rights, OWNER)
    if _can_own(connection):
        rights.owner = OWNER
    return rights


def apply(connection: psycopg.Connection, here: Settings, rights: Rights) -> None:
    """Set the permissions again, within the transaction that made the tables; idempotent."""
    _write(connection, here, rights, rights.owner or connection.info.user)


def parameters(
    connection: psycopg.Connection, here: Settings, creator: str = OWNER, mark: str = MADE
) -> dict[str, str]:
    """The parameters of the statements under publish/.

    creator: the role that creates the tables.
    mark:    the comment for the application's role.
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


def fill(statement: str, values: dict[str, str]) -> LiteralString:
    """A statement with its parameters filled in: :"name" as an identifier, :'name' as a literal."""

    def value(match: re.Match) -> str:
        kind = sql.Identifier if match[1] == '"' else sql.Literal
        return kind(values[match[2]]).as_string()

    return trusted(re.sub(r""":(["'])(\w+)\1""", value, statement))


def statements(file: Path) -> Iterator[tuple[str, str, bool]]:
    """For each statement of a file: its title, its text, whether its rows are statements.

    The title is the first line of the comment above the statement, or above an earlier one; a
    comment that an empty line separates from the statement is about the file.
    """
    text = file.read_text("utf-8")
    title, code, heads, last = "", "", [], 0
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
            title = heads[0] if heads else title
            yield title, code.strip(), part[0] != ";"
            code = ""
            heads.clear()


def _write(connection: psycopg.Connection, here: Settings, rights: Rights, creator: str) -> None:
    with connection.transaction():
        prod.take_turn(connection)  # two at once would update the same rows of the catalogue
        values = parameters(connection, here, creator, rights.mark)
        connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")  # readers have priority
        for title, statement, is_query in statements(STATEMENTS):
            rows = _try(connection, rights, title, fill(statement, values)) or []
            for generated in [cell for row in rows for cell in row if cell] if is_query else []:
                is_done = _try(connection, rights, title, generated) is not None
                if is_done and re.match(r"revoke|alter default privileges.* revoke", generated):
                    rights.revoked.append(" ".join(generated.split()))
        _set_password(connection, here, rights)
        connection.execute("set local lock_timeout = 0")


def _try(
    connection: psycopg.Connection, rights: Rights, title: str, statement
) -> list[tuple] | None:
    """Execute in a savepoint; returns the rows, None if we have no right to do it."""
    refusals: list[str] = []

    def collect(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.sqlstate in _WARNINGS:
            refusals.append(diagnostic.message_primary or "")

    connection.add_notice_handler(collect)
    try:
        with connection.transaction():
            cursor = connection.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
        return None if refusals else rows
    except _BEYOND as error:
        refusals.append(one_line(error.diag.message_primary or error))
        return None
    finally:
        connection.remove_notice_handler(collect)
        start = f"could not {title}: "
        if refusals and not any(sentence.startswith(start) for sentence in rights.beyond):
            rights.beyond.append(start + refusals[0])


def _set_password(connection: psycopg.Connection, here: Settings, rights: Rights) -> None:
    statement = sql.SQL("alter role {} password {}").format(
        sql.Identifier(here.app_role), sql.Literal(login.verifier(connection, here))
    )
    _try(connection, rights, "set the application's password", statement)


def manages(connection: psycopg.Connection, role: str) -> bool:
    """Whether our role may alter another one, or create it if it does not exist."""
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
    """Whether we can create objects as the owner, and an existing schema belongs to it."""
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
