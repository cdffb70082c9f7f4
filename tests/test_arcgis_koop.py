"""A FeatureServer that others wrote: Koop, https://koopjs.github.io, installed by npm for the test.

It ignores `resultOffset` without `resultRecordCount` and says `exceededTransferLimit` in f=json
alone, so that GeoJSON pages end without a word.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from upstream.arcgis import points

from pipeline import settings
from pipeline.connectors import arcgis, paging
from pipeline.errors import SourceError
from pipeline.raw import snapshot
from pipeline.raw.candidate import Candidate
from pipeline.raw.source import Source

PACKAGES = ("@koopjs/koop-core@10.4.19", "@koopjs/provider-file-geojson@2.2.0")
SERVER = """
const Koop = require('@koopjs/koop-core')
const koop = new Koop({ logLevel: 'error' })
koop.register(require('@koopjs/provider-file-geojson'), { dataDir: 'layers' })
const server = koop.server.listen(0, '127.0.0.1', () => console.log(server.address().port))
"""
LAYER = "https://koop.example/file-geojson/rest/services/fires/FeatureServer/0"
SOURCE = Source("T", "P", "https://e.gov/", "L", "https://l.gov/", "geojson")
ROWS = 2345


@pytest.fixture(scope="module")
def koop(tmp_path_factory):
    """The address of a Koop with a layer of some thousand points, 500 per page."""
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("npm and node are not installed")
    folder = tmp_path_factory.mktemp("koop")
    _install(folder)
    (folder / "layers").mkdir()
    layer = {
        "type": "FeatureCollection",
        "metadata": {"name": "fires", "idField": "oid", "maxRecordCount": 500},
        "features": [{"type": "Feature"} | point for point in points(ROWS, key="oid", step=3)],
    }
    (folder / "layers" / "fires.geojson").write_text(json.dumps(layer))
    (folder / "serve.js").write_text(SERVER)
    server = subprocess.Popen(
        ["node", "serve.js"],
        cwd=folder,
        env=os.environ | {"SUPPRESS_NO_CONFIG_WARNING": "true"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = next((line for line in server.stdout if line.strip().isdigit()), None)
        assert port, f"Koop ended with {server.wait()}"
        yield f"http://127.0.0.1:{port.strip()}"
    finally:
        server.kill()
        server.communicate()
        shutil.rmtree(folder)  # some 300 MB


def _install(folder: Path) -> None:
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-save"]
    command += ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    try:
        done = subprocess.run(
            [*command, "--prefix", str(folder), *PACKAGES],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not install Koop within 300 s")
    if done.returncode:
        errors = [
            line for line in done.stderr.splitlines() if line.startswith(("npm err", "npm ERR"))
        ]
        pytest.skip(f"npm could not install Koop: {'; '.join(errors)[:300]}")


@pytest.fixture
def here_with_koop(here, koop, monkeypatch):
    monkeypatch.setenv("MIRRORS", f"koop.example={koop}")
    settings.load.cache_clear()
    return settings.load()


def night(here, **asked):
    """Run one night; return the new snapshot."""
    gathered = Candidate(here, SOURCE, "fires", snapshot.current(here, "fires"))
    arcgis.fetch(gathered, LAYER, **asked)
    return snapshot.commit(here, "fires", gathered.folder, gathered.describe())


def ids(taken) -> list[int]:
    features = (f for file in taken.files for f in json.loads(file.read_bytes())["features"])
    return [feature["properties"]["oid"] for feature in features]


def test_every_feature_comes_page_by_page(here_with_koop):
    taken = night(here_with_koop)
    assert ids(taken) == list(range(3, 3 * ROWS + 1, 3))
    assert [entry.rows for entry in taken.descriptor.resources] == [500] * 4 + [345]
    proof = taken.descriptor.completeness
    assert proof["unique_key"] == "oid"
    assert proof["count_before"] == proof["count_after"] == proof["rows"] == ROWS
    assert proof["verdict"] == "complete"


def test_every_feature_comes_by_ranges_of_ids(here_with_koop, monkeypatch):
    monkeypatch.setattr(paging, "READS", 1)  # the last reading is the one by ranges
    taken = night(here_with_koop, page_size=400)
    assert ids(taken) == list(range(3, 3 * ROWS + 1, 3))
    assert [entry.rows for entry in taken.descriptor.resources] == [400] * 5 + [345]


def test_a_where_selects(here_with_koop):
    taken = night(here_with_koop, where="IncidentName='Fire 7'")
    assert ids(taken) == [21]


def test_the_same_layer_is_the_same_content(here_with_koop):
    assert night(here_with_koop).content == night(here_with_koop).content


def test_a_layer_that_is_not_there_is_an_error(here_with_koop):
    gathered = Candidate(here_with_koop, SOURCE, "fires", None)
    with pytest.raises(SourceError, match="nothere"):
        arcgis.fetch(gathered, LAYER.replace("fires", "nothere"))
