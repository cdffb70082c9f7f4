"""A layer of an ArcGIS FeatureServer, page by page as GeoJSON in WGS 84.

Query: https://developers.arcgis.com/rest/services-reference/enterprise/query-feature-service-layer/
A page may be shorter than requested and even empty: only `exceededTransferLimit` says that more
follows, and not every server says it in GeoJSON. So the pages are compared with two counts and the
list of object ids. What does not match is read again, the last time by ranges of object ids, for
which the server needs no paging of its own.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from pipeline.connectors import arcgis_responses as responses
from pipeline.connectors import paging
from pipeline.connectors.arcgis_responses import Layer
from pipeline.connectors.paging import Completeness, Kind, Page, Verdict
from pipeline.errors import SourceError, Throttled, Transient
from pipeline.http.client import Client
from pipeline.http.responses import refuse_error
from pipeline.raw import checks
from pipeline.raw.candidate import Candidate
from pipeline.raw.fingerprints import fingerprint_of
from pipeline.settings import redact
from pipeline.text import shown

PAGE_FLOOR = 100  # features; if such a page still fails, its size is not the reason
EMPTY_PAGES = 100  # in a row, each with the claim that more follows
SHARE_OF_PATIENCE = 0.5  # for one size of page; the rest is for smaller ones
PAUSE = 1.0  # seconds before a smaller page is requested


@dataclass
class _Reading:
    """A query of a layer; `size` is the page size, which only shrinks."""

    candidate: Candidate
    layer: Layer
    url: str
    where: str
    size: int
    expected: int = 0  # features counted before the pages are read

    def address(self, **parameters: object) -> str:
        query = {"where": self.where, "outFields": "*", "outSR": 4326, "f": "geojson"}
        query |= {"orderByFields": self.layer.key} if self.layer.can_order else {}
        return f"{self.url}/query?{urlencode(query | parameters)}"

    def count(self) -> int:
        return self._ask("returnCountOnly", responses.Count, "a count").count

    def ids(self) -> list[int]:
        ids = self._ask("returnIdsOnly", responses.ObjectIds, "a list of object ids").objectIds
        return ids or []

    def _ask(self, parameter: str, kind: type[Kind], expected: str) -> Kind:
        query = urlencode({"where": self.where, parameter: "true", "f": "json"})
        return paging.ask(self.candidate, f"{self.url}/query?{query}", kind, expected)


def fetch(
    candidate: Candidate, layer_url: str, *, where: str = "1=1", page_size: int = 2000
) -> None:
    """Fetch the features of a layer into a file per page: `page-00001.geojson`, ….

    Parameters
    ----------
    layer_url: address of the layer, as `https://host/…/FeatureServer/0`.
    where:     which features, as SQL.
    page_size: features per page; the server's own limit and failing pages reduce it.

    A layer that says when it was last edited is not read again while that time and its count stay
    the same. Raises SourceError when the layer cannot be queried or has no unique key, when the
    server sends an error instead, and when the pages do not match the counts and object ids.
    """
    url = layer_url.rstrip("/")
    described = paging.ask(
        candidate, f"{url}?f=json", responses.Description, "a description of a layer"
    )
    layer = responses.layer(described, shown(url))
    reading = _Reading(candidate, layer, url, where, min(page_size, layer.cap))
    asked = candidate.extra["asked"] = redact(reading.address())
    if layer.version:
        candidate.extra["publisher_version"] = layer.version
    if _is_unchanged(reading, asked):
        candidate.carry_over_all()
        return
    paging.read_until_complete(
        candidate,
        url,
        lambda attempt: _read(reading, by_ids=not layer.can_page or attempt == paging.READS),
    )
    candidate.record_pages(asked, layer.version, _content(candidate))


def _is_unchanged(reading: _Reading, asked: str) -> bool:
    """Whether the snapshot on disk is the response to the same query at the same version."""
    candidate, version = reading.candidate, reading.layer.version
    if not version or not candidate.is_of_version(asked, version):
        return False
    # A view whose filter depends on the time loses rows without an edit: so the count must agree.
    return reading.count() == candidate.kept.descriptor.rows


def _content(candidate: Candidate) -> str:
    """The content fingerprint: the current one if the same features only came in other pages."""
    ours, current = candidate.resources, candidate.current
    theirs = [entry.rows for entry in current.descriptor.resources] if current else []
    if current and theirs and theirs != [entry.rows for entry in ours]:
        paths = [candidate.folder / entry.path for entry in ours]
        if responses.fingerprint(paths) == responses.fingerprint(current.files):
            return current.content
    return fingerprint_of({entry.path: entry.content for entry in ours})


def _read(reading: _Reading, by_ids: bool) -> tuple[Completeness, str]:
    """Read every page once."""
    before = reading.expected = reading.count()
    pages = _by_ids(reading) if by_ids else _by_offset(reading)
    ids = [number for page in pages for number in page.keys]
    after, listed, unique = reading.count(), set(reading.ids()), set(ids)
    if before != after:
        verdict = Verdict.CHANGED
    else:
        is_complete = len(ids) == len(unique) == after and unique == listed
        verdict = Verdict.COMPLETE if is_complete else Verdict.INCOMPLETE
    key, pages_read = reading.layer.key, len(reading.candidate.resources)
    return Completeness(key, key, pages_read, before, after, len(ids), verdict), (
        f"{len(ids):,} features with {len(unique):,} object ids came where {before:,} were counted "
        f"before and {after:,} after; {len(listed - unique):,} of the listed ids did not come"
    )


def _by_offset(reading: _Reading) -> Iterator[Page]:
    """The pages as the server cuts them."""
    offset = rows = empty = 0
    while True:
        page = _take(reading, _from(offset))
        yield page
        rows += len(page.keys)
        empty = 0 if page.keys else empty + 1
        is_end = not page.is_cut and (not page.keys or rows >= reading.expected)
        is_endless = rows > 2 * reading.expected + reading.size or empty > EMPTY_PAGES
        if is_end or is_endless:  # the counts will show which of the two
            return
        offset += len(page.keys) or reading.size


def _from(offset: int) -> Callable[[int], dict]:
    return lambda size: {"resultOffset": offset, "resultRecordCount": size}


def _by_ids(reading: _Reading) -> Iterator[Page]:
    """A page per range of object ids; ids have gaps, so the ranges come from the list of ids."""
    ids, start = sorted(set(reading.ids())), 0
    while start < max(1, len(ids)):
        page = _take(reading, _within(reading, ids[start:]))
        if page.is_cut:  # the server sends fewer at once than it says
            reading.candidate.remove(reading.candidate.resources[-1].path)
            if not 0 < len(page.keys) < reading.size:
                raise SourceError(f"{shown(reading.url)}: a page of object ids came cut")
            reading.size = len(page.keys)
            continue
        yield page
        start += reading.size


def _within(reading: _Reading, ids: list[int]) -> Callable[[int], dict]:
    def parameters(size: int) -> dict:
        bounds = f"{reading.layer.key} >= {ids[0]} AND {reading.layer.key} <= {ids[:size][-1]}"
        return {"where": f"({reading.where}) AND {bounds}"}

    return parameters if ids else lambda size: {}


def _take(reading: _Reading, parameters: Callable[[int], dict]) -> Page:
    """Fetch one page, requested by its size; a smaller one when the server fails."""
    share = SHARE_OF_PATIENCE
    while True:
        size = min(reading.size, max(reading.expected, 1))
        share = share if size > PAGE_FLOOR else 1
        try:
            with _share_of_patience(reading.candidate.client, share):
                return _page(reading, reading.address(**parameters(reading.size)))
        except Transient as error:
            # A server that asks us to wait does not want more and smaller requests.
            if share == 1 or error.wait is not None:
                raise
            share = 1 if isinstance(error, Throttled) else SHARE_OF_PATIENCE
        if share != 1:
            reading.size = max(PAGE_FLOOR, size // 2)
        time.sleep(PAUSE)


@contextlib.contextmanager
def _share_of_patience(client: Client, share: float) -> Generator[None]:
    """Let one request spend only a part of what a source may spend on retries."""
    saved = max(0, client.patience) * (1 - share)
    client.patience -= saved
    try:
        yield
    finally:
        client.patience += saved


def _page(reading: _Reading, address: str) -> Page:
    candidate, where = reading.candidate, shown(address)

    def parse(path: Path, is_delimited: bool) -> Page:
        body = path.read_bytes()
        try:
            return responses.page(body, reading.layer.key, where)
        except SourceError:  # not a page: say what it is instead
            refuse_error(body, where, is_data=True)
            checks.check(path, "geojson", where, is_delimited=is_delimited)
            raise

    name = f"page-{len(candidate.resources) + 1:05}.geojson"
    return paging.take_page(candidate, address, name, parse)
