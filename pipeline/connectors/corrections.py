"""What an event service changed in months that are files of the snapshot already.

USGS documents two parameters for it: `updatedafter`, and `includedeleted=only`, which lists deleted
events (https://earthquake.usgs.gov/fdsnws/event/1/). Whoever asks leaves out the magnitude: an
event that was revised to a smaller one is in no other answer. An event may have been moved to
another month, may have got another id (`ids` has its former ones), and of some deleted ones the
service gives no id at all, but the time. Months that any of this touches are read again as a whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from pipeline.errors import SourceError, Throttled
from pipeline.formats import lenient_json
from pipeline.raw import checks
from pipeline.raw.candidate import Candidate
from pipeline.raw.fingerprints import fingerprint_of
from pipeline.text import shown

MOST = 20_000  # events in one answer; where there are more changes, every month is read again
OVERLAP = timedelta(hours=6)  # a change may be found some time after the instant it is stamped with
MARGIN = timedelta(days=1)  # by which a revision moves an event out of the months that are kept

Window = tuple[datetime, datetime]


class _Properties(msgspec.Struct):
    time: float | None = None  # milliseconds since 1970
    mag: float | None = None
    ids: str | None = None  # as ",us7000abcd,ak024xyz,"


class _Event(msgspec.Struct):
    id: str | None = None
    properties: _Properties = msgspec.field(default_factory=_Properties)


class _Metadata(msgspec.Struct):
    generated: float | None = None  # milliseconds since 1970, by the publisher's clock


class _Answer(msgspec.Struct):
    features: list[msgspec.Raw]
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


@dataclass
class _Kept:
    """The events of the files that would stay: their bytes and their month, by every id."""

    windows: list[Window]
    events: dict[str, tuple[bytes, Window]]
    read_at: float | None  # when the oldest file was answered, as `_Metadata.generated`


@dataclass(frozen=True)
class Corrections:
    """The months to read again, and up to when the service was asked, by its clock."""

    windows: set[Window]
    checked_at: float | None  # as `_Metadata.generated`


def find(
    candidate: Candidate,
    base: str,
    kept: dict[Window, list[str]],
    parameters: dict,
    today: datetime,
) -> Corrections:
    """The months to read again because the service changed or deleted an event of theirs.

    Parameters
    ----------
    base:       address of the service.
    kept:       the months that are in the current snapshot, with their files.
    parameters: those the months are read with.

    Where the service does not tell, one month a night is read again in turn, and a note says so;
    the next night asks for what was changed since the last time that it told.
    Raises Throttled when the service asks us to ask less.
    """
    if not kept:
        return Corrections(set(), None)
    known = _known(candidate, kept)
    checked_at = _checked_at(candidate, base) or known.read_at
    try:
        told = list(_told(candidate, base, known, checked_at))
    except Throttled:
        raise
    except SourceError as error:
        candidate.extra["note"] = (
            f"later corrections could not be asked for ({error.what}): one of {len(kept)} older "
            "months is read again a night"
        )
        return Corrections({_turn(known.windows, today)}, checked_at)
    generated = [answer.metadata.generated for _, answer in told]
    times = [time for time in generated if time is not None]
    checked_at = min(times) if len(times) == len(generated) else checked_at
    if any(len(answer.features) >= MOST for _, answer in told):
        return Corrections(set(kept), checked_at)
    touched = (
        _touched(known, bytes(feature), is_deletion, parameters)
        for is_deletion, answer in told
        for feature in answer.features
    )
    return Corrections(set(chain.from_iterable(touched)), checked_at)


def note(candidate: Candidate, base: str, found: Corrections) -> None:
    """Note for the next night up to when the service was asked.

    It holds for the files as they are when all are read, and for no other snapshot: one that comes
    back from the stash may be older.
    """
    if found.checked_at is not None:
        files = {entry.path: entry.content for entry in candidate.resources}
        told = {"checked_at": found.checked_at, "content": fingerprint_of(files)}
        candidate.validators[_asked(base)] = told


def _asked(base: str) -> str:
    return shown(f"{base}/query?updatedafter")


def _checked_at(candidate: Candidate, base: str) -> float | None:
    known = candidate.previous_validators(_asked(base))
    return known.get("checked_at") if known.get("content") == candidate.kept.content else None


def _known(candidate: Candidate, kept: dict[Window, list[str]]) -> _Kept:
    events, read_at = {}, []
    for window, names in kept.items():
        for name in names:
            answer = _decoded((candidate.kept.folder / name).read_bytes(), name)
            read_at.append(answer.metadata.generated)
            for feature in answer.features:
                events |= {one: (bytes(feature), window) for one in _ids(_event(feature, name))}
    return _Kept(sorted(kept), events, None if None in read_at else min(read_at, default=None))


def _told(
    candidate: Candidate, base: str, known: _Kept, checked_at: float | None
) -> Iterator[tuple[bool, _Answer]]:
    """The answers to what was changed and to what was deleted."""
    begin, end = known.windows[0][0], known.windows[-1][1]
    asked = {"format": "geojson", "starttime": f"{begin - MARGIN:%Y-%m-%dT%H:%M:%S}"}
    asked |= {"endtime": f"{end + MARGIN:%Y-%m-%dT%H:%M:%S}", "limit": MOST}
    asked |= {"updatedafter": f"{_since(checked_at, begin):%Y-%m-%dT%H:%M:%S}"}
    for is_deletion in (False, True):
        only = {"includedeleted": "only"} if is_deletion else {}
        url = f"{base}/query?{urlencode(asked | only)}"
        yield is_deletion, _ask(candidate, url)


def _ask(candidate: Candidate, url: str) -> _Answer:
    def is_whole(path: Path, is_delimited: bool) -> None:
        checks.check(path, "geojson", shown(url), is_delimited=is_delimited)

    body = candidate.ask(url, is_whole, may_be_nothing=True)
    return _decoded(body, shown(url)) if body else _Answer([])


def _since(checked_at: float | None, begin: datetime) -> datetime:
    """From when on changes are asked for: all, where nobody knows when that was done last."""
    if checked_at is None:
        return begin
    try:
        return datetime.fromtimestamp(checked_at / 1000, UTC) - OVERLAP
    except (TypeError, ValueError, OverflowError, OSError):
        return begin


def _touched(known: _Kept, feature: bytes, is_deletion: bool, parameters: dict) -> Iterator[Window]:
    """The months to read again for an event that the service tells of."""
    event = _event(feature, "an event")
    kept = {known.events[one] for one in _ids(event) if one in known.events}
    if any(before == feature for before, _ in kept):
        return
    yield from (window for _, window in kept)
    is_new = not is_deletion and _may_match(event, parameters)
    if is_new or (is_deletion and not _ids(event)):
        time = event.properties.time
        yield from (w for w in known.windows if time is not None and _holds(w, time))


def _holds(window: Window, time: float) -> bool:
    begin, end = (instant.timestamp() * 1000 for instant in window)
    return begin <= time < end


def _may_match(event: _Event, parameters: dict) -> bool:
    """Whether an event may be among those asked for; of the parameters the magnitude is judged."""
    least = parameters.get("minmagnitude")
    magnitude = event.properties.mag
    return least is None or (magnitude is not None and magnitude >= float(least))


def _ids(event: _Event) -> list[str]:
    return [one for one in {event.id or "", *(event.properties.ids or "").split(",")} if one]


def _turn(kept: list[Window], today: datetime) -> Window:
    """The month whose turn it is: each of them once in as many nights as there are months."""
    numbers = {(begin.year * 12 + begin.month) % len(kept): (begin, end) for begin, end in kept}
    return numbers.get(today.toordinal() % len(kept), kept[0])


def _decoded(body: bytes, where: str) -> _Answer:
    try:
        return lenient_json.decode(body, type=_Answer)
    except msgspec.DecodeError as error:
        raise SourceError(f"{where}: not a GeoJSON answer: {error}") from None


def _event(feature: bytes, where: str) -> _Event:
    try:
        return lenient_json.decode(feature, type=_Event)
    except msgspec.DecodeError as error:
        raise SourceError(f"{where}: not an event: {error}") from None
