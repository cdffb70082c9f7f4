"""`./run_pipeline.sh doctor`: what would stop tonight's run, and what else needs attention."""

import importlib.util
import platform
import shutil
from datetime import UTC, datetime

import psycopg
from rich.console import Console
from rich.text import Text

from pipeline import database, embedded, errors, settings
from pipeline.cli import cron, last_night, preflight, publishers, tables
from pipeline.errors import PipelineError, SettingError
from pipeline.prod import connection as prod
from pipeline.prod import ownership
from pipeline.raw import stash
from pipeline.settings import ROOT, Settings
from pipeline.stages import lock

TOO_LITTLE_SPACE = 100 * 1024**2  # bytes free below which a night cannot succeed
LITTLE_SPACE = 2 * 1024**3  # bytes free below which a night may fail

STOPPED = (
    "the database server is stopped (db stop), so dev and prod were not checked; tonight's run "
    "starts it, or ./run_pipeline.sh db start now"
)


def check(offline: bool = False) -> int:
    """Print the settings in force and every check; returns 0, or 78 if a run would be stopped.

    offline: whether publishers are left out.
    """
    console = tables.console()
    here, sources = settings.load(), settings.sources()
    _show_facts(console, "Setting", _settings())
    problems = [str(error) for error in preflight.problems(here, sources)]
    problems += _space(here, TOO_LITTLE_SPACE) + _dbt()
    notes = [] if problems else _space(here, LITTLE_SPACE)
    notes += _programs() + stash.problems(here) + stash.gap(here, sources) + settings.unsafe_env()
    notes += [] if sources else [settings.NO_SOURCES]
    facts, notes_of_nights = _nights(here)
    _show_facts(console, "Night", facts)
    notes += notes_of_nights
    if embedded.is_stopped(here):
        notes.append(STOPPED)
    else:
        try:
            _show_facts(console, "Database", _database(here))
        except PipelineError as error:
            problems.append(str(error))
        problems += [] if problems else _prod(here)
    notes += [] if offline else publishers.silent(here, sources)
    for problem in problems:
        tables.show_text(console, f"stops tonight's run: {problem}", "  ", "red")
    for note in notes:
        tables.show_text(console, f"note: {note}", "  ", "yellow")
    console.print("tonight's run would be stopped" if problems else "nothing stops tonight's run")
    return errors.SETUP if problems else errors.OK


def _show_facts(console: Console, title: str, facts: dict[str, str]) -> None:
    """Print facts with their names; a long path stays whole, so that it can be copied."""
    width = max(map(len, facts))
    console.print(Text(f"\n{title}", style="bold"))
    for name, value in facts.items():
        tables.show_text(console, f"{name:{width}}  {value}", "    ")


def _settings() -> dict[str, str]:
    shown = {name: settings.masked(name, v) or "(empty)" for name, v in settings.values().items()}
    return shown | {"python": f"{platform.python_version()} on {platform.system()}"}


def _nights(here: Settings) -> tuple[dict[str, str], list[str]]:
    """When the newest night ended and how, and what cron does: facts to show, and notes."""
    facts, notes = cron.facts(here)
    running, nights = lock.holder(here), last_night.newest(here)
    if running:
        facts["now"] = f"a run is in progress ({running})"
    over = [night for night in nights if night.is_over or not running][:1]
    facts["last night"] = str(over[0]) if over else "none yet"
    for night in over:
        if not night.succeeded:
            notes.append(f"the last night {night}" + (f": {night.reason}" if night.reason else ""))
        if night.is_old(datetime.now(UTC)):
            notes.append(f"no night has ended since {night.last_at:%Y-%m-%d %H:%M %Z}")
    return facts, notes


def _database(here: Settings) -> dict[str, str]:
    """Where the database is; the embedded one is started, as tonight's run would do.

    Raises PipelineError if it cannot be reached or used.
    """
    with database.connect(here, lambda text: None, database.GLANCE) as connection:
        database.prepare(connection)
        info = connection.info
        facts = {
            "server": f"{info.host or info.hostaddr}, port {info.port}",
            "database": f"{info.dbname}, as {info.user}",
            "version": f"PostgreSQL {info.parameter_status('server_version')}",
        }
    if not here.database_url:
        described = embedded.describe(here)
        facts |= {f"embedded {key}": v for key, v in described.items() if key != "version"}
    return facts


def _prod(here: Settings) -> list[str]:
    """What would end stage publish with 78; that prod is down is for the night to report."""
    try:
        with (
            database.connect(here, lambda text: None, database.GLANCE) as dev,
            prod.connect(here, may_make=False, patience=database.GLANCE) as public,
        ):
            ownership.check(public, dev, here)
    except SettingError as error:
        return [str(error)]
    except (psycopg.Error, PipelineError):
        return []
    return []


def _space(here: Settings, wanted: int) -> list[str]:
    folder = here.data_dir if here.data_dir.exists() else ROOT
    free = shutil.disk_usage(folder).free
    message = f"only {free / 1024**3:.1f} GB free at {folder}: free some space"
    return [message] if free < wanted else []


def _programs() -> list[str]:
    return [] if shutil.which("git") else ["git is not installed: apt-get install git"]


def _dbt() -> list[str]:
    is_installed = importlib.util.find_spec("dbt") is not None
    message = "dbt is not installed: delete .venv; the next run installs it again"
    return [] if is_installed else [message]
