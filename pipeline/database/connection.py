"""The dev database: where it is, a connection to it, and what is wrong when there is none."""

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import LiteralString, TypeVar

import psycopg
from psycopg import sql

from pipeline import dsn
from pipeline.database import ledger_versions, pooler
from pipeline.database.queries import scalar
from pipeline.errors import BusyError, PipelineError, SetupError, SourceError
from pipeline.settings import Settings, redact

T = TypeVar("T")
OLDEST, NEWEST = 15, 18  # major versions of PostgreSQL
PATIENCE = 15.0  # seconds for a server that is starting, or has no connection left
# How often a server looks whether the client of a long statement is still there. Else it goes on to
# the end for a process that was killed.
CHECK_INTERVAL = "client_connection_check_interval", "2s"
PREPARE_TIMEOUT = "10s"  # for a lock on the ledger, whose writers take milliseconds
PAUSE = 1.0  # seconds in which a server that lost a session to a kill has ended all others too
GLANCE = 3.0  # seconds for a server that need not be there
RUN_LOCK = 7_305_812_164  # advisory lock: one run at a time on one database, from any machine
ENDED_LOCK_PATIENCE = 1.0  # seconds until a run that has just ended has let go of its lock
LOST_LOCK_PATIENCE = 10.0  # seconds until a killed process of ours has let go of its lock
# libpq's words by the variables psql reads them from: a password has no place on a command line.
VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "channel_binding": "PGCHANNELBINDING",
    "options": "PGOPTIONS",
}
# What an administrator sets for readers, or for another part of the world, is not meant for us.
SESSION = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",  # since 17
    "default_transaction_read_only": "off",
    # So that a server whose client is gone without a word lets go of its locks within two hours.
    "tcp_keepalives_idle": "60s",
    "tcp_keepalives_interval": "10s",
    "tcp_keepalives_count": "6",
    "search_path": "pg_catalog",
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
}

# What libpq says of a value before it connects, and a server of a role that it does not let in.
# Waiting does not help, and no server is down.
_UNUSABLE = re.compile(
    r"invalid (\"?\w+\"? value|integer value|port number|SCRAM \w+ key)|could not match \d+ "
    r"|file \"[^\"]*\" does not exist|could not (open|read|load) [^:]*(certificate|key) file"
    r"|no pg_hba\.conf entry|not permitted to log in"
)


def url(settings: Settings, say: Callable[[str], None] = print) -> str:
    """The URL of the dev database; the embedded server is started when it is the one meant."""
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
    Its settings are SESSION's. `patience`: seconds, in place of PATIENCE.

    Raises PipelineError when it cannot be reached, SetupError when it is not one we can use.
    """
    return connect_to(url(settings, say), "DATABASE_URL", patience)


def connect_to(address: str, setting: str, patience: float | None = None) -> psycopg.Connection:
    """The same to any database; `setting` is the name of what led there.

    Raises SetupError too when the password is wrong or missing, or nobody knows what the address
    means.
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
                # The run's connection rests while publishers are asked; no router is to forget it.
                keepalives_idle=60,
                keepalives_interval=10,
                keepalives_count=6,
            )
            break
        except psycopg.OperationalError as error:
            _raise_if_refused(error, setting)
            if time.monotonic() > deadline:
                raise understood(error, "the database cannot be reached") from None
            time.sleep(1)
        except psycopg.Error as error:
            raise SetupError(f"{setting} is not understood: {one_line(error)}") from None
    try:
        _check_server(connection)
        connection.execute("set statement_timeout = 0")  # before it can end the next statement
        connection.execute(
            """select set_config(name, %s::jsonb ->> name, false)
            from pg_catalog.pg_settings where %s::jsonb ? name""",
            [json.dumps(SESSION)] * 2,
        )
        with suppress(psycopg.errors.InvalidParameterValue):  # a server on Windows cannot look
            connection.execute("select set_config(%s, %s, false)", CHECK_INTERVAL)
    except BaseException:
        connection.close()
        raise
    return connection


