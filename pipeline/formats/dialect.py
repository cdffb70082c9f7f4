"""How a publisher writes delimited text, and how to recognise a repeated header."""

import csv
import io
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Dialect:
    """How a publisher writes delimited text, in UTF-8.

    `quote` None: quotes have no meaning. `is_cr`: lines end in CR alone; CR and LF are exchanged in
    the scanned text (`charset.SWAPPED`).
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
        """The values of a record, with or without its line end. Raises ValueError, csv.Error."""
        text = record.decode()
        if not self.quote:
            return text.rstrip("\r\n").split(self.delimiter.decode())
        signs = {"delimiter": self.delimiter.decode(), "quotechar": self.quote.decode()}
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True, **signs))
        if len(rows) != 1:
            raise csv.Error("a carriage return stands outside of quotes")
        return rows[0]


class SecondHeader:
    """Finds a repeated header, however it is quoted and padded: it has the same names."""

    def __init__(self, header: bytes, names: list[str], dialect: Dialect):
        self.longest = 2 * len(header) + 8 * len(names)  # size of a record that may be a header
        self._has_quotes = dialect.quote is not None
        self._names = [self._plain(name) for name in names]
        self._shortest = len("".join(self._names).encode()) + len(names)
        self._dialect = dialect
        self._quote = (dialect.quote or b'"')[0]
        start = self._names[0].encode()[:1] or dialect.delimiter + (dialect.quote or b"")
        self._may_start = np.zeros(256, bool)  # first byte of a header, after a quote or without
        self._may_start[[*b" \t\r\n\xef", *start]] = True

    def row(
        self, data: bytes, ends: np.ndarray, sizes: np.ndarray, partial: bytes, *, is_start: bool
    ) -> int | None:
        """The offset at which the first repeated header of a block ends; None without one.

        Parameters
        ----------
        ends, sizes: of the records in the block.
        partial:     the first bytes of the record that earlier blocks began.
        is_start:    whether the block begins with the header itself.
        """
        rows = np.flatnonzero((sizes >= self._shortest) & (sizes <= self.longest))
        rows = rows[rows > 0] if is_start else rows
        starts = ends[rows] - sizes[rows] + 1
        array = np.frombuffer(data, np.uint8)
        first = np.maximum(starts, 0)
        first += array[first] == self._quote
        for row in rows[self._may_start[array[first]] | (starts < 0)]:
            end, size = int(ends[row]), int(sizes[row])
            record = partial + data[: end + 1] if end < size - 1 else data[end + 1 - size : end + 1]
            if self._is_header(record):
                return end
        return None

    def _is_header(self, record: bytes) -> bool:
        try:
            return [self._plain(value) for value in self._dialect.fields(record)] == self._names
        except (ValueError, csv.Error):  # the scan refuses such a record anyway
            return False

    def _plain(self, name: str) -> str:
        """A name without surrounding white space, byte order mark, and quotes without a meaning."""
        plain = " ".join(name.removeprefix("\ufeff").split())
        is_quoted = len(plain) > 2 and plain[0] == plain[-1] == '"' and not self._has_quotes
        return plain[1:-1].strip() if is_quoted else plain
