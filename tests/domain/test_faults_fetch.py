"""Every fault on every protocol, at the layer that decides what becomes of it: stage api, or, where
it shows in the number of rows alone, the guards of stage preprocess.

Each case runs the real script of a source, in this process, against its troubled publisher; then
once more without any trouble. Whole nights of many faults are in `test_fault_nights.py`.
"""

import gzip
import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace

import cases
import pytest
from cases import KEPT, PROTOCOLS, RECOVERED, TAKEN, Case, Unit, at
from publisher import Answer, serving
from troubled import PLACES, Troubled
from twelve import STORMS, twelve
from upstream import faults, fdsn

from pipeline import settings
from pipeline.cli import accept
from pipeline.drill.proxy import nobody
from pipeline.settings import ROOT
from pipeline.stages import api, preprocess, script

# Of each group: its cases, the units that have them, and the settings of its nights.
GROUPS = (
    (cases.MANY, PROTOCOLS, {"FETCH_PATIENCE": "0"}),
    (cases.ONCE_MORE, PROTOCOLS, {"FETCH_PATIENCE": "9"}),
    (cases.LONG, PROTOCOLS, {"FETCH_PATIENCE": "0", "SOURCE_TIMEOUT": "1"}),
    (cases.WHOLE_HOSTS, cases.hosts(), {"FETCH_PATIENCE": "1"}),
)
PAIRS = [
    pytest.param(case, name, unit, source, variables, id=f"{case.name}-{source}")
    for chosen, units, variables in GROUPS
    for number, case in enumerate(chosen)
    for name, unit in units.items()
    if case.outcome(name)
    for source in (unit.sources if unit.at_once else [unit.sources[number % len(unit.sources)]])
]


@dataclass
class Seen:
    """What can be seen after the script of a source ended."""

    began: str
    code: int
    said: str
    facts: dict
    raw: dict[str, str]  # hash by file
    contents: dict[str, str]  # content fingerprint by file of data


class Scripts:
    """The scripts of all sources on one data folder, before publishers that can be troubled."""

    def __init__(self, folder: Path, publishers: Troubled, routes: dict[str, str]):
        self.folder, self.publishers, self.routes = folder, publishers, routes
        self.modules = {source: load_script(source) for source in PLACES.values()}
        self.honest: dict[str, Seen] = {}  # the newest run without trouble, by source

    def set_up(self, monkeypatch, **variables: str) -> None:
        """Settings of this data folder and these publishers."""
        self.publishers.listen()
        words = {"DATA_DIR": str(self.folder), "STASH": "off", "FETCH_PATIENCE": "0"}
        words["MIRRORS"] = self.publishers.mirrors
        for name, value in (settings.DEFAULTS | words | variables).items():
            monkeypatch.setenv(name, value)
        settings.load.cache_clear()

    def make_legible(self, source: str, monkeypatch) -> dict:
        """Stage preprocess of a source up to its guards; what is noted of it."""
        self.set_up(monkeypatch)
        module = load_script(source, "preprocess")
        monkeypatch.setattr(preprocess, "_run_data_tests", lambda source, path: None)

        def work(here, options) -> dict:
            return preprocess.work(here, options, source, module.make_legible)

        return script._attempt("preprocess", source, work, SimpleNamespace(force=False))[0]

    def run(self, source: str, capsys, monkeypatch, **variables: str) -> Seen:
        """Run a source's script as the command line does, to its exit code."""
        self.set_up(monkeypatch, **variables)
        module, began = self.modules[source], datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        monkeypatch.setattr(sys, "argv", [f"api/{source}.py"])

        def work(here, options) -> dict:
            return api.work(here, options, module.SOURCE, source, module.fetch)

        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            script.run("api", source, module.__doc__, work)
        said = "".join(capsys.readouterr())
        noted = json.loads((self.folder / "state" / f"{source}.json").read_bytes())["api"]
        folder = self.folder / "raw" / source
        described = json.loads((folder / "datapackage.json").read_bytes())
        contents = {entry["path"]: entry["content"] for entry in described["resources"]}
        return Seen(began, ended.value.code, said, noted, hashes(folder), contents)

    def trouble(self, case: Case, name: str, unit: Unit, source: str) -> None:
        """Let a case befall a source."""
        self.publishers.refresh()
        if case.route:
            self.publishers.routes[name] = self.routes[case.route]
        if name in case.does:
            case.does[name](self.publishers.world)
        make = case.instead.get(name) or case.make()
        self.publishers.troubles[source] = at(case.at, unit.data, make)

    def calm(self) -> None:
        """End all troubles, the hour of quiet included that a host asked for."""
        self.publishers.calm()
        for noted in (self.folder / "state" / "hosts").glob("*.json"):
            noted.unlink()


