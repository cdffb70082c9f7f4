"""`status` shows how the newest night went: succeeded, failed, missed or in progress."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from pipeline import database, errors, settings, signals
from pipeline.cli import last_night, night, status
from pipeline.database import ledger
from pipeline.errors import BusyError, PipelineError, SetupError
from pipeline.marts import data_status, freshness
from pipeline.stages import lock

OPTIONS = SimpleNamespace(force=False, offline=True, accept_contract=[])
NOW = datetime.now(UTC) - timedelta(minutes=10)


class Killed(BaseException):
    """Stands for a kill, which no code of the run can handle."""


@pytest.fixture
def connection(here, database_url, monkeypatch):
    """The ledger of a database in which every source is fresh and one table is published."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    settings.load.cache_clear()
    monkeypatch.setattr(settings, "sources", lambda: ["one"])
    with database.connect(settings.load()) as owner:
        database.prepare(owner)
        begin(owner, "first", "load", NOW, 0)
        well = {"outcome": "new", "rows": 3, "started_at": NOW.isoformat()}
        for stage in ("api", "preprocess", "load"):
            ledger.note(owner, "first", stage, "one", well)
        built = well | {"outcome": "published", "tables": ["some"], "generation": 1}
        for name in ("some", ledger.ALL_MODELS):
            ledger.note(owner, "first", "transform", name, built)
        tell(owner, NOW + timedelta(days=1))
        yield owner


def begin(owner, run: str, words: str, at: datetime, code: int | None = None) -> None:
    ledger.begin(owner, run, words, at.isoformat())
    if code is not None:
        ledger.end(owner, run, code, "")
        owner.execute("update pipeline.runs set ended_at = %s where run_id = %s", [at, run])


def tell(owner, due: datetime) -> None:
    columns = dict.fromkeys(freshness.Row._fields) | {"stays_old": (), "state": "fresh"}
    row = freshness.Row(**columns | {"kind": "table", "name": "some", "expected_next_at": due})
    with owner.transaction():
        data_status.prepare(owner)
        data_status.write(owner, [row])


def shown(capsys) -> tuple[int, str]:
    capsys.readouterr()
    code = status.show()
    return code, capsys.readouterr().out


def a_night(monkeypatch, error: BaseException | None = None, code: int = 0, **where) -> None:
    """Run a night that ends at some point: before it begins, in a stage, or with a code."""
    place = where.get("place", "stage")

    def fail(*arguments) -> dict:
        if error:
            raise error
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(night.RunRecord, "check_database", lambda record: None)
        for name in ("_api", "_load"):
            patch.setattr(night.Night, name, lambda run: {})
        patch.setattr(night.Night, "_exit_code", lambda run: code)
        if error:
            target = {
                "settings": (settings, "load"),
                "parts": (night.preflight, "refuse"),
                "folders": (night.folders, "make"),
                "database": (night.RunRecord, "check_database"),
                "stage": (night.Night, "_load"),
            }[place]
            patch.setattr(*target, fail)
        night.run(["api", "load"], [], OPTIONS)


def test_all_is_well_after_a_night_that_ended_with_0(here, connection, monkeypatch, capsys):
    a_night(monkeypatch)
    code, said = shown(capsys)
    assert code == errors.OK, said
    assert "last night: ended" in said
    assert "with code 0 (all is well)" in said


def test_a_night_that_did_not_end_with_0_is_not_well(connection, monkeypatch, capsys):
    for code in (1, 2, 75, 78, 130, 143):
        a_night(monkeypatch, code=code)
        found, said = shown(capsys)
        assert (found, f"with code {code}" in said) == (errors.DEGRADED, True), said
        assert "all is well" not in said
        a_night(monkeypatch)
        assert shown(capsys)[0] == errors.OK


def test_a_night_that_ended_before_it_began_is_told(connection, monkeypatch, capsys):
    for place in ("settings", "parts", "folders", "database"):
        a_night(monkeypatch)
        with pytest.raises(SetupError):
            a_night(monkeypatch, SetupError("a thing is missing", "bring it"), place=place)
        assert last_night.was_missed()
        code, said = shown(capsys)
        assert code == errors.DEGRADED
        assert "with code 78" in said
        assert said.count("a thing is missing") == 1
        assert "a thing is missing - bring it" in said


def test_a_night_of_a_broken_env_is_told_when_it_is_mended(
    connection, monkeypatch, capsys, tmp_path
):
    a_night(monkeypatch)
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    for text in (b"STASHH=off\n", b"STASH=\xff\n", b"nonsense\n"):
        (tmp_path / ".env").write_bytes(text)
        settings.load.cache_clear()
        with pytest.raises(SetupError):
            a_night(monkeypatch)
        (tmp_path / ".env").unlink()
        settings.load.cache_clear()
        code, said = shown(capsys)
        assert (code, "with code 78" in said) == (errors.DEGRADED, True), text


