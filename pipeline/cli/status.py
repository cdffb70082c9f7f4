"""`./run_pipeline.sh status`: what readers have now, and how the newest night went."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import psycopg

from pipeline import database, embedded, errors, settings
from pipeline.cli import last_night, report
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
    """Print what readers have now; returns 0 when all is well, else 2.

    Changes nothing; an embedded server that is down is started, since readers need it, unless it
    was stopped on purpose.
    """
    here = settings.load()
    running = lock.holder(here)
    known = last_night.newest(here)
    if not here.database_url and layout.find(here) is None:
        return _say_nothing_ran(known, running)
    if embedded.is_stopped(here):
        print(STOPPED)
        _show_nights(known, running)
        return errors.DEGRADED
    started: list[str] = []
    notes: list[str] = []
    try:
        with database.connect(here, started.append, database.GLANCE) as connection:
            if not ledger.is_there(connection):
                return _say_nothing_ran(known, running)
            notes += [DOWN] if started else []
            is_well = _show_tables(here, connection, running, notes)
            known = _of_all_machines(connection, known, running)
            lost = _killed(connection, known, running)
            _show_last_run(connection, known)
    except (psycopg.Error, PipelineError):
        _show_nights(known, running)
        raise
    is_well &= _show_nights(known, running, notes)
    for line in lost:
        print(line)
    return errors.OK if is_well and not lost and not started else errors.DEGRADED


def _show_tables(here: Settings, connection, running: str, notes: list[str]) -> bool:
    """Print sources, tables and what needs attention; returns whether nothing does."""
    sources = settings.sources()
    stages_of = ledger.sources(connection, sources)
    tables = ledger.published(connection)
    newest = ledger.newest(connection, "transform").get(ledger.ALL_MODELS)
    built = ledger.last_build(connection)
    public = _prod(here, connection)
    overdue = [row for row in data_status.read(connection) if row["is_overdue"]]
    is_empty = not sources and not tables  # a project without a domain yet: no fault of a night
    if sources and not tables:
        notes.append("nothing is published yet" + ("" if running else ": ./run_pipeline.sh"))
    if newest and newest["outcome"] == Outcome.FAILED and not is_empty:
        notes.append(f"transform: {newest['reason']} - {newest['remedy']}")
    notes += report.notes_of(built["facts"]) if built else []
    removed = report.notes_of_removed(built["facts"], sources) if built else []
    notes += removed
    notes += report.notes_of_prod(public)
    notes += _overdue(overdue)
    report.show(sys.stdout, stages_of, tables, notes)
    if public:
        print(f"prod: {public['outcome']}, generation {public.get('generation')}")
    is_well = all(report.outcome_of(s)[0] in CHECKED for s in stages_of.values())
    not_well = (Outcome.FAILED, Outcome.HELD)
    is_built = bool(tables and newest and newest["outcome"] not in not_well)
    well = (Outcome.PUBLISHED, Outcome.UNCHANGED)
    is_well = is_well and (is_built or is_empty)
    is_well = is_well and (not public or public["outcome"] in well)
    return is_well and not overdue and not removed


def _prod(here: Settings, connection: psycopg.Connection) -> dict:
    """What stage publish did last; a prod that was pinned since is held."""
    step = ledger.newest(connection, "publish").get(ledger.PROD)
    if not step:
        return {}
    public = step["facts"] | step
    pinned = pin.read(here).pinned
    if pinned and public["outcome"] != Outcome.FAILED:
        public |= pin.held(pinned) | {"generation": pinned.generation}
    return public


def _overdue(rows: list[dict]) -> list[str]:
    """One line on the sources and tables that no night has checked in time."""
    late = [row for row in rows if row["expected_next_at"]]
    if not late:
        return []
    since = min(row["expected_next_at"] for row in late)
    names = ", ".join(f"{row['kind']} {row['name']}" for row in late)
    return [f"overdue since {since:%Y-%m-%d %H:%M %Z}: {names}"]


def _is_of(run: str, running: str) -> bool:
    """Whether a run, whose id ends on its process, is the one that holds the lock."""
    return bool(running) and run.rpartition("-")[2] == running.rpartition(" ")[2]


def _in_progress(known: list[Night], running: str) -> list[Night]:
    """The newest night, if it is in progress."""
    return [night for night in known[:1] if not night.is_over and _is_of(night.run, running)]


def _of_all_machines(
    connection: psycopg.Connection, known: list[Night], running: str
) -> list[Night]:
    """The newest nights; one that another machine ended on this database later is among them."""
    going = _in_progress(known, running)
    over = known[len(going) :]
    found = ledger.night_since(connection, over[0].began_at or over[0].at if over else None)
    if not found or any(night.run == found["run_id"] for night in known):
        return known
    names = ("run_id", "started_at", "ended_at", "exit_code", "note")
    return [*going, Night(*(found[name] for name in names)), *over]


def _killed(connection: psycopg.Connection, known: list[Night], running: str) -> list[str]:
    """A line on each run of stages that did not end, other than the nights that are known."""
    left = [run for run in ledger.unfinished(connection) if not _is_of(run["run_id"], running)]
    if not running and database.is_run_in_progress(connection):  # on another machine
        left = left[1:]
    noted = {night.run for night in known}
    return [
        f"unfinished run: {run['words']}, begun {run['started_at']:%Y-%m-%d %H:%M %Z}, was killed "
        "or lost the database; the next run does the rest"
        for run in left
        if run["run_id"] not in noted
    ]


def _show_last_run(connection: psycopg.Connection, known: list[Night]) -> None:
    """Print how the newest run of any kind ended, if it ended after the nights that are known."""
    last = ledger.last_run(connection)
    is_known = last and any(night.run == last["run_id"] for night in known)
    newest = max((night.at for night in known if night.at), default=None)
    if last and not is_known and (newest is None or last["ended_at"] > newest):
        code, at = last["exit_code"], f"{last['ended_at']:%Y-%m-%d %H:%M %Z}"
        print(f"last run: {last['words']}, ended {at} with code {code} ({errors.meaning(code)})")


def _show_nights(known: list[Night], running: str, notes: Sequence[str] = ()) -> bool:
    """Print what runs now and how the newest night went; returns whether that was well.

    notes: what was said before; the reason of a night is said once.
    """
    going = _in_progress(known, running)
    if running:
        since = going[0].began_at if going else None
        began = f", begun {since:%Y-%m-%d %H:%M %Z}" if since else ""
        print(f"a run is in progress ({running}{began}); until it ends readers have the above")
    known = known[len(going) :]
    if not known:
        return True
    what = known[0].reason.partition(" - ")[0]
    is_said = not what or any(what in note for note in notes)
    print(
        f"last night: {last_night.in_words(known[0])}" + ("" if is_said else f": {known[0].reason}")
    )
    is_old = known[0].is_old(datetime.now(UTC))
    if is_old:
        print(f"no night has ended since {known[0].at:%Y-%m-%d %H:%M %Z}: {_DOCTOR}")
    return known[0].is_well and not is_old


def _say_nothing_ran(known: list[Night], running: str) -> int:
    """Say that there is nothing in the database, and why; of a night that was well it knows not."""
    known = [night for night in known if not night.is_well]
    if running or known:
        print("nothing is published yet" + ("" if running else ": ./run_pipeline.sh"))
    else:
        print(NOTHING)
    _show_nights(known, running)
    return errors.DEGRADED
