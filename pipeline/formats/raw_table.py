"""The beginning of a raw file of delimited text: its header, its column names, its line ends."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from pipeline.errors import SourceError
from pipeline.formats import charset, decode, records
from pipeline.formats.csv_scan import MAX_RECORD_BYTES, remedy_of_byte
from pipeline.formats.dialect import Dialect
from pipeline.formats.remedies import REPAIR
from pipeline.text import excerpt, label

MAX_HEADER_BYTES = 1 << 20
LEADING_BYTES = 1 << 10  # enough to recognise an HTML page, after blank lines
DELIMITERS = (b",", b";", b"\t", b"|")  # rare in the names of columns
_NOT_DELIMITED = {b"<": "an HTML or XML page", b"{": "JSON", b"[": "JSON"}


@dataclass(frozen=True)
class Part:
    """An open raw file: its header, and its blocks, which include the header.

    If the publisher's header has another line end than the rows, this one has that of the rows.
    """

    where: str
    header: bytes  # with its line end
    names: list[str]  # as published
    blocks: Iterator[bytes]  # UTF-8; each ends with a line end, except the file's last line
    first_line: int  # of the header; 0 if it is declared, not in the file
    has_rows: bool
    has_other_header_end: bool  # the publisher's header has another line end than the rows

    @property
    def line_end(self) -> bytes:
        """The line end of the rows."""
        return _line_end(self.header)


def open_part(path: Path, encoding: str, dialect: Dialect, names: Sequence[str] | None) -> Part:
    """Read a raw file as far as its header and the end of its first row.

    `names` are declared for a file without a header. Raises SourceError for what is not delimited
    text in this dialect, ValueError for names that the dialect cannot express.
    """
    where = label(path)
    blocks = decode.utf8_lines(path, encoding, is_cr=dialect.is_cr)
    declared = b"" if names is None else _declared_header(names, dialect)
    data, end, second = _first_records(chain([declared], blocks), dialect.quote)
    _refuse_other_formats(data[len(declared) :], dialect, where, has_header=names is None)
    if not end:
        raise SourceError(f"{where}, line 1: the header does not end; a quote in it stays open")
    header, rest = data[:end], data[end:]
    wanted = _line_end(data[:second]) if second else _line_end(header)
    is_other = wanted != _line_end(header) and names is None
    header = header.removesuffix(_line_end(header)) + wanted
    found = _names(header, dialect, where) if names is None else list(names)
    blocks = chain([header + rest], blocks)
    return Part(where, header, found, blocks, int(names is None), bool(second), is_other)


def _declared_header(names: Sequence[str], dialect: Dialect) -> bytes:
    """The declared header as a line of the dialect. Raises ValueError if it has no such line."""
    quote = dialect.quote or b""
    fields = [quote + name.encode().replace(quote, quote * 2) + quote for name in names]
    line = dialect.delimiter.join(fields) + b"\n"
    if not names or dialect.fields(line) != list(names):
        raise ValueError(f"header={list(names)}: a file in this dialect cannot have these names")
    return line


def _first_records(blocks: Iterator[bytes], quote: bytes | None) -> tuple[bytes, int, int]:
    """The beginning of a file, at least to the end of its second record if it has one.

    Returns the bytes, and the offsets at which the header and the next record end; 0 if missing.
    """
    data, end, second = b"", 0, 0
    for block in blocks:
        data += block
        end, second, *_ = [*records.ends(data, quote), 0, 0] if data else (0, 0)
        if len(data) >= (MAX_RECORD_BYTES if end else MAX_HEADER_BYTES):
            break
        if second and len(data) >= LEADING_BYTES:
            break
    return data, end if end <= MAX_HEADER_BYTES else 0, second


def _line_end(record: bytes) -> bytes:
    return b"\r\n" if record.endswith(b"\r\n") else b"\n"


def _refuse_other_formats(data: bytes, dialect: Dialect, where: str, *, has_header: bool) -> None:
    """Refuse what is not delimited text, or has other line ends than declared."""
    start = data[:LEADING_BYTES].lstrip()[:1]
    if start in _NOT_DELIMITED:
        kind = _NOT_DELIMITED[start]
        raise SourceError(f"{where}: {kind} instead of delimited text: {excerpt(data.lstrip())}")
    if charset.has_cr_line_ends(data, dialect.quote):
        raise _wrong_line_end(dialect, where)
    if b"\n" not in data and (has_header or not data):
        shown = excerpt(data.strip())
        what = f"a header without a line end: {shown}" if shown else "an empty file"
        raise SourceError(f"{where}, line 1: {what}", "the publisher's response was cut")


def _wrong_line_end(dialect: Dialect, where: str) -> SourceError:
    if dialect.is_cr:  # CR and LF are exchanged
        what = "the lines end in LF or CR LF, where CR alone is declared"
        return SourceError(f"{where}: {what}", "take line_end= out of the preprocess script")
    what = "the lines end in CR alone, as on an old Macintosh"
    return SourceError(f"{where}: {what}", 'declare line_end="\\r" in the preprocess script')


def _names(header: bytes, dialect: Dialect, where: str) -> list[str]:
    """The published names in a raw header."""
    try:
        if not header.decode().strip():
            raise SourceError(f"{where}, line 1: a blank line instead of the header")
        _refuse_another_delimiter(header, dialect, where)
        return dialect.fields(header)
    except UnicodeDecodeError as error:
        what = f"{where}, line 1: the header is not UTF-8: {excerpt(header)}"
        raise SourceError(what, remedy_of_byte(header, error.start)) from None
    except csv.Error as error:
        what = f"the header cannot be read ({error}): {excerpt(header)}"
        raise SourceError(f"{where}, line 1: {what}", REPAIR) from None


def _refuse_another_delimiter(header: bytes, dialect: Dialect, where: str) -> None:
    """Refuse a header of one column that contains another common delimiter."""
    plain = charset.unquoted(header, dialect.quote)
    seen = {sign: plain.count(sign) for sign in DELIMITERS if sign != dialect.delimiter}
    sign = max(seen, key=seen.__getitem__)
    if seen[sign] and dialect.delimiter not in plain:
        raise SourceError(
            f"{where}, line 1: one column only: the declared delimiter "
            f"{dialect.delimiter.decode()!r} does not occur, {sign.decode()!r} occurs "
            f"{seen[sign]} times: {excerpt(header)}",
            "if that is the delimiter now, declare delimiter= in the source's preprocess script",
        )
