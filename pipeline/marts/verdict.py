"""Which marts are published and which are held at their last good tables.

A mart is published when it was built, its tests passed, and everything it is made from is published
too or did not change. A failure holds the marts that it is about and all marts made from them,
and no others.
"""

from collections.abc import Iterable

from pipeline.marts.dbt_runner import Result
from pipeline.marts.lineage import TESTS, Lineage, Node


class Verdict:
    """The marts built tonight, and why some of them are held."""

    def __init__(self, lineage: Lineage, built: Iterable[str]):
        """`built`: the names of the marts that dbt is asked to build."""
        self.lineage = lineage
        self.built = {lineage.marts[name] for name in built}
        self.other_failures: dict[str, str] = {}  # the failures that are about no mart, by name
        self._reasons: dict[str, str] = {}  # why each held mart is held, by unique id
        self._passed: dict[str, bool] = {}  # of each test that ran
        self._seen_as_held: set[str] = set()  # marts that were held when the last tests ran

    @property
    def passing(self) -> list[str]:
        """The names of the marts that would be published now."""
        return sorted(self._name(uid) for uid in self._passing)

    @property
    def held(self) -> dict[str, str]:
        """Why each held mart is held, by name."""
        return {self._name(uid): self._reasons[uid] for uid in sorted(self._reasons)}

    @property
    def _passing(self) -> set[str]:
        return self.built - self._reasons.keys()

    def judge(self, results: list[Result]) -> None:
        """Hold what failed, and what is made from it."""
        for result in results:
            node = self.lineage.nodes.get(result.uid)
            is_failure = not result.is_good and result.status != "skipped"
            if node is None or node.kind == "operation":  # such as on-run-start
                if is_failure:
                    self.other_failures[result.name] = result.message
                continue
            if node.kind in TESTS:
                self._passed[node.uid] = result.is_good
            if is_failure:
                self._hold_for(node, _reason(node, result))
        # dbt skips a model when its unit test failed, or what it reads: both were judged above.
        self._hold_descendants()
        skipped = {r.uid for r in results if r.status == "skipped"}
        self._hold(skipped & self._passing, "dbt did not build it, see the log")
        self._hold_descendants()

    def hold(self, names: Iterable[str], reason: str) -> None:
        """Hold marts, and what is made from them, for a reason of the pipeline's own."""
        self._hold({self.lineage.marts[name] for name in names}, reason)
        self._hold_descendants()

    def refuse(self, uid: str, reason: str) -> None:
        """Hold what is made from a node that is not built, and the node, if it is a mart."""
        node = self.lineage.nodes[uid]
        self._hold_for(node, reason if uid in self.built else f"{node.name}: {reason}")
        self._hold_descendants()

    def tests_to_repeat(self) -> list[Node]:
        """The tests that have not passed on what would be published now.

        They read a mart that would be published, and did not run, or read another table of a mart
        that has been held since.
        """
        newly_held = self._reasons.keys() - self._seen_as_held
        self._seen_as_held |= newly_held
        return [
            test
            for test in self.lineage.tests
            if test.kind == "test"
            and self._passing.intersection(test.parents)
            and (newly_held.intersection(test.parents) or not self._passed.get(test.uid))
        ]

    def _hold_for(self, node: Node, reason: str) -> None:
        affected = self._affected(node)
        self._hold(affected, reason)
        if not affected and not self._reasons.keys() & ({node.uid} | self._related(node)):
            self.other_failures[node.name] = reason

    def _affected(self, node: Node) -> set[str]:
        """The marts, of those that would be published, that a failed node is about."""
        if node.uid in self._passing:
            return {node.uid}
        if node.attached in self._passing:
            return {node.attached}
        if tested := self._passing.intersection(node.parents if node.kind in TESTS else ()):
            return tested
        return self._related(node) & self._passing

    def _related(self, node: Node) -> set[str]:
        """The marts built tonight that a test reads or that are made from what it reads.

        Of a model: itself, and those made from it.
        """
        models = set(node.parents) if node.kind in TESTS else {node.uid}
        below = {uid for uid in self.built if models & self.lineage.ancestors(uid)}
        return (models & self.built) | below

    def _hold(self, uids: set[str], reason: str) -> None:
        for uid in uids:
            self._reasons.setdefault(uid, reason)

    def _hold_descendants(self) -> None:
        held_marts = self._reasons.keys() & set(self.lineage.marts.values())
        for uid in self._passing:
            if above := self.lineage.ancestors(uid) & held_marts:
                names = ", ".join(sorted(map(self._name, above)))
                self._reasons[uid] = f"it is made from {names}"

    def _name(self, uid: str) -> str:
        return self.lineage.nodes[uid].name


def _reason(node: Node, result: Result) -> str:
    if node.kind not in TESTS:
        return f"{node.name} cannot be built: {result.message}"
    rows = f" (rows: {result.relation})" if result.relation else ""
    return f"test {node.name} failed: {result.message}{rows}"
