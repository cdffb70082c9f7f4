"""GeoJSON to CSV: what stays unchanged, and what is refused."""

import csv
import hashlib
import json
from pathlib import Path

import pytest

from pipeline.errors import SourceError
from pipeline.formats import features, geojson

CAPTURES = Path(__file__).resolve().parents[2] / "shared" / "captures"
POINT = '{"type":"Point","coordinates":[1.10,2]}'


@pytest.fixture
def made(tmp_path):
    """Write documents as files of a source, convert them, return receipt and result."""

    def make(*documents: str | bytes, **options):
        folder = tmp_path / "some_source"
        folder.mkdir(exist_ok=True)
        paths = [folder / f"{number}.json" for number in range(len(documents))]
        for path, document in zip(paths, documents, strict=True):
            path.write_bytes(document if isinstance(document, bytes) else document.encode())
        output = tmp_path / "out.csv"
        receipt = geojson.write_csv(paths if len(paths) > 1 else paths[0], output, **options)
        written = output.read_bytes()
        assert receipt.sha256 == hashlib.sha256(written).hexdigest()
        assert receipt.bytes == len(written)
        return receipt, written

    return make


def feature(properties: str = "{}", geometry: str = POINT, more: str = "") -> str:
    return f'{{"type":"Feature","properties":{properties},"geometry":{geometry}{more}}}'


def collection(*members: str, more: str = "") -> str:
    return f'{{"type":"FeatureCollection","features":[{",".join(members)}]{more}}}'


def rows(written: bytes) -> list[list[str]]:
    return list(csv.reader(written.decode().splitlines(keepends=True), strict=True))


def test_numbers_and_nested_values_arrive_as_sent(made):
    values = '{"a":1.10,"b":01e5,"c":[1.0, {"x":"\\u00e9"}],"d":1e400,"e":-0,"f":true}'
    receipt, written = made(collection(feature(values.replace("01e5", "1E+05"), more=',"id":7.0')))
    assert receipt.columns == ["feature_id", "a", "b", "c", "d", "e", "f", "geometry"]
    expected = ["7.0", "1.10", "1E+05", '[1.0, {"x":"\\u00e9"}]', "1e400", "-0", "true", POINT]
    assert rows(written)[1] == expected


def test_null_missing_and_empty_text_are_told_apart(made):
    receipt, written = made(
        collection(
            feature('{"a":null,"b":""}', "null", ',"id":""'),
            feature('{"b":"null"}', more=',"id":null'),
            feature("null", more=',"id":"01"'),
            '{"type":"Feature"}',
        )
    )
    geometry = '"' + POINT.replace('"', '""') + '"'
    assert written.decode().splitlines() == [
        "feature_id,a,b,geometry",
        '"",,"",',
        f',,"null",{geometry}',
        f'"01",,,{geometry}',
        ",,,",
    ]
    assert receipt.notes == {"features without an id": 2, "features without a geometry": 2}


def test_columns_are_the_union_in_the_order_first_met(made):
    receipt, written = made(
        collection(feature('{"b":1}'), feature('{"a":2,"b":3}')),
        collection(feature('{"c":4}')),
        properties=["z"],
    )
    assert receipt.columns == ["feature_id", "z", "b", "a", "c", "geometry"]
    assert [row[1:-1] for row in rows(written)[1:]] == [
        ["", "1", "", ""],
        ["", "3", "2", ""],
        ["", "", "", "4"],
    ]
    assert receipt.rows == 3


NAUGHTY = [
    *(
        "\\N",
        "\\.",
        "\\",
        '\\"',
        "a\nb",
        "a\r\nb",
        "\r",
        "\x01\x1b[31m",
        "\x7f",
        "\u2028",
        "\ufeff",
    ),
    *("\u202eabc", "👩‍👩‍👧", "ﷺ", '"', "a,b", "'", " ", "=1+1", "null", "{", "[1", "/"),
]


@pytest.mark.parametrize("chunk", [1, 2 << 20], ids=["a row at a time", "one chunk"])
@pytest.mark.parametrize("escaped", [True, False])
def test_naughty_strings_come_back_unchanged(made, escaped, chunk, monkeypatch):
    monkeypatch.setattr(features, "CHUNK", chunk)
    document = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "id": text, "properties": {"s": text}, "geometry": {text: [text]}}
            for text in NAUGHTY
        ],
    }
    written = made(json.dumps(document, ensure_ascii=escaped))[1]
    found = rows(written)[1:]
    assert [row[0] for row in found] == [row[1] for row in found] == NAUGHTY
    assert [json.loads(row[2]) for row in found] == [{text: [text]} for text in NAUGHTY]


