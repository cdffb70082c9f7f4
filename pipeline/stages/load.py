"""Stage `load`: a legible CSV becomes the rows of `source.<source>`, unchanged.

One transaction per source: TRUNCATE, COPY, a comparison of the number of rows, the ledger's step.
Whatever happens, readers find the old rows or the new ones.
`python -m pipeline.stages.load SOURCE` loads one source; the runner starts it so.
"""

import argparse
import hashlib
import sys
import time
from collections.abc import Callable

import msgspec
import psycopg
from psycopg import sql

from pipeline import database, runs, state
from pipeline.database import ledger
from pipeline.errors import SourceError
from pipeline.marts import alterations, marks
from pipeline.marts.marks import Version
from pipeline.raw import order
from pipeline.schema import declaration
from pipeline.schema import table as source_table
from pipeline.settings import Settings, sources
from pipeline.stages import loads, preprocess, script
from pipeline.state import Outcome, Preprocessed

BLOCK = 1024 * 1024
LOCK_TIMEOUT = "2s"  # for how long new readers may queue behind our TRUNCATE


class _Altered(Exception):
    """The legible file is not the one that stage preprocess wrote."""


def main() -> None:
    """Load the source named on the command line."""
    source = next((argument for argument in sys.argv[1:] if argument in sources()), "")
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
    """Add the option that only this stage has."""
    parser.add_argument(
        "--allow-older",
        action="store_true",
        help="load a snapshot even if it is bundled, or older than the loaded rows",
    )


def run(here: Settings, source: str, force: bool = False, allow_older: bool = False) -> dict:
    """Load a source unless its table is up to date; returns the facts of the step.

    Rows of a newer snapshot stay (`order`), unless `allow_older`. When the server goes away, the
    load is tried once more.

    Raises SourceError when the file, its columns or readers of the table prevent it; SetupError
    when a permission is missing; PipelineError when the server fails. The old rows stay then.
    """
    try:
        return database.retry_once(
            here, lambda connection: _bring_up_to_date(connection, here, source, force, allow_older)
        )
    except psycopg.Error as error:
        raise database.explain(error, f"{source} was not loaded") from None


def _bring_up_to_date(
    connection: psycopg.Connection, here: Settings, source: str, force: bool, allow_older: bool
) -> dict:
    database.prepare(connection)
    legible = state.preprocessed(here, source)
    loaded = loads.newest(connection).get(source, loads.NEVER)
    is_pending = force or bool(loads.pending(connection, here, [source]))
    has_table = source_table.exists(connection, source)
    # An empty table lets the models build. If the source was loaded and its table is gone, an empty
    # table would pass for its rows.
    if not has_table and loaded is loads.NEVER:
        source_table.make_empty(connection, source)
    if not legible.sha256:
        reason = "there is no legible file; the table is unchanged"
        return {"outcome": Outcome.MISSING, "reason": reason}
    if not is_pending:
        return {"outcome": Outcome.UNCHANGED, "rows": legible.rows}
    is_same_file = has_table and loaded.made_of == loads.fingerprint_of(here, source)
    is_asked = force or legible.forced_at > loaded.forced_at
    alteration = alterations.altered_sources(connection, [source]).get(source, "")
    if is_same_file and not is_asked and not alteration:
        return _patiently(here, source, lambda: _describe(connection, source, legible))
    ours = order.of_legible(here, source)
    versions = msgspec.convert(ledger.loads(connection, source), list[order.Version])
    kept = order.kept(source, ours, versions)
    if kept and not allow_older:
        return kept
    is_overruled = bool(kept) or (is_same_file and loaded.snapshot.is_overruled)
    version = msgspec.structs.replace(ours, is_overruled=is_overruled)
    recorded: dict = {"snapshot": msgspec.to_builtins(version)}
    recorded["forced_at"] = max(legible.forced_at, loaded.forced_at)
    if is_same_file:
        # Tables made of these rows are built again too: nobody knows what they were made of.
        recorded |= {"made_of": loaded.made_of, "after": loaded.fingerprint}
    facts = _patiently(here, source, lambda: _load(connection, here, source, legible, recorded))
    if alteration:
        facts["reason"] = f"somebody had changed source.{source}, {alteration}: it is loaded again"
    return recorded | facts


def _patiently(here: Settings, source: str, work: Callable[[], dict]) -> dict:
    """Repeat the work while readers of the table hold it, up to PUBLISH_PATIENCE seconds."""
    deadline = time.monotonic() + here.publish_patience
    while True:
        try:
            return work()
        except (_Altered, FileNotFoundError):
            state.update(here, source, "preprocess", stamp=None)  # the next run writes it again
            raise SourceError(
                f"{source}: {preprocess.output_of(here, source)} is not what preprocess wrote",
                f"the old rows stay; ./run_pipeline.sh preprocess {source} writes it again",
            ) from None
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            if time.monotonic() > deadline:
                raise SourceError(
                    f"{source}: readers held source.{source} for {here.publish_patience:g} s",
                    "the old rows stay; the next night tries again",
                ) from None
            time.sleep(1)


