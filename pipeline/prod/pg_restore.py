"""What a dump says, as SQL for psycopg: the tables, their rows, and what comes after the rows.

pg_restore writes each part as a script of its own. Only the part with the rows is taken to pieces:
it is COPY blocks and nothing else, so no quoted text can be mistaken for one.
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
# Kinds of entries that a published table consists of. Whatever else others put into the schema,
# and what only a newer server knows, is left out.
_KINDS = ("SCHEMA", "TABLE", "TABLE DATA", "VIEW", "CONSTRAINT", "INDEX", "DEFAULT", "STATISTICS")
_COMMENTED = ("SCHEMA", "TABLE", "COLUMN", "VIEW", "CONSTRAINT", "INDEX", "STATISTICS")
_ENTRY = re.compile(r"\d+; \d+ \d+ (.+)")
_COPY = re.compile(rb"(COPY .+) FROM stdin;\n")
# What pg_restore sets for its own session; our session has its own settings.
_OF_SESSION = re.compile(r"(\\restrict|\\unrestrict|SET|SELECT pg_catalog\.set_config\().*\n")


def before_rows(dump: Path) -> str:
    """The statements that make the schema, its tables, views and their comments."""
    return _script(dump, "pre-data")


def after_rows(dump: Path) -> str:
    """The statements that make the constraints and indexes."""
    return _script(dump, "post-data")


@contextmanager
def rows(dump: Path) -> Generator[Iterator[tuple[str, Iterator[bytes]]]]:
    """Each COPY of the dump: the command without its source, and the rows in blocks of bytes.

    A table's blocks must be read before the next table is asked for.
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
    """What pg_restore writes of one section. Raises SourceError when it cannot read the dump."""
    words = ["--no-owner", "--no-privileges", f"--section={section}", "--file=-"]
    with (
        tempfile.NamedTemporaryFile("w", suffix=".list") as wanted,
        tempfile.TemporaryFile() as said,
    ):
        wanted.write(_list(dump))
        wanted.flush()
        command = [program("pg_restore"), *words, f"--use-list={wanted.name}", str(dump)]
        with subprocess.Popen(
            command, BLOCK, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
        ) as process:
            try:
                yield cast(BufferedReader, process.stdout)  # a pipe with a buffer, of BLOCK
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            said.seek(0)
            told = said.read().decode(errors="replace")
            raise _unreadable(dump, signals.reason(told, process.returncode))


def _list(dump: Path) -> str:
    """The table of contents of a dump, without what is none of ours."""
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
    words = entry[1].split(" ")
    if words[0] == "COMMENT":
        return words[2] in _COMMENTED
    return words[0] in _KINDS or " ".join(words[:2]) in _KINDS


def _unreadable(dump: Path, said: str) -> SourceError:
    what = f"pg_restore cannot read {dump}: {database.one_line(said)}"
    return SourceError(what, "prod stays as it was; choose another dump: publish --list")


def _copies(stream: BufferedReader) -> Iterator[tuple[str, Iterator[bytes]]]:
    for line in stream:
        if copy := _COPY.fullmatch(line):
            yield copy[1].decode(), _blocks(stream)


def _blocks(stream: BufferedReader) -> Iterator[bytes]:
    """The lines up to the end of the rows, in blocks of as many as are at hand."""
    while True:
        at_hand = stream.peek(BLOCK)  # the beginning of a line
        if not at_hand.startswith(END_OF_ROWS):
            end = at_hand.find(b"\n" + END_OF_ROWS)
            whole = (end if end >= 0 else at_hand.rfind(b"\n")) + 1
            if whole:
                yield stream.read(whole)
                continue
        line = stream.readline()  # the end, or longer than what is at hand
        if line in (END_OF_ROWS, b""):
            return
        yield line
