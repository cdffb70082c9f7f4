"""Layers of a FeatureServer: pages, limits, object ids, errors with 200, changes while reading."""

import json

import pytest
from conftest import CAPTURES
from publisher import Answer
from upstream.arcgis import FeatureLayer, as_json, error, points

from pipeline import settings
from pipeline.connectors import arcgis, paging
from pipeline.errors import SourceError, Throttled
from pipeline.http import client as download
from pipeline.raw import snapshot
from pipeline.raw.candidate import Candidate
from pipeline.raw.source import Source
from pipeline.stages import api

PATH = "/x/arcgis/rest/services/Fires/FeatureServer/0"
LAYER = f"https://services3.arcgis.com{PATH}"
WORD = {"exceededTransferLimit": True}
SOURCE = Source("T", "P", "https://e.gov/", "L", "https://l.gov/", "geojson")


@pytest.fixture
def publisher_of_layers(here, publisher, monkeypatch):
    monkeypatch.setenv("MIRRORS", f"services3.arcgis.com={publisher.url}")
    monkeypatch.setenv("FETCH_PATIENCE", "0")
    settings.load.cache_clear()
    monkeypatch.setattr(download, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(arcgis, "PAUSE", 0)
    return publisher


@pytest.fixture
def layer(publisher_of_layers):
    """A layer of 250 points whose object ids have gaps, with 100 per page."""
    layer = FeatureLayer(points(250, step=7), cap=100)
    layer.register(publisher_of_layers, PATH)
    return layer


def night(url=LAYER, **asked):
    """Run one night; return the new snapshot."""
    here = settings.load()
    gathered = Candidate(here, SOURCE, "fires", snapshot.current(here, "fires"))
    arcgis.fetch(gathered, url, **asked)
    return snapshot.commit(here, "fires", gathered.folder, gathered.describe())


def ids(taken) -> list[int]:
    features = (f for file in taken.files for f in json.loads(file.read_bytes())["features"])
    return [f["properties"].get("OBJECTID", f.get("id")) for f in features]


def all_ids(layer) -> list[int]:
    return sorted(feature["properties"][layer.key] for feature in layer.features)


def with_patience(monkeypatch, seconds: int) -> None:
    monkeypatch.setenv("FETCH_PATIENCE", str(seconds))
    settings.load.cache_clear()


def test_a_file_a_page_proved_by_counts_and_ids(layer):
    taken = night()
    assert [file.name for file in taken.files] == [f"page-0000{n}.geojson" for n in (1, 2, 3)]
    assert ids(taken) == all_ids(layer)
    assert [entry.rows for entry in taken.descriptor.resources] == [100, 100, 50]
    assert taken.descriptor.rows == 250
    assert taken.descriptor.completeness == {
        "order": "OBJECTID",
        "unique_key": "OBJECTID",
        "pages": 3,
        "count_before": 250,
        "count_after": 250,
        "rows": 250,
        "verdict": "complete",
    }
    kinds = [kind for kind, asked in layer.asked]
    assert kinds == ["layer", "count", "page", "page", "page", "count", "ids"]


def test_the_parameters_are_those_of_the_documentation(layer):
    night()
    assert layer.queries()[1] == {
        "where": "1=1",
        "outFields": "*",
        "outSR": "4326",
        "f": "geojson",
        "orderByFields": "OBJECTID",
        "resultOffset": "100",
        "resultRecordCount": "100",
    }
    assert layer.queries("count")[0] == {"where": "1=1", "returnCountOnly": "true", "f": "json"}
    assert layer.queries("ids") == [{"where": "1=1", "returnIdsOnly": "true", "f": "json"}]


@pytest.mark.parametrize(("asked", "size"), [(40, "40"), (100, "100"), (5000, "100")])
def test_a_page_is_the_lesser_of_asked_and_the_layers_limit(layer, asked, size):
    assert ids(night(page_size=asked)) == all_ids(layer)
    assert {query["resultRecordCount"] for query in layer.queries()} == {size}


@pytest.mark.parametrize("word", ["properties", "top", "nowhere"])
@pytest.mark.parametrize("real_cap", [100, 30])
def test_all_comes_wherever_it_is_said_that_more_is_to_come(layer, word, real_cap):
    layer.word, layer.real_cap = word, real_cap
    assert ids(night()) == all_ids(layer)


@pytest.mark.parametrize("id_stands", ["both", "id", "properties"])
def test_an_object_id_stands_in_either_place(layer, id_stands):
    layer.ids = id_stands
    assert ids(night()) == all_ids(layer)


def test_an_empty_page_is_not_the_end_when_more_is_to_come(layer):
    layer.hidden = frozenset(range(101 * 7, 201 * 7))  # the second page, by a filter
    assert ids(night()) == [number for number in all_ids(layer) if number not in layer.hidden]
    assert [query["resultOffset"] for query in layer.queries()] == ["0", "100", "200"]


def test_where_reaches_pages_counts_and_ids(layer):
    layer.selections["IncidentName='Fire 3'"] = lambda feature: (
        feature["properties"]["IncidentName"] == "Fire 3"
    )
    assert ids(night(where="IncidentName='Fire 3'")) == [21]


@pytest.mark.parametrize("lacks", ["pages", "orders"])
def test_a_layer_that_cannot_page_is_read_by_ranges_of_ids(layer, lacks):
    setattr(layer, lacks, False)
    taken = night()
    assert sorted(ids(taken)) == all_ids(layer)
    assert [query["where"] for query in layer.queries()] == [
        "(1=1) AND OBJECTID >= 7 AND OBJECTID <= 700",
        "(1=1) AND OBJECTID >= 707 AND OBJECTID <= 1400",
        "(1=1) AND OBJECTID >= 1407 AND OBJECTID <= 1750",
    ]
    assert not any("resultOffset" in query for query in layer.queries())
    assert all(("orderByFields" in query) == layer.orders for query in layer.queries())


def test_a_layer_that_tells_no_abilities_is_read_by_ranges(layer):
    layer.described = {"advancedQueryCapabilities": None, "maxRecordCount": None}
    assert ids(night()) == all_ids(layer)
    assert "resultOffset" not in layer.queries()[0]


def test_ranges_shrink_to_what_the_server_gives(layer):
    layer.pages, layer.real_cap = False, 40
    taken = night()
    assert sorted(ids(taken)) == all_ids(layer)
    assert [entry.rows for entry in taken.descriptor.resources] == [40] * 6 + [10]


def test_a_range_that_is_cut_to_nothing_is_refused(layer):
    layer.pages = False
    cut = {"type": "FeatureCollection", "features": [], "exceededTransferLimit": True}
    layer.answers = lambda what, asked: as_json(cut) if what == "page" else None
    with pytest.raises(SourceError, match="a page of object ids came cut"):
        night()


@pytest.mark.parametrize("pages", [True, False])
def test_an_empty_layer_is_an_answer(layer, pages):
    layer.features, layer.pages = [], pages
    taken = night()
    assert taken.descriptor.rows == 0
    assert taken.descriptor.completeness["verdict"] == "complete"
    assert [file.name for file in taken.files] == ["page-00001.geojson"]


def test_a_server_without_real_paging_is_read_by_ranges_in_the_end(layer):
    layer.ignores_offset = True
    assert ids(night()) == all_ids(layer)
    assert "resultOffset" in layer.queries()[0]
    assert "resultOffset" not in layer.queries()[-1]


def test_a_page_shorter_than_the_places_it_takes_is_noticed(layer):
    layer.hidden = frozenset({7 * 50})  # the next page by offset repeats a row
    assert 7 * 50 not in ids(night())
    assert len(ids(night())) == 249


def test_a_row_that_never_comes_is_short(layer):
    def skipping(what, asked):
        if what != "page":
            return None
        page = json.loads(layer._page(asked).body)
        page["features"] = [f for f in page["features"] if f["id"] != 70]
        return as_json(page)

    layer.answers = skipping
    numbers = "read 3 times: 249 features with 249 object ids came where 250 were counted before"
    with pytest.raises(SourceError, match=f"incomplete, {numbers} and 250 after; 1 of the listed"):
        night()
    last_reading = settings.load().raw / ".incoming" / "fires"
    assert len(list(last_reading.glob("page-*.geojson"))) == 3  # kept for inspection
    assert snapshot.current(settings.load(), "fires") is None


def test_rows_that_always_repeat_are_short(layer):
    layer.features = layer.features[:1] * 2
    with pytest.raises(SourceError, match="incomplete, read 3 times: 2 features with 1 object ids"):
        night()


def test_a_row_that_comes_while_reading_is_read_again(layer):
    late = points(1, step=9000)
    layer.before = lambda what, asked: (
        asked.get("resultOffset") == "200" and (layer.features.extend(late), late.clear())
    )
    taken = night()
    assert ids(taken) == all_ids(layer)
    assert len(ids(taken)) == 251
    assert len(layer.queries("count")) == 4
    assert len(taken.files) == 3


def test_one_row_in_place_of_another_is_noticed_by_the_ids(layer):
    swapped = points(1, step=1)  # object id 1 is on a page that was read already
    layer.before = lambda what, asked: (
        asked.get("resultOffset") == "200"
        and swapped
        and (layer.features.pop(), layer.features.append(swapped.pop()))
    )
    assert ids(night()) == all_ids(layer)
    assert len(layer.queries("count")) == 4


def test_a_layer_that_never_holds_still_is_refused(layer):
    layer.before = lambda what, asked: (
        what == "page" and layer.features.append(points(1, step=9000 + len(layer.asked))[0])
    )
    with pytest.raises(SourceError, match="changed while reading, read 3 times"):
        night()
    assert len(layer.queries("count")) == 2 * paging.READS


def test_pages_without_end_are_stopped(layer):
    def more(what, asked):
        if what != "page":
            return None
        begin = int(asked.get("resultOffset", 0))
        features = [{"type": "Feature", "id": begin + n, "geometry": None} for n in range(100)]
        return as_json({"type": "FeatureCollection", "features": features, "properties": WORD})

    layer.answers = more
    with pytest.raises(SourceError, match="a page of object ids came cut"):
        night()
    assert len(layer.queries()) == 7 + 7 + 1  # twice as many rows as were counted, and a page


def test_empty_pages_without_end_are_stopped(layer, monkeypatch):
    monkeypatch.setattr(arcgis, "EMPTY_PAGES", 5)
    empty = {"type": "FeatureCollection", "properties": WORD, "features": []}
    layer.answers = lambda what, asked: as_json(empty) if what == "page" else None
    with pytest.raises(SourceError, match="a page of object ids came cut"):
        night()
    assert len(layer.queries()) == 6 + 6 + 1


@pytest.mark.parametrize("code", [429, 500, 503, "504"])
@pytest.mark.parametrize("kind", ["layer", "count", "page", "ids"])
def test_an_error_in_200_is_asked_again(layer, monkeypatch, code, kind):
    with_patience(monkeypatch, 10)
    errors = [error(code, "Unable to perform query", "busy")]
    layer.answers = lambda what, asked: errors.pop() if errors and what == kind else None
    assert ids(night()) == all_ids(layer)
    assert {len(layer.queries("layer")), len(layer.queries("ids"))} <= {1, 2}


def test_the_other_form_of_an_error_in_200_is_asked_again(layer, monkeypatch):
    with_patience(monkeypatch, 10)
    whole = {"status": "error", "messages": ["Could not access any server machines"], "code": 500}
    errors = [as_json(whole)]
    layer.answers = lambda what, asked: errors.pop() if errors and what == "page" else None
    assert ids(night()) == all_ids(layer)


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        (error(400, "", "'Invalid field: POOState' parameter is invalid"), ""),
        (error(404, "Service not found"), ""),
        (error(498, "Invalid token."), "a credential is missing or was refused"),
        (error(499, "Token Required"), "a credential is missing or was refused"),
        (error(None, "what?"), ""),
        (as_json({"error": "what?"}), ""),
        (as_json({"status": "error", "code": 404, "messages": []}), ""),
    ],
)
@pytest.mark.parametrize("kind", ["layer", "count", "page"])
def test_any_other_error_in_200_is_refused_at_once(layer, monkeypatch, answer, remedy, kind):
    with_patience(monkeypatch, 10)
    layer.answers = lambda what, asked: answer if what == kind else None
    with pytest.raises(SourceError, match="an error came with status 200: ") as caught:
        night()
    assert caught.value.remedy == remedy
    assert len(layer.queries(kind)) == 1


