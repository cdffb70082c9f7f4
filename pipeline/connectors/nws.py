"""The alerts of the National Weather Service, https://www.weather.gov/documentation/services-web-api.

`/alerts/active` comes in one answer and refuses `limit`; should the service ever cut it, the
answer names the next part in `pagination.next`. No alert at all is an answer. The service fails
in bursts (500 to 504), which the client outlasts; its User-Agent tells the contact that it wants.
"""

from urllib.parse import urlsplit

import msgspec

from pipeline.connectors.paging import PAGES
from pipeline.errors import SourceError
from pipeline.formats import lenient_json
from pipeline.http.network import joined
from pipeline.raw.candidate import Candidate
from pipeline.text import escaped, shown

READS = 3  # of alerts that move from part to part while they are being read
PARTS = 200  # of one answer; it has one today


class _Alert(msgspec.Struct):
    id: str


class _Pagination(msgspec.Struct):
    next: str | None = None


class _Alerts(msgspec.Struct):
    features: list[_Alert]
    pagination: _Pagination | None = None


def fetch(candidate: Candidate, url: str) -> None:
    """Fetch the alerts into `alerts.geojson`, further parts into `alerts-0002.geojson`, ….

    Parameters
    ----------
    url: address of the alerts, as `https://api.weather.gov/alerts/active`.

    Raises SourceError when an alert comes twice in every reading, when a part leads back to an
    earlier one or to another host, or when there are more than PARTS.
    """
    candidate.client.session.headers["Accept"] = "application/geo+json"
    twice = ""
    for _ in range(READS):
        candidate.forget_all()
        ids = _read(candidate, url)
        if len(set(ids)) == len(ids):
            # One answer is of one moment; a count asked for before or after it would be of another.
            candidate.extra["completeness"] = {
                "order": "as sent",
                "unique_key": "id",
                "pages": len(candidate.resources),
                "count_before": None,
                "count_after": None,
                "rows": len(ids),
                "verdict": "complete",
            }
            return
        twice = next(one for one in ids if ids.count(one) > 1)
    raise SourceError(f"{shown(url)}: alert {escaped(twice)} came twice, read {READS} times")


def _read(candidate: Candidate, url: str) -> list[str]:
    """Read every part once; returns the ids of the alerts."""
    ids: list[str] = []
    asked: list[str] = []
    while url:
        asked.append(url)
        name = f"alerts-{len(asked):04}.geojson" if len(asked) > 1 else "alerts.geojson"
        alerts = _alerts(candidate.download(url, name, check=_alerts, part=PAGES))
        candidate.resources[-1]["rows"] = len(alerts.features)
        ids += [alert.id for alert in alerts.features]
        url = _next(asked, alerts)
    return ids


def _next(asked: list[str], alerts: _Alerts) -> str:
    """The address of the next part, or nothing."""
    told = alerts.pagination.next if alerts.pagination else None
    if not told:
        return ""
    here, target = asked[-1], joined(asked[-1], told)
    if not target:
        raise SourceError(f"{shown(here)}: goes on at {escaped(told)}, which is not a valid URL")
    if urlsplit(target)[:2] != urlsplit(here)[:2]:
        raise SourceError(f"{shown(here)}: goes on at {shown(target)}, another host")
    if target in asked:
        raise SourceError(f"{shown(here)}: goes on at {shown(target)}, which was read already")
    if len(asked) == PARTS:
        raise SourceError(f"{shown(asked[0])}: more than {PARTS} parts; stopped")
    return target


def _alerts(path) -> _Alerts:
    try:
        return lenient_json.decode(path.read_bytes(), type=_Alerts)
    except msgspec.DecodeError as error:
        raise SourceError(f"{path.name}: not an answer with alerts: {error}") from None
