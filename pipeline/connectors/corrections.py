"""Which older months an event service has changed since they were read.

USGS documents two parameters for it: `updatedafter`, and `includedeleted=only`, which lists deleted
events (https://earthquake.usgs.gov/fdsnws/event/1/). The query leaves out the magnitude, because an
event that was revised to a smaller one would not match. A revision may move an event to another
month or give it another id (`ids` has the former ones). For some deleted events the service gives
only the time, no id. Months affected by any of this are read again as a whole.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import msgspec

from pipeline.errors import SourceError, Throttled
from pipeline.formats import lenient_json
from pipeline.raw import checks
from pipeline.raw.candidate import Candidate
from pipeline.raw.fingerprints import fingerprint_of
from pipeline.text import shown

MOST = 20_000  # events in one response; if there are more changes, every month is read again
OVERLAP = timedelta(hours=6)  # a change may become visible some time after its time stamp
MARGIN = timedelta(days=1)  # by which a revision moves an event out of the older months


class Window(NamedTuple):
    """A month, or a part of one: from `begin` until before `end`."""

    begin: datetime
    end: datetime

    def contains(self, milliseconds: float) -> bool:
        """Whether a time in milliseconds since 1970 is within it."""
        return self.begin.timestamp() * 1000 <= milliseconds < self.end.timestamp() * 1000


class _Properties(msgspec.Struct):
    time: float | None = None  # milliseconds since 1970
    mag: float | None = None
    ids: str | None = None  # as ",us7000abcd,ak024xyz,"


class _Event(msgspec.Struct):
    id: str | None = None
    properties: _Properties = msgspec.field(default_factory=_Properties)

    def ids(self) -> set[str]:
        """Its present and former ids."""
        return {self.id or "", *(self.properties.ids or "").split(",")} - {""}


class _Metadata(msgspec.Struct):
    generated: float | None = None  # milliseconds since 1970, by the publisher's clock


class _Events(msgspec.Struct):
    features: list[msgspec.Raw]
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


@dataclass
class _Kept:
    """The events in the files of the older months: their bytes and their month, by every id."""

    windows: list[Window]
    events: dict[str, tuple[bytes, Window]]
    read_at: float | None  # when the oldest file was sent, as `_Metadata.generated`


@dataclass(frozen=True)
class Corrections:
    """The months to read again, and the time, by the service's clock, up to which it was asked."""

    windows: set[Window]
    checked_at: float | None  # as `_Metadata.generated`


def find(
    candidate: Candidate,
    base: str,
    kept: Mapping[Window, list[str]],
    parameters: Mapping[str, object],
    today: datetime,
) -> Corrections:
    """The months to read again because the service changed or deleted one of their events.

    Parameters
    ----------
    base:       address of the service.
    kept:       the months in the current snapshot, with their files.
    parameters: those that the months are read with.

    If the service does not say, one month a night is read again in turn, and a note says so; the
    next night asks for all changes since the last time that it did say.
    Raises Throttled when the service asks for fewer requests.
    """
    if not kept:
        return Corrections(set(), None)
    events = _kept_events(candidate, kept)
    checked_at = _checked_at(candidate, base) or events.read_at
    try:
        changes = list(_changes(candidate, base, events, checked_at))
    except Throttled:
        raise
    except SourceError as error:
        candidate.extra["note"] = (
            f"the service did not say what it corrected later ({error.what}): one of {len(kept)} "
            "older months is read again each night"
        )
        return Corrections({_turn(events.windows, today)}, checked_at)
    times = [found.metadata.generated for _, found in changes]
    if None not in times:
        checked_at = min(filter(None, times), default=checked_at)
    if any(len(found.features) >= MOST for _, found in changes):
        return Corrections(set(kept), checked_at)
    affected = (
        _affected(events, bytes(feature), is_deletion, parameters)
        for is_deletion, found in changes
        for feature in found.features
    )
    return Corrections(set(chain.from_iterable(affected)), checked_at)


