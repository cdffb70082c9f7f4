"""Stage `transform`: dbt builds the marts where nobody reads; what passes its tests is published.

`python -m pipeline.stages.transform` builds and publishes; the runner starts it so. dbt is started
only when a source's rows, the dbt project or dbt itself changed since, or a mart is held; then only
the marts that are made of what changed are built.
"""

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime

import psycopg

from pipeline import database, prod, settings, state
from pipeline.database import catalog, ledger, queries
from pipeline.errors import PipelineError
from pipeline.marts import (
    alterations,
    build_schema,
    credits,
    data_status,
    dbt_runner,
    dependents,
    lineage,
    publication,
    row_guard,
)
from pipeline.marts.build import Build, expired
from pipeline.marts.dbt_runner import Dbt, Result
from pipeline.marts.freshness import Row
from pipeline.marts.lineage import Lineage
from pipeline.marts.verdict import Verdict
from pipeline.raw import fingerprints
from pipeline.schema import table
from pipeline.settings import Settings
from pipeline.stages import script
from pipeline.state import Outcome
from pipeline.text import escaped

AUDIT = "audit"  # the schema of the rows that failed a test


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
    """The options of this stage alone."""
    parser.add_argument(
        "--accept-contract",
        metavar="MODEL",
        action="append",
        default=[],
        help="let the columns of a published table change, this once",
    )
    parser.add_argument(
        "--accept-rows",
        metavar="MODEL",
        action="append",
        default=[],
        help="let a published table fall below half of its rows, this once",
    )


def has_model(name: str) -> bool:
    """Whether the project has a model or a seed of that name, or names one so by `alias`."""
    alias = re.compile(rf"alias\W+{re.escape(name)}\b")
    return any(
        (path.suffix in (".sql", ".csv") and path.stem == name)
        or (path.suffix in (".sql", ".yml") and alias.search(path.read_text("utf-8", "replace")))
        for path in dbt_runner.files()
    )


