"""Publication: readers see old or new tables; objects of others are kept, or the table is held."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import psycopg
import pytest
from patience import end_of, eventually, joined
from readers import from_a_snapshot, in_one_transaction, reading

from pipeline import database
from pipeline.database import catalog, ledger, locks
from pipeline.errors import SourceError
from pipeline.marts import build_schema, data_status, dependents, freshness, publication
from pipeline.marts.dependents import Refused
from pipeline.settings import ROOT, Settings

ROWS = 200


@pytest.fixture
def place(server_settings: Settings, database_url: str) -> Settings:
    """Settings of an empty database, ready for use."""
    here = replace(server_settings, database_url=database_url, publish_patience=20)
    with database.connect(here) as connection:
        database.prepare(connection)
    return here


@pytest.fixture
def owner(place: Settings) -> Iterator[psycopg.Connection]:
    with database.connect(place) as connection:
        yield connection


def build(connection: psycopg.Connection, number: int, tables=("one", "two")) -> int:
    """What dbt does: builds tables of a generation in another schema. Returns its oid."""
    room = build_schema.create(connection, patience=20)
    for table in tables:
        connection.execute(
            f"""create table transformed_next.{table} as
            select id, {number} as generation, repeat('x', 3000) as wide
            from generate_series(1, {ROWS}) as id"""
        )
        connection.execute(
            f"alter table transformed_next.{table} add constraint {table}_pkey primary key (id)"
        )
    return room


def noting(number: int, tables=("one", "two")):
    """Records a publication in the ledger, as stage transform does."""

    def note(connection: psycopg.Connection, generation: int) -> list:
        ledger.begin(connection, f"run {number}", "transform", "2026-01-01T00:00:00Z")
        told = {"outcome": "published", "generation": generation, "tables": list(tables)}
        for name in (*tables, ledger.ALL_MODELS):
            ledger.note(connection, f"run {number}", "transform", name, told, f"made of {number}")
        return []

    return note


def publish(here: Settings, number: int, tables=("one", "two"), gone=()) -> int:
    """Build and publish; returns the generation."""
    with database.connect(here) as connection:
        room = build(connection, number, tables)
        note = noting(number, tables)
        return publication.publish(connection, here, room, iter(tables), note, gone)


def generations(connection: psycopg.Connection, tables=("one", "two")) -> set[int]:
    """The generations in the published tables, in one statement."""
    union = " union ".join(f"select generation from transformed.{table}" for table in tables)
    return {row[0] for row in connection.execute(union)}


def value(connection: psycopg.Connection, statement: str):
    return connection.execute(statement).fetchone()[0]


def test_two_publications(place, owner):
    assert publish(place, 1) == 1
    assert generations(owner) == {1}
    assert publish(place, 2) == 2
    assert generations(owner) == {2}
    assert list(catalog.tables(owner)) == ["one", "two"]
    noted = ledger.newest(owner, "transform", ("published",))
    assert noted[ledger.ALL_MODELS]["fingerprint"] == "made of 2"
    schemas = "select array_agg(nspname::text) from pg_namespace where nspname like 'transformed%'"
    assert value(owner, schemas) == ["transformed"]


def test_constraints_and_indexes_are_published_too(place, owner):
    publish(place, 1)
    publish(place, 2)
    assert value(owner, "select 'transformed.one_pkey'::regclass::text") == "transformed.one_pkey"


def test_tables_that_are_not_built_stay_and_deleted_ones_are_dropped(place, owner):
    publish(place, 1)
    publish(place, 2, ("one", "three"))
    assert list(catalog.tables(owner)) == ["one", "three", "two"]
    assert generations(owner, ("one", "three")) == {2}
    assert generations(owner, ("two",)) == {1}
    publish(place, 3, ("one",), gone=["two"])
    assert list(catalog.tables(owner)) == ["one", "three"]
    publish(place, 4, (), gone=["three"])
    assert list(catalog.tables(owner)) == ["one"]


def test_views_show_the_published_tables_that_are_not_built(place, owner):
    publish(place, 1)
    build(owner, 2, ("one", "three"))
    build_schema.show_published(owner, ["one", "two", "three"])
    build_schema.show_published(owner, ["one", "two", "three"])  # can be repeated
    found = owner.execute(
        """select generation from transformed_next.one
        union select generation from transformed_next.two"""
    ).fetchall()
    assert found == [(1,)]
    assert value(owner, "select to_regclass('transformed_next.three')") is None


def test_leftovers_of_a_killed_build_are_dropped(place, owner):
    build(owner, 1, ("half",))
    publish(place, 2)
    assert generations(owner) == {2}
    assert "half" not in catalog.tables(owner)


def test_only_what_this_run_built_is_published(place, owner):
    publish(place, 1)
    stale = build(owner, 2)
    build(owner, 3)  # by another run, while this one slept
    with pytest.raises(SourceError, match="another run built"):
        publication.publish(owner, place, stale, ["one", "two"], noting(2))
    assert generations(owner) == {1}


# Grants


@pytest.fixture
def reader(owner) -> Iterator[str]:
    """A role with a name that has to be quoted."""
    owner.execute('create role "app reader"')
    yield '"app reader"'
    owner.execute('drop owned by "app reader"')
    owner.execute('drop role "app reader"')


def may(owner, privilege: str, table: str, role="app reader") -> bool:
    statement = "select has_table_privilege(%s, %s, %s)"
    return owner.execute(statement, [role, f"transformed.{table}", privilege]).fetchone()[0]


def test_grants_on_schema_table_and_column_are_kept(place, owner, reader):
    publish(place, 1)
    owner.execute(f"grant usage on schema transformed to {reader} with grant option")
    owner.execute(f"grant select on transformed.one to {reader} with grant option")
    owner.execute(f"grant select (id) on transformed.two to {reader}")
    owner.execute("grant select on transformed.two to public")
    before = acl(owner)
    publish(place, 2)
    assert acl(owner) == before
    assert "app reader" in str(before)


def acl(owner) -> list:
    return owner.execute(
        """select relname, relacl::text, (
            select array_agg(attacl::text order by attname) from pg_attribute
            where attrelid = pg_class.oid and attacl is not null
        ), nspacl::text
        from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where nspname = 'transformed' and relkind in ('r', 'v') order by 1"""
    ).fetchall()


def test_default_privileges_of_the_schema_reach_new_tables_and_stay(place, owner, reader):
    publish(place, 1)
    owner.execute(
        f"alter default privileges in schema transformed grant select on tables to {reader}"
    )
    publish(place, 2, ("one", "two", "three"))
    assert may(owner, "select", "three")
    assert not may(owner, "insert", "three")
    publish(place, 3, ("one", "two", "three", "four"))
    assert may(owner, "select", "four")


def test_a_revoked_privilege_is_not_granted_again_by_default(place, owner, reader):
    owner.execute(f"alter default privileges grant select on tables to {reader}")
    publish(place, 1)
    assert may(owner, "select", "one")
    owner.execute(f"revoke select on transformed.one from {reader}")
    publish(place, 2)
    assert not may(owner, "select", "one")
    assert may(owner, "select", "two")
    owner.execute(f"alter default privileges revoke select on tables from {reader}")


# Objects of others


def test_views_of_others_are_recreated_as_they_were(place, owner, reader):
    publish(place, 1)
    owner.execute(
        f"""
        create schema app;
        grant usage, create on schema app to {reader};
        grant usage on schema transformed to {reader};
        grant select on transformed.one, transformed.two to {reader};
        create view app."a ""view" with (security_invoker, check_option=local)
        as select id, generation from transformed.one where id > 10;
        comment on view app."a ""view" is 'It''s mine';
        comment on column app."a ""view".id is 'the key';
        grant select on app."a ""view" to public;
        grant update (id) on app."a ""view" to {reader} with grant option;
        create view app.upon as select "a ""view".id, two.generation
        from app."a ""view" join transformed.two using (id);
        alter view app.upon owner to {reader};
        """
    )
    publish(place, 2)
    facts = """select relname, relowner::regrole::text, reloptions, relacl::text,
        pg_get_viewdef(pg_class.oid), obj_description(pg_class.oid),
        col_description(pg_class.oid, 1),
        (select attacl::text from pg_attribute where attrelid = pg_class.oid and attname = 'id')
        from pg_class where relnamespace = 'app'::regnamespace order by 1"""
    before = owner.execute(facts).fetchall()
    publish(place, 3)
    assert owner.execute(facts).fetchall() == before
    assert before[0][2] == ["security_invoker=true", "check_option=local"]
    assert before[0][5:7] == ("It's mine", "the key")
    assert before[1][1] == reader
    assert value(owner, 'select min(generation) from app."a ""view"') == 3
    assert value(owner, "select count(*) from app.upon where generation = 3") == ROWS - 10
    owner.execute("drop schema app cascade")


REFUSED = {
    "create materialized view other.m as select * from transformed.one": "view other.m",
    "create table other.t (id int references transformed.one)": "other.t",
    "create function other.f(transformed.one) returns int return 1": "function other.f",
    "create table other.t (whole transformed.one)": "other.t",
    "create function other.f() returns bigint begin atomic select id from transformed.one; end": (
        "function other.f"
    ),
    "create materialized view other.m as select 1 from (select * from transformed.one) as x": (
        "view other.m"
    ),
    "create view other.v as select wide as gone from transformed.one": 'view "other"."v"',
    "create view transformed.late as select 1 from transformed.one": ('view "transformed"."late"'),
    "create policy mine on transformed.one using (true)": "policy mine",
    """create function other.f() returns trigger language plpgsql as 'begin return null; end';
    create trigger mine before insert on transformed.one execute function other.f()""": (
        "trigger mine"
    ),
    """create view other.v as select id from transformed.one;
    create rule mine as on insert to other.v do instead nothing""": "rule mine",
    """create view other.v as select id from transformed.one;
    alter view other.v alter column id set default 7""": "default of column id on other.v",
}


@pytest.mark.parametrize("statement", REFUSED)
def test_objects_of_others_that_cannot_be_kept_are_named_and_nothing_changes(
    place, owner, statement
):
    publish(place, 1)
    owner.execute(f"create schema other; {statement}")
    with database.connect(place) as connection:
        room = build(connection, 2, ("one", "two", "late"))
        connection.execute("alter table transformed_next.one drop column wide")
        with pytest.raises(Refused, match=REFUSED[statement].replace(".", r"\.")) as caught:
            publication.publish(connection, place, room, ["one", "two", "late"], noting(2))
    assert "objects of others" in caught.value.what
    assert caught.value.tables == {"one"}
    assert generations(owner) == {1}
    assert ledger.newest(owner, "transform")[ledger.ALL_MODELS]["run_id"] == "run 1"
    owner.execute("drop schema other cascade")


def test_publishing_without_superuser(place, owner):
    """It owns only its tables: a table it may not replace is named, the others do not matter."""
    owner.execute("drop schema source, staging, pipeline cascade; create role publisher")
    owner.execute(f"grant create on database {owner.info.dbname} to publisher")

    def publish_weakly(number: int) -> None:
        with database.connect(place) as connection:
            connection.execute("set session authorization publisher")
            database.prepare(connection)
            room = build(connection, number)
            publication.publish(connection, place, room, ["one", "two"], noting(number))

    try:
        publish_weakly(1)
        owner.execute(
            "alter default privileges in schema transformed grant select on tables to public"
        )
        publish_weakly(2)
        owner.execute("create view public.v as select * from transformed.one")
        with pytest.raises(Refused, match=r"objects of others .*must be owner of view v"):
            publish_weakly(3)
        owner.execute("drop view public.v; alter table transformed.two owner to postgres")
        owner.execute("alter schema transformed owner to postgres")
        owner.execute("grant all on schema transformed to publisher")
        owner.execute("grant all on transformed.two to publisher")  # so that it may be locked
        with pytest.raises(Refused, match=r"must be owner of table two") as caught:
            publish_weakly(4)
        assert caught.value.tables == {"two"}
        assert generations(owner) == {2}
    finally:
        owner.execute("drop owned by publisher cascade")
        owner.execute("drop role publisher")


def test_objects_of_others_in_the_schema_stay(place, owner):
    publish(place, 1)
    owner.execute("create table transformed.mine as select 1 as generation")
    owner.execute("create function transformed.f() returns int return 1")
    publish(place, 2)
    mine = "select generation + transformed.f() from transformed.mine"
    assert value(owner, mine) == 2
    with pytest.raises(Refused, match='relation "mine" already exists'):
        publish(place, 3, ("one", "two", "mine"))
    assert value(owner, mine) == 2
    assert generations(owner) == {2}


def test_without_a_ledger_the_tables_of_the_models_are_replaced(place, owner):
    publish(place, 1)
    owner.execute("drop schema pipeline cascade")
    database.prepare(owner)
    publish(place, 2)
    assert generations(owner) == {2}


# Readers


@in_one_transaction
def two_tables(connection) -> set[int]:
    """Both tables, a statement each."""
    return generations(connection, ("one",)) | generations(connection, ("two",))


@in_one_transaction
def two_tables_the_other_way(connection) -> set[int]:
    return generations(connection, ("two",)) | generations(connection, ("one",))


def through_a_view(connection) -> set[int]:
    return {row[0] for row in connection.execute("select generation from public.both")}


READS = (
    generations,
    two_tables,
    two_tables_the_other_way,
    through_a_view,
    from_a_snapshot(generations, 0.2),
)


def test_readers_see_no_error_no_empty_table_and_no_mixture(place, owner):
    publish(place, 1)
    owner.execute(
        """create view public.both as
        select generation from transformed.two union all select generation from transformed.one"""
    )
    with reading(place.database_url, READS) as readers:
        for number in range(2, 7):
            publish(place, number)
            time.sleep(0.1)
    assert [reader.wrong for reader in readers] == [[]] * len(READS)
    for reader in readers:
        assert len(reader.seen) > 5
        assert {len(seen) for seen in reader.seen} == {1}
        assert set.union(*reader.seen) >= {1, 6}
        assert reader.longest < 3


def test_a_snapshot_from_before_the_build_finds_complete_new_tables(place, owner):
    """It began before the build, and its first read after the publication must find all rows."""
    publish(place, 1)
    with psycopg.connect(place.database_url) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("select 1")
        publishing = threading.Thread(target=publish, args=(place, 2))
        publishing.start()
        wait_for(owner, "application_name = 'pipeline' and query like '%relfrozenxid%'")
        publishing.join(timeout=1)
        assert publishing.is_alive(), "the publication waits for the old snapshot"
        assert generations(reader) == {1}
        reader.commit()
        joined(publishing)
        assert generations(reader) == {2}


def test_a_snapshot_from_before_the_commit_finds_the_status_of_the_new_tables(
    place, owner, monkeypatch
):
    """It waits for the first table, whose rows are frozen; so the status must be frozen too."""
    publish_with_status(place, owner, 1)
    seen, readers = [], []

    def read() -> None:
        with psycopg.connect(place.database_url) as reader:
            reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            seen.append(generations(reader))
            seen.append(set(reader.execute("select generation from transformed.data_status")))

    def replace_when_a_reader_waits(connection, rows) -> None:
        readers.append(threading.Thread(target=read))
        readers[0].start()
        wait_for(owner, "query like '%transformed.one%' and wait_event_type = 'Lock'")
        replace_status(connection, rows)

    replace_status = data_status.replace
    monkeypatch.setattr(data_status, "replace", replace_when_a_reader_waits)
    publish_with_status(place, owner, 2)
    readers[0].join()
    assert seen == [{2}, {(2,)}]


def publish_with_status(place: Settings, owner: psycopg.Connection, number: int) -> None:
    """A publication with its generation in `data_status`."""

    def note(connection: psycopg.Connection, generation: int) -> list:
        noting(number)(connection, generation)
        data_status.prepare(connection)
        one = freshness.Table("published", generation=generation)
        return freshness.rows({}, {}, {"one": one}, {}, {})

    room = build(owner, number)
    with database.connect(place) as connection:
        publication.publish(connection, place, room, ["one", "two"], note)


def wait_for(connection: psycopg.Connection, condition: str) -> None:
    """Wait until a session of this database fulfils the condition."""
    count = f"""select count(*) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and {condition}"""
    eventually(lambda: value(connection, count), condition, every=0.01)


def test_a_privilege_granted_just_before_its_lock_is_kept(place, owner, reader, monkeypatch):
    publish(place, 1)
    lock = publication._lock

    def grant_and_lock(connection, *relations) -> None:
        owner.execute(f"grant select on transformed.one to {reader}")
        lock(connection, *relations)

    monkeypatch.setattr(publication, "_lock", grant_and_lock)
    publish(place, 2)
    assert generations(owner) == {2}
    assert may(owner, "select", "one")
    assert not may(owner, "select", "two")


# A change of view public.v by its owner, and a query that is true after the publication.
CHANGED = {
    "create or replace view public.v as select generation + 9 as generation from transformed.one": (
        "select min(generation) = 11 from public.v"
    ),
    "comment on view public.v is 'new'": "select obj_description('public.v'::regclass) = 'new'",
    'grant select on public.v to "app reader"': (
        "select has_table_privilege('app reader', 'public.v', 'select')"
    ),
    'alter view public.v owner to "app reader"': (
        """select relowner::regrole::text = '"app reader"' from pg_class
        where oid = 'public.v'::regclass"""
    ),
    "drop view public.v": "select to_regclass('public.v') is null",
    "create view public.upon as select generation from public.v": (
        "select min(generation) = 2 from public.upon"
    ),
}


@pytest.mark.parametrize("change", CHANGED)
def test_a_change_of_a_view_just_before_its_lock_is_kept(place, owner, reader, monkeypatch, change):
    publish(place, 1)
    owner.execute("create view public.v as select generation from transformed.one")
    owner.execute(f"grant create on schema public to {reader}")
    lock, changes = dependents.lock, [change]

    def change_and_lock(connection, view) -> None:
        if changes:
            owner.execute(changes.pop())
        lock(connection, view)

    monkeypatch.setattr(dependents, "lock", change_and_lock)
    publish(place, 2)
    assert generations(owner) == {2}
    assert value(owner, CHANGED[change])
    owner.execute("drop view if exists public.v cascade")


def test_a_change_of_a_view_while_the_publication_waits_for_it_is_kept(place, owner):
    publish(place, 1)
    owner.execute("create view public.v as select generation from transformed.one")
    publishing = threading.Thread(target=publish, args=(place, 2))
    with (
        psycopg.connect(place.database_url) as reader,
        psycopg.connect(place.database_url) as analyst,
    ):
        generations(reader)  # so that the build ends, and the publication repeats its attempts
        publishing.start()
        wait_for(owner, "query like 'lock table%exclusive mode' and wait_event_type = 'Lock'")
        analyst.execute(next(iter(CHANGED)))
        reader.rollback()
        wait_for(owner, "application_name = 'pipeline' and wait_event_type = 'Lock'")
        analyst.commit()
    joined(publishing)
    assert generations(owner) == {2}
    assert value(owner, CHANGED[next(iter(CHANGED))])


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_a_reader_that_holds_a_table_postpones_the_publication_and_is_named(
    place, owner, isolation
):
    publish(place, 1)
    with psycopg.connect(place.database_url, application_name="a report") as reader:
        reader.execute(f"set transaction isolation level {isolation}")
        assert generations(reader) == {1}
        with pytest.raises(SourceError, match="postponed: readers hold") as caught:
            publish(replace(place, publish_patience=1), 2)
        assert f"process {reader.info.backend_pid} of postgres (a report)" in caught.value.what
        assert "select generation" in caught.value.what
        assert generations(owner) == {1}
    publish(place, 3)
    assert generations(owner) == {3}


def test_new_readers_wait_only_briefly_behind_a_waiting_publication(place, owner):
    publish(place, 1)
    with psycopg.connect(place.database_url) as holder:
        generations(holder)
        with (
            reading(place.database_url, [generations]) as (reader,),
            pytest.raises(SourceError),
        ):
            publish(replace(place, publish_patience=2), 2)
    assert reader.wrong == []
    assert reader.longest < 1  # lock_timeout is 200 ms, on a machine that may be busy


def test_new_readers_do_not_wait_for_one_lock_after_another(place, owner, monkeypatch):
    """The limit of a single lock does not limit how long the first one is held."""
    monkeypatch.setattr(locks, "LOCK_TIMEOUT", "5s")
    monkeypatch.setattr(locks, "LONGEST_ATTEMPT", 0.3)
    publish(place, 1)
    with psycopg.connect(place.database_url) as holder:
        generations(holder, ("two",))
        only_one = lambda connection: generations(connection, ("one",))  # noqa: E731
        with (
            reading(place.database_url, [only_one]) as (reader,),
            pytest.raises(SourceError, match="postponed: readers hold"),
        ):
            publish(replace(place, publish_patience=2), 2)
    assert reader.wrong == []
    assert reader.waited > 0.1
    assert reader.longest < 2


def test_new_readers_of_a_view_do_not_wait_for_the_lock_of_another(place, owner, monkeypatch):
    monkeypatch.setattr(locks, "LOCK_TIMEOUT", "5s")
    monkeypatch.setattr(locks, "LONGEST_ATTEMPT", 0.3)
    publish(place, 1)
    for view, table in (("locked_last", "two"), ("locked_first", "one")):
        owner.execute(f"create view public.{view} as select generation from transformed.{table}")
    with psycopg.connect(place.database_url) as holder:
        holder.execute("select generation from public.locked_last")
        first = lambda connection: {value(connection, "select 1 from public.locked_first")}  # noqa: E731
        with (
            reading(place.database_url, [first]) as (reader,),
            pytest.raises(SourceError, match="postponed: readers hold"),
        ):
            publish(replace(place, publish_patience=2), 2)
    assert reader.wrong == []
    assert reader.waited > 0.1
    assert reader.longest < 2


def test_a_session_that_wrote_before_the_build_is_named(place, owner):
    """It has no snapshot, but a transaction number older than the new rows."""
    publish(place, 1)
    with (
        psycopg.connect(place.database_url) as writer,
        psycopg.connect(place.database_url) as later,
        psycopg.connect(place.database_url) as innocent,
    ):
        writer.execute("create table public.unfinished ()")
        later.execute("create table public.unfinished_too ()")
        room = build(owner, 2)
        innocent.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        innocent.execute("select 1")
        impatient = replace(place, publish_patience=1)
        with pytest.raises(SourceError, match=f"process {writer.info.backend_pid} of"):
            publication.publish(owner, impatient, room, ["one", "two"], noting(2))
    assert generations(owner) == {1}


def test_autovacuum_of_an_old_table_is_cancelled(place, owner):
    publish(place, 1)
    with autovacuum_of_one(owner):
        publish(replace(place, publish_patience=5), 2)
    assert generations(owner) == {2}


@contextmanager
def autovacuum_of_one(owner: psycopg.Connection) -> Iterator[None]:
    """Autovacuum works on transformed.one, for minutes unless it is cancelled."""
    owner.execute("alter system set autovacuum_naptime = '1s'")
    owner.execute("select pg_reload_conf()")
    owner.execute(
        """alter table transformed.one set (autovacuum_vacuum_cost_delay=100,
            autovacuum_vacuum_cost_limit=1, autovacuum_vacuum_threshold=1,
            autovacuum_vacuum_scale_factor=0, autovacuum_analyze_threshold=1000000,
            toast.autovacuum_enabled=off)"""
    )
    more = "select n, 1, repeat('x', 1000) from generate_series(1001, 9000) as n"
    owner.execute(f"insert into transformed.one {more}")
    owner.execute("update transformed.one set wide = wide || 'x'")
    try:
        wait_for(owner, "query like 'autovacuum: VACUUM transformed.one%'")
        yield
    finally:
        owner.execute("alter system reset autovacuum_naptime")
        owner.execute("select pg_reload_conf()")


def test_a_reader_of_leftovers_is_waited_for_and_named(place, owner):
    build(owner, 1)
    with psycopg.connect(place.database_url, application_name="a look") as reader:
        reader.execute("select count(*) from transformed_next.one")
        with pytest.raises(SourceError, match=r"left in schema transformed_next.*\(a look\)"):
            build_schema.create(owner, patience=0.5)
        assert value(owner, "select count(*) from transformed_next.one") == ROWS
    publish(place, 2)
    assert generations(owner) == {2}


def test_zero_patience_is_a_time_limit_too():
    assert [locks.milliseconds(n) for n in (0, 0.25, 300.0)] == ["1ms", "250ms", "300000ms"]


# Patience, measured by a simulated clock


class Clock:
    """A clock that advances only in `sleep`."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Connection:
    """A simulated connection: records the statements, and fails as given."""

    def __init__(self, *failures: Exception):
        self.statements: list[str] = []
        self.failures = list(failures)

    def transaction(self):
        return nullcontext()

    def execute(self, statement: str, *_):
        self.statements.append(statement)
        if statement.startswith("drop") and self.failures:
            raise self.failures.pop(0)
        return self

    def fetchone(self) -> tuple:
        return (1,)

    def fetchall(self) -> list:
        return []


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(publication, "time", clock)
    monkeypatch.setattr(build_schema, "time", clock)
    monkeypatch.setattr(locks, "_oldest", lambda *words: "somebody")
    return clock


