"""The snapshots that come with the domain are whole, and legible to the last value."""

import csv
import hashlib
import json
import runpy
import sys
from collections import Counter
from datetime import date
from importlib import util
from types import SimpleNamespace

import msgspec
import pytest
from test_fix import described_here
from test_snapshot import assert_is_a_data_package

from pipeline import settings
from pipeline.formats import delimited, geojson, topojson
from pipeline.raw import checks, snapshot
from pipeline.raw.fingerprints import fingerprint_of, of_json
from pipeline.raw.source import Source
from pipeline.settings import BUNDLED, ROOT

COUNTIES = BUNDLED / "census_counties" / "counties-10m.json"


def source_of(name: str) -> Source:
    spec = util.spec_from_file_location(name, ROOT / "api" / f"{name}.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SOURCE


def test_five_sources_are_bundled():
    assert len([path for path in BUNDLED.iterdir() if path.is_dir()]) == 5


@pytest.mark.parametrize("name", sorted(path.name for path in BUNDLED.iterdir()))
def test_a_bundled_capture_is_a_whole_snapshot(name):
    source, capture = source_of(name), snapshot.bundled(name)
    described = msgspec.to_builtins(capture.descriptor)
    assert_is_a_data_package(described)
    assert described["name"] == name
    assert capture.origin == "bundled"
    assert date.fromisoformat(described["as_of"]) < date(2020, 1, 1)
    assert "npm package" in described["description"]
    assert described["licenses"][0]["title"] == source.licence
    assert described["sources"][0]["title"] == source.publisher
    if source.as_of:
        assert described["as_of"] == source.as_of
    prints = {}
    for entry, file in zip(described["resources"], capture.files, strict=True):
        assert entry["url"].startswith("https://cdn.jsdelivr.net/npm/")
        checks.check(file, source.kind, "", final_newline=source.final_newline)
        whole = hashlib.sha256(file.read_bytes()).hexdigest()
        prints[entry["path"]] = (
            of_json(file.read_bytes(), source.volatile, "") if source.volatile else whole
        )
        assert entry["content"] == prints[entry["path"]]
    assert capture.content == fingerprint_of(prints)


@pytest.mark.parametrize("name", settings.sources())
def test_an_api_script_is_short(name):
    assert 15 <= len((ROOT / "api" / f"{name}.py").read_text().splitlines()) <= 40


def test_bundled_files_are_legible(tmp_path):
    strikes = BUNDLED / "faa_wildlife_strikes" / "birdstrikes.csv"
    receipt = delimited.write_csv(strikes, tmp_path / "s.csv", final_newline=False)
    assert (receipt.rows, receipt.columns[12]) == (10_000, "Cost_Total_$")
    receipt = delimited.write_csv(BUNDLED / "faa_airports" / "airports.csv", tmp_path / "a.csv")
    assert receipt.rows == 3376
    rates = BUNDLED / "bls_unemployment" / "unemployment.tsv"
    receipt = delimited.write_csv(
        rates, tmp_path / "u.csv", delimiter="\t", quote=None, final_newline=False
    )
    assert receipt.columns == ["id", "rate"]
    assert (tmp_path / "u.csv").read_bytes() == rates.read_bytes().replace(b"\t", b",")


def test_bundled_earthquakes_arrive_as_sent(tmp_path):
    raw = BUNDLED / "usgs_earthquakes" / "earthquakes.json"
    receipt = geojson.write_csv(raw, tmp_path / "out.csv")
    found = json.loads(raw.read_bytes(), parse_float=str, parse_int=str)["features"]
    assert receipt.rows == len(found) == 1707
    with (tmp_path / "out.csv").open(newline="") as file:
        for row, sent in zip(csv.DictReader(file, strict=True), found, strict=True):
            assert row["feature_id"] == sent["id"]
            for name, value in sent["properties"].items():
                assert row[name] == ("" if value is None else value)
            assert json.loads(row["geometry"], parse_float=str, parse_int=str) == sent["geometry"]


def without_flat_rings(shape: dict) -> dict:
    """The shape as GDAL reads it, which drops rings of two or three points."""
    polygons = [shape["coordinates"]] if shape["type"] == "Polygon" else shape["coordinates"]
    drawn = [[ring for ring in rings if len(set(map(tuple, ring))) > 2] for rings in polygons]
    drawn = [rings for rings in drawn if rings]
    coordinates = (drawn or [[]])[0] if shape["type"] == "Polygon" else drawn
    return {"type": shape["type"], "coordinates": coordinates}


def test_bundled_counties_are_equal_to_what_gdal_reads(tmp_path):
    import pyogrio
    import shapely

    csv.field_size_limit(sys.maxsize)
    receipt = topojson.write_csv(COUNTIES, tmp_path / "ours.csv", object_name="counties")
    with (tmp_path / "ours.csv").open(newline="") as file:
        ours = {row["feature_id"]: row for row in csv.DictReader(file, strict=True)}
    theirs = pyogrio.read_dataframe(COUNTIES, layer="counties").set_index("id")
    assert receipt.rows == len(ours) == len(theirs) == 3231
    assert receipt.columns == ["feature_id", "name", "geometry"]
    assert set(ours) == set(theirs.index)
    kinds = Counter()
    for county_id, row in ours.items():
        shape, expected = json.loads(row["geometry"]), theirs.geometry[county_id]
        kinds[shape["type"]] += 1
        assert shape["type"] == expected.geom_type
        assert row["name"] == theirs.name[county_id]
        drawn = shapely.from_geojson(json.dumps(without_flat_rings(shape)))
        assert shapely.equals_exact(drawn, expected, 0), county_id
    assert receipt.notes == {"rings of two or three points, closed and kept": 22}
    assert kinds["MultiPolygon"] > 100
    assert "04015" in ours  # a code keeps its leading zero


@pytest.mark.parametrize("at", range(8))
@pytest.mark.parametrize("value", [b"x", b"", b"0.5", b"GU"])
def test_a_new_column_anywhere_leaves_the_fix_of_airports_as_it_is(at, value, tmp_path):
    script = runpy.run_path(str(ROOT / "preprocess" / "faa_airports.py"))
    folder = tmp_path / "faa_airports"
    folder.mkdir()
    raw = folder / "airports.csv"
    rows = (BUNDLED / "faa_airports" / "airports.csv").read_bytes().splitlines()
    header, wide = rows[0], [row for row in rows[1:] if row.count(b",") == 6 and b'"' not in row]
    lines = [b"new" if n == 0 else value for n in range(len(wide) + 1)]
    cut = [row.split(b",") for row in (header, *wide)]
    for row, new in zip(cut, lines, strict=True):
        row.insert(at, new)
    raw.write_bytes(b"".join(b",".join(row) + b"\n" for row in cut))
    taken = SimpleNamespace(source="faa_airports", file=raw)
    legible = script["make_legible"](taken, tmp_path / "out.csv")
    assert legible.notes["longitudes moved from west to east"] == 5
    assert legible.rows == len(wide)
    assert b",-14" not in b"".join(
        row for row in (tmp_path / "out.csv").read_bytes().splitlines() if b",CQ," in row
    )


def test_no_fix_is_described_of_a_missing_source():
    assert {source for source, _ in described_here()} <= set(settings.sources())
