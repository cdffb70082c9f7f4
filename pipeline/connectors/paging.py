"""Reading a data set page by page, with proof that all pages arrived.

A publisher may change the data while they are read, send fewer rows than requested, repeat rows or
skip them. So a reading counts only if the version and the number of rows were the same before and
after it, and every row came once, by a unique key. Otherwise it is read again, and after READS
times refused. `fetch` reads pages in sequence, as OpenFEMA and Socrata have them.
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pipeline.errors import SourceError
from pipeline.formats import lenient_json
from pipeline.http.responses import refuse_error
from pipeline.raw import checks, fingerprints
from pipeline.raw.candidate import Candidate
from pipeline.settings import redact
from pipeline.text import escaped, shown

READS = 3  # of a data set that changes while it is being read
MOST_PAGES = 10_000
PAGES = "pages"  # all of them are one part of a snapshot
_ERROR_BYTES = 64 * 1024  # a longer document is not an error message
Kind = TypeVar("Kind")


class Verdict(enum.StrEnum):
    """The result of comparing what was read with the publisher's counts."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"  # rows are missing or came twice
    CHANGED = "changed while reading"


class Completeness(msgspec.Struct, frozen=True):
    """The proof, kept in the manifest, that all rows arrived. A count may be unknown (None)."""

    order: str
    unique_key: str
    pages: int
    count_before: int | None
    count_after: int | None
    rows: int
    verdict: Verdict = Verdict.COMPLETE

    def put_into(self, candidate: Candidate) -> None:
        """Record the proof in the manifest of a snapshot."""
        candidate.extra["completeness"] = msgspec.to_builtins(self)


@dataclass(frozen=True)
class Page:
    """The keys of the rows of one page, in its order."""

    keys: Sequence[bytes | int]
    header: Sequence[str] = ()
    content: str = ""  # a fingerprint of the rows; empty: that of the file
    is_cut: bool = False  # the server says that it left some rows out


def read_until_complete(
    candidate: Candidate, url: str, read: Callable[[int], tuple[Completeness, str]]
) -> None:
    """Read all pages until they are complete, and record the proof.

    `read(attempt)` reads every page once, and returns the proof and a sentence with the numbers.
    Raises SourceError with this sentence after READS attempts.
    """
    problem = ""
    for attempt in range(1, READS + 1):
        candidate.remove_all()
        proof, detail = read(attempt)
        if proof.verdict is Verdict.COMPLETE:
            proof.put_into(candidate)
            return
        problem = f"{proof.verdict}, read {READS} times: {detail}"
    raise SourceError(f"{shown(url)}: {problem}")


def take_page(
    candidate: Candidate,
    address: str,
    name: str,
    parse: Callable[[Path, bool], Page],
    headers: Mapping[str, str] | None = None,
) -> Page:
    """Fetch one page into the candidate. `parse` gets its path and `is_delimited`, as a check."""
    parsed: list[Page] = []

    def check(path: Path, is_delimited: bool) -> None:
        parsed.append(parse(path, is_delimited))

    path = candidate.folder / name
    got = candidate.client.get(address, path, headers=headers, check=check)
    page = parsed[-1]
    candidate.add(path, shown(address), got, rows=len(page.keys), part=PAGES, content=page.content)
    return page


def ask(
    candidate: Candidate,
    address: str,
    kind: type[Kind],
    expected: str,
    headers: Mapping[str, str] | None = None,
) -> Kind:
    """A small response in JSON that is not kept, such as a count.

    Parameters
    ----------
    kind:     the type that msgspec decodes it into.
    expected: what it should be, for an error.
    headers:  sent to the host of the address alone.

    Raises SourceError when it is something else, or an error that came with status 200.
    """
    where = shown(address)

    def check(path: Path, is_delimited: bool) -> None:
        refuse_error(path.read_bytes(), where)

    return lenient_json.read(candidate.ask(address, check, headers=headers), kind, where, expected)


