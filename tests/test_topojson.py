"""TopoJSON with two squares made by hand."""

import csv
import json
import re
from pathlib import Path

import pytest

from pipeline.errors import SourceError
from pipeline.formats import topojson

# Two squares that share the arc 0; the second has a hole and an island and uses arc 0 in reverse.
SQUARES = {
    "type": "Topology",
    "transform": {"scale": [0.5, 0.1], "translate": [-10, 40]},
    "arcs": [
        [[2, 0], [0, 2]],
        [[2, 2], [-2, 0], [0, -2], [2, 0]],
        [[2, 0], [6, 0], [0, 2], [-6, 0]],
        [[4, 1], [1, 0], [0, 1], [-1, -1]],
        [[20, 20], [1, 0], [0, 1], [-1, -1]],
    ],
    "objects": {
        "squares": {
            "type": "GeometryCollection",
            "geometries": [
                {"type": "Polygon", "id": "01", "arcs": [[0, 1]], "properties": {"a b": 1.5}},
                {"type": "MultiPolygon", "id": 2, "arcs": [[[2, -1], [3]], [[4]]]},
                {"type": None, "properties": {"c": None}},
                {"type": "Point", "coordinates": [1, 1]},
                {"type": "MultiPoint", "coordinates": [[1, 1], [2, 2]]},
                {"type": "LineString", "arcs": [-1]},
                {"type": "MultiLineString", "arcs": [[0], [3]]},
            ],
        }
    },
}


def written(tmp_path: Path, topology: object, **options):
    folder = tmp_path / "some_source"
    folder.mkdir(exist_ok=True)
    raw = folder / "topology.json"
    raw.write_text(topology if isinstance(topology, str) else json.dumps(topology))
    receipt = topojson.write_csv(raw, tmp_path / "out.csv", object_name="squares", **options)
    with (tmp_path / "out.csv").open(newline="") as file:
        return receipt, list(csv.DictReader(file, strict=True))


def test_arcs_are_joined_and_run_backwards(tmp_path):
    receipt, rows = written(tmp_path, SQUARES)
    shapes = [json.loads(row["geometry"] or "null") for row in rows]
    assert receipt.columns == ["feature_id", "a_b", "c", "geometry"]
    assert [row["feature_id"] for row in rows[:3]] == ["01", "2", ""]
    assert rows[0]["a_b"] == "1.5"
    assert shapes[0]["coordinates"] == [
        [[-9.0, 40.0], [-9.0, 40.2], [-10.0, 40.2], [-10.0, 40.0], [-9.0, 40.0]]
    ]
    outer, hole = shapes[1]["coordinates"][0]
    assert outer[0] == outer[-1] == [-9.0, 40.0]
    assert outer[-2:] == [[-9.0, 40.2], [-9.0, 40.0]]
    assert len(hole) == len(shapes[1]["coordinates"][1][0]) == 4
    assert shapes[2] is None
    assert shapes[3] == {"type": "Point", "coordinates": [-9.5, 40.1]}
    assert shapes[4]["coordinates"] == [[-9.5, 40.1], [-9.0, 40.2]]
    assert shapes[5]["coordinates"] == [[-9.0, 40.2], [-9.0, 40.0]]
    assert [len(line) for line in shapes[6]["coordinates"]] == [2, 4]
    assert receipt.notes == {"features without an id": 5, "features without a geometry": 1}


REFUSED = {
    "an HTML page": ("<html>", "HTML"),
    "half a document": ('{"type":"Topology",', "truncated"),
    "GeoJSON": ({"type": "FeatureCollection", "features": []}, "Invalid value 'FeatureColl"),
    "a member twice": (
        '{"type":"Topology","arcs":[],"objects":{},"objects":{}}',
        "two members are called 'objects'",
    ),
    "no such object": (
        SQUARES | {"objects": {"states": {}}},
        "no object 'squares'; its obj",
    ),
    "an empty object": (
        SQUARES | {"objects": {"squares": {"type": "GeometryCollection", "geometries": []}}},
        "it has no geometry",
    ),
    "an arc too few": (
        SQUARES | {"arcs": SQUARES["arcs"][:3]},
        "geometry 2: arc 3 of 3 does not exist",
    ),
    "a ring left open": (
        SQUARES | {"arcs": [SQUARES["arcs"][0], [[2, 2], [-2, 0], [0, -2]], *SQUARES["arcs"][2:]]},
        "geometry 1: a ring of 4 points that is not closed",
    ),
    "arcs that do not meet": (
        SQUARES | {"arcs": [[[2, 0], [0, 3]], *SQUARES["arcs"][1:]]},
        "geometry 1: arc 1 does not begin where another ends",
    ),
    "another kind of geometry": (
        json.dumps(SQUARES).replace('"Point"', '"Circle"'),
        "geometry 4: a Circle",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named_with_its_place(name, tmp_path):
    topology, message = REFUSED[name]
    with pytest.raises(SourceError, match=f"some_source/topology.json.*{re.escape(message)}"):
        written(tmp_path, topology)
