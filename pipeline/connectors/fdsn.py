"""The FDSN event service (https://www.fdsn.org/webservices/fdsnws-event-1.2.pdf), as GeoJSON.

The catalogue is read by months. Events are revised and deleted for weeks, so the newest months are
read again every night. Older months stay in the snapshot, unless the service says that it changed
or deleted one of their events (`corrections`). Each window is counted first, split until it is
below the server's limit, and compared with its count afterwards.
Parameters: https://earthquake.usgs.gov/fdsnws/event/1/
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from pipeline.connectors import corrections
from pipeline.connectors.corrections import Window
from pipeline.connectors.paging import READS, Completeness
from pipeline.errors import SourceError
from pipeline.formats import lenient_json
from pipeline.raw.candidate import Candidate
from pipeline.text import shown

SERVER_CAP = 20_000  # events in one response, unless a count has its own `maxAllowed`
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
    """Fetch the events of the last `months` calendar months (UTC) into a file per month.

    Parameters
    ----------
    base:       address of the service, as `https://earthquake.usgs.gov/fdsnws/event/1`.
    reread:     how many of the newest months are always read again; of the older ones, those in
                which the service changed or deleted an event.
    today:      a time in the newest month; now when left out.
    parameters: further parameters of the service, such as `minmagnitude=2.5`.

    Raises SourceError when a window keeps changing or does not match its count, when there is no
    event at all, or when an event comes in two windows.
    """
    today = today or datetime.now(UTC)
    service = _Service(candidate, base, parameters)
    windows = [Window(*pair) for pair in pairwise(_month_begins(today, months + 1))][::-1]
    kept = {window: names for window in windows[reread:] if (names := service.files_of(window))}
    found = corrections.find(candidate, base, kept, parameters, today)
    unread = [window for window in windows if window not in kept or window in found.windows]
    while unread:
        for window in unread:
            service.fetch(window)
            kept.pop(window, None)
        unread = [window for window, names in kept.items() if service.has_moved_from(names)]
    for name in chain.from_iterable(kept.values()):
        candidate.carry_over(name)
    candidate.resources.sort(key=lambda entry: entry.path)
    for entry in candidate.resources:  # a month with many events has several files
        candidate.parts[entry.path] = entry.path[: len("2024-01")]
    candidate.extra["window_begin"] = f"{windows[-1].begin:%Y-%m}"
    _proof(candidate).put_into(candidate)
    corrections.record(candidate, base, found)


def _proof(candidate: Candidate) -> Completeness:
    """The sum of the counts of all files; those carried over have the counts of their own night."""
    before, after, rows = (
        sum(getattr(entry, member) or 0 for entry in candidate.resources)
        for member in ("count_before", "count_after", "rows")
    )
    if not rows:
        raise SourceError("the service has no event in any of the requested months")
    return Completeness(ORDER, "id", len(candidate.resources), before, after, rows)


def _month_begins(today: datetime, months: int) -> list[datetime]:
    """The first instants of the last months and of the next month, oldest first."""
    newest = today.year * 12 + today.month  # months since the year 0; it is the next month
    numbers = range(newest - months + 1, newest + 1)
    return [datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC) for number in numbers]


@dataclass
class _Service:
    """The service, with the parameters of one source, and the events read tonight."""

    candidate: Candidate
    base: str
    parameters: Mapping[str, object]
    read: set[str] = field(default_factory=set)  # ids

    def files_of(self, window: Window) -> list[str]:
        """The current files of a month, if they were read with the same parameters; else none."""
        current = self.candidate.current
        entries = current.descriptor.resources if current else []
        entries = [each for each in entries if each.path.startswith(f"{window.begin:%Y-%m}")]
        wanted = _without_window(self._address("query", window))
        is_same_query = all(_without_window(each.url) == wanted for each in entries)
        return [each.path for each in entries] if is_same_query else []

    def has_moved_from(self, names: list[str]) -> bool:
        """Whether an event read tonight is also in these older files: its time was revised."""
        folder = self.candidate.kept.folder
        return any(not self.read.isdisjoint(_events(folder / name)) for name in names)

    def fetch(self, window: Window) -> None:
        """Fetch the events of a window into a file, or into several below the server's limit."""
        address, name = self._address("query", window), _file_name(window)
        problem = ""
        for _ in range(READS):
            before = self._count(window)
            if before.count > before.maxAllowed:
                for half in _halves(window):
                    self.fetch(half)
                return
            if self.candidate.has(name):
                self.candidate.remove(name)
            # If the service sends 204 for a window without an event, there is no file (`nodata`).
            path = self.candidate.download(address, name, check=_events, may_be_nothing=True)
            events = _events(path) if path else []
            after = self._count(window)
            is_unique = len(set(events)) == len(events) and self.read.isdisjoint(events)
            if before.count == len(events) == after.count and is_unique:
                if path:
                    entry = self.candidate.resources[-1]
                    entry.rows, entry.count_before = len(events), before.count
                    entry.count_after = after.count
                self.read.update(events)
                return
            problem = "an event came twice"
            if is_unique:
                problem = (
                    f"{len(events):,} events came where {before.count:,} were counted before and "
                    f"{after.count:,} after"
                )
        raise SourceError(f"{shown(address)}: read {READS} times: {problem}")

    def _count(self, window: Window) -> _Count:
        address = self._address("count", window)
        return lenient_json.read(self.candidate.ask(address), _Count, shown(address), "a count")

    def _address(self, method: str, window: Window) -> str:
        query = {
            "format": "geojson",
            "starttime": f"{window.begin:%Y-%m-%dT%H:%M:%S}",
            "endtime": (window.end - _INSTANT).strftime("%Y-%m-%dT%H:%M:%S.999"),
        }
        query |= {"orderby": ORDER} if method == "query" else {}
        return f"{self.base}/{method}?{urlencode({**query, **self.parameters})}"


def _without_window(address: str) -> tuple[str, dict]:
    """The path and the parameters of a query, without its window."""
    parts = urlsplit(address)
    query = dict(parse_qsl(parts.query))
    return parts.path, {k: v for k, v in query.items() if k not in ("starttime", "endtime")}


def _file_name(window: Window) -> str:
    begin, end = window
    is_month = begin.day == 1 and (end - begin).days >= 28
    return f"{begin:%Y-%m}.geojson" if is_month else f"{begin:%Y-%m-%dT%H%M%S}.geojson"


def _halves(window: Window) -> Iterator[Window]:
    begin, end = window
    if end - begin < timedelta(seconds=2):
        raise SourceError(f"more events at {begin:%Y-%m-%d %H:%M:%S} than the server sends at once")
    middle = (begin + (end - begin) / 2).replace(microsecond=0)
    yield Window(begin, middle)
    yield Window(middle, end)


def _events(path: Path) -> list[str]:
    """The ids of the events in a file, in its order."""
    found = lenient_json.read(path.read_bytes(), _Features, path.name, "a GeoJSON response")
    return [feature.id for feature in found.features]
