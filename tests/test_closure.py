"""What counts as the code of a source: what its script imports, from file to file, and no more."""

import shutil

import pytest
from example_source import EXAMPLE

from pipeline.stages import closure, preprocess

TREE = {
    "pipeline/__init__.py": "",
    "pipeline/direct.py": "import pipeline.deep\n",
    "pipeline/deep.py": "def work():\n    from pipeline import lazy\n    return lazy\n",
    "pipeline/lazy.py": "from pipeline.branch.leaf import value\n",
    "pipeline/branch/__init__.py": "from . import sibling\n",
    "pipeline/branch/leaf.py": "from ..upper import value\n",
    "pipeline/branch/sibling.py": "",
    "pipeline/branch/cousin.py": "",
    "pipeline/upper.py": "import json, pipeline.comma\nvalue = 1\n",
    "pipeline/comma.py": "import pipeline.direct  # in a circle\n",
    "pipeline/wrapped.py": "",
    "pipeline/conditional.py": "",
    "pipeline/by_name.py": "",
    "pipeline/run_by_path.py": "",
    "pipeline/json.py": "",
    "pipeline/tested.py": "",
    "pipeline/fixture.py": "",
    "pipeline/night.py": "from pipeline import direct\n",
    "pipeline/text.py": "",
    "preprocess/alpha.py": '''"""See pipeline/text.py. One would write: import pipeline.text"""
from pathlib import Path
from pipeline import direct
from pipeline import (
    wrapped as other,
)
import helper
import importlib, runpy
try:
    import pipeline.conditional
except ImportError:
    pass
importlib.import_module("pipeline.by_name")
runpy.run_path("pipeline/run_by_path.py")
CODES = Path(__file__).with_name("codes.txt")
OWN = Path(__file__).with_suffix(".csv")
''',
    "preprocess/helper.py": "import together.inner\n",
    "preprocess/together/inner.py": "",
    "preprocess/together/other.py": "",
    "preprocess/test_alpha.py": "from pipeline import tested\n",
    "preprocess/conftest.py": "from pipeline import fixture\n",
    "preprocess/beta.py": "from pipeline import night\n",
    "preprocess/test_beta.py": "",
    "preprocess/codes.txt": "01\n",
    "preprocess/alpha.csv": "02\n",
    "preprocess/alpha/deeper/table.csv": "03\n",
    "preprocess/notes.txt": "04\n",
    "preprocess/__pycache__/alpha.pyc": "05\n",
    "preprocess/.codes.txt.swp": "06\n",
    "api/alpha.py": "",
    "load/alpha.sql": "",
}
COUNTS = """
pipeline/__init__.py pipeline/direct.py pipeline/deep.py pipeline/lazy.py
pipeline/branch/__init__.py pipeline/branch/leaf.py pipeline/branch/sibling.py pipeline/upper.py
pipeline/comma.py pipeline/wrapped.py pipeline/conditional.py pipeline/by_name.py
pipeline/run_by_path.py pipeline/tested.py pipeline/fixture.py preprocess/alpha.py
preprocess/helper.py preprocess/together/inner.py preprocess/test_alpha.py preprocess/conftest.py
preprocess/codes.txt preprocess/alpha.csv preprocess/alpha/deeper/table.csv
""".split()  # noqa: SIM905 - a name a line is no easier to read


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(preprocess, "ROOT", tmp_path)
    return tmp_path


def append(path, text):
    path.write_text(path.read_text() + text)


@pytest.mark.parametrize("name", TREE)
def test_a_file_counts_if_the_script_reaches_it(tree, name):
    before = preprocess.code_fingerprint("alpha")
    append(tree / name, "value = 2\n")
    assert (preprocess.code_fingerprint("alpha") != before) == (name in COUNTS)
    (tree / name).write_text(TREE[name])
    assert preprocess.code_fingerprint("alpha") == before
    (tree / name).unlink()
    assert (preprocess.code_fingerprint("alpha") != before) == (name in COUNTS)


