"""Dumps of the published tables: `prod` is made from them, and rolled back to them.

data/dumps/12.dump       generation 12, by pg_dump in custom format: plain pg_restore reads it
data/dumps/12.json       its tables: rows, columns, a hash of the content
data/dumps/SHA256SUMS    `sha256sum -c` checks both; a file that it does not name is not a dump
"""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import psycopg
from psycopg import sql

from pipeline import database, durable, signals, state
from pipeline.database import catalog, ledger, locks
from pipeline.database.queries import scalar
from pipeline.embedded.programs import program
from pipeline.errors import SourceError
from pipeline.marts import alterations, data_status, marks
from pipeline.settings import Settings
from pipeline.state import Outcome

SUMS = "SHA256SUMS"
# zlib's fastest level: the others take longer than the rest of a replication. The programs of the
# wheel support no newer method.
_PG_DUMP = ("--format=custom", "--compress=gzip:1", "--no-owner", "--no-privileges")


class Content(NamedTuple):
    """What identifies the rows of a table: their number, and a hash."""

    rows: int
    hash: str


class Published(NamedTuple):
    """A table that is published in dev: the types of its columns, and its generation."""

    columns: dict[str, str]
    generation: int


class Table(msgspec.Struct, frozen=True):
    """A table in a dump."""

    columns: dict[str, str]
    generation: int
    rows: int
    hash: str

    @property
    def content(self) -> Content:
        """What identifies its rows."""
        return Content(self.rows, self.hash)


class About(msgspec.Struct, frozen=True):
    """The contents of a dump, as the `.json` beside it has them."""

    generation: int
    made_at: str
    tables: dict[str, Table]


class Dump(NamedTuple):
    """One dump: the file, and what is in it."""

    path: Path
    about: About

    @property
    def generation(self) -> int:
        """The generation that was dumped."""
        return self.about.generation

    @property
    def tables(self) -> dict[str, Table]:
        """The tables by name."""
        return self.about.tables

    @property
    def generations(self) -> dict[str, int]:
        """The generation of each table, by name."""
        return generations(self.tables)


def make(here: Settings, dev: psycopg.Connection, pinned: int | None = None) -> Dump:
    """Dump what is published in dev, unless that was done before; returns the dump.

    The newest KEEP_DUMPS are kept, and the one that prod is pinned to. Raises SourceError if
    pg_dump fails, if a session locks a table for longer than PUBLISH_PATIENCE, or if somebody
    changed a table since it was published.
    """
    alterations.refuse_altered(dev, {})
    here.dumps.mkdir(parents=True, exist_ok=True)
    aside = here.dumps / f".dump.{os.getpid()}"
    try:
        with dev.transaction():
            dev.execute("set transaction isolation level repeatable read, read only")
            limit = locks.milliseconds(here.publish_patience)
            dev.execute(f"set local lock_timeout = '{limit}'")
            snapshot = scalar(dev, "select pg_export_snapshot()")
            generation, tables = ledger.generation(dev), published(dev)
            for old in kept(here):
                if old.generation == generation and old.generations == generations(tables):
                    return old
            names = [*tables, data_status.FACTS, data_status.VIEW]
            durable.create(aside).close()  # pg_dump would follow a link of that name
            # At the same time, on the same snapshot.
            with _pg_dump(dev, aside, snapshot, names, limit):
                dumped = {
                    name: Table(*table, *content(dev, name)) for name, table in tables.items()
                }
        about = About(generation, state.now(), dumped)
        described = msgspec.to_builtins(dumped)
        alterations.refuse_altered(dev, described)  # a change during the dump may be in it
        alterations.record_hashes(dev, described)
        path = here.dumps / f"{generation}.dump"
        durable.replace_file(aside, path)
        durable.write_json(path.with_suffix(".json"), msgspec.to_builtins(about))
    except psycopg.errors.LockNotAvailable:
        oldest = locks.oldest_holder(dev, catalog.PUBLISHED, "AccessExclusiveLock")
        raise SourceError(
            f"dump postponed: a session keeps a table of dev to itself, {oldest}",
            "prod stays as it was; the next night tries again",
        ) from None
    finally:
        aside.unlink(missing_ok=True)
    made = Dump(path, about)
    older = [dump for dump in kept(here) if dump.generation != generation]
    stay = [dump for dump in older[here.keep_dumps - 1 :] if dump.generation == pinned]
    _keep(here, [made, *older[: here.keep_dumps - 1], *stay])
    return made


def generations(tables: Mapping[str, Published | Table]) -> dict[str, int]:
    """The generation of each table, by name; it identifies the state of a database."""
    return {name: table.generation for name, table in tables.items()}


