"""The world of publishers: every source can be fetched from it, and again costs almost nothing."""

import importlib.util

import pytest
from twelve import twelve

from pipeline import settings
from pipeline.raw import snapshot
from pipeline.raw.candidate import Candidate
from pipeline.settings import ROOT

SOURCES = settings.sources()


@pytest.fixture(scope="module")
def publishers():
    with twelve() as known:
        yield known


@pytest.fixture
def led_there(here, publishers, monkeypatch):
    monkeypatch.setenv("MIRRORS", publishers.mirrors)
    settings.load.cache_clear()
    publishers.publisher.requests.clear()
    return settings.load()


def script(source: str):
    spec = importlib.util.spec_from_file_location(source, ROOT / "api" / f"{source}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def night(here, source):
    known = script(source)
    gathered = Candidate(here, known.SOURCE, source, snapshot.current(here, source))
    known.fetch(gathered)
    return snapshot.commit(here, source, gathered.folder, gathered.describe())


def test_all_twelve_sources_are_there():
    assert len(SOURCES) == 12


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_is_fetched_whole_and_the_same_again(led_there, source):
    first = night(led_there, source)
    assert first.files
    again = night(led_there, source)
    assert again.content == first.content


@pytest.mark.parametrize(
    ("source", "host", "least"),
    [
        ("fema_disaster_declarations", "www.fema.gov", "OpenFemaDataSets"),
        ("cdc_places", "data.cdc.gov", "/api/views/swc5-untb.json"),
    ],
)
def test_an_unchanged_data_set_costs_one_question(led_there, publishers, source, host, least):
    night(led_there, source)
    publishers.publisher.requests.clear()
    night(led_there, source)
    (asked,) = publishers.asked(host)
    assert least in asked
