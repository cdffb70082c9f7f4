"""A Socrata site, strict about its requests, with faults that tests switch on.

https://dev.socrata.com/docs/paging.html, https://dev.socrata.com/docs/system-fields.html
"""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from publisher import Answer, Publisher

SYSTEM = [":id", ":created_at", ":updated_at", ":version"]
STAMP = "2026-01-01T00:00:00.000Z"
MOST = 50_000


@dataclass
class DataSet:
    """One data set. The first members are normal, the others are faults."""

    identifier: str
    header: list[str]
    rows: list[list[str]]  # first the row identifier, which is not in the header
    updated: int = 1_767_225_600  # seconds since 1970
    token: str = ""  # the only accepted token; empty: none is needed
    selections: dict[str, Callable[[dict], bool]] = field(default_factory=dict)  # by $where

    real_cap: int = MOST  # rows it really sends at once
    counted_as: str = "count"
    repeats: int = 0  # rows of the previous page that come again
    skips: int = 0  # rows left out between pages
    before: Callable[[str, dict], object] = lambda what, asked: None  # called before a response

    asked: list[tuple[str, dict]] = field(default_factory=list)  # all requests, in order
    tokens: list[str | None] = field(default_factory=list)  # sent with the requests

    def register(self, publisher: Publisher, prefix: str = "") -> None:
        """Serve this on a publisher, below a prefix such as `/data.cdc.gov`."""
        for path, what in (
            (f"/api/views/{self.identifier}.json", "view"),
            (f"/resource/{self.identifier}.json", "count"),
            (f"/resource/{self.identifier}.csv", "page"),
            (f"/resource/{self.identifier}.geojson", "feature_page"),
        ):
            publisher.answers[prefix + path] = lambda request, what=what: self._answer(
                what, request
            )

    def queries(self, what: str) -> list[dict]:
        """The parameters of all requests of a kind: view, count, page or feature_page."""
        return [asked for kind, asked in self.asked if kind == what]

    def _answer(self, what: str, request) -> Answer:
        query = urlsplit(request.path).query
        asked = dict(parse_qsl(query, strict_parsing=bool(query)))
        self.asked.append((what, asked))
        self.tokens.append(request.headers.get("X-App-Token"))
        if self.token and self.tokens[-1] not in (None, self.token):
            return as_json({"code": "permission_denied", "error": True, "message": "token"}, 403)
        self.before(what, asked)
        return getattr(self, f"_{what}")(asked)

    def _view(self, asked: dict) -> Answer:
        assert not asked
        columns = [{"name": name, "fieldName": name} for name in self.header]
        described = {"id": self.identifier, "name": "A data set", "viewType": "tabular"}
        return as_json(described | {"rowsUpdatedAt": self.updated, "columns": columns})

    def _count(self, asked: dict) -> Answer:
        assert set(asked) <= {"$select", "$where"} and asked["$select"] == "count(*)"
        return as_json([{self.counted_as: str(len(self._found(asked)))}])

    def _page(self, asked: dict) -> Answer:
        return self._paged(asked, self._csv)

    def _feature_page(self, asked: dict) -> Answer:
        return self._paged(asked, self._geojson)

    def _paged(self, asked: dict, write: Callable[[list, dict], Answer]) -> Answer:
        assert set(asked) <= {"$select", "$where", "$order", "$limit", "$offset"}
        if int(asked["$limit"]) > MOST:
            return as_json({"code": "invalid_request", "error": True, "message": "limit"}, 400)
        found = self._found(asked)
        if asked.get("$order") == ":id":
            found = sorted(found, key=lambda row: row[0])
        begin = int(asked["$offset"])
        begin = max(0, begin - self.repeats) + (self.skips if begin else 0)
        return write(found[begin : begin + min(int(asked["$limit"]), self.real_cap)], asked)

    def _found(self, asked: dict) -> list[list[str]]:
        choose = self.selections[asked["$where"]] if "$where" in asked else lambda row: True
        return [row for row in self.rows if choose(self._whole(row))]

    def _whole(self, row: list[str]) -> dict[str, str]:
        return dict(
            zip([*SYSTEM, *self.header], [row[0], STAMP, STAMP, "1", *row[1:]], strict=True)
        )

    def _columns(self, asked: dict) -> list[str]:
        columns = asked["$select"].split(",")
        return [*SYSTEM, *self.header] if columns == [":*", "*"] else columns

    def _geojson(self, rows: list[list[str]], asked: dict) -> Answer:
        columns = self._columns(asked)
        features = [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [-86.6, 32.5]},
                "properties": {column: self._whole(row)[column] for column in columns},
            }
            for row in rows
        ]
        return as_json({"type": "FeatureCollection", "features": features})

    def _csv(self, rows: list[list[str]], asked: dict) -> Answer:
        columns = self._columns(asked)
        text = io.StringIO()
        # Socrata quotes every value and every name.
        writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([self._whole(row)[column] for column in columns] for row in rows)
        return Answer(text.getvalue().encode(), headers={"Content-Type": "text/csv"})


def places(count: int) -> DataSet:
    """Health measures, one per county and measure, with row identifiers in no order."""
    header = ["year", "locationid", "measureid", "data_value"]
    rows = [
        [f"row-{(n * 7919) % 100_003:06}", "2022", f"{n:05}", "DIABETES", f"{n % 300 / 10}"]
        for n in range(count)
    ]
    return DataSet("swc5-untb", header, rows)


def as_json(value: object, status: int = 200) -> Answer:
    """A JSON document as a response."""
    return Answer(json.dumps(value).encode(), status, {"Content-Type": "application/json"})
