"""The FDSN event service (https://www.fdsn.org/webservices/fdsnws-event-1.2.pdf), as GeoJSON.

The catalogue is read by months. Events are revised and deleted for weeks, so the newest months
are read again every night; older ones are files of the snapshot that stay. Each window is counted
first, split until it is under the server's cap, and held against its count afterwards.
Parameters: https://earthquake.usgs.gov/fdsnws/event/1/
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from pipeline.download import shown
from pipeline.errors import SourceError
from pipeline.fetch import Candidate

READS = 3  # of a window that changes while it is being read
SERVER_CAP = 20_000  # events in one answer; the count's own `maxAllowed` when it gives one
_INSTANT = timedelta(milliseconds=1)  # both ends of a window are inclusive


class _Count(msgspec.Struct):
    count: int
    maxAllowed: int = SERVER_CAP


class _Features(msgspec.Struct):
    features: list[msgspec.Raw]


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
    reread:     how many of the newest months are read although they are there already.
    today:      the instant whose month is the newest; now when left out.
    parameters: further parameters of the service, such as `minmagnitude=2.5`.

    Raises SourceError when a window does not hold still or does not match its count.
    """
    begins = _month_begins(today or datetime.now(UTC), months + 1)
    proof = {"order": "time-asc", "count_before": 0, "count_after": 0, "rows": 0, "pages": 0}
    for number, (begin, end) in enumerate(pairwise(begins)):
        kept = _files_of(candidate, begin) if number < months - reread else []
        for name in kept:
            candidate.carry_over(name)
        if not kept:
            _fetch_window(candidate, base, begin, end, parameters, proof)
    candidate.extra["completeness"] = proof | {"verdict": "complete"}


def _month_begins(today: datetime, months: int) -> list[datetime]:
    """The first instants of the last months and of the month to come, oldest first."""
    year, month = today.year, today.month + 1
    begins = []
    for _ in range(months):
        year, month = (
            (year - 1, 12) if month < 1 else (year + 1, 1) if month > 12 else (year, month)
        )
        begins.append(datetime(year, month, 1, tzinfo=UTC))
        month -= 1
    return begins[::-1]


def _files_of(candidate: Candidate, begin: datetime) -> list[str]:
    names = [path.name for path in candidate.current.files] if candidate.current else []
    return [name for name in names if name.startswith(f"{begin:%Y-%m}")]


def _fetch_window(candidate, base, begin, end, parameters, proof) -> None:
    for _ in range(READS):
        before = _count(candidate, base, begin, end, parameters)
        if before.count > before.maxAllowed:
            for half in _halves(begin, end):
                _fetch_window(candidate, base, *half, parameters, proof)
            return
        name = (
            f"{begin:%Y-%m}.geojson"
            if begin.day == 1 and (end - begin).days > 27
            else (f"{begin:%Y-%m-%dT%H%M%S}.geojson")
        )
        address = _address(base, "query", begin, end, parameters | {"orderby": "time-asc"})
        events = _events(candidate.download(address, name, check=_events))
        after = _count(candidate, base, begin, end, parameters)
        if before.count == events == after.count:
            proof["count_before"] += before.count
            proof["count_after"] += after.count
            proof["rows"] += events
            proof["pages"] += 1
            return
        candidate.forget(name)
    raise SourceError(
        f"{shown(address)}: {events:,} events came where {before.count:,} were counted before "
        f"and {after.count:,} after, {READS} times"
    )


def _halves(begin: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    if end - begin < timedelta(seconds=2):
        raise SourceError(f"more events at {begin:%Y-%m-%d %H:%M:%S} than the server gives at once")
    middle = (begin + (end - begin) / 2).replace(microsecond=0)
    yield begin, middle
    yield middle, end


def _address(base: str, method: str, begin: datetime, end: datetime, parameters: dict) -> str:
    window = {
        "format": "geojson",
        "starttime": f"{begin:%Y-%m-%dT%H:%M:%S}",
        "endtime": (end - _INSTANT).strftime("%Y-%m-%dT%H:%M:%S.999"),
    }
    return f"{base}/{method}?{urlencode(window | parameters)}"


def _count(candidate, base, begin, end, parameters) -> _Count:
    address = _address(base, "count", begin, end, parameters)
    try:
        return msgspec.json.decode(candidate.ask(address), type=_Count)
    except msgspec.DecodeError as error:
        raise SourceError(f"{shown(address)}: not a count: {error}") from None


def _events(path: Path) -> int:
    try:
        return len(msgspec.json.decode(path.read_bytes(), type=_Features).features)
    except msgspec.DecodeError as error:
        raise SourceError(f"{path.name}: not a GeoJSON answer: {error}") from None
