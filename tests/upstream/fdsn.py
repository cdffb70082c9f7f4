"""An FDSN event service, strict about its requests: both ends of a window are inclusive.

https://earthquake.usgs.gov/fdsnws/event/1/
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

from publisher import Answer, Publisher

SERVICE = "/fdsnws/event/1"


@dataclass
class EventService:
    """A catalogue of events, GeoJSON features with `time` in milliseconds and `mag`.

    Those that are given to `updatedafter` have an `updated` in milliseconds too.
    """

    events: list[dict]
    deleted: list[dict] = field(default_factory=list)  # listed by `includedeleted=only`
    cap: int = 20_000
    before: Callable[[str, dict], object] = lambda what, asked: None  # called before a response
    asked: list[tuple[str, dict]] = field(default_factory=list)  # all requests, in order

    def register(self, publisher: Publisher, prefix: str = "") -> None:
        """Serve this on a publisher, below a prefix such as `/earthquake.usgs.gov`."""
        publisher.answers[f"{prefix}{SERVICE}/count"] = self.count
        publisher.answers[f"{prefix}{SERVICE}/query"] = self.query

    def count(self, request) -> Answer:
        """The number of events in a window."""
        return _as_json({"count": len(self._found("count", request)), "maxAllowed": self.cap})

    def query(self, request) -> Answer:
        """The events of a window; `metadata.generated` differs in every response."""
        found = self._found("query", request)
        if len(found) > self.cap:
            return Answer(b"Error 400: Bad Request", 400)
        metadata = {"generated": 1_700_000_000_000 + len(self.asked), "count": len(found)}
        return _as_json({"type": "FeatureCollection", "metadata": metadata, "features": found})

    def _found(self, what: str, request) -> list[dict]:
        asked = dict(parse_qsl(urlsplit(request.path).query, strict_parsing=True))
        assert set(asked) <= {
            *("format", "starttime", "endtime", "orderby", "minmagnitude"),
            *("updatedafter", "includedeleted", "limit"),
        }
        assert asked["format"] == "geojson"
        self.asked.append((what, asked))
        self.before(what, asked)
        begin, end = (_milliseconds(asked[side]) for side in ("starttime", "endtime"))
        least = float(asked.get("minmagnitude", -10))
        events = self.deleted if asked.get("includedeleted") == "only" else self.events
        after = _milliseconds(asked.get("updatedafter", "1970-01-01"))
        found = [event["properties"] | {"event": event} for event in events]
        found = [e for e in found if (e.get("updated") or e["time"]) >= after]
        chosen = [e for e in found if begin <= e["time"] <= end and e["mag"] >= least]
        return [e["event"] for e in sorted(chosen, key=lambda e: e["time"])]


def event(name: str, when: datetime, longitude: float, latitude: float) -> dict:
    """An earthquake of magnitude 3."""
    properties = {"mag": 3.0, "time": round(when.timestamp() * 1000), "tsunami": 0}
    properties |= {"type": "earthquake", "status": "reviewed", "place": "somewhere"}
    point = {"type": "Point", "coordinates": [longitude, latitude, 10]}
    return {"type": "Feature", "properties": properties, "geometry": point, "id": name}


def _milliseconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000


def _as_json(value: object) -> Answer:
    return Answer(json.dumps(value).encode(), headers={"Content-Type": "application/json"})
