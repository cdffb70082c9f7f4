"""A layer of an ArcGIS FeatureServer, page by page as GeoJSON in WGS 84.

Query: https://developers.arcgis.com/rest/services-reference/enterprise/query-feature-service-layer/
A page may be shorter than asked and even empty: `exceededTransferLimit` alone says that more is to
come, and not every server says it in GeoJSON. So the pages are held against two counts and the
list of object ids; what does not match is read again, the last time by ranges of object ids, which
need no paging of the server's own.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from pipeline.connectors import arcgis_responses as answer
from pipeline.connectors.arcgis_responses import Layer, Page
from pipeline.connectors.paging import PAGES
from pipeline.errors import SourceError, Throttled, Transient
from pipeline.http.client import Client
from pipeline.raw import checks, snapshot
from pipeline.raw.candidate import Candidate, resource
from pipeline.settings import redact
from pipeline.text import shown

READS = 3  # of a layer that changes while it is being read
PAGE_FLOOR = 100  # features; a page that still fails is not the fault of its size
EMPTY_PAGES = 100  # in a row, each with the word that more is to come
SHARE_OF_PATIENCE = 0.5  # for one size of page; the rest is for smaller ones
PAUSE = 1.0  # seconds before a smaller page is asked for


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
        asked = {"where": self.where, "outFields": "*", "outSR": 4326, "f": "geojson"}
        asked |= {"orderByFields": self.layer.key} if self.layer.can_order else {}
        return f"{self.url}/query?{urlencode(asked | parameters)}"

    def count(self) -> int:
        return answer.count(self._only("returnCountOnly"), f"{shown(self.url)}, its count")

    def ids(self) -> list[int]:
        return answer.ids(self._only("returnIdsOnly"), f"{shown(self.url)}, its object ids")

    def _only(self, what: str) -> bytes:
        asked = {"where": self.where, what: "true", "f": "json"}
        return _ask(self.candidate, f"{self.url}/query?{urlencode(asked)}")


def fetch(
    candidate: Candidate, layer_url: str, *, where: str = "1=1", page_size: int = 2000
) -> None:
    """Fetch the features of a layer into a file a page: `page-00001.geojson`, ….

    Parameters
    ----------
    layer_url: address of the layer, as `https://host/…/FeatureServer/0`.
    where:     which features, as SQL.
    page_size: features a page; the server's own limit and failing pages make it smaller.

    A layer that tells when it was last edited is not read again while that and its count stay the
    same. Raises SourceError when the layer cannot be queried or has no unique key, when an error
    comes in place of an answer, and when the pages do not match counts and object ids.
    """
    url = layer_url.rstrip("/")
    layer = answer.layer(_ask(candidate, f"{url}?f=json"), shown(url))
    reading = _Reading(candidate, layer, url, where, min(page_size, layer.cap))
    asked = candidate.extra["asked"] = redact(reading.address())
    if layer.version:
        candidate.extra["publisher_version"] = layer.version
    if _is_unchanged(reading, asked):
        candidate.carry_over_all()
        return
    trouble = ""
    for attempt in range(1, READS + 1):
        candidate.forget_all()
        proof, detail = _read(reading, by_ids=not layer.can_page or attempt == READS)
        if proof["verdict"] == "complete":
            candidate.extra["completeness"] = proof
            candidate.note_pages(asked, layer.version, _content(candidate))
            return
        trouble = f"{proof['verdict']}, read {READS} times: {detail}"
    raise SourceError(f"{shown(url)}: {trouble}")


def _is_unchanged(reading: _Reading, asked: str) -> bool:
    """Whether the snapshot on disk has the answer to the same query of the same edition."""
    candidate, version = reading.candidate, reading.layer.version
    if not version or not candidate.is_of_version(asked, version):
        return False
    # A view whose filter names the time loses rows without an edit: the count is a second witness.
    return reading.count() == candidate.kept.descriptor.get("rows")


def _content(candidate: Candidate) -> str:
    """The content fingerprint: the current one while the same features only came in other pages."""
    ours, current = candidate.resources, candidate.current
    theirs = [entry.get("rows") for entry in current.descriptor["resources"]] if current else []
    if current and theirs and theirs != [entry["rows"] for entry in ours]:
        paths = [candidate.folder / entry["path"] for entry in ours]
        if _features_of(paths) == _features_of(current.files):
            return current.content
    return snapshot.fingerprint_of({entry["path"]: entry["content"] for entry in ours})


def _features_of(paths: list[Path]) -> str:
    return answer.fingerprint(path.read_bytes() for path in paths)


def _read(reading: _Reading, by_ids: bool) -> tuple[dict, str]:
    """Read every page once; returns the proof and, in words, what was held against what."""
    before = reading.expected = reading.count()
    pages = _by_ids(reading) if by_ids else _by_offset(reading)
    ids = [number for page in pages for number in page.ids]
    after, listed, unique = reading.count(), set(reading.ids()), set(ids)
    if before != after:
        verdict = "changed while reading"
    else:
        is_whole = len(ids) == len(unique) == after and unique == listed
        verdict = "complete" if is_whole else "short"
    key, pages_read = reading.layer.key, len(reading.candidate.resources)
    proof = {"order": key, "unique_key": key, "pages": pages_read, "count_before": before}
    proof |= {"count_after": after, "rows": len(ids), "verdict": verdict}
    return proof, (
        f"{len(ids):,} features with {len(unique):,} object ids came where {before:,} were counted "
        f"before and {after:,} after; {len(listed - unique):,} of the listed ids did not come"
    )


def _by_offset(reading: _Reading) -> Iterator[Page]:
    """The pages as the server cuts them."""
    offset = rows = empty = 0
    while True:
        page = _take(reading, _from(offset))
        yield page
        rows += len(page.ids)
        empty = 0 if page.ids else empty + 1
        is_end = not page.is_cut and (not page.ids or rows >= reading.expected)
        is_endless = rows > 2 * reading.expected + reading.size or empty > EMPTY_PAGES
        if is_end or is_endless:  # the counts tell the one from the other
            return
        offset += len(page.ids) or reading.size


def _from(offset: int) -> Callable[[int], dict]:
    return lambda size: {"resultOffset": offset, "resultRecordCount": size}


def _by_ids(reading: _Reading) -> Iterator[Page]:
    """A page a range of object ids; ids are not dense, so the ranges come from their list."""
    ids, start = sorted(set(reading.ids())), 0
    while start < max(1, len(ids)):
        page = _take(reading, _within(reading, ids[start:]))
        if page.is_cut:  # the server gives fewer at once than it says
            reading.candidate.forget(page.name)
            if not 0 < len(page.ids) < reading.size:
                raise SourceError(f"{shown(reading.url)}: a page of object ids came cut")
            reading.size = len(page.ids)
            continue
        yield page
        start += reading.size


def _within(reading: _Reading, ids: list[int]) -> Callable[[int], dict]:
    def asked(size: int) -> dict:
        bounds = f"{reading.layer.key} >= {ids[0]} AND {reading.layer.key} <= {ids[:size][-1]}"
        return {"where": f"({reading.where}) AND {bounds}"}

    return asked if ids else lambda size: {}


def _take(reading: _Reading, asked: Callable[[int], dict]) -> Page:
    """Fetch one page, asked for by its size; a smaller one when the server fails at it."""
    share = SHARE_OF_PATIENCE
    while True:
        size = min(reading.size, max(reading.expected, 1))
        share = share if size > PAGE_FLOOR else 1
        try:
            with _share_of_patience(reading.candidate.client, share):
                return _page(reading, reading.address(**asked(reading.size)))
        except Transient as error:
            # Who asks us to wait does not ask for more and smaller requests.
            if share == 1 or error.wait is not None:
                raise
            share = 1 if isinstance(error, Throttled) else SHARE_OF_PATIENCE
        if share != 1:
            reading.size = max(PAGE_FLOOR, size // 2)
        time.sleep(PAUSE)


@contextlib.contextmanager
def _share_of_patience(client: Client, share: float) -> Generator[None]:
    """Let one request spend only a part of what a source may spend on retries."""
    kept = max(0, client.patience) * (1 - share)
    client.patience -= kept
    try:
        yield
    finally:
        client.patience += kept


def _page(reading: _Reading, address: str) -> Page:
    candidate = reading.candidate
    name = f"page-{len(candidate.resources) + 1:05}.geojson"
    pages: list[Page] = []

    def looks_right(path: Path, is_delimited: bool) -> None:
        body, where = path.read_bytes(), shown(address)
        try:
            pages.append(answer.page(body, reading.layer.key, name, where))
        except SourceError:  # a page that is one is parsed once; what is none is named
            answer.raise_for_error(body, where)
            checks.check(path, "geojson", where, is_delimited=is_delimited)
            raise

    path = candidate.folder / name
    got = candidate.client.get(address, path, check=looks_right)
    page, where = pages[-1], shown(address)
    entry = resource(path, where, got.sha256, got.size, got.media_type, candidate.source)
    candidate.resources.append(entry | {"rows": len(page.ids)})
    candidate.parts[name] = PAGES
    return page


def _ask(candidate: Candidate, address: str) -> bytes:
    def is_no_error(path: Path, is_delimited: bool) -> None:
        answer.raise_for_error(path.read_bytes(), shown(address))

    return candidate.ask(address, check=is_no_error)
