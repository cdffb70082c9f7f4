"""The FDSN event service (https://www.fdsn.org/webservices/fdsnws-event-1.2.pdf), as GeoJSON.

The catalogue is read by months. Events are revised and deleted for weeks, so the newest months
are read again every night. Older ones are files of the snapshot that stay, unless the service says
that it changed or deleted one of their events (`corrections`). Each window is counted first, split
until it is under the server's cap, and held against its count afterwards.
Parameters: https://earthquake.usgs.gov/fdsnws/event/1/
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from pipeline.connectors import corrections
from pipeline.errors import SourceError
from pipeline.formats import lenient_json
from pipeline.raw.candidate import Candidate
from pipeline.text import shown

READS = 3  # of a window that changes while it is being read
SERVER_CAP = 20_000  # events in one answer; the count's own `maxAllowed` when it gives one
ORDER = "time-asc"
_INSTANT = timedelta(milliseconds=1)  # both ends of a window are inclusive


class _Count(msgspec.Struct):
    count: int
    maxAllowed: int = SERVER_CAP


class _Feature(msgspec.Struct):
    id: str


class _Features(msgspec.Struct):
    features: list[_Feature]


def fetch_months(
    candidate: Candidate,
    base: str,
    *,
    months: int,
    reread: int,
    today: datetime | None = None,
    **parameters: object,
) -> None:
    """Fetch the events of the last `months` calendar months (UTC) into a file a month.

    Parameters
    ----------
    base:       address of the service, as `https://earthquake.usgs.gov/fdsnws/event/1`.
    reread:     how many of the newest months are read although they are there already; of the
                older ones, those in which the service changed or deleted an event.
    today:      the instant whose month is the newest; now when left out.
    parameters: further parameters of the service, such as `minmagnitude=2.5`.

    Raises SourceError when a window does not hold still or does not match its count, when there
    is no event at all, or when an event comes in two windows.
    """
    today = today or datetime.now(UTC)
    windows = [*pairwise(_month_begins(today, months + 1))][::-1]
    kept = {w: _files_of(candidate, base, *w, parameters) for w in windows[reread:]}
    kept = {window: names for window, names in kept.items() if names}
    found = corrections.find(candidate, base, kept, parameters, today)
    unread = [window for window in windows if window not in kept or window in found.windows]
    seen: dict[str, str] = {}  # event -> file, of what was read tonight
    while unread:
        for window in unread:
            _fetch_window(candidate, base, *window, parameters, seen)
            kept.pop(window, None)
        unread = [w for w, names in kept.items() if _holds_any_of(candidate, names, seen)]
    for name in chain.from_iterable(kept.values()):
        candidate.carry_over(name)
    candidate.resources.sort(key=lambda entry: entry.path)
    for entry in candidate.resources:  # of a month of many events there are several files
        candidate.parts[entry.path] = entry.path[: len("2024-01")]
    candidate.extra["window_begin"] = f"{windows[-1][0]:%Y-%m}"
    candidate.extra["completeness"] = _proof(candidate)
    corrections.note(candidate, base, found)


def _proof(candidate: Candidate) -> dict:
    """The counts of all files together; those carried over bring the counts they were read with."""
    totals = {
        member: sum(getattr(entry, member) or 0 for entry in candidate.resources)
        for member in ("count_before", "count_after", "rows")
    }
    if not totals["rows"]:
        raise SourceError("the service has no event in any month that was asked for")
    proof = {"order": ORDER, "unique_key": "id", "pages": len(candidate.resources)}
    return proof | totals | {"verdict": "complete"}


def _month_begins(today: datetime, months: int) -> list[datetime]:
    """The first instants of the last months and of the month to come, oldest first."""
    newest = today.year * 12 + today.month  # months since the year 0; it is the month to come
    numbers = range(newest - months + 1, newest + 1)
    return [datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC) for number in numbers]


def _files_of(candidate, base, begin, end, parameters) -> list[str]:
    """The files of the current snapshot that hold a month as it is asked for now, else none."""
    entries = candidate.current.descriptor.resources if candidate.current else []
    entries = [entry for entry in entries if entry.path.startswith(f"{begin:%Y-%m}")]
    wanted = _parameters_of(_address(base, "query", begin, end, parameters))
    is_the_same = all(_parameters_of(entry.url) == wanted for entry in entries)
    return [entry.path for entry in entries] if is_the_same else []


def _parameters_of(address: str) -> tuple[str, dict]:
    """A query's address without its window."""
    parts = urlsplit(address)
    asked = dict(parse_qsl(parts.query))
    return parts.path, {k: v for k, v in asked.items() if k not in ("starttime", "endtime")}


