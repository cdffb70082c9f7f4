"""The publication of a build: its tests on what will be published, then the exchange of tables."""

from datetime import UTC, datetime

import psycopg

from pipeline import database, runs
from pipeline.database import ledger
from pipeline.marts import build_schema, data_status, dependents, publication
from pipeline.marts.build import Build
from pipeline.marts.dbt_runner import Dbt
from pipeline.marts.freshness import Row
from pipeline.prod import connection as prod
from pipeline.settings import Settings
from pipeline.stages import mart_build
from pipeline.state import Outcome


def run(here: Settings, connection: psycopg.Connection, build: Build, dbt: Dbt) -> dict:
    """Publish the marts that pass; a mart that cannot be published is held. Returns the facts."""
    started = datetime.now(UTC)
    while True:
        _repeat_tests(connection, build, dbt)
        try:
            facts = _publish(here, connection, build)
            seconds = (datetime.now(UTC) - started).total_seconds()
            return facts | {"publication_seconds": round(seconds, 3)}
        except dependents.Refused as refused:
            # A table without a model stays, rather than keeping a new table from being published.
            if in_use := refused.tables & set(build.to_drop(connection)):
                build.verdict.other_failures |= dict.fromkeys(in_use, str(refused))
            elif blocked := refused.tables & set(build.verdict.passing):
                build.verdict.hold(blocked, str(refused))
            else:
                raise


def _repeat_tests(connection: psycopg.Connection, build: Build, dbt: Dbt) -> None:
    """Run the tests that saw anything else than what will be published."""
    while True:
        build_schema.show_published(connection, build.verdict.held)
        tests = build.verdict.tests_to_repeat()
        if not tests:
            return
        results = dbt.test({test.fqn for test in tests})
        mart_build.add_results(build, results)
        build.verdict.judge(results)
        for test in tests:
            if test.uid not in build.results:
                names = {name for name, uid in build.lineage.marts.items() if uid in test.parents}
                build.verdict.hold(names, f"dbt did not run test {test.name}")


def _publish(here: Settings, connection: psycopg.Connection, build: Build) -> dict:
    """Replace the published tables, and record the build in the same transaction."""
    run_id = runs.current_id()
    without_model, dropped = build.without_model(connection), build.to_drop(connection)
    staying = {name: without_model[name] for name in without_model.keys() - set(dropped)}
    facts = build.facts(connection, staying)
    if dropped and facts["outcome"] == Outcome.UNCHANGED:
        facts["outcome"] = Outcome.PUBLISHED

    def record(connection: psycopg.Connection, generation: int) -> list[Row]:
        return build.record(connection, run_id, facts | {"generation": generation})

    names = build.verdict.passing
    if not names and not dropped:
        build_schema.create(connection, here.publish_patience)  # empties it
        generation = ledger.generation(connection)
        with connection.transaction():
            data_status.write(connection, record(connection, generation))
        return facts | {"generation": generation}
    greatest = prod.greatest_generation(here, ledger.generation(connection))
    try:
        generation = publication.publish(
            connection, here, build.schema_oid, names, record, dropped, greatest
        )
    except psycopg.Error as error:
        # Perhaps only the reply to the commit was lost.
        if not database.is_lost(error):
            raise
        committed = _committed_generation(here, run_id)
        if committed is None:
            raise
        generation = committed
    return facts | {"generation": generation}


def _committed_generation(here: Settings, run_id: str) -> int | None:
    """Return the newest generation, if this run published it."""
    with database.connect(here) as connection:
        last = ledger.last_build(connection)
        is_ours = last is not None and last["run_id"] == run_id
        return ledger.generation(connection) if is_ours else None
