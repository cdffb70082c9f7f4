"""Changes that no header shows: a property that no feature has any more, a missing header."""

import argparse
import importlib.util
import json
import random

import pytest
from snapshots import described

from pipeline import state
from pipeline.errors import SourceError
from pipeline.formats import delimited, geojson, headerless
from pipeline.formats.legible import Legible
from pipeline.raw import snapshot
from pipeline.schema import declaration, drift
from pipeline.settings import ROOT
from pipeline.stages import preprocess

SOURCE = "fires"
DECLARED = ["a", "b", "c"]
PLAIN = argparse.Namespace(force=False)


@pytest.fixture
def night(here, tmp_path, monkeypatch):
    """Stage preprocess on what the publisher has tonight; returns its facts."""
    path = tmp_path / f"{SOURCE}.sql"
    columns = ", ".join(f'"{name}" text' for name in ["feature_id", *DECLARED, "geometry"])
    path.write_text(f"create table if not exists source.{SOURCE} ({columns});\n")
    monkeypatch.setattr(declaration, "path", lambda source: path)
    monkeypatch.setattr(preprocess, "_run_data_tests", lambda source, path: None)
    state.update(here, SOURCE, "api", may_be_empty=True, may_shrink=True)
    nights = iter(range(1000))

    def run(features: list[dict], **options) -> dict:
        number = next(nights)
        raw = tmp_path / SOURCE / f"{number}.geojson"
        raw.parent.mkdir(exist_ok=True)
        members = [{"type": "Feature", "properties": each, "geometry": None} for each in features]
        raw.write_text(json.dumps({"type": "FeatureCollection", "features": members}))
        resource = {"path": raw.name, "format": "geojson", "url": "https://e.gov/fires"}
        taken = snapshot.Snapshot(SOURCE, raw.parent, described([resource], number))
        monkeypatch.setattr(preprocess.snapshot, "current", lambda here, source: taken)

        def make(taken, output):
            return geojson.write_csv(raw, output, properties=DECLARED, **options)

        try:
            facts = preprocess.work(here, PLAIN, SOURCE, make)
        except SourceError:
            state.update(here, SOURCE, "preprocess", outcome="failed")
            raise
        return state.update(here, SOURCE, "preprocess", **facts)

    return run


def with_all(count: int) -> list[dict]:
    return [{"a": number, "b": f"x{number}", "c": None} for number in range(count)]


def without(features: list[dict], *names: str) -> list[dict]:
    return [{key: each[key] for key in each if key not in names} for each in features]


@pytest.mark.parametrize("name", DECLARED)
@pytest.mark.parametrize("count", [20, 200])
def test_a_declared_property_that_vanishes_is_drift(night, name, count):
    night(with_all(50))
    with pytest.raises(SourceError, match=rf"other columns than .*: missing {name}\b"):
        night(without(with_all(count), name))
    night(with_all(count))


def test_a_rename_is_reported_with_its_evidence(night):
    night(with_all(50))
    renamed = [{"a": each["a"], "B": each["b"], "c": None} for each in with_all(50)]
    with pytest.raises(SourceError, match=r"missing b, new B; B appeared, b vanished, 100\.0 %"):
        night(renamed)


def test_few_features_prove_nothing_and_are_no_way_around(night):
    night(with_all(50))
    assert night(without(with_all(19), "b"))["outcome"] == "new"
    assert night([])["outcome"] == "new"
    with pytest.raises(SourceError, match="missing b"):
        night(without(with_all(20), "b"))


def test_what_never_was_there_or_is_optional_may_be_absent(night):
    night(without(with_all(50), "c"))
    assert night(without(with_all(60), "c"))["outcome"] == "new"
    assert night(without(with_all(60), "b", "c"), optional=["b"])["outcome"] == "new"


def test_one_feature_that_has_it_is_enough(night):
    night(with_all(50))
    assert night([*without(with_all(50), "b"), {"b": None}])["outcome"] == "new"


def test_accept_takes_it_over_and_it_may_come_back(night, here):
    night(with_all(50))
    gone = without(with_all(50), "b")
    for _ in range(2):
        with pytest.raises(SourceError, match="accept fires accepts it"):
            night(gone)
    assert "load/fires.sql: b no longer published, null from now on" in drift.accept(here, SOURCE)
    for _ in range(3):
        assert night(gone)["absent"] == ["b"]
    assert night(with_all(50))["absent"] == []


