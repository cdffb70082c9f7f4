"""The graph of the dbt project: ancestors, tests, and a fingerprint of each node.

A mart is rebuilt when its fingerprint changed: the hash of its own SQL and settings, of the macros
and tests that concern it, and of the fingerprints of everything it reads, down to the rows of the
sources.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from pipeline.marts import credits, resources
from pipeline.raw.fingerprints import fingerprint_of

TESTS = ("test", "unit_test")
_OF_DBT = ("dbt", "dbt_postgres")  # packages whose macros change only with dbt's version
# The parts of a node's definition on which its table, or a test's result, depends.
_DEFINITION = (
    "config",
    "columns",
    "constraints",
    "description",
    "raw_code",
    "checksum",
    "test_metadata",
    "given",
    "expect",
    "overrides",
    "arguments",  # of a function
    "returns",
)


@dataclass(frozen=True)
class Node:
    """One model, seed, snapshot, function, source or test of the project."""

    uid: str
    name: str  # of its relation, if dbt builds one
    kind: str  # dbt's resource type
    schema: str
    fqn: str  # selects it, and with a model its unit tests
    parents: tuple[str, ...]
    attached: str | None  # the one node that a test is about, if there is one
    own: str = field(repr=False)  # hash of its own definition
    is_relation: bool = True  # whether the database contains something of its name
    refusal: str = ""  # why it is not built, and what to write instead
    may_shrink: bool = False  # from its `meta`, like Source(may_shrink=True) of a source


class Lineage:
    """The graph of a parsed project."""

    def __init__(self, nodes: Iterable[Node], marts_schema: str):
        self.nodes = {node.uid: node for node in nodes}
        self.marts = {
            node.name: node.uid
            for node in self.nodes.values()
            if node.schema == marts_schema and node.kind in resources.BUILT and node.is_relation
        }
        self.tests = [node for node in self.nodes.values() if node.kind in TESTS]
        self.ancestors = cache(self._ancestors)

    def _ancestors(self, uid: str) -> frozenset[str]:
        """All nodes that a node is made from, without itself."""
        parents = [parent for parent in self.nodes[uid].parents if parent in self.nodes]
        return frozenset(parents).union(*(self.ancestors(parent) for parent in parents))

    def intermediates(self) -> list[Node]:
        """What is between sources and marts: staging and intermediate models, seeds, functions."""
        marts = set(self.marts.values())
        return [
            node
            for node in self.nodes.values()
            if node.kind in resources.BUILT and node.uid not in marts
        ]

    def descendants(self, uids: Iterable[str]) -> set[str]:
        """All nodes made from any of these; without these, unless one is made from another."""
        wanted = set(uids)
        return {uid for uid in self.nodes if wanted & self.ancestors(uid)}

    def sources_of(self, mart: str) -> list[str]:
        """The names of the tables in schema `source` that a mart descends from."""
        nodes = (self.nodes[uid] for uid in self.ancestors(self.marts[mart]))
        return sorted(n.name for n in nodes if n.kind == "source" and n.schema == "source")

    def mart_ancestors(self, mart: str) -> list[str]:
        """The names of the marts that a mart descends from."""
        above = self.ancestors(self.marts[mart])
        return sorted(name for name, uid in self.marts.items() if uid in above)

    def unit_tests(self) -> dict[str, str]:
        """The fingerprint of the code that each unit test depends on, by unique id.

        That is its own code, its model's, and that of the nodes that the model reads, which
        determine the types of the columns.
        """
        fingerprints = {}
        for test in self.tests:
            if test.kind == "unit_test":
                models = [self.nodes[uid] for uid in test.parents if uid in self.nodes]
                read = {uid for model in models for uid in model.parents if uid in self.nodes}
                code = [test, *models, *(self.nodes[uid] for uid in read)]
                fingerprints[test.uid] = fingerprint_of({node.uid: node.own for node in code})
        return fingerprints

    def fingerprints(self, loaded: dict[str, str]) -> dict[str, str]:
        """The fingerprint of every node except the tests, by unique id.

        loaded: the fingerprint of the rows of each source that was ever loaded, by name.
        """
        tests_of: dict[str, dict[str, str]] = {}
        for test in self.tests:
            for parent in test.parents:
                tests_of.setdefault(parent, {})[test.uid] = test.own

        @cache
        def of(uid: str) -> str:
            node = self.nodes[uid]
            parts = {"own": node.own} | tests_of.get(uid, {})
            if node.kind == "source":
                parts["rows"] = _rows_of(node, loaded)
            return fingerprint_of(
                parts | {f"of {p}": of(p) for p in node.parents if p in self.nodes}
            )

        return {uid: of(uid) for uid, node in self.nodes.items() if node.kind not in TESTS}


def _rows_of(source: Node, loaded: dict[str, str]) -> str:
    """The fingerprint of a source's rows; of the ledger: which sources were ever loaded."""
    if source.schema == "source":
        return loaded.get(source.name, "never loaded")
    return " ".join(sorted(loaded))