def client_environment(connection: psycopg.Connection) -> dict[str, str]:
    """The environment in which psql, pg_dump and pg_restore find the database of a connection."""
    info = connection.info
    words = info.get_parameters() | {"host": info.host or info.hostaddr, "port": str(info.port)}
    return environment(words | {"password": info.password})


def environment(words: Mapping[str, object]) -> dict[str, str]:
    """This process's environment with libpq's words in the variables its programs read."""
    return os.environ | {VARIABLES[w]: str(v) for w, v in words.items() if w in VARIABLES and v}


def answers(connection: psycopg.Connection) -> bool:
    """Whether the server still answers on a connection; one that does not is closed."""
    try:
        connection.execute("select 1")
    except psycopg.Error as error:
        if not is_lost(error):
            raise
        connection.close()
        return False
    return True


def once_more(settings: Settings, work: Callable[[psycopg.Connection], T]) -> T:
    """Do work on a connection to the dev database; once more when the server went away meanwhile.

    It recovers from a crash by itself, and the embedded one is started again. Not once more when
    another run began since: its rows are newer. Raises what the work raises.
    """
    with connect(settings) as connection:
        try:
            return work(connection)
        except (psycopg.Error, PipelineError) as error:
            if not is_gone(connection):
                raise
            first = error
    print(f"the database went away ({one_line(first)}): once more")
    time.sleep(PAUSE)
    with connect(settings) as connection:
        if _was_overtaken(connection):
            raise first
        return work(connection)


def is_gone(connection: psycopg.Connection) -> bool:
    """Whether a connection, or the server behind it, is no more."""
    try:
        connection.execute("select 1")
    except psycopg.Error as error:
        return is_lost(error)
    return False


def _was_overtaken(connection: psycopg.Connection) -> bool:
    """Whether another run began after the one that this process works for."""
    return scalar(
        connection,
        """select exists (
            select from pipeline.runs as ours join pipeline.runs as later
                on later.started_at > ours.started_at
            where ours.run_id = %s
        )""",
        [os.environ.get("PIPELINE_RUN", "")],
    )


def prepare(connection: psycopg.Connection) -> None:
    """Make the schemas and what models call, where they are missing; commits.

    Raises SetupError when a permission is missing or a newer version of the pipeline made the
    ledger, psycopg's LockNotAvailable when somebody works on the ledger for longer than
    PREPARE_TIMEOUT.
    """
    with connection.transaction():
        connection.execute(f"set local lock_timeout = '{PREPARE_TIMEOUT}'")
        # Two runs that begin at once must not both create the same schema.
        connection.execute("select pg_advisory_xact_lock(%s)", [RUN_LOCK + 1])
        try:
            for schema in ("source", "staging", "pipeline"):
                if not _exists(connection, schema):
                    connection.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
            ledger_versions.migrate(connection)
            connection.execute(_is_valid(connection))
        except psycopg.errors.InsufficientPrivilege as error:
            database, role = connection.info.dbname, connection.info.user
            raise SetupError(
                f"the database refuses what the pipeline needs: {one_line(error)}",
                f'grant create on database "{database}" to "{role}", and let it own the schemas '
                "source, staging, pipeline, transformed and transformed_next where they exist",
            ) from None
        except psycopg.errors.ReadOnlySqlTransaction:
            raise SetupError(
                f"database {connection.info.dbname} can only be read: it is a standby",
                "let DATABASE_URL lead to the primary server",
            ) from None


def hold_run_lock(connection: psycopg.Connection, patience: float = ENDED_LOCK_PATIENCE) -> None:
    """Keep other machines' runs off this database as long as the connection lasts.

    The session of a run that ended a moment ago may still be there: it is waited for.

    Raises BusyError when another run does that, for longer than `patience` (seconds).
    """
    busy = "another run is in progress on this database; nothing was loaded"
    take_lock(connection, "pg_try_advisory_lock", RUN_LOCK, patience, busy)


