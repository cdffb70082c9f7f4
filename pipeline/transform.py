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
    "passfile": "PGPASSFILE",
    "options": "PGOPTIONS",
}


def main() -> None:
    """Build and publish, unless nothing changed."""
    script.run("transform", publication.ALL_MODELS, __doc__, _work)


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


def _work(here: Settings, options) -> dict:
    with database.connect(here) as connection:
        database.prepare(connection)
        if not options.force and is_current(connection):
            return {"outcome": "unchanged"}
        wanted = fingerprint_of(connection)
        publication.make_room(connection)
        results = _build(here)
        models = _models(results)
        uncast = _uncastable(connection)
        failures = [r for r in results if r.status in ("error", "fail", "runtime error")]
        run_id = os.environ.get("PIPELINE_RUN") or f"{script.now()} {os.getpid()}"
        if failures:
            raise SourceError(
                f"nothing is published, {len(failures)} of {len(results)} dbt steps failed: "
                + "; ".join(f"{r.node.name}: {_first_line(r.message)}" for r in failures[:5]),
                "the published tables stay as they were; see the log",
            )
        warnings = [
            f"{r.node.name}: {_first_line(r.message)}" for r in results if r.status == "warn"
        ]
        facts = {"tables": sorted(models), "uncastable": uncast, "warnings": warnings}
        with database.connect(here) as publisher:
            return publication.publish(publisher, here, run_id, models, wanted, facts)


def _build(here: Settings) -> list:
    """Run `dbt build`; returns its results. PipelineError when the project does not parse."""
    target = here.state / "dbt"
    target.mkdir(parents=True, exist_ok=True)
    _give_dbt_its_connection(here)
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
        raise PipelineError(f"the dbt project does not parse: {_first_line(outcome.exception)}")
    return list(results)


def _give_dbt_its_connection(here: Settings) -> None:
    """Set what `transform/profiles.yml` reads; a password stays out of files and command lines."""
    words = database.parts(here)
    given = {
        "DBT_HOST": words.get("host", "localhost"),
        "DBT_PORT": words.get("port", "5432"),
        "DBT_USER": words.get("user", ""),
        "DBT_DBpublication.ALL_MODELS": words.get("dbname", ""),
        "DBT_ENV_SECRET_PASSWORD": words.get("password", ""),
        "DBT_SSLMODE": words.get("sslmode", "prefer"),
        "DBT_THREADS": str(max(2, os.cpu_count() or 2)),
    }
    given |= {name: words[word] for word, name in _LIBPQ.items() if word in words}
    # An administrator's limit on statements is meant for readers, not for a build.
    given["PGOPTIONS"] = f"{words.get('options', '')} -c statement_timeout=0".strip()
    os.environ |= given


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
