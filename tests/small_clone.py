"""A clone with two small sources of its own and a mart of each: a whole night in seconds.

Every row of both sources carries the number of the night it was fetched in, so that what readers
see tells of which generation it is.
"""

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from clone import Clone, make_clone
from publisher import Answer, Publisher, held, serving
from readers import Read, Reader, from_a_snapshot, in_one_transaction, reading

SOURCES = ("left", "right")
ROWS = 300
HOST = "small.example"
FETCH = '''"""Rows that carry the number of a night. One row is one number."""

from pipeline.stages.api import Candidate, Source, run

SOURCE = Source(
    title="{name}",
    publisher="a test",
    page="https://small.example/",
    licence="none",
    licence_page="https://small.example/",
    kind="csv",
)


def fetch(candidate: Candidate) -> None:
    """One file."""
    candidate.download("https://small.example/{name}.csv")


if __name__ == "__main__":
    run(SOURCE, fetch)
'''
LEGIBLE = '''"""A CSV as it is. One row is one number."""

from pathlib import Path

from pipeline.formats import delimited
from pipeline.formats.legible import Legible
from pipeline.stages.preprocess import run
from pipeline.raw.snapshot import Snapshot


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """Nothing is to be done."""
    return delimited.write_csv(snapshot.files, output)


if __name__ == "__main__":
    run(make_legible)
'''
DATA_TEST = '''"""Data tests."""


def test_it_has_its_header(legible):
    assert legible.read_bytes().startswith(b"id,night\\n")


def test_ids(legible):
    ids = [line.split(b",")[0] for line in legible.read_bytes().splitlines()]
    assert len(set(ids)) == len(ids)
'''
TABLE = """create table if not exists source.{name} (
    "id" text,
    "night" text
);

comment on table source.{name} is 'One row per number.';
comment on column source.{name}."id" is 'A number.';
comment on column source.{name}."night" is 'When it was fetched.';
"""
MART = """{{{{ config(contract={{'enforced': false}}) }}}}
select id::integer as id, night::integer as night from {{{{ ref('stg_{name}') }}}}
"""
STAGED = "select * from {{{{ source('source', '{name}') }}}}\n"
DECLARED = """version: 2
sources:
  - {name: source, schema: source, tables: [{name: left}, {name: right}]}
models:
  - {name: stg_left, columns: [{name: id, data_tests: [unique, not_null]}]}
  - {name: stg_right, columns: [{name: id, data_tests: [unique]}]}
"""


class Small(Clone):
    """The clone, what its publisher gives out, and the number of the newest night."""

    def __init__(self, folder: Path, publisher: Publisher):
        super().__init__(folder)
        self.publisher = publisher
        self.newest = 0
        self.environment |= {
            "MIRRORS": f"{HOST}={publisher.url}/{HOST}",
            "FETCH_PATIENCE": "0",
            "PUBLISH_PATIENCE": "20",
        }

    def body(self, night: int) -> bytes:
        """The file of a source on a night."""
        return b"id,night\n" + b"".join(b"%d,%d\n" % (n, night) for n in range(1, ROWS + 1))

    def something_new(self) -> int:
        """Let the publisher have new rows of both sources; returns their number."""
        self.newest += 1
        for name in SOURCES:
            self.give_out(name, self.body(self.newest))
        return self.newest

    def give_out(self, name: str, body: bytes, **how) -> None:
        """Let the publisher answer with this for a source."""
        self.publisher.answers[f"/{HOST}/{name}.csv"] = [Answer(body, **how)]

    def hold_back(self, name: str, body: bytes) -> threading.Event:
        """Let the publisher stay silent about a source until the event is set."""
        handler, going_on = held(Answer(body))
        self.publisher.answers[f"/{HOST}/{name}.csv"] = handler
        return going_on

    def start(self, *words: str, **variables: str) -> subprocess.Popen:
        """Start a command, its output to be read later."""
        return subprocess.Popen(
            [self.folder / "run_pipeline.sh", *words],
            cwd="/",
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def url(self) -> str:
        """The dev database, its server started if need be."""
        done = self.run("db", "url")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def published(self) -> set[int]:
        """The nights of the rows in both marts, each whole."""
        with psycopg.connect(self.url()) as connection:
            return whole_nights(connection)

    def published_of(self, source: str) -> int:
        """The night of the rows in the mart of one source."""
        with psycopg.connect(self.url()) as connection:
            return max(_nights(connection, source))

    def well_again(self, **variables: str) -> None:
        """The next night, with something new and no help, is well and publishes it."""
        night = self.something_new()
        done = self.run(**variables)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}{self._refused()}"
        assert self.published() == {night}
        parts = [self.folder / "data" / part for part in ("raw", "preprocessed", "state")]
        assert [p for part in parts for p in part.rglob(".*") if p.is_file()] == [], (
            "temporary files"
        )

    def _refused(self) -> str:
        """What came and was refused, file by file: its size, the beginning and the end."""
        files = [p for p in self.folder.glob("data/quarantine/*/*/*") if p.is_file()]
        bodies = {path: path.read_bytes() for path in sorted(files)}
        return "\n".join(
            f"{path}: {len(body):,} bytes, {body[:60]!r} … {body[-60:]!r}"
            for path, body in bodies.items()
        )

    def still_well(self) -> None:
        """The next night, with whatever is new and no help, is well; the newest is published."""
        done = self.run()
        assert done.returncode == 0, done.stdout + done.stderr
        assert self.published() == {self.newest}

    def postmaster(self) -> int:
        """The process id of the clone's server."""
        (file,) = self._cluster().glob("postmaster.pid")
        return int(file.read_text().splitlines()[0])

    def _cluster(self) -> Path:
        home = self.folder / "data" / "postgres"
        moved = home / "moved_to"
        return (Path(moved.read_text().strip()) if moved.exists() else home) / "cluster"

    def backends(self) -> list[int]:
        """The server's processes that work for a client."""
        parent = self.postmaster()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                status = (entry / "status").read_text()
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if re.search(rf"^PPid:\t{parent}$", status, re.M) and b"[local]" in words:
                found.append(int(entry.name))
        return found


