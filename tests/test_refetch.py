"""A snapshot that stage preprocess rejected is fetched again, whatever its version mark."""

import threading
from datetime import UTC, datetime
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from publisher import Answer
from test_fdsn import Service, event
from upstream import openfema as fema_upstream
from upstream import socrata as socrata_upstream
from upstream.arcgis import FeatureLayer, points

from pipeline import settings, state
from pipeline.cli.runner import Job, Runner
from pipeline.connectors import arcgis, fdsn, openfema, socrata
from pipeline.errors import PipelineError, SourceError
from pipeline.raw.source import Source
from pipeline.stages import api as fetch
from pipeline.stages import script

NAME = "alpha"
HOSTS = ("data.example.gov", "www.fema.gov", "data.cdc.gov", "services3.arcgis.com")
LAYER = "/x/arcgis/rest/services/Fires/FeatureServer/0"


def source(kind, **more):
    return Source("T", "P", "https://e.gov/", "L", "https://l.gov/", kind, **more)


@pytest.fixture
def here(here, publisher, monkeypatch):
    mirrors = [f"{host}={publisher.url}/{host}" for host in HOSTS]
    mirrors.append(f"earthquake.usgs.gov={publisher.url}")
    monkeypatch.setenv("MIRRORS", ",".join(mirrors))
    monkeypatch.setenv("FETCH_PATIENCE", "0")
    settings.load.cache_clear()
    return settings.load()


class File:
    """A file with a validator, which stays the same although the file does not."""

    source = source("csv")

    def __init__(self, publisher, header):
        self.header, self.condition = header, fetch_condition(header)
        self.body = b"a,b\n1,2\n"
        publisher.answers["/data.example.gov/file.csv"] = self.answer

    def answer(self, request):
        if request.headers.get(self.condition):
            return Answer(status=304)
        return Answer(self.body, headers={self.header: MARKS[self.header]})

    def gather(self, candidate):
        candidate.download("https://data.example.gov/file.csv")

    def change(self):
        self.body = b"a,b\n1,3\n"


MARKS = {"ETag": '"1"', "Last-Modified": "Mon, 02 Mar 2026 00:00:00 GMT"}


def fetch_condition(header):
    return {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}[header]


class Fema:
    """OpenFEMA, whose mark is the time of the last refresh."""

    source = source("csv")

    def __init__(self, publisher):
        self.data = fema_upstream.declarations(25)
        self.data.register(publisher, "/www.fema.gov")

    def gather(self, candidate):
        asked = {"version": 2, "order": "id", "unique_key": "id", "page_size": 10}
        base = "https://www.fema.gov/api/open"
        openfema.fetch(candidate, base, "DisasterDeclarationsSummaries", **asked)

    def change(self):
        self.data.rows[3][0] = "changed"


class Cdc:
    """Socrata, whose mark is `rowsUpdatedAt`."""

    def __init__(self, publisher, kind):
        self.source = source(kind)
        self.data = socrata_upstream.places(25)
        self.data.register(publisher, "/data.cdc.gov")

    def gather(self, candidate):
        socrata.fetch(candidate, "https://data.cdc.gov", "swc5-untb", page_size=10)

    def change(self):
        self.data.rows[3][-1] = "changed"


class Fires:
    """ArcGIS, whose mark is the time of the last edit."""

    source = source("geojson")

    def __init__(self, publisher):
        self.layer = FeatureLayer(points(25, step=7), cap=10, edited=1_760_000_000_000)
        self.layer.register(publisher, f"/services3.arcgis.com{LAYER}")

    def gather(self, candidate):
        arcgis.fetch(candidate, f"https://services3.arcgis.com{LAYER}")

    def change(self):
        self.layer.features[3]["properties"]["name"] = "changed"


class Quakes:
    """An event service, whose months are there already, but for the newest."""

    source = source("geojson", volatile=("metadata.generated",))

    def __init__(self, publisher):
        self.service = Service(publisher)
        self.service.events = [event(f"e{n}", f"2026-0{n}-10T00:00:00") for n in (1, 2, 3)]

    def gather(self, candidate):
        base = "https://earthquake.usgs.gov/fdsnws/event/1"
        today = datetime(2026, 3, 20, tzinfo=UTC)
        fdsn.fetch_months(candidate, base, months=3, reread=1, today=today, minmagnitude=2.5)

    def change(self):  # of which the service does not tell
        self.service.events[0]["properties"] |= {"mag": 4.0}


PUBLISHERS = {
    "ETag": lambda publisher: File(publisher, "ETag"),
    "Last-Modified": lambda publisher: File(publisher, "Last-Modified"),
    "OpenFEMA": Fema,
    "Socrata": lambda publisher: Cdc(publisher, "csv"),
    "Socrata, GeoJSON": lambda publisher: Cdc(publisher, "geojson"),
    "ArcGIS": Fires,
    "FDSN": Quakes,
}


@pytest.fixture(params=PUBLISHERS)
def known(request, here, publisher):
    return PUBLISHERS[request.param](publisher)


