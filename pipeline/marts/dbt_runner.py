"""dbt, in this process: one parse, then as many builds and tests as it takes.

Its connection is given to it by environment variables that `transform/profiles.yml` reads, so a
password stands in no file and on no command line.
"""

import gc
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg

from pipeline import database, folders, settings
from pipeline.database import locks
from pipeline.database.queries import scalar
from pipeline.errors import PipelineError
from pipeline.settings import ROOT, Settings

PROJECT = ROOT / "transform"
RARELY = (200_000, 20, 100)  # allocations between two looks for garbage, and generations of them
GOOD = ("success", "pass", "warn", "no-op")
# libpq's words that dbt's profile has no place for, by the variable libpq reads them from.
_LIBPQ = {
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "channel_binding": "PGCHANNELBINDING",
    "hostaddr": "PGHOSTADDR",
}


@dataclass(frozen=True)
class Result:
    """What came of one node: dbt's status, its words in one line, rows written, seconds."""

    uid: str
    name: str
    status: str
    message: str
    rows: int | None
    seconds: float
    relation: str  # where a test that stores its failures put them; empty elsewhere

    @property
    def is_good(self) -> bool:
        """Whether nothing is held because of it; a warning is good."""
        return self.status in GOOD


class Dbt:
    """A parsed project, ready to run against one database."""

    def __init__(self, here: Settings, connection: psycopg.Connection):
        """Parse the project. Raises PipelineError when that fails, or dbt is not there."""
        self._words = _words(here, connection)
        # What dbt makes stays to the end of its process; to look for garbage in it at Python's
        # pace takes a seventh of a small build (measured: 6.7 s of CPU, 5.7 without).
        gc.set_threshold(*RARELY)
        try:
            from dbt.cli.main import dbtRunner
        except ImportError as error:
            raise PipelineError(
                f"dbt is not there: {error}", "delete .venv; the next run installs it anew"
            ) from None
        self._runner = dbtRunner
        self.manifest = self._invoke(None, ["parse"])

    def build(self, fqns: Iterable[str], without: Iterable[str] = ()) -> list[Result]:
        """Make the named models and run the named tests, in the order of the graph.

        `without`: unit tests that do not run; else they run with their model.
        """
        left_out = ["--exclude", *sorted(without)] if without else []
        # A seed that has other columns than before is made anew, not only filled anew.
        return self._run("build", fqns, "--full-refresh", *left_out)

    def test(self, fqns: Iterable[str], *, store: bool = False) -> list[Result]:
        """Run the named tests; with `store` the rows that fail stay in tables of schema `audit`."""
        return self._run("test", fqns, *(["--store-failures"] if store else []))

    def _run(self, command: str, fqns: Iterable[str], *flags: str) -> list[Result]:
        selected = sorted(fqns)
        if not selected:  # which dbt would take for everything
            return []
        words = [command, "--indirect-selection", "empty", *flags, "--select", *selected]
        return [_result(found) for found in self._invoke(self.manifest, words).results]

    def _invoke(self, manifest, words: list[str]) -> Any:
        """What dbt's command line returns. Raises PipelineError when it does not come to results.

        Raises OSError where the disk is to blame.
        """
        outcome = self._runner(manifest=manifest).invoke([*words, *self._words])
        if outcome.exception is not None or outcome.result is None:
            if isinstance(outcome.exception, OSError):  # a full disk, not the project
                raise outcome.exception
            # dbt's text for every error of the server, a lost connection included.
            is_of_server = "Database Error" in str(outcome.exception)
            what = "the database failed dbt" if is_of_server else "the dbt project does not parse"
            remedy = "see the log"
            if "dbt deps" in str(outcome.exception):
                remedy = ".venv/bin/dbt deps --project-dir transform --profiles-dir transform"
            raise PipelineError(f"{what}: {first_line(outcome.exception)}", remedy)
        return outcome.result


def version_of_dbt() -> str:
    """The versions of what turns the project into tables."""
    return f"{version('dbt-core')} {version('dbt-postgres')}"


