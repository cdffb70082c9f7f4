"""`./run_pipeline.sh doctor`: what would stop tonight's run, and `cron`: when it runs."""

import os
import platform
import shlex
import shutil

import psycopg
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import database, declaration, errors, folders, ownership, prod, settings, stash
from pipeline.errors import PipelineError, SettingError, SetupError
from pipeline.settings import ROOT, Settings

PARTS = declaration.PARTS
NO_ROOM = 100 * 1024**2  # bytes free below which a night cannot succeed
LITTLE_ROOM = 2 * 1024**3  # bytes free below which a night may fail


def check() -> int:
    """Print the settings in force and every check; returns 0, or 78 when a run would be stopped."""
    console = Console(soft_wrap=True, width=1000)  # a path must stay whole, to be copied
    here = settings.load()
    _print_facts(console, "Setting", _settings())
    stops = _folders(here) + _room(here, NO_ROOM)
    stops += declaration.missing_parts(settings.sources())
    remarks = [] if stops else _room(here, LITTLE_ROOM)
    remarks += _programs(here) + stash.problems(here)
    remarks += filter(None, [settings.exposed()])
    try:
        _print_facts(console, "Database", _database(here))
    except PipelineError as error:
        stops.append(str(error))
    stops += [] if stops else _prod(here)
    for problem in stops:
        console.print(f"stops tonight's run: {problem}", markup=False, style="red")
    for problem in remarks:
        console.print(f"note: {problem}", markup=False, style="yellow")
    console.print("tonight's run would be stopped" if stops else "nothing stops tonight's run")
    return errors.SETUP if stops else errors.OK


def print_crontab() -> int:
    """Print the lines of `crontab` for this clone, to be added to the user's own jobs."""
    here = settings.load()
    text = (ROOT / "crontab").read_text("utf-8")
    text = text.replace("@ROOT@", _for_cron(ROOT)).replace("@LOGS@", _for_cron(here.logs))
    print(text, end="")
    return errors.OK


def _for_cron(path: os.PathLike) -> str:
    """A path as a word of a crontab line: quoted for the shell, `%` escaped for cron."""
    return shlex.quote(str(path)).replace("%", r"\%")


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
    from pipeline import postgres

    where = postgres.describe(here)
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


def _folders(here: Settings) -> list[str]:
    try:
        folders.refuse_links(here)
    except SetupError as error:
        return [str(error)]
    folder = here.data_dir
    while not folder.exists():
        folder = folder.parent
    if os.access(folder, os.W_OK | os.X_OK):
        return []
    return [f"{folder} cannot be written by this user: chown it, or set DATA_DIR"]


def _room(here: Settings, wanted: int) -> list[str]:
    folder = here.data_dir if here.data_dir.exists() else ROOT
    free = shutil.disk_usage(folder).free
    return [f"only {free / 1024**3:.1f} GB free at {folder}: make room"] if free < wanted else []


def _programs(here: Settings) -> list[str]:
    return [] if shutil.which("git") else ["git is not installed: apt-get install git"]
