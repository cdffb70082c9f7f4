"""What the public may do in prod, tried over a connection of the application's own role.

Every attempt is rolled back, and made with read-only mode switched off, as any session may do: the
grants must hold. The application's connection limit is only looked up (audit.sql), because trying
it would lock the application out.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import LiteralString, NamedTuple, TypeVar

import psycopg
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from pipeline.database import one_line
from pipeline.database.queries import scalar
from pipeline.prod import dump, login, permissions
from pipeline.settings import ROOT, Settings

STATEMENTS = ROOT / "publish" / "attempts.sql"
_OTHER_DATABASES = 5  # that are tried, dev and postgres first
_LONGEST = 60_000  # milliseconds; more is no limit for a request of a web application
_DATABASES = "the application cannot enter any other database"
# Any session may set these for the rest of a transaction.
_NO_LIMITS = """select set_config(name, '0', true) from pg_settings
    where name in ('statement_timeout', 'transaction_timeout')"""
# {table} stands for each published table. What is allowed after all is rolled back.
_WRITES: dict[str, LiteralString] = {
    "INSERT": "insert into {table} ({column}) select {column} from {table} where false",
    "UPDATE": "update {table} set {column} = {column} where false",
    "DELETE": "delete from {table} where false",
    "TRUNCATE": "truncate {table}",
    "LOCK": "lock table {table} in access exclusive mode nowait",
    "DROP": "drop table {table}",
}
Statement = sql.SQL | sql.Composed
Item = TypeVar("Item")


class Finding(NamedTuple):
    """What one check found wrong; nothing if all is as it should be."""

    wrong: str = ""
    is_ours: bool = True  # whether we have the right to look at it and to change it


class Relation(NamedTuple):
    """One published table or view, and a column of it that can be written."""

    name: str
    qualified: sql.Identifier
    is_table: bool
    column: sql.Identifier


Check = Callable[[psycopg.Connection], Finding]  # given a connection of the application


def findings(
    here: Settings,
    connection: psycopg.Connection,
    parameters: dict[str, str],
    beyond: set[str],
    published: dict[str, dump.Content],
) -> Iterator[tuple[str, Finding]]:
    """Make all attempts; yields what is expected, and what was found instead.

    connection: to prod, of the role that replicates.
    parameters: what `permissions.parameters` returned.
    beyond:     the assertions of audit.sql that do not hold, and that we have no right to repair.
    published:  rows and hash of each table as it was dumped; of the others, what we see counts.
    """
    relations = _relations(connection)
    checks: dict[str, Check] = {
        "published tables and views can be read": lambda app: _can_read(app, relations),
        "the application sees all rows and values that were published": lambda app: _sees_all(
            app, connection, relations, published
        ),
        "names are found without the schema": _has_search_path,
        "sessions begin read-only, with limits": _is_limited,
        "a query is cut at its time limit": _is_cut,
        "the text of others' queries is hidden": _sees_no_queries,
        "tried: relations of other schemas": partial(
            _are_all_refused, statements=_reads_of_others(connection)
        ),
    }
    for what, statement in _WRITES.items():
        statements = [
            sql.SQL(statement).format(table=relation.qualified, column=relation.column)
            for relation in relations
            if relation.is_table
        ]
        checks[f"tried: {what} on the published tables"] = partial(
            _are_all_refused, statements=statements
        )
    for what, statements in _attempts(connection, parameters).items():
        checks[f"tried: {what}"] = partial(
            _are_all_refused, statements=statements, is_ours=what not in beyond
        )
    checks[f"tried: {_DATABASES}"] = lambda app: _enters_no_other(here, connection, beyond)
    yield from _run(here, connection, parameters["manages"] == "on", checks)


def _run(
    here: Settings, connection: psycopg.Connection, manages: bool, checks: dict[str, Check]
) -> Iterator[tuple[str, Finding]]:
    """Make the checks as the application, if it can log in."""
    what = "the application can log in with its password, and not without"
    try:
        app = login.connect(here, connection, connection.info.dbname)
    except psycopg.OperationalError as error:
        # Only the application's host may be admitted, or all its connections may be in use.
        is_excused = "pg_hba.conf" in str(error) or login.is_full(here, connection)
        yield what, Finding(one_line(error), manages and not is_excused)
        for other in checks:
            yield other, Finding("the application cannot log in from here", is_ours=False)
        return
    with app:
        yield what, Finding("" if app.pgconn.used_password else "the server required no password")
        for other, check in checks.items():
            yield other, _checked(app, check, manages)


def _checked(app: psycopg.Connection, check: Check, manages: bool) -> Finding:
    """What a check finds. The role's own settings may cut it short, or end the session."""
    if app.closed:
        return Finding("the application's session was ended", is_ours=False)
    try:
        finding = check(app)
        app.rollback()
    except psycopg.Error as error:
        finding = Finding(f"cut short: {one_line(error)}", manages)
        with suppress(psycopg.Error):
            app.rollback()
    return finding


def _attempts(
    connection: psycopg.Connection, parameters: dict[str, str]
) -> dict[str, list[Statement]]:
    """The statements of attempts.sql by their titles."""
    parameters = parameters | {"process": str(connection.info.backend_pid)}
    attempts: dict[str, list[Statement]] = {}
    for what, statement, _ in permissions.statements(STATEMENTS):
        attempts.setdefault(what, []).append(sql.SQL(permissions.fill(statement, parameters)))
    return attempts