WAITED = [
    psycopg.errors.LockNotAvailable,
    psycopg.errors.QueryCanceled,
    psycopg.errors.DeadlockDetected,
]


def test_a_schema_that_is_read_is_tried_until_patience_ends(clock):
    held = Connection(*[psycopg.errors.LockNotAvailable()] * 9)
    with pytest.raises(SourceError, match="hold what is left in schema x; the oldest is somebody"):
        build_schema.drop(held, "x", patience=0.4)
    drops = [statement for statement in held.statements if statement.startswith("drop")]
    assert (len(drops), round(clock.now, 3)) == (4, 0.6)  # at 0.0, 0.2, 0.4, and then once too late


@pytest.mark.parametrize("waited", WAITED)
def test_a_schema_that_was_read_for_a_moment_is_dropped(clock, waited):
    held = Connection(waited())
    build_schema.drop(held, "x", patience=5)
    one = ["set local lock_timeout = '200ms'", "drop schema if exists x cascade"]
    assert held.statements == one * 2


def test_a_snapshot_that_is_older_than_the_build_is_waited_for_until_patience_ends(clock):
    held = Connection()
    with pytest.raises(SourceError, match="hold a snapshot older than the build"):
        publication._freeze(held, deadline=0.4)
    looks = [statement for statement in held.statements if "relfrozenxid" in statement]
    assert (len(looks), round(clock.now, 3)) == (4, 0.6)


