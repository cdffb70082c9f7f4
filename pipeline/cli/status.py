"""`./run_pipeline.sh status`: what readers have now, and how the newest night went."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import psycopg

from pipeline import database, embedded, errors, runs, settings
from pipeline.cli import last_night, report, tables
from pipeline.cli.last_night import Night
from pipeline.database import ledger
from pipeline.embedded import layout
from pipeline.errors import PipelineError
from pipeline.marts import data_status
from pipeline.prod import pin
from pipeline.settings import Settings
from pipeline.stages import lock
from pipeline.state import CHECKED, Outcome

NOTHING = "nothing has run yet: ./run_pipeline.sh"
STOPPED = (
    "the database server is stopped (db stop), so readers cannot connect: "
    "./run_pipeline.sh db start"
)
DOWN = "the database server was not running, so readers could not connect; it is running now"
_DOCTOR = "./run_pipeline.sh doctor says whether cron starts it"


def show() -> int:
    """Print what readers have now; returns 0 if all is well, otherwise 2.

    Changes nothing; an embedded server that is down is started, because readers need it, unless it
    was stopped on purpose.
    """
    here = settings.load()
    running = lock.holder(here)
    nights = last_night.newest(here)
    if not here.database_url and layout.find(here) is None:
        return _show_nothing(nights, running)
    if embedded.is_stopped(here):
        _print(STOPPED)
        _show_nights(nights, running)
        return errors.DEGRADED
    server_messages: list[str] = []  # some if it had to be started
    notes: list[str] = []
    try:
        with database.connect(here, server_messages.append, database.GLANCE) as connection:
            if not ledger.is_there(connection):
                return _show_nothing(nights, running)
            notes += [DOWN] if server_messages else []
            is_well = _show_tables(here, connection, running, notes)
            nights = _of_all_machines(connection, nights, running)
            unfinished = _unfinished(connection, nights, running)
            _show_last_run(connection, nights)
    except (psycopg.Error, PipelineError):
        _show_nights(nights, running)
        raise
    is_well &= _show_nights(nights, running, notes)
    for line in unfinished:
        _print(line)
    return errors.OK if is_well and not unfinished and not server_messages else errors.DEGRADED


def _print(text: str) -> None:
    tables.show_text(tables.console(), text)


def _show_tables(here: Settings, connection, running: str, notes: list[str]) -> bool:
    """Print sources, tables and what needs attention; returns whether nothing does."""
    sources = settings.sources()
    stages_of = ledger.sources(connection, sources)
    published = ledger.published(connection)
    newest = ledger.newest(connection, "transform").get(ledger.ALL_MODELS)
    build = (ledger.last_build(connection) or {}).get("facts", {})
    in_prod = _prod(here, connection)
    overdue = [row for row in data_status.read(connection) if row["is_overdue"]]
    removed = report.notes_of_removed(build, sources)
    is_empty = not sources and not published  # a project without a domain yet: no fault of a night
    if sources and not published:
        notes.append("nothing is published yet" + ("" if running else ": ./run_pipeline.sh"))
    if newest and newest["outcome"] == Outcome.FAILED and not is_empty:
        notes.append(f"transform: {newest['reason']} - {newest['remedy']}")
    notes += report.notes_of(build) + removed + report.notes_of_prod(in_prod) + _overdue(overdue)
    report.show(sys.stdout, stages_of, published, notes)
    if in_prod:
        _print(f"prod: {in_prod['outcome']}, generation {in_prod.get('generation')}")
    outcomes = {report.summary(stages).outcome for stages in stages_of.values()}
    is_built = bool(
        published and newest and newest["outcome"] not in (Outcome.FAILED, Outcome.HELD)
    )
    return (
        outcomes <= set(CHECKED)
        and (is_built or is_empty)
        and (not in_prod or in_prod["outcome"] in (Outcome.PUBLISHED, Outcome.UNCHANGED))
        and not overdue
        and not removed
    )


def _prod(here: Settings, connection: psycopg.Connection) -> dict:
    """What stage publish did last; a prod that was pinned since is held."""
    step = ledger.newest(connection, "publish").get(ledger.PROD)
    if not step:
        return {}
    in_prod = step["facts"] | step
    pinned = pin.read(here).pinned
    if pinned and in_prod["outcome"] != Outcome.FAILED:
        in_prod |= pin.held(pinned) | {"generation": pinned.generation}
    return in_prod


def _overdue(rows: list[dict]) -> list[str]:
    """One note on the sources and tables that no night has checked in time."""
    late = [row for row in rows if row["expected_next_at"]]
    if not late:
        return []
    since = min(row["expected_next_at"] for row in late)
    names = ", ".join(f"{row['kind']} {row['name']}" for row in late)
    return [f"overdue since {since:%Y-%m-%d %H:%M %Z}: {names}"]


def _in_progress(nights: list[Night], running: str) -> list[Night]:
    """The newest night, if it is in progress."""
    return [n for n in nights[:1] if not n.is_over and runs.is_of_process(n.run, running)]


def _of_all_machines(
    connection: psycopg.Connection, nights: list[Night], running: str
) -> list[Night]:
    """The newest nights, including one that another machine ended on this database later."""
    in_progress = _in_progress(nights, running)
    over = nights[len(in_progress) :]
    later = ledger.night_since(connection, over[0].began_at or over[0].last_at if over else None)
    if not later or any(night.run == later["run_id"] for night in nights):
        return nights
    columns = ("run_id", "started_at", "ended_at", "exit_code", "note")
    return [*in_progress, Night(*(later[column] for column in columns)), *over]


def _unfinished(connection: psycopg.Connection, nights: list[Night], running: str) -> list[str]:
    """A line on each run of stages that did not end, except `nights`."""
    unfinished = [
        run
        for run in ledger.unfinished(connection)
        if not runs.is_of_process(run["run_id"], running)
    ]
    if not running and database.is_run_in_progress(connection):  # on another machine
        unfinished = unfinished[1:]
    shown = {night.run for night in nights}
    return [
        f"unfinished run: {run['words']}, started {run['started_at']:%Y-%m-%d %H:%M %Z}, was "
        "killed or lost the database; the next run does the rest"
        for run in unfinished
        if run["run_id"] not in shown
    ]


def _show_last_run(connection: psycopg.Connection, nights: list[Night]) -> None:
    """Print how the newest run of any kind ended, if it ended after `nights`."""
    last = ledger.last_run(connection)
    is_shown = last and any(night.run == last["run_id"] for night in nights)
    newest = max((night.last_at for night in nights if night.last_at), default=None)
    if last and not is_shown and (newest is None or last["ended_at"] > newest):
        code, at = last["exit_code"], f"{last['ended_at']:%Y-%m-%d %H:%M %Z}"
        _print(f"last run: {last['words']}, ended {at} with code {code} ({errors.meaning(code)})")


def _show_nights(nights: list[Night], running: str, notes: Sequence[str] = ()) -> bool:
    """Print what runs now and how the newest night went; returns whether it went well.

    notes: what was printed before; the reason of a night is printed once.
    """
    in_progress = _in_progress(nights, running)
    if running:
        since = in_progress[0].began_at if in_progress else None
        began = f", started {since:%Y-%m-%d %H:%M %Z}" if since else ""
        _print(f"a run is in progress ({running}{began}); until it ends readers have the above")
    over = nights[len(in_progress) :]
    if not over:
        return True
    night = over[0]
    what = night.reason.partition(" - ")[0]
    is_printed = not what or any(what in note for note in notes)
    _print(f"last night: {night}" + ("" if is_printed else f": {night.reason}"))
    is_old = night.is_old(datetime.now(UTC))
    if is_old:
        _print(f"no night has ended since {night.last_at:%Y-%m-%d %H:%M %Z}: {_DOCTOR}")
    return night.succeeded and not is_old


def _show_nothing(nights: list[Night], running: str) -> int:
    """Print that there is nothing in the database, and why.

    A night that succeeded explains nothing: its database is another one.
    """
    failed = [night for night in nights if not night.succeeded]
    if running or failed:
        _print("nothing is published yet" + ("" if running else ": ./run_pipeline.sh"))
    else:
        _print(NOTHING)
    _show_nights(failed, running)
    return errors.DEGRADED
