"""The public database: where it is, and what is in it."""

from contextlib import suppress

import psycopg

from pipeline import database, dsn, errors
from pipeline.database import locks
from pipeline.database.queries import scalar
from pipeline.marts import data_status
from pipeline.settings import Settings

NAME = "prod"
# What others created here, and could no longer use once the public's rights are revoked. Members of
# extensions do not count; `transformed_old` is what a replication is about to drop.
_OTHERS = """
select pg_describe_object(classid, objid, 0)
from (
    select 'pg_class'::regclass::oid, oid, relnamespace, relkind in ('r', 'p', 'v', 'm')
    from pg_catalog.pg_class where relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    union all
    select 'pg_proc'::regclass::oid, oid, pronamespace, false from pg_catalog.pg_proc
    union all
    select 'pg_type'::regclass::oid, oid, typnamespace, false from pg_catalog.pg_type
    where typtype in ('d', 'e', 'r') or typtype in ('b', 'p') and typcategory <> 'A'
        or typtype = 'c' and (select relkind from pg_catalog.pg_class where oid = typrelid) = 'c'
) as object (classid, objid, namespace, is_published)
join pg_catalog.pg_namespace on pg_namespace.oid = namespace
where nspname not in ('pg_catalog', 'information_schema') and nspname !~ '^pg_(toast|temp)'
    and not (nspname in ('transformed', 'transformed_old') and is_published)
    and (classid, objid) is distinct from ('pg_class'::regclass, to_regclass('pipeline.copy_of'))
    and not exists (
        select from pg_catalog.pg_depend
        where (pg_depend.classid, pg_depend.objid) = (object.classid, object.objid)
            and deptype in ('e', 'i') and refobjid <> pg_depend.objid  -- as a partitioned table's
    )
order by classid <> 'pg_class'::regclass, 1
"""
# What else shows that others use a database. The oids of PostgreSQL's own objects are below 16384
# (FirstNormalObjectId).
_TRACES = """
select pg_describe_object(classid, objid, 0)
from (
    select 'pg_namespace'::regclass::oid, oid from pg_catalog.pg_namespace
    where nspname not in ('public', 'transformed', 'transformed_old', 'pipeline')
        and nspname !~ '^pg_' and oid not in (select extnamespace from pg_catalog.pg_extension)
    union all select 'pg_cast'::regclass, oid from pg_cast
    union all select 'pg_collation'::regclass, oid from pg_collation
    union all select 'pg_conversion'::regclass, oid from pg_conversion
    union all select 'pg_event_trigger'::regclass, oid from pg_event_trigger
    union all select 'pg_foreign_data_wrapper'::regclass, oid from pg_foreign_data_wrapper
    union all select 'pg_foreign_server'::regclass, oid from pg_foreign_server
    union all select 'pg_largeobject'::regclass, oid from pg_largeobject_metadata
    union all select 'pg_operator'::regclass, oid from pg_operator
    union all select 'pg_publication'::regclass, oid from pg_publication
    union all select 'pg_ts_config'::regclass, oid from pg_ts_config
    union all select 'pg_ts_dict'::regclass, oid from pg_ts_dict
) as object (classid, objid)
where objid >= 16384 and not exists (
    select from pg_catalog.pg_depend
    where (pg_depend.classid, pg_depend.objid) = (object.classid, object.objid) and deptype = 'e'
)
order by 1
"""
LOCK = 7_305_812_166  # advisory lock: only one process writes to prod, from any machine


def connect(
    here: Settings, may_make: bool = True, patience: float | None = None
) -> psycopg.Connection:
    """A connection to prod, as `database.connect` makes one.

    Without PROD_DATABASE_URL it is database `prod` on the dev server, which is created if it is
    missing, unless `may_make` is False. Raises PipelineError or SetupError if prod cannot be
    reached, created or used.
    """
    if here.prod_database_url:
        return database.connect_to(here.prod_database_url, "PROD_DATABASE_URL", patience)
    with database.connect(here, lambda text: None) as dev:
        if not _is_there(dev):
            if not may_make:
                raise errors.SourceError(
                    f"there is no database {NAME} yet", "./run_pipeline.sh publish creates it"
                )
            _make(dev)
    return database.connect_to(url(here), "PROD_DATABASE_URL", patience)


def others(connection: psycopg.Connection) -> list[str]:
    """The relations, functions and types of others in prod, tables and views first."""
    return [name for (name,) in connection.execute(_OTHERS)]


def is_of_server(connection: psycopg.Connection) -> bool:
    """Whether the database is one that every server has (postgres, template1), or a template."""
    return scalar(
        connection,
        """select oid < 16384 or datistemplate from pg_catalog.pg_database
        where datname = current_database()""",
    )


def traces(connection: psycopg.Connection) -> list[str]:
    """What else shows that others use a database without such objects: schemas, …"""
    return [name for (name,) in connection.execute(_TRACES)]


def take_turn(connection: psycopg.Connection) -> None:
    """Prevent others from writing to prod until the transaction ends. Raises BusyError."""
    locks.take_lock(
        connection,
        "pg_try_advisory_xact_lock",
        LOCK,
        locks.LOST_LOCK_PATIENCE,
        "another replication to prod is in progress",
    )


def url(here: Settings) -> str:
    """The connection string of prod, for libpq."""
    if here.prod_database_url:
        return here.prod_database_url
    return dsn.with_database(database.url(here, lambda text: None), NAME)


def _is_there(dev: psycopg.Connection) -> bool:
    found = dev.execute("select from pg_database where datname = %s", [NAME]).fetchone()
    return found is not None


def _make(dev: psycopg.Connection) -> None:
    try:
        dev.execute(f"create database {NAME} encoding 'UTF8' template template0")
    except psycopg.errors.DuplicateDatabase:
        pass  # by another run, at the same moment
    except psycopg.Error as error:
        raise errors.SetupError(
            f"database {NAME} cannot be created: {database.one_line(error)}",
            f"create database {NAME}; on that server, or set PROD_DATABASE_URL",
        ) from None


def greatest_generation(here: Settings, of_ledger: int) -> int:
    """The greatest generation of the ledger and the dumps; of prod, too, if the ledger is lost."""
    generations_found = [
        int(path.stem) for path in here.dumps.glob("*.dump") if path.stem.isdecimal()
    ]
    if not of_ledger:
        with suppress(psycopg.Error, errors.PipelineError), connect(here) as connection:
            generations_found += generations(connection).values()
    return max([of_ledger, *generations_found])


def generations(connection: psycopg.Connection) -> dict[str, int]:
    """The generation of each table in prod, by name; empty before the first replication."""
    return {
        row["name"]: row["generation"]
        for row in data_status.read(connection)
        if row["kind"] == "table" and row["published_at"]
    }