def test_a_where_that_the_layer_does_not_know_is_named(layer):
    with pytest.raises(SourceError, match="Invalid field: nope=1"):
        night(where="nope=1")


@pytest.mark.parametrize("status", [500, 503, 504])
def test_pages_are_halved_when_the_server_fails_at_them(layer, status):
    layer.features, layer.cap = points(1000), 1000
    too_large = Answer(b"Gateway time-out", status)
    layer.answers = lambda what, asked: (
        too_large if int(asked.get("resultRecordCount", 0)) > 250 else None
    )
    assert ids(night()) == all_ids(layer)
    sizes = [query["resultRecordCount"] for query in layer.queries()]
    assert sizes == ["1000", "500", "250", "250", "250", "250"]


def test_ranges_are_halved_too(layer):
    layer.features, layer.cap, layer.pages = points(1000), 1000, False
    layer.answers = lambda what, asked: (
        Answer(b"", 502)
        if asked["f"] == "geojson"
        and "<= 1000" in asked["where"][-7:]
        and " >= 1 " in asked["where"]
        else None
    )
    assert ids(night()) == all_ids(layer)
    assert [entry.rows for entry in night().descriptor.resources] == [500, 500]


def test_pages_are_halved_on_a_time_out(layer, monkeypatch):
    monkeypatch.setattr(download, "READ_SECONDS", 0.2)
    layer.features, layer.cap = points(400), 1000
    too_slow = Answer(b"{}", hang=0.5)
    layer.answers = lambda what, asked: (
        too_slow if int(asked.get("resultRecordCount", 0)) > 200 else None
    )
    assert ids(night()) == all_ids(layer)
    assert [q["resultRecordCount"] for q in layer.queries()] == ["1000", "200", "200"]


