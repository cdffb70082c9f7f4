"""Socrata's open data API (SODA 2), page by page as CSV or GeoJSON, as the source's script says.

Paging: https://dev.socrata.com/docs/paging.html
Row identifiers: https://dev.socrata.com/docs/system-fields.html
Tokens: https://dev.socrata.com/docs/app-tokens.html
GeoJSON: https://dev.socrata.com/docs/formats/geojson.html

Rows have no order of their own: pages ordered by anything but `:id` repeat rows and skip others.
So pages are ordered by `:id`, which is a column (or property) of every page. It changes when the
publisher replaces the data set as a whole, so scripts declare it as volatile.
"""

import re
from urllib.parse import quote, urlencode

import msgspec

from pipeline import declaration_checks
from pipeline.connectors import paging
from pipeline.connectors.paging import Service
from pipeline.errors import SourceError
from pipeline.raw.candidate import Candidate
from pipeline.text import escaped

MOST_ROWS = 50_000  # per page
IDENTIFIER = re.compile(r"[a-z0-9]{4}-[a-z0-9]{4}")
KEY = ":id"
KINDS = ("csv", "geojson")


class _View(msgspec.Struct):
    id: str
    name: str
    rowsUpdatedAt: int | None = None  # seconds since 1970


def fetch(
    candidate: Candidate,
    host: str,
    dataset: str,
    *,
    select: str = "",
    where: str = "",
    page_size: int = MOST_ROWS,
) -> None:
    """Fetch a data set into a file per page: `page-00001.csv` (or `.geojson`), ….

    Parameters
    ----------
    host:      address of the site, as `https://data.cdc.gov`.
    dataset:   identifier of the data set, as `swc5-untb`.
    select:    columns, as SoQL; all of them and the system's own (`:*, *`) when left out.
    where:     which rows, as SoQL.
    page_size: rows per page, at most 50,000.

    A data set whose rows were not updated since the snapshot on disk is not read again. The token
    in SOCRATA_APP_TOKEN is sent in a header, to this host alone. Raises SourceError when the data
    set is incomplete.
    """
    if not IDENTIFIER.fullmatch(dataset):
        raise SourceError(f"{escaped(dataset)!r} is not an identifier of a Socrata data set")
    declaration_checks.check_kind(candidate.source.kind, KINDS, f"api/{candidate.name}.py")
    site = host.rstrip("/")
    token = candidate.client.settings.socrata_app_token
    headers = {"X-App-Token": token} if token else {}
    selected = {"$where": where} if where else {}
    size = max(1, min(page_size, MOST_ROWS))

    def updated() -> str:
        address = f"{site}/api/views/{dataset}.json"
        view = paging.ask(candidate, address, _View, "a description of the data set", headers)
        if view.id != dataset:
            raise SourceError(f"{address}: describes {escaped(view.id)} instead of {dataset}")
        return "" if view.rowsUpdatedAt is None else str(view.rowsUpdatedAt)

    def count() -> int:
        address = f"{site}/resource/{dataset}.json?{_query({'$select': 'count(*)'} | selected)}"
        rows = paging.ask(candidate, address, list[dict[str, str | int]], "a count", headers)
        return _count(rows, address)

    def page(offset: int) -> str:
        columns = f"{KEY},{select}" if select else ":*,*"
        query = {"$select": columns, "$order": KEY, "$limit": size, "$offset": offset}
        return f"{site}/resource/{dataset}.{candidate.source.kind}?{_query(query | selected)}"

    paging.fetch(candidate, Service(updated, count, page, size, KEY, KEY, headers))


def _query(parameters: dict) -> str:
    return urlencode(parameters, safe="$:,*()", quote_via=quote)


def _count(rows: list[dict], address: str) -> int:
    """The single number in the response to `count(*)`, whatever its name: `count`, `count_1`."""
    numbers = [value for row in rows for value in row.values()]
    if len(numbers) != 1 or not re.fullmatch(r"[0-9]{1,15}", str(numbers[0])):
        raise SourceError(f"{address}: not a count: {escaped(str(rows))}")
    return int(numbers[0])