def test_a_last_good_file_of_an_earlier_version_is_compared_too(night, here):
    night(with_all(50))
    remembered = json.loads((here.state / f"{SOURCE}.json").read_text())
    del remembered["preprocess"]["absent"]
    (here.state / f"{SOURCE}.json").write_text(json.dumps(remembered))
    with pytest.raises(SourceError, match="missing b"):
        night(without(with_all(50), "b", "c"))


def test_random_nights_hold_exactly_what_vanished(night):
    """The rule, word by word, beside the code: nights of random features."""
    source = random.Random(4)
    last: set[str] | None = None
    held = 0
    for _ in range(60):
        count = source.choice([0, 5, 19, 20, 40])
        names = [name for name in DECLARED if source.random() < 0.8]
        met = set(names) if count else set()
        features = [dict.fromkeys(names, 1) for _ in range(count)]
        if last is not None and count >= 20 and last - met:
            held += 1
            with pytest.raises(SourceError, match="missing"):
                night(features)
            continue
        night(features)
        last = met if count >= 20 or last is None else last | met
    assert held > 5


ROWS = {  # what stands in the first line of a file without a header; and the last good file
    "numbers": (["01001", "2", "3.5"], None),
    "dates": (["Autauga", "2024-01-02", "2024-02-03"], None),
    "nothing": (["Autauga", "", "AL"], None),
    "words that were values": (
        ["Autauga", "AL", "rural"],
        [["Baldwin", "AL", "urban"], ["Autauga", "AL", "rural"]],
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_in_place_of_the_header_is_not_accepted_as_names(name, here, tmp_path, monkeypatch):
    first, before = ROWS[name]
    path, last = tmp_path / "s.sql", tmp_path / "last.csv"
    path.write_text('create table if not exists source.s ("county" text, "x" text, "y" text);\n')
    monkeypatch.setattr(declaration, "path", lambda source: path)
    here.state.mkdir(parents=True)
    if before:
        last.write_text("county,x,y\n" + "".join(",".join(row) + "\n" for row in before))
    with pytest.raises(SourceError, match=r"has no header: its first line is a row.*header="):
        drift.check(here, "s", tmp_path / "new.csv", first, last, is_ordered=True)
    assert not drift.waiting(here, "s")


@pytest.mark.parametrize(
    "names", [["county_name", "p", "q"], ["FIPS", "2023", "rate", "note"], ["a b", "pop2024", "_"]]
)
def test_other_names_are_names(names, here, tmp_path, monkeypatch):
    path, last = tmp_path / "s.sql", tmp_path / "last.csv"
    path.write_text('create table if not exists source.s ("county" text, "x" text, "y" text);\n')
    last.write_text("county,x,y\nAutauga,1,2\n")
    (tmp_path / "new.csv").write_text(f"{','.join(names)}\n")
    monkeypatch.setattr(declaration, "path", lambda source: path)
    here.state.mkdir(parents=True)
    assert not headerless.is_like_a_row(names)
    with pytest.raises(SourceError, match="other columns than"):
        drift.check(here, "s", tmp_path / "new.csv", names, last, is_ordered=True)
    assert drift.waiting(here, "s").columns == names


def test_a_data_test_reads_columns_that_differ_in_case_alone(tmp_path):
    path = ROOT / "preprocess" / "conftest.py"
    module = importlib.util.module_from_spec(
        spec := importlib.util.spec_from_file_location("c", path)
    )
    spec.loader.exec_module(module)
    raw = tmp_path / "some_source" / "raw.csv"
    raw.parent.mkdir()
    raw.write_text("Name,NAME,name,name_1\n1,2,3,4\n")
    legible: Legible = delimited.write_csv(raw, tmp_path / "out.csv")
    assert legible.columns == ["Name", "NAME", "name", "name_1"]
    assert module.as_duckdb_names(legible.columns) == ["Name", "NAME_2", "name_3", "name_1"]
    found = module.read(tmp_path / "out.csv").execute()
    assert found.iloc[0].tolist() == ["1", "2", "3", "4"]