def test_halving_ends_at_a_floor(layer):
    layer.features, layer.cap = points(1000), 1000
    layer.answers = lambda what, asked: Answer(b"", 500) if what == "page" else None
    with pytest.raises(SourceError, match="answered 500"):
        night()
    sizes = [query["resultRecordCount"] for query in layer.queries()]
    assert sizes == ["1000", "500", "250", "125", "100"]


def test_a_server_that_asks_us_to_wait_is_not_asked_for_smaller_pages(layer):
    layer.features, layer.cap = points(1000), 1000
    busy = Answer(b"", 429, {"Retry-After": "30"})
    layer.answers = lambda what, asked: busy if what == "page" else None
    with pytest.raises(SourceError, match="answered 429"):
        night()
    assert len(layer.queries()) == 1


@pytest.mark.parametrize("busy", [Answer(b"slow down", 429), error(429, "Too many requests")])
def test_a_server_that_is_asked_too_much_is_asked_for_the_same_page_again(layer, busy):
    layer.features, layer.cap = points(1000), 1000
    layer.answers = lambda what, asked: busy if what == "page" else None
    with pytest.raises(Throttled):
        night()
    assert [query["resultRecordCount"] for query in layer.queries()] == ["1000", "1000"]


@pytest.mark.parametrize("changed", [False, True])
def test_the_same_features_in_other_pages_are_the_same_content(layer, changed):
    layer.features, layer.cap = points(1000), 1000
    first = night()
    layer.answers = lambda what, asked: (
        Answer(b"", 504) if int(asked.get("resultRecordCount", 0)) > 250 else None
    )
    if changed:
        layer.features[999]["properties"]["IncidentName"] = "Another name"
    second = night()
    assert [entry.rows for entry in second.descriptor.resources] == [250] * 4
    assert (second.content == first.content) is not changed


