"""A build of the dbt project on its way to publication, and what the ledger is told of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psycopg

from pipeline import state
from pipeline.database import catalog, ledger
from pipeline.database.queries import scalar
from pipeline.marts import data_status, marks
from pipeline.marts.dbt_runner import Result
from pipeline.marts.freshness import Row
from pipeline.marts.lineage import Lineage
from pipeline.marts.marks import Version
from pipeline.marts.verdict import Verdict

GRACE = timedelta(days=7)  # for the table of a model that is no more


@dataclass
class Build:
    """What a build is made of, and what came of it so far."""

    fingerprint: str  # of all it is made of, as transform.fingerprint_of tells
    loaded: dict[str, str]  # fingerprint of each source's rows, by name
    lineage: Lineage
    last: dict  # facts of the build before
    verdict: Verdict
    room: int  # oid of the schema it stands in
    results: dict[str, Result] = field(default_factory=dict)  # by unique id

    def __post_init__(self):
        self.made_of = self.lineage.made_of(self.loaded)

    def gone(self, connection: psycopg.Connection) -> dict[str, str]:
        """Since when the published tables have had no model that have none now, by name."""
        ours = ledger.newest(connection, "transform", ("published",)).keys()
        without = (ours & catalog.tables(connection).keys()) - self.lineage.marts.keys()
        before = self.last.get("gone", {})
        return {name: before.get(name, state.now()) for name in sorted(without)}

    def due(self, connection: psycopg.Connection) -> list[str]:
        """Those of them whose time is up; what was found to be in use by others stays."""
        return [name for name in due(self.gone(connection)) if name not in self.verdict.loose]

    def facts(self, connection: psycopg.Connection, gone: dict[str, str]) -> dict:
        """What is noted of the build as a whole.

        gone: the tables without a model that stay for now, and since when they have none.
        """
        graph, verdict = self.lineage, self.verdict
        going, held = verdict.going, verdict.held
        there = catalog.tables(connection).keys()
        is_well = not (held or verdict.loose)
        facts = {
            "outcome": "held" if not is_well else "published" if going else "unchanged",
            "tables": sorted({*going} | (graph.marts.keys() & there) | gone.keys()),
            "published": going,
            "held": held,
            "failed": verdict.loose,
            "gone": gone,
            "loaded": self.loaded,
            "sources": {name: graph.sources_of(name) for name in graph.marts},
            "ancestors": {name: graph.marts_above(name) for name in graph.marts},
            "rows": sum(self.results[graph.marts[name]].rows or 0 for name in going),
            "tested": self._tested(),
            "proven": self._proven(),
            "views": {
                uid: view
                for uid, view in self._views(connection).items()
                if uid not in self.results or self.results[uid].is_good
            },
            "warnings": self._warnings(),
            "uncastable": _uncastable(connection),
        }
        if not is_well:
            facts["reason"] = _trouble(len(held), len(graph.marts), verdict.loose)
            facts["remedy"] = "what is published stays at its last good rows; see the report"
        return facts

    def standing(self, connection: psycopg.Connection) -> set[str]:
        """The views that are still the ones an earlier build made, by the definitions of today.

        dbt drops the views on whatever else it makes anew, such as a seed.
        """
        known = self.last.get("views", {})
        same = {uid for uid, view in self._views(connection).items() if known.get(uid) == view}
        anew = {node.uid for node in self.lineage.others() if node.is_relation} - same
        return same - self.lineage.descendants(anew)

    def proven(self) -> set[str]:
        """The unit tests that an earlier build passed with the code of today, whatever the rows."""
        known = self.last.get("proven", {})
        return {uid for uid, code in self.lineage.unit_tests().items() if known.get(uid) == code}

    def _proven(self) -> dict[str, str]:
        """The code that each unit test passed with, for the next night."""
        ran = self.results.keys()
        passed = {uid for uid in ran if self.results[uid].is_good} | (self.proven() - ran)
        return {uid: code for uid, code in self.lineage.unit_tests().items() if uid in passed}

    def _views(self, connection: psycopg.Connection) -> dict[str, str]:
        """Definition and oid of each view below the marts that is there, and what the server has.

        dbt makes a view under a new oid: one that a killed build left is not taken for the one
        before. One that somebody replaced has the same oid and other words.
        """
        definitions = self.lineage.made_of({})
        names = {node.uid: f"{node.schema}.{node.name}" for node in self.lineage.others()}
        there = dict(
            connection.execute(
                """select format('%%s.%%s', nspname, relname),
                    format('%%s %%s', pg_class.oid, md5(pg_get_viewdef(pg_class.oid)))
                from pg_class join pg_namespace on pg_namespace.oid = relnamespace
                where relkind = 'v' and nspname = any(%s)""",
                [sorted({node.schema for node in self.lineage.others()})],
            ).fetchall()
        )
        return {
            uid: f"{definitions[uid]} {there[name]}" for uid, name in names.items() if name in there
        }

    def _tested(self) -> dict[str, str]:
        """What the views were made of on which all their tests passed, for the next night."""
        failed = {
            parent
            for test in self.lineage.tests
            if test.uid in self.results and not self.results[test.uid].is_good
            for parent in test.parents
        }
        views = {node.uid for node in self.lineage.others()}
        return {uid: self.made_of[uid] for uid in sorted(views - failed)}

    def _warnings(self) -> dict[str, str]:
        """What the tests warn of by name, those included that had no cause to run again."""
        ran = {r.name: r for r in self.results.values()}
        known = {test.name for test in self.lineage.tests}
        old = self.last.get("warnings") or {}
        kept = {name: text for name, text in old.items() if name in known and name not in ran}
        return kept | {name: r.message for name, r in ran.items() if r.status == "warn"}

    def note(self, connection: psycopg.Connection, run_id: str, facts: dict) -> list[Row]:
        """Write the ledger's rows; returns what readers are to be told."""
        generation = {"generation": facts["generation"]}
        stamp = generation | {"started_at": state.now()}
        ledger.begin(connection, run_id, "transform", state.now())
        for name in facts["published"]:
            uid = self.lineage.marts[name]
            result = self.results[uid]
            told = stamp | {"outcome": "published", "rows": result.rows, "seconds": result.seconds}
            ledger.note(connection, run_id, "transform", name, told, self.made_of[uid])
            writer = marks.writer(connection, catalog.NEXT, name)
            made = Version(str(facts["generation"]), result.rows, writer=writer)
            marks.record(connection, catalog.PUBLISHED, name, made, built_in=catalog.NEXT)
        for name, reason in facts["held"].items():
            told = stamp | {"outcome": "held", "reason": reason}
            ledger.note(connection, run_id, "transform", name, told)
        whole = facts | stamp
        ledger.note(connection, run_id, "transform", ledger.ALL_MODELS, whole, self.fingerprint)
        return data_status.rows(connection, verified_at=datetime.now(UTC))


def _trouble(held: int, marts: int, loose: Iterable[str]) -> str:
    """In one line: how many tables are held, and what is not well beside them."""
    parts = [f"{held} of {marts} tables are held"] if held else []
    parts += [f"trouble with {', '.join(sorted(loose))}"] if loose else []
    return "; ".join(parts)


def due(gone: dict[str, str]) -> list[str]:
    """The tables without a model whose time of grace is over."""
    now = datetime.now(UTC)
    return [name for name, since in gone.items() if datetime.fromisoformat(since) + GRACE <= now]


def _uncastable(connection: psycopg.Connection) -> list[dict]:
    """What the staging casts could not read, counted by column; null in the models."""
    if not scalar(connection, "select to_regclass('staging.uncastable_values')"):
        return []  # it could not be built: see Verdict.loose
    rows = connection.execute(
        """select source_name, column_name, target_type, uncastable_count, example
        from staging.uncastable_values where uncastable_count > 0 order by 1, 2"""
    )
    names = ("source", "column", "type", "count", "example")
    return [dict(zip(names, row, strict=True)) for row in rows]
