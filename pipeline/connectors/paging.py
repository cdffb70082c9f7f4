"""A data set read as pages of CSV or GeoJSON, in sequence, held against its counts and version.

What OpenFEMA and Socrata have in common. A publisher may change the data while they are read,
give fewer rows than asked, repeat rows or skip them. So a reading is taken only if the version and
the count were the same before and after it and every row came once, by a unique key; otherwise
it is read again, and after that refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from pipeline.connectors import page
from pipeline.errors import SourceError, Throttled, Transient
from pipeline.formats import lenient_json
from pipeline.raw import checks, fingerprints
from pipeline.raw.candidate import Candidate
from pipeline.settings import redact
from pipeline.text import escaped, shown, start_of

READS = 3  # of a data set that changes while it is being read
MOST_PAGES = 10_000
PAGES = "pages"  # all of them are one part of a snapshot
_ANSWER = ".answer"
Kind = TypeVar("Kind")
_CODES = ("code", "status", "statusCode", "errorCode")


@dataclass(frozen=True)
class Service:
    """How one data set is asked for.

    `version` and `count` ask the publisher; `address(offset)` is that of the page of `size` rows
    from there on. `key` is the column, in GeoJSON the property, that is unique, `order` what
    the pages are ordered by.
    """

    version: Callable[[], str]
    count: Callable[[], int]
    address: Callable[[int], str]
    size: int
    key: str
    order: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass
class _Reading:
    """What came of the pages so far."""

    header: list[str] = field(default_factory=list)
    rows: int = 0
    keys: set[bytes] = field(default_factory=set)


def fetch(candidate: Candidate, service: Service) -> None:
    """Fetch all pages, `page-00001.csv` and so on, or carry them over where nothing changed.

    The source's kind says what they are: `csv` or `geojson`.
    Raises SourceError when the pages do not hold still or do not match their count.
    """
    version = service.version()
    told = {"asked": redact(service.address(0)), "publisher_version": version}
    candidate.extra |= told
    if version and candidate.is_of_version(told["asked"], version):
        candidate.carry_over_all()
        return
    trouble = ""
    for _ in range(READS):
        candidate.remove_all()
        proof, detail = _read(candidate, service, version)
        if proof["verdict"] == "complete":
            candidate.extra["completeness"] = proof
            rows = fingerprints.total(entry.content for entry in candidate.resources)
            candidate.record_pages(told["asked"], version, rows)
            return
        trouble = f"{proof['verdict']}, {READS} times: {detail}"
        version = candidate.extra["publisher_version"] = service.version()
    raise SourceError(f"{shown(service.address(0))}: {trouble}")


def _read(candidate: Candidate, service: Service, version: str) -> tuple[dict, str]:
    """Read all pages once; returns the proof and, in words, what was held against what."""
    before = service.count()
    reading = _pages(candidate, service, before)
    after, version_after = service.count(), service.version()
    if (before, version) != (after, version_after):
        verdict = "changed while reading"
    else:
        is_whole = reading.rows == len(reading.keys) == after
        verdict = "complete" if is_whole else "short"
    proof = {"order": service.order, "unique_key": service.key, "pages": len(candidate.resources)}
    proof |= {"count_before": before, "count_after": after, "rows": reading.rows}
    detail = (
        f"{reading.rows:,} rows with {len(reading.keys):,} different {service.key} came where "
        f"{before:,} were counted before and {after:,} after"
    )
    if version != version_after:
        detail += f"; the version went from {escaped(version)} to {escaped(version_after)}"
    return proof | {"verdict": verdict}, detail


def _pages(candidate: Candidate, service: Service, expected: int) -> _Reading:
    """All pages, or those up to one that is empty or has a row again: no more would mend that."""
    reading, address = _Reading(), ""
    for number in range(1, MOST_PAGES + 1):
        address = service.address(reading.rows)
        header, keys = _page(
            candidate, service, address, f"page-{number:05}.{candidate.source.kind}"
        )
        if number > 1 and header != reading.header:
            raise SourceError(
                f"{shown(address)}: other columns than on the first page: "
                f"{escaped(', '.join(header))} where it has {escaped(', '.join(reading.header))}"
            )
        reading.header = header
        reading.rows += len(keys)
        reading.keys.update(keys)
        if reading.rows >= expected or not keys or len(reading.keys) < reading.rows:
            return reading
    raise SourceError(f"{shown(address)}: page {MOST_PAGES:,} and no end; it gives too few at once")


def _page(candidate, service: Service, address: str, name: str) -> tuple[list[str], list[bytes]]:
    """Fetch one page into the candidate; returns its header and its keys."""
    came: list[page.Page] = []
    source, where = candidate.source, shown(address)
    read = page.features if source.kind == "geojson" else page.table

    def looks_right(path: Path, is_delimited: bool) -> None:
        _raise_for_error(path, where)
        newline = source.final_newline
        checks.check(
            path,
            source.kind,
            where,
            is_delimited=is_delimited,
            final_newline=newline,
            encoding=source.encoding,
        )
        came.append(read(path, where, service.key))

    path = candidate.folder / name
    got = candidate.client.get(address, path, headers=dict(service.headers), check=looks_right)
    found = came[-1]
    told = fingerprints.of_rows(*found.rows_without(source.volatile_columns))
    candidate.add(path, where, got, rows=len(found.keys), part=PAGES, content=told)
    return found.header, found.keys


def ask(
    candidate: Candidate, address: str, kind: type[Kind], headers: Mapping[str, str] | None = None
) -> Kind:
    """A small answer in JSON that is not kept, such as a count.

    Parameters
    ----------
    kind:    what to decode it into, with msgspec.
    headers: sent to the host of the address alone.

    Raises SourceError when it is something else, or an error that came with status 200.
    """
    path, where = candidate.folder / _ANSWER, shown(address)

    def is_no_error(path: Path, is_delimited: bool) -> None:
        _raise_for_error(path, where)

    candidate.client.get(address, path, headers=dict(headers or {}), check=is_no_error)
    body = path.read_bytes()
    path.unlink()
    try:
        return lenient_json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SourceError(
            f"{where}: not the answer that was expected ({error}): {start_of(body)}"
        ) from None


class _Error(msgspec.Struct):
    error: object = None
    message: object = None
    code: object = None
    status: object = None
    statusCode: object = None
    errorCode: object = None


def _raise_for_error(path: Path, where: str) -> None:
    """Refuse an error that came with status 200, whatever was asked for.

    Raises Throttled when a code in it is 429, Transient at 5xx, SourceError otherwise.
    """
    with path.open("rb") as file:
        begin = file.read(64 * 1024).lstrip(b"\xef\xbb\xbf \t\r\n")
    if begin[:1] != b"{":
        return
    try:
        answer = lenient_json.decode(begin, type=_Error)
    except (msgspec.DecodeError, RecursionError):
        return  # what it is instead, the reader of the answer says
    inner = answer.error if isinstance(answer.error, dict) else {}
    codes = [inner.get(name) for name in _CODES] + [getattr(answer, name) for name in _CODES]
    numbers = [int(str(code)) for code in codes if str(code).isdecimal()]
    if answer.error is None and answer.message is None and not any(n >= 400 for n in numbers):
        return
    text = start_of(begin)
    what = f"{where}: an error came with status 200: {text}"
    if 429 in numbers:
        raise Throttled(what)
    if any(500 <= number < 600 for number in numbers):
        raise Transient(what)
    refused = any(number in (401, 403) for number in numbers)
    raise SourceError(what, "a credential is missing or was refused" if refused else "")