def test_an_edit_without_a_change_is_read_once(layer):
    layer.edited = 1_700_000_000_000
    options = type("Options", (), {"offline": False, "force": False})

    def outcome() -> str:
        layer.asked.clear()
        here, read = settings.load(), lambda gathered: arcgis.fetch(gathered, LAYER)
        return api.work(here, options, SOURCE, "fires", read)["outcome"]

    assert outcome() == "new"
    layer.edited += 1
    assert outcome() == "unchanged"
    assert len(layer.queries()) == 3
    assert outcome() == "unchanged"
    assert [what for what, asked in layer.asked] == ["layer", "count"]


def test_one_size_of_page_does_not_spend_all_patience(here):
    client = download.Client(here)
    client.patience = 100
    with arcgis._share_of_patience(client, 0.5):
        assert client.patience == 50
        client.patience -= 60
    assert client.patience == 40


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"objectIdField": None, "fields": []}, "the layer has no object id"),
        ({"objectIdField": "", "fields": None}, "the layer has no object id"),
        ({"capabilities": "Map,Data"}, "cannot be queried; it offers Map,Data"),
        ({"supportedQueryFormats": "JSON, AMF"}, "gives no GeoJSON, only JSON, AMF"),
        ({"maxRecordCount": "many"}, "not a description of a layer"),
    ],
)
def test_a_layer_that_cannot_be_read_whole_is_refused(layer, described, message):
    layer.described = described
    with pytest.raises(SourceError, match=message):
        night()
    assert not layer.queries()


