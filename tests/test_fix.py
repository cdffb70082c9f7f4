"""Counted fixes, and their tie to CHANGELOG.md."""

import ast
import re

import pytest

from pipeline import delimited, fix
from pipeline.errors import SourceError
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


@pytest.mark.parametrize(("pattern", "touched"), [(rb"nowhere", 0), (rb"pipe", 2), (rb"^", 5)])
def test_a_fix_refuses_another_count_than_expected(raw, tmp_path, pattern, touched):
    words = f"some_source/raw.csv: the fix 'pipes' touches {touched} lines; 3 were expected"
    with pytest.raises(SourceError, match=words):
        fix.lines(raw, tmp_path / "o", name="pipes", expected=3, pattern=pattern, replacement=b"")


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


def fixes_told(changelog: str) -> list[tuple[str, str]]:
    """The fixes that stand in a changelog under "Fixed in the data": source and name."""
    sections = re.findall(r"^### Fixed in the data\n(.*?)(?=^#|\Z)", changelog, re.M | re.S)
    return re.findall(r"^- ([^:\n]+): ([^:\n]+): ", "\n".join(sections), re.M)


def test_both_lists_are_read():
    code = "from pipeline import fix\nfix.lines(a, b, name='inches', expected=2)\nother(name='x')\n"
    assert fixes_in("storms", code) == [("storms", "inches")]
    with pytest.raises(AssertionError, match="plain name"):
        fixes_in("storms", "fix.lines(a, b, name=name, expected=2)")
    log = (
        "# Changelog\n\n## 2\n\n### Fixed in the data\n\n- storms: inches: a bare quote, 2 rows\n\n"
        "### Pipeline\n\n- load: faster: no fix\n\n## 1\n\n### Fixed in the data\n\n- a: b: c\n"
    )
    assert fixes_told(log) == [("storms", "inches"), ("a", "b")]
    assert fixes_told("") == []


def test_every_fix_is_told_and_every_fix_told_is_applied():
    """A fix that is no longer needed takes its line along."""
    scripts = [path for path in (ROOT / "preprocess").glob("*.py") if path.stem[:5] != "test_"]
    applied = [each for path in scripts for each in fixes_in(path.stem, path.read_text())]
    changelog = ROOT / "CHANGELOG.md"
    told = fixes_told(changelog.read_text() if changelog.is_file() else "")
    assert sorted(applied) == sorted(told)