@pytest.mark.parametrize("waited", [*WAITED, publication._Changed])
def test_a_publication_is_tried_until_patience_ends(place, clock, monkeypatch, waited):
    attempts, bounds = [], []

    def fail(*words):
        attempts.append(clock.now)
        raise waited

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return 0.2

    monkeypatch.setattr(publication, "_exchange", fail)
    monkeypatch.setattr(publication, "_our_tables", lambda *words: {})
    monkeypatch.setattr(publication.ledger, "generation", lambda connection: 0)
    monkeypatch.setattr(publication, "_freeze", lambda *words: None)
    monkeypatch.setattr(publication.random, "uniform", uniform)
    here = replace(place, publish_patience=0.4)
    with pytest.raises(SourceError, match="hold published tables; the oldest is somebody"):
        publication.publish(Connection(), here, 1, [], lambda *words: [])
    assert len(attempts) == 4
    assert bounds == [(0.05, 0.5)] * 3  # random, so that two publications do not collide forever


def test_the_time_for_all_locks_ends(clock):
    clock.now = 5.0
    asked = Connection()
    publication._limit_next_statement(asked, 5.25)
    assert asked.statements == ["set local statement_timeout = '250ms'"]
    for until in (5.0, 4.0):
        with pytest.raises(publication._Changed):
            publication._limit_next_statement(asked, until)