def test_white_space_in_names_becomes_underscores_and_rename_settles_a_clash(made):
    properties = '{" a  b\\n":1,"geometry":2,"feature_id":3,"xmin":4}'
    rename = {"geometry": "geometry_kind", "feature_id": "own_id", "xmin": "west"}
    receipt = made(collection(feature(properties)), rename=rename)[0]
    assert receipt.columns == [
        *("feature_id", "a_b", "geometry_kind", "own_id", "west", "geometry")
    ]


def test_pretty_printed_documents_and_strings_like_members_are_read(made):
    document = json.loads(collection(feature('{"a":"\\":","b":{"c":{"d":"e"}}}'), more=',"x":[1]'))
    receipt = made(json.dumps(document, indent=2, separators=(",", " \n: ")))[0]
    assert receipt.rows == 1
    assert receipt.notes == {"features without an id": 1}
    assert rows(made(json.dumps(document))[1])[1][1] == '":'


def test_foreign_members_are_noted(made):
    receipt = made(collection(feature(more=',"bbox":[1,2,3,4]'), feature()))[0]
    assert receipt.notes == {"features without an id": 2, "member bbox left out": 1}


@pytest.mark.parametrize("name", ["urn:ogc:def:crs:OGC:1.3:CRS84", "EPSG:4326"])
def test_wgs84_may_be_declared(made, name):
    crs = f',"crs":{{"type":"name","properties":{{"name":"{name}"}}}}'
    assert made(collection(feature(), more=crs))[0].rows == 1


def test_a_byte_order_mark_is_passed_over(made):
    written = made(collection(feature('{"a":1}')))[1]
    assert made("\ufeff" + collection(feature('{"a":1}')))[1] == written


def test_no_features_are_no_rows(made):
    receipt, written = made(collection(), properties=["a"])
    assert (receipt.rows, written) == (0, b"feature_id,a,geometry\n")


def test_too_large_a_document_is_refused(made, monkeypatch):
    monkeypatch.setattr("pipeline.formats.strict_json.MAX_BYTES", 10)
    with pytest.raises(SourceError, match=r"some_source/0.json: over 0 GiB"):
        made(collection(feature()))


