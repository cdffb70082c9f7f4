"""The guards that hold a legible file against the one before, and what `accept` does about each."""

import random
from pathlib import Path
from types import SimpleNamespace

import pytest
from snapshots import described

from pipeline import errors, state
from pipeline.cli import accept
from pipeline.errors import SourceError
from pipeline.formats import delimited
from pipeline.raw import snapshot
from pipeline.schema import declaration, drift
from pipeline.stages import guards, part_columns, preprocess

SOURCE = "towns"
TOLD = f"./run_pipeline.sh accept {SOURCE}"
DECLARED = ["county", "x", "y"]


@pytest.fixture
def night(here, tmp_path, monkeypatch):
    """Stage preprocess on what the publisher has tonight; returns its record."""
    path = tmp_path / f"{SOURCE}.sql"
    columns = ", ".join(f'"{name}" text' for name in DECLARED)
    path.write_text(f"create table if not exists source.{SOURCE} ({columns});\n")
    monkeypatch.setattr(declaration, "path", lambda source: path)
    monkeypatch.setattr(preprocess, "_run_data_tests", lambda source, path: None)
    nights = iter(range(1000))
    raw = tmp_path / SOURCE / "raw.csv"
    raw.parent.mkdir()

    def run(text: str, **options) -> dict:
        raw.write_text(text)
        resource = {"path": raw.name, "format": "csv", "url": "https://e.gov/t", "part": raw.name}
        taken = snapshot.Snapshot(SOURCE, raw.parent, described([resource], next(nights)))
        monkeypatch.setattr(snapshot, "current", lambda here, source: taken)

        def make(taken, output):
            return delimited.write_csv(raw, output, final_newline=False, **options)

        try:
            facts = preprocess.work(here, SimpleNamespace(force=False), SOURCE, make)
        except SourceError as error:
            facts = {"outcome": "failed", "reason": error.what, "remedy": error.remedy}
        return state.update(here, SOURCE, "preprocess", **{"reason": "", "remedy": ""} | facts)

    return run


def table(*rows: str) -> str:
    return "\n".join(["county,x,y", *rows])


# The end of a file that has no line end


@pytest.mark.parametrize(
    ("before", "now", "is_refused"),
    [
        (["a,1,20", "b,1,20"], ["a,1,20", "b,1,2"], True),
        (["a,1,20", "b,1,20"], ["a,1,20"], False),
        (["a,1,20", "b,1,20"], ["a,1,20", "b,1,200"], False),
        (["a,1,2", "a,1,20"], ["a,1,20", "a,1,2"], False),  # a row of its own, though it begins one
        (["a,1,20", "a,1,2"], ["b,1,1", "a,1,2"], False),
        (["a,1,20", "a,1,2"], ["b,1,1", "c,1,1", "a,1,"], True),
        (["a,1,20", 'b,1,"20"'], ["a,1,20", "b,1,"], True),
        (["a,1,20", "b,1,2" + "0" * 5000], ["a,1,20", "b,1,2" + "0" * 4999], True),
        (["a,1,20", "b,1,20"], ["a,1,20", "b,1,2", ""], False),  # its line end is there
    ],
)
def test_a_file_that_ends_inside_its_last_row_is_refused(night, before, now, is_refused):
    assert night(table(*before))["outcome"] == "new"
    facts = night(table(*now))
    assert (facts["outcome"] == "failed") == is_refused, facts["reason"]
    if is_refused:
        told = f"cut inside its last row, or that row became shorter: {now[-1][:50]}"
        assert told in facts["reason"]
        assert TOLD in facts["remedy"]


def test_a_last_row_that_became_shorter_is_accepted(night, here, capsys):
    """It held the source for ever: a corrected value, and a column that came for one night."""
    assert night("county,x,y,extra\na,1,2,new\nb,1,20,new")["outcome"] == "new"
    assert night(table("a,1,2", "b,1,20"))["outcome"] == "failed"
    assert night(table("c,1,2", "b,1,20"))["outcome"] == "failed"  # other rows, the same end
    assert accept.run([SOURCE]) == errors.OK
    assert f"{SOURCE}: accepted, its last row, fetched tonight" in capsys.readouterr().out
    assert night(table("d,1,2", "b,1,20"))["outcome"] == "new"
    assert night(table("e,1,2", "b,1,2"))["outcome"] == "failed"
    assert accept.run([SOURCE]) == errors.OK
    for name in ("f", "g"):
        assert night(table(f"{name},1,2", "b,1,2"))["outcome"] == "new"
    assert accept.run([SOURCE]) == errors.USAGE
    assert night(table("g,1,2", "b,1,"))["outcome"] == "failed", "a cut is seen as before"