@pytest.mark.parametrize(
    ("change", "counts"),
    {
        "\n\n\n": False,
        "# a remark\n": False,
        "# pipeline.night\n": False,
        "work = work\n": True,
        "def more():\n    '''What it does.'''\n": True,
        "import pipeline.text\n": True,
        "import json\n": True,
        "is it Python\n": True,
        "\0": True,
    }.items(),
)
def test_comments_and_layout_do_not_count(tree, change, counts):
    before = preprocess.code_fingerprint("alpha")
    append(tree / "pipeline/deep.py", change)
    assert (preprocess.code_fingerprint("alpha") != before) == counts


DOCUMENTED = {
    "of a module": "{}\nx = 1\n",
    "of a function": "def f():\n    {}\n    return 1\n",
    "of a class": "class A:\n    {}\n\n    b = 1\n",
    "alone": "async def f():\n    {}\n",
    "of a method": "class A:\n    def f(self):\n        {}\n",
}


@pytest.mark.parametrize("reads", ["", "print(__doc__)\n", "inspect.getdoc(f)\n"])
@pytest.mark.parametrize("where", DOCUMENTED)
def test_docstrings_count_only_where_the_code_reads_them(tree, where, reads):
    path, found = tree / "pipeline/deep.py", []
    for text in ('"""What."""', "'''What it does.'''", "pass", '"""A""" + "B"'):
        path.write_text(DOCUMENTED[where].format(text) + reads)
        found.append(preprocess.code_fingerprint("alpha"))
    assert (found[0] == found[1]) == (not reads)
    assert len(set(found[1:])) == 3


def test_what_is_imported_from_now_on_counts_from_now_on(tree):
    append(tree / "pipeline/deep.py", "from pipeline import text\n")
    before = preprocess.code_fingerprint("alpha")
    append(tree / "pipeline/text.py", "value = 2\n")
    assert preprocess.code_fingerprint("alpha") != before


def test_a_module_that_is_there_from_now_on_counts(tree):
    append(tree / "preprocess/alpha.py", "import later\n")
    before = preprocess.code_fingerprint("alpha")
    (tree / "preprocess/later.py").write_text("")
    assert preprocess.code_fingerprint("alpha") != before


@pytest.mark.parametrize(
    "line",
    [
        "importlib.import_module(name)",
        "importlib.import_module(f'pipeline.{name}')",
        "importlib.import_module('.text', 'pipeline')",
        "__import__(name)",
        "runpy.run_path(path)",
        "from pipeline import *",
    ],
)
def test_where_the_name_of_a_module_is_computed_every_module_counts(tree, line):
    append(tree / "preprocess/alpha.py", f"{line}\n")
    before = preprocess.code_fingerprint("alpha")
    append(tree / "pipeline/text.py", "value = 2\n")
    assert preprocess.code_fingerprint("alpha") != before


def test_of_the_project_itself_a_change_meets_whoever_uses_it(tmp_path, monkeypatch):
    for folder in ("pipeline", "preprocess"):
        shutil.copytree(preprocess.ROOT / folder, tmp_path / folder)
    names = ("topojson", "delimited", "geojson")
    for name in names:
        script = (EXAMPLE / "preprocess" / "stations.py").read_text()
        (tmp_path / "preprocess" / f"{name}.py").write_text(script.replace("delimited", name))
    monkeypatch.setattr(preprocess, "ROOT", tmp_path)

    def fingerprints():
        return {name: preprocess.code_fingerprint(name) for name in names}

    before = fingerprints()
    for module in (tmp_path / "pipeline").rglob("*.py"):
        append(module, "\n# a remark\n")
    for module in ("cli/night", "stages/api", "connectors/openfema", "stages/load"):
        append(tmp_path / f"pipeline/{module}.py", "value = 2\n")
    assert fingerprints() == before

    append(tmp_path / "pipeline/formats/topojson.py", "value = 2\n")
    after = fingerprints()
    assert [name for name in names if after[name] != before[name]] == ["topojson"]
    append(tmp_path / "pipeline/formats/csv_scan.py", "value = 2\n")
    assert all(fingerprints()[name] != before[name] for name in names)


def test_code_of_another_project_is_not_reached(tree):
    found = closure.parts(tree, [tree / "preprocess/alpha.py"])
    assert set(found) < set(TREE)
