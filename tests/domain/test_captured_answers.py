"""Real answers of FEMA, NIFC and the Weather Service, made legible: what `load` will find."""

import csv
import re
import runpy
from types import SimpleNamespace

import pytest
from conftest import CAPTURES

from pipeline.settings import ROOT


def declared(source):
    """The columns that load/<source>.sql declares."""
    return re.findall(r'^    "(.+)" text', (ROOT / "load" / f"{source}.sql").read_text(), re.M)


def legible(source, folder, *paths):
    """The header and the number of rows that preprocess makes of raw files."""
    script = runpy.run_path(str(ROOT / "preprocess" / f"{source}.py"))
    snapshot = SimpleNamespace(source=source, files=list(paths), file=paths[0])
    receipt = script["make_legible"](snapshot, folder / "out.csv")
    with (folder / "out.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == receipt.columns
    return receipt.columns, receipt.rows


@pytest.mark.parametrize(
    "source, capture, rows",
    [
        ("fema_disasters", "fema/FemaWebDisasterDeclarations_2025-02-04.csv", 5030),
        (
            "fema_disaster_declarations",
            "fema/DisasterDeclarationsSummaries_first-99_2025-03-27.csv",
            99,
        ),
        ("nws_alerts", "nws/alerts_active_zone_2019-12-20.json", 2),
    ],
)
def test_an_answer_has_the_columns_of_its_table(tmp_path, source, capture, rows):
    if not (CAPTURES / capture).exists():
        pytest.skip("the captures are not there")
    assert legible(source, tmp_path, CAPTURES / capture) == (declared(source), rows)


def test_incidents_have_the_columns_of_their_table(tmp_path):
    capture = CAPTURES / "nifc" / "wfigs_incident_locations_2025-01-20.geojson"
    if not capture.exists():
        pytest.skip("the captures are not there")
    columns, rows = legible("nifc_wildfires", tmp_path, capture)
    # One feature of this export has IsUnifiedCommand with letters of another word in its name.
    garbled = [name for name in columns if name not in declared("nifc_wildfires")]
    assert (garbled, rows) == (["IsUnigeomfiedCommand"], 1340)
    assert set(declared("nifc_wildfires")) <= set(columns)


@pytest.mark.parametrize("source", ["nifc_wildfires", "nws_alerts"])
def test_no_feature_at_all_has_the_columns_of_its_table(tmp_path, source):
    (tmp_path / "none.geojson").write_text('{"type":"FeatureCollection","features":[]}')
    columns, rows = legible(source, tmp_path, tmp_path / "none.geojson")
    assert (columns, rows) == (declared(source), 0)
