"""The report: what a person reads after a night."""

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest

from pipeline import state
from pipeline.cli import report

FRESH = {"api": {"outcome": "new"}, "preprocess": {"outcome": "new"}, "load": {"outcome": "new"}}


def failed(stage: str, **load) -> dict:
    return FRESH | {stage: {"outcome": "failed", "reason": "r", "remedy": "do it"} | load}


@pytest.mark.parametrize(
    ("stages", "outcome"),
    [
        (FRESH, "new"),
        (FRESH | {"api": {"outcome": "unchanged"}}, "unchanged"),
        (FRESH | {"api": {"outcome": "bundled"}}, "bundled"),
        ({}, "missing"),
        (failed("preprocess"), "missing"),
        (failed("preprocess") | {"load": {"outcome": "new", "rows": 3}}, "kept"),
        (failed("load", rows=3), "kept"),
    ],
)
def test_a_source_is_as_fresh_as_its_last_stage(stages, outcome):
    assert report.outcome_of(stages)[0] == outcome


def test_reason_and_remedy_are_those_of_the_stage_that_failed():
    assert report.outcome_of(failed("preprocess"))[1:] == ("r", "do it")


def printed(stages_of: dict, notes=()) -> str:
    file = StringIO()
    report.show(file, stages_of, {}, list(notes))
    return file.getvalue()


def test_sources_with_one_reason_share_a_line():
    kept = {"api": {"outcome": "kept", "reason": "no network", "remedy": ""}}
    text = printed({"one": kept, "two": kept, "three": FRESH})
    assert "- one, two: kept, no network" in text
    assert "three:" not in text


def test_what_a_publisher_announces_is_told_and_nothing_is_wrong():
    told = FRESH | {"api": {"outcome": "unchanged", "note": "DataSet v1 is deprecated"}}
    assert "- one: note, DataSet v1 is deprecated" in printed({"one": told, "two": FRESH})
    assert report.outcome_of(told) == ("unchanged", "", "")


@pytest.mark.parametrize("outcome", ["new", "unchanged", "kept", "bundled", "failed"])
def test_no_note_of_an_earlier_night_stands_beside_a_failure(outcome):
    noted = FRESH | {"api": {"outcome": outcome, "note": "v1 is deprecated", "reason": "no answer"}}
    assert ("v1 is deprecated" in printed({"one": noted})) == (outcome in ("new", "unchanged"))


@pytest.mark.parametrize(
    ("stage", "facts"),
    [
        ("api", {"note": "v1 is deprecated", "stash_note": "git-lfs is missing"}),
        ("preprocess", {"notes": {"rings that are not closed": 3}}),
        ("publish", {"revoked": ["revoke all"], "not_checked": ["a right"]}),
    ],
)
def test_what_a_stage_told_is_forgotten_as_it_fails(here, stage, facts):
    good = {"outcome": "new", "rows": 7, "sha256": "abc", "reason": "", "remedy": ""}
    state.update(here, "one", stage, **good, **facts)
    assert state.update(here, "one", stage, run="later") == good | facts | {"run": "later"}
    bad = {"outcome": "failed", "reason": "it crashed", "remedy": "see the log"}
    told = state.update(here, "one", stage, **bad)
    assert told == good | bad | {"run": "later"}, "rows and hash of the last good file stay"
    text = printed({"one": FRESH | {stage: told}}, report.notes_of_prod(told))
    assert not any(word in text for word in ("deprecated", "git-lfs", "rings", "revoked", "right"))
    assert "it crashed" in text


def test_markup_and_control_characters_of_publishers_do_nothing():
    evil = {"api": {"outcome": "kept", "reason": "[red]boo[/red] [/]", "remedy": ""}}
    assert "[red]boo[/red] [/]" in printed({"one": evil})


def test_columns_align_and_fit_a_terminal_of_80():
    facts = {"outcome": "bundled", "bytes": 123_456_789, "as_of": "2018-02-07", "rows": 1}
    stages = {"api": facts, "load": {"outcome": "new", "rows": 12_345_678}}
    lines = printed({"faa_wildlife_strikes": stages, "x": FRESH}).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert len({len(line.rstrip()) for line in lines if line.startswith(("Source", "faa"))}) == 1


@pytest.mark.parametrize(
    ("ago", "shown"),
    [
        (timedelta(seconds=5), "now"),
        (timedelta(minutes=3), "3 min"),
        (timedelta(hours=30), "30 h"),
        (timedelta(days=9), "9 d"),
        (timedelta(days=3000), "8 y"),
        (timedelta(hours=-1), "now"),
    ],
)
def test_ages_are_short(ago, shown):
    assert report._age(datetime.now(UTC) - ago) == shown