def read(manifest, marts_schema: str, foundations: str) -> Lineage:
    """The lineage of a project that dbt has parsed.

    Parameters
    ----------
    manifest:     dbt's Manifest.
    marts_schema: where dbt builds what is published.
    foundations:  part of every fingerprint: `dbt_runner.foundations`.
    """
    macros = _Macros(manifest.macros, foundations)
    parsed = manifest.nodes | manifest.functions
    nodes = [_node(uid, node, macros, marts_schema) for uid, node in parsed.items()]
    nodes += [_node(uid, node, macros, marts_schema) for uid, node in manifest.unit_tests.items()]
    nodes += [
        Node(uid, s.identifier, "source", s.schema, "", (), None, credits.of(s.identifier))
        for uid, s in manifest.sources.items()
    ]
    return Lineage(nodes, marts_schema)


def _node(uid: str, node, macros: "_Macros", marts_schema: str) -> Node:
    kind = str(node.resource_type)
    is_built = kind in resources.BUILT
    facts = node.to_dict(omit_none=True)
    parts = {key: json.dumps(facts.get(key), sort_keys=True, default=str) for key in _DEFINITION}
    parts["macros"] = macros.fingerprint(node.depends_on.macros)
    if is_built:
        parts["content"] = resources.content_of(node)
    return Node(
        uid,
        node.alias if is_built else node.name,
        kind,
        node.schema,
        ".".join(node.fqn),
        tuple(getattr(node.depends_on, "nodes", ())),  # a seed reads nothing
        _attached(node),
        fingerprint_of(parts),
        str(getattr(node.config, "materialized", "")) != "ephemeral",
        resources.refusal(node, marts_schema) if is_built else "",
        is_built and bool(node.config.meta.get("may_shrink")),
    )


def _attached(node) -> str | None:
    """The one node a test is about: of generic ones dbt knows it, others name it in `meta`."""
    about = node.config.meta.get("about") if node.resource_type == "test" else None
    parents = getattr(node.depends_on, "nodes", ())
    named = [uid for uid in parents if uid.split(".")[2] == about]
    return named[0] if named else getattr(node, "attached_node", None)


class _Macros:
    """Fingerprints of the project's macros, with those they call."""

    def __init__(self, macros: dict, foundations: str):
        self._macros, self._foundations = macros, foundations

    def fingerprint(self, uids: Iterable[str]) -> str:
        """The fingerprint of these macros and all that they call."""
        parts: dict[str, str] = {"dbt": self._foundations}
        waiting = list(uids)
        while waiting:
            uid = waiting.pop()
            macro = self._macros.get(uid)
            if macro and macro.package_name not in _OF_DBT and uid not in parts:
                parts[uid] = macro.macro_sql
                waiting += macro.depends_on.macros
        return fingerprint_of(parts)
