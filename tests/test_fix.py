"""Counted fixes, and their lines in CHANGELOG.md."""

import ast
import gzip
import random
import re

import pytest

from pipeline import compressed
from pipeline.errors import SourceError
from pipeline.formats import delimited, fix, geojson
from pipeline.settings import ROOT


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "some_source"
    folder.mkdir()
    path = folder / "raw.csv"
    path.write_bytes(b'a,b\r\n1,6" pipe\r\n2,x\r\n3,7" pipe\r\nTotal: 3 rows\r\n')
    return path


def test_a_fix_makes_a_raw_file_legible(raw, tmp_path):
    whole, repaired = tmp_path / "whole", tmp_path / "some_source" / "repaired"
    inches = rb',(\d+)" pipe$'
    options = {"name": "inches", "expected": 2, "pattern": inches, "replacement": rb',"\1"" pipe"'}
    assert fix.lines(raw, whole, **options) == 2
    options = {"name": "footer", "expected": 1, "pattern": rb"^Total: ", "replacement": None}
    assert fix.lines(whole, repaired, **options) == 1
    receipt = delimited.write_csv(repaired, tmp_path / "out.csv")
    assert receipt.rows == 3
    expected = b'a,b\r\n1,"6"" pipe"\r\n2,x\r\n3,"7"" pipe"\r\n'
    assert (tmp_path / "out.csv").read_bytes() == expected
    assert raw.read_bytes().endswith(b"Total: 3 rows\r\n")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_lines_are_lines_however_they_end(raw, tmp_path, end, suffix):
    """A file whose lines end in CR alone is not one line."""
    body = raw.read_bytes().replace(b"\r\n", end) * 20_000
    named = raw.with_name(f"raw.csv{suffix}")
    named.write_bytes(gzip.compress(body, 1) if suffix else body)
    options = {"name": "inches", "expected": 40_000, "replacement": rb",\1 in"}
    repaired = tmp_path / "repaired"
    assert fix.lines(named, repaired, pattern=rb',(\d+)" pipe$', **options) == 40_000
    assert repaired.read_bytes() == body.replace(b'" pipe', b" in")


@pytest.mark.parametrize(("pattern", "touched"), [(rb"nowhere", 0), (rb"pipe", 2), (rb"^", 5)])
def test_a_fix_refuses_another_count_than_expected(raw, tmp_path, pattern, touched):
    message = f"some_source/raw.csv: the fix 'pipes' changes {touched} lines; 3 were expected"
    with pytest.raises(SourceError, match=message):
        fix.lines(raw, tmp_path / "o", name="pipes", expected=3, pattern=pattern, replacement=b"")


HABITS = [  # what is expected, and whether 2 of 5 lines satisfy it
    ({"expected": (1, 3)}, True),
    ({"expected": (2, 2)}, True),
    ({"expected": (0, 2)}, True),
    ({"expected": (3, 9)}, False),
    ({"expected": (0, 1)}, False),
    ({"share": (0.4, 0.4)}, True),
    ({"share": (0.01, 0.5)}, True),
    ({"share": (0.0, 0.3)}, False),
    ({"share": (0.5, 1.0)}, False),
]


@pytest.mark.parametrize(("declared", "fits"), HABITS)
def test_a_fix_may_declare_a_range_or_a_share(raw, tmp_path, declared, fits):
    options = {"name": "pipes", "pattern": rb"pipe", "replacement": b"", **declared}
    if fits:
        assert fix.lines(raw, tmp_path / "o", **options) == 2
        return
    with pytest.raises(SourceError, match=r"the fix 'pipes' changes 2 lines.* were expected"):
        fix.lines(raw, tmp_path / "o", **options)


@pytest.mark.parametrize("declared", [{}, {"expected": 2, "share": (0.1, 0.5)}])
def test_a_fix_declares_one_of_them(raw, tmp_path, declared):
    with pytest.raises(ValueError, match="either expected= or share="):
        fix.lines(raw, tmp_path / "o", name="x", pattern=b"x", replacement=b"", **declared)


def test_a_fix_reaches_line_ends(tmp_path):
    """The remedy of the scan for a file with two kinds of line ends works."""
    folder = tmp_path / "some_source"
    folder.mkdir()
    (folder / "raw.csv").write_bytes(b'a,b\r\n3,4\r\n1,2\n5,"6\n7"\r\n')
    with pytest.raises(SourceError, match=r"line 3: a line that ends with LF.*line_ends=True"):
        delimited.write_csv(folder / "raw.csv", tmp_path / "o")
    options = {"pattern": rb"^(\d,\d)\n$", "replacement": rb"\1\r\n", "line_ends": True}
    fix.lines(folder / "raw.csv", folder / "o", name="line ends", expected=1, **options)
    assert (folder / "o").read_bytes() == b'a,b\r\n3,4\r\n1,2\r\n5,"6\n7"\r\n'
    assert delimited.write_csv(folder / "o", tmp_path / "o").rows == 3


def test_a_fix_makes_nan_in_geojson_null(tmp_path):
    folder = tmp_path / "some_source"
    folder.mkdir()
    member = '{"type":"Feature","properties":{"a":%s,"b":"NaN:NaN"},"geometry":null}'
    members = ",".join(member % value for value in ("NaN", "1", "NaN"))
    (folder / "raw").write_text(f'{{"type":"FeatureCollection","features":[{members}]}}')
    options = {"pattern": rb'(?<=":)NaN\b', "replacement": b"null", "matches": True}
    repaired = folder / "repaired"
    assert fix.lines(folder / "raw", repaired, name="NaN", expected=(1, 9), **options) == 2
    assert geojson.write_csv(repaired, tmp_path / "o").rows == 3
    assert (tmp_path / "o").read_bytes().count(b"NaN:NaN") == 3


