"""Events that are revised or deleted long after they happened are correct the next night."""

import copy
import json
import random
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from test_fdsn import TODAY, Service, event, milliseconds, night, starts

from pipeline import settings, state
from pipeline.connectors import corrections
from pipeline.errors import SourceError, Throttled

MONTHS, LEAST = 6, 2.5
DAY = timedelta(days=1)
FIRST = datetime(2025, 10, 1, tzinfo=UTC)  # of the window
OLD_ENDS = datetime(2026, 2, 1, tzinfo=UTC)  # later months are read again every night


@pytest.fixture
def service(here, publisher, monkeypatch) -> Service:
    monkeypatch.setenv("MIRRORS", f"earthquake.usgs.gov={publisher.url}")
    monkeypatch.setenv("FETCH_PATIENCE", "0")
    settings.load.cache_clear()
    return Service(publisher)


def assert_is_the_catalogue(taken, service) -> None:
    """The snapshot has what the service has now: every event unchanged and in its month."""
    actual = {
        (file.stem, e["id"], tuple(e["properties"].items()))
        for file in taken.files
        for e in json.loads(file.read_bytes())["features"]
    }
    wanted = {
        (
            f"{datetime.fromtimestamp(e['properties']['time'] / 1000, UTC):%Y-%m}",
            e["id"],
            tuple(e["properties"].items()),
        )
        for e in service.events
        if e["properties"]["mag"] >= LEAST
    }
    assert actual == wanted


def instant(random_: random.Random, first=FIRST, end=OLD_ENDS) -> datetime:
    return first + (end - first) * random_.random()


def revise(service, random_: random.Random, **changes) -> None:
    changed = random_.choice(service.events)
    changed["properties"] |= {"updated": service.generated} | changes


def rename(service, random_: random.Random) -> None:
    """Another network's solution becomes the preferred one: a new id, the old one is an alias."""
    changed = random_.choice(service.events)
    before, changed["id"] = changed["id"], f"ak{random_.random()}"
    changed["properties"] |= {"ids": f",{before},{changed['id']},", "updated": service.generated}


def delete(service, random_: random.Random, *, is_named: bool) -> None:
    gone = service.events.pop(random_.randrange(len(service.events)))
    properties = {"mag": None, "time": gone["properties"]["time"], "status": "deleted"}
    listed = gone | {"properties": properties | {"updated": service.generated}}
    service.deleted.append(listed | ({} if is_named else {"id": ""}))


def add(service, random_: random.Random) -> None:
    name = f"late{random_.random()}"
    service.events.append(event(name, instant(random_), 3, service.generated))


CORRECTIONS = {
    "another place": lambda s, r: revise(s, r, place=f"{r.random()}"),
    "a larger magnitude": lambda s, r: revise(s, r, mag=4 + r.random()),
    "a magnitude below the least": lambda s, r: revise(s, r, mag=1.5),
    "another month": lambda s, r: revise(s, r, time=milliseconds(instant(r))),
    "one of the newest months": lambda s, r: revise(
        s, r, time=milliseconds(instant(r, OLD_ENDS, TODAY))
    ),
    "another id": rename,
    "deleted": lambda s, r: delete(s, r, is_named=True),
    "deleted, without its id": lambda s, r: delete(s, r, is_named=False),
    "a late event": add,
}


def fill(service, random_: random.Random) -> None:
    service.events = [
        event(f"us{n}", instant(random_, FIRST, TODAY), random_.choice([1.5, 2.5, 5]), 0)
        for n in range(25)
    ]


def next_night(service, **more):
    service.generated += milliseconds(datetime.fromtimestamp(0, UTC) + DAY)
    service.queries.clear()
    service.changes.clear()
    return night(months=MONTHS, reread=2, minmagnitude=LEAST, **more)


@pytest.mark.parametrize("what", CORRECTIONS)
def test_a_correction_of_an_old_event_is_there_the_next_night(service, what, is_long):
    random_ = random.Random(what)
    for _ in range(20 if is_long else 2):
        shutil.rmtree(settings.load().data_dir, ignore_errors=True)
        fill(service, random_)
        next_night(service)
        CORRECTIONS[what](service, random_)
        assert_is_the_catalogue(next_night(service), service)


@pytest.mark.parametrize("is_renamed", [False, True])
@pytest.mark.parametrize("edge", [FIRST, OLD_ENDS])
def test_an_event_that_a_revision_moves_out_of_the_old_months_leaves_its_file(
    service, edge, is_renamed
):
    """An event leaves the older months: before the window, or into a month read every night."""
    hour = timedelta(hours=1)
    inside, outside = (hour, -hour) if edge == FIRST else (-hour, hour)
    fill(service, random.Random(3))
    service.events.append(event("moved", edge + inside, 5, 0))
    next_night(service)
    moved = service.events[-1]
    moved["properties"] |= {"time": milliseconds(edge + outside), "updated": service.generated}
    if is_renamed:
        moved["id"] = "other"
        moved["properties"]["ids"] = ",moved,other,"
    taken = next_night(service)
    ids = [e["id"] for file in taken.files for e in json.loads(file.read_bytes())["features"]]
    assert ids.count("moved") + ids.count("other") == (edge == OLD_ENDS)


