"""Legible files: column names, fields, the writer, and the receipt.

A legible file is RFC 4180 CSV in UTF-8: one header line, an unquoted empty field for null, `""`
for an empty string.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import field as member
from pathlib import Path
from types import TracebackType

from pipeline import durable
from pipeline.errors import SourceError
from pipeline.text import excerpt

MAX_NAME_BYTES = 63  # PostgreSQL cuts a longer name without an error (NAMEDATALEN - 1)
MAX_COLUMNS = 1600  # PostgreSQL: MaxHeapAttributeNumber
# PostgreSQL gives these to every table and refuses a column of the same name.
SYSTEM_COLUMNS = ("cmax", "cmin", "ctid", "tableoid", "xmax", "xmin")
_NEEDS_QUOTES = re.compile(rb'[",\r\n]')


@dataclass(frozen=True)
class Legible:
    """The receipt of a legible file: what was written, and what an operator should know."""

    rows: int  # records below the header
    columns: list[str]  # names as in the header, in order
    sha256: str  # of the whole file, in hex
    bytes: int
    notes: dict[str, int]  # oddities and their number: {"features without a geometry": 3}
    # Columns that are declared, not as optional, and whose property no feature had.
    absent: list[str] = member(default_factory=list)
    # The number of rows from each raw file, by its name; empty when a script does not say.
    files: dict[str, int] = member(default_factory=dict)
    # The columns that a raw file lacks and another one has, by its name.
    lacking: dict[str, list[str]] = member(default_factory=dict)


class Output:
    """A writer of legible files that counts and hashes; a context manager.

    Writing and hashing run in a thread of their own, one block behind the caller. Both release the
    interpreter's lock.
    """

    def __init__(self, path: Path):
        self._path = path
        self._sha256 = hashlib.sha256()
        self._bytes = 0
        self._worker = ThreadPoolExecutor(max_workers=1)
        self._pending: Future[None] | None = None

    def __enter__(self) -> "Output":
        self._file = durable.create(self._path, buffering=0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._wait()
        finally:
            self._worker.shutdown()
            self._file.close()

    def write(self, block: bytes | memoryview) -> None:
        """Append a block. Raises OSError (disk full) of this block or the one before."""
        self._wait()
        self._pending = self._worker.submit(self._write, block)

    def receipt(
        self, files: Mapping[str, int], columns: list[str], notes: Mapping[str, int]
    ) -> Legible:
        """Wait for the last block and return the receipt; `files` has the rows of each raw file."""
        self._wait()
        rows, digest = sum(files.values()), self._sha256.hexdigest()
        return Legible(rows, columns, digest, self._bytes, dict(notes), files=dict(files))

    def _wait(self) -> None:
        if self._pending:
            self._pending.result()
            self._pending = None

    def _write(self, block: bytes | memoryview) -> None:
        self._sha256.update(block)
        rest = memoryview(block)
        while rest:  # an unbuffered write may be incomplete
            rest = rest[self._file.write(rest) :]
        self._bytes += len(block)


def field(value: bytes) -> bytes:
    """A value (UTF-8, not null) as a CSV field; quoted if it is empty or RFC 4180 requires it."""
    if value and not _NEEDS_QUOTES.search(value):
        return value
    return quoted(value)


def quoted(value: bytes) -> bytes:
    """A value (UTF-8, not null) as a CSV field in quotes."""
    return b'"' + value.replace(b'"', b'""') + b'"'


def header_line(columns: list[str], line_end: bytes = b"\n") -> bytes:
    """The header of a legible file."""
    return b",".join(field(name.encode()) for name in columns) + line_end


def column_names(published: Iterable[str], rename: Mapping[str, str], where: str) -> list[str]:
    """Column names: outer white space removed, inner white space as `_`, all else unchanged.

    Parameters
    ----------
    published: the publisher's names.
    rename:    published name -> the name to use instead, for a name that cannot be a column.
    where:     file and line, for an error.

    Raises SourceError for a name that PostgreSQL would cut or refuse, and for equal names.
    """
    columns = [rename.get(name, "_".join(name.split())) for name in published]
    for number, name in enumerate(columns, start=1):
        if flaw := _flaw(name):
            raise SourceError(
                f"{where}: column {number} ({excerpt(name)!r}) {flaw}",
                "give it another name with rename= in the source's preprocess script",
            )
    twice = [name for name, times in Counter(columns).items() if times > 1]
    if twice:
        raise SourceError(
            f"{where}: two columns are called {excerpt(twice[0])!r} ({len(twice)} such names)",
            "distinguish them with rename= in the source's preprocess script if their published "
            "names differ; otherwise the publisher has to",
        )
    if len(columns) > MAX_COLUMNS:
        raise SourceError(f"{where}: {len(columns)} columns; a table holds {MAX_COLUMNS}")
    return columns


def _flaw(name: str) -> str:
    if not name:
        return "has no name"
    if not name.isprintable():
        return "has an unprintable character in its name"
    if (size := len(name.encode())) > MAX_NAME_BYTES:
        return f"has a name of {size} bytes; PostgreSQL would cut it to {MAX_NAME_BYTES}"
    return "has a name that PostgreSQL reserves" if name in SYSTEM_COLUMNS else ""
