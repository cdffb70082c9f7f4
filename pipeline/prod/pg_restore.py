"""The contents of a dump as SQL for psycopg: before the rows, the rows, after the rows.

pg_restore writes each section as a separate script. Only the one with the rows is parsed: it
consists of COPY blocks, so no quoted text can be mistaken for one.
"""

import re
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import cast

from pipeline import database, signals
from pipeline.embedded.programs import program
from pipeline.errors import SourceError

BLOCK = 1 << 20
END_OF_ROWS = b"\\.\n"
# The kinds of entries that a published table consists of. All others are left out: what others put
# into the schema, and what only a newer server has.
_KINDS = ("SCHEMA", "TABLE", "TABLE DATA", "VIEW", "CONSTRAINT", "INDEX", "DEFAULT", "STATISTICS")
_COMMENTED = ("SCHEMA", "TABLE", "COLUMN", "VIEW", "CONSTRAINT", "INDEX", "STATISTICS")
_ENTRY = re.compile(r"\d+; \d+ \d+ (.+)")
_COPY = re.compile(rb"(COPY .+) FROM stdin;\n")
# What pg_restore sets for its session; ours has its own settings.
_OF_SESSION = re.compile(r"(\\restrict|\\unrestrict|SET|SELECT pg_catalog\.set_config\().*\n")


def before_rows(dump: Path) -> str:
    """The statements that create the schema, its tables, views and their comments."""
    return _script(dump, "pre-data")


def after_rows(dump: Path) -> str:
    """The statements that create the constraints and indexes."""
    return _script(dump, "post-data")


@contextmanager
def rows(dump: Path) -> Generator[Iterator[tuple[str, Iterator[bytes]]]]:
    """For each COPY of the dump: the command without its source, and the rows in blocks of bytes.

    All blocks of a table must be read before the next table is requested.
    """
    with _pg_restore(dump, "data") as stream:
        yield _copies(stream)


def _script(dump: Path, section: str) -> str:
    with _pg_restore(dump, section) as stream:
        text = stream.read().decode()
    head, separator, body = text.partition("\n--\n-- Name: ")  # the first entry
    if not separator:
        return ""
    body = re.sub(r"(?m)^\\unrestrict .*\n", "", body)
    return f"{_OF_SESSION.sub('', head)}{separator}{body}"


@contextmanager
def _pg_restore(dump: Path, section: str) -> Generator[BufferedReader]:
    """What pg_restore writes for one section. Raises SourceError if it cannot read the dump."""
    options = ["--no-owner", "--no-privileges", f"--section={section}", "--file=-"]
    with (
        tempfile.NamedTemporaryFile("w", suffix=".list") as wanted,
        tempfile.TemporaryFile() as messages,
    ):
        wanted.write(_list(dump))
        wanted.flush()
        command = [program("pg_restore"), *options, f"--use-list={wanted.name}", str(dump)]
        with subprocess.Popen(
            command, BLOCK, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=messages
        ) as process:
            try:
                yield cast(BufferedReader, process.stdout)  # a pipe with a buffer, of BLOCK
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            messages.seek(0)
            text = messages.read().decode(errors="replace")
            raise _unreadable(dump, signals.reason(text, process.returncode))


def _list(dump: Path) -> str:
    """The table of contents of a dump, without what does not belong to published tables."""
    done = subprocess.run(
        [program("pg_restore"), "--list", str(dump)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise _unreadable(dump, signals.reason(done.stderr, done.returncode))
    return "".join(f"{line}\n" for line in done.stdout.splitlines() if _is_ours(line))


def _is_ours(line: str) -> bool:
    """Whether a line of the contents, as `12; 1259 168 TABLE transformed stations o`, is wanted."""
    entry = _ENTRY.fullmatch(line)
    if not entry:
        return False
    first, second, third, *_ = [*entry[1].split(" "), "", ""]
    if first == "COMMENT":
        return third in _COMMENTED
    return first in _KINDS or f"{first} {second}" in _KINDS


def _unreadable(dump: Path, reason: str) -> SourceError:
    what = f"pg_restore cannot read {dump}: {database.one_line(reason)}"
    return SourceError(what, "prod stays as it was; choose another dump: publish --list")


def _copies(stream: BufferedReader) -> Iterator[tuple[str, Iterator[bytes]]]:
    for line in stream:
        if copy := _COPY.fullmatch(line):
            yield copy[1].decode(), _blocks(stream)


def _blocks(stream: BufferedReader) -> Iterator[bytes]:
    """The lines up to the end of the rows, in blocks of as many as are buffered."""
    while True:
        buffered = stream.peek(BLOCK)  # the beginning of a line
        if not buffered.startswith(END_OF_ROWS):
            end = buffered.find(b"\n" + END_OF_ROWS)
            whole = (end if end >= 0 else buffered.rfind(b"\n")) + 1
            if whole:
                yield stream.read(whole)
                continue
        line = stream.readline()  # the end, or a line longer than the buffer
        if line in (END_OF_ROWS, b""):
            return
        yield line
