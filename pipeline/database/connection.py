"""A connection to PostgreSQL: where the dev database is, and the settings of every session."""

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import psycopg
from psycopg.pq import Conninfo

from pipeline import dsn
from pipeline.database import pooler
from pipeline.database.failures import explain, explain_refusal, is_lost, one_line
from pipeline.errors import SetupError
from pipeline.settings import Settings

OLDEST, NEWEST = 15, 18  # major versions of PostgreSQL
PATIENCE = 15.0  # seconds for a server that is starting, or has no free connection
GLANCE = 3.0  # seconds for a server that may be down
# How often a server checks whether the client of a long statement is still there. Otherwise it
# finishes the statement of a process that was killed.
CHECK_INTERVAL = "client_connection_check_interval", "2s"
# What a service file and our own sessions set is not passed on to PostgreSQL's programs.
_NOT_PASSED = (b"service", b"application_name", b"client_encoding", b"connect_timeout")
# The variables from which these programs read libpq's parameters: a password must not be on a
# command line, where everybody on the machine can read it.
VARIABLES = {
    option.keyword.decode(): option.envvar.decode()
    for option in Conninfo.get_defaults()
    if option.envvar and option.keyword not in _NOT_PASSED
}
# An administrator's defaults are meant for readers, or for another part of the world, not for us.
SESSION = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",  # since 17
    "default_transaction_read_only": "off",
    # So that a server whose client vanished releases its locks within two hours.
    "tcp_keepalives_idle": "60s",
    "tcp_keepalives_interval": "10s",
    "tcp_keepalives_count": "6",
    "search_path": "pg_catalog",
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
}


def url(settings: Settings, say: Callable[[str], None] = print) -> str:
    """The URL of the dev database; without DATABASE_URL the embedded server is started."""
    if settings.database_url:
        return settings.database_url
    from pipeline import embedded

    # libpq's variables are meant for another server; children of this process get none either.
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    return embedded.ensure_running(settings, say)


def connect(
    settings: Settings, say: Callable[[str], None] = print, patience: float | None = None
) -> psycopg.Connection:
    """A connection to the dev database; waits a little for a server that is starting.

    It is in autocommit: `connection.transaction()` is then a transaction and never a savepoint.
    Its settings are SESSION's. `patience`: seconds, instead of PATIENCE.

    Raises PipelineError when it cannot be reached, SetupError when it is not one we can use.
    """
    return connect_to(url(settings, say), "DATABASE_URL", patience)


def connect_to(address: str, setting: str, patience: float | None = None) -> psycopg.Connection:
    """The same to any database; `setting` is the name of the setting with the address.

    Raises SetupError also when the password is wrong or missing, or the address is malformed or
    ambiguous.
    """
    dsn.check(setting, address)
    patience = PATIENCE if patience is None else patience
    deadline = time.monotonic() + patience
    while True:
        try:
            connection = pooler.connect(
                address,
                setting,
                connect_timeout=max(2, min(10, int(patience))),
                application_name="pipeline",
                client_encoding="UTF8",
                autocommit=True,
                # The run's connection is idle while publishers are asked; no router may forget it.
                keepalives_idle=60,
                keepalives_interval=10,
                keepalives_count=6,
            )
            break
        except psycopg.OperationalError as error:
            if refusal := explain_refusal(error, setting):
                raise refusal from None
            if time.monotonic() > deadline:
                raise explain(error, "the database cannot be reached") from None
            time.sleep(1)
        except psycopg.Error as error:
            raise SetupError(
                f"{setting} is not a valid connection string: {one_line(error)}"
            ) from None
    try:
        _check_server(connection)
        _set_up_session(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def client_environment(connection: psycopg.Connection) -> dict[str, str]:
    """The environment in which psql, pg_dump and pg_restore find the database of a connection."""
    info = connection.info
    parameters = info.get_parameters() | {
        "host": info.host or info.hostaddr,
        "port": str(info.port),
        "password": info.password,
    }
    return environment(parameters)


def environment(parameters: Mapping[str, object]) -> dict[str, str]:
    """This process's environment with libpq's parameters in the variables its programs read."""
    variables = {VARIABLES[k]: str(v) for k, v in parameters.items() if k in VARIABLES and v}
    return os.environ | variables


def is_gone(connection: psycopg.Connection) -> bool:
    """Whether a connection was lost, or the server behind it went away."""
    try:
        connection.execute("select 1")
    except psycopg.Error as error:
        return is_lost(error)
    return False


def _check_server(connection: psycopg.Connection) -> None:
    major = connection.info.server_version // 10000
    if major < OLDEST:
        raise SetupError(
            f"PostgreSQL {major} is too old: {OLDEST} to {NEWEST} are supported",
            "let DATABASE_URL lead to a newer server, or leave it empty for the embedded one",
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise SetupError(
            f"database {connection.info.dbname} is in {encoding}, which cannot hold every text",
            "create it with: create database … encoding 'UTF8' template template0",
        )


def _set_up_session(connection: psycopg.Connection) -> None:
    """Apply SESSION, as far as this version of the server has these settings."""
    connection.execute("set statement_timeout = 0")  # before it can end the next statement
    connection.execute(
        """select set_config(name, %s::jsonb ->> name, false)
        from pg_catalog.pg_settings where %s::jsonb ? name""",
        [json.dumps(SESSION)] * 2,
    )
    with suppress(psycopg.errors.InvalidParameterValue):  # a server on Windows cannot check
        connection.execute("select set_config(%s, %s, false)", CHECK_INTERVAL)
