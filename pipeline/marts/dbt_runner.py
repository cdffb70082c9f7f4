"""dbt in this process: one parse, then as many builds and tests as needed.

Its connection is passed in environment variables that `transform/profiles.yml` reads, so that no
password is in a file or on a command line.
"""

import gc
import json
import os
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from pipeline import folders, settings
from pipeline.database import locks
from pipeline.database.connection import CHECK_INTERVAL, SESSION, VARIABLES
from pipeline.database.queries import scalar
from pipeline.errors import PipelineError
from pipeline.settings import ROOT, Settings

PROJECT = ROOT / "transform"
RARELY = (200_000, 20, 100)  # allocations between two garbage collections, and their generations
GOOD = ("success", "pass", "warn", "no-op")
# libpq's parameters that dbt's profile does not know: libpq reads them from its own variables.
_ONLY_LIBPQ = ("sslrootcert", "sslcert", "sslkey", "channel_binding", "hostaddr")


class Result(NamedTuple):
    """The result of one node."""

    uid: str
    name: str
    status: str  # dbt's
    message: str  # dbt's, on one line
    rows: int | None  # written
    seconds: float
    relation: str  # where a test that stores its failures put them; empty for all others

    @property
    def is_good(self) -> bool:
        """Whether nothing is held because of it; a warning is good."""
        return self.status in GOOD


class Dbt:
    """A parsed project, ready to run against one database."""

    def __init__(self, here: Settings, connection: psycopg.Connection):
        """Parse the project. Raises PipelineError when that fails, or dbt is not installed."""
        self._options = _options(here, connection)
        # What dbt allocates lives until its process ends. Python's usual garbage collections take
        # a seventh of a small build (measured: 6.7 s of CPU, 5.7 without).
        gc.set_threshold(*RARELY)
        try:
            from dbt.cli.main import dbtRunner
        except ImportError as error:
            raise PipelineError(
                f"dbt is not installed: {error}", "delete .venv; the next run installs it again"
            ) from None
        self._runner = dbtRunner
        self.manifest = self._invoke(None, ["parse"])

    def build(self, fqns: Iterable[str], without: Iterable[str] = ()) -> list[Result]:
        """Build the named models and run the named tests, in the order of the graph.

        without: unit tests not to run; all others run with their models.
        """
        excluded = ["--exclude", *sorted(without)] if without else []
        # Without --full-refresh a seed keeps its old columns when its file gets others.
        return self._run("build", fqns, "--full-refresh", *excluded)

    def test(self, fqns: Iterable[str], *, store: bool = False) -> list[Result]:
        """Run the named tests; with `store` the rows that fail stay in tables of schema `audit`."""
        return self._run("test", fqns, *(["--store-failures"] if store else []))

    def _run(self, command: str, fqns: Iterable[str], *flags: str) -> list[Result]:
        selected = sorted(fqns)
        if not selected:  # which dbt would take for everything
            return []
        arguments = [command, "--indirect-selection", "empty", *flags, "--select", *selected]
        return [_result(result) for result in self._invoke(self.manifest, arguments).results]

    def _invoke(self, manifest: Any, arguments: list[str]) -> Any:
        """What dbt returns for a command line.

        Raises PipelineError when there are no results, OSError when the disk is the cause.
        """
        outcome = self._runner(manifest=manifest).invoke([*arguments, *self._options])
        if outcome.exception is not None or outcome.result is None:
            if isinstance(outcome.exception, OSError):  # a full disk, not the project
                raise outcome.exception
            # dbt's text for every error of the server, a lost connection included.
            is_of_server = "Database Error" in str(outcome.exception)
            what = "the database failed dbt" if is_of_server else "the dbt project does not parse"
            remedy = "see the log"
            if "dbt deps" in str(outcome.exception):
                remedy = ".venv/bin/dbt deps --project-dir transform --profiles-dir transform"
            raise PipelineError(f"{what}: {one_line(outcome.exception)}", remedy)
        return outcome.result


def version_of_dbt() -> str:
    """The versions of dbt and its adapter."""
    return f"{version('dbt-core')} {version('dbt-postgres')}"


