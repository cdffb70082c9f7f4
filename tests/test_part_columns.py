"""Files of one snapshot with different columns: a new one loads, what one file lost is held."""

import json
from types import SimpleNamespace

import pytest
from snapshots import described

from pipeline import state
from pipeline.cli import accept
from pipeline.errors import OK, SourceError
from pipeline.formats import delimited, geojson
from pipeline.raw import snapshot
from pipeline.schema import declaration
from pipeline.stages import preprocess

SOURCE = "storms"
DECLARED = ["key", "state", "size"]
# What the next night's files have after one in which all had the same: their columns by year, the
# columns that are refused, of which year.
NIGHTS = {
    "the same": ({}, ""),
    "a new column in the newest": ({2022: [*DECLARED, "new"]}, ""),
    "a new column in the midst of the oldest": ({2020: ["key", "new", "state", "size"]}, ""),
    "another order in one": ({2021: DECLARED[::-1]}, ""),
    "a rename in the newest": ({2022: ["key", "state", "extent"]}, "2022 lacks size, has extent"),
    "one gone from the oldest": ({2020: ["key", "state"]}, "2020 lacks size"),
    "two gone from two": ({2020: ["key"], 2022: ["key"]}, "2020 lacks state, size; 2022 lacks"),
    "a new year without one": ({2023: ["key", "size"]}, "2023 lacks state"),
    "a new year with a new one": ({2023: [*DECLARED, "new"]}, ""),
}


@pytest.fixture
def night(here, tmp_path, monkeypatch):
    """Stage preprocess on files of some years, each with its columns; returns its facts."""
    path = tmp_path / f"{SOURCE}.sql"
    monkeypatch.setattr(declaration, "path", lambda source: path)
    monkeypatch.setattr(preprocess, "_run_data_tests", lambda source, path: None)
    monkeypatch.setattr(preprocess, "code_fingerprint", lambda source: "code")
    nights = iter(range(1000))

    def run(columns: dict, kind: str = "csv", rows: int = 30, part_of=str, **options) -> dict:
        if not path.exists():
            declare(DECLARED if kind == "csv" else ["feature_id", *DECLARED, "geometry"])
        number, resources = next(nights), []
        folder = here.raw / SOURCE / str(number)
        folder.mkdir(parents=True)
        for part, names in columns.items():
            entry = {"path": f"{part}-{number}.{kind}", "part": part_of(part), "format": kind}
            resources.append(entry | {"url": f"https://e.gov/{part}"})
            values = [{name: f"{name}{row}" for name in names} for row in range(rows)]
            (folder / entry["path"]).write_text(TEXT[kind](names, values))
        taken = snapshot.Snapshot(SOURCE, folder, described(resources, number))
        monkeypatch.setattr(snapshot, "current", lambda here, source: taken)
        write = delimited.write_csv if kind == "csv" else geojson.write_csv
        make = SimpleNamespace(force=True)
        facts = preprocess.work(
            here, make, SOURCE, lambda taken, out: write(taken.files, out, **options)
        )
        return state.update(here, SOURCE, "preprocess", **facts)

    return run


def declare(names: list[str]) -> None:
    columns = ", ".join(f"{name} text" for name in names)
    declaration.path(SOURCE).write_text(
        f"create table if not exists source.{SOURCE} ({columns});\n"
    )


def as_csv(names, values) -> str:
    return "\n".join([",".join(names), *(",".join(row.values()) for row in values), ""])


def as_geojson(names, values) -> str:
    features = [{"type": "Feature", "properties": row, "geometry": None} for row in values]
    return json.dumps({"type": "FeatureCollection", "features": features})


TEXT = {"csv": as_csv, "geojson": as_geojson}
BEFORE = dict.fromkeys((2020, 2021, 2022), DECLARED)


@pytest.mark.parametrize("kind", TEXT)
@pytest.mark.parametrize("name", NIGHTS)
def test_a_column_that_one_file_lost_is_held_until_accepted(night, here, name, kind):
    changed, refused = NIGHTS[name]
    night(BEFORE, kind)
    tonight = BEFORE | changed
    if refused:
        with pytest.raises(SourceError, match=f"that other files have: .*{refused}") as error:
            night(tonight, kind)
        assert f"accept {SOURCE}" in error.value.remedy
        assert accept.run([SOURCE]) == OK
    for _ in range(2):
        made = night(tonight, kind)
        assert made["rows"] == 30 * len(tonight)
    columns = set().union(*tonight.values())
    assert set(made["columns"]) - {"feature_id", "geometry"} == columns


def test_pages_of_a_table_that_changed_while_it_was_read_are_rejected(night, here):
    pages = {1: DECLARED, 2: [*DECLARED, "new"]}
    with pytest.raises(SourceError, match="all lacks new") as error:
        night(pages, part_of=lambda page: "all")
    assert f"accept {SOURCE}" in error.value.remedy
    night(pages)  # parts of their own: the second year has a new column


def test_on_the_first_night_a_column_under_another_name_is_held(night):
    with pytest.raises(SourceError, match="2022 lacks size"):
        night(BEFORE | {2022: ["key", "state", "extent"]})
    night(BEFORE | {2022: ["key", "state", "extent"]}, rename={"extent": "size"})


def test_a_column_that_was_accepted_or_described_stays_so(night):
    """Once `load/<source>.sql` has a column that only the newest year has, nothing is amiss."""
    tonight = BEFORE | {2022: [*DECLARED, "new"]}
    night(BEFORE)
    night(tonight)
    declare([*DECLARED, "new"])
    night(tonight)
    with pytest.raises(SourceError, match="2022 lacks size"):
        night(tonight | {2022: ["key", "state", "new"]})


def test_of_few_features_a_missing_property_proves_nothing(night):
    night(BEFORE, "geojson", rows=19)
    night(BEFORE | {2022: ["key"]}, "geojson", rows=19)
    night(BEFORE | {2022: ["key"]}, "geojson", rows=19, optional=["state"])
