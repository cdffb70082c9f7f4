"""OpenFEMA, the data sets of the Federal Emergency Management Agency, page by page as CSV.

Parameters, limits, `id` and `lastDataSetRefresh`: https://www.fema.gov/about/openfema/api
The catalogue: https://www.fema.gov/openfema-data-page/openfema-data-sets-v1

`id` is unique within one refresh and may be another after the next, so that pages of two
refreshes do not fit together: the time of the refresh is held still as well as the count.
"""

import sys
from urllib.parse import quote, urlencode

import msgspec

from pipeline.connectors import paging
from pipeline.connectors.paging import Service
from pipeline.errors import SourceError
from pipeline.raw.candidate import Candidate
from pipeline.text import escaped, shown

MOST_ROWS = 10_000  # a page
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
    """Fetch a data set into a file a page: `page-00001.csv`, ….

    Parameters
    ----------
    base:       address of the service, `https://www.fema.gov/api/open`.
    version:    of the data set; another one has other columns, and is only proposed.
    order:      what to order by; ties make pages overlap.
    unique_key: a column that differs in every row.
    page_size:  rows a page, at most 10,000.
    where:      which rows, as the service's `$filter`.

    A data set that was not refreshed since the snapshot on disk is not read again. Raises
    SourceError when it is not in the catalogue in that version, or does not come whole.
    """
    address = f"{base.rstrip('/')}/v{version}/{dataset}"
    selected = {"$filter": where} if where else {}
    size = max(1, min(page_size, MOST_ROWS))

    def count() -> int:
        # `$inlinecount`, its elder, is what counts where `$count` is not known and says 0.
        for asked in ({"$count": "true"}, {"$inlinecount": "allpages"}):
            asked |= {"$select": unique_key, "$top": 1} | selected
            found = paging.ask(candidate, f"{address}?{_query(asked)}", _Counted).metadata.count
            if found:
                break
        return found

    def page(offset: int) -> str:
        asked = {"$format": "csv", "$orderby": order, "$top": size, "$skip": offset}
        return f"{address}?{_query(asked | selected)}"

    def refreshed() -> str:
        versions = _catalogue(candidate, base, dataset)
        told = _of_version(versions, version, candidate.name, f"{base}: the catalogue", dataset)
        _tell(candidate, _note(versions, told))
        return told.lastDataSetRefresh or ""

    paging.fetch(candidate, Service(refreshed, count, page, size, unique_key, order))


def _query(asked: dict) -> str:
    """Parameters as the documentation writes them: `$` as it is, spaces as %20."""
    return urlencode(asked, safe="$,", quote_via=quote)


def _catalogue(candidate: Candidate, base: str, dataset: str) -> list[_DataSet]:
    """What the catalogue says of a data set, an entry a version."""
    name = dataset.replace("'", "''")
    query = _query({"$filter": f"name eq '{name}'"})
    found = paging.ask(candidate, f"{base.rstrip('/')}/{CATALOGUE}?{query}", _Catalogue)
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


def _note(versions: list[_DataSet], told: _DataSet) -> str:
    """What an operator should know: the data set is deprecated, or there is a newer version."""
    words = []
    if told.deprecated or told.depDate:
        date = f", to be removed by {told.depDate[:10]}" if told.depDate else ""
        words.append(f"{told.name} v{told.version} is deprecated{date}")
        words += filter(None, [told.depNewURL, told.depApiMessage])
    newest = max(entry.version for entry in versions)
    if newest > told.version:
        words.append(f"v{newest} is there: compare the columns before changing to it")
    return "; ".join(map(escaped, words))


def _tell(candidate: Candidate, note: str) -> None:
    """Put a note into the manifest and, once, into the log."""
    if note and candidate.extra.get("note") != note:
        candidate.extra["note"] = note
        print(f"{candidate.name}: {note}", file=sys.stderr)
