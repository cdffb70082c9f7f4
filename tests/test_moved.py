"""Scripts that were written before the packages run on: their imports find the same modules."""

import importlib
import subprocess
import sys

import pytest

from pipeline import MOVED
from pipeline.settings import ROOT
from pipeline.stages import closure

OLD = "from pipeline import delimited\nfrom pipeline.fetch import Candidate, Source, run\n"
NEW = "from pipeline.formats import delimited\nfrom pipeline.stages.api import Candidate, run\n"


@pytest.mark.parametrize("name", MOVED)
def test_the_old_name_is_the_same_module(name):
    new = importlib.import_module(f"pipeline.{MOVED[name]}")
    assert importlib.import_module(f"pipeline.{name}") is new
    assert new.__spec__.name == new.__name__ == f"pipeline.{MOVED[name]}"


def test_a_script_with_old_imports_runs():
    done = subprocess.run([sys.executable, "-c", OLD], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_name_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'pipeline\.fetched'"):
        importlib.import_module("pipeline.fetched")


def test_the_code_behind_an_old_name_counts_as_that_of_the_new_one(tmp_path):
    (tmp_path / "pipeline").symlink_to(ROOT / "pipeline")
    found = []
    for folder, text in (("old", OLD), ("new", NEW)):
        (tmp_path / folder).mkdir()
        script = tmp_path / folder / "alpha.py"
        script.write_text(text)
        parts = closure.parts(tmp_path, [script])
        found.append({name: digest for name, digest in parts.items() if "alpha" not in name})
    assert found[0] == found[1]
    assert "pipeline/formats/delimited.py" in found[0]
    assert "pipeline/cli/status.py" not in found[0]