@dataclass(frozen=True)
class Service:
    """How to ask for one data set.

    `version` and `count` ask the publisher; `address(offset)` is that of the page of `size` rows
    from this row on. `key` is the unique column (in GeoJSON, the property), `order` is what the
    pages are ordered by.
    """

    version: Callable[[], str]
    count: Callable[[], int]
    address: Callable[[int], str]
    size: int
    key: str
    order: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def fetch(candidate: Candidate, service: Service) -> None:
    """Fetch all pages, `page-00001.csv` and so on, or carry them over when nothing changed.

    The source's kind says what they are: `csv` or `geojson`.
    Raises SourceError when the pages keep changing or do not match their count.
    """
    version, first = service.version(), service.address(0)
    asked = redact(first)
    candidate.extra |= {"asked": asked, "publisher_version": version}
    if version and candidate.is_of_version(asked, version):
        candidate.carry_over_all()
        return

    def read(attempt: int) -> tuple[Completeness, str]:
        if attempt > 1:
            candidate.extra["publisher_version"] = service.version()
        return _read(candidate, service, str(candidate.extra["publisher_version"]))

    read_until_complete(candidate, first, read)
    content = fingerprints.total(entry.content for entry in candidate.resources)
    candidate.record_pages(asked, str(candidate.extra["publisher_version"]), content)


def _read(candidate: Candidate, service: Service, version: str) -> tuple[Completeness, str]:
    """Read all pages once."""
    before = service.count()
    keys = _pages(candidate, service, before)
    after, version_after = service.count(), service.version()
    rows, unique = len(keys), len(set(keys))
    if (before, version) != (after, version_after):
        verdict = Verdict.CHANGED
    else:
        verdict = Verdict.COMPLETE if rows == unique == after else Verdict.INCOMPLETE
    pages = len(candidate.resources)
    proof = Completeness(service.order, service.key, pages, before, after, rows, verdict)
    detail = (
        f"{rows:,} rows with {unique:,} different {service.key} came where {before:,} were "
        f"counted before and {after:,} after"
    )
    if version != version_after:
        detail += f"; the version changed from {escaped(version)} to {escaped(version_after)}"
    return proof, detail


def _pages(candidate: Candidate, service: Service, expected: int) -> list[bytes | int]:
    """The keys of all pages, up to one that is empty or repeats a row: more would not help."""
    keys: list[bytes | int] = []
    unique: set[bytes | int] = set()
    header: Sequence[str] = ()
    address = ""
    for number in range(1, MOST_PAGES + 1):
        address = service.address(len(keys))
        page = _page(candidate, service, address, f"page-{number:05}.{candidate.source.kind}")
        if number > 1 and page.header != header:
            raise SourceError(
                f"{shown(address)}: other columns than on the first page: "
                f"{escaped(', '.join(page.header))} instead of {escaped(', '.join(header))}"
            )
        header = page.header
        keys += page.keys
        unique.update(page.keys)
        if len(keys) >= expected or not page.keys or len(unique) < len(keys):
            return keys
    raise SourceError(f"{shown(address)}: no end after {MOST_PAGES:,} pages; they are too small")


def _page(candidate: Candidate, service: Service, address: str, name: str) -> Page:
    source, where = candidate.source, shown(address)
    read = features if source.kind == "geojson" else table

    def parse(path: Path, is_delimited: bool) -> Page:
        with path.open("rb") as file:
            refuse_error(file.read(_ERROR_BYTES), where)
        checks.check(
            path,
            source.kind,
            where,
            is_delimited=is_delimited,
            final_newline=source.final_newline,
            encoding=source.encoding,
        )
        return read(path, where, service.key, source.volatile_columns)

    return take_page(candidate, address, name, parse, service.headers)


def table(path: Path, where: str, key: str, volatile: tuple[str, ...] = ()) -> Page:
    """A page of CSV; SourceError when it is not CSV, or has no column `key`."""
    from pipeline.formats import csv_columns  # numpy is slow to import: not if nothing is new

    rows = csv_columns.read(path, where)
    content = fingerprints.of_rows(*rows.rows_without(volatile))
    return Page(rows.values(key), rows.header, content)


class _Features(msgspec.Struct):
    features: list[msgspec.Raw]


def features(path: Path, where: str, key: str, volatile: tuple[str, ...] = ()) -> Page:
    """A page of GeoJSON; it has no header, since each feature names its properties.

    Raises SourceError when it is not GeoJSON, or a feature has no property `key`.
    """
    properties = msgspec.defstruct("Properties", [("key", str)], rename={"key": key})
    feature: Any = msgspec.defstruct("Feature", [("properties", properties)])
    expected = f"a page of features with a property {key}"
    found = lenient_json.read(path.read_bytes(), _Features, where, expected).features
    each = [lenient_json.read(one, feature, where, expected) for one in found]
    left_out = tuple(f"properties.{column}" for column in volatile)
    rows = [fingerprints.without(bytes(one), left_out) for one in found]
    content = fingerprints.of_rows(b"", *rows)
    return Page([one.properties.key.encode() for one in each], content=content)
