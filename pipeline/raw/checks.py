"""What an answer must look like before it may become a snapshot, and what of it counts.

These are the checks that need no knowledge of the data set; stage `preprocess` reads every byte.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from pipeline import compressed
from pipeline.errors import SourceError, Transient
from pipeline.formats import charset, lenient_json
from pipeline.http.responses import ErrorBody
from pipeline.text import start_of

_JSON_KINDS = ("json", "geojson", "topojson")
KINDS = (*_JSON_KINDS, "csv", "tsv", "csv.gz", "tsv.gz", "zip")
_LAST = 4  # bytes of a line end, in UTF-32
_BEGIN = 64 * 1024  # bytes in which a document shows what it is
_TYPES = {"geojson": "FeatureCollection", "topojson": "Topology"}
_WHITE = b" \t\r\n"
_MARK = b"\xef\xbb\xbf"


class _Document(ErrorBody):
    type: Any = None


def check(
    path: Path,
    kind: str,
    where: str,
    *,
    is_delimited: bool = True,
    final_newline: bool = True,
    encoding: str = "utf-8",
) -> None:
    """Refuse what is plainly not a whole document of its kind.

    Parameters
    ----------
    kind:          one of KINDS.
    where:         the address to name in an error.
    is_delimited:  whether the protocol proved that the document came whole.
    final_newline: whether the publisher ends the last line of its CSV or TSV.
    encoding:      of a CSV or TSV, where it has no byte order mark that says so.

    Raises Transient when the end is missing, SourceError when it is another kind of document.
    """
    begin, last = _ends(path, kind)
    start = _as_utf8(begin, encoding).lstrip(_WHITE)
    if not start:
        raise Transient(f"{where}: the answer is empty")
    shown = start_of(start)
    if start[:1] == b"<":
        raise SourceError(f"{where}: a web page came instead of {kind}: {shown}")
    if kind in _JSON_KINDS:
        _check_json(path, kind, where, shown)
    elif start[:1] in (b"{", b"["):
        raise SourceError(f"{where}: JSON came instead of {kind}: {shown}")
    elif kind == "zip":
        compressed.members(path)
    elif kind.endswith(".gz") and not _is_gzip(path):
        raise SourceError(f"{where}: no gzip came: {shown}")
    elif (final_newline or not is_delimited) and not _is_ended(begin, last, encoding):
        raise Transient(f"{where}: the last line has no end")


def proves_its_end(kind: str) -> bool:
    """Whether no beginning of a document of a kind passes `check`: a cut JSON does not parse.

    A CSV may be cut behind any row, a gzip stream behind any of its members, a zip behind a zip
    that is stored in it.
    """
    return kind in _JSON_KINDS


def _as_utf8(begin: bytes, encoding: str) -> bytes:
    """The beginning of a text without its mark, in UTF-8 if it is in UTF-16 or UTF-32."""
    codec = charset.marked(begin) or encoding
    if codec.lower().startswith(("utf-16", "utf-32")):
        begin = begin.decode(codec, "ignore").encode("utf-8", "ignore")
    return begin.removeprefix(_MARK)


def _is_ended(begin: bytes, last: bytes, encoding: str) -> bool:
    """Whether the last line of a text has its end: LF, or CR where all lines end so."""
    if last.endswith(charset.line_end(encoding, begin)):
        return True
    return last.endswith(b"\r") and charset.has_cr_line_ends(begin)


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(compressed.GZIP)) == compressed.GZIP


def _ends(path: Path, kind: str) -> tuple[bytes, bytes]:
    """The beginning of a document and its last bytes; of a `….gz`, of what it unpacks to."""
    with path.open("rb") as file:
        begin = file.read(_BEGIN)
        if not (kind.endswith(".gz") and _is_gzip(path)):
            file.seek(max(0, path.stat().st_size - _LAST))
            return begin, file.read()
    begin = last = b""
    for block in compressed.blocks(path):
        begin += block[: _BEGIN - len(begin)]
        last = (last + block)[-_LAST:]
    return begin, last


def _check_json(path: Path, kind: str, where: str, shown: str) -> None:
    data = path.read_bytes().removeprefix(_MARK).strip(_WHITE)
    if data[:1] not in (b"{", b"["):
        raise SourceError(f"{where}: not JSON: {shown}")
    if data[-1:] != (b"}" if data[:1] == b"{" else b"]"):
        raise Transient(f"{where}: the JSON has no end")
    try:
        document = lenient_json.decode(data, type=_Document | list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        raise SourceError(f"{where}: not JSON ({error}): {shown}") from None
    expected = _TYPES.get(kind)
    is_other = expected and getattr(document, "type", None) != expected
    if isinstance(document, _Document):
        document.refuse(data, where, is_data=not is_other)
    if is_other:
        raise SourceError(f"{where}: no {expected} came: {shown}")


def fingerprint(path: Path, volatile: tuple[str, ...]) -> str:
    """SHA-256 of a JSON object without the members that differ in every answer.

    `volatile` names them by their path, as `metadata.generated`. What is left is compared as the
    bytes it came in, so that `1.10` is not `1.1`.
    """
    return fingerprint_of_json(path.read_bytes(), volatile, path.name)


def fingerprint_of_json(document: bytes, volatile: tuple[str, ...], where: str) -> str:
    """The same of a document in memory; `where` is the name of it in an error."""
    try:
        kept = without(document.removeprefix(_MARK), volatile)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SourceError(f"{where}: not a JSON object: {error}") from None
    return hashlib.sha256(kept).hexdigest()


def fingerprint_of_rows(path: Path, volatile_columns: tuple[str, ...], encoding: str) -> str:
    """The fingerprint of the rows of a CSV, in any order, without the columns that move.

    Raises SourceError when the file has no such column, or cannot be read as CSV.
    """
    return fingerprint_of_table(path.read_bytes(), path.name, volatile_columns, encoding=encoding)


def fingerprint_of_table(
    data: bytes, where: str, volatile_columns: tuple[str, ...], **dialect: Any
) -> str:
    """The same of a table in memory, in any dialect; `where` is the name of it in an error.

    `dialect` as `csv_column.parse` takes it. Raises SourceError when the table has no such column,
    or cannot be read in that dialect.
    """
    from pipeline.formats import csv_columns  # numpy is slow to start: most do without

    table = csv_columns.parse(data, where, **dialect)
    return row_fingerprint(*table.rows_without(volatile_columns))


def row_fingerprint(header: bytes, *rows: bytes) -> str:
    """One fingerprint of rows under a header, whatever their order: the sum of their SHA-256.

    A sum, so that it is the same however the rows were cut into pages (`total`).
    """
    begun = hashlib.sha256(header + b"\0")

    def number(row: bytes) -> int:
        digest = begun.copy()
        digest.update(row)
        return int.from_bytes(digest.digest())

    return _hex(sum(map(number, rows)))


def total(fingerprints: Iterable[str]) -> str:
    """The fingerprint of the rows of several pages, from the fingerprint of each page."""
    return _hex(sum(int(fingerprint, 16) for fingerprint in fingerprints))


def _hex(number: int) -> str:
    return f"{number % 2**256:064x}"


def without(document: bytes, volatile: tuple[str, ...]) -> bytes:
    """A JSON object without the members at some paths, such as `metadata.generated`."""
    return _without(document, [path.split(".") for path in volatile])


def _without(document: bytes, paths: list[list[str]]) -> bytes:
    """The members of a JSON object, sorted by name, without those at some paths."""
    members = lenient_json.decode(document, type=dict[str, msgspec.Raw])
    kept = []
    for name, value in sorted(members.items()):
        below = [path[1:] for path in paths if path[0] == name]
        if [] in below:
            continue
        inner = bytes(value)
        if below and inner.startswith(b"{"):
            inner = _without(inner, below)
        kept.append(msgspec.json.encode(name) + b":" + inner)
    return b"{" + b",".join(kept) + b"}"
