"""A layer of an ArcGIS FeatureServer, strict about its requests, with faults that tests switch on.

https://developers.arcgis.com/rest/services-reference/enterprise/query-feature-service-layer/
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from publisher import Answer, Publisher

QUERY = {"where", "outFields", "outSR", "f", "orderByFields", "resultOffset", "resultRecordCount"}


@dataclass
class FeatureLayer:
    """One layer. The first members are normal, the others are faults."""

    features: list[dict]  # GeoJSON features, with the object id among the properties
    key: str = "OBJECTID"
    cap: int = 2000  # its maxRecordCount
    pages: bool = True  # supportsPagination
    orders: bool = True  # supportsOrderBy
    edited: int | None = None  # editingInfo.lastEditDate, milliseconds
    selections: dict[str, Callable[[dict], bool]] = field(default_factory=dict)  # by where
    described: dict = field(default_factory=dict)  # further members of the description
    word: str = "properties"  # where exceededTransferLimit is: properties, top or nowhere
    ids: str = "both"  # where the object id is: both, id, properties or nowhere

    real_cap: int | None = None  # features it really sends at once
    hidden: frozenset[int] = frozenset()  # object ids that count in a page but are left out
    ignores_offset: bool = False
    answers: Callable[[str, dict], Answer | None] = lambda what, asked: (
        None
    )  # instead of its own responses
    before: Callable[[str, dict], object] = lambda what, asked: None  # called before a response

    asked: list[tuple[str, dict]] = field(default_factory=list)  # all requests, in order

    def register(self, publisher: Publisher, path: str) -> None:
        """Serve this at a path of a publisher."""
        publisher.answers[path] = publisher.answers[f"{path}/query"] = self

    def queries(self, what: str = "page") -> list[dict]:
        """The parameters of all requests of a kind: layer, count, ids or page."""
        return [asked for kind, asked in self.asked if kind == what]

    def __call__(self, request) -> Answer:
        """The response to a request."""
        parts = urlsplit(request.path)
        asked = dict(parse_qsl(parts.query, strict_parsing=True))
        what = self._what(parts.path, asked)
        self.asked.append((what, asked))
        self.before(what, asked)
        instead = self.answers(what, asked)
        if not instead and "where" in asked and self._found(asked) is None:
            instead = error(400, "", f"'Invalid field: {asked['where']}' parameter is invalid")
        return instead or getattr(self, f"_{what}")(asked)

    def _what(self, path: str, asked: dict) -> str:
        if not path.endswith("/query"):
            return "layer"
        kinds = {"returnCountOnly": "count", "returnIdsOnly": "ids"}
        return next((kinds[name] for name in kinds if asked.get(name) == "true"), "page")

    def _layer(self, asked: dict) -> Answer:
        assert asked == {"f": "json"}
        abilities = {"supportsPagination": self.pages, "supportsOrderBy": self.orders}
        description = {
            "currentVersion": 11.2,
            "id": 0,
            "type": "Feature Layer",
            "geometryType": "esriGeometryPoint",
            "objectIdField": self.key,
            "fields": [{"name": self.key, "type": "esriFieldTypeOID", "alias": self.key}],
            "maxRecordCount": self.cap,
            "capabilities": "Query",
            "supportedQueryFormats": "JSON, geoJSON, PBF",
            "advancedQueryCapabilities": abilities,
        }
        if self.edited is not None:
            description["editingInfo"] = {"lastEditDate": self.edited}
        return as_json(description | self.described)

    def _count(self, asked: dict) -> Answer:
        return as_json({"count": len(self._visible(asked))})

    def _ids(self, asked: dict) -> Answer:
        numbers = [feature["properties"][self.key] for feature in self._visible(asked)]
        return as_json({"objectIdFieldName": self.key, "objectIds": numbers or None})

    def _page(self, asked: dict) -> Answer:
        assert set(asked) <= QUERY and asked["f"] == "geojson" and asked["outSR"] == "4326"
        found = self._found(asked)
        if "orderByFields" in asked:
            assert self.orders and asked["orderByFields"] == self.key
            found.sort(key=lambda feature: feature["properties"][self.key])
        if {"resultOffset", "resultRecordCount"} & set(asked) and not self.pages:
            return as_json({"error": {"code": 400, "message": "Pagination is not supported."}})
        size = min(int(asked.get("resultRecordCount", self.cap)), self.real_cap or self.cap)
        begin = 0 if self.ignores_offset else int(asked.get("resultOffset", 0))
        page = [one for one in found[begin : begin + size] if not self._is_hidden(one)]
        whole = {"type": "FeatureCollection", "features": [self._shown(one) for one in page]}
        is_cut = len(found) > begin + size
        if is_cut and self.word == "properties":
            whole = {"type": whole["type"], "properties": {"exceededTransferLimit": True}} | whole
        elif is_cut and self.word == "top":
            whole["exceededTransferLimit"] = True
        return as_json(whole, "application/geo+json")

    def _found(self, asked: dict) -> list[dict] | None:
        """The features that match a `where`; None if it has an unknown field."""
        ranged = re.fullmatch(
            rf"\((.*)\) AND {self.key} >= (\d+) AND {self.key} <= (\d+)", asked["where"]
        )
        where = ranged[1] if ranged else asked["where"]
        if where != "1=1" and where not in self.selections:
            return None
        found = list(filter(self.selections.get(where), self.features))
        if not ranged:
            return found
        low, high = int(ranged[2]), int(ranged[3])
        return [one for one in found if low <= one["properties"][self.key] <= high]

    def _visible(self, asked: dict) -> list[dict]:
        return [one for one in self._found(asked) if not self._is_hidden(one)]

    def _is_hidden(self, feature: dict) -> bool:
        return feature["properties"][self.key] in self.hidden

    def _shown(self, feature: dict) -> dict:
        properties = dict(feature["properties"])
        number = properties[self.key]
        if self.ids not in ("both", "properties"):
            del properties[self.key]
        member = {"id": number} if self.ids in ("both", "id") else {}
        return (
            {"type": "Feature"}
            | member
            | {
                "geometry": feature["geometry"],
                "properties": properties,
            }
        )


def points(count: int, key: str = "OBJECTID", step: int = 1) -> list[dict]:
    """Points in the United States; `step` leaves gaps between the object ids."""
    return [
        {
            "geometry": {"type": "Point", "coordinates": [-100 + n / 1000, 40.5]},
            "properties": {key: n * step, "IncidentName": f"Fire {n}", "POOFips": "01001"},
        }
        for n in range(1, count + 1)
    ]


def error(code: object, message: str = "", *details: str) -> Answer:
    """An error with status 200."""
    return as_json({"error": {"code": code, "message": message, "details": list(details)}})


def as_json(value: object, media_type: str = "application/json") -> Answer:
    """A JSON document as a response."""
    return Answer(json.dumps(value).encode(), headers={"Content-Type": media_type})
