"""The alerts of api.weather.gov, strict about its requests, with faults that tests switch on.

https://www.weather.gov/documentation/services-web-api
"""

import json
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from publisher import Answer, Publisher

HOST = "https://api.weather.gov"


@dataclass
class Alerts:
    """`/alerts/active`. The first members are normal, the others are faults."""

    alerts: list[dict] = field(default_factory=list)
    part: int | None = None  # alerts in one part; None sends all at once
    failures: list[int] = field(default_factory=list)  # statuses of the next responses
    next_is: str | None = None  # what pagination.next says, right or wrong
    asked: int = 0

    def register(self, publisher: Publisher, path: str = "/alerts/active") -> None:
        """Serve this at a path of a publisher."""
        publisher.answers[path] = self

    def __call__(self, request) -> Answer:
        """The response to a request."""
        self.asked += 1
        asked = dict(
            parse_qsl(urlsplit(request.path).query, strict_parsing=bool("?" in request.path))
        )
        if self.failures:
            return problem(self.failures.pop(0), "Unexpected Problem")
        if "limit" in asked:
            return problem(400, "Query parameter 'limit' is not recognized")
        if "(" not in request.headers.get("User-Agent", ""):
            return problem(403, "a contact is missing in the User-Agent")
        if request.headers.get("Accept") != "application/geo+json":
            return problem(406, "this test wants GeoJSON asked for by name")
        begin = int(asked.get("cursor", 0))
        end = len(self.alerts) if self.part is None else begin + self.part
        whole = {
            "@context": [],
            "type": "FeatureCollection",
            "features": self.alerts[begin:end],
            "title": "Current watches, warnings, and advisories",
            "updated": f"2026-03-02T09:14:{self.asked % 60:02}+00:00",
        }
        if self.next_is or end < len(self.alerts):
            following = self.next_is or f"{HOST}/alerts/active?cursor={end}"
            whole["pagination"] = {"next": following}
        return Answer(json.dumps(whole).encode(), headers={"Content-Type": "application/geo+json"})


def alert(number: int) -> dict:
    """An alert for a county, without a geometry, like most."""
    name = f"urn:oid:2.49.0.1.840.0.{number:040x}.001.1"
    return {
        "id": f"{HOST}/alerts/{name}",
        "type": "Feature",
        "geometry": None,
        "properties": {
            "@id": f"{HOST}/alerts/{name}",
            "@type": "wx:Alert",
            "id": name,
            "areaDesc": "Autauga",
            "geocode": {"SAME": ["001001"], "UGC": ["ALC001"]},
            "sent": "2026-03-02T03:14:00-06:00",
            "status": "Actual",
            "messageType": "Alert",
            "event": "Flood Warning",
        },
    }


def problem(status: int, detail: str) -> Answer:
    """A problem in the form of RFC 9457, as this service sends them."""
    body = {"type": f"{HOST}/problems/Problem", "title": detail, "status": status, "detail": detail}
    headers = {"Content-Type": "application/problem+json"}
    return Answer(json.dumps(body).encode(), status, headers)