def is_run_in_progress(connection: psycopg.Connection) -> bool:
    """Whether a run of some machine holds its lock on this database."""
    return scalar(
        connection,
        """select exists (
            select from pg_catalog.pg_locks
            where locktype = 'advisory' and granted and objsubid = 1
                and database = (
                    select oid from pg_catalog.pg_database where datname = current_database()
                )
                and (classid::bigint << 32) + objid::bigint = %s
        )""",
        [RUN_LOCK],
    )


def take_lock(
    connection: psycopg.Connection, function: LiteralString, lock: int, patience: float, busy: str
) -> None:
    """Take an advisory lock by `function`; raises BusyError, saying `busy`, past `patience`.

    Patience (seconds) is for a lock whose holder was killed or lost its connection: the server
    process ends, and lets go, only some time after.
    """
    deadline = time.monotonic() + patience
    while not scalar(connection, f"select {function}(%s)", [lock]):
        if time.monotonic() >= deadline:
            raise BusyError(busy)
        time.sleep(0.1)


def understood(error: psycopg.Error, what: str) -> PipelineError:
    """A database error as one line that a person can act on.

    A SourceError when it is about the data or the SQL of one source, else what ends the run.
    """
    message = f"{what}: {one_line(error)}"
    if isinstance(error, psycopg.errors.DiskFull):
        return PipelineError(f"{message} (the database's disk is full)", "make room")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return SetupError(message, "grant it to the role of DATABASE_URL")
    # Classes 40 (a deadlock), 54 (such as a row that is too wide) and 55 (a lock) are
    # OperationalErrors too.
    of_server = isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
    if of_server and (error.sqlstate or "")[:2] not in ("40", "54", "55"):
        return PipelineError(message, "see that the server runs and has room")
    return SourceError(message, "the old rows stay")


def is_lost(error: psycopg.Error) -> bool:
    """Whether the connection or the server went away, so that trying anew may help."""
    if isinstance(error, psycopg.OperationalError):
        return (error.sqlstate or "08")[:2] in ("08", "57")
    return isinstance(error, psycopg.InterfaceError)


def _raise_if_refused(error: psycopg.OperationalError, setting: str) -> None:
    """Raise an error when a setting is at fault: the server, or libpq, does not take it."""
    text = one_line(error)
    if _UNUSABLE.search(text):
        what = f"{setting} cannot be used: {text}"
        raise SetupError(what, f"correct it in {setting}; see .env.example") from None
    if re.search(r'(database|role) "[^"]*" does not exist', text):
        remedy = f"create it, or correct it in {setting}"
        raise PipelineError(f"the database cannot be reached: {text}", remedy) from None
    if "permission denied for database" in text:
        raise SetupError(text, f"grant connect on that database to the role of {setting}") from None
    if "password authentication failed" in text:
        remedy = f"correct it in {setting}; special characters in it are percent-encoded"
        raise SetupError(f"the password in {setting} is wrong: {text}", remedy) from None
    if "no password supplied" in text:
        remedy = f"write it into {setting}, as postgresql://user:password@host/database"
        raise SetupError(
            f"{setting} has no password, and the server asks for one", remedy
        ) from None


def one_line(error: Exception | str) -> str:
    """A server's words without line breaks, passwords and what a terminal would obey."""
    text = redact(" ".join(str(error).split()))
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)[:1000]


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


def _exists(connection: psycopg.Connection, schema: str) -> bool:
    return scalar(connection, "select to_regnamespace(%s)", [schema]) is not None


def _is_valid(connection: psycopg.Connection) -> LiteralString:
    """`pipeline.is_valid(value, type)`: whether a cast would succeed; null for null.

    PostgreSQL has it as pg_input_is_valid since 16; before, trying is the only way to know.
    """
    if connection.info.server_version >= 160000:
        body = "language sql stable parallel safe as 'select pg_input_is_valid(value, type_name)'"
    else:
        body = """language plpgsql stable strict as $body$
            begin
                execute format('select %L::%s', value, type_name);
                return true;
            exception when data_exception then
                return false;
            end $body$"""
    head = "create or replace function pipeline.is_valid(value text, type_name text)"
    return head + " returns boolean " + body
