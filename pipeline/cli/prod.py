"""`./run_pipeline.sh publish --list, --rollback, --resume, --take-over, --dry-run, --audit`."""

import argparse
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

import psycopg
from rich import box
from rich.console import Console
from rich.table import Table

from pipeline import database, errors, prod, settings, state
from pipeline.database import catalog
from pipeline.database.queries import scalar
from pipeline.errors import PipelineError, SourceError
from pipeline.marts import data_status
from pipeline.prod import audit, dump, ownership, permissions, pin
from pipeline.prod.dump import Dump
from pipeline.prod.pin import Pin
from pipeline.settings import Settings
from pipeline.stages import lock, publish, script

_PINNED = "rolled back by hand to generation {} on {}"


def chosen(options: argparse.Namespace) -> Callable[[], int] | None:
    """What was asked for beside the stage itself."""
    here = settings.load()
    if options.rollback is not None:
        return lambda: rollback(here, options.rollback, options.force)
    commands = {"list": show_dumps, "resume": resume, "take_over": take_over}
    commands |= {"dry_run": dry_run, "audit": show_audit}
    for name, command in commands.items():
        if getattr(options, name):
            return lambda: command(here)
    return None


def show_dumps(here: Settings) -> int:
    """Print the dumps that are kept; returns the exit code."""
    known = pin.read(here)
    table = _table("Generation", "Made at", "Tables", "Rows", "Bytes", "")
    for kept in dump.kept(here):
        marks = ["in prod"] if kept.generation == known.generation else []
        marks += ["pinned"] if marks and known.pinned else []
        table.add_row(
            str(kept.generation),
            kept.about["made_at"],
            str(len(kept.tables)),
            f"{sum(facts['rows'] for facts in kept.tables.values()):,}",
            f"{kept.path.stat().st_size:,}",
            ", ".join(marks),
        )
    illegible = dump.illegible(here)
    for path in illegible:
        print(f"{path}: what is in it cannot be read in the .json beside it", file=sys.stderr)
    if not table.row_count:
        print("no dump is kept yet: ./run_pipeline.sh publish makes one")
        return errors.DEGRADED
    Console(soft_wrap=True, width=120).print(table)
    return errors.DEGRADED if illegible else errors.OK


def rollback(here: Settings, generation: int, force: bool = False) -> int:
    """Put a kept dump back into prod and pin prod to it; 0 stands for the one before prod's.

    Raises SourceError when there is no such dump, or prod does not take it: it stays as it was.
    """
    with lock.held_by_this_run(here), prod.connect(here) as connection:
        chosen = _dump_to_go_back_to(here, connection, generation)
        rights = permissions.prepare(connection, here, _claimed(here, connection))
        since = state.now()
        reason = _PINNED.format(chosen.generation, since)
        with _pinning(here, Pin(chosen.generation, since)):
            publish.put(here, connection, chosen, rights, _held(reason), force)
    print(f"prod is at generation {chosen.generation} and pinned to it")
    print("./run_pipeline.sh publish --resume lets it follow dev again")
    return errors.OK


def _claimed(here: Settings, connection: psycopg.Connection) -> str:
    """Whose copy prod is: dev's, which may be down while bad data are public."""
    try:
        with database.connect(here, lambda text: None, database.GLANCE) as dev:
            database.prepare(dev)
            return ownership.claim(connection, dev, here)
    except errors.SetupError:
        raise
    except (psycopg.Error, PipelineError):
        return ownership.recognise(connection, pin.read(here).dev_id or "")


