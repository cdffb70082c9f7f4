"""The strict scan of delimited text: whatever a lenient reader would have to guess is refused.

Every record has the header's number of fields, a quote opens a field, closes it or is doubled,
all lines end alike, and the bytes are UTF-8 that PostgreSQL can hold.
"""

import re
from dataclasses import dataclass

import numpy as np

from pipeline import bitmask
from pipeline.bitmask import Mask
from pipeline.errors import SourceError
from pipeline.legible import excerpt, header_line, quoted

MAX_RECORD_BYTES = 64 << 20
REPAIR = "the publisher has to repair it; until then fix.lines in the preprocess script can"
DECLARE = "declare the publisher's encoding in the source's preprocess script"
_END_OF_COPY = re.compile(rb"\\\.(?<![^\n]\\\.)\r?\n")  # alone on its line


@dataclass(frozen=True)
class Dialect:
    """How a publisher writes delimited text, in UTF-8; `quote` None: quotes have no meaning."""

    delimiter: bytes = b","
    quote: bytes | None = b'"'

    def __post_init__(self):
        """Raise ValueError for more than one byte, or a line end."""
        for sign in (self.delimiter, self.quote or b'"'):
            if len(sign) != 1 or sign in b"\r\n":
                raise ValueError(f"{sign!r} cannot be a delimiter or a quote")