def test_after_any_corrections_the_next_night_has_the_catalogue(service, is_long):
    """Series of nights; sometimes the service says nothing, or the recorded time is lost."""
    random_ = random.Random(11)
    for _ in range(40 if is_long else 4):
        shutil.rmtree(settings.load().data_dir, ignore_errors=True)
        fill(service, random_)
        next_night(service)
        for _ in range(5):
            for _ in range(random_.randint(0, 3)):
                random_.choice(list(CORRECTIONS.values()))(service, random_)
            service.refuses = random_.choice([0, 0, 400])
            if random_.random() < 0.3:
                (settings.load().state / "quakes.json").unlink()
            taken = next_night(service)
            if not service.refuses:
                assert_is_the_catalogue(taken, service)


def test_a_quiet_night_asks_twice_and_reads_no_old_month_again(service):
    fill(service, random.Random(1))
    first = next_night(service)
    kept = {file.name: file.read_bytes() for file in first.files}
    for _ in range(3):
        taken = next_night(service)
        assert [asked.get("includedeleted") for asked in service.changes] == [None, "only"]
        assert starts(service) == ["2026-02", "2026-03"]
    names = [file for file in taken.files if file.stem < "2026-02"]
    assert len(names) == 4
    assert all(file.read_bytes() == kept[file.name] for file in names)


def test_changes_are_asked_for_since_the_last_time_by_the_clock_of_the_service(service):
    fill(service, random.Random(1))
    next_night(service)
    for _ in range(2):
        before = service.generated
        next_night(service)
        since = datetime.fromtimestamp(before / 1000, UTC) - corrections.OVERLAP
        # In the night before, some responses came after the one to this query.
        asked = datetime.fromisoformat(f"{service.changes[0]['updatedafter']}+00:00")
        assert timedelta(0) <= since - asked < timedelta(seconds=2)
        assert service.changes[0]["starttime"] == "2025-09-30T00:00:00"  # a day before the window
        assert "minmagnitude" not in service.changes[0]


def test_a_snapshot_that_came_back_from_the_stash_is_asked_about_anew(service, tmp_path):
    random_ = random.Random(5)
    fill(service, random_)
    here, older = settings.load(), next_night(service)
    shutil.copytree(older.folder, tmp_path / "stashed")
    delete(service, random_, is_named=True)
    assert_is_the_catalogue(next_night(service), service)
    for _ in range(3):
        next_night(service)
    shutil.rmtree(here.raw / "quakes")
    shutil.copytree(tmp_path / "stashed", here.raw / "quakes")
    assert_is_the_catalogue(next_night(service), service)


@pytest.mark.parametrize("status", [400, 404, 409, 500])
def test_where_the_service_does_not_tell_one_month_a_night_is_read_again(service, status):
    fill(service, random.Random(1))
    next_night(service)
    service.refuses = status
    read = []
    for number in range(4):
        taken = next_night(service, today=TODAY - timedelta(days=number))
        (again,) = [month for month in starts(service) if month < "2026-02"]
        read.append(again)
        assert "the service did not say what it corrected later" in taken.descriptor.note
    assert sorted(read) == ["2025-10", "2025-11", "2025-12", "2026-01"]


def test_what_was_changed_while_the_service_did_not_tell_is_not_lost(service):
    random_ = random.Random(7)
    fill(service, random_)
    next_night(service)
    service.refuses = 400
    CORRECTIONS["a magnitude below the least"](service, random_)
    for number in range(3):
        next_night(service, today=TODAY - timedelta(days=number % 2))
    service.refuses = 0
    assert_is_the_catalogue(next_night(service), service)


def test_more_changes_than_one_answer_holds_read_every_month_again(service, monkeypatch):
    random_ = random.Random(3)
    fill(service, random_)
    next_night(service)
    monkeypatch.setattr(corrections, "MOST", 3)
    for _ in range(5):
        CORRECTIONS["another place"](service, random_)
    assert_is_the_catalogue(next_night(service), service)
    assert len(starts(service)) == MONTHS


def test_a_service_that_asks_for_less_is_not_asked_on(service):
    fill(service, random.Random(1))
    next_night(service)
    service.refuses = 429
    with pytest.raises(Throttled):
        next_night(service)
    assert service.queries == []


def test_a_service_that_tells_no_time_is_asked_for_all_changes(service):
    fill(service, random.Random(1))
    service.generated = 10**18  # nanoseconds, say
    night(months=MONTHS, reread=2, minmagnitude=LEAST)
    night(months=MONTHS, reread=2, minmagnitude=LEAST)
    assert service.changes[0]["updatedafter"] == "2025-10-01T00:00:00"


def test_nothing_is_noted_of_a_fetch_that_fails(service):
    random_ = random.Random(9)
    fill(service, random_)
    next_night(service)
    before = copy.deepcopy(state.read(settings.load(), "quakes")["validators"])
    CORRECTIONS["deleted"](service, random_)
    service.between = lambda: service.events.append(event(f"{random_.random()}", TODAY))
    with pytest.raises(SourceError, match="were counted before"):
        next_night(service)
    assert state.read(settings.load(), "quakes")["validators"] == before
    service.between = lambda: None
    assert_is_the_catalogue(next_night(service), service)
