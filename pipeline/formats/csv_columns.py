"""Columns of a CSV or TSV file, read or left out without parsing the others.

Only delimiters and line ends outside of quotes are searched for, which takes a fifth of a parser's
time. Quotes must be where a strict parser expects them, and every row must have all its fields.
"""

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.errors import SourceError
from pipeline.formats import bitmask, charset, records
from pipeline.text import escaped

_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Table:
    """A CSV file in memory: its bytes, its header, and the offsets of the fields of each column."""

    data: bytes = field(repr=False)
    header: list[str]
    where: str  # the address to name in an error
    starts: list[np.ndarray] = field(repr=False)  # of a column's fields, the header included
    ends: list[np.ndarray] = field(repr=False)

    def values(self, column: str) -> list[bytes]:
        """The values of one column, without quotes. SourceError when it does not exist once."""
        index = self._index(column)
        fields = zip(self.starts[index].tolist(), self.ends[index].tolist(), strict=True)
        return [self.data[start:end].strip(b'\r"') for start, end in fields][1:]

    def rows_without(self, columns: tuple[str, ...]) -> list[bytes]:
        """The rows, the header first, without some columns: bytes as they came.

        Delimiters between two columns that are kept are kept; line ends are not. Raises SourceError
        when one of the columns does not exist once.
        """
        dropped = {self._index(column) for column in columns}
        kept = [index for index in range(len(self.header)) if index not in dropped]
        starts = [self.starts[index].tolist() for index in kept if index - 1 not in kept]
        ends = [self.ends[index].tolist() for index in kept if index + 1 not in kept]
        pieces = [
            [self.data[first:last] for first, last in zip(start, end, strict=True)]
            for start, end in zip(starts, ends, strict=True)
        ]
        if len(pieces) == 1:
            return [row.rstrip(b"\r") for row in pieces[0]]
        return [b"\n".join(row).rstrip(b"\r") for row in zip(*pieces, strict=True)]

    def _index(self, column: str) -> int:
        if (count := self.header.count(column)) != 1:
            raise SourceError(
                f"{self.where}: {count or 'no'} columns are called {escaped(column)}; the columns "
                f"are {escaped(', '.join(self.header))}",
                "see whether the publisher renamed it, then change it in the source's script",
            )
        return self.header.index(column)


def read(path: Path, where: str, encoding: str = "utf-8") -> Table:
    """Parse a CSV file; see `parse`."""
    return parse(path.read_bytes(), where, encoding=encoding)


def parse(
    data: bytes,
    where: str,
    *,
    encoding: str = "utf-8",
    delimiter: bytes = b",",
    has_quotes: bool = True,
) -> Table:
    """Find the fields of a table in memory.

    Parameters
    ----------
    where:      the address to name in an error.
    encoding:   UTF-16, UTF-32, or one in which delimiter, quote and line end are ASCII bytes.
    delimiter:  one byte.
    has_quotes: whether `"` encloses a field, or has no meaning.

    Raises SourceError when the table has no header or is not in its encoding, when a quote is
    inside a field, or when a row has more or fewer fields than the header.
    """
    data = _text(data, where, encoding)
    data += b"" if data.endswith(b"\n") else b"\n"
    borders, ends = _borders(data, where, delimiter, b'"' if has_quotes else None)
    first = data[: ends[0]].decode("utf-8" if _is_wide(encoding) else encoding)
    header = _header(first, where, delimiter.decode(), has_quotes)
    width = len(header)
    _check_width(data, borders, ends, width, where)
    starts = np.concatenate(([0], borders[:-1] + 1))
    columns = range(width)
    return Table(
        data,
        header,
        where,
        [starts[n::width] for n in columns],
        [borders[n::width] for n in columns],
    )


def _text(data: bytes, where: str, encoding: str) -> bytes:
    """A text without its byte order mark, in bytes whose lines end in a line feed."""
    try:
        if _is_wide(encoding):
            data = data.decode(encoding).encode()
        data = data.removeprefix(_MARK)
        data.isascii() or data.decode("utf-8" if _is_wide(encoding) else encoding)
    except UnicodeError as error:
        raise SourceError(f"{where}: not {encoding.upper()}: {error}") from None
    return data.translate(charset.SWAPPED) if charset.has_cr_line_ends(data) else data


def _is_wide(encoding: str) -> bool:
    return encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32"))


def _borders(
    data: bytes, where: str, delimiter: bytes, quote: bytes | None
) -> tuple[np.ndarray, np.ndarray]:
    """The offsets at which fields end, and those at which rows end."""
    found = records.find(data, delimiter, quote)
    flaws = [at for at in (found.stray_quote, found.trailed_quote) if at is not None]
    if flaws:
        at = min(flaws)
        line = data.count(b"\n", 0, at) + 1
        shown = escaped(data[max(0, at - 20) : at + 20].decode("utf-8", "replace"))
        raise SourceError(f"{where}: line {line}: a quote inside a field: {shown}")
    if found.ends_inside:
        raise SourceError(f"{where}: the CSV ends inside quotes")
    borders = bitmask.positions(found.line_ends | found.delimiters)
    return borders, bitmask.positions(found.line_ends)


def _header(line: str, where: str, delimiter: str, has_quotes: bool) -> list[str]:
    quoting = csv.QUOTE_MINIMAL if has_quotes else csv.QUOTE_NONE
    try:
        names = next(csv.reader([line], strict=True, delimiter=delimiter, quoting=quoting), [])
    except csv.Error as error:
        raise SourceError(f"{where}: the header is not CSV: {error}") from None
    if not names:
        raise SourceError(f"{where}: the CSV has no header")
    return [name.strip() for name in names]


def _check_width(
    data: bytes, borders: np.ndarray, ends: np.ndarray, width: int, where: str
) -> None:
    """Refuse a row that has more or fewer fields than the header."""
    if np.array_equal(borders[width - 1 :: width], ends):
        return
    fields = np.diff(np.searchsorted(borders, ends), prepend=-1)
    row = int((fields != width).argmax())
    line = data.count(b"\n", 0, int(ends[row - 1])) + 2
    what = f"{fields[row]} fields where the header has {width}"
    raise SourceError(f"{where}: line {line}: {what}")
