"""Delimited text as a legible file: a CSV is copied as bytes, other dialects are rewritten.

Nothing is guessed: the source's script declares encoding, delimiter and quote, and the strict scan
(`pipeline.formats.csv_scan`) refuses a file that differs.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pipeline import declaration_checks
from pipeline.errors import DeclarationError, SourceError
from pipeline.formats import charset, common_header, decode, headerless, raw_table
from pipeline.formats.csv_scan import Scan
from pipeline.formats.dialect import Dialect
from pipeline.formats.legible import Legible, Output, column_names, header_line, quoted
from pipeline.formats.raw_table import Part
from pipeline.formats.remedies import DECLARE_HEADER
from pipeline.text import excerpt


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
    """Write delimited files of one snapshot as one legible CSV.

    UTF-8 with commas and double quotes is copied byte for byte, except for the header line, which
    gets the line end of the rows. If the headers of several files differ, the legible file has all
    their columns. A file with other columns, another order or other line ends than the first is
    rewritten; a column that it lacks is null in its rows. The receipt says which file lacks which
    columns: see `part_columns.check`.

    Parameters
    ----------
    inputs:        one raw file, or several in their order.
    output:        the file to write; the caller renames it into place.
    encoding:      a Python codec, or several, tried in order on each whole file. "utf-8-sig"
                   removes a byte order mark; all others refuse it.
    delimiter, quote: one ASCII character each; quote None if quotes have no meaning.
    line_end:      "\\r" for lines that end in CR alone; in the legible file they end in LF. LF and
                   CR LF, the same in every row, need no declaration.
    final_newline: False declares that the publisher leaves the last line end out.
    header:        the column names of files without a header: their first line is a row.
    rename:        published column name -> the name to use instead.

    Raises SourceError with file, line and column for everything that is not as declared,
    ValueError for an impossible dialect.
    """
    declaration_checks.check_dialect(delimiter, quote, "the script in preprocess/")
    encodings = [encoding] if isinstance(encoding, str) else list(encoding)
    declaration_checks.check_encodings(encodings, "the script in preprocess/")
    if line_end not in (None, "\r"):
        raise DeclarationError(
            f'the script in preprocess/ declares line_end={line_end!r}: only "\\r" is declared'
        )
    signs = delimiter.encode("ascii"), quote.encode("ascii") if quote else None
    dialect = Dialect(*signs, is_cr=line_end == "\r")
    paths = [inputs] if isinstance(inputs, Path) else list(inputs)
    codecs = [encodings[0] if len(encodings) == 1 else decode.fitting(p, encodings) for p in paths]
    notes = Counter(f"encoding {codec}" for codec in codecs if len(encodings) > 1)
    files = [
        _examine(path, codec, dialect, header, rename or {})
        for path, codec in zip(paths, codecs, strict=True)
    ]
    _refuse_strangers(files)
    columns = common_header.of((file.columns for file in files), files[0].where)
    newline, ended = files[0].line_end, True
    rows: Counter[str] = Counter()
    with Output(output) as out:
        out.write(header_line(columns, newline))
        for file in files:
            part = raw_table.open_part(file.path, file.codec, dialect, header)
            is_other = file.columns != columns or (part.has_rows and part.line_end != newline)
            arrange = common_header.arranger(file.columns, columns, newline) if is_other else None
            scan = Scan(part.where, part.header, part.names, dialect, first_line=part.first_line)
            for block in _body(part, scan, dialect, final_newline, arrange):
                if not ended:  # the publisher left it out, and another file follows
                    out.write(newline)
                out.write(block)
                ended = block[-1:] == b"\n"
            rows[file.path.name] += scan.records - 1
            notes["files whose header has another line end than their rows"] += (
                part.has_other_header_end
            )
            notes["files rewritten to the common header"] += file.columns != columns
        lacking = {
            file.path.name: [name for name in columns if name not in file.columns] for file in files
        }
        return replace(out.receipt(rows, columns, +notes), lacking=lacking)


class _File(NamedTuple):
    """A raw file, and what its beginning shows."""

    path: Path
    codec: str
    where: str
    columns: list[str]
    line_end: bytes


def _examine(
    path: Path,
    codec: str,
    dialect: Dialect,
    header: Sequence[str] | None,
    rename: Mapping[str, str],
) -> _File:
    """Read the header. Raises SourceError, as `raw_table.open_part` and `column_names` do."""
    part = raw_table.open_part(path, codec, dialect, header)
    try:
        columns = column_names(part.names, rename, f"{part.where}, line 1")
    except SourceError as error:
        if header is not None or not headerless.is_like_a_row(part.names):
            raise
        remedy = f"{error.remedy}; if line 1 is a row and the file has no header, {DECLARE_HEADER}"
        raise SourceError(error.what, remedy) from None
    return _File(path, codec, part.where, columns, part.line_end)


def _refuse_strangers(files: Sequence[_File]) -> None:
    """Refuse a file without any column of the others: it is another table, or has no header."""
    for number in [*range(1, len(files)), 0]:  # of two files, the second one is reported
        file, others = files[number], [*files[:number], *files[number + 1 :]]
        if others and not any(set(file.columns) & set(other.columns) for other in others):
            names = excerpt(", ".join(file.columns))
            raise SourceError(
                f"{file.where}, line 1: another header than {others[0].where}, and no column in "
                f"common: {names} here, {excerpt(', '.join(others[0].columns))} there",
                f"if line 1 is a row, {DECLARE_HEADER}; if the columns have other names, "
                "declare rename= there",
            )


def _body(
    part: Part,
    scan: Scan,
    dialect: Dialect,
    final_newline: bool,
    arrange: Callable[[bytes], bytes] | None,
) -> Iterator[memoryview]:
    """The records below the header, scanned, as RFC 4180 CSV, and rearranged if necessary."""
    steps = [] if dialect == Dialect() else [_rewriter(dialect)]
    steps += [arrange] if arrange else []
    partial: list[bytes] = []  # the parts of a record that ends in a later block
    skip = len(part.header)
    for block in part.blocks:
        missing = b"" if block.endswith(b"\n") else part.line_end
        if missing and final_newline:
            line = scan.lines + block.count(b"\n") + 1
            last = excerpt(block[block.rfind(b"\n") + 1 :])
            if dialect.is_cr and block.rsplit(b"\n", 1)[-1] == b"\r":  # CR and LF are exchanged
                raise SourceError(
                    f"{part.where}, line {line}: the lines end in CR LF, not in CR alone",
                    'take line_end="\\r" out of the source\'s preprocess script',
                )
            raise SourceError(
                f"{part.where}, line {line}: the last line has no line end: {last}",
                "the file is cut inside its last row; if its publisher always leaves the line "
                "end out, declare final_newline=False in the source's preprocess script",
            )
        done = scan.block(block + missing)
        text = memoryview(block)
        if steps:
            partial.append(block[done:])
            text = memoryview(b"")
            if done:
                complete = b"".join([*partial[:-1], block[:done]])
                partial = partial[-1:]
                records, skip = complete[skip:], 0
                for step in steps:
                    records = step(records)
                text = memoryview(records)
        else:
            text, skip = text[skip:], 0
        if text:
            yield text
    scan.finish()


def _rewriter(dialect: Dialect) -> Callable[[bytes], bytes]:
    """The function that turns complete records of a dialect into RFC 4180 CSV.

    Values stay as they are; an unquoted one that contains a comma or a quote gets quotes.
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
