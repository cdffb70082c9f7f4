"""The strict scan of delimited text: whatever a lenient reader would have to guess is refused.

Every record has the header's number of fields, a quote opens a field, closes it or is doubled,
all lines end alike, and the bytes are UTF-8 that PostgreSQL can hold.
"""

import re

import numpy as np

from pipeline.errors import SourceError
from pipeline.formats import bitmask, charset
from pipeline.formats.bitmask import Mask
from pipeline.formats.dialect import Dialect, SecondHeader
from pipeline.text import excerpt

MAX_RECORD_BYTES = 64 << 20
REPAIR = "the publisher has to repair it; until then fix.lines in the preprocess script can"
MIXED = REPAIR + ", with line_ends=True"
DECLARE = "declare the publisher's encoding in the source's preprocess script"
_END_OF_COPY = re.compile(rb"\\\.(?<![^\n]\\\.)\r?\n")  # alone on its line


class Scan:
    """The scan of one file. It is fed with blocks and knows how far the record at hand has come.

    Parameters
    ----------
    where:   the file, as errors name it.
    header:  the raw header record with its line end, which every line must share.
    names:   the names in it, as published.
    dialect: delimiter and quote.
    first_line: the line of the header; 0 where the file itself has none.
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
        self._first_line = first_line  # the line in which the record at hand begins
        self._bytes = 0  # of the record at hand, before this block
        self._begun = b""  # these bytes, or the first of them: as many as a header may have
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
                what = f"the byte 0x{byte:02x} is not UTF-8 here"
                self._suspect(error.start, what, remedy_of_byte(data, error.start))
            if met := charset.C1_IN_UTF8.search(data):
                self._suspect(met.start(), *_control(data, met.start()))
        if b"\0" in data:
            self._suspect(data.find(b"\0"), "a NUL byte, which PostgreSQL cannot hold", REPAIR)
        if b"\\" in data:
            versions = [data, data.translate(charset.SWAPPED)] if self._dialect.is_cr else [data]
            for met in filter(None, map(_END_OF_COPY.search, versions)):
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
        sign = "a line feed" if self._dialect.is_cr else "a carriage return"
        self._suspect(stray, f"{sign} inside an unquoted field", REPAIR)
        if self._line_end == b"\n":
            mixed = bitmask.first(returns & bitmask.before(line_ends))
            self._suspect(mixed, "a line that ends with CR LF, unlike those before it", MIXED)
        else:
            mixed = bitmask.first(line_ends & ~bitmask.after(returns))
            self._suspect(mixed, "a line that ends with LF, and not with CR LF", MIXED)

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
        again = self._second.row(data, ends, sizes, self._begun, is_start=not self.records)
        self._suspect(again, "a second header", REPAIR)

    def _suspect(self, place: int | np.integer | None, what: str, remedy: str) -> None:
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
            self._begun = data[done : done + self._second.longest]
            self._delimiters = seen - int(bitmask.rank(delimiters, ends[-1:])[0])
        else:
            self._bytes += len(data)
            self._begun += data[: max(0, self._second.longest - len(self._begun))]
            self._delimiters += seen
        self.records += len(ends)


def remedy_of_byte(data: bytes, at: int) -> str:
    """What to do about a byte that is not UTF-8, where most of the text around it may be."""
    share = charset.Utf8Share()
    share.add(data)
    if share.is_most():
        return REPAIR
    readings = charset.reads_as(data, at)
    return f"{DECLARE}: {readings}" if readings else DECLARE


def _control(data: bytes, at: int) -> tuple[str, str]:
    """What is said of a C1 control in UTF-8, and what to do: its publisher encoded it twice."""
    before, after = data[max(0, at - 200) : at].decode(errors="ignore"), data[at : at + 200]
    text = before + after.decode(errors="ignore")
    readings = charset.control_reads_as(text, len(before))
    return charset.control(text[len(before)]), f"{REPAIR}: {readings}" if readings else REPAIR
