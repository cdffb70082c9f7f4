"""The report: what a person reads after a night."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from unittest.mock import Mock

import pytest
from rich.console import Console

from pipeline import settings, state, text
from pipeline.cli import report, tables
from pipeline.cli.console import RunConsole
from pipeline.cli.runner import Job, Runner

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
    assert report.summary(stages)[0] == outcome


def test_reason_and_remedy_are_those_of_the_stage_that_failed():
    assert report.summary(failed("preprocess"))[1:] == ("r", "do it")


def printed(stages_of: dict, notes=()) -> str:
    file = StringIO()
    report.show(file, stages_of, {}, list(notes))
    return file.getvalue()


def test_sources_with_one_reason_share_a_line():
    kept = {"api": {"outcome": "kept", "reason": "no network", "remedy": ""}}
    said = printed({"one": kept, "two": kept, "three": FRESH})
    assert "- 2 sources (one, two): kept, no network" in said
    assert "three:" not in said


def test_one_cause_is_one_note_however_it_ended():
    """The first night without a network: some sources are bundled, the others missing."""
    reason = {"reason": "no network", "remedy": "the next night asks again"}
    states = {"one": "bundled", "two": "missing", "three": "missing"}
    said = printed({name: {"api": reason | {"outcome": state}} for name, state in states.items()})
    line = "- all 3 sources: 1 bundled, 2 missing, no network, the next night asks again"
    assert line in said.splitlines()
    assert said.count("no network") == 1


def test_a_terminal_gets_whole_words_and_whole_columns(monkeypatch):
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    facts = {"outcome": "kept", "bytes": 123_456_789, "as_of": "2009-08-31", "rows": 1}
    facts |= {"reason": " ".join(["a long reason of several words"] * 9), "seconds": 1234.5}
    loaded = {"outcome": "new", "rows": 12_345_678}
    file = Terminal()
    report.show(file, {"fema_disaster_declarations": {"api": facts, "load": loaded}}, {}, [])
    said = file.getvalue()
    assert "…" not in said
    lines = said.splitlines()
    assert all(len(line.rstrip()) <= 80 for line in lines)
    assert "12,345,678" in said and "2009-08-31" in said
    words = set(" ".join(lines).split())
    assert words >= set(facts["reason"].split())


def test_what_a_publisher_announces_is_told_and_nothing_is_wrong():
    told = FRESH | {"api": {"outcome": "unchanged", "note": "DataSet v1 is deprecated"}}
    assert "- one: note, DataSet v1 is deprecated" in printed({"one": told, "two": FRESH})
    assert report.summary(told) == ("unchanged", "", "")


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
    said = printed({"one": FRESH | {stage: told}}, report.notes_of_prod(told))
    assert not any(word in said for word in ("deprecated", "git-lfs", "rings", "revoked", "right"))
    assert "it crashed" in said


def test_markup_and_control_characters_of_publishers_do_nothing():
    evil = {"api": {"outcome": "kept", "reason": "[red]boo[/red] [/]", "remedy": ""}}
    assert "[red]boo[/red] [/]" in printed({"one": evil})


def test_columns_align_and_fit_a_terminal_of_80():
    facts = {"outcome": "bundled", "bytes": 123_456_789, "as_of": "2018-02-07", "rows": 1}
    stages = {"api": facts, "load": {"outcome": "new", "rows": 12_345_678}}
    lines = printed({"faa_wildlife_strikes": stages, "x": FRESH}).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert len({len(line.rstrip()) for line in lines if line.startswith(("Source", "faa"))}) == 1


def test_a_narrow_terminal_lacks_columns_but_cuts_none():
    row = {"Source": "fema_disaster_declarations", "Rows": "12,345,678", "Seconds": "1.0"}
    for width, names in ((80, ["Source", "Rows", "Seconds"]), (40, ["Source", "Rows"])):
        file = StringIO()
        console = Console(file=file, width=width)
        tables.show(console, [row], numbers=("Rows",), optional=("Seconds",))
        head, _, line = file.getvalue().splitlines()
        assert head.split() == names
        assert line.split() == [row[name] for name in names]


def test_text_is_wrapped_between_words_on_a_terminal_only(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(text, "ROOT", Path("/a folder/with blanks"))
    line = f"ended with code 2 (degraded); log: {text.ROOT}/data/logs/a.log"
    assert text.wrapped(line, is_terminal=False) == [line]
    lines = text.wrapped(line, is_terminal=True, indent="  ")
    assert lines == [
        "ended with code 2 (degraded); log:",
        "  /a folder/with blanks/data/logs/a.log",
    ]


def test_each_reason_is_shown_once_and_logged_every_time(here, tmp_path, capsys):
    console = RunConsole(tmp_path, "run")
    facts = {"outcome": "missing", "reason": "there is no legible file"}
    for name in ("one", "two"):
        console.step("load", name, facts)
        console.step("api", name, facts | {"reason": "no network"})
    shown = capsys.readouterr().out
    assert shown.count("there is no legible file") == 1
    assert "no network" not in shown, "the report gives it"
    log = console.path.read_text()
    assert log.count("there is no legible file") == log.count("no network") == 2


def test_the_progress_names_the_model_that_dbt_builds(here, tmp_path):
    program = tmp_path / "job.py"
    lines = (
        "14:57:25  1 of 9 START sql table model staging.int_counties ........ [RUN]",
        "14:57:25  1 of 9 OK created sql table model staging.int_counties ... [SELECT 3 in 0.1s]",
        "14:57:26  2 of 9 START unit_test stg_x::a_code_keeps_its_zero ...... [RUN]",
    )
    program.write_text(f"print({chr(10).join(lines)!r})")
    console = Mock()
    Runner(settings.load(), "run", console).run([Job("transform", "all models", (str(program),))])
    progress = [call.args for call in console.progress.call_args_list]
    assert [what for *_, what in progress] == [
        "1 of 9, staging.int_counties",
        "2 of 9, staging.int_counties",
    ]


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
