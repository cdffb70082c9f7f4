"""What every legible file has in common: its names, its fields, its writer and its receipt.

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
    notes: dict[str, int]  # what was met, and how often: {"features without a geometry": 3}
    # Columns declared to be there, not as optional, of which no feature had the property.
    absent: list[str] = member(default_factory=list)
    # The rows that came from each raw file, by its name; empty when a script does not tell.
    files: dict[str, int] = member(default_factory=dict)
    # The columns that a raw file does not have and another one has, by its name.
    lacking: dict[str, list[str]] = member(default_factory=dict)


class Output:
    """A legible file being written: counted, and hashed while the next block is made.

    A context manager. Writing and hashing run in a thread of their own, one block behind the
    caller; both release the interpreter's lock.
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
        """Append a block of bytes. Raises OSError of this block or the one before (disk full)."""
        self._wait()
        self._pending = self._worker.submit(self._write, block)

    def receipt(
        self, files: Mapping[str, int], columns: list[str], notes: Mapping[str, int]
    ) -> Legible:
        """Wait for the last block; what was written in all, `files` being the rows of each."""
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
        while rest:  # an unbuffered write may take less than it was given
            rest = rest[self._file.write(rest) :]
        self._bytes += len(block)


def field(value: bytes) -> bytes:
    """A value (UTF-8, not null) as a CSV field: in quotes if it is empty or RFC 4180 needs them."""
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
    """The names of the columns: white space trimmed, inner white space `_`, all else untouched.

    Parameters
    ----------
    published: the names as the publisher writes them.
    rename:    published name -> the name to use instead, for a name that cannot be a column.
    where:     the place an error names: file and line.

    Raises SourceError for a name that PostgreSQL would cut or refuse, and for two of one name.
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
            "tell them apart with rename= in the source's preprocess script, if their published "
            "names differ; else the publisher has to",
        )
    if len(columns) > MAX_COLUMNS:
        raise SourceError(f"{where}: {len(columns)} columns; a table holds {MAX_COLUMNS}")
    return columns


def _flaw(name: str) -> str:
    if not name:
        return "has no name"
    if not name.isprintable():
        return "has a character in its name that cannot be printed"
    if (size := len(name.encode())) > MAX_NAME_BYTES:
        return f"has a name of {size} bytes; PostgreSQL would cut it to {MAX_NAME_BYTES}"
    return "has a name PostgreSQL keeps to itself" if name in SYSTEM_COLUMNS else ""
