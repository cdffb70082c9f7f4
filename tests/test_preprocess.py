"""Stage preprocess: what replaces the legible file, and what does not."""

import argparse

import pytest

from pipeline import state
from pipeline.errors import DeclarationError, SourceError
from pipeline.formats import delimited
from pipeline.raw import snapshot
from pipeline.stages import preprocess

SOURCE = "stations"  # of tests/example: its data tests run on what is made here
FORCE, PLAIN = argparse.Namespace(force=True), argparse.Namespace(force=False)


def make_legible(taken, output):
    return delimited.write_csv(taken.files, output)


@pytest.fixture
def taken(here, example):
    """The bundled snapshot as the current one, and the record of stage api."""
    there = snapshot.install_bundled(here, snapshot.bundled(SOURCE))
    state.update(here, SOURCE, "api", content=there.content, outcome="bundled")
    return there


def work(here, options=PLAIN, make=make_legible) -> dict:
    facts = preprocess.work(here, options, SOURCE, make)
    state.update(here, SOURCE, "preprocess", **facts)
    return facts


def test_it_is_made_once_and_then_current(here, taken):
    assert not preprocess.is_current(here, SOURCE)
    assert work(here)["outcome"] == "new"
    assert preprocess.is_current(here, SOURCE)
    assert work(here)["outcome"] == "unchanged"
    assert work(here, FORCE)["outcome"] == "new"


@pytest.mark.parametrize("damage", ["delete", "change"])
def test_a_legible_file_that_was_touched_is_made_again(here, taken, damage):
    work(here)
    output = preprocess.output_of(here, SOURCE)
    if damage == "delete":
        output.unlink()
    else:
        output.write_text("rubbish")
    assert not preprocess.is_current(here, SOURCE)
    assert work(here)["outcome"] == "new"


def test_new_code_makes_it_again(here, taken, monkeypatch):
    work(here)
    monkeypatch.setattr(preprocess, "code_fingerprint", lambda source: "other")
    assert not preprocess.is_current(here, SOURCE)


def test_failing_data_tests_leave_the_old_file_and_keep_the_new_for_inspection(here, taken):
    work(here)
    output = preprocess.output_of(here, SOURCE)
    before = output.read_bytes()

    def wrong(taken, aside):
        legible = make_legible(taken, aside)
        aside.write_text(aside.read_text().replace(",42.673003,", ",97,"))
        return legible

    with pytest.raises(SourceError, match=r"test_positions_are_in_the_country.*41\.\d+ to 97"):
        work(here, FORCE, wrong)
    assert output.read_bytes() == before
    (refused,) = (here.quarantine / SOURCE).iterdir()
    assert ",97," in refused.read_text()
    assert list(output.parent.iterdir()) == [output]


def test_a_persons_options_for_pytest_select_no_other_data_tests(here, taken, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k nothing_of_this_name")
    assert work(here)["outcome"] == "new"


def test_a_file_without_a_row_is_refused_whatever_made_it(here, taken):
    def none(taken, output):
        raw = output.with_name("raw.csv")
        raw.write_bytes(b"ident,name\n")
        return delimited.write_csv(raw, output)

    with pytest.raises(SourceError, match="there is no row in it"):
        work(here, make=none)


def test_a_rejection_is_recorded_with_its_content(here, taken):
    """Whichever step of the stage rejected it."""

    def damaged(taken, output):
        raise SourceError("cannot be read")

    def declared_wrongly(taken, output):
        raise DeclarationError("line_end")

    for make, noted in ((declared_wrongly, None), (damaged, taken.content)):
        with pytest.raises(SourceError):
            work(here, make=make)
        assert state.read(here, SOURCE).get("rejected", {}).get("content") == noted
    work(here)
    assert "rejected" not in state.read(here, SOURCE)


def test_without_a_snapshot_there_is_nothing_to_do(here, example):
    assert work(here)["outcome"] == "missing"
    assert preprocess.is_current(here, SOURCE)


def test_a_source_without_data_tests_is_not_loaded(here, taken, example):
    (example / "preprocess" / f"test_{SOURCE}.py").unlink()
    with pytest.raises(SourceError, match="data tests fail"):
        work(here)
