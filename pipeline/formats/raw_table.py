"""The beginning of a raw file of delimited text: its header, its names, how its lines end."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from pipeline.errors import SourceError
from pipeline.formats import decode, line_ends
from pipeline.formats.csv_scan import MAX_RECORD_BYTES, REPAIR, remedy_of_byte
from pipeline.formats.dialect import Dialect
from pipeline.text import excerpt, place

MAX_HEADER_BYTES = 1 << 20
LEADING_BYTES = 1 << 10  # where an HTML page shows itself, after blank lines
DELIMITERS = (b",", b";", b"\t", b"|")  # a name of a column has them hardly ever
_NOT_DELIMITED = {b"<": "an HTML or XML page", b"{": "JSON", b"[": "JSON"}


@dataclass(frozen=True)
class Part:
    """One raw file, opened: its header and its blocks, the header's among them.

    Where the publisher's header ends in another way than the rows, the one here ends like them.
    """

    where: str
    header: bytes  # with its line end
    names: list[str]  # as published
    blocks: Iterator[bytes]  # UTF-8; each ends with a line end, but for the file's last line
    first_line: int  # of the header; 0 where it is declared and not in the file
    has_rows: bool
    is_header_unlike: bool

    @property
    def line_end(self) -> bytes:
        return _line_end(self.header)


def open_part(path: Path, encoding: str, dialect: Dialect, names: Sequence[str] | None) -> Part:
    """Read a raw file as far as its header and the end of its first row.

    `names` are those of a file that has no header itself. Raises SourceError for what is no
    delimited text in this dialect, ValueError for names that the dialect cannot have.
    """
    where = place(path)
    blocks = decode.utf8_lines(path, encoding, is_cr=dialect.is_cr)
    begin = b"" if names is None else _declared_header(names, dialect)
    data, end, second = _first_records(chain([begin], blocks), dialect.quote)
    _refuse_no_text(data[len(begin) :], dialect, where, has_header=names is None)
    if not end:
        raise SourceError(f"{where}, line 1: the header does not end; a quote in it stays open")
    header, rest = data[:end], data[end:]
    wanted = _line_end(data[:second]) if second else _line_end(header)
    is_unlike = wanted != _line_end(header)
    if is_unlike:
        header = header.removesuffix(_line_end(header)) + wanted
    found = _names(header, dialect, where) if names is None else list(names)
    blocks = chain([header + rest], blocks)
    is_unlike = is_unlike and names is None
    return Part(where, header, found, blocks, int(names is None), bool(second), is_unlike)


def _declared_header(names: Sequence[str], dialect: Dialect) -> bytes:
    """The line that a file without a header lacks, in its dialect. Raises ValueError."""
    quote = dialect.quote or b""
    fields = [quote + name.encode().replace(quote, quote * 2) + quote for name in names]
    line = dialect.delimiter.join(fields) + b"\n"
    if not names or dialect.fields(line) != list(names):
        raise ValueError(f"header={list(names)}: a file in this dialect cannot have these names")
    return line


def _first_records(blocks: Iterator[bytes], quote: bytes | None) -> tuple[bytes, int, int]:
    """The beginning of a file, at least to the end of its second record if it has one.

    Returns the bytes, the end of the header in them, and that of the next record; 0 if not there.
    """
    data, end, second = b"", 0, 0
    for block in blocks:
        data += block
        end = _record_end(data, 0, quote)
        second = _record_end(data, end, quote) if end else 0
        if len(data) >= (MAX_RECORD_BYTES if end else MAX_HEADER_BYTES):
            break
        if second and len(data) >= LEADING_BYTES:
            break
    return data, end if end <= MAX_HEADER_BYTES else 0, second


def _record_end(data: bytes, start: int, quote: bytes | None) -> int:
    """Where the record that begins at `start` ends, its line end included; 0 if it does not."""
    quotes = 0
    while end := data.find(b"\n", start) + 1:
        quotes += data.count(quote, start, end) if quote else 0
        if quotes % 2 == 0:
            return end
        start = end
    return 0


def _line_end(record: bytes) -> bytes:
    return b"\r\n" if record.endswith(b"\r\n") else b"\n"


def _refuse_no_text(data: bytes, dialect: Dialect, where: str, *, has_header: bool) -> None:
    """Refuse what is no delimited text, or ends its lines in another way than declared."""
    start = data[:LEADING_BYTES].lstrip()[:1]
    if start in _NOT_DELIMITED:
        kind = _NOT_DELIMITED[start]
        raise SourceError(f"{where}: {kind} in place of delimited text: {excerpt(data.lstrip())}")
    if line_ends.is_cr_alone(data, dialect.quote):
        raise _wrong_line_end(dialect, where)
    if b"\n" not in data and (has_header or not data):
        shown = excerpt(data.strip())
        what = f"a header without a line end: {shown}" if shown else "an empty file"
        raise SourceError(f"{where}, line 1: {what}", "the answer of the publisher was cut")


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
            raise SourceError(f"{where}, line 1: a blank line in place of the header")
        _refuse_another_delimiter(header, dialect, where)
        return dialect.fields(header)
    except UnicodeDecodeError as error:
        what = f"{where}, line 1: the header is not UTF-8: {excerpt(header)}"
        raise SourceError(what, remedy_of_byte(header, error.start)) from None
    except csv.Error as error:
        what = f"the header cannot be read ({error}): {excerpt(header)}"
        raise SourceError(f"{where}, line 1: {what}", REPAIR) from None


def _refuse_another_delimiter(header: bytes, dialect: Dialect, where: str) -> None:
    """Refuse a header of one column in which another sign stands that delimits elsewhere."""
    plain = line_ends.unquoted(header, dialect.quote)
    seen = {sign: plain.count(sign) for sign in DELIMITERS if sign != dialect.delimiter}
    sign = max(seen, key=seen.__getitem__)
    if seen[sign] and dialect.delimiter not in plain:
        raise SourceError(
            f"{where}, line 1: one column only: {dialect.delimiter.decode()!r}, declared as the "
            f"delimiter, is not in it, and {sign.decode()!r} is {seen[sign]} times: "
            f"{excerpt(header)}",
            "if that is the delimiter now, declare delimiter= in the source's preprocess script",
        )