def whole_nights(connection: psycopg.Connection) -> set[int]:
    """The nights of the published rows, in one statement; no mart may lack a row."""
    rows = connection.execute(
        """select night, count(*) from transformed.left_rows group by 1
        union all select night, count(*) from transformed.right_rows group by 1"""
    ).fetchall()
    assert [count for _, count in rows] == [ROWS, ROWS], rows
    return {night for night, _ in rows}


def make_small(folder: Path, publisher: Publisher) -> Small:
    """Make the clone: the project's own sources and models go, two others come."""
    whole = make_clone(folder)
    for stage in ("api", "preprocess", "load"):
        for path in (folder / stage).glob("*"):
            if path.is_file() and path.name != "conftest.py":
                path.unlink()
    keep = ("dbt_project.yml", "profiles.yml")
    keep += ("engine/macros/generate_schema_name.sql", "engine/macros/keys.sql")
    project = folder / "transform"
    kept = {name: (project / name).read_text() for name in keep}
    shutil.rmtree(project)
    parts = dict(kept)
    for name in SOURCES:
        parts[f"../api/{name}.py"] = FETCH.format(name=name)
        parts[f"../preprocess/{name}.py"] = LEGIBLE
        parts[f"../preprocess/test_{name}.py"] = DATA_TEST
        parts[f"../load/{name}.sql"] = TABLE.format(name=name)
        parts[f"models/staging/stg_{name}.sql"] = STAGED.format(name=name)
        parts[f"models/marts/{name}_rows.sql"] = MART.format(name=name)
    parts["models/staging/declared.yml"] = DECLARED
    for name, text in parts.items():
        path = Path(os.path.normpath(project / name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Small(whole.folder, publisher)


@contextmanager
def first_night(folder: Path, is_warm: bool = False) -> Iterator[Small]:
    """A small clone after its first night; its server ends and it is deleted with the context."""
    with serving() as publisher:
        made = make_small(folder, publisher)
        with made.warm(is_warm):
            made.well_again()
            yield made
            made.run("db", "stop")
    shutil.rmtree(folder)


# Readers


Seen = list[tuple[str, int, int]]  # mart, its generation by data_status, the night of its rows


def _rows_of(name: str) -> str:
    return f"""select '{name}', night, count(*) from transformed.{name}_rows group by night"""


def _generation_of(name: str) -> str:
    return f"(select generation from transformed.data_status where name = '{name}_rows')"


def _nights(connection: psycopg.Connection, name: str) -> set[int]:
    rows = connection.execute(_rows_of(name)).fetchall()
    assert [count for _, _, count in rows] == [ROWS], (name, rows)
    return {rows[0][1]}


def _at_once(connection: psycopg.Connection) -> Seen:
    """Both marts and their generations in one statement."""
    parts = [f"select *, {_generation_of(n)} from ({_rows_of(n)}) as {n}_seen" for n in SOURCES]
    rows = connection.execute(" union all ".join(parts)).fetchall()
    assert [count for _, _, count, _ in rows] == [ROWS, ROWS], rows
    return [(name, generation, night) for name, night, _, generation in rows]


def in_turn(*names: str) -> Read:
    """A reader of both marts and of their status in one transaction, a statement each."""

    def read(connection: psycopg.Connection) -> Seen:
        nights = {name: max(_nights(connection, name)) for name in names}
        generations = {
            name: connection.execute(f"select {_generation_of(name)}").fetchone()[0]
            for name in names
        }
        return [(name, generations[name], nights[name]) for name in names]

    return in_one_transaction(read)


READS = (_at_once, in_turn("left", "right"), in_turn("right", "left"))
READS += (from_a_snapshot(_at_once), from_a_snapshot(_at_once, 1.5))


@contextmanager
def readers(url: str) -> Iterator[list[Reader]]:
    """Five readers for as long as the context lasts; none may have met what no reader may meet.

    Connections may be lost, for whoever kills the server. A source that fails keeps its rows while
    the other goes on, so the marts may be of two nights. What no reader may see is a mart with the
    rows of another generation than data_status tells in the same transaction.
    """
    with reading(url, READS, pause=0.05, rest=2.0) as known:
        yield known
    assert [reader.errors for reader in known] == [[]] * len(known)
    nights: dict[tuple[str, int], set[int]] = {}
    for mart, generation, night in (each for r in known for seen in r.seen for each in seen):
        nights.setdefault((mart, generation), set()).add(night)
    assert {of: several for of, several in nights.items() if len(several) > 1} == {}


def kill(process: int, number: int = signal.SIGKILL) -> bool:
    """Send a signal; whether the process was still there."""
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return False
    return True
