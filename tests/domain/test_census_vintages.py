"""Population: one declaration of encoding and line ends fits every vintage."""

import csv
import runpy
from types import SimpleNamespace

import pytest

from pipeline.settings import ROOT

CAPTURES = ROOT.parent / "shared" / "captures" / "census"
VINTAGES = {"co-est2019-alldata.csv": "latin-1", "co-est2023-alldata.csv": "utf-8"}


@pytest.mark.parametrize("name", VINTAGES)
def test_a_vintage_is_read_in_its_own_encoding(name, tmp_path):
    capture = CAPTURES / name
    if not capture.exists():
        pytest.skip(f"{name} is not among the captures beside this project")
    make_legible = runpy.run_path(str(ROOT / "preprocess" / "census_population.py"))["make_legible"]
    output = tmp_path / "legible.csv"
    receipt = make_legible(SimpleNamespace(file=capture), output)
    assert receipt.notes == {f"encoding {VINTAGES[name]}": 1}
    with output.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == receipt.rows == len(capture.read_bytes().splitlines()) - 1
    assert "Doña Ana County" in {row["CTYNAME"] for row in rows}
