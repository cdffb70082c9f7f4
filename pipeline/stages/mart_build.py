"""The build of the marts: which of them dbt builds tonight, and what its tests say."""

from collections.abc import Iterable

import psycopg

from pipeline.database import catalog, ledger, queries
from pipeline.errors import PipelineError
from pipeline.marts import alterations, build_schema
from pipeline.marts.build import Build
from pipeline.marts.dbt_runner import Dbt, Result
from pipeline.marts.lineage import Lineage
from pipeline.marts.verdict import Verdict
from pipeline.schema import table
from pipeline.settings import Settings
from pipeline.state import Outcome
from pipeline.text import escaped

AUDIT = "audit"  # the schema of the rows that failed a test


def run(
    here: Settings,
    connection: psycopg.Connection,
    dbt: Dbt,
    graph: Lineage,
    fingerprint: str,
    *,
    force: bool,
) -> Build:
    """Let dbt build and test the marts that changed; what fails is held.

    They are built in a schema of their own, which shows the published tables of the other marts.
    The rows that failed a test are stored. With `force` everything is built and tested.
    """
    loaded, last = ledger.loaded(connection), ledger.last_build(connection)
    marts = set(graph.marts) if force else _changed(connection, graph, graph.fingerprints(loaded))
    blocked = _made_from_altered_rows(connection, graph, marts)
    marts -= blocked.keys()
    schema_oid = build_schema.create(connection, here.publish_patience)
    build_schema.show_published(connection, graph.marts.keys() - marts)
    verdict = Verdict(graph, marts)
    build = Build(fingerprint, loaded, graph, last["facts"] if last else {}, verdict, schema_oid)
    refused = _refuse(connection, build)
    for name, reason in blocked.items():
        verdict.hold([name], reason)
    views = set() if force else build.unchanged_views(connection)
    unit_tests = set() if force else build.passed_unit_tests()
    selected = _selection(build, views, refused)
    results = dbt.build(selected, {graph.nodes[uid].fqn for uid in unit_tests})
    add_results(build, results)
    failed = {r.uid: r for r in results if r.status == "fail" and graph.nodes[r.uid].kind == "test"}
    if failed:
        build_schema.drop(connection, AUDIT, here.publish_patience)
        stored = dbt.test({graph.nodes[uid].fqn for uid in failed}, store=True)
        failed |= {r.uid: _with_example(connection, r) for r in stored if r.status == "fail"}
    verdict.judge([failed.get(result.uid, result) for result in results])
    return build


def add_results(build: Build, results: list[Result]) -> None:
    """Add dbt's results to a build. Raises PipelineError when the database's disk is full."""
    for result in results:
        if "No space left on device" in result.message:
            raise PipelineError(
                f"the database's disk is full: {result.message}",
                "make room; the published tables stay as they were",
            )
    build.results |= {result.uid: result for result in results}


def _changed(connection: psycopg.Connection, graph: Lineage, fingerprints: dict) -> set[str]:
    """Return the marts whose published table is missing, altered or made from something else."""
    steps = ledger.newest(connection, "transform", (Outcome.PUBLISHED,))
    intact = catalog.tables(connection).keys() - alterations.altered_tables(connection).keys()
    return {
        name
        for name, uid in graph.marts.items()
        if name not in intact
        or name not in steps
        or steps[name]["fingerprint"] != fingerprints[uid]
    }


def _made_from_altered_rows(
    connection: psycopg.Connection, graph: Lineage, marts: Iterable[str]
) -> dict[str, str]:
    """Return the marts made from rows that somebody changed, by name, with the reason."""
    altered = {
        source: f"somebody changed source.{source}, {what} (./run_pipeline.sh load {source})"
        for source, what in alterations.altered_sources(connection).items()
    }
    return {
        name: altered[source]
        for name in marts
        for source in graph.sources_of(name)
        if source in altered
    }


def _refuse(connection: psycopg.Connection, build: Build) -> set[str]:
    """Hold what cannot be built: nodes that are not permitted, and sources without a table.

    Returns the unique ids of these nodes, and of those made from them.
    """
    graph = build.lineage
    refused = {node.uid: node.refusal for node in graph.nodes.values() if node.refusal}
    read = {uid for name in graph.marts for uid in graph.ancestors(graph.marts[name])}
    read |= {uid for node in graph.intermediates() for uid in node.parents}
    for node in graph.nodes.values():
        if (node.kind, node.schema) == ("source", "source") and node.uid in read:
            is_loaded = node.name in build.loaded
            if reason := table.make_sure(connection, node.name, is_loaded):
                refused[node.uid] = reason
    for uid, reason in refused.items():
        build.verdict.refuse(uid, reason)
    return refused.keys() | graph.descendants(refused)


def _selection(build: Build, unchanged_views: set[str], refused: set[str]) -> set[str]:
    """Return what dbt has to select: the marts, the views below any mart, and their tests.

    Left out are unchanged views, tests of views that passed on the same rows before, and what
    cannot be built.
    """
    graph, marts = build.lineage, build.verdict.built
    views = {node.uid for node in graph.intermediates()}
    tested = build.last.get("tested", {})
    new_views = {uid for uid in views if tested.get(uid) != build.fingerprints[uid]}
    tests = {test.uid for test in graph.tests if (marts | new_views).intersection(test.parents)}
    selected = (marts | (views - unchanged_views) | tests) - refused
    return {graph.nodes[uid].fqn for uid in selected}


def _with_example(connection: psycopg.Connection, result: Result) -> Result:
    """Add the first row that failed a test to its message."""
    first = f"select to_jsonb(failed) from {queries.trusted(result.relation)} as failed limit 1"  # noqa: S608
    try:
        row = queries.scalar(connection, first)
    except psycopg.Error:  # the rows are gone already
        return result
    shown = ", ".join(f"{name} {value}" for name, value in row.items() if value is not None)
    return result._replace(message=f"{result.message}: {escaped(shown, 200)}")