def test_a_killed_night_is_told(connection, monkeypatch, capsys):
    for place in ("stage", "database"):
        a_night(monkeypatch)
        with pytest.raises(Killed):
            a_night(monkeypatch, Killed(), place=place)
        code, said = shown(capsys)
        assert code == errors.DEGRADED
        assert "did not end: it was killed" in said


def test_a_stopped_night_is_told_and_made_up_for(connection, monkeypatch, capsys):
    a_night(monkeypatch)
    a_night(monkeypatch, signals.Stopped(15))
    code, said = shown(capsys)
    assert (code, "with code 143" in said, last_night.was_missed()) == (errors.DEGRADED, True, True)


def test_a_night_that_met_another_run_is_none(connection, monkeypatch, capsys):
    a_night(monkeypatch)
    before = (settings.load().state / last_night.FILE).read_bytes()
    for place in ("folders", "database"):
        with pytest.raises(BusyError):
            a_night(monkeypatch, BusyError("another run is in progress"), place=place)
        assert json.loads((settings.load().state / last_night.FILE).read_bytes()) == json.loads(
            before
        )
    assert shown(capsys)[0] == errors.OK


def test_after_any_nights_the_newest_counts(here, monkeypatch, capsys, is_long):
    """The newest night that is over decides, whatever came before."""
    chance = random.Random(25)
    kinds: dict[str, Callable[[], None]] = {
        "well": lambda: a_night(monkeypatch),
        "degraded": lambda: a_night(monkeypatch, code=2),
        "failed": lambda: a_night(monkeypatch, PipelineError("no room"), code=1),
        "killed": lambda: a_night(monkeypatch, Killed()),
        "stopped": lambda: a_night(monkeypatch, signals.Stopped(1)),
        "setup": lambda: a_night(monkeypatch, SetupError("no"), place="parts"),
        "busy": lambda: a_night(monkeypatch, BusyError("no"), place="database"),
    }
    newest = ""
    for _ in range(400 if is_long else 60):
        kind = chance.choice(list(kinds))
        with suppress(Killed, PipelineError):
            kinds[kind]()
        newest = newest if kind == "busy" else kind
        night_now = last_night.newest(settings.load())
        capsys.readouterr()
        if newest:
            assert night_now[0].succeeded == (newest == "well"), (kind, newest)
            assert night_now[0].is_over == (newest != "killed"), (kind, newest)


def test_a_pipeline_that_no_longer_runs_is_told(connection, monkeypatch, capsys):
    a_night(monkeypatch)
    file = settings.load().state / last_night.FILE
    noted = json.loads(file.read_bytes())
    for days in (2, 5, 400):
        for name in ("began_at", "ended_at"):
            noted[name] = (NOW - timedelta(days=days)).isoformat()
        file.write_text(json.dumps(noted))
        code, said = shown(capsys)
        assert code == errors.DEGRADED
        assert f"no night has ended since {NOW - timedelta(days=days):%Y-%m-%d}" in said


def test_what_is_overdue_is_named(connection, monkeypatch, capsys):
    a_night(monkeypatch)
    tell(connection, NOW - timedelta(days=5))
    code, said = shown(capsys)
    assert code == errors.DEGRADED
    assert f"overdue since {NOW - timedelta(days=5):%Y-%m-%d}" in said
    assert "table some" in said


def test_a_run_that_did_not_end_is_told_until_another_one_ends(connection, monkeypatch, capsys):
    a_night(monkeypatch)
    for number, words in enumerate(["load one", "transform", "publish", "night --offline"], 1):
        at = NOW + timedelta(seconds=number)
        begin(connection, f"{number} killed-1", words, at)
        code, said = shown(capsys)
        assert code == errors.DEGRADED
        assert f"unfinished run: {words}" in said
        begin(connection, f"{number} ended-2", words, at + timedelta(microseconds=1), 0)
        assert shown(capsys)[0] == errors.OK


def test_runs_without_a_database_have_no_end_in_the_ledger(connection, monkeypatch, capsys):
    a_night(monkeypatch)
    begin(connection, "2026-01-01T00-00-00Z-1", "api", NOW + timedelta(microseconds=1))
    assert shown(capsys)[0] == errors.OK


