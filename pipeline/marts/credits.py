"""Whose data a source are: what its script in `api/` declares, read without running the script.

The script is code of its own, which may hang or crash; the night that tells readers of it may not.
"""

import ast
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline import settings
from pipeline.settings import ROOT

# The first arguments of Source, which may stand without their names.
_FIRST = ("title", "publisher", "page", "licence", "licence_page", "kind", "encoding")


def declared(source: str) -> dict[str, str]:
    """The texts that a script gives to `Source(…)`, by name; empty where it cannot be read.

    Constants of the module are understood, put together in the usual ways; a value that is made in
    another way is left out. Of several, the last counts.
    """
    found: dict[str, str] = {}
    for name, value in _given(source).items():
        if isinstance(value, str):
            found[name] = " ".join(value.split())
    return found


def _given(source: str) -> dict[str, Any]:
    """What a script gives to `Source(…)`, by name; None is a value that is not understood."""
    try:
        tree = ast.parse((ROOT / "api" / f"{source}.py").read_text("utf-8-sig"))
    except (OSError, SyntaxError, ValueError):
        return {}
    constants = _constants(tree)
    names = {"Source"} | {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == "Source" and alias.asname
    }
    found: dict[str, Any] = {}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        name = _name(call.func)
        if name in names:
            found = dict(zip(_FIRST, (_value(one, constants) for one in call.args), strict=False))
        if name in names or (name == "replace" and found):
            for word in call.keywords:
                value = _value(word.value, constants)
                found |= {word.arg: value} if word.arg else value or {}
    return found


def _constants(tree: ast.Module) -> dict[str, Any]:
    """The module's names for values that are understood."""
    constants: dict[str, Any] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        value = _value(node.value, constants)
        for target in targets:
            if isinstance(target, ast.Name):
                constants[target.id] = value
            elif isinstance(target, ast.Tuple) and isinstance(value, tuple):
                names = [getattr(part, "id", "") for part in target.elts]
                constants |= dict(zip(names, value, strict=False))
    return constants


def is_static(source: str) -> bool:
    """Whether the data of a source never change: its script declares their date, in any way.

    The manifest of a bundled capture has a date too, also that of a source that does change.
    """
    return _given(source).get("as_of", "") != ""


def of(source: str) -> str:
    """One source as a table's comment names it: title, publisher, page, licence and its page.

    What cannot be read in the script is taken from the manifest of the snapshot.
    """
    known = _in_manifest(source) | declared(source)
    if not known.get("page"):
        return f"{source} (its script in api/ declares no page)"
    title = f"{known.get('title', source)} by {known.get('publisher', 'an unnamed publisher')}"
    licence = f"{known.get('licence', 'not declared')}{_link(known.get('licence_page'))}"
    return f"{title}{_link(known['page'])}, licence: {licence}"


def _in_manifest(source: str) -> dict[str, str]:
    """What the script said when it was run last; empty without a snapshot."""
    try:
        path = settings.load().raw / source / "datapackage.json"
        known = json.loads(path.read_bytes())
        publisher, licence = known["sources"][0], known["licenses"][0]
        found = {
            "title": known["title"],
            "publisher": publisher["title"],
            "page": known["homepage"],
        }
        found |= {"licence": licence["title"], "licence_page": licence["path"]}
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return {name: " ".join(text.split()) for name, text in found.items() if isinstance(text, str)}


def line(sources: Iterable[str]) -> str:
    """All sources of a table, on one line; empty without any."""
    named = "; ".join(of(source) for source in sources)
    return f"Sources: {named}." if named else ""


def _link(address: str | None) -> str:
    return f" <{address}>" if address else ""


def _name(function: ast.expr) -> str:
    return getattr(function, "id", getattr(function, "attr", ""))


def _value(node: ast.expr, constants: Mapping[str, Any]) -> Any:
    """The value of an expression of constants; None where it is something else."""
    try:
        return _made(node, constants)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None


def _made(node: ast.expr, constants: Mapping[str, Any]) -> Any:
    """The value of an expression; raises ValueError, KeyError or TypeError where there is none."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return constants[node.id]
    if isinstance(node, ast.JoinedStr):
        return "".join(str(_known(part, constants)) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        form = _known(node.format_spec, constants) if node.format_spec else ""
        return format(_known(node.value, constants), form)
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_made(part, constants) for part in node.elts)
    if isinstance(node, ast.Dict):
        names = [_made(name, constants) if name else None for name in node.keys]
        return {n: _value(v, constants) for n, v in zip(names, node.values, strict=True) if n}
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _known(node.left, constants) + _known(node.right, constants)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return _known(node.left, constants) % _known(node.right, constants)
    if isinstance(node, ast.Call):
        return _called(node, constants)
    raise ValueError


def _called(node: ast.Call, constants: Mapping[str, Any]) -> Any:
    """The value of `str(…)`, `dict(…)` and of a text's `format`, `join` and `strip`."""
    words = {word.arg: _value(word.value, constants) for word in node.keywords if word.arg}
    values = [_known(part, constants) for part in node.args]
    if isinstance(node.func, ast.Attribute) and node.func.attr in ("format", "join", "strip"):
        text = _known(node.func.value, constants)
        return getattr(str(text), node.func.attr)(*values, **words)
    if _name(node.func) == "dict":
        return words
    if _name(node.func) == "str":
        return str(*values)
    raise ValueError


def _known(node: ast.expr, constants: Mapping[str, Any]) -> Any:
    value = _made(node, constants)
    if value is None:
        raise ValueError
    return value