def test_a_fix_reads_what_is_packed_and_lines_that_no_block_holds(tmp_path):
    source = random.Random(4)
    folder = tmp_path / "some_source"
    folder.mkdir()
    plain, packed = folder / "raw.csv", folder / "raw.csv.gz"
    for _ in range(5):
        rows = [b"x" * source.choice([0, 5, 3 << 20]) + b"bad\r" for _ in range(6)]
        text = b"\n".join(rows) + source.choice([b"", b"\n"])
        plain.write_bytes(text)
        packed.write_bytes(gzip.compress(text, 1))
        options = {"name": "bad", "expected": 6, "pattern": rb"x?bad$", "replacement": b"good"}
        fix.lines(plain, folder / "a.csv", **options)
        fix.lines(packed, folder / "b.csv.gz", **options)
        assert (folder / "a.csv").read_bytes() == re.sub(rb"x?bad", b"good", text)
        assert b"".join(compressed.blocks(folder / "b.csv.gz")) == (folder / "a.csv").read_bytes()


def fixes_in(source: str, code: str) -> list[tuple[str, str]]:
    """The fixes that a preprocess script applies: source and name."""
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    applied = [call for call in calls if ast.unparse(call.func) in ("fix.lines", "lines")]
    found = []
    for call in applied:
        names = [keyword.value for keyword in call.keywords if keyword.arg == "name"]
        assert names and isinstance(names[0], ast.Constant), f"{source}: a fix needs a plain name"
        found.append((source, names[0].value))
    return found


def fixes_described(changelog: str) -> list[tuple[str, str]]:
    """The fixes in a changelog under "Fixed in the data": source and name."""
    sections = re.findall(r"^### Fixed in the data\n(.*?)(?=^#|\Z)", changelog, re.M | re.S)
    return re.findall(r"^- ([^:\n]+): ([^:\n]+): ", "\n".join(sections), re.M)


def test_both_lists_are_read():
    code = "from pipeline.formats import fix\nfix.lines(a, b, name='inches', expected=2)\n"
    code += "other(name='x')\n"
    assert fixes_in("storms", code) == [("storms", "inches")]
    with pytest.raises(AssertionError, match="plain name"):
        fixes_in("storms", "fix.lines(a, b, name=name, expected=2)")
    log = (
        "# Changelog\n\n## 2\n\n### Fixed in the data\n\n- storms: inches: a bare quote, 2 rows\n\n"
        "### Pipeline\n\n- load: faster: no fix\n\n## 1\n\n### Fixed in the data\n\n- a: b: c\n"
    )
    assert fixes_described(log) == [("storms", "inches"), ("a", "b")]
    assert fixes_described("") == []


def described_here() -> list[tuple[str, str]]:
    """The fixes that this project's changelog describes."""
    changelog = ROOT / "CHANGELOG.md"
    return fixes_described(changelog.read_text() if changelog.is_file() else "")


def test_every_fix_is_told_and_every_fix_told_is_applied():
    """Each fix has its line in the changelog, and no line of a source is left without a fix."""
    scripts = [path for path in (ROOT / "preprocess").glob("*.py") if path.stem[:5] != "test_"]
    applied = [each for path in scripts for each in fixes_in(path.stem, path.read_text())]
    sources = {path.stem for path in scripts}
    assert sorted(applied) == sorted(fix for fix in described_here() if fix[0] in sources)


@pytest.mark.parametrize("size", [1, 2, 3, 64])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_are_the_same_in_blocks_of_any_size(tmp_path, monkeypatch, size, end):
    """The first block of a gzip stream may contain only the header."""
    lines = [b"a,b" + end, b"1," + end, end, b'"x",2' + end, b"3,4"]
    raw = tmp_path / "raw.csv"
    raw.write_bytes(b"".join(lines))
    monkeypatch.setattr(
        fix.compressed, "blocks", lambda path, _: in_blocks(path.read_bytes(), size)
    )
    assert list(fix._lines(raw)) == lines


def in_blocks(data: bytes, size: int):
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.mark.parametrize(
    ("given", "is_one"),
    [
        ({"expected": 0}, True),
        ({"expected": (0, 9)}, True),
        ({"expected": [1, 1]}, True),
        ({"share": (0, 1)}, True),
        ({"share": (0.5, 0.5)}, True),
        ({"share": (0, 40), "matches": True}, True),
        ({"expected": -1}, False),
        ({"expected": (9, 2)}, False),
        ({"expected": (1, 2, 3)}, False),
        ({"expected": (-1, 2)}, False),
        ({"expected": "2"}, False),
        ({"share": 0.5}, False),
        ({"share": 1}, False),
        ({"share": (0.02, 0.001)}, False),
        ({"share": (1, 40)}, False),  # percent
        ({"share": ("0", "1")}, False),
    ],
)
def test_a_range_that_no_file_could_meet_is_an_error_of_the_script(raw, given, is_one):
    options = {"name": "n", "pattern": rb"^", "replacement": b""} | given
    try:
        fix.lines(raw, raw.with_name("repaired"), **options)
    except ValueError as error:
        assert not is_one and "the fix 'n': expected= is" in str(error)
    except SourceError:
        assert is_one
    else:
        assert is_one
