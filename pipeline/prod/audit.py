"""What the public may do in prod, looked up in the catalogue and tried as the application.

The checks of the catalogue are in `publish/audit.sql`; the others use a connection of the
application's own role, each in a transaction that is rolled back. Nothing of them stays.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import LiteralString, NamedTuple

import psycopg
from psycopg import errors as refusals
from psycopg import sql

from pipeline import settings
from pipeline.database import one_line
from pipeline.database.queries import scalar
from pipeline.prod import audit_attempts, dump, login, permissions
from pipeline.prod.audit_attempts import Finding
from pipeline.settings import ROOT, Settings

STATEMENTS = ROOT / "publish" / "audit.sql"
BEYOND = "beyond our rights: "


class Result(StrEnum):
    """The result of a check."""

    OK = "ok"
    FAIL = "FAIL"
    NOT_CHECKED = "not checked"  # we have no right to look, or to change it


class Check(NamedTuple):
    """One assertion about prod."""

    number: int
    what: str  # what is asserted
    result: Result
    detail: str  # what was found instead, or why it could not be checked


def run(
    here: Settings, connection: psycopg.Connection, published: dict[str, dump.Content] | None = None
) -> list[Check]:
    """Make all checks; connection: to prod, of the role that replicates, in autocommit.

    published: the content of each table as it was dumped, if known.
    """
    checks: list[Check] = []
    for what, finding in _findings(here, connection, published or {}):
        result, detail = Result.OK, finding.wrong
        if finding.wrong:
            result = Result.FAIL if finding.is_ours else Result.NOT_CHECKED
            detail = finding.wrong if finding.is_ours else f"{BEYOND}{finding.wrong}"
        checks.append(Check(len(checks) + 1, what, result, detail))
    return checks


def _findings(
    here: Settings, connection: psycopg.Connection, published: dict[str, dump.Content]
) -> Iterator[tuple[str, Finding]]:
    beyond: set[str] = set()
    parameters = permissions.parameters(connection, here)
    manages = parameters["manages"] == "on"
    for what, statement, _ in permissions.statements(STATEMENTS):
        finding = _look_up(connection, permissions.fill(statement, parameters), manages)
        if not finding.is_ours:
            beyond.add(what)
        yield what, finding
    for what, look in {
        "each table and view is one that data_status names": lambda: _unnamed(connection),
        "a table created tomorrow can be read": lambda: _future_table(connection, here),
    }.items():
        yield what, _finding(look, manages)
    yield "others cannot read the files of the password, and .env", _password_files(here)
    yield from audit_attempts.findings(here, connection, parameters, beyond, published)


def _finding(look: Callable[[], Finding], manages: bool) -> Finding:
    """What a look into the catalogue finds; an error is a finding, too."""
    is_ours = True
    try:
        return look()
    except refusals.InsufficientPrivilege as error:
        refusal, is_ours = error, False
    except refusals.UndefinedObject as error:  # a role that does not exist
        refusal, is_ours = error, manages
    except (refusals.InvalidSchemaName, refusals.UndefinedTable) as error:
        refusal = error
    return Finding(one_line(refusal.diag.message_primary or refusal), is_ours)


def _look_up(connection: psycopg.Connection, statement: LiteralString, manages: bool) -> Finding:
    """What one statement of audit.sql finds."""

    def look() -> Finding:
        rows = connection.execute(statement).fetchall()
        names = [name for name, _ in rows]
        wrong = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        return Finding(wrong, is_ours=any(is_ours for _, is_ours in rows) or not rows)

    return _finding(look, manages)


def _unnamed(connection: psycopg.Connection) -> Finding:
    """Relations of the schema that no replication made: readers can read all that is there."""
    rows = connection.execute(
        """select relname from pg_class
        where relnamespace = 'transformed'::regnamespace and relkind in ('r', 'p', 'v', 'm')
            and relname not in ('data_status', 'data_status_facts')
            and relname not in (select name from transformed.data_status where kind = 'table')
        order by 1"""
    )
    return Finding(", ".join(name for (name,) in rows))


def _future_table(connection: psycopg.Connection, here: Settings) -> Finding:
    """Create a table as its owner would, and roll that back."""
    owner = connection.execute(
        """select pg_get_userbyid(nspowner) from pg_namespace
        where nspname = 'transformed' and has_schema_privilege(%s, oid, 'usage')""",
        [here.app_role],
    ).fetchone()
    if not owner:
        return Finding("there is no schema that the application may use")
    with connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("set local role {}").format(sql.Identifier(owner[0])))
        connection.execute("create table transformed.audit_of_a_future_table ()")
        can_read = scalar(
            connection,
            "select has_table_privilege(%s, 'transformed.audit_of_a_future_table', 'select')",
            [here.app_role],
        )
    return Finding("" if can_read else f"tables of {owner[0]} cannot be read")


def _password_files(here: Settings) -> Finding:
    """The files of the password, and `.env` if it contains secrets, that others can read."""
    files = [file for file in login.password_files(here) if file.exists()]
    readable = [str(file) for file in files if file.stat().st_mode & 0o077]
    return Finding(", ".join([*readable, *filter(None, [settings.exposed()])]))
