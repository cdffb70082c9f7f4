"""The strict scan of delimited text: anything that a lenient reader would have to guess is refused.

Every record has the header's number of fields, a quote opens a field, closes it or is doubled,
all lines end alike, and the bytes are UTF-8 that PostgreSQL can store.
"""

import re

import numpy as np

from pipeline.errors import SourceError
from pipeline.formats import bitmask, charset, records
from pipeline.formats.dialect import Dialect, SecondHeader
from pipeline.formats.records import Borders
from pipeline.formats.remedies import DECLARE_ENCODING, MIXED, REPAIR
from pipeline.text import excerpt

MAX_RECORD_BYTES = 64 << 20
_END_OF_COPY = re.compile(rb"\\\.(?<![^\n]\\\.)\r?\n")  # alone on its line


class Scan:
    """The scan of one file, block by block. A record may begin in one block and end in a later one.

    Parameters
    ----------
    where:   the name of the file in errors.
    header:  the raw header record with its line end; every record must have the same line end.
    names:   the names in it, as published.
    dialect: delimiter and quote.
    first_line: the line of the header; 0 if the file itself has none.
    """

    def __init__(
        self, where: str, header: bytes, names: list[str], dialect: Dialect, *, first_line: int = 1
    ):
        self.records = 0  # scanned so far; the header is one of them
        self.lines = first_line - 1  # line ends so far
        self._where = where
        self._names = names
        self._dialect = dialect
        self._line_end = b"\r\n" if header.endswith(b"\r\n") else b"\n"
        self._second = SecondHeader(header, names, dialect)
        # Of the record that earlier blocks began and did not end:
        self._first_line = first_line
        self._bytes = 0  # its size so far
        self._begun = b""  # its first bytes: as many as a header may have
        self._delimiters = 0  # outside of quotes
        self._inside = False  # whether the block before ended inside quotes
        self._flaws: list[tuple[int, str, str]] = []  # offset in the block, what, remedy

    def block(self, data: bytes) -> int:
        """Scan a block that ends with a line end; return the offset at which its last record ends.

        Raises SourceError with file, line, column and excerpt for the first flaw.
        """
        dialect = self._dialect
        borders = records.find(data, dialect.delimiter, dialect.quote, begins_inside=self._inside)
        ends = bitmask.positions(borders.line_ends)
        self._flaw(borders.stray_quote, "a quote inside an unquoted field", REPAIR)
        self._flaw(borders.trailed_quote, "text after a closing quote", REPAIR)
        self._check_bytes(data)
        self._check_line_ends(data, borders)
        self._check_records(data, borders, ends)
        if self._flaws:
            self._refuse(data, borders, ends)
        self.lines += int(np.bitwise_count(borders.newlines).sum())
        self._carry_over(data, borders, ends)
        self._inside = borders.ends_inside
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
                what = f"the byte 0x{byte:02x} is not UTF-8 here"
                self._flaw(error.start, what, remedy_of_byte(data, error.start))
            if found := charset.C1_IN_UTF8.search(data):
                self._flaw(found.start(), *_control(data, found.start()))
        if b"\0" in data:
            self._flaw(data.find(b"\0"), "a NUL byte, which PostgreSQL cannot store", REPAIR)
        if b"\\" in data:
            versions = [data, data.translate(charset.SWAPPED)] if self._dialect.is_cr else [data]
            for found in filter(None, map(_END_OF_COPY.search, versions)):
                self._flaw(found.start(), r"a line \. ends the data for COPY", REPAIR)

    def _check_line_ends(self, data: bytes, borders: Borders) -> None:
        if b"\r" not in data and self._line_end == b"\n":
            return
        line_ends = borders.line_ends
        returns = bitmask.equal(data, b"\r") & ~borders.inside
        stray = bitmask.first(returns & ~bitmask.before(line_ends))
        sign = "a line feed" if self._dialect.is_cr else "a carriage return"
        self._flaw(stray, f"{sign} inside an unquoted field", REPAIR)
        if self._line_end == b"\n":
            mixed = bitmask.first(returns & bitmask.before(line_ends))
            self._flaw(mixed, "a line that ends with CR LF, unlike those before it", MIXED)
        else:
            mixed = bitmask.first(line_ends & ~bitmask.after(returns))
            self._flaw(mixed, "a line that ends with LF, and not with CR LF", MIXED)

    def _check_records(self, data: bytes, borders: Borders, ends: np.ndarray) -> None:
        sizes = np.diff(ends, prepend=-1 - self._bytes)
        fields = np.diff(bitmask.rank(borders.delimiters, ends), prepend=-self._delimiters) + 1
        expected = len(self._names)
        if (blank := sizes == len(self._line_end)).any():
            self._flaw(ends[blank.argmax()], "a blank line", REPAIR)
        if (ragged := (fields != expected) & ~blank).any():
            row = ragged.argmax()
            what = f"a row of {fields[row]} fields under a header of {expected}"
            self._flaw(ends[row], what, REPAIR)
        unfinished = self._bytes + len(data) if not len(ends) else 0
        if unfinished > MAX_RECORD_BYTES or (sizes > MAX_RECORD_BYTES).any():
            where = ends[(sizes > MAX_RECORD_BYTES).argmax()] if len(ends) else len(data) - 1
            self._flaw(where, f"a row of over {MAX_RECORD_BYTES >> 20} MiB", REPAIR)
        second = self._second.row(data, ends, sizes, self._begun, is_start=not self.records)
        self._flaw(second, "a second header", REPAIR)

    def _flaw(self, offset: int | np.integer | None, what: str, remedy: str) -> None:
        if offset is not None:
            self._flaws.append((int(offset), what, remedy))

    def _refuse(self, data: bytes, borders: Borders, ends: np.ndarray) -> None:
        """Raise the error for the first flaw: within a field, or of a whole row at its end."""
        offset, what, remedy = min(self._flaws)
        row = int(np.searchsorted(ends, offset))
        start = int(ends[row - 1]) + 1 if row else 0
        is_whole_row = row < len(ends) and int(ends[row]) == offset
        at = start if is_whole_row else offset
        line = self.lines + data.count(b"\n", 0, at) + 1
        if is_whole_row and not row:
            line = self._first_line
        where = f"{self._where}, line {line}"
        column = int(np.diff(bitmask.rank(borders.delimiters, np.array([start, offset])))[0])
        column += 0 if row else self._delimiters
        if not is_whole_row and column < len(self._names):
            where += f", column {excerpt(self._names[column])}"
        shown = data[max(start, at - 20) : at + 200].split(self._line_end)[0]
        raise SourceError(f"{where}: {what}: {excerpt(shown)}", remedy)

    def _carry_over(self, data: bytes, borders: Borders, ends: np.ndarray) -> None:
        """Remember the record that this block began and did not end."""
        delimiters = int(np.bitwise_count(borders.delimiters).sum())
        if len(ends):
            done = int(ends[-1]) + 1
            self._first_line = self.lines - data.count(b"\n", done) + 1
            self._bytes = len(data) - done
            self._begun = data[done : done + self._second.longest]
            self._delimiters = delimiters - int(bitmask.rank(borders.delimiters, ends[-1:])[0])
        else:
            self._bytes += len(data)
            self._begun += data[: max(0, self._second.longest - len(self._begun))]
            self._delimiters += delimiters
        self.records += len(ends)


def remedy_of_byte(data: bytes, at: int) -> str:
    """What to do about a byte that is not UTF-8; most of the text around it may be."""
    share = charset.Utf8Share()
    share.add(data)
    if share.is_most():
        return REPAIR
    readings = charset.suggestion(data, at)
    return f"{DECLARE_ENCODING}: {readings}" if readings else DECLARE_ENCODING


def _control(data: bytes, at: int) -> tuple[str, str]:
    """What to say about a C1 control in UTF-8, and the remedy: its publisher encoded it twice."""
    before, after = data[max(0, at - 200) : at].decode(errors="ignore"), data[at : at + 200]
    text = before + after.decode(errors="ignore")
    readings = charset.suggestion_for_control(text, len(before))
    return charset.control(text[len(before)]), f"{REPAIR}: {readings}" if readings else REPAIR
