"""One injector instead of many tests: the n-th call, message or response fails or kills.

By SQLite's method (sqlite.org/testing.html, 3.1 to 3.3): a fault at every point that a step has,
then a check of all invariants, then the next night without a fault, then the check again.
`--long` tests every point; without it, a sample that is always the same.
"""

import json
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import fields

import psycopg
import pytest
from clone import Clone
from injection import injector, invariants, readers, series
from injection.injector import Done
from injection.scene import MARTS, PAGED, PASSWORD, PLAIN, Scene, scene

from pipeline import embedded
from pipeline.marts import marks
from pipeline.settings import Settings
from pipeline.stages import lock

pytestmark = pytest.mark.skipif(not injector.is_able(), reason="needs Linux and a C compiler (cc)")
DATABASE = "injection"
TRACEBACK = "Traceback (most recent call last):"
# Step, what is counted, size of the short form's sample; the long form: all kinds at each point
# (0), or one kind in turn (-1) where a point takes many seconds.
SERIES = [
    ("api, a file", "calls", 6, 0),
    ("api, a file", "http", 2, 0),
    ("api, pages", "calls", 3, 0),
    ("api, pages", "http", 3, 0),
    ("preprocess", "calls", 1, -1),
    ("load", "calls", 4, 0),
    ("load", "sql", 5, 0),
    ("transform", "calls", 1, -1),
    ("transform", "sql", 2, -1),
    ("publish", "calls", 1, -1),
    ("publish", "sql", 2, -1),
    ("accept", "calls", 2, 0),
    ("night", "calls", 1, 20),
    ("night", "sql", 1, 12),
]


@pytest.fixture(scope="module")
def stage(clone: Clone, server_settings, tmp_path_factory) -> Iterator[Scene]:
    url = embedded.url(server_settings)
    with psycopg.connect(url, autocommit=True) as connection:
        for name in (DATABASE, f"{DATABASE}_prod"):
            connection.execute(f"create database {name}")
        with scene(clone, url, DATABASE, tmp_path_factory.mktemp("injection")) as made:
            yield made
        for name in (DATABASE, f"{DATABASE}_prod"):
            connection.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="module")
def tallies() -> list[series.Tally]:
    return []


@pytest.mark.parametrize(("step", "where", "sample", "long"), SERIES)
def test_a_fault_anywhere_is_survived(stage, tallies, is_long, capsys, step, where, sample, long):
    tally = series.run(stage, step, where, long if is_long else sample)
    tallies.append(tally)
    with capsys.disabled():
        print(f"\n{step}, {where}: {tally} ({tally.seconds:.0f} s)", flush=True)
    assert not tally.violations, json.dumps(tally.violations, indent=1)
    assert tally.points


# The checker itself finds what is wrong


def leftovers(stage: Scene) -> list[str]:
    return invariants.of_leftovers(
        stage.data, stage.root, stage.page, stage.connection, settled=True
    )


def test_the_checker_sees_a_damaged_file(stage):
    raw = stage.data / "raw" / PLAIN / "unemployment.tsv"
    known = stage.data / "state" / f"{PLAIN}.json"
    for path, trouble in ((raw, "is not what SHA256SUMS says"), (known, "does not parse")):
        before = path.read_bytes()
        path.write_bytes(before[:-2])
        wrong = invariants.of_files(stage.data)
        path.write_bytes(before)
        assert len(wrong) == 1
        assert trouble in wrong[0]
    assert invariants.of_files(stage.data) == []


def test_the_checker_sees_rows_that_are_not_the_files(stage):
    stage.record_files()
    assert invariants.of_sources(stage.connection, stage.files) == []
    assert "never was" in invariants.of_sources(stage.connection, {})[0]
    with stage.connection.transaction(force_rollback=True):
        stage.connection.execute(f"update source.{PLAIN} set rate = '1' where id = '1003'")
        wrong = invariants.of_sources(stage.connection, stage.files)
    marks.flush(
        stage.connection
    )  # a rolled-back UPDATE is counted: report it before the next night
    assert len(wrong) == 1
    assert f"source.{PLAIN}" in wrong[0]


