"""Dumps of what was published: the one thing `prod` is made from, and rolled back to.

data/dumps/12.dump       generation 12, by pg_dump in custom format: plain pg_restore reads it
data/dumps/12.json       its tables: rows, columns, a hash of the content
data/dumps/SHA256SUMS    `sha256sum -c` checks both; a dump that it does not name is none
"""

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

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
# wheel know no newer method.
_PG_DUMP = ("--format=custom", "--compress=gzip:1", "--no-owner", "--no-privileges")


class Dump(NamedTuple):
    """One dump: the file, and what is in it."""

    path: Path
    about: dict  # generation, made_at, tables: name -> rows, hash, columns, generation

    @property
    def generation(self) -> int:
        """The generation that was dumped."""
        return self.about["generation"]

    @property
    def tables(self) -> dict[str, dict]:
        """Of each table by name: rows, hash, columns (types by name), generation."""
        return self.about["tables"]

    @property
    def generations(self) -> dict[str, int]:
        """With which publication each table came, by name."""
        return generations(self.tables)


def make(here: Settings, dev: psycopg.Connection, pinned: int | None = None) -> Dump:
    """Dump what is published in dev, unless that was done before; returns the dump.

    The newest KEEP_DUMPS are kept, and the one that prod is pinned to. Raises SourceError when
    pg_dump fails, somebody keeps a table to themselves for longer than PUBLISH_PATIENCE, or changed
    one since it was published.
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
            # Side by side, on the same snapshot.
            with _pg_dump(dev, aside, snapshot, names, limit):
                described = {name: facts | content(dev, name) for name, facts in tables.items()}
        alterations.refuse_altered(dev, described)  # what was changed meanwhile may be in it
        alterations.record_hashes(dev, described)
        about = {"generation": generation, "made_at": state.now(), "tables": described}
        path = here.dumps / f"{generation}.dump"
        durable.replace_file(aside, path)
        durable.write_json(path.with_suffix(".json"), about)
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


def generations(tables: dict[str, dict]) -> dict[str, int]:
    """With which publication each table came, by name: what tells one state from another."""
    return {name: facts["generation"] for name, facts in tables.items()}


def published(dev: psycopg.Connection) -> dict[str, dict]:
    """The tables that are published in dev, by name: columns and generation."""
    whole = ledger.last_build(dev)
    steps = ledger.newest(dev, "transform", (Outcome.PUBLISHED,))
    names = whole["facts"]["tables"] if whole else []
    return {
        name: {
            "columns": catalog.columns(dev, catalog.PUBLISHED, name),
            "generation": steps[name]["facts"]["generation"],
        }
        for name in names
    }


def content(connection: psycopg.Connection, table: str) -> dict:
    """Rows of a published table, and a hash of them in whatever order they stand."""
    name = sql.Identifier(catalog.PUBLISHED, table)
    rows, digest = marks.content(connection, name)
    return {"rows": rows, "hash": digest}


def kept(here: Settings) -> list[Dump]:
    """The dumps that are there, the newest first; one whose `.json` cannot be read is none."""
    found = [Dump(path, about) for path in _paths(here) if (about := _about(path))]
    return sorted(found, key=lambda dump: -dump.generation)


def in_prod(here: Settings, there: dict[str, int]) -> dict[str, dict]:
    """The tables of the dumps that prod is at, each by its own generation.

    That of which no dump is kept, or of which somebody changed what prod says, is not among them.
    """
    found: dict[str, dict] = {}
    for dump in reversed(kept(here)):
        same = dump.generations.items() & there.items()
        found |= {name: dump.tables[name] for name, _ in same}
    return found


def illegible(here: Settings) -> list[Path]:
    """Dumps that are there and cannot be rolled back to: nobody knows what is in them."""
    return [path for path in _paths(here) if not _about(path)]


def _paths(here: Settings) -> list[Path]:
    paths = [here.dumps / name for name in _sums(here)]
    return [path for path in paths if path.suffix == ".dump" and path.exists()]


def _about(path: Path) -> dict | None:
    try:
        return json.loads(path.with_suffix(".json").read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def verify(here: Settings, dump: Dump) -> None:
    """Hold a dump against its SHA-256. Raises SourceError when it is not what was dumped."""
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
    """Dump schema `transformed` as the snapshot has it, without what others put there.

    pg_dump runs while the context is open, and has ended well when it is left. For a table that
    somebody keeps to themselves it waits for so long, in PostgreSQL's words.
    """
    others = dev.execute(
        """select format('%%I.%%I', nspname, relname)
        from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where nspname = 'transformed' and relkind in ('r', 'p', 'v', 'm', 'f', 'S')
            and relname <> all(%s)""",
        [names],
    ).fetchall()
    words = [f"--exclude-table={name}" for (name,) in others]
    words += ["--schema=transformed", f"--snapshot={snapshot}", f"--file={path}"]
    words += [f"--lock-wait-timeout={limit}"]
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(
            [program("pg_dump"), *_PG_DUMP, *words],
            env=database.client_environment(dev),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        ) as process:
            try:
                yield
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            said.seek(0)
            told = signals.reason(said.read().decode(errors="replace"), process.returncode)
            what = database.one_line(told)
            raise SourceError(f"pg_dump failed: {what}", "the next night tries again")


def _keep(here: Settings, dumps: Iterable[Dump]) -> None:
    """Name these dumps in SHA256SUMS, and delete all others but the illegible: pg_restore may."""
    known, stay = _sums(here), [dump.path for dump in dumps]
    stay += [path for path in illegible(here) if path not in stay]
    paths = [p for path in stay for p in (path, path.with_suffix(".json"))]
    made = paths[:2]  # the newest, of this very run: all others were named before
    sums = {p.name: known[p.name] for p in paths[2:] if p.name in known}
    sums |= {p.name: _sha256(p) for p in made}
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
