"""The weather service's alerts: parts, no alerts, bursts of failures."""

import json
from dataclasses import replace

import pytest
from conftest import CAPTURES
from publisher import Answer
from upstream.nws import Alerts, alert, problem

from pipeline import settings
from pipeline.connectors import nws, paging
from pipeline.errors import SourceError
from pipeline.http import client
from pipeline.raw import snapshot
from pipeline.raw.candidate import Candidate
from pipeline.raw.source import Source

URL = "https://api.weather.gov/alerts/active"
SOURCE = Source("T", "P", "https://e.gov/", "L", "https://l.gov/", "geojson", volatile=("updated",))


@pytest.fixture
def service(here, publisher, monkeypatch):
    monkeypatch.setenv("MIRRORS", f"api.weather.gov={publisher.url}")
    monkeypatch.setenv("FETCH_PATIENCE", "0")
    settings.load.cache_clear()
    monkeypatch.setattr(client, "_FIRST_WAIT", 0.01)
    service = Alerts()
    service.register(publisher)
    return service


def night():
    """Run one night; return the new snapshot."""
    here = settings.load()
    gathered = Candidate(here, SOURCE, "alerts", snapshot.current(here, "alerts"))
    nws.fetch(gathered, URL)
    return snapshot.commit(here, "alerts", gathered.folder, gathered.describe())


def ids(taken) -> list[str]:
    return [one["id"] for file in taken.files for one in json.loads(file.read_bytes())["features"]]


def test_one_answer_is_one_file(service, publisher):
    service.alerts = [alert(n) for n in range(700)]
    taken = night()
    assert publisher.paths() == ["/alerts/active"]
    assert [file.name for file in taken.files] == ["alerts.geojson"]
    assert ids(taken) == [one["id"] for one in service.alerts]
    assert taken.descriptor.rows == taken.descriptor.resources[0].rows == 700
    assert taken.descriptor.completeness == {
        "order": "as sent",
        "unique_key": "id",
        "pages": 1,
        "count_before": None,
        "count_after": None,
        "rows": 700,
        "verdict": "complete",
    }


def test_no_alert_is_an_answer(service):
    taken = night()
    assert taken.descriptor.rows == 0
    assert taken.descriptor.completeness["verdict"] == "complete"
    assert ids(taken) == []


def test_the_time_of_the_answer_is_no_content(service):
    service.alerts = [alert(1)]
    first, second = night(), night()
    assert first.descriptor.fingerprints.bytes != second.descriptor.fingerprints.bytes
    assert first.content == second.content
    service.alerts.append(alert(2))
    assert night().content != first.content


def test_further_parts_are_followed(service):
    service.alerts, service.part = [alert(n) for n in range(7)], 3
    taken = night()
    names = ["alerts.geojson", "alerts-0002.geojson", "alerts-0003.geojson"]
    assert [file.name for file in taken.files] == names
    assert ids(taken) == [one["id"] for one in service.alerts]
    assert [entry.rows for entry in taken.descriptor.resources] == [3, 3, 1]
    assert taken.descriptor.completeness["pages"] == 3


@pytest.mark.parametrize("link", [{}, {"next": None}, None])
def test_a_pagination_without_a_next_part_is_an_end(service, publisher, link):
    whole = {"type": "FeatureCollection", "features": [alert(1)], "pagination": link}
    publisher.answers["/alerts/active"] = [Answer(json.dumps(whole).encode())]
    assert len(ids(night())) == 1


def test_a_burst_of_failures_is_outlasted(service, monkeypatch):
    monkeypatch.setenv("FETCH_PATIENCE", "30")
    settings.load.cache_clear()
    service.alerts, service.failures = [alert(1)], [500, 502, 503]
    assert len(ids(night())) == 1
    assert service.asked == 4


def test_a_problem_that_comes_with_status_200_is_outlasted_too(service, publisher, monkeypatch):
    monkeypatch.setenv("FETCH_PATIENCE", "30")
    settings.load.cache_clear()
    service.alerts = [alert(1)]
    busy = [replace(problem(code, "Unexpected Problem"), status=200) for code in (500, 429, 503)]
    publisher.answers["/alerts/active"] = lambda request: busy.pop() if busy else service(request)
    assert len(ids(night())) == 1
    assert len(publisher.requests) == 4


def test_a_service_that_is_down_is_unknown_and_not_none(service):
    service.failures = [503] * 9
    with pytest.raises(SourceError, match=r"answered 503: .*Unexpected Problem"):
        night()
    assert snapshot.current(settings.load(), "alerts") is None


def test_a_part_that_leads_back_is_noticed(service):
    service.alerts, service.next_is = [alert(1)], URL
    with pytest.raises(SourceError, match="alerts/active, which was read already"):
        night()
    assert service.asked == 1


def test_parts_without_end_are_stopped(service, monkeypatch):
    monkeypatch.setattr(nws, "PARTS", 4)
    service.alerts, service.part = [alert(n) for n in range(9)], 1
    with pytest.raises(SourceError, match="more than 4 parts; stopped"):
        night()
    assert service.asked == 4


@pytest.mark.parametrize(
    "link",
    ["https://elsewhere.gov/alerts/active?cursor=1", "http://api.weather.gov/x", "//e.gov/x"],
)
def test_another_host_is_not_followed(service, link):
    service.alerts, service.next_is = [alert(1)], link
    with pytest.raises(SourceError, match="another host"):
        night()


def test_the_next_part_may_be_told_without_its_host(service, publisher):
    service.alerts, service.part = [alert(1), alert(2)], 1
    service.next_is = "/alerts/active?cursor=1"
    with pytest.raises(SourceError, match="cursor=1, which was read already"):
        night()
    assert publisher.paths() == ["/alerts/active", "/alerts/active?cursor=1"]


def test_an_alert_that_moved_to_the_next_part_is_read_again(service, publisher):
    service.alerts, service.part = [alert(n) for n in range(4)], 2
    newest = [alert(9)]

    def moving(request):
        answer = service(request)
        service.alerts[:0] = newest  # pushes the second alert into the second part
        newest.clear()
        return answer

    publisher.answers["/alerts/active"] = moving
    taken = night()
    assert ids(taken) == [one["id"] for one in service.alerts]
    assert len(ids(taken)) == 5
    assert service.asked == 6  # three parts with the second alert twice, and three more


def test_an_alert_that_always_comes_twice_is_refused(service):
    service.alerts = [alert(1), alert(2), alert(1)]
    with pytest.raises(
        SourceError, match=r"read 3 times: alert https://\S+0001\.001\.1 came twice"
    ):
        night()
    assert service.asked == paging.READS


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"type": "FeatureCollection", "features": [{}]}', "not a response with alerts"),
        (b'{"type": "FeatureCollection"}', "not a response with alerts"),
        (b'{"title": "Unexpected Problem", "status": 500}', "an error came with status 200"),
        (b'{"title": "Not Found", "status": 404}', "an error came with status 200"),
        (b"<html>", "a web page came"),
    ],
)
def test_another_answer_is_named(service, publisher, body, message):
    publisher.answers["/alerts/active"] = [Answer(body)]
    with pytest.raises(SourceError, match=message):
        night()


def test_a_real_answer_is_read(service, publisher):
    capture = CAPTURES / "nws" / "alerts_active_zone_2019-12-20.json"
    if not capture.exists():
        pytest.skip(f"the captures are not here: {capture}")
    publisher.answers["/alerts/active"] = [Answer(capture.read_bytes())]
    taken = night()
    assert taken.file.read_bytes() == capture.read_bytes()
    assert taken.descriptor.rows == 2
