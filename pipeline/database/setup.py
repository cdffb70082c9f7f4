"""The schemas, the ledger and the function that the pipeline needs in the dev database."""

from typing import LiteralString

import psycopg

from pipeline.database import ledger_versions
from pipeline.database.failures import one_line
from pipeline.database.locks import SETUP_LOCK
from pipeline.errors import SetupError

SCHEMAS: tuple[LiteralString, ...] = ("source", "staging", "pipeline")
LOCK_TIMEOUT = "10s"  # for a lock on the ledger, whose writers take milliseconds


def prepare(connection: psycopg.Connection) -> None:
    """Create the schemas and what models call where they are missing, and migrate the ledger.

    Commits. Raises SetupError when a permission is missing or a newer version of the pipeline
    migrated the ledger, psycopg's LockNotAvailable when a session locks the ledger for longer than
    LOCK_TIMEOUT.
    """
    with connection.transaction():
        connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
        # Two runs that begin at once must not both create the same schema.
        connection.execute("select pg_advisory_xact_lock(%s)", [SETUP_LOCK])
        try:
            # Even `if not exists` needs the permission to create schemas.
            existing = {name for (name,) in connection.execute("select nspname from pg_namespace")}
            for schema in SCHEMAS:
                if schema not in existing:
                    connection.execute(f"create schema {schema}")
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


def _is_valid(connection: psycopg.Connection) -> LiteralString:
    """Define `pipeline.is_valid(value, type)`: whether a cast would succeed; null for null.

    Since 16 PostgreSQL has pg_input_is_valid; before, trying is the only way to know.
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
