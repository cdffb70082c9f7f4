"""The checks of a response before it may become a snapshot.

These checks need no knowledge of the data set; stage `preprocess` reads every byte.
"""

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
_BEGIN = 64 * 1024  # bytes that show what a document is
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
    """Refuse a file that is plainly not a complete document of its kind.

    Parameters
    ----------
    kind:          one of KINDS.
    where:         the address that an error names.
    is_delimited:  whether the protocol proved that the document is complete.
    final_newline: whether the publisher ends the last line of its CSV or TSV.
    encoding:      of a CSV or TSV without a byte order mark.

    Raises Transient when the end is missing, SourceError for another kind of document.
    """
    begin, last = _ends(path, kind)
    start = _as_utf8(begin, encoding).lstrip(_WHITE)
    if not start:
        raise Transient(f"{where}: the response is empty")
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
    """Return whether a document that is cut cannot pass `check`: cut JSON cannot be parsed.

    A CSV may be cut after any row, a gzip stream after any of its members, a zip after a zip that
    is stored in it.
    """
    return kind in _JSON_KINDS


def _as_utf8(begin: bytes, encoding: str) -> bytes:
    """Return the beginning of a text without byte order mark; UTF-16 and UTF-32 become UTF-8."""
    codec = charset.marked(begin) or encoding
    if codec.lower().startswith(("utf-16", "utf-32")):
        begin = begin.decode(codec, "ignore").encode("utf-8", "ignore")
    return begin.removeprefix(_MARK)


def _is_ended(begin: bytes, last: bytes, encoding: str) -> bool:
    """Return whether the last line of a text has its end: LF, or CR if all lines end so."""
    if last.endswith(charset.line_end(encoding, begin)):
        return True
    return last.endswith(b"\r") and charset.has_cr_line_ends(begin)


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(compressed.GZIP)) == compressed.GZIP


def _ends(path: Path, kind: str) -> tuple[bytes, bytes]:
    """Return the first and the last bytes of a document; those of the content for a `….gz`."""
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
