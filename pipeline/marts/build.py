"""A build of the dbt project until its publication, and what the ledger records of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psycopg

from pipeline import state
from pipeline.database import catalog, ledger
from pipeline.database.queries import dicts, scalar
from pipeline.marts import data_status, marks
from pipeline.marts.dbt_runner import Result
from pipeline.marts.freshness import Row
from pipeline.marts.lineage import Lineage
from pipeline.marts.marks import Version
from pipeline.marts.verdict import Verdict
from pipeline.state import Outcome

GRACE = timedelta(days=7)  # for the table of a deleted model


@dataclass
class Build:
    """What a build is made from, and its results so far."""

    fingerprint: str  # of everything it is made from: transform.fingerprint_of
    loaded: dict[str, str]  # fingerprint of each source's rows, by name
    lineage: Lineage
    last: dict  # facts of the previous build
    verdict: Verdict
    schema_oid: int  # of the schema it is built in
    results: dict[str, Result] = field(default_factory=dict)  # by unique id

    def __post_init__(self):
        self.fingerprints = self.lineage.fingerprints(self.loaded)  # by unique id

    def without_model(self, connection: psycopg.Connection) -> dict[str, str]:
        """Since when published tables have been without a model, by name."""
        ours = ledger.newest(connection, "transform", (Outcome.PUBLISHED,)).keys()
        names = (ours & catalog.tables(connection).keys()) - self.lineage.marts.keys()
        before = self.last.get("gone", {})
        return {name: before.get(name, state.now()) for name in sorted(names)}

    def to_drop(self, connection: psycopg.Connection) -> list[str]:
        """Those of them whose time of grace is over, unless objects of others depend on them."""
        names = expired(self.without_model(connection))
        return [name for name in names if name not in self.verdict.other_failures]

    def facts(self, connection: psycopg.Connection, without_model: dict[str, str]) -> dict:
        """What the ledger records of the whole build.

        without_model: the tables without a model that stay for now, and since when they have none.
        """
        graph, passing, held = self.lineage, self.verdict.passing, self.verdict.held
        other_failures = self.verdict.other_failures
        is_well = not (held or other_failures)
        published = catalog.tables(connection).keys()
        outcome = Outcome.PUBLISHED if passing else Outcome.UNCHANGED
        facts: dict = {
            "outcome": outcome if is_well else Outcome.HELD,
            "tables": sorted({*passing, *without_model} | (graph.marts.keys() & published)),
            "published": passing,
            "held": held,
            "failed": other_failures,
            "gone": without_model,
            "loaded": self.loaded,
            "sources": {name: graph.sources_of(name) for name in graph.marts},
            "ancestors": {name: graph.mart_ancestors(name) for name in graph.marts},
            "rows": sum(self.results[graph.marts[name]].rows or 0 for name in passing),
            "tested": self._tested(),
            "proven": self._passed_unit_tests(),
            "views": {
                uid: view
                for uid, view in self._views(connection).items()
                if uid not in self.results or self.results[uid].is_good
            },
            "warnings": self._warnings(),
            "uncastable": _uncastable(connection),
        }
        if not is_well:
            facts["reason"] = _reason(len(held), len(graph.marts), other_failures)
            facts["remedy"] = "what is published stays at its last good rows; see the report"
        return facts

    def unchanged_views(self, connection: psycopg.Connection) -> set[str]:
        """The views that an earlier build created by the definitions of today.

        Without those that read a recreated node, such as a seed, because dbt drops them with it.
        """
        known = self.last.get("views", {})
        same = {uid for uid, view in self._views(connection).items() if known.get(uid) == view}
        others = {node.uid for node in self.lineage.intermediates() if node.is_relation} - same
        return same - self.lineage.descendants(others)

    def passed_unit_tests(self) -> set[str]:
        """The unit tests that passed in an earlier build with the code of today."""
        known = self.last.get("proven", {})
        return {uid for uid, code in self.lineage.unit_tests().items() if known.get(uid) == code}

    def record(self, connection: psycopg.Connection, run_id: str, facts: dict) -> list[Row]:
        """Write the steps and marks of the build; returns the new rows of `data_status`."""
        shared = {"generation": facts["generation"], "started_at": state.now()}
        ledger.begin(connection, run_id, "transform", state.now())
        for name in facts["published"]:
            uid = self.lineage.marts[name]
            rows, seconds = self.results[uid].rows, self.results[uid].seconds
            step = shared | {"outcome": Outcome.PUBLISHED, "rows": rows, "seconds": seconds}
            ledger.note(connection, run_id, "transform", name, step, self.fingerprints[uid])
            writer = marks.writer(connection, catalog.NEXT, name)
            version = Version(str(facts["generation"]), rows, writer=writer)
            marks.record(connection, catalog.PUBLISHED, name, version, built_in=catalog.NEXT)
        for name, reason in facts["held"].items():
            step = shared | {"outcome": Outcome.HELD, "reason": reason}
            ledger.note(connection, run_id, "transform", name, step)
        whole = facts | shared
        ledger.note(connection, run_id, "transform", ledger.ALL_MODELS, whole, self.fingerprint)
        return data_status.rows(connection, verified_at=datetime.now(UTC))

    def _passed_unit_tests(self) -> dict[str, str]:
        """The fingerprint of the code with which each unit test passed, for the next build."""
        ran = self.results.keys()
        passed = {uid for uid in ran if self.results[uid].is_good}
        passed |= self.passed_unit_tests() - ran
        return {uid: code for uid, code in self.lineage.unit_tests().items() if uid in passed}

    def _views(self, connection: psycopg.Connection) -> dict[str, str]:
        """The existing views below the marts: the definition of the node, and what the server has.

        dbt creates a view under a new oid, so that one which a killed build left is not taken for
        the previous one. One that somebody replaced has the same oid and another query.
        """
        definitions = self.lineage.fingerprints({})
        nodes = self.lineage.intermediates()
        existing = dict(
            connection.execute(
                """select format('%%s.%%s', nspname, relname),
                    format('%%s %%s', pg_class.oid, md5(pg_get_viewdef(pg_class.oid)))
                from pg_class join pg_namespace on pg_namespace.oid = relnamespace
                where relkind = 'v' and nspname = any(%s)""",
                [sorted({node.schema for node in nodes})],
            ).fetchall()
        )
        return {
            node.uid: f"{definitions[node.uid]} {existing[name]}"
            for node in nodes
            if (name := f"{node.schema}.{node.name}") in existing
        }

    def _tested(self) -> dict[str, str]:
        """The fingerprints of the intermediates whose tests all passed, for the next build."""
        failed = {
            parent
            for test in self.lineage.tests
            if test.uid in self.results and not self.results[test.uid].is_good
            for parent in test.parents
        }
        passed = {node.uid for node in self.lineage.intermediates()} - failed
        return {uid: self.fingerprints[uid] for uid in sorted(passed)}

    def _warnings(self) -> dict[str, str]:
        """The warnings of tests, by name; of a test that did not run again, its last one."""
        ran = {result.name: result for result in self.results.values()}
        tests = {test.name for test in self.lineage.tests} - ran.keys()
        last = self.last.get("warnings") or {}
        warnings = {name: text for name, text in last.items() if name in tests}
        return warnings | {name: r.message for name, r in ran.items() if r.status == "warn"}


def expired(without_model: dict[str, str]) -> list[str]:
    """The tables without a model whose time of grace is over."""
    now = datetime.now(UTC)
    return [n for n, since in without_model.items() if datetime.fromisoformat(since) + GRACE <= now]


def _reason(held: int, marts: int, other_failures: Iterable[str]) -> str:
    """In one line: how many tables are held, and what else failed."""
    parts = [f"{held} of {marts} tables are held"] if held else []
    parts += [f"trouble with {', '.join(sorted(other_failures))}"] if other_failures else []
    return "; ".join(parts)


def _uncastable(connection: psycopg.Connection) -> list[dict]:
    """The number of values per column that the staging casts could not read: null in the models."""
    if not scalar(connection, "select to_regclass('staging.uncastable_values')"):
        return []  # its model failed, which is among Verdict.other_failures
    return dicts(
        connection,
        """select source_name as source, column_name as column, target_type as type,
            uncastable_count as count, example
        from staging.uncastable_values where uncastable_count > 0
        order by source_name, column_name""",
    )