def test_the_limits_are_those_promised_to_readers():
    assert locks.LOCK_TIMEOUT == "200ms"
    assert locks.LONGEST_ATTEMPT <= 0.9


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("could not open relation with OID 7", publication._Changed),
        ("cache lookup failed", psycopg.errors.InternalError_),
    ],
)
def test_a_view_that_is_dropped_at_this_moment_is_no_error(monkeypatch, message, expected):
    def fail(*words):
        raise psycopg.errors.InternalError_(message)

    monkeypatch.setattr(dependents, "views", fail)
    with pytest.raises(expected):
        publication._views(Connection(), {})


# The settings of the session


def test_a_publication_leaves_no_setting_of_the_session_behind(place, owner):
    publish(place, 1)
    owner.execute("create view public.v as select generation from transformed.one")
    with database.connect(place) as connection:
        connection.execute("set lock_timeout = '7s'")
        connection.execute("set statement_timeout = '5min'")
        room = build(connection, 2)
        publication.publish(connection, place, room, ["one", "two"], noting(2))
        assert value(connection, "show lock_timeout") == "7s"
        assert value(connection, "show statement_timeout") == "5min"


def test_the_limits_end_with_the_locks(place, owner, monkeypatch):
    seen = []

    def noted(name: str, setting: str) -> None:
        inner = getattr(publication, name)

        def outer(connection, *words):
            seen.append((name, value(connection, f"show {setting}")))
            return inner(connection, *words)

        monkeypatch.setattr(publication, name, outer)

    noted("_exchange", "lock_timeout")
    noted("_move_in", "statement_timeout")
    publish(place, 1, ("one",))
    publish(place, 2, ("one",))
    assert seen == [("_exchange", "200ms"), ("_move_in", "0")] * 2