def foundations() -> str:
    """What every table of a parsed project depends on: dbt's versions, the project's variables.

    Which model asks for which variable dbt does not tell, so a changed one builds all of them.
    """
    import yaml  # comes with dbt

    declared = yaml.safe_load((PROJECT / "dbt_project.yml").read_bytes()).get("vars")
    of_project = f" {json.dumps(declared, sort_keys=True, default=str)}" if declared else ""
    return f"{version_of_dbt()}{of_project}"


def first_line(message: object) -> str:
    """What dbt says, short, on one line and without secrets.

    Of an error of the server that is dbt's headline, its message and its detail (which key).
    """
    lines = [line.strip() for line in str(message).splitlines() if line.strip()]
    return settings.redact(" ".join(lines[:3]))[:300] if lines else "no reason given"


def _result(found) -> Result:
    response = found.adapter_response or {}
    return Result(
        found.node.unique_id,
        found.node.name,
        str(found.status),
        first_line(found.message) if found.message else "",
        response.get("rows_affected"),
        round(found.execution_time, 3),
        getattr(found.node, "relation_name", None) or "",
    )


def _words(here: Settings, connection: psycopg.Connection) -> list[str]:
    """The options of every call; makes dbt's folder and sets its environment."""
    target = here.state / "dbt"
    try:
        target.mkdir(parents=True, exist_ok=True)
        for folder in (target, here.logs / "dbt"):
            folders.remove_links(folder)
    except OSError as error:
        raise PipelineError(f"{target} cannot be made: {error.strerror}", "see to it") from None
    _give_connection(here, connection)
    os.environ |= {"DBT_TARGET_PATH": str(target), "DBT_LOG_PATH": str(here.logs / "dbt")}
    places = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
    # Nobody reads the files that dbt would write about each call.
    return [*places, "--no-use-colors", "--log-level", "info", "--no-write-json"]


def _give_connection(here: Settings, connection: psycopg.Connection) -> None:
    """Lead dbt to the server of this connection, whatever words, files and variables led there."""
    info = connection.info
    words = info.get_parameters()
    given = {
        "DBT_HOST": info.host or info.hostaddr,
        "DBT_PORT": str(info.port),
        "DBT_USER": info.user,
        "DBT_DBNAME": info.dbname,
        "DBT_ENV_SECRET_PASSWORD": info.password,
        "DBT_SSLMODE": words.get("sslmode", "prefer"),
        "DBT_THREADS": str(max(2, os.cpu_count() or 2)),
    }
    given |= {name: words[word] for word, name in _LIBPQ.items() if word in words}
    given["PGOPTIONS"] = f"{words.get('options', '')} {_session(here, connection)}".strip()
    os.environ |= given


def _session(here: Settings, connection: psycopg.Connection) -> str:
    """The settings of our own sessions (those that this server knows) as libpq's options.

    For who reads a view that is made anew dbt waits as long as a publication does.
    """
    names = [name for name in database.SESSION if name != "search_path"]  # models name extensions
    known = connection.execute("select name from pg_settings where name = any(%s)", [names])
    words = {name: database.SESSION[name].replace(" ", r"\ ") for (name,) in known}
    name = database.CHECK_INTERVAL[0]
    words[name] = scalar(connection, "select current_setting(%s)", [name])
    words["lock_timeout"] = locks.milliseconds(max(1, here.publish_patience))
    return " ".join(f"-c {name}={value}" for name, value in words.items())


def files() -> list[Path]:
    """All files that the project is made of, those of its packages included."""
    # A package of this machine is a link, which rglob does not follow by itself.
    linked = [path for path in (PROJECT / "dbt_packages").glob("*") if path.is_symlink()]
    return [
        path
        for path in sorted(path for folder in (PROJECT, *linked) for path in folder.rglob("*"))
        if path.is_file()
        and path.relative_to(PROJECT).parts[0] not in ("target", "logs")
        and path.name[0] != "."
    ]