GOOD = collection(feature('{"a":1}'))
# What is refused: the document, and texts in the error beside the file's name.
REFUSED = {
    "an HTML page": ("\n<!DOCTYPE html>", ["an HTML page instead of JSON"]),
    "an empty file": ("", ["an empty file"]),
    "an error in JSON": ('{"error":{"code":400}}', ["not a FeatureCollection", "400"]),
    "a list": ("[1]", ["Expected `object`"]),
    "a Feature alone": (feature(), ["not a FeatureCollection"]),
    "features null": ('{"type":"FeatureCollection","features":null}', ["features", "array"]),
    "features missing": ('{"type":"FeatureCollection"}', ["features", "array"]),
    "cut": (GOOD[:-2], ["truncated"]),
    "glued": (GOOD + GOOD, ["trailing characters"]),
    "NaN": (collection(feature('{"a":NaN}')), ["malformed", "NaN", "fix.lines"]),
    "Infinity in a geometry": (collection(feature(geometry="[-Infinity]")), ["malformed"]),
    "a leading zero": (collection(feature('{"a":01}')), ["malformed"]),
    "a comment": (collection(feature("{/**/}")), ["malformed"]),
    "a trailing comma": (collection(feature('{"a":1,}')), ["trailing comma"]),
    "a byte order mark inside": (GOOD[:1] + "\ufeff" + GOOD[1:], ["malformed"]),
    "latin-1": (GOOD.replace("a", "\xe9").encode("latin-1"), ["line 1, byte", "0xe9", "UTF-8"]),
    "UTF-16": (GOOD.encode("utf-16"), ["UTF-16, but JSON is UTF-8"]),
    "a bare control character": (collection(feature('{"a":"\x01"}')), ["malformed"]),
    "a bad escape": (collection(feature('{"a":"\\x"}')), ["malformed"]),
    "a lone surrogate": (collection(feature('{"a":"\\ud800"}')), ["0.json"]),
    "a lone low surrogate": (collection(feature('{"a":"\\udc00 "}')), ["0.json"]),
    "a NUL": (
        collection(feature('{"a":1}'), feature('{"a":"x\\u0000"}')),
        ["feature 2, a: a NUL"],
    ),
    "a NUL in an id": (collection(feature(more=',"id":"\\u0000"')), ["1, feature_id: a NUL"]),
    "a NUL in a name": (collection(feature('{"a\\u0000":1}')), ["unprintable"]),
    "an end of COPY": (collection(feature('{"a":"x\\n\\\\.\\ny"}')), [r"line 3", r"a line \."]),
    "too deep": (collection(feature('{"a":' + "[" * 100_000 + "]" * 100_000 + "}")), ["too deep"]),
    "a property twice": (collection(feature('{"a":1,"a":2}')), ["feature 1: two members", "'a'"]),
    "a nested member twice": (collection(feature('{"a":{"b":1,"b":2}}')), ["two members", "'b'"]),
    "a geometry's member twice": (
        collection(feature(geometry='{"type":"Point","type":"x","coordinates":[1,2]}')),
        ["feature 1: two members are called 'type'"],
    ),
    "an id twice": (collection(feature(more=',"id":1,"id":2')), ["feature 1: two members"]),
    "features twice": (
        collection(feature(), more=f',"features":[{feature()}]'),
        ["0.json: two members are called 'features'"],
    ),
    "hidden behind white space": (collection(feature('{"a" :1,"a"\n:2}')), ["two members"]),
    "another type": (collection('{"type":"Point","coordinates":[1,2]}'), ["feature 1: Invalid"]),
    "no object": (collection("null"), ["feature 1"]),
    "properties a list": (collection(feature("[1]")), ["feature 1"]),
    "a geometry that is text": (collection(feature(geometry='"POINT(1 2)"')), ["feature 1"]),
    "an id that is a list": (collection(feature(more=',"id":[1]')), ["feature 1: an id"]),
    "an id that is true": (collection(feature(more=',"id":true')), ["feature 1: an id"]),
    "Web Mercator": (
        collection(feature(), more=',"crs":{"type":"name","properties":{"name":"EPSG:3857"}}'),
        ["not WGS 84", "EPSG:3857"],
    ),
    "a CRS of null": (collection(feature(), more=',"crs":null'), ["not WGS 84"]),
    "a property called geometry": (collection(feature('{"geometry":1}')), ["'geometry'", "rename"]),
    "a property called feature_id": (collection(feature('{"feature_id":1}')), ["'feature_id'"]),
    "names alike": (collection(feature('{"a b":1,"a  b":2}')), ["two columns are called 'a_b'"]),
    "a long name": (collection(feature(f'{{"{"x" * 64}":1}}')), ["64 bytes", "rename="]),
    "a name that is empty": (collection(feature('{"":1}')), ["has no name"]),
    "a name PostgreSQL has": (collection(feature('{"xmax":1}')), ["'xmax'"]),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named_with_its_place(name, made):
    document, texts = REFUSED[name]
    with pytest.raises(SourceError) as refused:
        made(document)
    for text in ["some_source/0.json", *texts]:
        assert text in str(refused.value)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400


def test_a_fault_in_the_second_file_names_it(made):
    with pytest.raises(SourceError, match=r"some_source/1.json, feature 2"):
        made(GOOD, collection(feature(), feature('{"a":1,"a":2}')))


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures are not on this machine")
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("usgs/all_week_2023-08-04.geojson", 2124),
        ("nifc/wfigs_incident_locations_2025-01-20.geojson", 1340),
        ("nifc/perimeters_2025-01-20.geojson", 5),
        ("nws/alerts_active_zone_2019-12-20.json", 2),
    ],
)
def test_captures_are_legible(name, count, tmp_path):
    assert geojson.write_csv(CAPTURES / name, tmp_path / "out.csv").rows == count


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures are not on this machine")
def test_captures_that_are_no_data_are_refused(tmp_path):
    nothing = CAPTURES / "nifc" / "perimeters_2024-01-23.geojson"
    assert geojson.write_csv(nothing, tmp_path / "o").rows == 0
    with pytest.raises(SourceError, match="not a FeatureCollection"):
        geojson.write_csv(CAPTURES / "nifc" / "error_in_200.json", tmp_path / "o")


@pytest.mark.parametrize("text", ["\\u0085", "\\u009F", "\\\\\\u0092"])
def test_an_escaped_control_is_refused_at_any_depth(tmp_path, text):
    """A nested value stays JSON text, whose escapes are ASCII until a model decodes them."""
    for value in (f'"x{text}y"', f'{{"n": "x{text}"}}', f'[["{text}"]]', f'{{"{text}": 1}}'):
        path = tmp_path / "raw.geojson"
        feature = f'{{"type":"Feature","properties":{{"a":{value}}},"geometry":null}}'
        path.write_text(f'{{"type":"FeatureCollection","features":[{feature}]}}')
        with pytest.raises(SourceError, match=r"the control character U\+00[89]"):
            geojson.write_csv(path, tmp_path / "out.csv")
        path.write_text(path.read_text().replace(text, "\\\\u0085"))  # a backslash, and a text
        assert geojson.write_csv(path, tmp_path / "out.csv").rows == 1
