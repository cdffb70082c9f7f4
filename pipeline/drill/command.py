"""`./run_pipeline.sh drill [SOURCE …]`: a user's own sources against a world that misbehaves.

An honest night brings the sources in, in a scratch folder with a database of its own, and records
what their publishers answered. Then each source meets each fault in turn, and may do one of two
things: recover, or keep its last good data and say why. Readers poll the tables all the while.
"""

import re
import sys
from contextlib import ExitStack, suppress

import psycopg
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import embedded, errors, settings, signals
from pipeline.cli.console import Screen
from pipeline.drill import faults, nights, proxy
from pipeline.drill.nights import Drill, Row
from pipeline.drill.proxy import Server
from pipeline.drill.readers import Readers, published
from pipeline.drill.scratch import Scratch, scratch
from pipeline.drill.trials import TRIALS
from pipeline.errors import PipelineError, SetupError
from pipeline.signals import Stopped
from pipeline.text import escaped

REASON = 48  # characters of a reason in the table; the line of the fault has all of it


def run(names: list[str], *, keep: bool = False, offline: bool = False) -> int:
    """Drill sources by their names; returns the exit code.

    0: every fault had a permitted outcome and readers met nothing; 1: not so, and it is named;
    78 (or SetupError): a source could not be recorded. `keep` leaves the scratch folder behind.
    """
    if offline:
        raise SetupError("a drill reads its sources once from their publishers", "no --offline")
    if not names:
        raise SetupError(settings.NO_SOURCES)
    here = settings.load()
    with signals.as_exceptions(), ExitStack() as stack:
        try:
            place = stack.enter_context(scratch(here, keep))
            for folder in (place.here.logs, place.folder / "recorded"):
                folder.mkdir()
            screen = Screen(place.here.logs, "drill")
            stack.callback(screen.close)
            server = Server(here, place.folder / "recorded")
            routes = _routes(stack, server, place)
            screen.say(f"drill in {place.folder}")
            return _drill(Drill(place, server, screen, routes), names)
        except Stopped as stopped:
            what = f"stopped by {stopped.name}; your own data and database were not touched"
            print(what, flush=True)
            return stopped.exit_code


def _routes(stack: ExitStack, server: Server, place: Scratch) -> dict[str, str]:
    routes = {
        "server": stack.enter_context(proxy.serving(server)),
        "nobody": stack.enter_context(proxy.nobody()),
    }
    with suppress(FileNotFoundError):  # no openssl: that trial is left out
        tls = faults.self_signed(place.folder)
        routes["tls"] = stack.enter_context(proxy.serving(server, tls))
    return routes


def _drill(drill: Drill, names: list[str]) -> int:
    nights.record(drill, names)
    drill.scratch.keep()
    if (url := embedded.url(drill.scratch.here)) is None:
        raise PipelineError("the drill's own database stopped", "run the drill again")
    with psycopg.connect(url, autocommit=True) as connection:
        drill.tables = published(connection)
        readers = Readers(url)
        readers.start()
        try:
            for source in drill.content:
                for trial in TRIALS:
                    nights.meet(drill, source, trial, connection, readers)
        finally:
            readers.stop()
    drill.screen.close()
    return _tell(drill)


def _tell(drill: Drill) -> int:
    """Print the table and what was violated; returns the exit code."""
    console = Console()
    table = _table(drill.rows)
    wide = console.options.update_width(1000)
    # Nothing is cut: a terminal that is too narrow breaks the lines.
    console.width = max(console.width, console.measure(table, options=wide).maximum)
    console.print(table)
    for row in drill.rows:
        for violation in row.verdict.violations:
            print(f"violated: {row.source}, {row.trial}: {escaped(violation, 500)}")
    for source, why in drill.unread.items():
        print(f"left out: {source}: {escaped(why, 500)}")
    wrong = sum(bool(row.verdict.violations) for row in drill.rows)
    print(f"{len(drill.rows)} faults met by {len(drill.content)} sources, {wrong} of them badly")
    sys.stdout.flush()
    return exit_code(wrong, len(drill.unread))


def exit_code(wrong: int, left_out: int) -> int:
    """The exit code of a drill in which so many faults ended badly, so many sources stayed out."""
    if wrong:
        return errors.FAILED
    return errors.SETUP if left_out else errors.OK


def _table(rows: list[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for name in ("Source", "Fault", "Pipeline"):
        table.add_column(name, no_wrap=True)
    for name in ("Code", "Seconds", "Reads", "Readers met"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Reason", no_wrap=True)
    for row in rows:
        did = row.verdict.did
        reason = row.reason.removeprefix(f"{row.source}: ")
        table.add_row(
            row.source,
            row.trial,
            Text(did, style="red" if row.verdict.violations else "green"),
            str(row.code),
            f"{row.seconds:.1f}",
            f"{row.seen.reads:,}",
            str(len(row.seen.troubles) or "nothing"),
            Text(escaped(re.sub(r"^https?://\S+ ", "", reason), REASON)),
        )
    return table
