"""Which marts are published and which are held at their last good tables.

A mart goes out when it was built, its tests passed, and all that it is made of goes out too or did
not change. Whatever fails holds what it is about and all that descends from that, nothing else.
"""

from collections.abc import Iterable

from pipeline.marts.dbt_runner import Result
from pipeline.marts.lineage import TESTS, Lineage, Node


class Verdict:
    """The marts built tonight, and why some of them are held."""

    def __init__(self, lineage: Lineage, built: Iterable[str]):
        """`built`: names of the marts that dbt was asked for."""
        self.lineage = lineage
        self.built = {lineage.marts[name] for name in built}
        self._reasons: dict[str, str] = {}  # by unique id
        self._status: dict[str, bool] = {}  # of each test that ran, whether it passed
        self._settled: set[str] = set()  # held marts that the last tests already saw as such
        self.loose: dict[str, str] = {}  # what failed and is about no mart, by name

    @property
    def going(self) -> list[str]:
        """The names of the marts that go out as it stands."""
        return sorted(self._name(uid) for uid in self._going)

    @property
    def held(self) -> dict[str, str]:
        """Why each held mart is held, by name."""
        return {self._name(uid): self._reasons[uid] for uid in sorted(self._reasons)}

    @property
    def _going(self) -> set[str]:
        return self.built - self._reasons.keys()

    def judge(self, results: list[Result]) -> None:
        """Hold what failed, and what descends from it."""
        for result in results:
            node = self.lineage.nodes.get(result.uid)
            if node is None or node.kind == "operation":  # on-run-start and its like
                if not result.is_good and result.status != "skipped":
                    self.loose[result.name] = result.message
                continue
            if node.kind in TESTS:
                self._status[node.uid] = result.is_good
            if not result.is_good and result.status != "skipped":
                self._hold_for(node, _words(node, result))
        # A model is skipped when a unit test of it failed, or what it reads: both are noted above.
        self._hold_descendants()
        unbuilt = {r.uid for r in results if r.status == "skipped"}
        self._hold(unbuilt & self._going, "dbt did not build it, see the log")
        self._hold_descendants()

    def hold(self, names: Iterable[str], reason: str) -> None:
        """Hold marts for a reason of ours, with what descends from them."""
        self._hold({self.lineage.marts[name] for name in names}, reason)
        self._hold_descendants()

    def refuse(self, uid: str, reason: str) -> None:
        """Hold what descends from a node that is not built, and it, if it is a mart."""
        node = self.lineage.nodes[uid]
        self._hold_for(node, reason if uid in self.built else f"{node.name}: {reason}")
        self._hold_descendants()

    def unproven(self) -> list[Node]:
        """The tests that have not passed on what would be published now.

        They touch a mart that goes out, and either did not run, or saw another table of a mart
        that has been held since.
        """
        new = self._reasons.keys() - self._settled
        self._settled |= new
        return [
            test
            for test in self.lineage.tests
            if test.kind == "test"
            and self._going.intersection(test.parents)
            and (new.intersection(test.parents) or not self._status.get(test.uid))
        ]

    def _hold_for(self, node: Node, reason: str) -> None:
        blamed = self._blamed(node)
        self._hold(blamed, reason)
        if not blamed and not self._reasons.keys() & ({node.uid} | self._about(node)):
            self.loose[node.name] = reason

    def _about(self, node: Node) -> set[str]:
        """The marts built tonight that a node has to do with."""
        parents = set(node.parents) if node.kind in TESTS else {node.uid}
        below = {uid for uid in self.built if parents & self.lineage.ancestors(uid)}
        return (parents & self.built) | below

    def _blamed(self, node: Node) -> set[str]:
        """The marts that a failed node stands for, of those that would go out."""
        if node.uid in self._going:
            return {node.uid}
        if node.attached in self._going:
            return {node.attached}
        if touched := self._going.intersection(node.parents if node.kind in TESTS else ()):
            return touched
        return self._about(node) & self._going

    def _hold(self, uids: set[str], reason: str) -> None:
        for uid in uids:
            self._reasons.setdefault(uid, reason)

    def _hold_descendants(self) -> None:
        marts = set(self.lineage.marts.values())
        at_fault = set(self._reasons)
        for uid in self._going:
            if above := self.lineage.ancestors(uid) & marts & at_fault:
                names = ", ".join(sorted(map(self._name, above)))
                self._reasons[uid] = f"it is made from {names}"

    def _name(self, uid: str) -> str:
        return self.lineage.nodes[uid].name


def _words(node: Node, result: Result) -> str:
    if node.kind not in TESTS:
        return f"{node.name} cannot be built: {result.message}"
    where = f" (rows: {result.relation})" if result.relation else ""
    return f"test {node.name} failed: {result.message}{where}"
