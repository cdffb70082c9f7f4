"""What the public may do in prod, tried: over a connection of the application's own role.

Every attempt is made in a transaction that is rolled back, with read-only mode switched off, as
any session may do: the grants are what has to hold. The application's connection limit is only
looked up (audit.sql), since trying it would keep the application itself out.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import LiteralString, NamedTuple

import psycopg
from psycopg import conninfo, sql
from psycopg.errors import InsufficientPrivilege

from pipeline.database import one_line
from pipeline.database.queries import scalar
from pipeline.prod import dump, password, permissions
from pipeline.settings import ROOT, Settings

STATEMENTS = ROOT / "publish" / "attempts.sql"
_OURS = ("user", "password", "passfile", "sslcert", "sslkey", "options")
_OTHER_DATABASES = 5  # that are tried, dev and postgres first
_LONGEST = 60_000  # milliseconds; more is no limit for a request of the web
_DATABASES = "the application cannot enter any other database"


class Finding(NamedTuple):
    """What one check found: nothing where all is as it should be."""

    wrong: str = ""
    is_ours: bool = True  # whether it is in our power to change, and to look at


class Published(NamedTuple):
    """One published relation, and a column of it that can be written."""

    relname: str
    name: sql.Identifier
    is_table: bool
    column: sql.Identifier


# As any session may, for the rest of a transaction.
_NO_LIMITS = """select set_config(name, '0', true) from pg_settings
    where name in ('statement_timeout', 'transaction_timeout')"""
# {table} stands for each published table. What is allowed after all is rolled back.
Statement = sql.SQL | sql.Composed
_WRITES: dict[str, LiteralString] = {
    "INSERT": "insert into {table} ({column}) select {column} from {table} where false",
    "UPDATE": "update {table} set {column} = {column} where false",
    "DELETE": "delete from {table} where false",
    "TRUNCATE": "truncate {table}",
    "LOCK": "lock table {table} in access exclusive mode nowait",
    "DROP": "drop table {table}",
}


def findings(
    here: Settings,
    connection: psycopg.Connection,
    known: dict[str, str],
    beyond: set[str],
    published: dict[str, dict],
) -> Iterator[tuple[str, Finding]]:
    """Try all; yields what must be so, and what was found instead.

    Parameters
    ----------
    connection: to prod, of the role that replicates.
    known:      what `permissions.words` returned.
    beyond:     the assertions of audit.sql that do not hold, and that we may not mend.
    published:  rows and hash of each table as it was dumped; of others, what we see counts.
    """
    relations, others = _published(connection), _unpublished(connection)
    checks: dict[str, Callable[[psycopg.Connection], Finding]] = {
        "published tables and views can be read": lambda app: _read(app, relations),
        "the application sees all rows and values that were published": lambda app: _sees(
            app, connection, relations, published
        ),
        "names are found without the schema": _searched,
        "sessions begin read-only, with limits": _limited,
        "a query is cut at its time limit": _cut,
        "the text of others' queries is hidden": _hidden,
        "tried: relations of other schemas": lambda app: _all_refused(app, others),
    }
    for what, statement in _WRITES.items():
        made = [
            sql.SQL(statement).format(table=found.name, column=found.column)
            for found in relations
            if found.is_table
        ]
        checks[f"tried: {what} on the published tables"] = partial(_all_refused, statements=made)
    for what, made in _attempts(connection, known).items():
        checks[f"tried: {what}"] = lambda app, what=what, made=made: Finding(
            _all_refused(app, made).wrong, what not in beyond
        )
    checks[f"tried: {_DATABASES}"] = lambda app: _entered(here, connection, beyond)
    yield from _made_with(here, connection, known["manages"] == "on", checks)


def _made_with(here, connection, manages: bool, checks) -> Iterator[tuple[str, Finding]]:
    """The checks, made as the application; not made where it cannot log in."""
    what = "the application can log in with its password, and not without"
    try:
        app = _log_in(here, connection, connection.info.dbname)
    except psycopg.OperationalError as error:
        # The application's host may be the only one that is let in, or all its connections in use.
        excused = "pg_hba.conf" in str(error) or _is_full(connection, here)
        yield what, Finding(one_line(error), manages and not excused)
        for other in checks:
            yield other, Finding("the application cannot log in from here", is_ours=False)
        return
    with app:
        yield what, Finding("" if app.pgconn.used_password else "nobody asked for it")
        for other, check in checks.items():
            yield other, _checked(app, check, manages)


def _checked(app: psycopg.Connection, check: Callable, manages: bool) -> Finding:
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


def _attempts(connection: psycopg.Connection, known: dict[str, str]) -> dict[str, list[Statement]]:
    """The statements of attempts.sql by their titles."""
    known = known | {"process": str(connection.info.backend_pid)}
    made: dict[str, list[Statement]] = {}
    for what, statement, _ in permissions.statements(STATEMENTS):
        made.setdefault(what, []).append(sql.SQL(permissions.filled(statement, known)))
    return made


def _log_in(here: Settings, connection: psycopg.Connection, database: str) -> psycopg.Connection:
    info = connection.info
    words = {k: v for k, v in info.get_parameters().items() if k not in _OURS}
    words |= {"host": info.host or info.hostaddr, "port": str(info.port), "dbname": database}
    words |= {"user": here.app_role, "password": password.read(here)}
    words |= {"application_name": "pipeline audit", "connect_timeout": "5"}
    return psycopg.connect(conninfo.make_conninfo(**words))


def _is_full(connection: psycopg.Connection, here: Settings) -> bool:
    """Whether the application has as many sessions as it may have."""
    return scalar(
        connection,
        """select coalesce(count(*) >= max(rolconnlimit) and max(rolconnlimit) >= 0, false)
        from pg_stat_activity join pg_roles on pg_roles.oid = usesysid where rolname = %s""",
        [here.app_role],
    )


def _published(connection: psycopg.Connection) -> list[Published]:
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
        Published(
            name, sql.Identifier("transformed", name), is_table, sql.Identifier(column or "none")
        )
        for name, is_table, column in rows
    ]


def _unpublished(connection: psycopg.Connection) -> Sequence[Statement]:
    rows = connection.execute(
        """select nspname, relname
        from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where nspname not in ('transformed', 'pg_catalog', 'information_schema')
            and nspname !~ '^pg_' and relkind in ('r', 'p', 'v', 'm', 'f')
        order by 1, 2 limit 20"""
    )
    return [sql.SQL("select from {}").format(sql.Identifier(*row)) for row in rows]


def _all_refused(app: psycopg.Connection, statements: Sequence[Statement]) -> Finding:
    told = []
    for statement in statements:
        app.execute("set transaction read write")
        try:
            app.execute(statement)
            told.append(f"allowed: {statement.as_string(app)}")
        except InsufficientPrivilege:
            pass
        except psycopg.Error as error:  # it got past the permissions
            told.append(f"{statement.as_string(app)}: {one_line(error)}")
        app.rollback()
    return Finding("; ".join(told))


def _read(app: psycopg.Connection, relations: list[Published]) -> Finding:
    told = []
    for found in relations:
        try:
            app.execute(sql.SQL("select exists (select from {})").format(found.name))
        except psycopg.Error as error:
            told.append(one_line(error))
            app.rollback()
    return Finding("; ".join(told))


def _sees(
    app: psycopg.Connection,
    connection: psycopg.Connection,
    relations: list[Published],
    published: dict[str, dict],
) -> Finding:
    """What of each relation the application has: a policy or a mask hides without an error."""
    told = []
    for found in relations:
        expected = published.get(found.relname) or dump.content(connection, found.relname)
        app.execute(_NO_LIMITS)
        try:
            seen = dump.content(app, found.relname)
        except psycopg.errors.InsufficientPrivilege as error:
            told.append(one_line(error))
        else:
            # What a view computes from the clock differs from one look to the next.
            if any(seen[key] != expected[key] for key in (seen if found.is_table else ("rows",))):
                rows = f"{seen['rows']:,} rows of {expected['rows']:,}"
                told.append(f"{found.relname}: {rows}, or other values")
        app.rollback()
    return Finding("; ".join(told))


def _searched(app: psycopg.Connection) -> Finding:
    path = scalar(app, "show search_path")
    return Finding("" if path == "transformed" else f"search_path is {path}")


def _limited(app: psycopg.Connection) -> Finding:
    rows = app.execute(
        """select name || ' is ' || setting from pg_settings
        where name in ('statement_timeout', 'lock_timeout', 'transaction_timeout',
                'idle_in_transaction_session_timeout') and setting::int not between 1 and %s
            or name = 'transaction_read_only' and setting <> 'on'""",
        [_LONGEST],
    )
    return Finding(", ".join(row[0] for row in rows))


def _cut(app: psycopg.Connection) -> Finding:
    # Lowered only, so as not to wait for it: no limit stays none.
    app.execute(
        """select set_config(name, least(setting::int, 20)::text, true)
        from pg_settings where name = 'statement_timeout'"""
    )
    try:
        app.execute("select pg_sleep(0.3)")
    except psycopg.errors.QueryCanceled:
        return Finding()
    return Finding("it went on")


def _hidden(app: psycopg.Connection) -> Finding:
    seen = scalar(
        app,
        """select count(*) from pg_stat_activity
        where usename is distinct from current_user
            and query not in ('', '<insufficient privilege>')""",
    )
    return Finding(f"{seen} can be read" if seen else "")


def _entered(here: Settings, connection: psycopg.Connection, beyond: set[str]) -> Finding:
    """The other databases that the application got into, or that could not be tried."""
    rows = connection.execute(
        """select datname from pg_database where datallowconn and datname <> current_database()
        order by datname in ('dev', 'postgres') desc, datname limit %s""",
        [_OTHER_DATABASES],
    ).fetchall()
    entered, untried = [], []
    for (database,) in rows:
        try:
            _log_in(here, connection, database).close()
            entered.append(database)
        except psycopg.OperationalError as error:
            # Refused for the database is as it should be; refused anywhere says nothing of it.
            if _is_full(connection, here):
                untried.append(f"{database}: {one_line(error)}")
    if entered or not untried:
        return Finding(", ".join(entered), _DATABASES not in beyond)
    return Finding("; ".join(untried), is_ours=False)