@contextmanager
def _pinning(here: Settings, new: Pin) -> Generator[None]:
    """Pin prod, and take that back when what is done in the context fails.

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


def _dump_to_go_back_to(here: Settings, connection, generation: int) -> Dump:
    kept = dump.kept(here)
    there = prod.generations(connection)
    at = next((d.generation for d in kept if d.generations == there), None)
    if generation:
        found = [d for d in kept if d.generation == generation]
    else:
        now = max(there.values(), default=0) if at is None else at
        found = [d for d in kept if d.generation < now]
    if not found:
        what = f"no dump of generation {generation}" if generation else "no older dump"
        raise SourceError(f"{what} is kept; prod stays as it is", "publish --list shows them")
    return found[0]


def _held(reason: str) -> Callable[[psycopg.Connection], None]:
    """Tells readers, in the transaction of the rollback, that the tables are old on purpose."""

    def tell(connection: psycopg.Connection) -> None:
        connection.execute(
            f"""update {catalog.PUBLISHED}.{data_status.FACTS}
            set state = 'held', reason = %s
            where kind = 'table' and published_at is not null""",  # noqa: S608 - our own names
            [reason],
        )

    return tell


def resume(here: Settings) -> int:
    """Let prod follow dev again, at once; returns the exit code."""
    if not pin.read(here).pinned:
        print("prod is not pinned")
        return errors.OK
    with lock.held_by_this_run(here):
        pin.update(here, pinned=None)
        return _said(publish.run(here))


def take_over(here: Settings) -> int:
    """Let prod be the copy of this dev database from now on, at once; returns the exit code.

    Raises SettingError when it belongs to others than a dev database of this pipeline.
    """
    with lock.held_by_this_run(here):
        return _said(publish.run(here, take_over=True))


def _said(facts: dict) -> int:
    print(script.line("prod", facts))
    return errors.DEGRADED if facts["outcome"] in state.DEGRADED_OUTCOMES else errors.OK


def dry_run(here: Settings) -> int:
    """Print what publish would change: tables, rows, columns, bytes. Nothing is changed."""
    with (
        database.connect(here, lambda text: None) as dev,
        prod.connect(here, may_make=False) as connection,
    ):
        wanted = dump.published(dev)
        there = prod.generations(connection)
        table = _table("Table", "Rows in prod", "Rows to come", "Bytes to come", "Change")
        for name in sorted(wanted.keys() | there.keys()):
            old, new = _size(connection, name), _size(dev, name) if name in wanted else None
            change = _change(dev, connection, name, wanted, there)
            rows = [f"{size[0]:,}" if size else "-" for size in (old, new)]
            table.add_row(name, *rows, f"{new[1]:,}" if new else "-", change)
    Console(soft_wrap=True, width=140).print(table)
    pinned = pin.read(here).pinned
    if pinned:
        print(f"prod is pinned to generation {pinned.generation}: publish would change nothing")
    elif dump.generations(wanted) == there:
        print("prod has it all: only data_status would be brought up to date")
    return errors.OK


def _change(dev, connection, name: str, wanted: dict, there: dict) -> str:
    if name not in wanted:
        return "goes"
    if name not in there:
        return "comes"
    now = catalog.columns(connection, catalog.PUBLISHED, name)
    columns = catalog.column_changes(now, wanted[name]["columns"])
    if wanted[name]["generation"] == there[name]:
        return columns or "none"
    return f"generation {there[name]} to {wanted[name]['generation']}; {columns}".rstrip("; ")


def _size(connection: psycopg.Connection, name: str) -> tuple[int, int] | None:
    """Rows and bytes (indexes included) of a published table; None where it is not there."""
    qualified = f"{catalog.PUBLISHED}.{name}"
    found = scalar(connection, "select pg_total_relation_size(to_regclass(%s))", [qualified])
    return None if found is None else (dump.content(connection, name)["rows"], found)


def show_audit(here: Settings) -> int:
    """Try what the public may do in prod; prints every check, returns 2 when one fails."""
    with prod.connect(here, may_make=False) as connection:
        published = dump.in_prod(here, prod.generations(connection))
        return audit.show(audit.run(here, connection, published))


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in names:
        words = {"no_wrap": True}
        numbers = name.startswith(("Rows", "Bytes", "Tables"))
        table.add_column(name, justify="right" if numbers else "left", **words)
    return table
