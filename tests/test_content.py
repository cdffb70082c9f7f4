"""What stage api accepts, so that stage preprocess can read or repair it."""

import json
import random

import msgspec
import pytest

from pipeline.connectors import arcgis_responses, fdsn, nws, paging
from pipeline.errors import SourceError, Transient
from pipeline.formats import lenient_json, strict_json
from pipeline.raw import checks, fingerprints

TEXT = "a,b\n1,é\n3,x\n"
ENDS = {  # encoding declared, the bytes; each ends its last line
    "UTF-8 with a mark": ("utf-8-sig", TEXT.encode("utf-8-sig")),
    "UTF-16": ("utf-16", TEXT.encode("utf-16")),
    "UTF-16, big-endian, marked": ("utf-16", b"\xfe\xff" + TEXT.encode("utf-16-be")),
    "UTF-16 without a mark": ("utf-16-le", TEXT.encode("utf-16-le")),
    "UTF-16, big-endian": ("utf-16-be", TEXT.encode("utf-16-be")),
    "UTF-16, not declared here": ("utf-8", TEXT.encode("utf-16")),
    "UTF-32": ("utf-32", TEXT.encode("utf-32")),
    "UTF-32, not declared here": ("utf-8", TEXT.encode("utf-32")),
    "latin-1": ("latin-1", TEXT.encode("latin-1")),
    "CR alone": ("utf-8", TEXT.replace("\n", "\r").encode()),
    "CR alone, LF in quotes": ("utf-8", b'a,b\r1,"x\ny"\r2,3\r'),
    "CR LF": ("utf-8", TEXT.replace("\n", "\r\n").encode()),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_last_line_end_is_known_in_every_encoding(name, tmp_path):
    encoding, raw = ENDS[name]
    path = tmp_path / "file.csv"
    path.write_bytes(raw)
    checks.check(path, "csv", "here", encoding=encoding)
    width = 4 if "32" in name else 2 if "16" in name else 1
    for cut in range(1, 2 * width + 1):
        path.write_bytes(raw[:-cut])
        with pytest.raises(Transient, match="the last line has no end"):
            checks.check(path, "csv", "here", encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize(("text", "message"), [("<html>\n", "a web page"), ('{"a":1}\n', "JSON")])
def test_what_is_no_table_is_told_in_every_encoding(encoding, text, message, tmp_path):
    path = tmp_path / "file.csv"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(SourceError, match=message):
        checks.check(path, "csv", "here", encoding=encoding)


def an_answer(value: str) -> bytes:
    feature = f'{{"type":"Feature","id":"7","properties":{{"key":"7","OID":7,"a":{value}}}}}'
    return f'{{"type":"FeatureCollection","features":[{feature}]}}'.encode()


READERS = {
    "the check": lambda path: checks.check(path, "geojson", "here"),
    "the fingerprint": lambda path: fingerprints.of_json(
        path.read_bytes(), ("metadata.generated",), path.name
    ),
    "a page": lambda path: paging.features(path, "here", "key", ("x",)),
    "an ArcGIS page": lambda path: arcgis_responses.page(
        path.read_bytes().replace(b'"id":"7",', b""), "OID", "here"
    ),
    "ArcGIS pages": lambda path: arcgis_responses.fingerprint([path]),
    "FDSN events": fdsn._events,
    "alerts": nws._alerts,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("value", ["NaN", "nan", "-.5", "[1, NaN]", '"NaN"', "1"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_what_preprocess_can_repair_passes_stage_api(reader, value, mark, tmp_path):
    path = tmp_path / "raw.geojson"
    path.write_bytes(mark + an_answer(value))
    READERS[reader](path)
    path.write_bytes(mark + an_answer("not so"))
    if reader in ("the check", "FDSN events"):
        with pytest.raises(SourceError):
            READERS[reader](path)


NO_VALUES = ["NaN", "nan", "-nan", "NAN", "+NaN", "nan(0x1)", "-nan(ind)", "Infinity", "-Infinity"]
NO_VALUES += [
    "+Infinity",
    "inf",
    "-inf",
    "INF",
    "1.#QNAN",
    "-1.#IND",
    "-1.#IND00",
    "1.#INF",
    ".5",
    "-.5",
]
NO_VALUES += ["1.", "-1.", "+1", "+1.5", "01", "-007", "1.e5", ".5E-3", "+.5"]
NO_VALUES += ["None", "undefined", "NULL", "True", "FALSE", "N/A", "#N/A"]


@pytest.mark.parametrize("value", NO_VALUES)
def test_a_value_in_the_words_of_another_language_is_one(value):
    for around in ('{"a":%s}', '{"a": %s , "b": 1}', "[%s]", "[1,%s,2]", '{"a":[1,\n%s]}'):
        sent = (around % value).encode()
        assert lenient_json.has_foreign_value(sent), sent
        assert bytes(lenient_json.decode(sent, msgspec.Raw)) == (around % f'"{value}"').encode()
        with pytest.raises(SourceError, match="not JSON values"):
            strict_json.decode(sent, msgspec.Raw, "here")


@pytest.mark.parametrize("value", ["not so", "nanny", "information", "1-1", "1,,2", "1.2.3", "--1"])
def test_what_is_no_value_anywhere_stays_refused(value):
    with pytest.raises(msgspec.DecodeError):
        lenient_json.decode(f'{{"a":{value}}}'.encode(), msgspec.Raw)


def test_no_value_of_json_is_taken_for_another():
    source = random.Random(4)
    for _ in range(2_000):
        number = source.choice([source.uniform(-1, 1), source.randint(-99, 99), 1e-300, 0, -0.0])
        sent = json.dumps([number, None, True, False, "nan", ",nan,"]).encode()
        assert not lenient_json.has_foreign_value(sent), sent


def test_numbers_that_json_lacks_are_found_outside_of_texts_alone():
    source = random.Random(3)
    texts = ["NaN", '"NaN', ':NaN,"', "\\", '\\"', "Infinity", "a\nNaN"]
    for _ in range(500):
        sent = {source.choice(texts): [source.choice([*texts, 1, 2.5, None])] for _ in range(4)}
        plain = json.dumps(sent)
        assert not lenient_json.has_foreign_value(plain.encode())
        broken = json.dumps(
            sent | {"n": [float("nan"), float("-inf")]}, indent=source.choice([None, 1])
        )
        found = lenient_json.decode(broken.encode(), dict)
        assert found == sent | {"n": ["NaN", "-Infinity"]}
    with pytest.raises(msgspec.DecodeError):
        lenient_json.decode(b'{"a": NaN', dict)