@pytest.mark.parametrize("code", [0, 1])
def test_a_later_night_of_another_machine_counts(connection, monkeypatch, capsys, code):
    monkeypatch.setattr(last_night.state, "now", lambda: (NOW + timedelta(minutes=1)).isoformat())
    a_night(monkeypatch, code=1 - code)
    begin(connection, "2026-01-02T00-00-00Z-77", "night", NOW, code)
    assert f"with code {1 - code}" in shown(capsys)[1]
    begin(connection, "2026-01-02T00-00-00Z-78", "night", NOW + timedelta(minutes=2), code)
    found, said = shown(capsys)
    assert f"with code {code}" in said
    assert found == (errors.DEGRADED if code else errors.OK)


RUN = """
import os, sys
from pipeline.stages import lock
from pipeline.cli import last_night as nights
from pipeline import settings
with lock.held_by_this_run(settings.load()):
    if sys.argv[1:] == ["night"]:
        nights.begin(settings.load(), f"2026-01-01T00-00-00Z-{os.getpid()}")
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run(here):
    """Start a run that works until the test ends."""
    started: list[subprocess.Popen] = []

    def start(*words: str) -> subprocess.Popen:
        command = [sys.executable, "-c", RUN, *words]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, env=os.environ, **pipes))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_during_the_first_night_it_says_so(here, run, capsys):
    process = run("night")
    code, said = shown(capsys)
    assert code == errors.DEGRADED
    assert said.startswith("nothing is published yet\n")
    assert f"a run is in progress (process {process.pid}, started " in said


@pytest.mark.parametrize("words", [(), ("night",)])
@pytest.mark.parametrize("code", [0, 1])
def test_during_a_run_the_night_before_it_counts(connection, monkeypatch, run, capsys, words, code):
    a_night(monkeypatch, code=code)
    process = run(*words)
    found, said = shown(capsys)
    assert found == (errors.DEGRADED if code else errors.OK), said
    assert f"a run is in progress (process {process.pid}" in said
    assert f"with code {code}" in said
    assert "nothing is published yet" not in said
    process.kill()
    process.wait()
    found, said = shown(capsys)
    assert "in progress" not in said
    assert ("did not end" in said) == bool(words)
    assert found == (errors.DEGRADED if words or code else errors.OK)


def test_a_run_of_another_machine_is_no_killed_one(connection, monkeypatch, capsys):
    a_night(monkeypatch)
    begin(connection, "2026-01-01T00-00-00Z-1", "night", NOW + timedelta(microseconds=1))
    database.hold_run_lock(connection)
    assert shown(capsys)[0] == errors.OK
    connection.execute("select pg_advisory_unlock_all()")
    assert shown(capsys)[0] == errors.DEGRADED


def test_who_looks_keeps_no_run_from_its_lock(here):
    here.state.mkdir(parents=True)
    assert lock.holder(here) == ""
    with lock.held_by_this_run(here):
        assert lock.holder(here) == f"process {os.getpid()}"
    assert lock.holder(here) == ""


def test_before_the_first_night_the_stages_count(connection, capsys):
    code, said = shown(capsys)
    assert (code, "last run: load, ended" in said) == (errors.OK, True), said


def test_a_night_that_failed_before_there_was_a_database_is_told(here, monkeypatch, capsys):
    with pytest.raises(SetupError):
        a_night(monkeypatch, SetupError("a thing is missing"), place="parts")
    code, said = shown(capsys)
    assert (code, "nothing has run yet" in said) == (errors.DEGRADED, True)
    here.state.mkdir(parents=True)
    with pytest.raises(SetupError):
        a_night(monkeypatch, SetupError("a thing is missing"), place="parts")
    assert shown(capsys)[1].startswith("nothing is published yet: ./run_pipeline.sh\nlast night: ")


def test_one_cause_is_said_once(connection, monkeypatch, capsys):
    facts = {"outcome": "failed", "reason": "it does not parse", "remedy": "see the log"}
    ledger.note(connection, "first", "transform", ledger.ALL_MODELS, facts)
    a_night(monkeypatch, PipelineError("it does not parse", "see the log"), code=1)
    code, said = shown(capsys)
    assert (code, said.count("it does not parse")) == (errors.DEGRADED, 1)


def test_without_a_database_the_night_is_told_all_the_same(here, monkeypatch, capsys):
    a_night(monkeypatch, PipelineError("the database is down"))
    capsys.readouterr()
    monkeypatch.setenv("DATABASE_URL", "postgresql://me@127.0.0.1:9/dev")
    monkeypatch.setattr(database, "GLANCE", 0)
    settings.load.cache_clear()
    with pytest.raises(PipelineError):
        status.show()
    assert "the database is down" in capsys.readouterr().out


def test_no_row_of_the_ledger_from_the_future_hides_a_night(connection, monkeypatch, capsys):
    a_night(monkeypatch, code=1)
    begin(connection, "2027-01-01T00-00-00Z-1", "night", NOW + timedelta(days=365), 0)
    assert shown(capsys)[0] == errors.DEGRADED