def test_a_session_that_locks_the_ledger_postpones_the_publication(place, owner):
    with psycopg.connect(place.database_url) as other:
        other.execute("lock table pipeline.steps in access exclusive mode")
        with pytest.raises(SourceError, match=r"postponed: .*the oldest is gone by now"):
            publish(replace(place, publish_patience=0.5), 1)
    assert publish(place, 2) == 1


def test_only_a_session_that_holds_a_published_table_is_named(place, owner):
    """The oldest of them; not one that reads elsewhere or waits, though both began before."""
    publish(place, 1)
    names = ("elsewhere", "waits", "holds", "holds too")
    elsewhere, waits, holds, too = sessions = [
        psycopg.connect(place.database_url, application_name=name) for name in names
    ]
    elsewhere.execute("select count(*) from pipeline.steps")
    waits.execute("select 1")
    generations(holds)
    generations(too)
    waits.pgconn.send_query(b"lock table transformed.one")
    wait_for(owner, "application_name = 'waits' and wait_event_type = 'Lock'")
    assert "(holds)" in locks.oldest_holder(owner, "transformed")
    for session in sessions:
        session.close()
    # The server notices a moment later.
    eventually(lambda: locks.oldest_holder(owner, "transformed") == "gone by now", "their end")


# After a build


def test_a_new_table_is_frozen_at_once_and_analyzed_unless_it_was(place, owner, monkeypatch):
    room = build(owner, 1, ("one",))  # whose size is known, because creating its key read the rows
    owner.execute("create table transformed_next.bare as select 1 as id")
    monkeypatch.setattr(publication, "time", Clock())
    publication.publish(owner, place, room, ["one", "bare"], noting(1, ["one", "bare"]))
    assert publication.time.now == 0, "nothing had to be waited for"
    known = "select distinct tablename from pg_stats where schemaname = 'transformed'"
    assert owner.execute(known).fetchall() == [("bare",)]


