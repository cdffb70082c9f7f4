"""`./run_pipeline.sh drill [SOURCE …]`: a user's own sources against publishers that misbehave.

A normal night publishes the sources in a scratch folder with its own database, and records what
their publishers reply. Then each source meets each fault in turn. It may do one of two things:
recover, or keep its last good data and say why. Readers poll the tables all the while.
"""

import re
import sys
from contextlib import ExitStack, suppress

import psycopg
from rich.text import Text

from pipeline import embedded, errors, settings, signals
from pipeline.cli import tables
from pipeline.cli.console import RunConsole
from pipeline.drill import faults, nights, proxy
from pipeline.drill.nights import Drill, Result
from pipeline.drill.proxy import Server
from pipeline.drill.readers import Readers, published
from pipeline.drill.scratch import Scratch, scratch
from pipeline.drill.trials import TRIALS
from pipeline.errors import PipelineError, SetupError
from pipeline.signals import Stopped
from pipeline.text import escaped

LONGEST_REASON = 200  # characters in the table; the line of the fault has the whole reason


def run(names: list[str], *, keep: bool = False, offline: bool = False) -> int:
    """Drill sources by their names; returns the exit code.

    0: every fault had a permitted outcome and disturbed no reader; 1: at least one did not; 78 (or
    SetupError): a source could not be recorded. `keep` keeps the scratch folder.
    """
    if offline:
        raise SetupError("a drill reads its sources once from their publishers", "no --offline")
    if not names:
        raise SetupError(settings.NO_SOURCES)
    here = settings.load()
    with signals.as_exceptions(), ExitStack() as stack:
        try:
            own = stack.enter_context(scratch(here, keep))
            for folder in (own.here.logs, own.folder / "recorded"):
                folder.mkdir()
            console = RunConsole(own.here.logs, "drill")
            stack.callback(console.close)
            server = Server(here, own.folder / "recorded")
            routes = _routes(stack, server, own)
            console.say(f"drill in {own.folder}")
            return _drill(Drill(own, server, console, routes), names)
        except Stopped as stopped:
            what = f"stopped by {stopped.name}; your own data and database were not touched"
            print(what, flush=True)
            return stopped.exit_code


def _routes(stack: ExitStack, server: Server, own: Scratch) -> dict[str, str]:
    routes = {
        "server": stack.enter_context(proxy.serving(server)),
        "nobody": stack.enter_context(proxy.nobody()),
    }
    with suppress(FileNotFoundError):  # no openssl: that trial is left out
        tls = faults.self_signed(own.folder)
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
                    nights.attempt(drill, source, trial, connection, readers)
        finally:
            readers.stop()
    drill.console.close()
    return _report(drill)


def _report(drill: Drill) -> int:
    """Print the table and the violations; returns the exit code."""
    console = tables.console()
    if drill.results:
        optional = ("Reads", "Seconds", "Readers met", "Code")
        numbers = ("Code", "Seconds", "Reads", "Readers met")
        rows = [_row(result) for result in drill.results]
        tables.show(console, rows, numbers, optional=optional, wrapping=("Reason",))
    for result in drill.results:
        for violation in result.verdict.violations:
            line = f"violated: {result.source}, {result.trial}: {escaped(violation, 500)}"
            tables.show_text(console, line, "  ")
    for source, why in drill.left_out.items():
        tables.show_text(console, f"left out: {source}: {escaped(why, 500)}", "  ")
    wrong = sum(bool(result.verdict.violations) for result in drill.results)
    print(f"{len(drill.results)} trials of {len(drill.content)} sources, {wrong} with violations")
    sys.stdout.flush()
    return exit_code(wrong, len(drill.left_out))


def exit_code(wrong: int, left_out: int) -> int:
    """The exit code of a drill, from the numbers of violating trials and of sources left out."""
    if wrong:
        return errors.FAILED
    return errors.SETUP if left_out else errors.OK


def _row(result: Result) -> tables.Row:
    style = "red" if result.verdict.violations else "green"
    reason = re.sub(r"^https?://\S+ ", "", result.reason.removeprefix(f"{result.source}: "))
    return {
        "Source": result.source,
        "Fault": result.trial,
        "Outcome": Text(result.verdict.outcome, style=style),
        "Code": str(result.code),
        "Seconds": f"{result.seconds:.1f}",
        "Reads": f"{result.seen.reads:,}",
        "Readers met": str(len(result.seen.troubles) or "nothing"),
        "Reason": escaped(reason, LONGEST_REASON),
    }
