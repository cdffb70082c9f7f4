"""Delimited text made legible: a CSV goes through as bytes, other dialects are rewritten.

Nothing is sniffed: encoding, delimiter and quote are what the source's script declares, and the
strict scan (`pipeline.scan`) holds the file to them.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pipeline import charset, declaration, decode, headerless, raw_table
from pipeline.dialect import Dialect
from pipeline.errors import DeclarationError, SourceError
from pipeline.legible import Legible, Output, column_names, header_line, quoted
from pipeline.printable import excerpt
from pipeline.raw_table import Part
from pipeline.scan import Scan


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
    declaration.check_dialect(delimiter, quote, "the script in preprocess/")
    encodings = [encoding] if isinstance(encoding, str) else list(encoding)
    declaration.check_encodings(encodings, "the script in preprocess/")
    if line_end not in (None, "\r"):
        raise DeclarationError(
            f'the script in preprocess/ declares line_end={line_end!r}: only "\\r" is declared'
        )
    signs = delimiter.encode("ascii"), quote.encode("ascii") if quote else None
    dialect = Dialect(*signs, is_cr=line_end == "\r")
    paths = [inputs] if isinstance(inputs, Path) else list(inputs)
    notes: Counter[str] = Counter()
    first, columns, ended = None, [], True
    files: Counter[str] = Counter()
    with Output(output) as out:
        for path in paths:
            fitting = encodings[0] if len(encodings) == 1 else decode.fitting(path, encodings)
            notes.update([f"encoding {fitting}"] if len(encodings) > 1 else [])
            part = raw_table.open_part(path, fitting, dialect, header)
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
            files[path.name] += scan.records - 1
            notes["files whose header has another line end than their rows"] += (
                part.is_header_unlike
            )
        return out.receipt(files, columns, +notes)


def _columns(part: Part, rename: Mapping[str, str], *, is_declared: bool) -> list[str]:
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


def _hold_alike(part: Part, first: Part) -> None:
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


def _body(part: Part, scan: Scan, dialect: Dialect, final_newline: bool) -> Iterator[memoryview]:
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
