"""Delimited text made legible: a CSV goes through as bytes, other dialects are rewritten.

Nothing is sniffed: encoding, delimiter and quote are what the source's script declares, and the
strict scan (`pipeline.scan`) holds the file to them.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from pipeline import decode
from pipeline.errors import SourceError
from pipeline.legible import Legible, Output, column_names, excerpt, header_line, place, quoted
from pipeline.scan import REPAIR, Dialect, Scan

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
    final_newline: bool = True,
    rename: Mapping[str, str] | None = None,
) -> Legible:
    """Write delimited files of one snapshot, all under the same header, as one legible CSV.

    UTF-8 with commas and double quotes goes through byte for byte but for its header line.

    Parameters
    ----------
    inputs:        one raw file, or several in their order.
    output:        the file to write; the caller renames it into place.
    encoding:      a Python codec, or several, tried in order on each whole file. A byte order
                   mark is taken off by "utf-8-sig" and refused otherwise.
    delimiter, quote: one ASCII character each; quote None where quotes have no meaning.
    final_newline: False declares that the publisher leaves the last line end out.
    rename:        published column name -> the name to use instead.

    Raises SourceError with file, line and column for everything that is not as declared.
    """
    dialect = Dialect(delimiter.encode("ascii"), quote.encode("ascii") if quote else None)
    paths = [inputs] if isinstance(inputs, Path) else list(inputs)
    encodings = [encoding] if isinstance(encoding, str) else list(encoding)
    notes: Counter[str] = Counter()
    first, columns, rows, ended = None, [], 0, True
    with Output(output) as out:
        for path in paths:
            fitting = encodings[0] if len(encodings) == 1 else decode.fitting(path, encodings)
            notes.update([f"encoding {fitting}"] if len(encodings) > 1 else [])
            part = _open(path, fitting, dialect)
            if first is None:
                first = part
                columns = column_names(part.names, rename or {}, f"{part.where}, line 1")
                out.write(header_line(columns, part.line_end))
            _hold_alike(part, first)
            scan = Scan(part.where, part.header, part.names, dialect)
            for block in _body(part, scan, dialect, final_newline):
                if not ended:  # the publisher left it out, and another file follows
                    out.write(part.line_end)
                out.write(block)
                ended = block[-1:] == b"\n"
            rows += scan.records - 1
        return out.receipt(rows, columns, notes)


@dataclass(frozen=True)
class _Part:
    """One raw file, opened: its header and its blocks, the header's among them."""

    where: str
    header: bytes  # with its line end
    names: list[str]  # as published
    blocks: Iterator[bytes]  # UTF-8; each ends with a line end, but for the file's last line

    @property
    def line_end(self) -> bytes:
        return b"\r\n" if self.header.endswith(b"\r\n") else b"\n"


def _open(path: Path, encoding: str, dialect: Dialect) -> _Part:
    where = place(path)
    blocks = decode.utf8_lines(path, encoding)
    data, end = b"", 0
    while len(data) < MAX_HEADER_BYTES and (not end or len(data) < LEADING_BYTES):
        block = next(blocks, b"")
        data += block
        end = _header_end(data, dialect.quote)
        if not block:
            break
    start = data[:LEADING_BYTES].lstrip()[:1]
    if start in _NOT_DELIMITED:
        kind = _NOT_DELIMITED[start]
        raise SourceError(f"{where}: {kind} in place of delimited text: {excerpt(data.lstrip())}")
    if b"\n" not in data:
        shown = excerpt(data.strip())
        what = f"a header without a line end: {shown}" if shown else "an empty file"
        raise SourceError(f"{where}, line 1: {what}", "the answer of the publisher was cut")
    if not end:
        raise SourceError(f"{where}, line 1: the header does not end; a quote in it stays open")
    return _Part(where, data[:end], _names(data[:end], dialect, where), chain([data], blocks))


def _header_end(data: bytes, quote: bytes | None) -> int:
    """The place after the header's line end; 0 if it is not in these bytes."""
    quotes, start = 0, 0
    while end := data.find(b"\n", start, MAX_HEADER_BYTES) + 1:
        quotes += data.count(quote, start, end) if quote else 0
        if quotes % 2 == 0:
            return end
        start = end
    return 0


def _names(header: bytes, dialect: Dialect, where: str) -> list[str]:
    """The published names in a raw header."""
    _refuse_another_delimiter(header, dialect, where)
    delimiter, quote = dialect.delimiter.decode(), dialect.quote
    try:
        text = header.decode()
        if not text.strip():
            raise SourceError(f"{where}, line 1: a blank line in place of the header")
        if not quote:
            return text.rstrip("\r\n").split(delimiter)
        lines = io.StringIO(text, newline="")
        return next(csv.reader(lines, delimiter=delimiter, quotechar=quote.decode(), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        what = f"the header cannot be read ({error}): {excerpt(header)}"
        raise SourceError(f"{where}, line 1: {what}", REPAIR) from None


def _refuse_another_delimiter(header: bytes, dialect: Dialect, where: str) -> None:
    """Refuse a header of one column in which another sign stands that delimits elsewhere."""
    plain = re.sub(rb'"[^"]*"', b"", header)
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
    if part.line_end != first.line_end:
        raise SourceError(f"{part.where}, line 1: another line end than in {first.where}")


def _body(part: _Part, scan: Scan, dialect: Dialect, final_newline: bool) -> Iterator[memoryview]:
    """The records below the header, scanned, as RFC 4180 CSV."""
    rewrite = None if dialect == Dialect() else _rewriter(dialect)
    begun = b""  # the beginning of a record that ends in a later block
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
            whole = begun + block[:done]
            begun = block[done:] if done else whole
            text = memoryview(rewrite(whole[skip:]) if done else b"")
            skip = 0 if done else skip
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
            return text if quote == b'"' else quoted(text[1:-1].replace(quote * 2, quote))
        return quoted(text) if b"," in text or b'"' in text else text

    return lambda records: re.sub(token, as_csv, records)