def _relations(connection: psycopg.Connection) -> list[Relation]:
    rows = connection.execute(
        """select relname, relkind in ('r', 'p'), (
            select attname from pg_attribute
            where attrelid = pg_class.oid and attnum > 0 and not attisdropped
                and attgenerated = '' and attidentity <> 'a'
            order by attnum limit 1
        )
        from pg_class where relnamespace = to_regnamespace('transformed')
            and relkind in ('r', 'p', 'v', 'm') order by 1"""
    )
    return [
        Relation(
            name, sql.Identifier("transformed", name), is_table, sql.Identifier(column or "none")
        )
        for name, is_table, column in rows
    ]


def _reads_of_others(connection: psycopg.Connection) -> list[Statement]:
    rows = connection.execute(
        """select nspname, relname
        from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where nspname not in ('transformed', 'pg_catalog', 'information_schema')
            and nspname !~ '^pg_' and relkind in ('r', 'p', 'v', 'm', 'f')
        order by 1, 2 limit 20"""
    )
    return [sql.SQL("select from {}").format(sql.Identifier(*row)) for row in rows]


def _each(app: psycopg.Connection, items: Iterable[Item], attempt: Callable[[Item], str]) -> str:
    """What attempts find wrong, each in a transaction of its own."""
    wrong = []
    for item in items:
        wrong.append(attempt(item))
        app.rollback()
    return "; ".join(filter(None, wrong))


def _are_all_refused(
    app: psycopg.Connection, statements: Iterable[Statement], is_ours: bool = True
) -> Finding:
    def attempt(statement: Statement) -> str:
        app.execute("set transaction read write")
        try:
            app.execute(statement)
        except InsufficientPrivilege:
            return ""
        except psycopg.Error as error:  # the permissions allowed it
            return f"{statement.as_string(app)}: {one_line(error)}"
        return f"allowed: {statement.as_string(app)}"

    return Finding(_each(app, statements, attempt), is_ours)


def _can_read(app: psycopg.Connection, relations: list[Relation]) -> Finding:
    def attempt(relation: Relation) -> str:
        try:
            app.execute(sql.SQL("select exists (select from {})").format(relation.qualified))
        except psycopg.Error as error:
            return one_line(error)
        return ""

    return Finding(_each(app, relations, attempt))


def _sees_all(
    app: psycopg.Connection,
    connection: psycopg.Connection,
    relations: list[Relation],
    published: dict[str, dump.Content],
) -> Finding:
    """Compare what the application reads: a policy or a mask hides rows without an error."""

    def attempt(relation: Relation) -> str:
        expected = published.get(relation.name) or dump.content(connection, relation.name)
        app.execute(_NO_LIMITS)
        try:
            seen = dump.content(app, relation.name)
        except InsufficientPrivilege as error:
            return one_line(error)
        # What a view computes from the clock differs from one query to the next.
        if seen == expected if relation.is_table else seen.rows == expected.rows:
            return ""
        return f"{relation.name}: {seen.rows:,} rows of {expected.rows:,}, or other values"

    return Finding(_each(app, relations, attempt))


def _has_search_path(app: psycopg.Connection) -> Finding:
    path = scalar(app, "show search_path")
    return Finding("" if path == "transformed" else f"search_path is {path}")


def _is_limited(app: psycopg.Connection) -> Finding:
    wrong = app.execute(
        """select name || ' is ' || setting from pg_settings
        where name in ('statement_timeout', 'lock_timeout', 'transaction_timeout',
                'idle_in_transaction_session_timeout') and setting::int not between 1 and %s
            or name = 'transaction_read_only' and setting <> 'on'""",
        [_LONGEST],
    )
    return Finding(", ".join(text for (text,) in wrong))


def _is_cut(app: psycopg.Connection) -> Finding:
    # The limit is only lowered, to make the test short: no limit stays none.
    app.execute(
        """select set_config(name, least(setting::int, 20)::text, true)
        from pg_settings where name = 'statement_timeout'"""
    )
    try:
        app.execute("select pg_sleep(0.3)")
    except psycopg.errors.QueryCanceled:
        return Finding()
    return Finding("it continued")


def _sees_no_queries(app: psycopg.Connection) -> Finding:
    seen = scalar(
        app,
        """select count(*) from pg_stat_activity
        where usename is distinct from current_user
            and query not in ('', '<insufficient privilege>')""",
    )
    return Finding(f"{seen} can be read" if seen else "")


def _enters_no_other(here: Settings, connection: psycopg.Connection, beyond: set[str]) -> Finding:
    """The other databases that the application can enter, or that could not be tried."""
    rows = connection.execute(
        """select datname from pg_database where datallowconn and datname <> current_database()
        order by datname in ('dev', 'postgres') desc, datname limit %s""",
        [_OTHER_DATABASES],
    ).fetchall()
    entered, untried = [], []
    for (database,) in rows:
        try:
            login.connect(here, connection, database).close()
            entered.append(database)
        except psycopg.OperationalError as error:
            # A refusal for lack of connections says nothing about the database.
            if login.is_full(here, connection):
                untried.append(f"{database}: {one_line(error)}")
    if entered or not untried:
        return Finding(", ".join(entered), _DATABASES not in beyond)
    return Finding("; ".join(untried), is_ours=False)
