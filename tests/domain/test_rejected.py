"""What the staging models cannot cast: counted, kept with its reason, and too much of it held."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dbt_project
import psycopg
import pytest
import yaml
from servers import new_database

from pipeline import database, embedded, settings
from pipeline.marts.dbt_runner import Dbt
from pipeline.settings import ROOT, Settings

PROJECT = ROOT / "transform"
DBT = [sys.executable, "-m", "dbt.cli.main"]
PLACES = ["--project-dir", PROJECT, "--profiles-dir", PROJECT]
STAGING = PROJECT / "models" / "staging"
COUNTED = """select source_name, column_name, target_type, uncastable_count, example, row_count
    from staging.uncastable_values order by 1, 2, 3"""
QUAKES = """insert into source.usgs_earthquakes (feature_id, "time", mag, tsunami)
    select 'quake ' || n, '1517966773840', '1.' || n % 10, '0' from generate_series(1, 1000) as n"""


@pytest.fixture(scope="module")
def dev(server_settings) -> Iterator[psycopg.Connection]:
    """A database with every source's table, all empty."""
    with (
        new_database(embedded.url(server_settings), "rejected") as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        database.prepare(connection)
        for source in settings.sources():
            connection.execute((ROOT / "load" / f"{source}.sql").read_text())
        yield connection


@pytest.fixture(scope="module")
def parsed(dev: psycopg.Connection, server_settings: Settings) -> Iterator[Dbt]:
    """The real project, parsed once for all tests."""
    before = dict(os.environ)
    yield Dbt(server_settings, dev)
    os.environ.clear()
    os.environ |= before


@pytest.fixture
def dbt(dev: psycopg.Connection, parsed: Dbt, monkeypatch) -> Iterator[Callable]:
    """Runs dbt there; gives the status of each node by its name. The sources end up empty again."""
    dbt_project.say_no_source_of_flags(monkeypatch)

    def run(*words: str) -> dict[str, str]:
        dev.execute(
            "drop schema if exists transformed_next cascade; create schema transformed_next"
        )
        build = ["build", "--indirect-selection", "buildable", *words]
        results = parsed._invoke(parsed.manifest, build).results
        return {named(result.node.unique_id): str(result.status) for result in results}

    yield run
    for source in settings.sources():
        dev.execute(f"truncate source.{source}")


def named(unique_id: str) -> str:
    return unique_id.split(".")[2]


def rows(connection: psycopg.Connection, statement: str) -> list[tuple]:
    return connection.execute(statement).fetchall()


def test_a_few_bad_values_are_published_without_and_kept(dev, dbt):
    dev.execute(QUAKES)
    dev.execute("""
        update source.usgs_earthquakes set mag = 'strong' where feature_id = 'quake 7';
        update source.usgs_earthquakes set "time" = 'at noon' where feature_id = 'quake 8'""")
    results = dbt("--select", "+earthquakes", "staging")
    assert {n: s for n, s in results.items() if s not in ("success", "pass")} == {}
    published = "select count(*), count(magnitude), count(occurred_at)"
    assert rows(dev, f"{published} from transformed_next.earthquakes") == [(999, 998, 999)]
    assert rows(dev, COUNTED) == [
        ("usgs_earthquakes", "mag", "double precision", 1, "strong", 1000),
        ("usgs_earthquakes", "time", "numeric(15, 0)", 1, "at noon", 1000),
    ]
    kept = """select column_name, target_type, value, reason,
        row ->> 'feature_id', row ->> 'tsunami' from staging.rejected order by 1"""
    no_number, no_time = "cannot be read as double precision", "cannot be read as numeric(15, 0)"
    assert rows(dev, kept) == [
        ("mag", "double precision", "strong", f"{no_number}: null", "quake 7", "0"),
        ("time", "numeric(15, 0)", "at noon", f"{no_time}: the row is left out", "quake 8", "0"),
    ]


def test_too_many_bad_values_fail_a_test_that_names_them(dev, dbt):
    dev.execute(QUAKES)
    dev.execute("""update source.usgs_earthquakes set tsunami = 'no'
        where right(feature_id, 2) in ('00', '20', '40', '60', '80')""")
    results = dbt("--select", "+earthquakes", "staging", "--store-failures")
    (failed,) = [name for name, status in results.items() if status == "fail"]
    assert failed.startswith("castable_stg_usgs_earthquakes")
    assert results["earthquakes"] == "skipped"
    ((table,),) = rows(
        dev,
        "select oid::regclass::text from pg_class where relkind = 'r' and relname like 'castable%'"
        " and relname like '%earthquakes%'",
    )
    assert rows(dev, f"select problem from {table}") == [
        ('tsunami: 50 of 1000 rows cannot be read as integer, such as "no"; 1 % may be',)
    ]
    assert rows(dev, COUNTED) == [("usgs_earthquakes", "tsunami", "integer", 50, "no", 1000)]
    assert rows(dev, "select count(*) from staging.rejected") == [(50,)]


def test_the_share_is_declared_per_source(dev, dbt):
    dev.execute("""insert into source.nws_alerts (id, sent, ends)
        select n, '2024-01-01T00:00:00Z', case when n <= 5 then 'soon' end
        from generate_series(1, 100) as n""")
    select = ("--select", "stg_nws_alerts")
    assert dbt(*select)["castable_stg_nws_alerts_5"] == "pass"
    dev.execute("update source.nws_alerts set ends = 'later' where id = '6'")
    assert dbt(*select)["castable_stg_nws_alerts_5"] == "fail"


def test_a_required_value_that_is_null_is_no_matter_of_casts(dev, dbt):
    dev.execute(QUAKES)
    dev.execute("""update source.usgs_earthquakes set "time" = null where feature_id = 'quake 8'""")
    results = dbt("--select", "+earthquakes", "staging")
    assert [name for name, status in results.items() if status == "fail"] == [
        "not_null_earthquakes_occurred_at"
    ]
    assert rows(dev, COUNTED) == []


def test_every_kind_of_cast_is_counted(dev, dbt):
    dev.execute("""
        insert into source.bls_unemployment (id, rate)
        values ('1001', '.097'), ('1003', null), ('1005', 'n/a'), ('1007', '');
        insert into source.faa_wildlife_strikes ("Flight_Date") values ('1990-01-08'), ('today');
        insert into source.usgs_earthquakes (feature_id, "time", geometry)
        values
        ('a', '1517966773840', '{"coordinates": [1, "north", null]}'),
        ('b', '99999999999999999999', '{"coordinates": '),
        ('c', null, null);
        insert into source.noaa_storm_events
            ("EVENT_ID", "BEGIN_YEARMONTH", "BEGIN_DAY", "BEGIN_TIME", "CZ_TIMEZONE",
            "DAMAGE_PROPERTY")
        values ('d', '202402', '30', '810', 'EST-5', 'K'), ('e', '202402', '1', '5', 'UNK', '');
        alter table source.census_population
            add column if not exists "POPESTIMATE2024" text,
            add column if not exists "POPESTIMATE2025" text;
        insert into source.census_population
            ("SUMLEV", "STATE", "COUNTY", "POPESTIMATE2024", "POPESTIMATE2025")
        values ('50', '1', '1', '60000', 'sixty'), ('50', '1', '3', '1', null)
    """)
    dbt("--select", "staging")
    assert rows(dev, COUNTED) == [
        ("bls_unemployment", "rate", "numeric", 2, "", 4),
        ("census_population", "POPESTIMATE", "integer", 1, "sixty", 2),
        ("faa_wildlife_strikes", "Flight_Date", "date", 1, "today", 2),
        ("noaa_storm_events", "BEGIN_TIME", "timestamp", 1, "2024-02-30 08:10", 2),
        ("noaa_storm_events", "CZ_TIMEZONE", "smallint", 1, "", 2),
        ("noaa_storm_events", "DAMAGE_PROPERTY", "numeric(16, 2)", 2, "", 2),
        ("usgs_earthquakes", "geometry", "double precision[]", 2, 'no JSON: {"coordinates": ', 3),
        ("usgs_earthquakes", "time", "numeric(15, 0)", 1, "99999999999999999999", 3),
    ]
    assert rows(dev, "select count(*) from staging.rejected") == [(11,)]
    quakes = """select earthquake_id, occurred_at is null, longitude, latitude
        from staging.stg_usgs_earthquakes order by 1"""
    assert rows(dev, quakes) == [("a", False, None, None), ("c", True, None, None)]
    assert rows(dev, "select count(*) from staging.stg_noaa_storm_events") == [(0,)]


def test_what_is_kept_is_bounded_and_the_count_is_not(dev, dbt):
    dev.execute("""insert into source.bls_unemployment (id, rate)
        select n, 'n/a' from generate_series(1, 10050) as n""")
    dbt("--select", "staging")
    assert rows(dev, COUNTED) == [("bls_unemployment", "rate", "numeric", 10050, "n/a", 10050)]
    assert rows(dev, "select count(*) from staging.rejected") == [(10000,)]


def test_a_source_is_read_again_only_when_its_casts_are_tested_again(dev, dbt):
    insert = "insert into source.bls_unemployment (id, rate) values (%s, 'n/a')"
    dev.execute(insert, ["1001"])
    models = ("--select", "staging")
    dbt(*models)
    dev.execute(insert, ["1003"])
    untested = ("--exclude", "test_name:castable")
    dbt(*models, *untested)
    assert [row[3] for row in rows(dev, COUNTED)] == [1]
    dbt(*models)
    assert [row[3] for row in rows(dev, COUNTED)] == [2]
    dev.execute("drop table staging.uncastable_values cascade")
    dev.execute(insert, ["1005"])
    dbt(*models, *untested)
    assert [row[3] for row in rows(dev, COUNTED)] == [3]


@pytest.mark.parametrize("source", settings.sources())
def test_every_source_has_its_casts_tested(source):
    ((model,)) = yaml.safe_load((STAGING / f"stg_{source}.yml").read_text())["models"]
    tests = [test if isinstance(test, str) else next(iter(test)) for test in model["data_tests"]]
    assert "castable" in tests


def test_the_project_parses_without_a_database(tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if "DBT" not in name}
    done = subprocess.run(
        [*DBT, "parse", *PLACES, "--no-partial-parse"],
        env=environment
        | {"DBT_HOST": "/nowhere", "DBT_TARGET_PATH": str(tmp_path), "DBT_LOG_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
