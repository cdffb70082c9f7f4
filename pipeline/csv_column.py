"""Columns of a CSV file, found or left out without parsing the others.

Commas and line ends outside of quotes are all that is looked for: a fifth of the time that a
parser takes. Stage `preprocess` is stricter about quotes; here rows must have their fields.
"""

import csv
from pathlib import Path

import numpy as np

from pipeline import bitmask
from pipeline.errors import SourceError
from pipeline.printable import escaped

_MARK = b"\xef\xbb\xbf"


def values(path: Path, column: str, where: str) -> tuple[list[str], list[bytes]]:
    """The names in the header of a file in UTF-8, and the values of one column, without quotes.

    `where` is the address to name in an error. The file is held in memory. Raises SourceError when
    the column is not there once, or when a row has not as many fields as the header.
    """
    data, header, firsts, lasts = _fields(path, where, "utf-8")
    place = _place(header, column, where)
    places = zip(firsts[place].tolist(), lasts[place].tolist(), strict=True)
    return header, [data[first:last].strip(b'\r"') for first, last in places][1:]


def rows_without(path: Path, columns: tuple[str, ...], where: str, encoding: str) -> list[bytes]:
    """The rows of a file, its header first, without some columns: bytes as they came.

    What comes between two columns that are kept is kept; a line end is not. Raises SourceError as
    `values` does.
    """
    data, header, firsts, lasts = _fields(path, where, encoding)
    dropped = {_place(header, column, where) for column in columns}
    kept = [place for place in range(len(header)) if place not in dropped]
    begins = [firsts[place].tolist() for place in kept if place - 1 not in kept]
    ends = [lasts[place].tolist() for place in kept if place + 1 not in kept]
    pieces = [
        [data[first:last] for first, last in zip(begin, end, strict=True)]
        for begin, end in zip(begins, ends, strict=True)
    ]
    return [b"\n".join(row).rstrip(b"\r") for row in zip(*pieces, strict=True)]


def _fields(
    path: Path, where: str, encoding: str
) -> tuple[bytes, list[str], list[np.ndarray], list[np.ndarray]]:
    """The bytes of a file, its header, and for each column where its fields begin and end."""
    data = path.read_bytes().removeprefix(_MARK)
    data += b"" if data.endswith(b"\n") else b"\n"
    try:
        data.isascii() or data.decode(encoding)
    except UnicodeDecodeError as error:
        raise SourceError(f"{where}: not {encoding.upper()}: {error}") from None
    borders, ends = _borders(data, where)
    header = _header(data[: ends[0]].decode(encoding), where)
    width = len(header)
    _check_width(data, borders, ends, width, where)
    firsts = np.concatenate(([0], borders[:-1] + 1))
    places = range(width)
    return data, header, [firsts[n::width] for n in places], [borders[n::width] for n in places]


def _place(header: list[str], column: str, where: str) -> int:
    if header.count(column) != 1:
        columns = escaped(", ".join(header))
        raise SourceError(f"{where}: not one column {escaped(column)} but {columns}")
    return header.index(column)


def _borders(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Where the fields end, and where the rows do."""
    newlines, commas = bitmask.equal(data, b"\n"), bitmask.equal(data, b",")
    if b'"' in data:
        inside = bitmask.inside(bitmask.equal(data, b'"'), False)
        newlines, commas = newlines & ~inside, commas & ~inside
        if bitmask.at(inside, len(data) - 1):
            raise SourceError(f"{where}: the CSV ends inside quotes")
    return bitmask.positions(newlines | commas), bitmask.positions(newlines)


def _header(line: str, where: str) -> list[str]:
    try:
        names = next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        raise SourceError(f"{where}: the header is no CSV: {error}") from None
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
