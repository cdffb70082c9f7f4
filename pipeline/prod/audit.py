"""What the public may do in prod, looked up in the catalogue and tried as the application.

The catalogue's checks are `publish/audit.sql`; the others are made over a connection of the
application's own role, each in a transaction that is rolled back. Nothing stays of them.
"""

from collections.abc import Iterator
from typing import LiteralString, NamedTuple

import psycopg
from psycopg import errors as refusals
from psycopg import sql
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import errors, settings
from pipeline.database import one_line
from pipeline.database.queries import scalar
from pipeline.prod import audit_attempts, password, permissions
from pipeline.prod.audit_attempts import Finding
from pipeline.settings import ROOT, Settings
from pipeline.text import escaped

OK, FAIL, NOT_CHECKED = "ok", "FAIL", "not checked"
STATEMENTS = ROOT / "publish" / "audit.sql"
BEYOND = "beyond our rights: "
_COLOURS = {OK: "green", FAIL: "red", NOT_CHECKED: "yellow"}


class Check(NamedTuple):
    """One assertion about prod."""

    number: int
    what: str  # what is asserted
    result: str  # ok, FAIL or not checked
    detail: str  # what was found instead, or why nobody could look


def run(
    here: Settings, connection: psycopg.Connection, published: dict[str, dict] | None = None
) -> list[Check]:
    """Check all; connection: to prod, of the role that replicates, in autocommit.

    published: rows and hash of each table as it was dumped, where that is known.
    """
    checks: list[Check] = []
    for what, finding in _findings(here, connection, published or {}):
        checks.append(Check(len(checks) + 1, what, *_result(finding)))
    return checks


def show(checks: list[Check]) -> int:
    """Print what was found; returns 0 when nothing fails, else 2."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("", justify="right")
    for name in ("Result", "What must be so", "Found"):
        table.add_column(name, no_wrap=name != "Found", overflow="fold")
    for check in checks:
        result = Text(check.result, style=_COLOURS[check.result])
        table.add_row(str(check.number), result, Text(check.what), Text(escaped(check.detail, 500)))
    console = Console(soft_wrap=True)
    if not console.is_terminal:
        console.width = 160
    console.print(table)
    failed = [check for check in checks if check.result == FAIL]
    unknown = [check for check in checks if check.result == NOT_CHECKED]
    said = [f"{len(checks)} checks, {len(failed)} failed", f"{len(unknown)} not checked"]
    console.print(", ".join(said[: 2 if unknown else 1]))
    return errors.DEGRADED if failed else errors.OK


def _findings(
    here: Settings, connection: psycopg.Connection, published: dict[str, dict]
) -> Iterator[tuple[str, Finding]]:
    beyond: set[str] = set()
    known = permissions.words(connection, here)
    manages = known["manages"] == "on"
    for what, statement, _ in permissions.statements(STATEMENTS):
        finding = _looked_up(connection, permissions.filled(statement, known), manages)
        if not finding.is_ours:
            beyond.add(what)
        yield what, finding
    yield "each table and view is one that data_status names", _unnamed(connection)
    yield "a table made tomorrow can be read", _future_table(connection, here, manages)
    yield "the files of the password, and .env, are closed to others", _password_files(here)
    yield from audit_attempts.findings(here, connection, known, beyond, published)


def _looked_up(connection: psycopg.Connection, statement: LiteralString, manages: bool) -> Finding:
    """What one statement of audit.sql finds."""
    try:
        found = connection.execute(statement).fetchall()
    except refusals.InsufficientPrivilege as error:
        return Finding(_said(error), is_ours=False)
    except refusals.UndefinedObject as error:  # a role that is not there
        return Finding(_said(error), manages)
    names = [name for name, _ in found]
    told = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return Finding(told, is_ours=any(is_ours for _, is_ours in found) or not found)


def _unnamed(connection: psycopg.Connection) -> Finding:
    """Relations of the schema that no replication brought: what is there, readers can read."""
    try:
        rows = connection.execute(
            """select relname from pg_class
            where relnamespace = 'transformed'::regnamespace and relkind in ('r', 'p', 'v', 'm')
                and relname not in ('data_status', 'data_status_facts')
                and relname not in (select name from transformed.data_status where kind = 'table')
            order by 1"""
        ).fetchall()
    except refusals.InsufficientPrivilege as error:
        return Finding(_said(error), is_ours=False)
    except (refusals.InvalidSchemaName, refusals.UndefinedTable) as error:
        return Finding(_said(error))
    return Finding(", ".join(name for (name,) in rows))


def _future_table(connection: psycopg.Connection, here: Settings, manages: bool) -> Finding:
    """Make a table as its owner would, and take it back."""
    try:
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
    except refusals.InsufficientPrivilege as error:
        return Finding(_said(error), is_ours=False)
    except refusals.UndefinedObject as error:
        return Finding(_said(error), manages)
    return Finding("" if can_read else f"tables of {owner[0]} cannot be read")


def _password_files(here: Settings) -> Finding:
    """The generated password, what the server has of any, and `.env` if it has secrets in it."""
    files = [file for file in password.files(here) if file.exists()]
    opened = [str(file) for file in files if file.stat().st_mode & 0o077]
    return Finding(", ".join([*opened, *filter(None, [settings.exposed()])]))


def _said(error: psycopg.Error) -> str:
    return one_line(error.diag.message_primary or error)


def _result(finding: Finding) -> tuple[str, str]:
    if not finding.wrong:
        return OK, ""
    if finding.is_ours:
        return FAIL, finding.wrong
    return NOT_CHECKED, f"{BEYOND}{finding.wrong}"
