"""The code that a script's output depends on: the script and all of our code that it imports.

Imports are read from the source text, file by file, also those inside functions. Python's own
modules and installed packages are not followed. Data files beside the script count if it names
them. Comments and the layout of Python code do not count, because they change no output.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pipeline import MOVED

# Functions that import or run a module by its name.
_BY_NAME = ("import_module", "__import__", "run_module", "run_path")


class _Import(NamedTuple):
    """A dotted name that a file imports; `level` counts the dots of a relative import."""

    name: str
    level: int = 0


class _Code(NamedTuple):
    digest: str  # of the syntax tree: SHA-256 in hex
    imports: frozenset[_Import]
    is_open: bool  # it imports a module whose name is computed


def parts(root: Path, starts: list[Path]) -> dict[str, str]:
    """Return the SHA-256 of every file that some scripts depend on, by its path below `root`.

    Parameters
    ----------
    root:   the folder of the project, where absolute imports start.
    starts: the scripts, all in one folder, from which they can import too; missing ones are
            ignored.

    A file that is not valid Python counts byte for byte. Code that imports a module by a computed
    name may import any of ours: all modules of the possible folders count then.
    """
    beside = starts[0].parent
    ours = {path.stem for folder in (beside, root) for path in folder.iterdir()}
    found: dict[Path, str] = {}
    waiting = list(starts)
    while waiting:
        path = waiting.pop()
        if path in found or not path.is_file():
            continue
        code = _read(path.read_bytes())
        found[path] = code.digest
        for imported in code.imports:
            if imported.level or imported.name.partition(".")[0] in ours:
                waiting += _files(imported, path, (beside, root))
        if code.is_open:
            waiting += [*beside.glob("*.py"), *(root / "pipeline").rglob("*.py")]
    for path in _named(beside, [path for path in found if beside in path.parents], starts):
        found.setdefault(path, hashlib.sha256(path.read_bytes()).hexdigest())
    return {path.relative_to(root).as_posix(): digest for path, digest in found.items()}


@lru_cache(maxsize=1024)
def _read(text: bytes) -> _Code:
    """Return the digest of a file and its imports; invalid code imports nothing."""
    try:
        tree = ast.parse(text)
        code = ast.dump(_without_docstrings(tree, text)).encode("utf-8", "surrogatepass")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _Code(hashlib.sha256(text).hexdigest(), frozenset(), is_open=False)
    imports: set[_Import] = set()
    is_open = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports.update(_Import(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = f"{node.module}." if node.module else ""
            imports.update(_Import(base + alias.name, node.level) for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in _BY_NAME:
            named = [_text_of(argument) for argument in node.args[:1]]
            is_open |= None in named or not named
            imports.update(_Import(name) for name in named if name)
    return _Code(hashlib.sha256(code).hexdigest(), frozenset(imports), is_open)


def _without_docstrings(tree: ast.Module, text: bytes) -> ast.Module:
    """Remove the docstrings from a tree, unless the code reads docstrings."""
    if b"__doc__" in text or b"getdoc" in text:
        return tree
    for node in ast.walk(tree):
        kinds = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return tree


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def _text_of(node: ast.expr) -> str | None:
    """Return the literal name in a call such as `import_module("pipeline.compressed")`."""
    text = node.value if isinstance(node, ast.Constant) else None
    if not isinstance(text, str) or text.startswith("."):
        return None
    return text.removesuffix(".py").replace("/", ".")


def _files(imported: _Import, path: Path, bases: tuple[Path, ...]) -> Iterator[Path]:
    """Return our files that an import runs: the module, and each package above it.

    The last part of `from package import name` may be a module or a name inside a module.
    """
    if imported.level:
        bases = (path.parents[min(imported.level, len(path.parents)) - 1],)
        yield bases[0] / "__init__.py"
    dotted = imported.name if imported.level else _present_name(imported.name)
    for folder in bases:
        for name in dotted.split("."):
            if name == "*":  # `__all__` may name modules
                yield from folder.glob("*.py")
                break
            yield folder / f"{name}.py"
            folder /= name
            if not folder.is_dir():
                break
            yield folder / "__init__.py"


def _present_name(name: str) -> str:
    """Return the present name of an import: `pipeline.fetch.run` is in `stages.api` now."""
    package, _, rest = name.partition(".")
    module, dot, inside = rest.partition(".")
    is_moved = package == "pipeline" and module in MOVED
    return f"{package}.{MOVED[module]}{dot}{inside}" if is_moved else name


def _named(beside: Path, code: list[Path], starts: list[Path]) -> Iterator[Path]:
    """Return the files beside or below the code that it names, or that are named like a script."""
    text = b"\n".join(path.read_bytes() for path in code)
    stems = {path.stem for path in starts}
    for path in sorted(beside.rglob("*")):
        below = path.relative_to(beside)
        if any(name[0] in "._" for name in below.parts) or not path.is_file():
            continue  # caches, and files that editors leave
        if path.name.encode() in text or stems & {path.stem, below.parts[0]}:
            yield path
