"""The ledger is migrated from any version to the newest, or not at all; a newer one is refused."""

import threading
from collections.abc import Iterator

import psycopg
import pytest
from patience import joined

from pipeline import database
from pipeline.database import ledger, ledger_versions
from pipeline.errors import SETUP, SetupError

# The ledger as it was before versions were counted, and a night in it.
UNCOUNTED = """
create schema pipeline;
create table pipeline.runs (
    run_id text primary key, words text not null, started_at timestamptz not null,
    ended_at timestamptz, exit_code integer, note text
);
create table pipeline.steps (
    step_id bigint generated always as identity primary key,
    run_id text not null references pipeline.runs (run_id),
    stage text not null, name text not null, outcome text not null, started_at timestamptz,
    seconds numeric, rows bigint, bytes bigint, fingerprint text, reason text, remedy text,
    facts jsonb
);
create index steps_newest on pipeline.steps (stage, name, step_id desc);
insert into pipeline.runs values ('a night', 'night', now(), now(), 0, '');
insert into pipeline.steps (run_id, stage, name, outcome, rows, fingerprint, facts)
values ('a night', 'load', 'airports', 'new', 3, 'made of', '{"generation": 7}');
"""
VERSION = "select version from pipeline.ledger_version"
# All tables, columns and indexes of the ledger, with their comments.
SHAPE = """
select string_agg(line, chr(10) order by line) from (
    select format('%s %s %s %s', attrelid::regclass, attname, atttypid::regtype,
        col_description(attrelid, attnum)) as line
    from pg_attribute join pg_class on pg_class.oid = attrelid
    where relnamespace = to_regnamespace('pipeline') and attnum > 0
    union all
    select pg_get_indexdef(indexrelid) from pg_index join pg_class on pg_class.oid = indrelid
    where relnamespace = to_regnamespace('pipeline')
    union all
    select obj_description(oid) from pg_class where relnamespace = to_regnamespace('pipeline')
) as lines
"""


@pytest.fixture
def owner(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def value(connection: psycopg.Connection, statement: str):
    return connection.execute(statement).fetchone()[0]


def test_a_ledger_from_before_versions_keeps_its_rows_and_is_migrated(owner):
    database.prepare(owner)
    new = value(owner, SHAPE)
    owner.execute("drop schema pipeline cascade")
    owner.execute(UNCOUNTED)
    before = owner.execute("select * from pipeline.steps").fetchall()
    database.prepare(owner)
    assert value(owner, SHAPE) == new
    assert owner.execute("select * from pipeline.steps").fetchall() == before
    assert value(owner, VERSION) == len(ledger_versions.STEPS)
    assert ledger.loaded(owner) == {"airports": "made of"}


def test_a_ledger_of_the_newest_version_is_not_changed(owner):
    database.prepare(owner)
    before = value(owner, SHAPE), owner.execute("table pipeline.ledger_version").fetchall()
    identity = ledger.identity(owner)
    database.prepare(owner)
    after = value(owner, SHAPE), owner.execute("table pipeline.ledger_version").fetchall()
    assert (after, ledger.identity(owner)) == (before, identity)


@pytest.mark.parametrize("version", range(len(ledger_versions.STEPS) + 1))
def test_every_version_is_migrated_to_the_newest(owner, monkeypatch, version):
    whole = ledger_versions.STEPS
    database.prepare(owner)
    new = value(owner, SHAPE)
    owner.execute("drop schema pipeline cascade; create schema pipeline")
    owner.execute(ledger_versions._VERSION)
    for statements in whole[:version]:
        owner.execute(statements)
    owner.execute("update pipeline.ledger_version set version = %s", [version])
    database.prepare(owner)
    assert (value(owner, SHAPE), value(owner, VERSION)) == (new, len(whole))


def test_a_newer_ledger_is_refused_and_nothing_is_changed(owner):
    database.prepare(owner)
    newer = len(ledger_versions.STEPS) + 1
    owner.execute("update pipeline.ledger_version set version = %s", [newer])
    owner.execute("drop schema staging")
    with pytest.raises(SetupError, match=f"has version {newer}.*git pull") as caught:
        database.prepare(owner)
    assert caught.value.exit_code == SETUP
    assert value(owner, VERSION) == newer
    assert value(owner, "select to_regnamespace('staging')") is None


def test_a_failed_migration_leaves_the_ledger_as_it_was(owner, monkeypatch):
    owner.execute(UNCOUNTED)
    before = value(owner, SHAPE)
    steps = (*ledger_versions.STEPS, "alter table pipeline.steps add more text; select 1 / 0")
    monkeypatch.setattr(ledger_versions, "STEPS", steps)
    with pytest.raises(psycopg.errors.DivisionByZero):
        database.prepare(owner)
    assert value(owner, SHAPE) == before
    monkeypatch.setattr(ledger_versions, "STEPS", (*steps[:-1], steps[-1].partition(";")[0]))
    database.prepare(owner)
    assert value(owner, "select count(more) from pipeline.steps") == 0
    assert value(owner, VERSION) == len(steps)


def test_two_simultaneous_runs_migrate_the_ledger_once(owner, database_url, monkeypatch):
    owner.execute(UNCOUNTED)
    once = "alter table pipeline.steps add more text; select pg_sleep(0.2)"
    monkeypatch.setattr(ledger_versions, "STEPS", (*ledger_versions.STEPS, once))
    errors: list[Exception] = []

    def prepare() -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            try:
                database.prepare(connection)
            except psycopg.Error as error:
                errors.append(error)

    runs = [threading.Thread(target=prepare) for _ in range(3)]
    for run in runs:
        run.start()
    joined(*runs)
    assert errors == []
    assert value(owner, VERSION) == len(ledger_versions.STEPS)
