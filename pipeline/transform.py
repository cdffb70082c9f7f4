"""Stage `transform`: dbt builds the marts where nobody reads; then they are published at once.

`python -m pipeline.transform` builds and publishes; the runner starts it so. dbt is started only
when a source's rows, the dbt project or dbt itself changed since the last publication.
"""

import hashlib
import os
from importlib.metadata import version

import psycopg

from pipeline import database, ledger, publication, script, settings, snapshot
from pipeline.errors import PipelineError, SourceError
from pipeline.settings import ROOT, Settings

PROJECT = ROOT / "transform"
# libpq's words that dbt's profile has no place for, by the variable libpq reads them from.
_LIBPQ = {
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "channel_binding": "PGCHANNELBINDING",
    "hostaddr": "PGHOSTADDR",
}


def main() -> None:
    """Build and publish, unless nothing changed."""
    script.run(
        "transform",
        publication.ALL_MODELS,
        __doc__,
        lambda here, options: run(here, options.force),
    )


def fingerprint_of(connection: psycopg.Connection) -> str:
    """SHA-256 over all that the published tables are made of: rows loaded, models, dbt."""
    loaded = ledger.newest(connection, "load", ("new",))
    parts = {f"source {name}": step["fingerprint"] for name, step in loaded.items()}
    for path in sorted(PROJECT.rglob("*")):
        relative = path.relative_to(PROJECT)
        if path.is_file() and relative.parts[0] not in ("target", "logs") and path.name[0] != ".":
            parts[f"file {relative}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    parts["dbt"] = f"{version('dbt-core')} {version('dbt-postgres')}"
    return snapshot.fingerprint_of(parts)


def is_current(connection: psycopg.Connection) -> bool:
    """Whether what is published was made of what there is now."""
    last = ledger.newest(connection, "transform", ("published",)).get(publication.ALL_MODELS)
    return (
        last is not None
        and last["fingerprint"] == fingerprint_of(connection)
        and publication.exists(connection, last["facts"]["tables"])
    )


def run(here: Settings, force: bool = False) -> dict:
    """Build and publish, unless nothing changed; returns the facts of the stage.

    Raises SourceError when a model, a test or the publication fails: the published tables stay.
    PipelineError when it does not come to a build, SetupError when a permission is missing.
    """
    try:
        return _build_and_publish(here, force)
    except psycopg.Error as error:
        raise database.understood(error, "nothing is published") from None


def _build_and_publish(here: Settings, force: bool) -> dict:
    with database.connect(here) as connection:
        database.prepare(connection)
        if not force and is_current(connection):
            return {"outcome": "unchanged"}
        wanted = fingerprint_of(connection)
        room = publication.make_room(connection)
        results = _build(here, connection)
        _refuse_failures(results)
        models = _models(results)
        warnings = [
            f"{r.node.name}: {_first_line(r.message)}" for r in results if r.status == "warn"
        ]
        facts = {"tables": sorted(models), "uncastable": _uncastable(connection)}
        facts["warnings"] = warnings
    run_id = os.environ.get("PIPELINE_RUN") or f"{script.now()} {os.getpid()}"
    with database.connect(here) as publisher:
        return publication.publish(publisher, here, run_id, room, models, wanted, facts)


def _refuse_failures(results: list) -> None:
    failures = [r for r in results if r.status in ("error", "fail", "runtime error")]
    if full := [r for r in failures if "No space left on device" in str(r.message)]:
        raise PipelineError(
            f"the database's disk is full: {_first_line(full[0].message)}",
            "make room; the published tables stay as they were",
        )
    if failures:
        more = f"; and {len(failures) - 3} more" if len(failures) > 3 else ""
        raise SourceError(
            f"nothing is published, {len(failures)} of {len(results)} dbt steps failed: "
            + "; ".join(f"{r.node.name}: {_first_line(r.message)}" for r in failures[:3])
            + more,
            "the published tables stay as they were; see the log",
        )
    if not _models(results):
        raise SourceError("nothing is published: the dbt project built no table")


def _build(here: Settings, connection: psycopg.Connection) -> list:
    """Run `dbt build`; returns its results. PipelineError when it does not come to that."""
    target = here.state / "dbt"
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PipelineError(f"{target} cannot be made: {error.strerror}", "see to it") from None
    _give_dbt_its_connection(connection)
    os.environ |= {"DBT_TARGET_PATH": str(target), "DBT_LOG_PATH": str(here.logs / "dbt")}
    try:
        from dbt.cli.main import dbtRunner
    except ImportError as error:
        raise PipelineError(
            f"dbt is not there: {error}", "delete .venv; the next run installs it anew"
        ) from None
    words = ["build", "--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
    outcome = dbtRunner().invoke([*words, "--no-use-colors", "--log-level", "info"])
    results = getattr(outcome.result, "results", None)
    if results is None:
        # dbt's text for every error of the server, a lost connection included.
        is_of_server = "Database Error" in str(outcome.exception)
        what = "the database failed dbt" if is_of_server else "the dbt project does not parse"
        raise PipelineError(f"{what}: {_first_line(outcome.exception)}", "see the log")
    return list(results)


def _give_dbt_its_connection(connection: psycopg.Connection) -> None:
    """Set what `transform/profiles.yml` reads; a password stays out of files and command lines.

    It is the server this connection found, whatever words, files and variables led there.
    """
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
    given["PGOPTIONS"] = f"{words.get('options', '')} {_session(connection)}".strip()
    os.environ |= given


def _session(connection: psycopg.Connection) -> str:
    """The settings of our own sessions (those that this server knows) as libpq's options."""
    names = [name for name in database.SESSION if name != "search_path"]  # models name extensions
    known = connection.execute("select name from pg_settings where name = any(%s)", [names])
    words = {name: database.SESSION[name].replace(" ", r"\ ") for (name,) in known}
    return " ".join(f"-c {name}={value}" for name, value in words.items())


def _models(results: list) -> dict[str, dict]:
    """Rows and seconds of each mart that was built, by name."""
    return {
        result.node.name: {
            "rows": (result.adapter_response or {}).get("rows_affected"),
            "seconds": round(result.execution_time, 3),
        }
        for result in results
        if result.node.resource_type == "model" and result.node.config.materialized == "table"
    }


def _uncastable(connection: psycopg.Connection) -> list[dict]:
    """What the staging casts could not read, counted by column; null in the models."""
    rows = connection.execute(
        """select source_name, column_name, target_type, uncastable_count, example
        from staging.uncastable_values where uncastable_count > 0 order by 1, 2"""
    )
    names = ("source", "column", "type", "count", "example")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _first_line(message: object) -> str:
    lines = [line.strip() for line in str(message).splitlines() if line.strip()]
    return settings.redact(" ".join(lines[:2])[:300]) if lines else "no reason given"


if __name__ == "__main__":
    main()