def published(dev: psycopg.Connection) -> dict[str, Published]:
    """The tables that are published in dev, by name."""
    whole = ledger.last_build(dev)
    steps = ledger.newest(dev, "transform", (Outcome.PUBLISHED,))
    names = whole["facts"]["tables"] if whole else []
    return {
        name: Published(
            catalog.columns(dev, catalog.PUBLISHED, name),
            steps[name]["facts"]["generation"],
        )
        for name in names
    }


def content(connection: psycopg.Connection, table: str) -> Content:
    """The number of rows of a published table, and a hash that does not depend on their order."""
    return Content(*marks.content(connection, sql.Identifier(catalog.PUBLISHED, table)))


def kept(here: Settings) -> list[Dump]:
    """The dumps, the newest first, except those whose `.json` cannot be read."""
    dumps = [Dump(path, about) for path in _paths(here) if (about := _about(path))]
    return sorted(dumps, key=lambda dump: -dump.generation)


def contents_in_prod(here: Settings, in_prod: dict[str, int]) -> dict[str, Content]:
    """The content of the tables in prod as they were dumped; those without a dump are left out.

    in_prod: the generation of each table in prod, by name.
    """
    contents: dict[str, Content] = {}
    for dump in reversed(kept(here)):
        same = dump.generations.items() & in_prod.items()
        contents |= {name: dump.tables[name].content for name, _ in same}
    return contents


def illegible(here: Settings) -> list[Path]:
    """Dumps that prod cannot return to, because their contents are unknown."""
    return [path for path in _paths(here) if not _about(path)]


def _paths(here: Settings) -> list[Path]:
    paths = [here.dumps / name for name in _sums(here)]
    return [path for path in paths if path.suffix == ".dump" and path.exists()]


def _about(path: Path) -> About | None:
    try:
        return msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=About)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def verify(here: Settings, dump: Dump) -> None:
    """Compare a dump with its SHA-256. Raises SourceError if it is not what was dumped."""
    sums = _sums(here)
    for path in (dump.path, dump.path.with_suffix(".json")):
        if not path.exists() or _sha256(path) != sums.get(path.name):
            raise SourceError(
                f"{path} does not have the SHA-256 that {SUMS} names",
                "prod stays as it was; delete the file, or choose another: publish --list",
            )


@contextmanager
def _pg_dump(
    dev: psycopg.Connection, path: Path, snapshot: str, names: list[str], limit: str
) -> Generator[None]:
    """Dump schema `transformed` in the state of a snapshot, without what others put there.

    pg_dump runs while the context is open; leaving the context waits for it.

    limit: how long to wait for a locked table, as PostgreSQL writes times.
    """
    others = dev.execute(
        """select format('%%I.%%I', nspname, relname)
        from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where nspname = 'transformed' and relkind in ('r', 'p', 'v', 'm', 'f', 'S')
            and relname <> all(%s)""",
        [names],
    ).fetchall()
    options = [f"--exclude-table={name}" for (name,) in others]
    options += ["--schema=transformed", f"--snapshot={snapshot}", f"--file={path}"]
    options += [f"--lock-wait-timeout={limit}"]
    with tempfile.TemporaryFile() as messages:
        with subprocess.Popen(
            [program("pg_dump"), *_PG_DUMP, *options],
            env=database.client_environment(dev),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=messages,
        ) as process:
            try:
                yield
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            messages.seek(0)
            text = messages.read().decode(errors="replace")
            reason = database.one_line(signals.reason(text, process.returncode))
            raise SourceError(f"pg_dump failed: {reason}", "the next night tries again")


def _keep(here: Settings, dumps: Iterable[Dump]) -> None:
    """Name these dumps in SHA256SUMS, and delete the others, except those that are illegible.

    The first dump is new; the others were named before. pg_restore may still read illegible ones.
    """
    before, kept_paths = _sums(here), [dump.path for dump in dumps]
    kept_paths += [path for path in illegible(here) if path not in kept_paths]
    paths = [p for path in kept_paths for p in (path, path.with_suffix(".json"))]
    sums = {p.name: before[p.name] for p in paths[2:] if p.name in before}
    sums |= {p.name: _sha256(p) for p in paths[:2]}
    lines = (f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    durable.write(here.dumps / SUMS, "".join(lines).encode())
    for path in here.dumps.iterdir():
        if path.name not in (*sums, SUMS) and not path.is_dir():
            path.unlink()


def _sums(here: Settings) -> dict[str, str]:
    try:
        lines = (here.dumps / SUMS).read_text().splitlines()
    except FileNotFoundError:
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
