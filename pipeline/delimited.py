"""Delimited text made legible: a CSV goes through as bytes, other dialects are rewritten.

Nothing is sniffed: encoding, delimiter and quote are what the source's script declares, and the
strict scan (`pipeline.scan`) holds the file to them.
"""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from pipeline import charset, decode, headerless, line_ends
from pipeline.errors import SourceError
from pipeline.legible import Legible, Output, column_names, excerpt, header_line, place, quoted
from pipeline.scan import MAX_RECORD_BYTES, REPAIR, Dialect, Scan, remedy_of_byte

MAX_HEADER_BYTES = 1 << 20
LEADING_BYTES = 1 << 10  # where an HTML page shows itself, after blank lines
DELIMITERS = (b",", b";", b"\t", b"|")  # a name of a column has them hardly ever
_NOT_DELIMITED = {b"<": "an HTML or XML page", b"{": "JSON", b"[": "JSON"}


def write_csv(
    inputs: Path | Sequence[Path],
    output: Path,
    *,
    encoding: str | Sequence[str] = "utf-8",
    delimiter: str = ",",
    quote: str | None = '"',
    line_end: str | None = None,
    final_newline: bool = True,
    header: Sequence[str] | None = None,
    rename: Mapping[str, str] | None = None,
) -> Legible:
    """Write delimited files of one snapshot, all under the same header, as one legible CSV.

    UTF-8 with commas and double quotes goes through byte for byte but for its header line, which
    gets the line end of the rows.

    Parameters
    ----------
    inputs:        one raw file, or several in their order.
    output:        the file to write; the caller renames it into place.
    encoding:      a Python codec, or several, tried in order on each whole file. A byte order
                   mark is taken off by "utf-8-sig" and refused otherwise.
    delimiter, quote: one ASCII character each; quote None where quotes have no meaning.
    line_end:      "\\r" for lines that end in CR alone; they end in LF in the legible file. LF and
                   CR LF, the same in every row, need no declaration.
    final_newline: False declares that the publisher leaves the last line end out.
    header:        the names of the columns of files that have none: their first line is a row.
    rename:        published column name -> the name to use instead.

    Raises SourceError with file, line and column for everything that is not as declared,
    ValueError for a dialect that cannot be.
    """
    if line_end not in (None, "\r"):
        raise ValueError(f'line_end={line_end!r}: only "\\r" is declared')
    signs = delimiter.encode("ascii"), quote.encode("ascii") if quote else None
    dialect = Dialect(*signs, is_cr=line_end == "\r")
    paths = [inputs] if isinstance(inputs, Path) else list(inputs)
    encodings = [encoding] if isinstance(encoding, str) else list(encoding)
    notes: Counter[str] = Counter()
    first, columns, rows, ended = None, [], 0, True
    with Output(output) as out:
        for path in paths:
            fitting = encodings[0] if len(encodings) == 1 else decode.fitting(path, encodings)
            notes.update([f"encoding {fitting}"] if len(encodings) > 1 else [])
            part = _open(path, fitting, dialect, header)
            if first is None:
                first = part
                columns = _columns(part, rename or {}, is_declared=header is not None)
                out.write(header_line(columns, part.line_end))
            _hold_alike(part, first)
            scan = Scan(part.where, part.header, part.names, dialect, first_line=part.first_line)
            for block in _body(part, scan, dialect, final_newline):
                if not ended:  # the publisher left it out, and another file follows
                    out.write(part.line_end)
                out.write(block)
                ended = block[-1:] == b"\n"
            rows += scan.records - 1
            notes["header with another line end than its rows"] += part.is_header_unlike
        return out.receipt(rows, columns, +notes)


@dataclass(frozen=True)
class _Part:
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


def _open(path: Path, encoding: str, dialect: Dialect, names: Sequence[str] | None) -> _Part:
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
    return _Part(where, header, found, blocks, int(names is None), bool(second), is_unlike)


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


def _columns(part: _Part, rename: Mapping[str, str], *, is_declared: bool) -> list[str]:
    """The names of the columns. Raises SourceError, as `column_names` does."""
    try:
        return column_names(part.names, rename, f"{part.where}, line 1")
    except SourceError as error:
        if is_declared or not headerless.is_like_a_row(part.names):
            raise
        remedy = (
            f"{error.remedy}; if line 1 is a row and the file has no header, {headerless.DECLARE}"
        )
        raise SourceError(error.what, remedy) from None


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


def _hold_alike(part: _Part, first: _Part) -> None:
    """Files of one snapshot share their header and their line end."""
    if part.names != first.names:
        differing = [n for n in part.names if n not in first.names] or part.names
        missing = [n for n in first.names if n not in part.names]
        raise SourceError(
            f"{part.where}, line 1: another header than {first.where}: "
            f"{excerpt(', '.join(differing))} here, {excerpt(', '.join(missing)) or 'none'} missing"
        )
    if part.has_rows and part.line_end != first.line_end:
        raise SourceError(f"{part.where}, line 1: another line end than in {first.where}")


def _body(part: _Part, scan: Scan, dialect: Dialect, final_newline: bool) -> Iterator[memoryview]:
    """The records below the header, scanned, as RFC 4180 CSV."""
    rewrite = None if dialect == Dialect() else _rewriter(dialect)
    begun: list[bytes] = []  # the record at hand, which ends in a later block
    skip = len(part.header)
    for block in part.blocks:
        missing = b"" if block.endswith(b"\n") else part.line_end
        if missing and final_newline:
            line = scan.lines + block.count(b"\n") + 1
            last = excerpt(block[block.rfind(b"\n") + 1 :])
            raise SourceError(
                f"{part.where}, line {line}: the last line has no line end: {last}",
                "the file is cut inside its last row; if its publisher always leaves the line "
                "end out, declare final_newline=False in the source's preprocess script",
            )
        done = scan.block(block + missing)
        text = memoryview(block)
        if rewrite:
            begun.append(block[done:])
            text = memoryview(b"")
            if done:
                whole = b"".join([*begun[:-1], block[:done]])
                begun = begun[-1:]
                text, skip = memoryview(rewrite(whole[skip:])), 0
        else:
            text, skip = text[skip:], 0
        if text:
            yield text
    scan.finish()


def _rewriter(dialect: Dialect) -> Callable[[bytes], bytes]:
    """The function that turns whole records of a dialect into RFC 4180 CSV.

    Values stay as they are; an unquoted one gets quotes if it has a comma or a quote in it.
    """
    delimiter, quote = dialect.delimiter, dialect.quote or b""
    d, q = re.escape(delimiter), re.escape(quote)
    token = rb"%b|[^%b%b\r\n]+" % (d, d, q)
    if quote:
        token += rb"|%b[^%b]*(?:%b%b[^%b]*)*%b" % (q, q, q, q, q, q)

    def as_csv(match: re.Match[bytes]) -> bytes:
        text = match[0]
        if text == delimiter:
            return b","
        if quote and text.startswith(quote):
            text = text.translate(charset.SWAPPED) if dialect.is_cr else text
            return text if quote == b'"' else quoted(text[1:-1].replace(quote * 2, quote))
        return quoted(text) if b"," in text or b'"' in text else text

    return lambda records: re.sub(token, as_csv, records)
