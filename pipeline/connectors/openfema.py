"""OpenFEMA, the data sets of the Federal Emergency Management Agency, page by page as CSV.

Parameters, limits, `id` and `lastDataSetRefresh`: https://www.fema.gov/about/openfema/api
The catalogue: https://www.fema.gov/openfema-data-page/openfema-data-sets-v1

`id` is unique within one refresh and may change with the next, so pages of two refreshes do not fit
together: the time of the refresh must stay the same, as well as the count.
"""

import sys
from urllib.parse import quote, urlencode

import msgspec

from pipeline.connectors import paging
from pipeline.connectors.paging import Service
from pipeline.errors import SourceError
from pipeline.raw.candidate import Candidate
from pipeline.text import escaped, shown

MOST_ROWS = 10_000  # per page
CATALOGUE = "v1/OpenFemaDataSets"


class _DataSet(msgspec.Struct):
    name: str
    version: int
    lastDataSetRefresh: str | None = None
    deprecated: bool | None = None
    depDate: str | None = None
    depNewURL: str | None = None
    depApiMessage: str | None = None


class _Catalogue(msgspec.Struct):
    OpenFemaDataSets: list[_DataSet]


class _Metadata(msgspec.Struct):
    count: int


class _Counted(msgspec.Struct):
    metadata: _Metadata


def fetch(
    candidate: Candidate,
    base: str,
    dataset: str,
    *,
    version: int,
    order: str,
    unique_key: str,
    page_size: int = MOST_ROWS,
    where: str = "",
) -> None:
    """Fetch a data set into a file per page: `page-00001.csv`, ….

    Parameters
    ----------
    base:       address of the service, `https://www.fema.gov/api/open`.
    version:    of the data set; a newer one may have other columns, and is only announced.
    order:      what to order by; ties make pages overlap.
    unique_key: a column that differs in every row.
    page_size:  rows per page, at most 10,000.
    where:      which rows, as the service's `$filter`.

    A data set that was not refreshed since the snapshot on disk is not read again. Raises
    SourceError when the catalogue does not have it in this version, or when it is incomplete.
    """
    address = f"{base.rstrip('/')}/v{version}/{dataset}"
    selected = {"$filter": where} if where else {}
    size = max(1, min(page_size, MOST_ROWS))

    def count() -> int:
        # Where `$count` is not supported and gives 0, the older `$inlinecount` counts.
        found = 0
        for parameters in ({"$count": "true"}, {"$inlinecount": "allpages"}):
            query = _query(parameters | {"$select": unique_key, "$top": 1} | selected)
            counted = paging.ask(candidate, f"{address}?{query}", _Counted, "a count")
            found = found or counted.metadata.count
            if found:
                break
        return found

    def page(offset: int) -> str:
        query = {"$format": "csv", "$orderby": order, "$top": size, "$skip": offset}
        return f"{address}?{_query(query | selected)}"

    def refreshed() -> str:
        versions = _catalogue(candidate, base, dataset)
        entry = _of_version(versions, version, candidate.name, f"{base}: the catalogue", dataset)
        _add_note(candidate, _note(versions, entry))
        return entry.lastDataSetRefresh or ""

    paging.fetch(candidate, Service(refreshed, count, page, size, unique_key, order))


def _query(parameters: dict) -> str:
    """Parameters as in the documentation: `$` unencoded, spaces as %20."""
    return urlencode(parameters, safe="$,", quote_via=quote)


def _catalogue(candidate: Candidate, base: str, dataset: str) -> list[_DataSet]:
    """The entries of a data set in the catalogue, one per version."""
    name = dataset.replace("'", "''")
    query = _query({"$filter": f"name eq '{name}'"})
    address = f"{base.rstrip('/')}/{CATALOGUE}?{query}"
    found = paging.ask(candidate, address, _Catalogue, "the catalogue")
    return [entry for entry in found.OpenFemaDataSets if entry.name == dataset]


def _of_version(
    versions: list[_DataSet], version: int, name: str, where: str, dataset: str
) -> _DataSet:
    for entry in versions:
        if entry.version == version:
            return entry
    others = ", ".join(f"v{entry.version}" for entry in versions) or "none of that name"
    raise SourceError(
        f"{shown(where)} has no {escaped(dataset)} v{version}; it lists {others}",
        f"see https://www.fema.gov/about/openfema/data-sets, then change api/{name}.py",
    )


def _note(versions: list[_DataSet], used: _DataSet) -> str:
    """What an operator should know: the data set is deprecated, or there is a newer version."""
    notes = []
    if used.deprecated or used.depDate:
        date = f", to be removed by {used.depDate[:10]}" if used.depDate else ""
        notes.append(f"{used.name} v{used.version} is deprecated{date}")
        notes += filter(None, [used.depNewURL, used.depApiMessage])
    newest = max(entry.version for entry in versions)
    if newest > used.version:
        notes.append(f"v{newest} is available: compare the columns before changing to it")
    return "; ".join(map(escaped, notes))


def _add_note(candidate: Candidate, note: str) -> None:
    """Put a note into the manifest and, once, into the log."""
    if note and candidate.extra.get("note") != note:
        candidate.extra["note"] = note
        print(f"{candidate.name}: {note}", file=sys.stderr)