def load_script(source: str, stage: str = "api") -> ModuleType:
    """The module of a source's script in a stage's folder."""
    path = ROOT / stage / f"{source}.py"
    spec = importlib.util.spec_from_file_location(f"{stage}_{source}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def damaged(folder: Path) -> str:
    """What sha256sum says against a snapshot."""
    words = ["sha256sum", "-c", "--quiet", "SHA256SUMS"]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def scripts(tmp_path_factory) -> Iterator[Scripts]:
    """The scripts of all sources; a publisher of each, and routes into nowhere."""
    folder = tmp_path_factory.mktemp("fetch")
    with ExitStack() as stack:
        publishers = Troubled(stack.enter_context(twelve()))
        routes = {"nobody": stack.enter_context(nobody())}
        if shutil.which("openssl"):
            routes["tls"] = stack.enter_context(serving(faults.self_signed(folder))).url
        yield Scripts(folder / "data", publishers, routes)


@pytest.fixture
def run(scripts, capsys, monkeypatch):
    """Run the script of a source."""

    def run(source: str, **variables: str) -> Seen:
        return scripts.run(source, capsys, monkeypatch, **variables)

    # What is waited for between two tries is asked for elsewhere: tests/test_download.py.
    monkeypatch.setattr(time, "sleep", lambda seconds, sleep=time.sleep: sleep(seconds / 10))
    yield run
    scripts.calm()
    settings.load.cache_clear()


@pytest.mark.parametrize(("case", "name", "unit", "source", "variables"), PAIRS)
def test_every_fault_on_every_protocol(
    scripts, run, monkeypatch, case, name, unit, source, variables
):
    if case.route and case.route not in scripts.routes:
        pytest.skip("openssl is not installed")
    before = scripts.honest.get(source) or run(source)
    assert before.code == 0, before.said
    if case.is_of_rows:
        assert scripts.make_legible(source, monkeypatch)["outcome"] in ("new", "unchanged")
    scripts.trouble(case, name, unit, source)
    during = run(source, **variables)
    expected = case.outcome(name)
    if (expected, during.facts["outcome"]) == (KEPT, "new"):
        assert case.is_of_rows, during.said
        refused = scripts.make_legible(source, monkeypatch)
        assert re.search(case.cause, refused["reason"])
        is_of_fields = "fields" in refused["reason"]  # which no guard has to tell
        assert is_of_fields or f"./run_pipeline.sh accept {source}" in refused["remedy"]
        scripts.calm()
        after_it_is_well(scripts, run, source, before, TAKEN)
        return
    assert during.facts["outcome"] == expected, during.said
    assert during.code == (2 if expected == KEPT else 0)
    assert during.said.splitlines()[-1].startswith(f"{source}: {expected}")
    assert "Traceback" not in during.said
    assert (during.raw == before.raw) == (expected != TAKEN)
    assert not damaged(scripts.folder / "raw" / source)
    if expected == RECOVERED:
        assert during.facts["checked_at"] >= during.began
    if expected == KEPT:
        assert re.search(case.cause, during.facts["reason"]), during.facts["reason"]
        assert during.facts["remedy"]
        assert during.facts["remedy"] in during.said
    scripts.calm()
    after_it_is_well(scripts, run, source, before, expected)


def after_it_is_well(scripts, run, source: str, before: Seen, came: str) -> None:
    """The next night asks for little and finds what it had before the fault."""
    after = run(source)
    assert after.code == 0, after.said
    scripts.honest[source] = after
    assert after.facts["outcome"] == ("new" if came == TAKEN else "unchanged")
    assert not damaged(scripts.folder / "raw" / source)
    assert after.contents == before.contents
    if came == TAKEN:  # it is back, in a manifest of its own
        return
    assert after.raw == before.raw
    assert scripts.publishers.asked[source] <= cases.FEW.get(source, 1)
    if source not in cases.ALWAYS_SENT:  # listings, versions, counts
        assert scripts.publishers.sent[source] < 3000


# A part that disappears inside a whole, with the scripts as they are


@pytest.fixture
def alone(scripts, tmp_path) -> Iterator[Scripts]:
    """The scripts on a data folder of their own; what the publishers have is put back."""
    publishers = scripts.publishers
    events, honest = publishers.world.earthquakes.events, dict(publishers.honest)
    yield Scripts(tmp_path / "data", publishers, {})
    publishers.world.earthquakes.events = events
    publishers.honest |= honest
    settings.load.cache_clear()


def taken(alone: Scripts, source: str, capsys, monkeypatch) -> dict:
    """Stages api and preprocess of a source; what the last one notes."""
    assert alone.run(source, capsys, monkeypatch).code == 0
    return alone.make_legible(source, monkeypatch)


def test_a_recent_month_that_comes_back_empty_is_refused(alone, capsys, monkeypatch):
    service, now = alone.publishers.world.earthquakes, datetime.now(UTC)
    times = [now - timedelta(days=100 + number / 10) for number in range(300)]
    old = [fdsn.event(f"old{number}", when, -100, 40) for number, when in enumerate(times)]
    service.events = [*service.events, *old]
    assert taken(alone, "usgs_earthquakes", capsys, monkeypatch)["outcome"] == "new"
    months = Counter(month(event) for event in service.events if event not in old)
    gone, count = max(months.items(), key=lambda one: one[1])
    service.events = [event for event in service.events if month(event) != gone]
    refused = taken(alone, "usgs_earthquakes", capsys, monkeypatch)
    assert f"{gone}.geojson: refused, 0 rows came, where {count} are usual" in refused["reason"]
    assert "./run_pipeline.sh accept usgs_earthquakes" in refused["remedy"]
    assert accept.run(["usgs_earthquakes"]) == 0
    assert alone.make_legible("usgs_earthquakes", monkeypatch)["outcome"] == "new"


def month(event: dict) -> str:
    return f"{datetime.fromtimestamp(event['properties']['time'] / 1000, UTC):%Y-%m}"


def test_a_year_of_storms_that_shrinks_is_refused(alone, capsys, monkeypatch):
    """Its file has another name whenever it is made anew."""
    publishers, name = alone.publishers, "StormEvents_details-ftp_v1.0_d2024_c{}.csv.gz"
    old, new = name.format("20260323"), name.format("20260424")
    two_rows = publishers.file(old)
    publishers.edit(old, lambda body: times(body, 100))
    publishers.edit("d2025_c20260323.csv.gz", lambda body: times(body, 200))
    assert taken(alone, "noaa_storm_events", capsys, monkeypatch)["rows"] == 2 + 200 + 400
    publishers.world.answer("www.ncei.noaa.gov", STORMS + new, Answer(times(two_rows, 10)))
    publishers.edit(STORMS, lambda page: page.replace(old.encode(), new.encode()))
    refused = taken(alone, "noaa_storm_events", capsys, monkeypatch)
    assert f"{new}: refused, 20 rows came, where 200 are usual" in refused["reason"]
    assert "files: refused" not in refused["reason"], "the total shows nothing"
    assert accept.run(["noaa_storm_events"]) == 0
    assert alone.make_legible("noaa_storm_events", monkeypatch)["rows"] == 2 + 20 + 400


def times(packed: bytes, count: int) -> bytes:
    """A year's file with its rows so many times."""
    header, rows = gzip.decompress(packed).split(b"\n", 1)
    return gzip.compress(header + b"\n" + rows * count, mtime=0)