def _holds_any_of(candidate: Candidate, names: list[str], seen: dict[str, str]) -> bool:
    """Whether an event read tonight stands in an older month too: its time was revised."""
    events = [event for name in names for event in _events(candidate.kept.folder / name)]
    return bool(seen) and not seen.keys().isdisjoint(events)


def _fetch_window(candidate, base, begin, end, parameters, seen) -> None:
    trouble = ""
    for _ in range(READS):
        before = _count(candidate, base, begin, end, parameters)
        if before.count > before.maxAllowed:
            for half in _halves(begin, end):
                _fetch_window(candidate, base, *half, parameters, seen)
            return
        name = _file_name(begin, end)
        address = _address(base, "query", begin, end, parameters)
        if candidate.has(name):
            candidate.remove(name)
        # A window without an event has no file where the service answers 204 to it (`nodata`).
        path = candidate.download(address, name, check=_events, may_be_nothing=True)
        events = _events(path) if path else []
        after = _count(candidate, base, begin, end, parameters)
        is_unique = len(set(events)) == len(events) and seen.keys().isdisjoint(events)
        if before.count == len(events) == after.count and is_unique:
            if path:
                entry = candidate.resources[-1]
                entry.rows = entry.count_after = after.count
                entry.count_before = before.count
            seen.update(dict.fromkeys(events, name))
            return
        trouble = f"{shown(address)}: an event came twice, {READS} times"
        if is_unique:
            trouble = (
                f"{shown(address)}: {len(events):,} events came where {before.count:,} were "
                f"counted before and {after.count:,} after, {READS} times"
            )
    raise SourceError(trouble)


def _file_name(begin: datetime, end: datetime) -> str:
    is_month = begin.day == 1 and (end - begin).days >= 28
    return f"{begin:%Y-%m}.geojson" if is_month else f"{begin:%Y-%m-%dT%H%M%S}.geojson"


def _halves(begin: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    if end - begin < timedelta(seconds=2):
        raise SourceError(f"more events at {begin:%Y-%m-%d %H:%M:%S} than the server gives at once")
    middle = (begin + (end - begin) / 2).replace(microsecond=0)
    yield begin, middle
    yield middle, end


def _address(base: str, method: str, begin: datetime, end: datetime, parameters: dict) -> str:
    asked = {
        "format": "geojson",
        "starttime": f"{begin:%Y-%m-%dT%H:%M:%S}",
        "endtime": (end - _INSTANT).strftime("%Y-%m-%dT%H:%M:%S.999"),
    }
    asked |= {"orderby": ORDER} if method == "query" else {}
    return f"{base}/{method}?{urlencode(asked | parameters)}"


def _count(candidate, base, begin, end, parameters) -> _Count:
    address = _address(base, "count", begin, end, parameters)
    try:
        return lenient_json.decode(candidate.ask(address), type=_Count)
    except msgspec.DecodeError as error:
        raise SourceError(f"{shown(address)}: not a count: {error}") from None


def _events(path: Path) -> list[str]:
    """The ids of the events of a file, in its order."""
    try:
        features = lenient_json.decode(path.read_bytes(), type=_Features).features
    except msgspec.DecodeError as error:
        raise SourceError(f"{path.name}: not a GeoJSON answer: {error}") from None
    return [feature.id for feature in features]
