"""The packages of `pipeline/` stand in layers: docs/architecture.md says in which order."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.settings import ROOT

PIPELINE = ROOT / "pipeline"
PAGE = (ROOT / "docs/architecture.md").read_text()
GROUND = ""  # the modules that stand in no package
LAYERS = [GROUND, *re.findall(r"^\| `pipeline/(\w+)/` \|", PAGE, re.MULTILINE)]
MODULES = sorted(path for path in PIPELINE.rglob("*.py") if path.name != "__main__.py")

# Who may import what is heavy, or reaches a database.
ALLOWED = {
    "psycopg": {
        "database",
        "embedded",
        "schema",
        "marts",
        "prod",
        "report",
        "exports",
        "stages",
        "cli",
        "drill",
    },
    "dbt": {"marts"},
}
LAZY = ("dbt", "duckdb", "geopandas", "ibis", "numpy", "pandas", "pyarrow", "shapely")


def package_of(path: Path) -> str:
    below = path.relative_to(PIPELINE)
    return below.parts[0] if len(below.parts) > 1 else GROUND


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The dotted names that a module imports, and in which line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def packages_used(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The packages of ours that a module imports from."""
    for name, line in imported(tree):
        top, _, rest = name.partition(".")
        if top == "pipeline":
            first = rest.partition(".")[0]
            yield (first if (PIPELINE / first).is_dir() else GROUND), line


def upward(package: str, tree: ast.AST) -> list[tuple[str, int]]:
    """The imports that point to a higher layer than the package's own."""
    own = LAYERS.index(package)
    return [(used, line) for used, line in packages_used(tree) if LAYERS.index(used) > own]


def test_the_page_names_every_package_and_no_other():
    folders = {path.parent.name for path in PIPELINE.glob("*/__init__.py")}
    assert set(LAYERS[1:]) == folders
    assert len(LAYERS) == len(folders) + 1


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PIPELINE)))
def test_no_module_imports_from_a_higher_layer(path):
    assert upward(package_of(path), ast.parse(path.read_text())) == []


def test_an_import_from_a_higher_layer_is_found():
    for line in ("from pipeline.raw import snapshot", "from pipeline import prod"):
        assert upward("formats", ast.parse(f"def f():\n    {line}\n"))
        assert not upward("drill", ast.parse(line))


@pytest.mark.parametrize("library", ALLOWED)
def test_a_database_is_reached_from_few_packages(library):
    users = {
        package_of(path)
        for path in MODULES
        if path != PIPELINE / "dsn.py"  # it takes connection strings apart
        for name, _ in imported(ast.parse(path.read_text()))
        if name.partition(".")[0] == library
    }
    assert users
    assert users <= ALLOWED[library]


def test_what_takes_long_to_import_is_imported_where_it_is_used():
    """Every module that a run starts with is quick: what it needs of LAZY waits for its use."""
    program = f"""if True:
        import importlib, pathlib, sys
        for folder in ("cli", "stages", "connectors"):
            for path in pathlib.Path("pipeline", folder).glob("[a-z]*.py"):
                importlib.import_module(f"pipeline.{{folder}}.{{path.stem}}")
        sys.exit(" ".join(sorted(set({LAZY!r}) & set(sys.modules))) or 0)
    """
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_modules_that_the_page_names_are_there():
    rows = re.findall(r"^\| `pipeline/(\w+)/` \|[^|]*\|([^|]*)\|", PAGE, re.MULTILINE)
    for package, cell in rows:
        for name in re.findall(r"`(\w+\.py)`", cell):
            assert (PIPELINE / package / name).is_file(), f"{package}/{name}"
