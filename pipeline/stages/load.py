"""Stage `load`: a legible CSV becomes the rows of `source.<source>`, as it is.

One transaction a source: TRUNCATE, COPY, the count held against the scan's, the ledger's row.
Whatever happens, readers find the old rows or the new ones.
`python -m pipeline.stages.load SOURCE` loads one source; the runner starts it so.
"""

import argparse
import hashlib
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import psycopg
from msgspec.structs import replace
from psycopg import sql

from pipeline import database, state
from pipeline.database import ledger
from pipeline.errors import SourceError
from pipeline.marts import alterations, marks
from pipeline.marts.marks import Version
from pipeline.raw import order
from pipeline.schema import declaration
from pipeline.schema import table as source_table
from pipeline.settings import Settings, sources
from pipeline.stages import preprocess, script
from pipeline.state import Outcome

BLOCK = 1024 * 1024
LOCK_TIMEOUT = "2s"  # for how long new readers may queue behind our TRUNCATE


class _Altered(Exception):
    """The legible file is not the one that stage preprocess wrote."""


def main() -> None:
    """Load the source named on the command line."""
    source = next((word for word in sys.argv[1:] if word in sources()), "")
    if not source:
        print("usage: python -m pipeline.stages.load SOURCE [--force]", file=sys.stderr)
        sys.exit(64)
    sys.argv.remove(source)
    script.run(
        "load",
        source,
        __doc__,
        lambda here, options: run(here, source, options.force, options.allow_older),
        add_options,
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """The option of this stage alone."""
    parser.add_argument(
        "--allow-older",
        action="store_true",
        help="load a snapshot although the rows that are loaded are newer, or it is bundled",
    )


def fingerprint_of(here: Settings, source: str) -> str | None:
    """What the rows of a source should be made of: the legible file and its declaration.

    What the declaration says in comments is no part of it.
    """
    noted = state.read(here, source).get("preprocess", {})
    if not noted.get("sha256"):
        return None
    declared = declaration.without_comments(declaration.text_of(source))
    return hashlib.sha256(f"{noted['sha256']} {declared}".encode()).hexdigest()


def _made_again(noted: dict, loaded: dict) -> bool:
    """Whether stage preprocess was told to make the file anew since it was loaded."""
    facts = loaded["facts"] or {}
    return noted.get("forced_at", "") > facts.get("forced_at", "")


def _file_of(loaded: dict) -> str:
    """What the rows of a source were made of, however often they were loaded from it."""
    return (loaded["facts"] or {}).get("made_of") or loaded["fingerprint"]


def _words_of(source: str) -> str:
    """What the declaration of a source says in all, comments included: its SHA-256."""
    return hashlib.sha256(declaration.text_of(source).encode()).hexdigest()


def pending(connection: psycopg.Connection, here: Settings, names: list[str]) -> list[str]:
    """The sources whose table is not what their files say, in rows or comments, or not there.

    So also what somebody else changed since it was loaded.
    """
    loaded = ledger.newest(connection, "load", ledger.MADE["load"])
    changed = alterations.altered_sources(connection, names)
    tables = {
        row[0]
        for row in connection.execute(
            "select tablename from pg_catalog.pg_tables where schemaname = 'source'"
        )
    }
    waiting = []
    for name in names:
        wanted = fingerprint_of(here, name)
        is_loaded = name in loaded and _file_of(loaded[name]) == wanted and name not in changed
        noted = state.read(here, name).get("preprocess", {})
        is_loaded = is_loaded and not _made_again(noted, loaded[name])
        is_described = is_loaded and (loaded[name]["facts"] or {}).get("declared") == _words_of(
            name
        )
        if name not in tables or (wanted and not is_described):
            waiting.append(name)
    return waiting


def run(here: Settings, source: str, force: bool = False, allow_older: bool = False) -> dict:
    """Load a source unless its table is made of this very file; returns the facts of the stage.

    Rows of a newer snapshot stay (`order`), unless `allow_older`.

    Raises SourceError when the file, its columns or its readers forbid it; SetupError when a
    permission is missing; PipelineError when the server does. The old rows stay then.
    """
    attempt = partial(_attempt, allow_older=True) if allow_older else _attempt
    try:
        return attempt(here, source, force)
    except psycopg.Error as error:
        if not database.is_lost(error):
            raise database.explain(error, f"{source} was not loaded") from None
    # The server went away, perhaps to recover from a crash. Nothing was changed: once more.
    time.sleep(database.PAUSE)
    try:
        return attempt(here, source, force)
    except psycopg.Error as error:
        raise database.explain(error, f"{source} was not loaded") from None


def _attempt(here: Settings, source: str, force: bool, allow_older: bool = False) -> dict:
    with database.connect(here) as connection:
        database.prepare(connection)
        noted = state.read(here, source).get("preprocess", {})
        is_waiting = force or pending(connection, here, [source])
        is_there = source_table.exists(connection, source)
        # Whatever comes of the file, models can build. In the place of one that was loaded and is
        # gone an empty one would pass for its rows.
        if not is_there and source not in ledger.loaded(connection):
            source_table.make_empty(connection, source)
        if not noted.get("sha256"):
            return {
                "outcome": Outcome.MISSING,
                "reason": "there is no legible file; the table is unchanged",
            }
        if not is_waiting:
            return {"outcome": Outcome.UNCHANGED, "rows": noted["rows"]}
        loaded = ledger.newest(connection, "load", ledger.MADE["load"]).get(source)
        before = (loaded or {"facts": {}})["facts"] or {}
        is_same = is_there and loaded and _file_of(loaded) == fingerprint_of(here, source)
        why = alterations.altered_sources(connection, [source]).get(source, "")
        if is_same and not (force or why or _made_again(noted, loaded)):
            return _patiently(here, source, partial(_describe, connection, source, noted))
        loads = [order.version(load) for load in ledger.loads(connection, source)]
        kept = order.kept(source, order.of_legible(here, source), loads)
        if kept and not allow_older:
            return kept
        # What is let in once all the same stays so when the same file is loaded again.
        was_overruled = is_same and before.get("snapshot", {}).get("is_overruled")
        is_overruled = bool(kept or was_overruled)
        again = _again(loaded) if is_same else {}
        about = {"forced_at": max(noted.get("forced_at", ""), before.get("forced_at", ""))} | again
        work = partial(_load, connection, here, source, noted, is_overruled, about)
        return _patiently(here, source, work) | _mended(source, why)


def _again(loaded: dict) -> dict:
    """What is noted of a file that is loaded again: of what the rows are made, and after which.

    What is made of the rows is made again too, since nobody knows what was made of them meanwhile.
    """
    return {"made_of": _file_of(loaded), "after": loaded["fingerprint"]}


def _mended(source: str, why: str) -> dict:
    """What is told of a table that somebody had changed."""
    if not why:
        return {}
    return {"reason": f"somebody had changed source.{source}, {why}: it is loaded again"}


def _patiently(here: Settings, source: str, work: Callable[[], dict]) -> dict:
    """Do the work, again and again while readers of the table hold it, up to PUBLISH_PATIENCE."""
    deadline = time.monotonic() + here.publish_patience
    while True:
        try:
            return work()
        except (_Altered, FileNotFoundError):
            state.update(here, source, "preprocess", stamp=None)  # so that the next run sees to it
            raise SourceError(
                f"{source}: {preprocess.output_of(here, source)} is not what preprocess wrote",
                f"the old rows stay; ./run_pipeline.sh preprocess {source} makes it anew",
            ) from None
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            if time.monotonic() > deadline:
                raise SourceError(
                    f"{source}: readers held source.{source} for {here.publish_patience:g} s",
                    "the old rows stay; the next night tries again",
                ) from None
            time.sleep(1)


def _describe(connection: psycopg.Connection, source: str, noted: dict) -> dict:
    """Only comments of the declaration changed: the table gets them, and its rows stay."""
    with connection.transaction():
        connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
        connection.execute(declaration.text_of(source).encode())
        ledger.amend(connection, "load", source, declared=_words_of(source))
    return {"outcome": Outcome.UNCHANGED, "rows": noted["rows"], "reason": "its comments are new"}


def _load(
    connection: psycopg.Connection,
    here: Settings,
    source: str,
    noted: dict,
    is_overruled: bool,
    about: dict,
) -> dict:
    """Load the file in a transaction, and note the table as it is then.

    about: what is noted of the load beside that; of a file that is loaded again, `_again`.
    """
    started = time.monotonic()
    table = sql.Identifier("source", source)
    with connection.transaction():
        connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
        connection.execute("set local statement_timeout = 0")
        added = source_table.declare(connection, source, noted["columns"])
        connection.execute(sql.SQL("truncate {}").format(table))
        counted = marks.changes(connection, "source", source)
        rows = _copy(connection, table, preprocess.output_of(here, source), noted)
        writer = marks.writer(connection, "source", source)
        if rows != noted["rows"]:
            raise SourceError(
                f"{source}: {rows:,} rows were copied where the file has {noted['rows']:,}",
                "the old rows stay; this is a fault of the pipeline, please report it",
            )
        facts = about | {"outcome": Outcome.NEW, "rows": rows, "bytes": noted["bytes"]}
        facts["declared"] = _words_of(source)
        version = replace(order.of_legible(here, source), is_overruled=is_overruled)
        facts["snapshot"] = msgspec.to_builtins(version)
        facts["seconds"] = round(time.monotonic() - started, 3)
        if added:
            facts["reason"] = f"new columns: {', '.join(added)}"
            facts["remedy"] = f"describe them in load/{source}.sql"
        elif back := _published_again(source, noted):
            facts["reason"] = f"published again: {', '.join(back)}"
            facts["remedy"] = f"their comments in load/{source}.sql say otherwise"
        run_id = state.run_id()
        ledger.begin(connection, run_id, f"load {source}", state.now())
        fingerprint = fingerprint_of(here, source)
        if "after" in about:
            again = f"{fingerprint} {about['after']} {run_id}"
            fingerprint = hashlib.sha256(again.encode()).hexdigest()
        ledger.note(
            connection, run_id, "load", source, facts | {"started_at": state.now()}, fingerprint
        )
    marks.flush(connection)
    if marks.changes(connection, "source", source) == counted + rows:  # and nobody's but ours
        marks.record(connection, "source", source, Version(fingerprint or "", rows, writer=writer))
    return facts


def _published_again(source: str, noted: dict) -> list[str]:
    """The columns of a file that its declaration calls unpublished."""
    known, absent = declaration.read(source), noted.get("absent", [])
    return [name for name in noted["columns"] if known.is_unpublished(name) and name not in absent]


def _copy(connection, table: sql.Identifier, path: Path, noted: dict) -> int:
    """Stream the legible file into COPY; returns the rows copied.

    FREEZE, since the table was truncated in this transaction: rows need no second write later.
    Raises _Altered when the file is not the one that was noted.
    """
    columns = sql.SQL(", ").join(map(sql.Identifier, noted["columns"]))
    command = sql.SQL(
        "copy {} ({}) from stdin (format csv, header match, freeze, encoding 'UTF8')"
    ).format(table, columns)
    digest = hashlib.sha256()
    with connection.cursor() as cursor, path.open("rb") as file:
        try:
            with cursor.copy(command) as copy:
                while block := file.read(BLOCK):
                    digest.update(block)
                    copy.write(block)
        except psycopg.DataError:
            while block := file.read(BLOCK):
                digest.update(block)
            if digest.hexdigest() == noted["sha256"]:
                raise  # it is the file that preprocess wrote, and COPY says what is wrong with it
        if digest.hexdigest() != noted["sha256"]:
            raise _Altered
        return cursor.rowcount


if __name__ == "__main__":
    main()
