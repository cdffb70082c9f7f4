"""Socrata: pages ordered by the row identifier, counts, updates, and where the token is sent."""

import csv
import json
from dataclasses import replace

import pytest
from conftest import CAPTURES
from publisher import Answer
from upstream import faults, socrata
from upstream.faults import switched
from upstream.world import world

from pipeline import settings
from pipeline.connectors import socrata as protocol
from pipeline.errors import SourceError, Transient
from pipeline.http import client
from pipeline.raw import snapshot
from pipeline.raw.candidate import Candidate
from pipeline.raw.source import Source

HOST = "data.cdc.gov"
PAGES = "/resource/swc5-untb.csv"
COUNT = "/resource/swc5-untb.json"
VIEW = "/api/views/swc5-untb.json"
SOURCE = Source("T", "P", "https://e.gov/", "L", "https://l.gov/", "csv")
TOKEN = "a-token-of-the-tests"


@pytest.fixture
def cdc(here, monkeypatch):
    """A Socrata site; no time passes between tries."""
    monkeypatch.setattr(client, "_FIRST_WAIT", 0.01)
    with world() as scene:
        scene.places = socrata.places(250)
        scene.places.register(scene.publisher, f"/{HOST}")
        scene.hosts |= {HOST, "elsewhere.gov"}
        monkeypatch.setenv("MIRRORS", scene.mirrors)
        monkeypatch.setenv("FETCH_PATIENCE", "0")
        settings.load.cache_clear()
        yield scene


@pytest.fixture
def data(cdc):
    return cdc.places


def gather(dataset="swc5-untb", source=SOURCE, **asked) -> Candidate:
    here = settings.load()
    gathered = Candidate(here, source, "places", snapshot.current(here, "places"))
    protocol.fetch(gathered, f"https://{HOST}", dataset, **{"page_size": 100} | asked)
    return gathered


def night(source=SOURCE, **asked):
    """Run one night; return the new snapshot."""
    gathered = gather(source=source, **asked)
    return snapshot.commit(settings.load(), "places", gathered.folder, gathered.describe())


def rows(taken, column=":id") -> list[str]:
    found = []
    for file in taken.files:
        with file.open(newline="") as lines:
            found += [row[column] for row in csv.DictReader(lines)]
    return found


def with_token(monkeypatch):
    monkeypatch.setenv("SOCRATA_APP_TOKEN", TOKEN)
    settings.load.cache_clear()


# An honest site


def test_a_file_a_page_in_the_order_of_the_row_identifiers(data):
    taken = night()
    assert [file.name for file in taken.files] == [f"page-0000{n}.csv" for n in (1, 2, 3)]
    assert rows(taken) == sorted(row[0] for row in data.rows)
    assert taken.descriptor.completeness == {
        "order": ":id",
        "unique_key": ":id",
        "pages": 3,
        "count_before": 250,
        "count_after": 250,
        "rows": 250,
        "verdict": "complete",
    }
    assert taken.descriptor.publisher_version == str(data.updated)


def test_the_parameters_are_those_of_the_documentation(cdc, data):
    night()
    assert data.queries("page") == [
        {"$select": ":*,*", "$order": ":id", "$limit": "100", "$offset": offset}
        for offset in ("0", "100", "200")
    ]
    assert data.queries("count") == [{"$select": "count(*)"}] * 2
    assert cdc.asked(HOST)[0] == VIEW


def test_columns_and_rows_may_be_chosen(data):
    data.selections["measureid='DIABETES' AND year > '2021'"] = lambda row: row["year"] > "2021"
    data.rows[0][1] = "2020"
    taken = night(select="locationid,data_value", where="measureid='DIABETES' AND year > '2021'")
    header = taken.files[0].read_text().splitlines()[0]
    assert header == '":id","locationid","data_value"'
    assert taken.descriptor.completeness["rows"] == 249


def test_features_come_as_rows_do(data):
    source = replace(SOURCE, kind="geojson", volatile_columns=(":id",))
    taken = night(source)
    assert [file.name for file in taken.files] == [f"page-0000{n}.geojson" for n in (1, 2, 3)]
    features = [f for file in taken.files for f in json.loads(file.read_bytes())["features"]]
    assert [f["properties"][":id"] for f in features] == sorted(row[0] for row in data.rows)
    assert taken.descriptor.completeness["rows"] == 250
    data.updated += 1
    for number, row in enumerate(data.rows):  # a release gives every row another identifier
        row[0] = f"row-{number:06}"
    assert night(source, page_size=40).content == taken.content
    data.updated += 1
    data.rows[7][-1] = "99"
    assert night(source).content != taken.content


