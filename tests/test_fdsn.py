"""The event service: months, counts, limits and edges, with a service that obeys its rules."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from conftest import CAPTURES
from publisher import Answer

from pipeline import settings, state
from pipeline.connectors import fdsn, paging
from pipeline.errors import SourceError
from pipeline.raw import checks, fingerprints, snapshot
from pipeline.raw.candidate import Candidate
from pipeline.raw.source import Source

BASE = "https://earthquake.usgs.gov/fdsnws/event/1"
SOURCE = Source(
    "T", "P", "https://e.gov/", "L", "https://l.gov/", "geojson", volatile=("metadata.generated",)
)
TODAY = datetime(2026, 3, 31, 12, tzinfo=UTC)


def milliseconds(when: datetime) -> int:
    return round(when.timestamp() * 1000)


def event(name: str, when: str | datetime, mag: float = 3.0, updated: float | None = None) -> dict:
    when = datetime.fromisoformat(f"{when}+00:00") if isinstance(when, str) else when
    time = milliseconds(when)
    return {
        "type": "Feature",
        "properties": {"mag": mag, "time": time, "updated": time if updated is None else updated},
        "geometry": None,
        "id": name,
    }


class Service:
    """An FDSN event service: both ends of a window are inclusive, too many events are an error."""

    def __init__(self, publisher, cap=20_000):
        self.events: list[dict] = []
        self.deleted: list[dict] = []  # with the status `deleted`, listed by `includedeleted`
        self.cap, self.generated = cap, milliseconds(TODAY)
        self.changes: list[dict] = []  # the parameters of every query for changes
        self.refuses = 0  # the status of a response to a query for changes
        self.queries: list[dict] = []  # the parameters of every query
        self.nodata = 200  # the status of a response without an event
        self.between = lambda: None  # what happens between a count and its query
        publisher.answers["/fdsnws/event/1/count"] = self.count
        publisher.answers["/fdsnws/event/1/query"] = self.query

    def _found(self, request):
        asked = dict(parse_qsl(urlsplit(request.path).query))
        assert asked.pop("format") == "geojson"
        begin, end = (
            datetime.fromisoformat(f"{asked[side]}+00:00").timestamp() * 1000
            for side in ("starttime", "endtime")
        )
        # The catalogue itself, or only the events deleted from it.
        events = self.deleted if asked.get("includedeleted") == "only" else self.events
        found = [e for e in events if begin <= e["properties"]["time"] <= end]
        if least := asked.get("minmagnitude"):
            sized = [e for e in found if e["properties"]["mag"] is not None]
            found = [e for e in sized if e["properties"]["mag"] >= float(least)]
        if after := asked.get("updatedafter"):
            since = milliseconds(datetime.fromisoformat(f"{after}+00:00"))
            found = [e for e in found if e["properties"]["updated"] >= since]
        return asked, found

    def count(self, request):
        asked, found = self._found(request)
        assert set(asked) == {"starttime", "endtime", "minmagnitude"}
        return Answer(json.dumps({"count": len(found), "maxAllowed": self.cap}).encode())

    def query(self, request):
        self.between()
        asked, found = self._found(request)
        self.generated += 1
        if "updatedafter" in asked:
            return self.changed(asked, found)
        assert set(asked) == {"starttime", "endtime", "minmagnitude", "orderby"}
        self.queries.append(asked)
        if len(found) > self.cap:
            return Answer(b"Error 400: matching events exceeds search limit", status=400)
        found.sort(key=lambda e: e["properties"]["time"], reverse=asked["orderby"] != "time-asc")
        return self.answer(found)

    def changed(self, asked, found):
        assert set(asked) - {"includedeleted"} == {"starttime", "endtime", "updatedafter", "limit"}
        self.changes.append(asked)
        if self.refuses:
            return Answer(b"Error: Bad Request", status=self.refuses)
        return self.answer(found[: int(asked["limit"])])

    def answer(self, found):
        if not found and self.nodata == 204:
            return Answer(b"", status=204)
        metadata = {"generated": self.generated, "count": len(found)}
        whole = {"type": "FeatureCollection", "metadata": metadata, "features": found}
        return Answer(json.dumps(whole).encode(), headers={"Content-Type": "application/json"})


@pytest.fixture
def service(here, publisher, monkeypatch):
    monkeypatch.setenv("MIRRORS", f"earthquake.usgs.gov={publisher.url}")
    settings.load.cache_clear()
    return Service(publisher)


def night(months=3, reread=2, today=TODAY, minmagnitude=2.5):
    """Run one night; return the new snapshot."""
    here = settings.load()
    gathered = Candidate(here, SOURCE, "quakes", snapshot.current(here, "quakes"))
    fdsn.fetch_months(
        gathered, BASE, months=months, reread=reread, today=today, minmagnitude=minmagnitude
    )
    taken = snapshot.commit(here, "quakes", gathered.folder, gathered.describe())
    state.replace(here, "quakes", validators=gathered.validators)
    return taken


def ids(taken) -> dict[str, list[str]]:
    return {file.name: fdsn._events(file) for file in taken.files}


def starts(service) -> list[str]:
    return sorted(query["starttime"][:7] for query in service.queries)


def test_a_file_a_month_proved_by_its_counts(service):
    service.events = [event("a", "2026-01-05"), event("b", "2026-03-30"), event("c", "2026-02-01")]
    taken = night()
    assert ids(taken) == {
        "2026-01.geojson": ["a"],
        "2026-02.geojson": ["c"],
        "2026-03.geojson": ["b"],
    }
    proof = taken.descriptor.completeness
    assert proof == {
        "order": "time-asc",
        "unique_key": "id",
        "pages": 3,
        "count_before": 3,
        "count_after": 3,
        "rows": 3,
        "verdict": "complete",
    }
    assert taken.descriptor.rows == 3


def test_the_parameters_are_those_of_the_service(service):
    service.events = [event("a", "2026-03-05")]
    night(months=1)
    assert service.queries == [
        {
            "starttime": "2026-03-01T00:00:00",
            "endtime": "2026-03-31T23:59:59.999",
            "orderby": "time-asc",
            "minmagnitude": "2.5",
        }
    ]


def test_older_months_are_carried_over_and_the_newest_read_again(service):
    service.events = [event(f"e{month}", f"2026-0{month}-15") for month in (1, 2, 3)]
    first = night()
    kept = (first.folder / "2026-01.geojson").read_bytes()
    service.queries.clear()
    service.events = [event("new", "2026-03-16"), event("e2", "2026-02-15")]  # e3 was deleted
    second = night()
    assert starts(service) == ["2026-02", "2026-03"]
    assert (second.folder / "2026-01.geojson").read_bytes() == kept
    assert ids(second)["2026-03.geojson"] == ["new"]
    assert second.descriptor.completeness["rows"] == 3  # the file carried over has its own count
    assert [file.name for file in second.files] == sorted(ids(second))


def test_a_new_month_pushes_the_oldest_out(service):
    service.events = [event(f"e{month}", f"2026-0{month}-15") for month in (1, 2, 3, 4)]
    night()
    service.queries.clear()
    taken = night(today=datetime(2026, 4, 1, tzinfo=UTC))
    assert sorted(ids(taken)) == ["2026-02.geojson", "2026-03.geojson", "2026-04.geojson"]
    assert starts(service) == ["2026-03", "2026-04"]


def test_other_parameters_read_every_month_again(service):
    service.events = [event(f"e{month}", f"2026-0{month}-15", 5) for month in (1, 2, 3)]
    night()
    service.queries.clear()
    night(minmagnitude=4)
    assert starts(service) == ["2026-01", "2026-02", "2026-03"]


def test_the_same_events_are_the_same_content(service):
    service.events = [event("a", "2026-02-05"), event("b", "2026-03-05")]
    first = night()
    second = night()
    assert first.descriptor.fingerprints.bytes != second.descriptor.fingerprints.bytes
    assert first.content == second.content
    service.events.append(event("c", "2026-03-06"))
    assert night().content != first.content


@pytest.mark.parametrize("edge", ["2026-03-01T00:00:00", "2026-02-28T23:59:59.999"])
def test_an_event_on_the_edge_of_a_month_is_in_one_file(service, edge):
    service.events = [event("edge", edge), event("other", "2026-02-10")]
    files = [name for name, events in ids(night()).items() if "edge" in events]
    assert files == [f"{edge[:7]}.geojson"]


def test_an_event_revised_into_a_month_that_is_read_again_is_not_doubled(service):
    service.events = [event("moves", "2026-01-31T23:59:59"), event("other", "2026-03-10")]
    night()
    service.events[0] = event("moves", "2026-02-01T00:00:01")
    taken = ids(night())
    assert taken["2026-01.geojson"] == []
    assert taken["2026-02.geojson"] == ["moves"]


def test_a_window_over_the_cap_is_split(service):
    service.cap = 4
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    service.events = [event(f"e{n:02}", begin + timedelta(hours=30 * n)) for n in range(20)]
    service.events += [event(f"s{n}", begin + timedelta(seconds=n)) for n in range(4)]
    taken = night(months=1)
    found = [name for events in ids(taken).values() for name in events]
    assert sorted(found) == sorted(e["id"] for e in service.events)
    assert len(taken.files) > 5
    assert taken.descriptor.completeness["rows"] == 24
    # The files of an unchanged month are carried over together.
    service.queries.clear()
    april = night(months=2, reread=1, today=datetime(2026, 4, 2, tzinfo=UTC))
    assert starts(service) == ["2026-04"]
    assert april.descriptor.completeness["rows"] == 24


def test_more_at_one_instant_than_the_cap_is_an_error(service):
    service.cap = 2
    service.events = [event(f"e{n}", "2026-03-05T01:02:03") for n in range(3)]
    with pytest.raises(SourceError, match="more events at 2026-03-05 01:02:03 than the server"):
        night(months=1)


def test_an_event_that_comes_while_reading_is_read_again(service):
    service.events = [event("a", "2026-03-05")]
    late = [event("late", "2026-03-06")]
    service.between = lambda: service.events.extend(late[:1]) or late.clear()
    assert ids(night(months=1)) == {"2026-03.geojson": ["a", "late"]}
    assert len(service.queries) == 2


def test_a_window_that_never_holds_still_is_refused(service):
    service.events = [event("a", "2026-03-05")]
    service.between = lambda: service.events.append(event(f"{len(service.events)}", "2026-03-06"))
    with pytest.raises(SourceError, match=r"4 events came where 3 were counted before and 4 after"):
        night(months=1)
    assert len(service.queries) == paging.READS


def test_an_event_that_comes_twice_is_refused(service):
    service.events = [event("a", "2026-03-05"), event("a", "2026-03-06")]
    with pytest.raises(SourceError, match="an event came twice"):
        night(months=1)


def test_an_empty_month_is_a_month_and_an_empty_catalogue_is_none(service):
    service.events = [event("a", "2026-01-05")]
    assert ids(night())["2026-03.geojson"] == []
    service.events = []
    with pytest.raises(SourceError, match="no event in any of the"):
        night(reread=3)


def test_a_window_without_an_event_may_be_answered_204(service):
    """By default `nodata` is 204: a month begins without an event."""
    service.nodata = 204
    service.events = [event("a", "2026-01-05"), event("b", "2026-02-05")]
    assert list(ids(night())) == ["2026-01.geojson", "2026-02.geojson"]
    service.events.append(event("c", "2026-03-05"))
    assert ids(night())["2026-03.geojson"] == ["c"]


def test_nothing_where_events_were_counted_is_not_believed(service, publisher):
    service.events = [event("a", "2026-03-05")]
    publisher.answers["/fdsnws/event/1/query"] = [Answer(b"", status=204)]
    with pytest.raises(SourceError, match="0 events came where 1 were counted"):
        night(months=1)


@pytest.mark.parametrize(
    ("method", "body", "message"),
    [
        ("count", b"12", "not a count"),
        ("count", b'{"count": "12"}', "not a count"),
        ("query", b'{"error": "x"}', "an error came with status 200"),
        ("query", b'{"type": "FeatureCollection"}', "not a GeoJSON response"),
        ("query", b'{"type": "FeatureCollection", "features": [{"id": 1}]}', "not a GeoJSON"),
        ("query", b"<html>", "a web page"),
    ],
)
def test_another_answer_is_named(service, publisher, method, body, message):
    service.events = [event("a", "2026-03-05")]
    publisher.answers[f"/fdsnws/event/1/{method}"] = [Answer(body)]
    with pytest.raises(SourceError, match=message):
        night(months=1)


@pytest.mark.parametrize(
    ("today", "expected"),
    [
        ("2026-01-01", ["2025-11", "2025-12", "2026-01", "2026-02"]),
        ("2025-12-31", ["2025-10", "2025-11", "2025-12", "2026-01"]),
        ("2024-02-29", ["2023-12", "2024-01", "2024-02", "2024-03"]),
        ("2026-03-31", ["2026-01", "2026-02", "2026-03", "2026-04"]),
    ],
)
def test_months_at_new_year_and_on_a_leap_day(today, expected):
    begins = fdsn._month_begins(datetime.fromisoformat(today), 4)
    assert [f"{begin:%Y-%m}" for begin in begins] == expected
    assert {(begin.day, begin.hour, begin.tzinfo) for begin in begins} == {(1, 0, UTC)}


def test_a_whole_leap_february_is_one_window(service):
    service.events = [event("a", "2024-02-29T23:59:59.999")]
    taken = night(months=1, today=datetime(2024, 2, 29, 12, tzinfo=UTC))
    assert ids(taken) == {"2024-02.geojson": ["a"]}
    assert service.queries[0]["endtime"] == "2024-02-29T23:59:59.999"


def test_a_real_answer_of_the_publisher_is_read(service, publisher, tmp_path):
    capture = CAPTURES / "usgs" / "all_week_2023-08-04.geojson"
    if not capture.exists():
        pytest.skip(f"the captures are not here: {capture}")
    body = capture.read_bytes()
    service.events = json.loads(body)["features"]
    taken = night(months=2, today=datetime(2023, 8, 4, tzinfo=UTC), minmagnitude=-5)
    found = [name for events in ids(taken).values() for name in events]
    with_magnitude = [e["id"] for e in service.events if e["properties"]["mag"] is not None]
    assert sorted(found) == sorted(with_magnitude)
    # The checks accept the capture itself, byte for byte.
    checks.check(capture, "geojson", BASE)
    assert len(fdsn._events(capture)) == json.loads(body)["metadata"]["count"]
    later = body.replace(b'"generated":', b'"generated":1', 1)
    assert later != body
    volatile = ("metadata.generated",)
    prints = {fingerprints.of_json(text, volatile, "") for text in (body, later)}
    assert len(prints) == 1
