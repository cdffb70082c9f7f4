"""Whose data a source are: what its script in `api/` declares, read without running the script.

The script is code of its own, which may hang or crash; the night that tells readers of it may not.
"""

import ast
from collections.abc import Iterable, Mapping

from pipeline.settings import ROOT

# The first arguments of Source, which may stand without their names.
_FIRST = ("title", "publisher", "page", "licence", "licence_page", "kind", "encoding")


def declared(source: str) -> dict[str, str]:
    """The texts that a script gives to `Source(…)`, by name; empty where it cannot be read.

    Constants of the module, put together by `+` and in f-strings, are understood; a value that is
    made in another way is left out.
    """
    try:
        tree = ast.parse((ROOT / "api" / f"{source}.py").read_text("utf-8"))
    except (OSError, SyntaxError, ValueError):
        return {}
    constants: dict[str, str] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            text = _text(statement.value, constants)
            if text is not None:
                constants[statement.targets[0].id] = text
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) == "Source":
            given = dict(zip(_FIRST, node.args, strict=False))
            given |= {word.arg: word.value for word in node.keywords if word.arg}
            texts = {name: _text(value, constants) for name, value in given.items()}
            return {name: text for name, text in texts.items() if text is not None}
    return {}


def is_static(source: str) -> bool:
    """Whether the data of a source never change: its script declares their date.

    The manifest of a bundled capture has a date too, also that of a source that does change.
    """
    return bool(declared(source).get("as_of"))


def of(source: str) -> str:
    """One source as a table's comment names it: title, publisher, page, licence and its page."""
    known = declared(source)
    if not known.get("page"):
        return f"{source} (its script in api/ declares no page)"
    title = f"{known.get('title', source)} by {known.get('publisher', 'an unnamed publisher')}"
    licence = f"{known.get('licence', 'not declared')}{_link(known.get('licence_page'))}"
    return f"{title}{_link(known['page'])}, licence: {licence}"


def line(sources: Iterable[str]) -> str:
    """All sources of a table, on one line; empty without any."""
    named = "; ".join(of(source) for source in sources)
    return f"Sources: {named}." if named else ""


def _link(address: str | None) -> str:
    return f" <{address}>" if address else ""


def _name(function: ast.expr) -> str:
    return getattr(function, "id", getattr(function, "attr", ""))


def _text(value: ast.expr, constants: Mapping[str, str]) -> str | None:
    """The text of an expression of constants; None where it is something else."""
    if isinstance(value, ast.Constant):
        return value.value if isinstance(value.value, str) else None
    if isinstance(value, ast.Name):
        return constants.get(value.id)
    if isinstance(value, ast.FormattedValue):
        return _text(value.value, constants)
    parts: list[ast.expr] = []
    if isinstance(value, ast.JoinedStr):
        parts = value.values
    elif isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        parts = [value.left, value.right]
    texts = [_text(part, constants) for part in parts]
    return "".join(filter(None, texts)) if texts and None not in texts else None