@pytest.mark.parametrize(
    ("fault", "message"),
    [({"repeats": 1}, "read 3 times: 200 rows with 199"), ({"skips": 1}, "read 3 times: 249")],
)
def test_features_repeated_or_skipped_between_pages_are_noticed(data, fault, message):
    for name, value in fault.items():
        setattr(data, name, value)
    with pytest.raises(SourceError, match=message):
        gather(source=replace(SOURCE, kind="geojson"))


@pytest.mark.parametrize(
    ("kind", "features", "message"),
    [
        (
            "geojson",
            [{"type": "Feature", "properties": {}}],
            "not a page of features with a property :id",
        ),
        ("geojson", None, "not a page of features with a property :id"),
        ("tsv", [], "tsv is not one of"),
    ],
)
def test_what_has_no_row_identifiers_is_refused(cdc, kind, features, message):
    body = json.dumps({"type": "FeatureCollection", "features": features}).encode()
    cdc.publisher.answers[f"/{HOST}/resource/swc5-untb.geojson"] = [Answer(body)]
    with pytest.raises(SourceError, match=message):
        gather(source=replace(SOURCE, kind=kind))


def test_no_page_is_larger_than_the_site_allows(data):
    night(page_size=1_000_000)
    assert [asked["$limit"] for asked in data.queries("page")] == ["50000"]


def test_rows_that_were_not_updated_are_not_read_again(data):
    first = night()
    data.asked.clear()
    second = night()
    assert [what for what, asked in data.asked] == ["view"]
    assert second.content == first.content
    assert second.descriptor.completeness == first.descriptor.completeness
    data.updated += 1
    night()
    assert len(data.queries("page")) == 3


@pytest.mark.parametrize("name", ["count", "count_1", "COUNT"])
def test_a_count_may_have_another_name(data, name):
    data.counted_as = name
    assert len(rows(night())) == 250


def test_fewer_rows_a_page_than_asked_are_gone_on_with(data):
    data.real_cap = 30
    assert len(rows(night())) == 250


def test_a_site_that_tells_no_update_is_read_every_night(data):
    data.updated = None
    night()
    night()
    assert len(data.queries("page")) == 6


# Data that change, are incomplete, or are something else


@pytest.mark.parametrize("what", ["rows", "update"])
def test_what_changes_while_it_is_read_is_read_again(data, what):
    once = [True]

    def change(kind, asked):
        if kind == "page" and asked["$offset"] == "100" and once:
            once.clear()
            data.updated += what == "update"
            data.rows = data.rows[what == "rows" :]

    data.before = change
    taken = night()
    assert len(rows(taken)) == len(data.rows)
    assert taken.descriptor.publisher_version == str(data.updated)
    first_reading = {"rows": 4, "update": 3}  # pages; the missing row was searched
    assert len(data.queries("page")) == first_reading[what] + 3


@pytest.mark.parametrize(
    ("fault", "message"),
    [({"repeats": 1}, "read 3 times: 200 rows with 199"), ({"skips": 1}, "read 3 times: 249")],
)
def test_rows_repeated_or_skipped_between_pages_are_noticed(data, fault, message):
    for name, value in fault.items():
        setattr(data, name, value)
    with pytest.raises(SourceError, match=message):
        gather()


@pytest.mark.parametrize(
    ("path", "answer", "message"),
    [
        (COUNT, b"[]", "not a count"),
        (COUNT, b'[{"count": "1", "x": "2"}]', "not a count"),
        (COUNT, b'[{"count": "-1"}]', "not a count"),
        (COUNT, b'{"count": "1"}', "not a count"),
        (COUNT, b"<html>", "not a count"),
        (VIEW, b'{"name": "x"}', "not a description of the data set"),
        (VIEW, b'{"id": "abcd-efgh", "name": "x"}', "describes abcd-efgh instead of swc5-untb"),
        (PAGES, b'{"error": true, "message": "no such column"}', "status 200: .*no such column"),
        (PAGES, b'[{"locationid": "01001"}]', "JSON came instead of csv"),
        (PAGES, b'"year"\n"2022"\n', "no columns are called :id; the columns are year"),
        (PAGES, b"<!DOCTYPE html><p>Sign in</p>", "a web page came instead of csv"),
    ],
)
def test_another_answer_is_named(cdc, path, answer, message):
    cdc.answer(HOST, path, Answer(answer))
    with pytest.raises(SourceError, match=message) as caught:
        gather()
    assert not isinstance(caught.value, Transient)