class Scan:
    """The scan of one file. It is fed with blocks and knows how far the record at hand has come.

    Parameters
    ----------
    where:   the file, as errors name it.
    header:  the raw header record with its line end, which every line must share.
    names:   the names in it, as published.
    dialect: delimiter and quote.
    """

    def __init__(self, where: str, header: bytes, names: list[str], dialect: Dialect):
        self.records = 0  # scanned so far; the header is one of them
        self.lines = 0  # line ends so far
        self._where = where
        self._names = names
        self._dialect = dialect
        self._line_end = b"\r\n" if header.endswith(b"\r\n") else b"\n"
        self._headers = self._spellings(header)
        self._first_line = 1  # the line in which the record at hand begins
        self._bytes = 0  # of the record at hand, before this block
        self._delimiters = 0  # outside of quotes, of the record at hand, before this block
        self._inside = False  # whether this block begins inside quotes
        self._suspects: list[tuple[int, str, str]] = []  # place in the block, what, remedy

    def block(self, data: bytes) -> int:
        """Scan a block that ends with a line end; return the place where its last record ends.

        Raises SourceError with file, line, column and excerpt for the first thing to refuse.
        """
        newlines = bitmask.equal(data, b"\n")
        delimiters = bitmask.equal(data, self._dialect.delimiter)
        inside = np.zeros_like(newlines)
        if self._dialect.quote and (self._inside or self._dialect.quote in data):
            quotes = bitmask.equal(data, self._dialect.quote)
            inside = bitmask.inside(quotes, self._inside)
            self._check_quotes(data, quotes, inside, delimiters | newlines | quotes)
            delimiters &= ~inside
        line_ends = newlines & ~inside
        ends = bitmask.positions(line_ends)
        self._check_bytes(data)
        self._check_line_ends(data, line_ends, inside)
        self._check_records(data, delimiters, ends)
        if self._suspects:
            self._refuse(data, delimiters, ends)
        self.lines += int(np.bitwise_count(newlines).sum())
        self._go_on(data, delimiters, ends)
        self._inside = bitmask.at(inside, len(data) - 1)
        return int(ends[-1]) + 1 if len(ends) else 0

    def finish(self) -> None:
        """Raise SourceError if the file ends inside quotes."""
        if self._inside:
            raise SourceError(
                f"{self._where}, line {self._first_line}: the file ends inside quotes opened in "
                "the row that begins here",
                f"the file is cut, or a quote is missing; {REPAIR}",
            )

    def _check_bytes(self, data: bytes) -> None:
        if not data.isascii():
            try:
                data.decode()
            except UnicodeDecodeError as error:
                byte = error.object[error.start]
                self._suspect(error.start, f"the byte 0x{byte:02x} is not UTF-8 here", DECLARE)
        if b"\0" in data:
            self._suspect(data.find(b"\0"), "a NUL byte, which PostgreSQL cannot hold", REPAIR)
        if b"\\" in data and (met := _END_OF_COPY.search(data)):
            self._suspect(met.start(), r"a line \. ends the data for COPY", REPAIR)

    def _check_quotes(self, data: bytes, quotes: Mask, inside: Mask, borders: Mask) -> None:
        """A quote follows a border or is followed by one; a quote is a border for a quote."""
        stray = bitmask.first(quotes & inside & ~bitmask.after(borders))
        self._suspect(stray, "a quote inside an unquoted field", REPAIR)
        may_follow = borders | bitmask.equal(data, b"\r") if b"\r" in data else borders
        trailed = bitmask.first(quotes & ~inside & ~bitmask.before(may_follow))
        self._suspect(trailed, "text after a closing quote", REPAIR)

    def _check_line_ends(self, data: bytes, line_ends: Mask, inside: Mask) -> None:
        if b"\r" not in data and self._line_end == b"\n":
            return
        returns = bitmask.equal(data, b"\r") & ~inside
        stray = bitmask.first(returns & ~bitmask.before(line_ends))
        self._suspect(stray, "a carriage return inside an unquoted field", REPAIR)
        if self._line_end == b"\n":
            mixed = bitmask.first(returns & bitmask.before(line_ends))
            self._suspect(mixed, "a line that ends with CR LF under a header that does not", REPAIR)
        else:
            mixed = bitmask.first(line_ends & ~bitmask.after(returns))
            self._suspect(mixed, "a line that ends with LF under a header with CR LF", REPAIR)

    def _check_records(self, data: bytes, delimiters: Mask, ends: np.ndarray) -> None:
        sizes = np.diff(ends, prepend=-1 - self._bytes)
        fields = np.diff(bitmask.rank(delimiters, ends), prepend=-self._delimiters) + 1
        expected = len(self._names)
        if (blank := sizes == len(self._line_end)).any():
            self._suspect(ends[blank.argmax()], "a blank line", REPAIR)
        if (ragged := (fields != expected) & ~blank).any():
            row = ragged.argmax()
            what = f"a row of {fields[row]} fields under a header of {expected}"
            self._suspect(ends[row], what, REPAIR)
        unended = self._bytes + len(data) if not len(ends) else 0
        if unended > MAX_RECORD_BYTES or (sizes > MAX_RECORD_BYTES).any():
            where = ends[(sizes > MAX_RECORD_BYTES).argmax()] if len(ends) else len(data) - 1
            self._suspect(where, f"a row of over {MAX_RECORD_BYTES >> 20} MiB", REPAIR)
        for header in self._headers:
            again = _rows_equal(data, ends, sizes, header)
            again = again if self.records else again[again > 0]
            if len(again):
                self._suspect(ends[again[0]], "a second header", REPAIR)

    def _spellings(self, header: bytes) -> set[bytes]:
        """The header line as it may come again: as it is, and with fewer or more quotes.

        Of a header over several lines the first is telling enough.
        """
        spellings = {header[: header.index(b"\n") + 1]}
        if header.count(b"\n") == 1 and self._dialect == Dialect():
            spellings.add(header_line(self._names, self._line_end))
            spellings.add(b",".join(quoted(name.encode()) for name in self._names) + self._line_end)
        return spellings

    def _suspect(self, place: int | None, what: str, remedy: str) -> None:
        if place is not None:
            self._suspects.append((int(place), what, remedy))

    def _refuse(self, data: bytes, delimiters: Mask, ends: np.ndarray) -> None:
        """Raise the error for the first suspect: a place in a field, or the end of a row."""
        place, what, remedy = min(self._suspects)
        row = int(np.searchsorted(ends, place))
        start = int(ends[row - 1]) + 1 if row else 0
        is_whole_row = row < len(ends) and int(ends[row]) == place
        at = start if is_whole_row else place
        line = self.lines + data.count(b"\n", 0, at) + 1
        if is_whole_row and not row:
            line = self._first_line
        where = f"{self._where}, line {line}"
        column = int(np.diff(bitmask.rank(delimiters, np.array([start, place])))[0])
        column += 0 if row else self._delimiters
        if not is_whole_row and column < len(self._names):
            where += f", column {excerpt(self._names[column])}"
        shown = data[max(start, at - 20) : at + 200].split(self._line_end)[0]
        raise SourceError(f"{where}: {what}: {excerpt(shown)}", remedy)

    def _go_on(self, data: bytes, delimiters: Mask, ends: np.ndarray) -> None:
        """Keep what the next block has to know of this one."""
        seen = int(np.bitwise_count(delimiters).sum())
        if len(ends):
            done = int(ends[-1]) + 1
            self._first_line = self.lines - data.count(b"\n", done) + 1
            self._bytes = len(data) - done
            self._delimiters = seen - int(bitmask.rank(delimiters, ends[-1:])[0])
        else:
            self._bytes += len(data)
            self._delimiters += seen
        self.records += len(ends)


def _rows_equal(data: bytes, ends: np.ndarray, sizes: np.ndarray, line: bytes) -> np.ndarray:
    """The rows of a block that are equal to a line: of its size, then byte by byte."""
    array = np.frombuffer(data, np.uint8)
    starts = ends - sizes + 1
    rows = np.flatnonzero((sizes == len(line)) & (starts >= 0))
    for offset, byte in enumerate(line):
        if not len(rows):
            break
        rows = rows[array[starts[rows] + offset] == byte]
    return rows