def test_the_checker_sees_a_status_that_is_not_true(stage):
    assert invariants.of_status(stage.connection, settled=False) == []
    facts = "update transformed.data_status_facts set generation = generation"
    stage.connection.execute(f"{facts} + 1 where name = 'rates'")
    wrong = invariants.of_status(stage.connection, settled=False)
    stage.connection.execute(f"{facts} - 1 where name = 'rates'")
    assert len(wrong) == 1
    assert "rates is of generation" in wrong[0]


def test_the_checker_sees_leftovers(stage, monkeypatch):
    monkeypatch.setattr(invariants, "PATIENCE", 0.1)
    assert leftovers(stage) == []
    with lock.held_by_this_run(settings_of(stage)):
        assert leftovers(stage) == ["the run's lock is held"]
    with psycopg.connect(stage.url, application_name="pipeline") as connection:
        connection.execute("select 1")
        assert leftovers(stage) == ["a session is left: pipeline idle in transaction: select 1"]
    left = stage.data / "state" / ".places.json.123"
    left.touch()
    assert leftovers(stage) == [f"left: {left}"]
    left.unlink()
    with stage.connection.transaction(force_rollback=True):
        stage.connection.execute("create schema if not exists transformed_next")
        stage.connection.execute("create table transformed_next.rates ()")
        assert leftovers(stage) == ["transformed_next.rates is left"]


def settings_of(stage: Scene) -> Settings:
    """Settings with the data folder of the scene."""
    given = {field.name: None for field in fields(Settings)}
    return Settings(**given | {"data_dir": stage.data})


def test_the_checker_sees_a_branch_that_lost_its_history(stage):
    head = subprocess.run(
        ["git", "-C", stage.root, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    assert "does not go on" in invariants.of_git(stage.root, head.stdout.strip())[0]


def test_the_checker_sees_an_unknown_exit_code_and_a_secret():
    assert invariants.of_exit(Done(2, "rates: kept")) == []
    assert invariants.of_exit(Done(-9, ""), killed_by=9) == []
    for done in (Done(3, "so"), Done(-9, ""), Done(1, ""), Done(0, TRACEBACK)):
        assert len(invariants.of_exit(done)) == 1
    for text in (PASSWORD, b64encode(PASSWORD.encode()).decode()):
        assert invariants.of_secrets([PASSWORD], [], [f"see {text}"])


def test_the_checker_sees_a_table_of_no_generation():
    old, new = {"a": (1, "x"), "b": (1, "x")}, {"a": (1, "y"), "b": (1, "y")}
    mixed, made = {"a": (1, "y"), "b": (1, "x")}, {"b": (1, "of both")}
    for between, held in ((old, set()), (new, set()), (mixed, {"b"})):
        assert invariants.of_generations(old, between, held, new, {}) == []
    assert invariants.of_generations(old, new | made, set(), new, made) == []
    for between, held in ((mixed, set()), (mixed, {"a"}), (old | {"b": (0, "")}, {"b"})):
        assert invariants.of_generations(old, between, held, new, {})
        assert invariants.of_generations(old, between, held, new, made)


def test_the_checker_accepts_a_table_of_a_kept_source(stage):
    connection = stage.connection
    assert invariants.made_of_kept(connection, MARTS) == {}
    facts = "update transformed.data_status_facts set state = '{}' where name = '{}'"
    connection.execute(facts.format("kept", PAGED))
    made = invariants.made_of_kept(connection, MARTS)
    connection.execute(facts.format("fresh", PAGED))
    assert made == {"places": invariants.published(connection)["places"]}


def test_the_readers_see_two_generations_in_one():
    old, new = {"a": (1, "x"), "b": (1, "x")}, {"a": (1, "y"), "b": (1, "y")}
    for seen in (old, new, {"a": (1, "y")}):
        assert readers.mixtures({frozenset(seen.items())}, old, new) == []
    for seen in ({"a": (1, "x"), "b": (1, "y")}, {"a": (0, "")}):
        assert len(readers.mixtures({frozenset(seen.items())}, old, new)) == 1


def test_the_number_of_points(stage, tallies, capsys):
    total = series.Tally()
    for tally in tallies:
        total.points += tally.points
        total.violations += tally.violations
        total.seconds += tally.seconds
    total.violations += series.settle(stage)
    with capsys.disabled():
        print(f"\n{total}, {stage.readers.reads:,} readings ({total.seconds:.0f} s)", flush=True)
    assert not total.violations, json.dumps(total.violations, indent=1)
    assert total.points >= 25
