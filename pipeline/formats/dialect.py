"""How a publisher writes delimited text, and how its header looks when it comes again."""

import csv
import io
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Dialect:
    """How a publisher writes delimited text, in UTF-8.

    `quote` None: quotes have no meaning. `is_cr`: lines end in CR alone, and what is scanned has
    CR and LF exchanged (`charset.SWAPPED`).
    """

    delimiter: bytes = b","
    quote: bytes | None = b'"'
    is_cr: bool = False

    def __post_init__(self):
        """Raise ValueError for more than one byte, or a line end."""
        for sign in (self.delimiter, self.quote or b'"'):
            if len(sign) != 1 or sign in b"\r\n":
                raise ValueError(f"{sign!r} cannot be a delimiter or a quote")

    def fields(self, record: bytes) -> list[str]:
        """The values of a record, its line end included or not. Raises ValueError, csv.Error."""
        text = record.decode()
        if not self.quote:
            return text.rstrip("\r\n").split(self.delimiter.decode())
        signs = {"delimiter": self.delimiter.decode(), "quotechar": self.quote.decode()}
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True, **signs))
        if len(rows) != 1:
            raise csv.Error("a carriage return stands outside of quotes")
        return rows[0]


class SecondHeader:
    """Finds a header that comes again, however it is quoted and padded: it has the same names."""

    def __init__(self, header: bytes, names: list[str], dialect: Dialect):
        self.longest = 2 * len(header) + 8 * len(names)  # of a record that may be one
        self._has_quotes = dialect.quote is not None
        self._names = [self._plain(name) for name in names]
        self._shortest = len("".join(self._names).encode()) + len(names)
        self._dialect = dialect
        self._quote = (dialect.quote or b'"')[0]
        begin = self._names[0].encode()[:1] or dialect.delimiter + (dialect.quote or b"")
        self._may_begin = np.zeros(256, bool)  # after a quote, or without one
        self._may_begin[[*b" \t\r\n\xef", *begin]] = True

    def row(
        self, data: bytes, ends: np.ndarray, sizes: np.ndarray, begun: bytes, *, is_start: bool
    ) -> int | None:
        """Where the first such record of a block ends, as `Scan` knows it; None without one.

        `begun` is the record at hand before this block; `is_start`: the header itself comes first.
        """
        rows = np.flatnonzero((sizes >= self._shortest) & (sizes <= self.longest))
        rows = rows[rows > 0] if is_start else rows
        starts = ends[rows] - sizes[rows] + 1
        array = np.frombuffer(data, np.uint8)
        first = np.maximum(starts, 0)
        first += array[first] == self._quote
        for row in rows[self._may_begin[array[first]] | (starts < 0)]:
            end, size = int(ends[row]), int(sizes[row])
            record = begun + data[: end + 1] if end < size - 1 else data[end + 1 - size : end + 1]
            if self._is_header(record):
                return end
        return None

    def _is_header(self, record: bytes) -> bool:
        try:
            return [self._plain(value) for value in self._dialect.fields(record)] == self._names
        except (ValueError, csv.Error):  # which the scan refuses by itself
            return False

    def _plain(self, name: str) -> str:
        """A name without the white space around and the byte order mark before it.

        Where quotes have no meaning, somebody may have put them around it all the same.
        """
        plain = " ".join(name.removeprefix("\ufeff").split())
        is_quoted = len(plain) > 2 and plain[0] == plain[-1] == '"' and not self._has_quotes
        return plain[1:-1].strip() if is_quoted else plain
