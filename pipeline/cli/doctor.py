"""`./run_pipeline.sh doctor`: what would stop tonight's run, and what else is not well."""

import importlib.util
import platform
import shutil
from datetime import UTC, datetime

import psycopg
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import database, embedded, errors, prod, settings
from pipeline.cli import cron, last_night, preflight, publishers
from pipeline.errors import PipelineError, SettingError
from pipeline.prod import ownership
from pipeline.raw import stash
from pipeline.settings import ROOT, Settings
from pipeline.stages import lock

NO_ROOM = 100 * 1024**2  # bytes free below which a night cannot succeed
LITTLE_ROOM = 2 * 1024**3  # bytes free below which a night may fail

STOPPED = (
    "the database server is stopped (db stop), so dev and prod were not checked; tonight's run "
    "starts it, or ./run_pipeline.sh db start now"
)


def check(offline: bool = False) -> int:
    """Print the settings in force and every check; returns 0, or 78 when a run would be stopped.

    offline: whether publishers are left out.
    """
    console = Console(soft_wrap=True, width=1000)  # a path must stay whole, to be copied
    here, sources = settings.load(), settings.sources()
    _print_facts(console, "Setting", _settings())
    stops = [str(error) for error in preflight.problems(here, sources)]
    stops += _room(here, NO_ROOM) + _dbt()
    remarks = [] if stops else _room(here, LITTLE_ROOM)
    remarks += _programs(here) + stash.problems(here) + stash.gap(here, sources)
    remarks += settings.unsafe_env()
    remarks += [] if sources else [settings.NO_SOURCES]
    facts, notes = _nights(here)
    _print_facts(console, "Night", facts)
    remarks += notes
    if embedded.is_stopped(here):
        remarks.append(STOPPED)
    else:
        try:
            _print_facts(console, "Database", _database(here))
        except PipelineError as error:
            stops.append(str(error))
        stops += [] if stops else _prod(here)
    remarks += [] if offline else publishers.silent(here, sources)
    for problem in stops:
        console.print(f"stops tonight's run: {problem}", markup=False, style="red")
    for problem in remarks:
        console.print(f"note: {problem}", markup=False, style="yellow")
    console.print("tonight's run would be stopped" if stops else "nothing stops tonight's run")
    return errors.SETUP if stops else errors.OK


def _nights(here: Settings) -> tuple[dict[str, str], list[str]]:
    """When the newest night ended and how, what cron does: facts to show, and what is not well."""
    facts, notes = cron.facts(here)
    running, known = lock.holder(here), last_night.newest(here)
    if running:
        facts["now"] = f"a run is in progress ({running})"
    over = [night for night in known if night.is_over or not running][:1]
    facts["last night"] = last_night.in_words(over[0]) if over else "none yet"
    for night in over:
        if not night.is_well:
            why = f": {night.reason}" if night.reason else ""
            notes.append(f"the last night {last_night.in_words(night)}{why}")
        if night.is_old(datetime.now(UTC)):
            notes.append(f"no night has ended since {night.at:%Y-%m-%d %H:%M %Z}")
    return facts, notes


def _dbt() -> list[str]:
    is_there = importlib.util.find_spec("dbt") is not None
    return [] if is_there else ["dbt is not installed: delete .venv; the next run installs it anew"]


def _print_facts(console: Console, title: str, facts: dict[str, str]) -> None:
    table = Table(title, "In force", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, value in facts.items():
        table.add_row(name, Text(value))
    console.print(table)


def _settings() -> dict[str, str]:
    found = {k: settings.masked(k, v) or "(empty)" for k, v in settings.values().items()}
    return found | {"python": f"{platform.python_version()} on {platform.system()}"}


def _database(here: Settings) -> dict[str, str]:
    """Where the database is; the embedded one is started, as tonight's run would do.

    Raises PipelineError when it cannot be reached or used.
    """
    with database.connect(here, lambda text: None, database.GLANCE) as connection:
        database.prepare(connection)
        info = connection.info
        facts = {
            "server": f"{info.host or info.hostaddr}, port {info.port}",
            "database": f"{info.dbname}, as {info.user}",
            "version": f"PostgreSQL {info.parameter_status('server_version')}",
        }
    if here.database_url:
        return facts
    where = embedded.describe(here)
    return facts | {f"embedded {k}": v for k, v in where.items() if k != "version"}


def _prod(here: Settings) -> list[str]:
    """What would end stage publish with 78; of a prod that is down the night tells."""
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


def _room(here: Settings, wanted: int) -> list[str]:
    folder = here.data_dir if here.data_dir.exists() else ROOT
    free = shutil.disk_usage(folder).free
    return [f"only {free / 1024**3:.1f} GB free at {folder}: make room"] if free < wanted else []


def _programs(here: Settings) -> list[str]:
    return [] if shutil.which("git") else ["git is not installed: apt-get install git"]