def foundations() -> str:
    """What every table of a parsed project depends on: dbt's versions, the project's variables.

    dbt does not say which model reads which variable, so a changed one builds all of them.
    """
    import yaml  # comes with dbt

    variables = yaml.safe_load((PROJECT / "dbt_project.yml").read_bytes()).get("vars")
    of_project = f" {json.dumps(variables, sort_keys=True, default=str)}" if variables else ""
    return f"{version_of_dbt()}{of_project}"


def one_line(message: object) -> str:
    """A message of dbt, short, on one line and without secrets.

    Of an error of the server that is dbt's headline, its message and its detail (which key).
    """
    lines = [line.strip() for line in str(message).splitlines() if line.strip()]
    return settings.redact(" ".join(lines[:3]))[:300] if lines else "no reason given"


def _result(result: Any) -> Result:
    response = result.adapter_response or {}
    return Result(
        result.node.unique_id,
        result.node.name,
        str(result.status),
        one_line(result.message) if result.message else "",
        response.get("rows_affected"),
        round(result.execution_time, 3),
        getattr(result.node, "relation_name", None) or "",
    )


def _options(here: Settings, connection: psycopg.Connection) -> list[str]:
    """The options of every call; creates dbt's folders and sets its environment."""
    target = here.state / "dbt"
    try:
        target.mkdir(parents=True, exist_ok=True)
        for folder in (target, here.logs / "dbt"):
            folders.remove_links(folder)
    except OSError as error:
        raise PipelineError(
            f"{target} cannot be created: {error.strerror}", "make it writable for this user"
        ) from None
    _give_connection(here, connection)
    os.environ |= {"DBT_TARGET_PATH": str(target), "DBT_LOG_PATH": str(here.logs / "dbt")}
    project = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
    # The run shows from dbt's lines of level info which model is built, `n of m`. Nobody reads the
    # files that dbt would write about each call.
    return [*project, "--no-use-colors", "--log-level", "info", "--no-write-json"]


def _give_connection(here: Settings, connection: psycopg.Connection) -> None:
    """Let dbt connect to the server of this connection, whatever libpq reads elsewhere."""
    info = connection.info
    parameters = info.get_parameters()
    os.environ |= {
        "DBT_HOST": info.host or info.hostaddr,
        "DBT_PORT": str(info.port),
        "DBT_USER": info.user,
        "DBT_DBNAME": info.dbname,
        "DBT_ENV_SECRET_PASSWORD": info.password,
        "DBT_SSLMODE": parameters.get("sslmode", "prefer"),
        "DBT_THREADS": str(max(2, os.cpu_count() or 2)),
        "PGOPTIONS": f"{parameters.get('options', '')} {_session(here, connection)}".strip(),
    } | {VARIABLES[p]: parameters[p] for p in _ONLY_LIBPQ if p in parameters}


def _session(here: Settings, connection: psycopg.Connection) -> str:
    """The settings of our own sessions (those that this server knows) as libpq's options.

    When dbt recreates a view, it waits for its readers as long as a publication does.
    """
    names = [name for name in SESSION if name != "search_path"]  # models name extensions
    known = connection.execute("select name from pg_settings where name = any(%s)", [names])
    values = {name: SESSION[name].replace(" ", r"\ ") for (name,) in known}
    name = CHECK_INTERVAL[0]
    values[name] = scalar(connection, "select current_setting(%s)", [name])
    values["lock_timeout"] = locks.milliseconds(max(1, here.publish_patience))
    return " ".join(f"-c {name}={value}" for name, value in values.items())


def files() -> list[Path]:
    """All files of the project, including those of its packages."""
    # A local package is a symbolic link, which rglob does not follow.
    linked = [path for path in (PROJECT / "dbt_packages").glob("*") if path.is_symlink()]
    return [
        path
        for path in sorted(path for folder in (PROJECT, *linked) for path in folder.rglob("*"))
        if path.is_file()
        and path.relative_to(PROJECT).parts[0] not in ("target", "logs")
        and path.name[0] != "."
    ]
