"""Every promise of docs/guarantees.md names a test that exists.

Tests in `tests/domain/` go with the domain when a team removes it: docs/make_it_yours.md.
"""

import ast
import re

from pipeline.settings import ROOT

TESTS = ROOT / "tests"
PAGE = (ROOT / "docs" / "guarantees.md").read_text("utf-8")
NAMED = re.findall(r"`((?:domain/)?test_\w+\.py)::(test_\w+)`", PAGE)


def functions(file: str) -> set[str]:
    """The names of the tests in a file."""
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_promise_names_a_test_that_exists():
    there = [named for named in NAMED if (TESTS / named[0]).parent.is_dir()]
    missing = [f"{file}::{name}" for file, name in there if name not in functions(file)]
    assert missing == []


def test_every_promise_names_one_test_and_none_is_named_twice():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "::" in line]
    assert len(rows) == len(NAMED) == len(set(NAMED)) > 50
    assert PAGE.count("::") == len(NAMED)
