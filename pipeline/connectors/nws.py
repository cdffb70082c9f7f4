"""The alerts of the National Weather Service, https://www.weather.gov/documentation/services-web-api.

`/alerts/active` sends all alerts in one response and refuses `limit`. Should the service ever split
it, the response names the next part in `pagination.next`. No alert at all is a valid response. The
service fails in bursts (500 to 504), which the client outlasts. It asks for a contact, which is in
the client's User-Agent.
"""

from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from pipeline.connectors.paging import PAGES, Completeness, Verdict, read_until_complete
from pipeline.errors import SourceError
from pipeline.formats import lenient_json
from pipeline.http.network import joined
from pipeline.raw.candidate import Candidate
from pipeline.text import escaped, shown

PARTS = 200  # of one response; today it has one


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

    def read(attempt: int) -> tuple[Completeness, str]:
        ids = _read(candidate, url)
        twice = next((one for one, times in Counter(ids).items() if times > 1), "")
        verdict = Verdict.INCOMPLETE if twice else Verdict.COMPLETE
        # The response is of one moment; a count requested before or after it would be of another.
        pages = len(candidate.resources)
        proof = Completeness("as sent", "id", pages, None, None, len(ids), verdict)
        return proof, f"alert {escaped(twice)} came twice"

    read_until_complete(candidate, url, read)


def _read(candidate: Candidate, url: str) -> list[str]:
    """Read every part once; returns the ids of the alerts."""
    ids: list[str] = []
    requested: list[str] = []
    while url:
        requested.append(url)
        number = len(requested)
        name = f"alerts-{number:04}.geojson" if number > 1 else "alerts.geojson"
        path = candidate.download(url, name, check=_alerts, part=PAGES)
        alerts = _alerts(path) if path else _Alerts([])  # never: a 204 is not allowed here
        candidate.resources[-1].rows = len(alerts.features)
        ids += [alert.id for alert in alerts.features]
        url = _next(requested, alerts)
    return ids


def _next(requested: list[str], alerts: _Alerts) -> str:
    """The address of the next part; empty after the last one."""
    link = alerts.pagination.next if alerts.pagination else None
    if not link:
        return ""
    here, target = requested[-1], joined(requested[-1], link)
    if not target:
        raise SourceError(f"{shown(here)}: continues at {escaped(link)}, which is not a valid URL")
    if urlsplit(target)[:2] != urlsplit(here)[:2]:
        raise SourceError(f"{shown(here)}: continues at {shown(target)}, another host")
    if target in requested:
        raise SourceError(f"{shown(here)}: continues at {shown(target)}, which was read already")
    if len(requested) == PARTS:
        raise SourceError(f"{shown(requested[0])}: more than {PARTS} parts; stopped")
    return target


def _alerts(path: Path) -> _Alerts:
    return lenient_json.read(path.read_bytes(), _Alerts, path.name, "a response with alerts")
