"""Stage `transform`: dbt builds the marts where nobody reads; those that pass are published.

`python -m pipeline.stages.transform` runs it; the runner starts it so. dbt is started only when the
rows of a source, the dbt project or dbt itself changed since, or a mart is held; then only the
marts made from what changed are built.
"""

import hashlib
import re
from collections.abc import Collection

import psycopg

from pipeline import database, settings
from pipeline.database import catalog, ledger
from pipeline.errors import PipelineError
from pipeline.marts import alterations, credits, dbt_runner, lineage, row_guard
from pipeline.marts.build import Build, expired
from pipeline.marts.dbt_runner import Dbt
from pipeline.raw.fingerprints import fingerprint_of as combined
from pipeline.settings import Settings
from pipeline.stages import mart_build, mart_publication, script
from pipeline.state import Outcome


def main() -> None:
    """Build and publish, unless nothing changed."""
    script.run(
        "transform",
        ledger.ALL_MODELS,
        __doc__,
        lambda here, options: run(
            here, options.force, options.accept_contract, options.accept_rows
        ),
        add_options,
    )


def add_options(parser) -> None:
    """Add the options that only this stage has."""
    for option, text in (
        ("--accept-contract", "let the columns of a published table change, this once"),
        ("--accept-rows", "let a published table fall below half of its rows, this once"),
    ):
        parser.add_argument(option, metavar="MODEL", action="append", default=[], help=text)


def has_model(name: str) -> bool:
    """Return whether the project has a model or a seed of that name, or with that `alias`."""
    alias = re.compile(rf"alias\W+{re.escape(name)}\b")
    return any(
        (path.suffix in (".sql", ".csv") and path.stem == name)
        or (path.suffix in (".sql", ".yml") and alias.search(path.read_text("utf-8", "replace")))
        for path in dbt_runner.files()
    )


def run(
    here: Settings,
    force: bool = False,
    accepted: Collection[str] = (),
    accepted_rows: Collection[str] = (),
) -> dict:
    """Build what changed and publish what passed; returns the facts of the step.

    accepted:      the models whose columns may change.
    accepted_rows: the models that may lose more than half of their rows.

    When the server goes away, everything is tried once more.

    Raises SourceError when readers or another run prevent the publication; PipelineError when
    nothing can be built; SetupError when a permission is missing. The published tables stay then.
    """

    def work(connection: psycopg.Connection) -> dict:
        database.prepare(connection)
        is_asked = force or accepted or accepted_rows
        if not is_asked and is_current(connection):
            return {"outcome": Outcome.UNCHANGED}
        return _build_and_publish(here, connection, force, accepted, accepted_rows)

    try:
        return database.retry_once(here, work)
    except psycopg.Error as error:
        raise database.explain(error, "nothing is published") from None


def is_current(connection: psycopg.Connection) -> bool:
    """Return whether everything published is up to date, and nothing is held."""
    last = ledger.last_build(connection)
    return (
        last is not None
        and last["outcome"] != Outcome.HELD
        and not expired(last["facts"].get("gone", {}))
        and last["fingerprint"] == fingerprint_of(connection)
        and set(last["facts"]["tables"]) <= catalog.tables(connection).keys()
        and not alterations.altered_tables(connection)
    )


def fingerprint_of(connection: psycopg.Connection) -> str:
    """Return the hash of all that the published tables are made from: rows, models, dbt."""
    parts = {f"source {name}": load for name, load in ledger.loaded(connection).items()}
    for path in dbt_runner.files():
        relative = path.relative_to(dbt_runner.PROJECT)
        parts[f"file {relative}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    parts |= {f"credit {name}": credits.of(name) for name in settings.sources()}
    parts["dbt"] = dbt_runner.version_of_dbt()
    return combined(parts)


def _build_and_publish(
    here: Settings,
    connection: psycopg.Connection,
    force: bool,
    accepted: Collection[str],
    accepted_rows: Collection[str],
) -> dict:
    fingerprint = fingerprint_of(connection)
    dbt = Dbt(here, connection)
    graph = lineage.read(dbt.manifest, catalog.NEXT, dbt_runner.foundations())
    if not graph.marts:
        if not settings.sources() and not ledger.published(connection):
            return {"outcome": Outcome.UNCHANGED}  # a project without a domain yet
        raise PipelineError("the dbt project has no mart: nothing is built", "see transform/models")
    build = mart_build.run(here, connection, dbt, graph, fingerprint, force=force)
    _hold_other_relations(connection, build)
    _hold_changed_columns(connection, build, accepted)
    _hold_lost_rows(connection, build, accepted_rows)
    credits.complete_comments(
        connection,
        catalog.NEXT,
        {name: credits.line(graph.sources_of(name)) for name in build.verdict.passing},
    )
    return mart_publication.run(here, connection, build, dbt)


def _hold_other_relations(connection: psycopg.Connection, build: Build) -> None:
    """Hold marts that are not tables: a view would depend on tables that are replaced."""
    others = set(build.verdict.passing) - catalog.tables(connection, catalog.NEXT).keys()
    build.verdict.hold(others, "it is not built as a table, and marts are tables")


def _hold_changed_columns(
    connection: psycopg.Connection, build: Build, accepted: Collection[str]
) -> None:
    for name in build.verdict.passing:
        if name not in accepted:
            old = catalog.columns(connection, catalog.PUBLISHED, name)
            new = catalog.columns(connection, catalog.NEXT, name)
            if changed := catalog.column_changes(old, new):
                remedy = f"./run_pipeline.sh transform --accept-contract {name}"
                build.verdict.hold([name], f"its columns changed: {changed} ({remedy})")


def _hold_lost_rows(
    connection: psycopg.Connection, build: Build, accepted: Collection[str]
) -> None:
    graph = build.lineage
    judged = {
        name: graph.sources_of(name)
        for name in build.verdict.passing
        if name not in accepted and not graph.nodes[graph.marts[name]].may_shrink
    }
    for name, reason in row_guard.losses(connection, judged).items():
        build.verdict.hold([name], reason)


if __name__ == "__main__":
    main()
