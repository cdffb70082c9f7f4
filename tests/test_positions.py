"""Coordinates that are not longitude and latitude: refused or counted, in every geometry."""

import json
import random
from collections import Counter

import pytest

from pipeline.errors import SourceError
from pipeline.formats import geojson, positions

KINDS = list(positions.DEPTHS)
WRONG = {  # a position, as JSON
    "feet": "[2345678.9, 567890.1]",
    "Web Mercator": "[-8234567.0, 4975000.0]",
    "swapped axes": "[40.7, -100.2]",
    "a longitude too far": "[-180.0000001, 0]",
    "a latitude too far": "[0, 90.0000001]",
    "beyond any float": "[1e400, 0]",
    "in quotes and too far": '["-8234567.0", "4975000.0"]',
    "a text": '["north", "east"]',
    "a text of NaN": '["NaN", "NaN"]',
    "true": "[true, false]",
    "an object": '[{"x": 1}, 2]',
    "one number": "[1]",
    "a hexadecimal number": '["0x10", "1"]',
}
RIGHT = {  # a position, as JSON, and the note
    "at the antimeridian": ("[180, -90, 12.5]", ""),
    "west of all": ("[-180.0, 90]", ""),
    "in quotes": ('["-74.006", " 40.7 "]', "positions with a number in quotes"),
    "null": ("[null, null]", "positions with a null"),
}
TRIANGLE = "[[1, 2], [3, 4], %s, [1, 2]]"
INSIDE = {
    "Point": "%s",
    "MultiPoint": "[[1, 2], %s]",
    "LineString": "[[1, 2], %s, [3, 4]]",
    "MultiLineString": "[[[1, 2], [3, 4]], [[1, 2], %s]]",
    "Polygon": f"[[[0, 0], [0, 1], [1, 1], [0, 0]], {TRIANGLE}]",
    "MultiPolygon": f"[[[[0, 0], [0, 1], [1, 1], [0, 0]]], [{TRIANGLE}]]",
}


def a_geometry(kind: str, position: str) -> str:
    return f'{{"type":"{kind}","coordinates":{INSIDE[kind] % position}}}'


def in_collections(geometry: str, depth: int) -> str:
    for _ in range(depth):
        geometry = f'{{"type":"GeometryCollection","geometries":[{geometry}]}}'
    return geometry


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "some_source"
    folder.mkdir()

    def make(*geometries: str, **options):
        features = (f'{{"type":"Feature","geometry":{each}}}' for each in geometries)
        text = f'{{"type":"FeatureCollection","features":[{",".join(features)}]}}'
        (folder / "raw.geojson").write_text(text)
        return geojson.write_csv(folder / "raw.geojson", tmp_path / "out.csv", **options)

    return make


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_longitude_and_latitude_is_refused(name, kind, made):
    for depth in (0, 2):
        wrong = in_collections(a_geometry(kind, WRONG[name]), depth)
        with pytest.raises(SourceError, match=r"some_source/raw.geojson, feature 2: .*position"):
            made(a_geometry("Point", "[1, 2]"), wrong)
    made(a_geometry(kind, WRONG[name]), bounds=None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", RIGHT)
def test_what_is_odd_is_counted(name, kind, made):
    position, note = RIGHT[name]
    found = made(a_geometry(kind, position)).notes
    assert found == {"features without an id": 1} | ({note: 1} if note else {})


def test_rings_that_are_not_closed_are_counted(made):
    ring, left_open = "[[0,0],[0,1],[1,1],[0,0]]", "[[0,0],[0,1],[1,1]]"
    polygon = f'{{"type":"Polygon","coordinates":[{ring},{left_open}]}}'
    several = f'{{"type":"MultiPolygon","coordinates":[[{left_open}],[{ring}],[{left_open}]]}}'
    assert made(polygon, several, "null").notes["rings that are not closed, kept as they came"] == 3


@pytest.mark.parametrize("empty", ["[]", "null", "[[]]"])
def test_an_empty_geometry_has_no_position(empty, made):
    assert made(f'{{"type":"Polygon","coordinates":{empty}}}').rows == 1
    assert made('{"type":"GeometryCollection","geometries":[]}').rows == 1


def test_other_bounds_may_be_declared(made):
    assert made(a_geometry("Point", "[190, 10]"), bounds=(-360, -90, 360, 90)).rows == 1
    with pytest.raises(SourceError, match="within -125 to -66 and 24 to 50 degrees"):
        made(a_geometry("Point", "[40.7, -74.0]"), bounds=(-125, 24, -66, 50))


def test_random_geometries_are_judged_as_a_walk_through_their_numbers_says():
    source = random.Random(11)

    longitudes, latitudes = (-181, -180, 0, 91.5, 180), (-91, -90, 0, 90, 5.5)

    def positions_in(depth):
        if not depth:
            return [source.choice(longitudes), source.choice(latitudes)]
        return [positions_in(depth - 1) for _ in range(source.randint(0, 2))]

    def walked(part):
        if part and not isinstance(part[0], list):
            return [part]
        return [position for each in part for position in walked(each)]

    seen = Counter()
    for _ in range(3000):
        kind = source.choice(KINDS)
        coordinates = positions_in(positions.DEPTHS[kind])
        right = all(-180 <= x <= 180 and -90 <= y <= 90 for x, y in walked(coordinates))
        text = json.dumps({"type": kind, "coordinates": coordinates}).encode()
        try:
            positions.check(text, positions.EARTH, "here", Counter())
            seen[True] += 1
            assert right, text
        except SourceError:
            seen[False] += 1
            assert not right, text
    assert min(seen.values()) > 300


@pytest.mark.parametrize("kind", ['"point"', '"Curve"', '"Feature"', "null", "7", '"polygon"'])
@pytest.mark.parametrize("depth", range(4))
def test_a_geometry_of_an_unknown_kind_has_no_position_elsewhere_either(made, kind, depth):
    for position, is_right in (("[1, 2]", True), ("[2345678.9, 567890.1]", False)):
        coordinates = "[" * depth + position + "]" * depth
        geometry = f'{{"type": {kind}, "coordinates": {coordinates}}}'
        if is_right:
            assert made(geometry).notes["geometries of an unknown kind, kept as they came"] == 1
        else:
            with pytest.raises(SourceError, match="not a longitude and a latitude"):
                made(geometry)