def api(known, run, **options) -> dict:
    """Stage api of one run; returns its facts."""
    options = SimpleNamespace(**{"offline": False, "force": False} | options)
    told = fetch.work(settings.load(), options, known.source, NAME, known.gather)
    state.update(settings.load(), NAME, "api", **told, run=run)
    return told


def night(known, run, rejects=False, **options) -> dict:
    """Stages api and preprocess of one run; returns the facts of api."""
    told = api(known, run, **options)
    facts = {"outcome": "failed", "rejected_in": run} if rejects else {"outcome": "new"}
    state.update(settings.load(), NAME, "preprocess", run=run, **facts)
    return told


def test_what_was_rejected_is_fetched_again_until_it_is_right(known):
    damaged = night(known, "1", rejects=True)
    known.change()
    mended = night(known, "2")
    assert (damaged["outcome"], mended["outcome"]) == ("new", "new")
    assert mended["content"] != damaged["content"]
    assert "fetched again in full" in mended["reason"] and "it changed" in mended["reason"]
    known.change()
    assert night(known, "3")["outcome"] == "unchanged"  # by its mark


def test_the_same_rejected_snapshot_is_requested_once_a_night(known, publisher):
    def asked(work, *words, **more):
        before = len(publisher.requests)
        return work(known, *words, **more), len(publisher.requests) - before

    first, in_full = asked(night, "1", rejects=True)
    again, requests = asked(api, "2")
    assert again["content"] == first["content"] and requests == in_full
    assert "the publisher still sends the same" in again["reason"]
    once_more, requests = asked(api, "2, once more")
    assert (once_more["outcome"], once_more["reason"]) == ("unchanged", "")
    assert requests < in_full or isinstance(known, File)
    night(known, "3", rejects=True)
    next_night, requests = asked(api, "4")
    assert next_night["outcome"] == "unchanged" and next_night["reason"] and requests == in_full


def test_a_snapshot_that_cannot_be_fetched_again_stays_until_the_next_night(known, publisher):
    night(known, "1", rejects=True)
    known.change()
    answers = dict(publisher.answers)
    for path in answers:
        publisher.answers[path] = [Answer(status=503)]
    assert night(known, "2", rejects=True)["outcome"] == "kept"
    publisher.answers |= answers
    assert night(known, "3")["outcome"] == "new"


def test_offline_keeps_what_was_rejected(here, publisher):
    known = File(publisher, "ETag")
    night(known, "1", rejects=True)
    told = night(known, "2", rejects=True, offline=True)
    assert (told["outcome"], told["reason"]) == ("kept", "not asked: --offline")


def test_volatile_bytes_are_taken_once_and_no_snapshot_is_made_every_night(here, publisher):
    """What is volatile may be what was wrong; that it differs again proves nothing any more."""
    known = Quakes(publisher)
    outcomes = [night(known, str(number), rejects=True)["outcome"] for number in range(5)]
    assert outcomes == ["new", "new", "unchanged", "unchanged", "unchanged"]


@pytest.mark.parametrize(
    ("trouble", "is_rejected"),
    [
        (SourceError("the data tests fail"), True),
        (ValueError("a fault of the script"), True),
        (MemoryError(), True),
        (OSError(28, "No space left on device"), False),
        (PipelineError("what ends the run"), False),
    ],
)
def test_a_failure_of_the_run_is_no_rejection(here, trouble, is_rejected):
    def work(here, options):
        raise trouble

    try:
        script._attempt("preprocess", NAME, work, None)
    except PipelineError:
        assert not is_rejected
    noted = state.read(here, NAME).get("preprocess", {})
    assert ("rejected_in" in noted) == is_rejected
    assert noted.get("rejected_in") == noted.get("run")


@pytest.mark.parametrize(
    ("code", "is_rejected"),
    {
        "import time; time.sleep(60)": True,
        "import os; os.kill(os.getpid(), 11)": True,
        "raise SystemExit(7)": True,
        "print('the disk is full'); raise SystemExit(3)": False,
    }.items(),
)
def test_a_script_that_hangs_or_crashes_rejects(here, tmp_path, monkeypatch, code, is_rejected):
    monkeypatch.setenv("SOURCE_TIMEOUT", "1" if "sleep" in code else "300")
    settings.load.cache_clear()
    runner = Runner(settings.load(), "run", Mock())
    path = tmp_path / "job.py"
    path.write_text(code)
    runner.run([Job("preprocess", NAME, (str(path),))])
    noted = state.read(here, NAME)["preprocess"]
    assert noted["outcome"] == "failed"
    assert (noted.get("rejected_in") == noted["run"]) == is_rejected


def test_a_script_that_is_stopped_with_its_run_rejects_nothing(here, tmp_path):
    runner = Runner(settings.load(), "run", console := Mock())
    path = tmp_path / "job.py"
    path.write_text("import time; time.sleep(60)")

    console.start = lambda *job: threading.Timer(0.5, runner.stop).start()
    runner.run([Job("preprocess", NAME, (str(path),))])
    noted = state.read(here, NAME)["preprocess"]
    assert noted["outcome"] == "failed" and "rejected_in" not in noted