def _describe(connection: psycopg.Connection, source: str, legible: Preprocessed) -> dict:
    """Give the table the comments of its declaration; the rows stay."""
    with connection.transaction():
        connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
        connection.execute(declaration.text_of(source).encode())
        ledger.amend(connection, "load", source, declared=loads.declaration_hash(source))
    return {"outcome": Outcome.UNCHANGED, "rows": legible.rows, "reason": "its comments are new"}


def _load(
    connection: psycopg.Connection,
    here: Settings,
    source: str,
    legible: Preprocessed,
    recorded: dict,
) -> dict:
    """Replace the rows in one transaction, and record the state of the table after it.

    recorded: facts that are recorded with those returned.
    """
    started = time.monotonic()
    with connection.transaction():
        connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
        connection.execute("set local statement_timeout = 0")
        added = source_table.declare(connection, source, legible.columns)
        table = sql.Identifier("source", source)
        connection.execute(sql.SQL("truncate {}").format(table))
        counted = marks.changes(connection, "source", source)
        rows = _copy(connection, table, here, source, legible)
        writer = marks.writer(connection, "source", source)
        if rows != legible.rows:
            raise SourceError(
                f"{source}: {rows:,} rows were copied where the file has {legible.rows:,}",
                "the old rows stay; this is a fault of the pipeline, please report it",
            )
        facts: dict = {"outcome": Outcome.NEW, "rows": rows, "bytes": legible.bytes}
        facts |= _about_columns(source, legible, added)
        facts["declared"] = loads.declaration_hash(source)
        facts["seconds"] = round(time.monotonic() - started, 3)
        fingerprint = _record(connection, here, source, recorded | facts)
    marks.flush(connection)
    if marks.changes(connection, "source", source) == counted + rows:  # nobody else changed it
        marks.record(connection, "source", source, Version(fingerprint, rows, writer=writer))
    return facts


def _record(connection: psycopg.Connection, here: Settings, source: str, facts: dict) -> str:
    """Record a load in the ledger; returns its fingerprint."""
    run_id = runs.current_id()
    fingerprint = loads.fingerprint_of(here, source) or ""
    if "after" in facts:  # the same file again
        again = f"{fingerprint} {facts['after']} {run_id}"
        fingerprint = hashlib.sha256(again.encode()).hexdigest()
    ledger.begin(connection, run_id, f"load {source}", state.now())
    facts |= {"started_at": state.now()}
    ledger.note(connection, run_id, "load", source, facts, fingerprint)
    return fingerprint


def _about_columns(source: str, legible: Preprocessed, added: list[str]) -> dict:
    """Return what an operator should know about the columns of the file."""
    if added:
        return {
            "reason": f"new columns: {', '.join(added)}",
            "remedy": f"describe them in load/{source}.sql",
        }
    declared, absent = declaration.read(source), legible.absent or []
    back = [name for name in legible.columns if declared.is_unpublished(name)]
    if back := [name for name in back if name not in absent]:
        return {
            "reason": f"published again: {', '.join(back)}",
            "remedy": f"their comments in load/{source}.sql say otherwise",
        }
    return {}


def _copy(
    connection: psycopg.Connection,
    table: sql.Identifier,
    here: Settings,
    source: str,
    legible: Preprocessed,
) -> int:
    """Stream the legible file into COPY; returns the number of rows copied.

    FREEZE is possible because the table was truncated in this transaction; it saves a second write
    of the rows later. Raises _Altered when the file is not the recorded one.
    """
    columns = sql.SQL(", ").join(map(sql.Identifier, legible.columns))
    command = sql.SQL(
        "copy {} ({}) from stdin (format csv, header match, freeze, encoding 'UTF8')"
    ).format(table, columns)
    digest = hashlib.sha256()
    with connection.cursor() as cursor, preprocess.output_of(here, source).open("rb") as file:
        try:
            with cursor.copy(command) as copy:
                while block := file.read(BLOCK):
                    digest.update(block)
                    copy.write(block)
        except psycopg.DataError:
            while block := file.read(BLOCK):
                digest.update(block)
            if digest.hexdigest() == legible.sha256:
                raise  # the file is the recorded one, and COPY says what is wrong with it
        if digest.hexdigest() != legible.sha256:
            raise _Altered
        return cursor.rowcount


if __name__ == "__main__":
    main()