def test_the_object_id_is_found_among_the_fields(layer):
    layer.described = {"objectIdField": None}
    assert ids(night()) == all_ids(layer)


def test_features_without_their_object_id_are_refused(layer):
    layer.ids = "nowhere"
    with pytest.raises(SourceError, match="feature 1 has no OBJECTID"):
        night()


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("count", b'{"count": "many"}', "CountOnly=true.*: not a count"),
        ("ids", b'{"ids": [1]}', "IdsOnly=true.*: not a list of object ids"),
        ("page", b'{"type": "FeatureCollection"}', "not a page of features"),
        ("page", b"<html>", "a web page came"),
        ("page", b'{"type": "FeatureCollection", "features": [', "the JSON has no end"),
        ("layer", b"<html>sign in</html>", "not a description of a layer"),
        ("layer", b"[" * 100_000, "not a description of a layer"),
    ],
)
def test_another_answer_is_named(layer, kind, body, message):
    layer.answers = lambda what, asked: Answer(body) if what == kind else None
    with pytest.raises(SourceError, match=message):
        night()


def test_an_edition_that_is_here_already_is_not_read_again(layer):
    layer.edited = 1_760_000_000_000
    first = night()
    assert first.descriptor.publisher_version == "1760000000000"
    layer.asked.clear()
    second = night()
    assert [kind for kind, asked in layer.asked] == ["layer", "count"]
    assert second.content == first.content
    assert ids(second) == all_ids(layer)
    for member in ("rows", "completeness", "asked", "publisher_version"):
        assert getattr(second.descriptor, member) == getattr(first.descriptor, member)


def test_a_new_edition_another_query_or_another_count_is_read(layer):
    layer.edited = 1
    night()
    layer.edited = 2
    layer.asked.clear()
    night()
    assert layer.queries()
    layer.selections["POOFips='01001'"] = lambda feature: True
    layer.asked.clear()
    night(where="POOFips='01001'")
    assert layer.queries()
    layer.features.pop()
    layer.asked.clear()
    assert len(ids(night(where="POOFips='01001'"))) == 249
    assert layer.queries()


def test_without_an_edit_date_every_night_is_read(layer):
    night()
    layer.asked.clear()
    assert not night().descriptor.publisher_version
    assert len(layer.queries()) == 3


@pytest.mark.parametrize(
    ("capture", "rows"),
    [("perimeters_2025-01-19", 5), ("perimeters_2024-01-23", 0)],
)
def test_a_real_answer_is_read(layer, capture, rows):
    file = CAPTURES / "nifc" / f"{capture}.geojson"
    if not file.exists():
        pytest.skip(f"the captures are not here: {file}")
    layer.features = json.loads(file.read_bytes())["features"]
    for feature in layer.features:
        feature["properties"]["OBJECTID"] = feature["id"]
    layer.answers = lambda what, asked: Answer(file.read_bytes()) if what == "page" else None
    taken = night()
    assert taken.file.read_bytes() == file.read_bytes()
    assert taken.descriptor.rows == rows


def test_a_real_error_in_200_is_refused(layer):
    file = CAPTURES / "nifc" / "error_in_200.json"
    if not file.exists():
        pytest.skip(f"the captures are not here: {file}")
    layer.answers = lambda what, asked: Answer(file.read_bytes()) if what == "page" else None
    with pytest.raises(SourceError, match="Invalid field: POOState"):
        night()