def test_a_table_without_long_values_is_waited_for_too(place, owner):
    """It has no TOAST table whose age would show it."""
    with psycopg.connect(place.database_url) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("select 1")
        room = build_schema.create(owner, patience=20)
        owner.execute("create table transformed_next.narrow as select 1 as id")
        with pytest.raises(SourceError, match="a snapshot older than the build"):
            impatient = replace(place, publish_patience=0.3)
            publication.publish(owner, impatient, room, ["narrow"], noting(1, ["narrow"]))
        assert "narrow" not in catalog.tables(owner)


def test_the_views_on_published_tables_are_dropped_with_the_schema_of_the_build(place, owner):
    publish(place, 1)
    room = build(owner, 2, ("one",))
    build_schema.show_published(owner, ["two"])
    publication.publish(owner, place, room, ["one"], noting(2, ("one",)))
    assert generations(owner, ("one",)) == {2}
    assert value(owner, "select to_regnamespace('transformed_next')") is None


# Killed

PUBLISH = """
import json, sys
from dataclasses import replace
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from test_publication import publish
from pipeline.settings import Settings
here = Settings(Path("/nowhere"), {url!r}, "off", {{}}, 0, 60, 0, 20, "tests")
print("ready", flush=True)
publish(here, {number})
"""


@contextmanager
def publishing(place: Settings, number: int) -> Iterator[subprocess.Popen]:
    """A publication in a process of its own."""
    words = {"root": str(ROOT), "tests": str(ROOT / "tests")}
    program = PUBLISH.format(url=place.database_url, number=number, **words)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_killed_at_any_moment_it_leaves_the_old_or_the_new_tables(place, owner):
    publish(place, 1)
    with publishing(place, 2) as process:
        began = time.monotonic()
        process.wait()
        whole = time.monotonic() - began
    assert generations(owner) == {2}
    moments = random.Random(20)
    last = 2
    for number in range(3, 13):
        with publishing(place, number):
            time.sleep(moments.uniform(0, whole))
        (found,) = generations(owner)
        assert found in (last, number)
        noted = ledger.newest(owner, "transform", ("published",))[ledger.ALL_MODELS]
        assert noted["fingerprint"] == f"made of {found}"
        last = found
    publish(place, 99)
    assert generations(owner) == {99}


def test_a_terminated_backend_leaves_the_old_tables(place, owner):
    publish(place, 1)
    with psycopg.connect(place.database_url) as holder:
        generations(holder)  # so that the publication is in its transaction, and waits
        with publishing(place, 2) as process:
            ending = """select count(pg_terminate_backend(pid)) from pg_stat_activity
                where application_name = 'pipeline' and query like 'lock table%'
                    and wait_event_type = 'Lock' and datname = current_database()"""
            assert eventually(lambda: value(owner, ending), "a publication that waits") == 1
            end_of(process)
            assert process.returncode != 0
    assert generations(owner) == {1}
    publish(place, 3)
    assert generations(owner) == {3}
