"""The dev database: where it is, a connection to it, and what is wrong when there is none."""

import time
from collections.abc import Callable

import psycopg
from psycopg import conninfo

from pipeline.errors import BusyError, PipelineError, SetupError
from pipeline.settings import Settings, redact

OLDEST, NEWEST = 15, 18  # major versions of PostgreSQL
PATIENCE = 15.0  # seconds for a server that is starting, or has no connection left
RUN_LOCK = 7_305_812_164  # advisory lock: one run at a time on one database, from any machine
_CONNECTION_LOST = (psycopg.OperationalError, psycopg.InterfaceError)


def url(settings: Settings, say: Callable[[str], None] = print) -> str:
    """The URL of the dev database; the embedded server is started when it is the one meant."""
    if settings.database_url:
        return settings.database_url
    from pipeline import postgres

    return postgres.ensure_running(settings, say)


def connect(
    settings: Settings, say: Callable[[str], None] = print, **options
) -> psycopg.Connection:
    """A connection to the dev database; waits a little for a server that is starting.

    It is in autocommit: `connection.transaction()` is then a transaction and never a savepoint.

    Raises PipelineError when it cannot be reached, SetupError when it is not one we can use.
    """
    address = url(settings, say)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection = psycopg.connect(
                address, connect_timeout=10, application_name="pipeline", autocommit=True
            )
            break
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline or not _may_pass(error):
                raise understood(error, "the database cannot be reached") from None
            time.sleep(1)
        except psycopg.Error as error:
            raise SetupError(f"DATABASE_URL is not understood: {_one_line(error)}") from None
    _check_version(connection)
    return connection


def parts(settings: Settings, say: Callable[[str], None] = print) -> dict[str, str]:
    """The words of the dev database's URL by libpq's names (host, port, user, password, …)."""
    return conninfo.conninfo_to_dict(url(settings, say))


def prepare(connection: psycopg.Connection) -> None:
    """Make the schemas and what models call, where they are missing; commits."""
    with connection.transaction():
        # Two runs that begin at once must not both create the same schema.
        connection.execute("select pg_advisory_xact_lock(%s)", [RUN_LOCK + 1])
        try:
            for schema in ("source", "staging", "pipeline"):
                if not _exists(connection, schema):
                    connection.execute(f"create schema {schema}")
            connection.execute(LEDGER)
            connection.execute(_is_valid(connection))
        except psycopg.errors.InsufficientPrivilege as error:
            raise SetupError(
                f"the database refuses what the pipeline needs: {_one_line(error)}",
                f"grant create on database {connection.info.dbname} to {connection.info.user}",
            ) from None


def hold_run_lock(connection: psycopg.Connection) -> None:
    """Keep other machines' runs off this database as long as the connection lasts."""
    if not connection.execute("select pg_try_advisory_lock(%s)", [RUN_LOCK]).fetchone()[0]:
        raise BusyError("another run is in progress on this database; nothing was done")


def understood(error: psycopg.Error, what: str) -> PipelineError:
    """A database error as one line that a person can act on."""
    message = _one_line(error)
    if isinstance(error, psycopg.errors.DiskFull):
        return PipelineError(f"{what}: the database's disk is full: {message}", "make room")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return SetupError(f"{what}: {message}", "grant it to the role of DATABASE_URL")
    if isinstance(error, _CONNECTION_LOST):
        return PipelineError(f"{what}: {message}", "see that the server runs and has room")
    return PipelineError(f"{what}: {message}")


def _may_pass(error: psycopg.OperationalError) -> bool:
    """Whether waiting may help: starting up, refused, no connection left; not a wrong password."""
    hopeless = ("password authentication failed", "does not exist", "no pg_hba.conf entry")
    return not any(words in str(error) for words in hopeless)


def _one_line(error: Exception) -> str:
    return redact(" ".join(str(error).split()))


def _check_version(connection: psycopg.Connection) -> None:
    major = connection.info.server_version // 10000
    if major < OLDEST:
        raise SetupError(f"PostgreSQL {major} is too old: {OLDEST} to {NEWEST} are supported")


def _exists(connection: psycopg.Connection, schema: str) -> bool:
    return connection.execute("select to_regnamespace(%s)", [schema]).fetchone()[0] is not None


def _is_valid(connection: psycopg.Connection) -> str:
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
    return f"{head} returns boolean {body}"


LEDGER = """
create table if not exists pipeline.runs (
    run_id text primary key,
    words text not null,
    started_at timestamptz not null,
    ended_at timestamptz,
    exit_code integer,
    note text
);
comment on table pipeline.runs is 'The ledger: one row per run.';
comment on column pipeline.runs.words is 'What was asked for on the command line';
comment on column pipeline.runs.exit_code is
'Null while the run is in progress, or when it was killed';

create table if not exists pipeline.steps (
    step_id bigint generated always as identity primary key,
    run_id text not null references pipeline.runs (run_id),
    stage text not null,
    name text not null,
    outcome text not null,
    started_at timestamptz,
    seconds numeric,
    rows bigint,
    bytes bigint,
    fingerprint text,
    reason text,
    remedy text,
    facts jsonb
);
comment on table pipeline.steps is
'The ledger: what each stage did, one row per run, stage and source or model.';
comment on column pipeline.steps.fingerprint is
'SHA-256 of what the stage made: raw content, legible file, or all that the tables are built from';
create index if not exists steps_newest on pipeline.steps (stage, name, step_id desc);
"""