def test_the_rows_are_checked_although_the_last_row_was_accepted(night):
    assert night(table(*(f"{n},1,20" for n in range(100))))["outcome"] == "new"
    facts = night(table(*(f"{n},1,20" for n in range(9)), "99,1,2"))
    assert "cut inside its last row" in facts["reason"]
    assert "10 rows came where 100 are usual" in facts["reason"]
    assert facts["remedy"].count(TOLD) == 1
    assert accept.run([SOURCE]) == errors.OK
    assert night(table(*(f"{n},1,20" for n in range(9)), "99,1,2"))["outcome"] == "new"


@pytest.mark.parametrize(
    ("formats", "is_ordered"),
    [(["csv"], True), (["geojson"], False), (["json"], False), (["csv", "json"], False)],
)
def test_the_order_of_columns_is_the_publishers_but_in_json(formats, is_ordered):
    resources = [{"path": f"{number}", "format": one} for number, one in enumerate(formats)]
    taken = snapshot.Snapshot(SOURCE, Path(), described(resources))
    assert part_columns.is_json(taken) is not is_ordered


def test_a_refused_snapshot_that_is_gone_is_not_accepted(night, monkeypatch):
    night(table(*(f"{n},1,20" for n in range(100))))
    night(table("a,1,2"))
    monkeypatch.setattr(snapshot, "current", lambda here, source: None)
    with pytest.raises(SourceError, match="is not on disk any more"):
        accept.run([SOURCE])


# A file without its header


def words(chance: random.Random, count: int) -> list[str]:
    """Rows of values that could be names: only their repetition shows that they are rows."""
    states, kinds = ["AL", "WY", "TX"], ["rural", "urban", "mixed"]
    names = [f"{chance.choice('ABCDEFGH')}ville{number}" for number in range(count)]
    return [f"{name},{chance.choice(states)},{chance.choice(kinds)}" for name in names]


@pytest.mark.parametrize("is_first_night", [False, True])
def test_a_row_instead_of_the_header_is_neither_lost_nor_accepted(
    night, here, capsys, is_first_night
):
    chance = random.Random(5)
    for _ in range(20):
        rows = words(chance, 40)
        if not is_first_night:
            assert night(table(*rows))["outcome"] in ("new", "unchanged")
        chance.shuffle(rows)
        facts = night("\n".join(rows))
        assert "has no header: its first line is a row" in facts["reason"], rows[0]
        assert "header=[" in facts["remedy"]
        before = declaration.path(SOURCE).read_text()
        capsys.readouterr()
        assert accept.run([SOURCE]) == errors.USAGE
        said = capsys.readouterr().err
        assert "its first line is a row" in said
        assert "--header" in said
        assert declaration.path(SOURCE).read_text() == before
        facts = night("\n".join(rows), header=DECLARED)  # as the message says
        assert (facts["outcome"], facts["rows"]) == ("new", 40)
        assert not drift.first_row(here, SOURCE)
        preprocess.output_of(here, SOURCE).unlink()
        state.replace(here, SOURCE, preprocess=None, accepted=None)


def test_names_that_look_like_a_row_are_accepted_by_saying_so(night, here, capsys):
    assert night(table("a,1,2", "b,3,4"))["outcome"] == "new"
    renamed = "2023,2024,2025\na,1,2\nb,3,4"
    for _ in range(2):
        facts = night(renamed)
        assert f"{TOLD} --header accepts them" in facts["remedy"]
    assert accept.run([SOURCE], is_header=True) == errors.OK
    assert "2023, 2024, 2025 added" in capsys.readouterr().out
    facts = night(renamed)
    assert (facts["outcome"], facts["columns"]) == ("new", ["2023", "2024", "2025"])
    assert accept.run([SOURCE], is_header=True) == errors.USAGE


def test_accept_that_was_killed_after_the_header_is_finished(night, monkeypatch):
    night(table("a,1,2", "b,3,4"))
    renamed = "2023,2024,2025\na,1,2\nb,3,4"
    night(renamed)
    with monkeypatch.context() as patched:
        patched.setattr(drift, "accept", lambda here, source: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            accept.run([SOURCE], is_header=True)
    assert accept.run([SOURCE]) == errors.OK
    assert night(renamed)["outcome"] == "new"


# What is remembered


def test_what_a_guard_has_against_a_snapshot_is_of_that_snapshot(night, here, capsys):
    night(table(*(f"{n},1,20" for n in range(100))))
    night(table("a,1,2"))
    assert guards.waiting(here, SOURCE)["accepted"][0]["rows"] == 1
    night("county;x;y\na;1;2")  # another snapshot, which cannot be read at all
    assert guards.waiting(here, SOURCE) == {}
    assert accept.run([SOURCE]) == errors.USAGE
    said = capsys.readouterr().err
    assert "cannot be accepted" in said
    assert "';' occurs 2 times" in said
