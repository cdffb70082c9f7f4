"""`data_status`: the rules of freshness, and the table and view that readers see."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import IsolationLevel
from servers import new_database

from pipeline import database
from pipeline.cli import report
from pipeline.database import ledger
from pipeline.errors import SourceError
from pipeline.marts import data_status, freshness
from pipeline.settings import ROOT
from pipeline.state import CHECKED

TONIGHT = datetime(2026, 3, 8, 4, 20, tzinfo=UTC)
LAST_NIGHT = TONIGHT - timedelta(days=1)
LAST_WEEK = TONIGHT - timedelta(days=7)
A_NIGHT_LATER = timedelta(hours=27)
LINEAGE = {"quakes": ["usgs"], "airports": ["faa"], "profile": ["usgs", "faa"]}
ANCESTORS = {"quakes": [], "airports": [], "profile": ["quakes", "airports"]}


def stages(outcome: str = "unchanged", reason: str = "", **facts) -> dict[str, dict]:
    """A source whose stages succeeded, except for what is given for the first."""
    fetched = {"outcome": outcome, "reason": reason, "content": "c1", "origin": "live"}
    fetched |= {"checked_at": TONIGHT.isoformat(), "fetched_at": LAST_WEEK.isoformat()}
    return {
        "api": fetched | facts,
        "preprocess": {"outcome": "unchanged", "reason": ""},
        "load": {"outcome": "unchanged", "reason": "", "rows": 5},
    }


def loaded(**facts) -> dict:
    """The table of a source, loaded a week ago and found current last night."""
    known = {"loaded_at": LAST_WEEK, "content": "c1", "origin": "live", "as_of": None}
    known |= {"fetched_at": LAST_WEEK.isoformat(), "checked_at": LAST_NIGHT.isoformat()}
    return known | facts


def published(state: str = "published", **facts) -> freshness.Table:
    return freshness.Table(state, **{"published_at": LAST_WEEK, "generation": 3} | facts)


def told(
    usgs=None, usgs_loaded=None, tables=None, verified_at=TONIGHT, before=()
) -> dict[str, freshness.Row]:
    """The rows of two sources and three tables by name; all is well except for what is given."""
    every = {name: published() for name in LINEAGE} | (tables or {})
    found = freshness.rows(
        {"usgs": usgs or stages(), "faa": stages(as_of="2008-12-31")},
        {
            "usgs": loaded() if usgs_loaded is None else usgs_loaded,
            "faa": loaded(as_of="2008-12-31"),
        },
        every,
        LINEAGE,
        ANCESTORS,
        verified_at,
        before,
    )
    assert [(row.kind, row.name) for row in found] == sorted((r.kind, r.name) for r in found)
    return {row.name: row for row in found}


# The states of sources


def test_a_source_checked_tonight_and_loaded_is_fresh():
    row = told()["usgs"]
    assert (row.kind, row.state, row.reason, row.stays_old) == ("source", "fresh", None, ())
    assert (row.as_of, row.checked_at) == (TONIGHT, TONIGHT)
    assert (row.fetched_at, row.loaded_at) == (LAST_WEEK, LAST_WEEK)
    assert (row.published_at, row.generation) == (None, None)
    assert row.expected_next_at == TONIGHT + A_NIGHT_LATER


def test_a_static_source_has_the_date_of_its_data_and_is_checked_nightly():
    row = told()["faa"]
    assert row.as_of == datetime(2008, 12, 31, tzinfo=UTC)
    assert row.state == "fresh"
    assert row.expected_next_at == TONIGHT + A_NIGHT_LATER


@pytest.mark.parametrize("outcome", ["kept", "failed"])
def test_a_source_that_was_not_reached_is_kept_and_as_old_as_its_last_check(outcome):
    row = told(stages(outcome, "usgs: HTTP 503", checked_at=LAST_NIGHT.isoformat()))["usgs"]
    assert (row.state, row.reason) == ("kept", "HTTP 503")
    assert (row.as_of, row.checked_at) == (LAST_NIGHT, LAST_NIGHT)
    assert row.stays_old == ("profile", "quakes")
    assert row.expected_next_at == LAST_NIGHT + A_NIGHT_LATER


@pytest.mark.parametrize("stage", ["preprocess", "load"])
def test_a_refused_snapshot_holds_the_source_at_what_is_loaded(stage):
    refused = stages("new", content="c2", fetched_at=TONIGHT.isoformat())
    refused[stage] = {"outcome": "failed", "reason": "usgs: the data tests fail: test_key"}
    row = told(refused)["usgs"]
    assert (row.state, row.reason) == ("held", "the data tests fail: test_key")
    assert row.stays_old == ("profile", "quakes")
    # Readers have nothing of tonight's snapshot; the publisher was reached nevertheless.
    assert (row.as_of, row.fetched_at, row.checked_at) == (LAST_NIGHT, LAST_WEEK, TONIGHT)


def test_a_refused_snapshot_of_a_bundled_source_leaves_it_bundled():
    refused = stages("new", content="c2")
    refused["preprocess"] = {"outcome": "failed", "reason": "no header"}
    row = told(refused, loaded(origin="bundled", checked_at=None))["usgs"]
    assert (row.state, row.reason) == ("bundled", "no header")


def test_both_reasons_are_given():
    refused = stages("kept", "HTTP 503")
    refused["load"] = {"outcome": "failed", "reason": "readers held source.usgs for 5 s"}
    row = told(refused)["usgs"]
    assert (row.state, row.reason) == ("held", "HTTP 503; readers held source.usgs for 5 s")


def test_a_bundled_source_never_checked_has_no_next_check():
    never = stages("bundled", "not asked: --offline", origin="bundled", checked_at=None)
    row = told(never, loaded(origin="bundled", checked_at=None))["usgs"]
    assert (row.state, row.as_of, row.checked_at) == ("bundled", LAST_WEEK, None)
    assert row.expected_next_at is None
    assert row.stays_old == ("profile", "quakes")


def test_a_script_that_crashes_leaves_a_bundled_source_bundled():
    crashed = {"api": {"outcome": "failed", "reason": "ended by signal SIGKILL"}}
    assert told(crashed, loaded(origin="bundled"))["usgs"].state == "bundled"
    assert told(crashed, loaded())["usgs"].state == "kept"


@pytest.mark.parametrize(
    ("of_stages", "reason"),
    [
        ({}, "never fetched"),
        ({"api": {"outcome": "missing", "reason": "HTTP 404"}}, "HTTP 404"),
        (stages("new"), "the newest snapshot is not loaded yet"),
    ],
)
def test_a_source_never_loaded_is_missing(of_stages, reason):
    found = freshness.rows(
        {"usgs": of_stages}, {}, {"quakes": published()}, LINEAGE, ANCESTORS, TONIGHT
    )
    row = found[0]
    assert (row.state, row.reason) == ("missing", reason)
    assert (row.as_of, row.fetched_at, row.loaded_at) == (None, None, None)
    assert row.stays_old == ("quakes",)


def test_a_snapshot_not_loaded_yet_is_not_fresh():
    row = told(stages("new", content="c2"))["usgs"]
    assert (row.state, row.reason) == ("kept", "the newest snapshot is not loaded yet")
    assert row.as_of == LAST_NIGHT


def test_a_table_that_is_not_published_does_not_stay_old():
    row = told(stages("kept", "x"), tables={"quakes": freshness.Table("missing")})["usgs"]
    assert row.stays_old == ("profile",)
    held = told(stages("kept", "x"), tables={"quakes": published(state="held")})["usgs"]
    assert held.stays_old == ("profile", "quakes")


# The states of tables


def test_a_table_is_as_old_as_its_oldest_source():
    rows = told()
    assert (rows["quakes"].state, rows["quakes"].as_of) == ("fresh", TONIGHT)
    assert (rows["profile"].state, rows["profile"].reason) == ("fresh", None)
    assert rows["profile"].as_of == datetime(2008, 12, 31, tzinfo=UTC)
    assert (rows["quakes"].published_at, rows["quakes"].generation) == (LAST_WEEK, 3)
    assert rows["quakes"].expected_next_at == TONIGHT + A_NIGHT_LATER
    of_sources_only = rows["quakes"].fetched_at, rows["quakes"].checked_at, rows["quakes"].loaded_at
    assert of_sources_only == (None, None, None)


def test_a_source_without_a_date_does_not_count_for_the_table():
    row = told({"api": {"outcome": "missing", "reason": "HTTP 404"}}, {})["profile"]
    assert (row.state, row.reason) == ("kept", "missing: usgs")
    assert row.as_of == datetime(2008, 12, 31, tzinfo=UTC)
    assert row.published_at == LAST_WEEK  # the table exists, without the data of usgs


def refusal() -> dict[str, dict]:
    return stages("new", content="c2") | {"load": {"outcome": "failed", "reason": "x"}}


STATES = {
    "missing": (stages("missing", "x"), {}),
    "bundled": (stages("bundled", "x"), loaded(origin="bundled")),
    "held": (refusal(), loaded()),
    "kept": (stages("kept", "x"), loaded()),
    "fresh": (stages(), loaded()),
}


@pytest.mark.parametrize(
    ("one", "other", "state", "reason"),
    [
        ("fresh", "fresh", "fresh", None),
        ("fresh", "kept", "kept", "kept: b"),
        ("fresh", "held", "kept", "held: b"),
        ("kept", "held", "kept", "held: b; kept: a"),
        ("kept", "bundled", "bundled", "bundled: b; kept: a"),
        ("bundled", "held", "bundled", "bundled: a; held: b"),
        ("missing", "bundled", "bundled", "bundled: b; missing: a"),
        ("missing", "fresh", "kept", "missing: a"),
        ("kept", "kept", "kept", "kept: a, b"),
    ],
)
def test_the_worst_source_wins(one, other, state, reason):
    found = freshness.rows(
        {"a": STATES[one][0], "b": STATES[other][0]},
        {"a": STATES[one][1], "b": STATES[other][1]},
        {"table": published()},
        {"table": ["b", "a"]},
        {},
        TONIGHT,
    )
    assert [row.state for row in found] == [one, other, state]
    assert found[2].reason == reason
    assert found[2].stays_old == ()


def test_a_removed_source_is_missing_from_its_table():
    (row,) = freshness.rows({}, {}, {"table": published()}, {"table": ["gone"]}, {}, TONIGHT)
    assert (row.state, row.reason, row.as_of) == ("kept", "missing: gone", None)


def test_a_table_that_is_empty_without_its_source_is_missing():
    empty = {"table": published(rows=0)}
    (row,) = freshness.rows({}, {}, empty, {"table": ["gone"]}, {}, TONIGHT)
    assert row.state == "missing"


def test_a_held_table_keeps_its_date_and_names_what_stays_old_with_it():
    before = [
        {"kind": "source", "name": "quakes", "as_of": TONIGHT, "expected_next_at": TONIGHT},
        {"kind": "table", "name": "quakes", "as_of": LAST_NIGHT, "expected_next_at": TONIGHT},
    ]
    held = {
        "quakes": published(state="held", reason="test unique_quakes_id fails: 2 rows"),
        "profile": published(state="held", reason="quakes is held"),
    }
    rows = told(tables=held, before=before)
    row = rows["quakes"]
    assert (row.state, row.reason) == ("held", "test unique_quakes_id fails: 2 rows")
    assert row.stays_old == ("profile", "quakes")
    assert rows["profile"].stays_old == ("profile",)
    # Not tonight's: its source is newer, the table is not.
    assert (row.as_of, row.expected_next_at) == (LAST_NIGHT, TONIGHT)
    assert (row.published_at, row.generation) == (LAST_WEEK, 3)
    assert rows["airports"].stays_old == ()


def test_a_held_table_without_an_earlier_row_is_at_most_as_new_as_its_publication():
    row = told(tables={"quakes": published(state="held")})["quakes"]
    assert (row.as_of, row.reason) == (LAST_WEEK, "not published tonight")
    assert row.expected_next_at == LAST_WEEK + A_NIGHT_LATER


def test_a_published_table_that_was_not_verified_keeps_its_dates():
    before = [{"kind": "table", "name": "quakes", "as_of": LAST_NIGHT, "expected_next_at": TONIGHT}]
    row = told(verified_at=None, before=before)["quakes"]
    assert (row.state, row.as_of, row.expected_next_at) == ("fresh", LAST_NIGHT, TONIGHT)


def test_a_table_never_published_is_missing():
    row = told(tables={"quakes": freshness.Table("missing", "test not_null_id fails")})["quakes"]
    assert (row.state, row.reason) == ("missing", "test not_null_id fails")
    assert (row.as_of, row.published_at, row.generation, row.expected_next_at) == (None,) * 4
    assert row.stays_old == ()
    assert told(tables={"quakes": freshness.Table("missing")})["quakes"].reason == "never published"


# Reasons


def test_a_reason_shows_no_secret_no_path_and_no_control_character(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:s3cr3t-word@db/dev")
    reason = f"{ROOT}/data/preprocessed/usgs.csv: \x1b[31ms3cr3t-word\n" + "x" * 900
    row = told(stages("kept", reason))["usgs"]
    assert row.reason.startswith("data/preprocessed/usgs.csv: \\x1b[31m***\\nxxx")
    assert row.reason.endswith("xxx…")
    assert len(row.reason) < freshness.LONGEST_REASON + 20  # an escape is longer than its character
    table = told(tables={"quakes": published(state="held", reason="s3cr3t-word\r")})["quakes"]
    assert table.reason == "***\\r"


# The table and the view


@pytest.fixture(params=["embedded", "Debian's 15"])
def owner(request, server_settings) -> Iterator[psycopg.Connection]:
    """A connection to an empty database with a ledger, on the newest server and the oldest."""
    with ExitStack() as stack:
        if request.param == "embedded":
            url = request.getfixturevalue("database_url")
        else:
            address = request.getfixturevalue("debian_url")
            url = stack.enter_context(new_database(address, "status"))
        here = replace(server_settings, database_url=url)
        connection = stack.enter_context(database.connect(here))
        database.prepare(connection)
        yield connection


def tell(connection: psycopg.Connection, rows: dict[str, freshness.Row]) -> None:
    with connection.transaction():
        data_status.prepare(connection)
        data_status.write(connection, list(rows.values()))


def value(connection: psycopg.Connection, statement: str):
    return connection.execute(statement).fetchone()[0]


def test_columns_comments_and_key_are_the_contract(owner):
    data_status.prepare(owner)
    columns = """select string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', '
            order by attnum)
        from pg_attribute where attrelid = 'transformed.{}'::regclass and attnum > 0"""
    facts = (
        "kind text, name text, state text, as_of timestamp with time zone, "
        "fetched_at timestamp with time zone, checked_at timestamp with time zone, "
        "loaded_at timestamp with time zone, published_at timestamp with time zone, "
        "generation bigint, reason text, stays_old text[], "
        "expected_next_at timestamp with time zone"
    )
    assert value(owner, columns.format("data_status_facts")) == facts
    assert (
        value(owner, columns.format("data_status")) == f"{facts}, age interval, is_overdue boolean"
    )
    key = "select pg_get_constraintdef(oid) from pg_constraint where conname = '{}'"
    assert value(owner, key.format("data_status_facts_pkey")) == "PRIMARY KEY (kind, name)"
    silent = """select count(*) from pg_attribute where attnum > 0
        and attrelid in ('transformed.data_status'::regclass,
            'transformed.data_status_facts'::regclass)
        and col_description(attrelid, attnum) is null"""
    assert value(owner, silent) == 0
    for name in ("data_status", "data_status_facts"):
        assert "one row per" in value(
            owner, f"select obj_description('transformed.{name}'::regclass)"
        )
    assert freshness.Row._fields == tuple(data_status.COLUMNS)


def test_what_is_written_is_read(owner):
    assert data_status.read(owner) == []
    rows = told(stages("kept", 'it\'s \\ "odd" 100%s ü'))
    tell(owner, rows)
    found = {row["name"]: row for row in data_status.read(owner)}
    assert list(found) == list(rows)
    for name, row in rows.items():
        wanted = row._asdict() | {"stays_old": list(row.stays_old)}
        assert {column: found[name][column] for column in wanted} == wanted
        assert isinstance(found[name]["age"], timedelta)
    assert found["airports"]["is_overdue"] is not None


def test_only_changed_rows_are_written_and_vanished_ones_deleted(owner):
    tell(owner, told())
    where = "select jsonb_object_agg(name, ctid) from transformed.data_status_facts"
    before = value(owner, where)
    tell(owner, told())
    assert value(owner, where) == before
    rows = told(tables={"quakes": published(generation=4)})
    del rows["airports"]
    tell(owner, rows)
    after = value(owner, where)
    assert {name for name in after if after[name] != before[name]} == {"quakes"}
    assert before.keys() - after.keys() == {"airports"}
    tell(owner, {})
    assert data_status.read(owner) == []


def test_it_is_part_of_the_callers_transaction(owner):
    tell(owner, told())
    with pytest.raises(ZeroDivisionError), owner.transaction():
        data_status.write(owner, [])
        raise ZeroDivisionError
    assert len(data_status.read(owner)) == 5


def test_it_becomes_overdue_by_time_alone(owner):
    now = datetime.now(UTC)
    row = told()["usgs"]
    tell(
        owner,
        {
            "due": row._replace(name="due", expected_next_at=now + timedelta(seconds=1)),
            "late": row._replace(name="late", expected_next_at=now - timedelta(seconds=1)),
            "never": row._replace(name="never", as_of=None, expected_next_at=None),
        },
    )
    overdue = "select jsonb_object_agg(name, is_overdue) from transformed.data_status"
    assert value(owner, overdue) == {"due": False, "late": True, "never": True}
    age = value(owner, "select age from transformed.data_status where name = 'due'")
    assert value(owner, "select age is null from transformed.data_status where name = 'never'")
    owner.execute("select pg_sleep_until(%s)", [now + timedelta(seconds=1.1)])
    assert value(owner, overdue) == {"due": True, "late": True, "never": True}
    later = value(owner, "select age from transformed.data_status where name = 'due'")
    assert timedelta(0) < later - age < timedelta(minutes=1)


def test_a_repeatable_read_reader_sees_one_state_and_waits_for_nobody(owner):
    tell(owner, told())
    query = "select generation, state, reason from transformed.data_status order by kind, name"
    with psycopg.connect(owner.info.dsn, password=owner.info.password) as reader:
        reader.isolation_level = IsolationLevel.REPEATABLE_READ
        reader.execute("set statement_timeout = '5s'")
        before = reader.execute(query).fetchall()
        reader.commit()
        reader.execute("select 1")  # its snapshot
        with owner.transaction():
            owner.execute("set local lock_timeout = '200ms'")
            changed = told(stages("kept", "HTTP 503"), tables={"quakes": published(generation=4)})
            data_status.prepare(owner)
            data_status.write(owner, list(changed.values()))
            assert reader.execute(query).fetchall() == before
        assert reader.execute(query).fetchall() == before
        reader.commit()
        after = reader.execute(query).fetchall()
    assert after == [(row.generation, row.state, row.reason) for row in changed.values()]
    assert after != before


IDENTITY = """select jsonb_object_agg(relname, xmin::text) from pg_class
    where relnamespace = 'transformed'::regnamespace and relname like 'data_status%'"""


def test_prepare_does_not_touch_what_exists(owner):
    tell(owner, told())
    before = value(owner, IDENTITY)
    with owner.transaction():
        data_status.prepare(owner)
        data_status.write(owner, list(told(stages("kept", "HTTP 503")).values()))
        modes = """select array_agg(distinct mode order by mode) from pg_locks
            join pg_class on pg_class.oid = relation
            where pid = pg_backend_pid() and relnamespace = 'transformed'::regnamespace"""
        assert value(owner, modes) == ["AccessShareLock", "RowExclusiveLock"]
    assert value(owner, IDENTITY) == before
    assert len(data_status.read(owner)) == 5


@pytest.mark.parametrize(
    "damage",
    [
        "drop view transformed.data_status",
        "drop table transformed.data_status_facts cascade",
        "drop schema transformed cascade",
        "alter view transformed.data_status reset (security_invoker)",
        "alter view transformed.data_status rename column age to how_old",
        """create or replace view transformed.data_status with (security_invoker = true) as
            select kind, name, state, as_of, fetched_at, checked_at, loaded_at, published_at,
                generation, reason, stays_old, expected_next_at, now() - as_of as age,
                false as is_overdue
            from transformed.data_status_facts""",
        "alter table transformed.data_status_facts add column more text",
        "alter table transformed.data_status_facts rename column reason to why",
        "alter table transformed.data_status_facts alter column stays_old drop not null",
        "alter table transformed.data_status_facts drop constraint data_status_facts_pkey",
        "alter table transformed.data_status_facts set unlogged",
        """drop view transformed.data_status; create table transformed.data_status (id int)""",
        """drop table transformed.data_status_facts cascade;
            create materialized view transformed.data_status_facts as select 1 as kind""",
        """drop table transformed.data_status_facts cascade;
            create sequence transformed.data_status_facts""",
    ],
)
def test_what_was_dropped_or_altered_is_recreated(owner, damage):
    tell(owner, told())
    query = """select jsonb_agg(to_jsonb(a) order by attrelid::text, attnum) from (
        select attrelid::regclass, attname, attnum, atttypid, attnotnull,
            col_description(attrelid, attnum), obj_description(attrelid), reloptions,
            relkind, relpersistence
        from pg_attribute join pg_class on pg_class.oid = attrelid
        where relnamespace = 'transformed'::regnamespace and attnum > 0 and not attisdropped
    ) as a"""
    before = value(owner, query)
    owner.execute(damage)
    tell(owner, told())
    assert value(owner, query) == before
    assert [row["name"] for row in data_status.read(owner)] == list(told())
    again = value(owner, IDENTITY)
    data_status.prepare(owner)
    assert value(owner, IDENTITY) == again


def test_objects_of_others_on_an_altered_view_are_not_dropped(owner):
    tell(owner, told())
    owner.execute("create view public.footer as select * from transformed.data_status")
    tell(owner, told())  # nothing was altered, so nothing is refused
    owner.execute("alter view transformed.data_status reset (security_invoker)")
    with pytest.raises(SourceError, match=r"cannot be recreated: view public\.footer depends"):
        data_status.prepare(owner)
    assert value(owner, "select count(*) from public.footer") == 5


def test_readers_get_access_by_the_default_privileges_of_the_schema(owner):
    owner.execute("drop role if exists data_status_reader")
    owner.execute("create role data_status_reader")
    owner.execute("create schema transformed")
    owner.execute("grant usage on schema transformed to data_status_reader")
    owner.execute(
        """alter default privileges in schema transformed
        grant select on tables to data_status_reader"""
    )
    tell(owner, told())
    owner.execute("set role data_status_reader")
    assert value(owner, "select count(*) from transformed.data_status") == 5
    owner.execute("reset role")
    owner.execute("revoke select on transformed.data_status_facts from data_status_reader")
    owner.execute("set role data_status_reader")
    with pytest.raises(
        psycopg.errors.InsufficientPrivilege
    ):  # the reader's rights, not the owner's
        owner.execute("select * from transformed.data_status")
    owner.execute("reset role")
    owner.execute("drop owned by data_status_reader")
    owner.execute("drop role data_status_reader")


# The snapshot of a table, by the ledger


def step(connection, stage: str, at: datetime, outcome: str, **facts) -> None:
    run_id = f"{stage} {at}"
    ledger.begin(connection, run_id, stage, at.isoformat())
    told = facts | {"outcome": outcome, "started_at": at.isoformat()}
    ledger.note(connection, run_id, stage, "usgs", told, facts.get("content"))


def night(connection, at: datetime, content: str, loads: str = "", api: str = "new") -> None:
    """The steps of one night, as its stages record them."""
    checked = {"checked_at": at.isoformat()} if api in CHECKED else {}
    step(connection, "api", at, api, content=content, origin="live", as_of=None, **checked)
    if loads:
        step(connection, "preprocess", at, "new", input=content)
        step(connection, "load", at + timedelta(minutes=1), loads)


def test_a_table_is_as_old_as_the_last_check_of_its_snapshot(owner):
    assert ledger.loaded_snapshots(owner) == {}
    night(owner, LAST_WEEK, "c1", loads="new")
    night(owner, LAST_NIGHT, "c1", api="unchanged")
    step(owner, "load", LAST_NIGHT, "unchanged")
    # Tonight's new snapshot fails its tests; the step still names the old file.
    night(owner, TONIGHT, "c2")
    step(owner, "preprocess", TONIGHT, "failed", input="c1")
    known = ledger.loaded_snapshots(owner)["usgs"]
    assert known["content"] == "c1"
    assert known["loaded_at"] == LAST_WEEK + timedelta(minutes=1)
    assert datetime.fromisoformat(known["checked_at"]) == LAST_NIGHT


def test_stages_run_by_hand_are_recorded_after_the_load(owner):
    night(owner, LAST_WEEK, "c1", loads="new")
    step(owner, "load", TONIGHT, "new")
    step(owner, "api", LAST_NIGHT, "new", content="c2", checked_at=LAST_NIGHT.isoformat())
    step(owner, "preprocess", LAST_NIGHT, "new", input="c2")
    step(owner, "preprocess", TONIGHT + timedelta(days=1), "new", input="c3")
    known = ledger.loaded_snapshots(owner)["usgs"]
    assert (known["content"], known["loaded_at"]) == ("c2", TONIGHT)


def test_a_load_without_any_other_step(owner):
    step(owner, "load", TONIGHT, "new")
    known = ledger.loaded_snapshots(owner)["usgs"]
    assert known.pop("loaded_at") == TONIGHT
    assert set(known.values()) == {None}


# For readers


def test_the_page_describes_every_column_and_its_queries_run(owner):
    page = (ROOT / "docs" / "data_status.md").read_text("utf-8")
    for name in (*data_status.COLUMNS, *data_status.COMPUTED):
        assert re.search(rf"^\| .*`{name}`.* \|", page.split("## Columns")[1], re.MULTILINE), name
    for state in ("fresh", *freshness.WORST_FIRST):
        assert f"| `{state}` |" in page
    tell(owner, told())
    owner.execute("create table transformed.airports (airport_id text)")
    queries = [block for block in page.split("\n\n") if block.startswith("    ")]
    assert len(queries) == 5
    for query in queries:
        owner.execute(query)


def test_a_session_that_locks_the_status_is_named(server_settings, database_url):
    here = replace(server_settings, database_url=database_url)
    with database.connect(here) as connection, psycopg.connect(database_url) as other:
        database.prepare(connection)
        data_status.refresh(connection)
        other.execute("lock table transformed.data_status_facts")
        with pytest.raises(SourceError, match=f"process {other.info.backend_pid} of"):
            data_status.refresh(connection)
        other.rollback()
        data_status.refresh(connection)


@pytest.mark.parametrize(
    ("static", "day"),
    [((), "2017-01-01"), (("old",), "2026-02-01"), (("old", "a", "b"), "2017-01-01")],
)
def test_a_table_shows_its_oldest_changing_source(static, day):
    dates = {"old": "2017-01-01", "a": "2026-02-01", "b": "2026-03-01"}
    loaded = {name: {"as_of": date, "content": "c"} for name, date in dates.items()}
    stages = {n: {"api": {"outcome": "new", "content": "c", "as_of": d}} for n, d in dates.items()}
    tables = {"t": published(rows=1)}
    verified = datetime(2026, 3, 1, tzinfo=UTC)
    rows = freshness.rows(stages, loaded, tables, {"t": list(dates)}, {}, verified, (), static)
    assert f"{rows[-1].as_of:%Y-%m-%d}" == day


def test_the_table_of_a_removed_source_becomes_overdue_however_often_it_is_published():
    stages = {"a": {"api": {"outcome": "new", "content": "c", "checked_at": "2026-03-01"}}}
    loaded = {"a": {"content": "c"}}
    before: list[dict] = []
    dues = []
    for night in range(1, 6):
        at = datetime(2026, 3, night, tzinfo=UTC)
        tables = {"t": published(published_at=at, rows=1)}
        there = stages | ({"b": stages["a"]} if night == 1 else {})
        of = loaded | ({"b": loaded["a"]} if night == 1 else {})
        row = freshness.rows(there, of, tables, {"t": ["a", "b"]}, {}, at, before)[-1]
        before = [row._asdict()]
        dues.append(row.expected_next_at)
    assert set(dues) == {datetime(2026, 3, 2, 3, tzinfo=UTC)}
    assert (row.state, row.reason) == ("kept", "missing: b")


def test_the_report_names_a_removed_source_and_its_tables():
    whole = {"tables": ["t", "u"], "sources": {"t": ["a", "gone"], "u": ["a"], "never": ["gone"]}}
    assert report.notes_of_removed(whole, ["a", "gone"]) == []
    (note,) = report.notes_of_removed(whole, ["a"])
    assert "source gone has no script api/gone.py" in note
    assert "transformed.t" in note
    assert "transformed.u" not in note
