"""One injector instead of many tests: the n-th call, message or answer fails or kills.

By SQLite's method (sqlite.org/testing.html, 3.1 to 3.3): a fault at every point that a step has,
then one checker of all that must hold, then the next night without a fault, then the checker again.
`--long` goes through every point; without it a sample that is always the same.
"""

import json
from collections.abc import Iterator

import psycopg
import pytest
from clone import Clone
from injection import injector, series
from injection.scene import Scene, scene

from pipeline import postgres

pytestmark = [
    pytest.mark.skipif(not injector.is_able(), reason="needs Linux and a C compiler (cc)"),
    pytest.mark.timeout(6 * 3600),  # a step that hangs is ended after two minutes
]
DATABASE = "injection"
# Step, what is counted, size of the short form's sample; the long form: all kinds at each point
# (0), or one kind in turn (-1) where a point takes many seconds.
SERIES = [
    ("api, a file", "calls", 12, 0),
    ("api, a file", "http", 2, 0),
    ("api, pages", "calls", 6, 0),
    ("api, pages", "http", 6, 0),
    ("preprocess", "calls", 4, -1),
    ("load", "calls", 8, 0),
    ("load", "sql", 12, 0),
    ("transform", "calls", 5, -1),
    ("transform", "sql", 5, -1),
    ("accept", "calls", 6, 0),
    ("night", "calls", 1, 20),
    ("night", "sql", 1, 12),
]


@pytest.fixture(scope="module")
def stage(clone: Clone, server_settings, tmp_path_factory) -> Iterator[Scene]:
    url = postgres.url(server_settings)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create database {DATABASE}")
        with scene(clone, url, DATABASE, tmp_path_factory.mktemp("injection")) as made:
            yield made
        connection.execute(f"drop database {DATABASE} with (force)")


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


def test_how_many_points_were_passed_through(stage, tallies, capsys):
    total = series.Tally()
    for tally in tallies:
        total.points += tally.points
        total.violations += tally.violations
        total.seconds += tally.seconds
    total.violations += series.settle(stage)
    with capsys.disabled():
        print(f"\n{total}, {stage.readers.reads:,} readings ({total.seconds:.0f} s)", flush=True)
    assert not total.violations, json.dumps(total.violations, indent=1)
    assert total.points >= 50
