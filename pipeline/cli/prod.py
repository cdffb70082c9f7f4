"""`./run_pipeline.sh publish --list, --rollback, --resume, --take-over, --dry-run, --audit`."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager

import psycopg
from rich.text import Text

from pipeline import database, errors, settings, state
from pipeline.cli import tables
from pipeline.database import catalog
from pipeline.database.queries import scalar
from pipeline.errors import PipelineError, SourceError
from pipeline.marts import data_status
from pipeline.prod import audit, dump, ownership, permissions, pin
from pipeline.prod import connection as prod
from pipeline.prod.audit import Check, Result
from pipeline.prod.dump import Dump
from pipeline.prod.pin import Pin
from pipeline.settings import Settings
from pipeline.stages import lock, publish, script
from pipeline.text import escaped

_PINNED = "rolled back by hand to generation {} on {}"
_COLOURS = {Result.OK: "green", Result.FAIL: "red", Result.NOT_CHECKED: "yellow"}


def run(options: argparse.Namespace) -> int | None:
    """Do what an option of stage publish asks for; returns the exit code, None without one."""
    here = settings.load()
    if options.rollback is not None:
        return rollback(here, options.rollback, options.force)
    commands = {"list": show_dumps, "resume": resume, "take_over": take_over}
    commands |= {"dry_run": dry_run, "audit": show_audit}
    for name, command in commands.items():
        if getattr(options, name):
            return command(here)
    return None


def show_dumps(here: Settings) -> int:
    """Print the dumps that are kept; returns the exit code."""
    in_prod = pin.read(here)
    mark = "in prod, pinned" if in_prod.pinned else "in prod"
    rows: list[tables.Row] = [
        {
            "Generation": str(kept.generation),
            "Made at": kept.about.made_at,
            "Tables": str(len(kept.tables)),
            "Rows": f"{sum(table.rows for table in kept.tables.values()):,}",
            "Bytes": f"{kept.path.stat().st_size:,}",
            "": mark if kept.generation == in_prod.generation else "",
        }
        for kept in dump.kept(here)
    ]
    illegible = dump.illegible(here)
    for path in illegible:
        print(f"{path}: its contents cannot be read from the .json beside it", file=sys.stderr)
    if not rows:
        print("no dump is kept yet: ./run_pipeline.sh publish makes one")
        return errors.DEGRADED
    numbers = ("Generation", "Tables", "Rows", "Bytes")
    tables.show(tables.console(), rows, numbers=numbers)
    return errors.DEGRADED if illegible else errors.OK


def rollback(here: Settings, generation: int, force: bool = False) -> int:
    """Restore a dump in prod and pin prod to it; 0 stands for the one before prod's.

    Raises SourceError if there is no such dump, or prod rejects it: prod stays as it was.
    """
    with lock.held_by_this_run(here), prod.connect(here) as connection:
        chosen = _dump_to_restore(here, connection, generation)
        rights = permissions.prepare(connection, here, _claim(here, connection))
        since = state.now()
        reason = _PINNED.format(chosen.generation, since)
        with _pinned(here, Pin(chosen.generation, since)):
            publish.put(here, connection, chosen, rights, _hold_tables(reason), force)
    print(f"prod is at generation {chosen.generation} and pinned to it")
    print("./run_pipeline.sh publish --resume makes it follow dev again")
    return errors.OK


def _claim(here: Settings, connection: psycopg.Connection) -> str:
    """Make sure that prod is ours; dev may be down while bad data are public."""
    try:
        with database.connect(here, lambda text: None, database.GLANCE) as dev:
            database.prepare(dev)
            return ownership.claim(connection, dev, here)
    except errors.SetupError:
        raise
    except (psycopg.Error, PipelineError):
        return ownership.recognise(connection, pin.read(here).dev_id or "")


@contextmanager
def _pinned(here: Settings, new: Pin) -> Generator[None]:
    """Pin prod, and restore the previous pin if the context fails.

    The pin comes first: tonight must not undo a rollback that was killed after its commit.
    """
    before = pin.read(here).pinned
    pin.update(here, pinned=new)
    try:
        yield
    except BaseException as error:
        pin.update(here, pinned=before)
        if isinstance(error, psycopg.Error):
            raise database.explain(error, "prod stays as it was") from None
        raise


def _dump_to_restore(here: Settings, connection, generation: int) -> Dump:
    kept = dump.kept(here)
    in_prod = prod.generations(connection)
    if generation:
        candidates = [d for d in kept if d.generation == generation]
    else:
        newest = max(in_prod.values(), default=0)
        current = next((d.generation for d in kept if d.generations == in_prod), newest)
        candidates = [d for d in kept if d.generation < current]
    if not candidates:
        what = f"no dump of generation {generation}" if generation else "no older dump"
        raise SourceError(f"{what} is kept; prod stays as it is", "publish --list shows them")
    return candidates[0]


def _hold_tables(reason: str) -> Callable[[psycopg.Connection], None]:
    """A function that marks the tables as held on purpose, in the transaction of the rollback."""

    def hold(connection: psycopg.Connection) -> None:
        connection.execute(
            f"""update {catalog.PUBLISHED}.{data_status.FACTS}
            set state = 'held', reason = %s
            where kind = 'table' and published_at is not null""",  # noqa: S608 - our own names
            [reason],
        )

    return hold


def resume(here: Settings) -> int:
    """Make prod follow dev again, at once; returns the exit code."""
    if not pin.read(here).pinned:
        print("prod is not pinned")
        return errors.OK
    with lock.held_by_this_run(here):
        pin.update(here, pinned=None)
        return _show_outcome(publish.run(here))


def take_over(here: Settings) -> int:
    """Make prod the copy of this dev database from now on, at once; returns the exit code.

    Raises SettingError if it belongs to others than a dev database of this pipeline.
    """
    with lock.held_by_this_run(here):
        return _show_outcome(publish.run(here, take_over=True))


def _show_outcome(facts: dict) -> int:
    tables.show_text(tables.console(), script.line("prod", facts))
    return errors.DEGRADED if facts["outcome"] in state.DEGRADED_OUTCOMES else errors.OK


def dry_run(here: Settings) -> int:
    """Print what publish would change: tables, rows, columns, bytes. Nothing is changed."""
    with (
        database.connect(here, lambda text: None) as dev,
        prod.connect(here, may_make=False) as connection,
    ):
        wanted = dump.published(dev)
        in_prod = prod.generations(connection)
        rows: list[tables.Row] = []
        for name in sorted(wanted.keys() | in_prod.keys()):
            old, new = _size(connection, name), _size(dev, name) if name in wanted else None
            row: tables.Row = {
                "Table": name,
                "Rows in prod": f"{old[0]:,}" if old else "-",
                "Rows to come": f"{new[0]:,}" if new else "-",
                "Bytes to come": f"{new[1]:,}" if new else "-",
                "Change": _change(connection, name, wanted, in_prod),
            }
            rows.append(row)
    numbers = ("Rows in prod", "Rows to come", "Bytes to come")
    if rows:
        optional = ("Bytes to come", "Rows in prod")
        tables.show(tables.console(), rows, numbers, optional=optional, wrapping=("Change",))
    pinned = pin.read(here).pinned
    if pinned:
        print(f"prod is pinned to generation {pinned.generation}: publish would change nothing")
    elif dump.generations(wanted) == in_prod:
        print("prod is up to date: only data_status would be refreshed")
    return errors.OK


def _change(connection: psycopg.Connection, name: str, wanted: dict, in_prod: dict) -> str:
    if name not in wanted:
        return "is dropped"
    if name not in in_prod:
        return "is added"
    now = catalog.columns(connection, catalog.PUBLISHED, name)
    columns = catalog.column_changes(now, wanted[name].columns)
    if wanted[name].generation == in_prod[name]:
        return columns or "none"
    return f"generation {in_prod[name]} to {wanted[name].generation}; {columns}".rstrip("; ")


def _size(connection: psycopg.Connection, name: str) -> tuple[int, int] | None:
    """Rows and bytes (indexes included) of a published table; None if it does not exist."""
    qualified = f"{catalog.PUBLISHED}.{name}"
    size = scalar(connection, "select pg_total_relation_size(to_regclass(%s))", [qualified])
    return None if size is None else (dump.content(connection, name).rows, size)


def show_audit(here: Settings) -> int:
    """Try what the public may do in prod; prints every check, returns 2 if one fails."""
    with prod.connect(here, may_make=False) as connection:
        published = dump.contents_in_prod(here, prod.generations(connection))
        return show_checks(audit.run(here, connection, published))


def show_checks(checks: list[Check]) -> int:
    """Print the checks of an audit; returns 0 if none fails, otherwise 2."""
    console = tables.console()
    rows: list[tables.Row] = [
        {
            "No": str(check.number),
            "Result": Text(check.result, style=_COLOURS[check.result]),
            "Expected": check.what,
            "Found": escaped(check.detail, 500),
        }
        for check in checks
    ]
    tables.show(console, rows, numbers=("No",), wrapping=("Expected", "Found"))
    results = Counter(check.result for check in checks)
    unknown = results[Result.NOT_CHECKED]
    summary = f"{len(checks)} checks, {results[Result.FAIL]} failed"
    print(summary + (f", {unknown} not checked" if unknown else ""))
    return errors.DEGRADED if results[Result.FAIL] else errors.OK
