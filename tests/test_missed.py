"""Which nights `--if-missed` repeats."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from pipeline import settings
from pipeline.cli import last_night, night

OPTIONS = SimpleNamespace(force=False, offline=True, accept_contract=[], accept_rows=[])


class Killed(BaseException):
    """Replaces a kill, which no code of the run survives."""


@pytest.fixture
def end(here, monkeypatch):
    """Begin a night that ends in its first stage: with success, with an error, or not at all."""
    monkeypatch.setattr(night.RunRecord, "check_database", lambda record: None)

    def run(error: BaseException | None = None) -> None:
        def stage(run) -> dict:
            if error:
                raise error
            return {}

        for name in ("_api", "_preprocess"):
            monkeypatch.setattr(night.Night, name, stage)
        night.run(["api", "preprocess"], [], OPTIONS)

    return run


def test_a_night_that_never_ran_is_missed(here):
    assert last_night.was_missed()


@pytest.mark.parametrize("error", [None, night.PipelineError("the database is down")])
def test_a_night_that_ended_is_not_missed_however_it_ended(end, error):
    end(error)
    assert not last_night.was_missed()


def test_a_killed_night_is_missed_though_another_one_ended_before_it(end):
    end()
    with pytest.raises(Killed):
        end(Killed())
    assert last_night.was_missed()
    end()
    assert not last_night.was_missed()


@pytest.mark.parametrize("hours", [-1, 25])
def test_a_night_of_another_day_or_of_the_future_does_not_count(end, hours):
    end()
    file = settings.load().state / "night.json"
    noted = json.loads(file.read_bytes())
    noted["ended_at"] = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
    file.write_text(json.dumps(noted))
    assert last_night.was_missed()


@pytest.mark.parametrize("content", ["", "[]", "null", '{"ended_at": 3}', '{"ended_at": "soon"}'])
def test_a_damaged_record_counts_as_none(here, content):
    here.state.mkdir(parents=True)
    (here.state / "night.json").write_text(content)
    assert last_night.was_missed()