@pytest.mark.parametrize(
    "body",
    [
        b'{"code": "429", "error": true, "message": "throttled"}',
        b'{"error": true, "message": "Internal error", "status": 500}',
    ],
)
def test_an_error_in_200_that_passes_is_asked_again(cdc, data, monkeypatch, body):
    monkeypatch.setenv("FETCH_PATIENCE", "20")
    settings.load.cache_clear()
    place = f"/{HOST}{PAGES}"
    honest = cdc.publisher.answers[place]
    cdc.publisher.answers[place] = switched(honest, faults.error_in_200(body), times=2)
    monkeypatch.setattr(client.time, "sleep", lambda seconds: None)
    assert len(rows(night())) == 250


def test_a_data_set_that_is_gone_is_named(cdc):
    cdc.publisher.answers.pop(f"/{HOST}{VIEW}")
    with pytest.raises(SourceError, match="answered 404") as caught:
        gather()
    assert "moved" in caught.value.remedy


@pytest.mark.parametrize("dataset", ["", "swc5", "../../swc5-untb", "swc5-untb.json?x="])
def test_an_identifier_that_is_none_is_refused(cdc, dataset):
    with pytest.raises(SourceError, match="not an identifier of a Socrata data set"):
        gather(dataset)
    assert cdc.asked(HOST) == []


# The token


def test_the_token_goes_into_a_header_of_every_request(cdc, data, monkeypatch):
    with_token(monkeypatch)
    data.token = TOKEN
    taken = night()
    assert set(data.tokens) == {TOKEN}
    assert TOKEN not in "".join(cdc.publisher.paths())
    assert TOKEN not in (taken.folder / "datapackage.json").read_text()


def test_without_a_token_no_header_is_sent(data):
    night()
    assert set(data.tokens) == {None}


@pytest.mark.parametrize("path", [VIEW, COUNT, PAGES])
def test_the_token_does_not_follow_a_redirect_to_another_host(cdc, data, monkeypatch, path):
    with_token(monkeypatch)
    honest = cdc.publisher.answers[f"/{HOST}{path}"]
    came = []

    def moved(request):
        target = request.path.removeprefix(f"/{HOST}")
        return faults.redirect(f"https://elsewhere.gov{target}")(Answer())

    def elsewhere(request):
        came.append(request.headers.get("X-App-Token"))
        return honest(request)

    cdc.answer(HOST, path, moved)
    cdc.answer("elsewhere.gov", path, elsewhere)
    assert len(rows(night())) == 250
    assert came and set(came) == {None}


@pytest.mark.parametrize("path", [VIEW, COUNT, PAGES])
@pytest.mark.parametrize("code", [200, 403, 500])
def test_the_token_is_in_no_message(cdc, monkeypatch, path, code):
    with_token(monkeypatch)
    body = f'{{"error": true, "message": "token {TOKEN} is not known"}}'.encode()
    cdc.answer(HOST, path, Answer(body, code))
    with pytest.raises(SourceError, match=r"token \*\*\* is not known") as caught:
        gather()
    assert TOKEN not in str(caught.value)


# Captured rows


def test_real_rows_arrive_as_they_are(cdc):
    """The capture is the wide form of PLACES; its rows are served as a data set of their own."""
    capture = CAPTURES / "cdc" / "PLACES_county_gis_2022.csv"
    if not capture.exists():
        pytest.skip(f"the captures are not here: {capture}")
    with capture.open(newline="", encoding="utf-8") as file:
        header, *records = csv.reader(file)
    identified = [[f"row-{n:05}", *record] for n, record in enumerate(records)]
    data = socrata.DataSet("abcd-1234", header, identified)
    data.register(cdc.publisher, f"/{HOST}")
    taken = night(dataset="abcd-1234", select=",".join(header), page_size=1000)
    came = []
    for file in taken.files:
        with file.open(newline="", encoding="utf-8") as lines:
            columns, *page = csv.reader(lines)
            assert columns == [":id", *header]
            came += page
    assert came == identified
    assert len(came) == 3143