def fingerprint_of(connection: psycopg.Connection) -> str:
    """SHA-256 over all that the published tables are made of: rows loaded, models, dbt."""
    parts = {f"source {name}": made_of for name, made_of in ledger.loaded(connection).items()}
    for path in dbt_runner.files():
        relative = path.relative_to(dbt_runner.PROJECT)
        parts[f"file {relative}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    parts |= {f"credit {name}": credits.of(name) for name in settings.sources()}
    parts["dbt"] = dbt_runner.version_of_dbt()
    return fingerprints.fingerprint_of(parts)


def is_current(connection: psycopg.Connection) -> bool:
    """Whether what is published was made of what there is now, and nothing is held."""
    last = ledger.last_build(connection)
    return (
        last is not None
        and last["outcome"] != Outcome.HELD
        and not expired(last["facts"].get("gone", {}))
        and last["fingerprint"] == fingerprint_of(connection)
        and set(last["facts"]["tables"]) <= catalog.tables(connection).keys()
        and not alterations.altered_tables(connection)
    )


def run(
    here: Settings,
    force: bool = False,
    accepted: Iterable[str] = (),
    accepted_rows: Iterable[str] = (),
) -> dict:
    """Build what changed and publish what passed, unless nothing changed; returns the facts.

    accepted:      names of the models whose columns may change.
    accepted_rows: names of those that may lose more than half of their rows.

    When the server goes away meanwhile, all of it is done once more.

    Raises SourceError when readers or another run forbid the publication: the published tables
    stay. PipelineError when it does not come to a build, SetupError when a permission is missing.
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


def _build_and_publish(
    here: Settings,
    connection,
    force: bool,
    accepted: Iterable[str],
    accepted_rows: Iterable[str],
) -> dict:
    fingerprint = fingerprint_of(connection)
    dbt = Dbt(here, connection)
    graph = lineage.read(dbt.manifest, catalog.NEXT, dbt_runner.foundations())
    if not graph.marts:
        raise PipelineError("the dbt project has no mart: nothing is built", "see transform/models")
    loaded = ledger.loaded(connection)
    wanted = set(graph.marts) if force else _changed(connection, graph, graph.fingerprints(loaded))
    last = (ledger.last_build(connection) or {"facts": {}})["facts"]
    blocked = _made_of_altered(connection, graph, wanted)
    wanted -= blocked.keys()
    room = build_schema.create(connection, here.publish_patience)
    build_schema.show_published(connection, graph.marts.keys() - wanted)
    build = Build(fingerprint, loaded, graph, last, Verdict(graph, wanted), room)
    refused = _refuse(connection, build)
    for name, reason in blocked.items():
        build.verdict.hold([name], reason)
    standing = set() if force else build.unchanged_views(connection)
    proven = set() if force else build.passed_unit_tests()
    _judge(here, connection, build, dbt, _selection(build, standing, refused), proven)
    _hold_what_is_no_table(connection, build)
    _hold_broken_contracts(connection, build, accepted)
    _hold_lost_rows(connection, build, accepted_rows)
    credits.complete_comments(
        connection,
        catalog.NEXT,
        {name: credits.line(graph.sources_of(name)) for name in build.verdict.passing},
    )
    return _publish_what_passes(here, connection, build, dbt)


def _changed(connection, graph: Lineage, made_of: dict[str, str]) -> set[str]:
    """The marts that are not published as they should be now."""
    known = ledger.newest(connection, "transform", (Outcome.PUBLISHED,))
    there = catalog.tables(connection).keys() - alterations.altered_tables(connection).keys()
    return {
        name
        for name, uid in graph.marts.items()
        if name not in there or name not in known or known[name]["fingerprint"] != made_of[uid]
    }


def _refuse(connection: psycopg.Connection, build: Build) -> set[str]:
    """Hold what cannot be built as it is written, and for want of a source's table.

    Returns the unique ids of all that dbt need not be asked for: these, and what is made of them.
    """
    graph = build.lineage
    refused = {node.uid: node.refusal for node in graph.nodes.values() if node.refusal}
    read = {uid for name in graph.marts for uid in graph.ancestors(graph.marts[name])}
    read |= {uid for node in graph.intermediates() for uid in node.parents}
    for node in graph.nodes.values():
        if (node.kind, node.schema) == ("source", "source") and node.uid in read:
            is_loaded = node.name in build.loaded
            if trouble := table.make_sure(connection, node.name, is_loaded):
                refused[node.uid] = trouble
    for uid, reason in refused.items():
        build.verdict.refuse(uid, reason)
    return refused.keys() | graph.descendants(refused)


def _made_of_altered(connection, graph: Lineage, wanted: Iterable[str]) -> dict[str, str]:
    """Why marts are not built, by name: somebody changed the rows that they are made of."""
    changed = {
        source: f"somebody changed source.{source}, {why} (./run_pipeline.sh load {source})"
        for source, why in alterations.altered_sources(connection).items()
    }
    return {
        name: changed[source]
        for name in wanted
        for source in graph.sources_of(name)
        if source in changed
    }


def _selection(build: Build, standing: set[str], refused: set[str]) -> set[str]:
    """What dbt is asked for: the marts, all views below any mart, and the tests about them.

    The tests of a view are left out that passed on the same rows before, and the views that stand
    as they should; and what cannot be built (`refused`).
    """
    graph, marts = build.lineage, build.verdict.built
    views = {node.uid for node in graph.intermediates()}
    tested = build.last.get("tested", {})
    new_views = {uid for uid in views if tested.get(uid) != build.fingerprints[uid]}
    tests = {test.uid for test in graph.tests if (marts | new_views).intersection(test.parents)}
    wanted = (marts | (views - standing) | tests) - refused
    return {graph.nodes[uid].fqn for uid in wanted}


def _judge(
    here: Settings, connection, build: Build, dbt: Dbt, selection: set[str], proven: set[str]
) -> None:
    """Let dbt build and test, and hold what fails; the rows that failed a test are kept.

    proven: unit tests that have no cause to run.
    """
    nodes = build.lineage.nodes
    results = dbt.build(selection, {nodes[uid].fqn for uid in proven})
    _refuse_full_disk(results)
    build.results |= {result.uid: result for result in results}
    failed = {r.uid: r for r in results if r.status == "fail" and nodes[r.uid].kind == "test"}
    if failed:
        build_schema.drop(connection, AUDIT, here.publish_patience)
        stored = dbt.test({nodes[uid].fqn for uid in failed}, store=True)
        failed |= {r.uid: _with_example(connection, r) for r in stored if r.status == "fail"}
    build.verdict.judge([failed.get(result.uid, result) for result in results])


def _with_example(connection: psycopg.Connection, result: Result) -> Result:
    """A failed test with the first of its rows: what a person wants to know first."""
    first = f"select to_jsonb(failed) from {queries.trusted(result.relation)} as failed limit 1"  # noqa: S608
    try:
        row = queries.scalar(connection, first)
    except psycopg.Error:  # it is gone already
        return result
    shown = ", ".join(f"{name} {value}" for name, value in row.items() if value is not None)
    return result._replace(message=f"{result.message}: {escaped(shown, 200)}")


def _refuse_full_disk(results: list[Result]) -> None:
    for result in results:
        if "No space left on device" in result.message:
            raise PipelineError(
                f"the database's disk is full: {result.message}",
                "make room; the published tables stay as they were",
            )


def _hold_what_is_no_table(connection, build: Build) -> None:
    """A view in the published schema would be bound to tables that are replaced under it."""
    others = set(build.verdict.passing) - catalog.tables(connection, catalog.NEXT).keys()
    build.verdict.hold(others, "it is not built as a table, and marts are tables")


def _hold_broken_contracts(connection, build: Build, accepted: Iterable[str]) -> None:
    for name in build.verdict.passing:
        if name not in accepted:
            old = catalog.columns(connection, catalog.PUBLISHED, name)
            new = catalog.columns(connection, catalog.NEXT, name)
            if changed := catalog.column_changes(old, new):
                remedy = f"./run_pipeline.sh transform --accept-contract {name}"
                build.verdict.hold([name], f"its columns changed: {changed} ({remedy})")


def _hold_lost_rows(connection, build: Build, accepted: Iterable[str]) -> None:
    graph = build.lineage
    judged = {
        name: graph.sources_of(name)
        for name in build.verdict.passing
        if name not in accepted and not graph.nodes[graph.marts[name]].may_shrink
    }
    for name, reason in row_guard.losses(connection, judged).items():
        build.verdict.hold([name], reason)


def _publish_what_passes(here: Settings, connection, build: Build, dbt: Dbt) -> dict:
    """Publish; what turns out to stand in the way is held too, until nothing more does."""
    started = datetime.now(UTC)
    while True:
        _prove(connection, build, dbt)
        try:
            facts = _publish(here, connection, build)
            seconds = (datetime.now(UTC) - started).total_seconds()
            return facts | {"publication_seconds": round(seconds, 3)}
        except dependents.Refused as refused:
            # A table whose model is no more stays rather than that a new one does not come.
            if kept := refused.tables & set(build.to_drop(connection)):
                build.verdict.other_failures |= dict.fromkeys(kept, str(refused))
            elif known := refused.tables & set(build.verdict.passing):
                build.verdict.hold(known, str(refused))
            else:
                raise


def _prove(connection: psycopg.Connection, build: Build, dbt: Dbt) -> None:
    """Run again, on what will be published, the tests that saw anything else."""
    while True:
        build_schema.show_published(connection, build.verdict.held)
        tests = build.verdict.tests_to_repeat()
        if not tests:
            return
        results = dbt.test({test.fqn for test in tests})
        _refuse_full_disk(results)
        build.results |= {result.uid: result for result in results}
        build.verdict.judge(results)
        for test in tests:
            if test.uid not in build.results:
                names = {name for name, uid in build.lineage.marts.items() if uid in test.parents}
                build.verdict.hold(names, f"dbt did not run test {test.name}")


def _publish(here: Settings, connection: psycopg.Connection, build: Build) -> dict:
    run_id = state.run_id()
    gone, drop = build.without_model(connection), build.to_drop(connection)
    facts = build.facts(connection, {name: gone[name] for name in gone.keys() - set(drop)})
    if drop and facts["outcome"] == Outcome.UNCHANGED:
        facts["outcome"] = Outcome.PUBLISHED

    def note(connection: psycopg.Connection, generation: int) -> list[Row]:
        return build.record(connection, run_id, facts | {"generation": generation})

    going = build.verdict.passing
    if not going and not drop:
        build_schema.create(connection, here.publish_patience)  # what failed needs no room
        generation = ledger.generation(connection)
        with connection.transaction():
            data_status.write(connection, note(connection, generation))
        return facts | {"generation": generation}
    try:
        known = prod.greatest_generation(here, ledger.generation(connection))
        generation = publication.publish(
            connection, here, build.schema_oid, going, note, drop, known
        )
    except psycopg.Error as error:
        # The answer to the commit may be all that was lost.
        if not database.is_lost(error) or not _was_noted(here, run_id):
            raise
        generation = _generation_of(here)
    return facts | {"generation": generation}


def _was_noted(here: Settings, run_id: str) -> bool:
    with database.connect(here) as connection:
        last = ledger.last_build(connection)
        return last is not None and last["run_id"] == run_id


def _generation_of(here: Settings) -> int:
    with database.connect(here) as connection:
        return ledger.generation(connection)


if __name__ == "__main__":
    main()
