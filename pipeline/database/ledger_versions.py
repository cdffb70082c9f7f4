"""The tables of the ledger, version by version.

A change to them is one more step at the end of STEPS; released steps never change. `migrate` brings
the ledger of a database to the newest version.
"""

import psycopg

from pipeline.database.queries import scalar
from pipeline.errors import SetupError

_FIRST = """
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
_IDENTITY = """
create table if not exists pipeline.identity (
    is_only boolean primary key default true check (is_only),
    dev_id uuid not null,
    database_oid oid not null
);
comment on table pipeline.identity is
'The identity of this dev database, which its copy in prod names (pipeline.copy_of there).';
"""
# The snapshot of each load, as far as other steps name it, so that no older snapshot replaces it.
# A failed step names the last good file. A step run by hand was recorded after the load.
_SNAPSHOTS = """
update pipeline.steps as loads set facts = loads.facts || jsonb_build_object('snapshot', made.of)
from (
    select
        loads.step_id,
        jsonb_build_object(
            'content', legible.content,
            'origin', fetched.facts -> 'origin',
            'fetched_at', fetched.facts -> 'fetched_at'
        ) as of
    from pipeline.steps as loads
    cross join lateral (
        select facts ->> 'input' as content from pipeline.steps
        where stage = 'preprocess' and name = loads.name
            and (step_id < loads.step_id or started_at <= loads.started_at)
        order by step_id desc limit 1
    ) as legible
    cross join lateral (
        select facts from pipeline.steps
        where stage = 'api' and name = loads.name and fingerprint = legible.content
        order by step_id desc limit 1
    ) as fetched
    where loads.stage = 'load' and loads.outcome = 'new' and not loads.facts ? 'snapshot'
) as made
where loads.step_id = made.step_id
"""
_MARKS = """
create table if not exists pipeline.table_marks (
    schema_name text not null,
    table_name text not null,
    made_of text not null,
    row_count bigint,
    content_hash text,
    file bigint not null,
    changes bigint not null,
    columns text not null,
    noted_at timestamptz not null default clock_timestamp(),
    primary key (schema_name, table_name)
);
comment on table pipeline.table_marks is
'What each table was when only the pipeline had changed it (pipeline/marts): one row a table.';
comment on column pipeline.table_marks.file is 'pg_relation_filenode: TRUNCATE gives another one';
comment on column pipeline.table_marks.changes is
'Rows inserted, updated and deleted since the server began to count';
"""
_MAKERS = """
alter table pipeline.table_marks add column if not exists made_by text;
comment on column pipeline.table_marks.made_by is
'The transaction that made all rows (xmin): who changes one later is another'
"""
# The statements that turn version n into version n + 1. Ledgers from before versions were counted
# have the tables of the first two, which then change nothing.
STEPS = (_FIRST, _IDENTITY, _SNAPSHOTS, _MARKS, _MAKERS)
_VERSION = """
create table pipeline.ledger_version (
    is_only boolean primary key default true check (is_only),
    version integer not null,
    migrated_at timestamptz not null default clock_timestamp()
);
comment on table pipeline.ledger_version is
'How many steps of pipeline/database/ledger_versions.py the ledger has gone through: one row.';
insert into pipeline.ledger_version (version) values (0)
"""
# The identity of this database. A copy is another database: when one was restored or cloned
# elsewhere, its row gets a new id.
_IDENTIFY = """
insert into pipeline.identity as old (dev_id, database_oid)
select gen_random_uuid(), oid from pg_catalog.pg_database where datname = current_database()
on conflict (is_only) do update set dev_id = excluded.dev_id, database_oid = excluded.database_oid
where old.database_oid <> excluded.database_oid
"""


def migrate(connection: psycopg.Connection) -> None:
    """Bring the ledger to the newest version, in the caller's transaction.

    Raises SetupError when the ledger has a newer version than this code knows: this clone would
    write what the newer one cannot read.
    """
    if not scalar(connection, "select to_regclass('pipeline.ledger_version')"):
        connection.execute(_VERSION)
    version = scalar(connection, "select version from pipeline.ledger_version")
    if version > len(STEPS):
        raise SetupError(
            f"the ledger in database {connection.info.dbname} has version {version}, and this "
            f"clone knows versions up to {len(STEPS)}: a newer version of the pipeline has used "
            "the database; nothing was changed",
            "update this clone (git pull), or let DATABASE_URL lead to another database",
        )
    for statements in STEPS[version:]:
        connection.execute(statements)
    if version < len(STEPS):
        connection.execute(
            "update pipeline.ledger_version set version = %s, migrated_at = clock_timestamp()",
            [len(STEPS)],
        )
    connection.execute(_IDENTIFY)
