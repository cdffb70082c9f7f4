"""Breaking a line of what protects the data is noticed by a test: see `mutation.py`."""

import subprocess
import sys
from pathlib import Path

import mutants
import mutation
import pytest

from pipeline.settings import ROOT

SOURCE = '''
"""A docstring."""
LIMIT = 3


def check(count: int, names: list = ()) -> bool:
    """Another one."""
    if count > LIMIT and names:
        raise ValueError(f"{count} is more than {LIMIT}")
    return True
'''


def test_the_mutants_of_a_module_are_its_smallest_changes(tmp_path: Path):
    path = tmp_path / "module.py"
    path.write_text(SOURCE)
    found = {
        f"{mutant.first}: {mutant.before} -> {mutant.after}" for mutant in mutants.of("m", path)
    }
    head = "if count > LIMIT and names:"
    assert found == {
        "3: LIMIT = 3 -> LIMIT = 4",
        f"8: {head} -> if not (count > LIMIT and names):",
        f"8: {head} -> if count > LIMIT or names:",
        f"8: {head} -> if names and names:",
        f"8: {head} -> if count > LIMIT and count > LIMIT:",
        f"8: {head} -> if count >= LIMIT and names:",
        f"8: {head} -> if count <= LIMIT and names:",
        "9: raise ValueError(f'{count} is more than {LIMIT}') -> pass",
        "10: return True -> return None",
        "10: return True -> return False",
    }
    assert path.read_text() == SOURCE


def test_a_mutant_takes_the_place_of_its_module_for_all_who_imported_it(monkeypatch):
    """In a process of its own: here it is undone."""
    from pipeline.raw import volume
    from pipeline.schema import drift

    wanted = "raw.volume module: SHARE = 0.5 -> SHARE = 1.0"
    found = mutants.of("raw.volume", mutation.PATHS["raw.volume"])
    (mutant,) = [m for m in found if m.name == wanted]
    for module in (volume, drift):
        for name, value in list(vars(module).items()):
            monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(drift, "check", volume.check)
    before = volume.check
    mutation.apply(mutant)
    assert volume.SHARE == 1.0
    assert drift.check is volume.check is not before


def test_every_equivalent_mutant_has_its_reason():
    for line in mutation.EQUIVALENT.read_text().splitlines():
        assert line.startswith("#") or all(line.partition("  # ")), line


@pytest.mark.long
@pytest.mark.parametrize("module", mutation.MODULES)
def test_a_broken_line_of_what_protects_the_data_is_noticed(module):
    command = [sys.executable, ROOT / "tests" / "mutation.py", module]
    done = subprocess.run(command, stdout=subprocess.PIPE)
    assert done.returncode == 0, done.stdout.decode()
    print(done.stdout.decode())
