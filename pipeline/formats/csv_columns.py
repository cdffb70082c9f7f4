"""Columns of a CSV or TSV file, found or left out without parsing the others.

Delimiters and line ends outside of quotes are all that is looked for: a fifth of the time that a
parser takes. Quotes must be where a strict parser wants them, and rows must have their fields.
"""

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.errors import SourceError
from pipeline.formats import bitmask, charset, line_ends
from pipeline.formats.bitmask import Mask
from pipeline.text import escaped

_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Table:
    """A CSV file in memory: its bytes, its header, where the fields of each column are."""

    data: bytes = field(repr=False)
    header: list[str]
    where: str  # the address to name in an error
    firsts: list[np.ndarray] = field(repr=False)  # a column's fields begin there, the header's too
    lasts: list[np.ndarray] = field(repr=False)  # and end before

    def values(self, column: str) -> list[bytes]:
        """The values of one column, without quotes. SourceError when it is not there once."""
        place = self._place(column)
        places = zip(self.firsts[place].tolist(), self.lasts[place].tolist(), strict=True)
        return [self.data[first:last].strip(b'\r"') for first, last in places][1:]

    def rows_without(self, columns: tuple[str, ...]) -> list[bytes]:
        """The rows, the header first, without some columns: bytes as they came.

        What comes between two columns that are kept is kept; a line end is not. Raises SourceError
        when one of the columns is not there once.
        """
        dropped = {self._place(column) for column in columns}
        kept = [place for place in range(len(self.header)) if place not in dropped]
        begins = [self.firsts[place].tolist() for place in kept if place - 1 not in kept]
        ends = [self.lasts[place].tolist() for place in kept if place + 1 not in kept]
        pieces = [
            [self.data[first:last] for first, last in zip(begin, end, strict=True)]
            for begin, end in zip(begins, ends, strict=True)
        ]
        if len(pieces) == 1:
            return [row.rstrip(b"\r") for row in pieces[0]]
        return [b"\n".join(row).rstrip(b"\r") for row in zip(*pieces, strict=True)]

    def _place(self, column: str) -> int:
        if self.header.count(column) != 1:
            raise SourceError(
                f"{self.where}: not one column {escaped(column)} but "
                f"{escaped(', '.join(self.header))}",
                "see whether the publisher renamed it, then change it in the source's script",
            )
        return self.header.index(column)


def read(path: Path, where: str, encoding: str = "utf-8") -> Table:
    """Find the fields of a CSV file, as `parse` does."""
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
    encoding:   UTF-16, UTF-32, or one in which a delimiter, a quote and a line end are the bytes of
                ASCII.
    delimiter:  one byte.
    has_quotes: whether `"` encloses a field, or means nothing.

    Raises SourceError when the table has no header or is not in its encoding, when a quote stands
    inside a field, or when a row has not as many fields as the header.
    """
    data = _text(data, where, encoding)
    data += b"" if data.endswith(b"\n") else b"\n"
    borders, ends = _borders(data, where, delimiter, has_quotes)
    first = data[: ends[0]].decode("utf-8" if _is_wide(encoding) else encoding)
    header = _header(first, where, delimiter.decode(), has_quotes)
    width = len(header)
    _check_width(data, borders, ends, width, where)
    firsts = np.concatenate(([0], borders[:-1] + 1))
    places = range(width)
    return Table(
        data, header, where, [firsts[n::width] for n in places], [borders[n::width] for n in places]
    )


def _text(data: bytes, where: str, encoding: str) -> bytes:
    """A text without its byte order mark, in bytes that have a line feed at the end of a line."""
    try:
        if _is_wide(encoding):
            data = data.decode(encoding).encode()
        data = data.removeprefix(_MARK)
        data.isascii() or data.decode("utf-8" if _is_wide(encoding) else encoding)
    except UnicodeError as error:
        raise SourceError(f"{where}: not {encoding.upper()}: {error}") from None
    return data.translate(charset.SWAPPED) if line_ends.is_cr_alone(data) else data


def _is_wide(encoding: str) -> bool:
    return encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32"))


def _borders(
    data: bytes, where: str, delimiter: bytes, has_quotes: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Where the fields end, and where the rows do."""
    newlines, commas = bitmask.equal(data, b"\n"), bitmask.equal(data, delimiter)
    if has_quotes and b'"' in data:
        quotes = bitmask.equal(data, b'"')
        inside = bitmask.inside(quotes, False)
        _check_quotes(data, quotes, inside, newlines | commas | quotes, where)
        newlines, commas = newlines & ~inside, commas & ~inside
        if bitmask.at(inside, len(data) - 1):
            raise SourceError(f"{where}: the CSV ends inside quotes")
    return bitmask.positions(newlines | commas), bitmask.positions(newlines)


def _check_quotes(data: bytes, quotes: Mask, inside: Mask, borders: Mask, where: str) -> None:
    """Refuse a quote that neither opens a field, nor closes it, nor is doubled."""
    may_follow = borders | bitmask.equal(data, b"\r") if b"\r" in data else borders
    opens_late = quotes & inside & ~bitmask.after(borders)
    closes_early = quotes & ~inside & ~bitmask.before(may_follow)
    place = bitmask.first(opens_late | closes_early)
    if place is not None:
        line = data.count(b"\n", 0, place) + 1
        raise SourceError(f"{where}: line {line}: a quote inside a field: {_shown(data, place)}")


def _shown(data: bytes, place: int) -> str:
    return escaped(data[max(0, place - 20) : place + 20].decode("utf-8", "replace"))


def _header(line: str, where: str, delimiter: str, has_quotes: bool) -> list[str]:
    quoting = csv.QUOTE_MINIMAL if has_quotes else csv.QUOTE_NONE
    try:
        names = next(csv.reader([line], strict=True, delimiter=delimiter, quoting=quoting), [])
    except csv.Error as error:
        raise SourceError(f"{where}: the header is no CSV: {error}") from None
    if not names:
        raise SourceError(f"{where}: the CSV has no header")
    return [name.strip() for name in names]


def _check_width(
    data: bytes, borders: np.ndarray, ends: np.ndarray, width: int, where: str
) -> None:
    """Refuse the first row that has more or fewer fields than the header."""
    if np.array_equal(borders[width - 1 :: width], ends):
        return
    fields = np.diff(np.searchsorted(borders, ends), prepend=-1)
    row = int((fields != width).argmax())
    line = data.count(b"\n", 0, int(ends[row - 1])) + 2
    what = f"{fields[row]} fields where the header has {width}"
    raise SourceError(f"{where}: line {line}: {what}")
