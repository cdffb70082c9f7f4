"""OpenFEMA, strict about its requests, with faults that tests switch on.

https://www.fema.gov/about/openfema/api
"""

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from publisher import Answer, Publisher

BASE = "/api/open"
MOST = 10_000
COMMANDS = {
    "$count",
    "$inlinecount",
    "$filter",
    "$format",
    "$orderby",
    "$select",
    "$skip",
    "$top",
}


@dataclass
class DataSet:
    """One data set. The first members are normal, the others are faults."""

    name: str
    header: list[str]
    rows: list[list[str]]
    version: int = 1
    refreshed: str = "2026-03-02T09:00:00.000Z"
    listed: list[dict] = field(default_factory=list)  # further entries of the catalogue
    described: dict = field(default_factory=dict)  # further members of its own entry
    selections: dict[str, Callable[[dict], bool]] = field(default_factory=dict)  # by $filter
    end: str = "\n"  # of a line

    knows_count: bool = True  # else $count is ignored, and the older parameter works
    real_cap: int = MOST  # rows it really sends at once
    ignores_skip: bool = False
    repeats: int = 0  # rows of the previous page that come again
    skips: int = 0  # rows left out between pages
    before: Callable[[str, dict], object] = lambda what, asked: None  # called before a response

    asked: list[tuple[str, dict]] = field(default_factory=list)  # all requests, in order

    def register(self, publisher: Publisher, prefix: str = "") -> None:
        """Serve this on a publisher, below a prefix such as `/www.fema.gov`."""
        base = f"{prefix}{BASE}"
        publisher.answers[f"{base}/v1/OpenFemaDataSets"] = self.catalogue
        publisher.answers[f"{base}/v{self.version}/{self.name}"] = self.rows_of
        publisher.answers[f"{base}/v{self.version}/{self.name}.csv"] = self.whole

    def queries(self, what: str) -> list[dict]:
        """The parameters of all requests of a kind: catalogue, count or page."""
        return [asked for kind, asked in self.asked if kind == what]

    def catalogue(self, request) -> Answer:
        """The response of `OpenFemaDataSets`: the entries of one name."""
        asked = self._noted("catalogue", request)
        name = re.fullmatch(r"name eq '(\w+)'", asked["$filter"])[1]
        own = {
            "name": self.name,
            "version": self.version,
            "deprecated": False,
            "depDate": None,
            "depNewURL": "",
            "depApiMessage": "",
            "lastRefresh": "2026-01-01T00:00:00.000Z",  # of this entry, not of the data
            "lastDataSetRefresh": self.refreshed,
        }
        entries = [entry for entry in [own | self.described, *self.listed] if entry["name"] == name]
        return as_json({"metadata": {"count": 0}, "OpenFemaDataSets": entries})

    def rows_of(self, request) -> Answer:
        """The response of the data set's own address: JSON with a count, or a page of CSV."""
        asked = dict(parse_qsl(urlsplit(request.path).query, strict_parsing=True))
        what = "page" if asked.get("$format") == "csv" else "count"
        self._noted(what, request)
        if what == "page":
            return self._page(asked)
        found = self._found(asked)
        is_asked = asked.get("$count") == "true" if self.knows_count else False
        is_asked |= asked.get("$inlinecount") == "allpages"
        top = int(asked["$top"])
        rows = [dict(zip(self.header, row, strict=True)) for row in found[:top]]
        selected = [{asked["$select"]: row[asked["$select"]]} for row in rows]
        metadata = {"skip": 0, "top": top, "count": len(found) if is_asked else 0}
        return as_json({"metadata": metadata, self.name: selected})

    def whole(self, request) -> Answer:
        """The response of the bulk file: all rows, whatever the parameters."""
        self.asked.append(("whole", {}))
        return self._csv(self.rows)

    def _noted(self, what: str, request) -> dict:
        asked = dict(parse_qsl(urlsplit(request.path).query, strict_parsing=True))
        assert set(asked) <= COMMANDS, asked
        self.asked.append((what, asked))
        self.before(what, asked)
        return asked

    def _found(self, asked: dict) -> list[list[str]]:
        choose = self.selections[asked["$filter"]] if "$filter" in asked else lambda row: True
        return [row for row in self.rows if choose(dict(zip(self.header, row, strict=True)))]

    def _page(self, asked: dict) -> Answer:
        if int(asked["$top"]) > MOST:
            return Answer(b'{"error": {"code": 400, "message": "$top"}}', 400)
        columns = [self.header.index(name) for name in asked["$orderby"].split(",")]
        found = sorted(self._found(asked), key=lambda row: [row[index] for index in columns])
        begin = 0 if self.ignores_skip else int(asked["$skip"])
        begin = max(0, begin - self.repeats) + (self.skips if begin else 0)
        return self._csv(found[begin : begin + min(int(asked["$top"]), self.real_cap)])

    def _csv(self, rows: list[list[str]]) -> Answer:
        text = io.StringIO()
        csv.writer(text, lineterminator=self.end).writerows([self.header, *rows])
        return Answer(text.getvalue().encode(), headers={"Content-Type": "text/csv"})


def register(publisher: Publisher, prefix: str, *datasets: DataSet) -> None:
    """Several data sets in one catalogue."""
    for data in datasets:
        data.register(publisher, prefix)

    def catalogue(request) -> Answer:
        asked = next((data for data in datasets if data.name in request.path), datasets[0])
        return asked.catalogue(request)

    publisher.answers[f"{prefix}{BASE}/v1/OpenFemaDataSets"] = catalogue


def declarations(count: int) -> DataSet:
    """Disaster declarations, one per county."""
    header = ["disasterNumber", "state", "declarationTitle", "designatedArea", "lastRefresh", "id"]
    refreshed = "2026-03-01T00:00:00.000Z"
    rows = [
        [str(4000 + n // 10), "AL", 'FLOODS, "BIG" ONES', f"Area {n}", refreshed, f"{n:08x}"]
        for n in range(count)
    ]
    return DataSet("DisasterDeclarationsSummaries", header, rows, version=2)


def as_json(value: object) -> Answer:
    """A JSON document as a response."""
    return Answer(json.dumps(value).encode(), headers={"Content-Type": "application/json"})