def record(candidate: Candidate, base: str, found: Corrections) -> None:
    """Record for the next night up to what time the service was asked.

    It holds for the files as they are once all are read, and for no other snapshot: one that is
    restored from the stash may be older.
    """
    if found.checked_at is not None:
        files = {entry.path: entry.content for entry in candidate.resources}
        checked = {"checked_at": found.checked_at, "content": fingerprint_of(files)}
        candidate.validators[_name(base)] = checked


def _name(base: str) -> str:
    """The address under which the time of the last check is stored."""
    return shown(f"{base}/query?updatedafter")


def _checked_at(candidate: Candidate, base: str) -> float | None:
    earlier = candidate.previous_validators(_name(base))
    is_current = earlier.get("content") == candidate.kept.content
    return earlier.get("checked_at") if is_current else None


def _kept_events(candidate: Candidate, kept: Mapping[Window, list[str]]) -> _Kept:
    events, read_at = {}, []
    for window, names in kept.items():
        for name in names:
            found = _decoded((candidate.kept.folder / name).read_bytes(), name)
            read_at.append(found.metadata.generated)
            for feature in found.features:
                events |= dict.fromkeys(_event(feature, name).ids(), (bytes(feature), window))
    return _Kept(sorted(kept), events, None if None in read_at else min(read_at, default=None))


def _changes(
    candidate: Candidate, base: str, kept: _Kept, checked_at: float | None
) -> Iterator[tuple[bool, _Events]]:
    """The changed events, and the deleted ones; the first value says which they are."""
    begin, end = kept.windows[0].begin, kept.windows[-1].end
    query = {"format": "geojson", "starttime": f"{begin - MARGIN:%Y-%m-%dT%H:%M:%S}"}
    query |= {"endtime": f"{end + MARGIN:%Y-%m-%dT%H:%M:%S}", "limit": str(MOST)}
    query |= {"updatedafter": f"{_since(checked_at, begin):%Y-%m-%dT%H:%M:%S}"}
    for is_deletion in (False, True):
        only = {"includedeleted": "only"} if is_deletion else {}
        yield is_deletion, _ask(candidate, f"{base}/query?{urlencode(query | only)}")


def _ask(candidate: Candidate, url: str) -> _Events:
    def check(path: Path, is_delimited: bool) -> None:
        checks.check(path, "geojson", shown(url), is_delimited=is_delimited)

    body = candidate.ask(url, check, may_be_nothing=True)
    return _decoded(body, shown(url)) if body else _Events([])


def _since(checked_at: float | None, begin: datetime) -> datetime:
    """The time from which changes are requested: the beginning, if no earlier check is known."""
    if checked_at is None:
        return begin
    try:
        return datetime.fromtimestamp(checked_at / 1000, UTC) - OVERLAP
    except (TypeError, ValueError, OverflowError, OSError):
        return begin


def _affected(
    kept: _Kept, feature: bytes, is_deletion: bool, parameters: Mapping[str, object]
) -> Iterator[Window]:
    """The months to read again because of an event that the service lists."""
    event = _event(feature, "an event")
    ids, time = event.ids(), event.properties.time
    earlier = {kept.events[one] for one in ids if one in kept.events}
    if any(before == feature for before, _ in earlier):
        return
    yield from (window for _, window in earlier)
    may_be_new = not is_deletion and _may_match(event, parameters)
    if time is not None and (may_be_new or (is_deletion and not ids)):
        yield from (window for window in kept.windows if window.contains(time))


def _may_match(event: _Event, parameters: Mapping[str, object]) -> bool:
    """Whether an event may match the parameters; of these only the magnitude is checked."""
    least = parameters.get("minmagnitude")
    magnitude = event.properties.mag
    return least is None or (magnitude is not None and magnitude >= float(str(least)))


def _turn(windows: list[Window], today: datetime) -> Window:
    """The month of tonight: each comes once in as many nights as there are months."""
    months = {(one.begin.year * 12 + one.begin.month) % len(windows): one for one in windows}
    return months.get(today.toordinal() % len(windows), windows[0])


def _decoded(body: bytes, where: str) -> _Events:
    return lenient_json.read(body, _Events, where, "a GeoJSON response")


def _event(feature: bytes, where: str) -> _Event:
    return lenient_json.read(feature, _Event, where, "an event")
