"""Whose data a table contains: read from the scripts in `api/`, added to the table's comment.

The scripts are read and not run: one that hangs or crashes must not delay the other tables.
"""

import ast
import json
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg
from psycopg import sql

from pipeline import settings
from pipeline.settings import ROOT

# The first parameters of Source, whose arguments may be given without their names.
_FIRST = ("title", "publisher", "page", "licence", "licence_page")


def declared(source: str) -> dict[str, str]:
    """The texts that a script passes to `Source(…)`, by parameter; empty if it cannot be read."""
    arguments = _arguments(source)
    return {n: " ".join(v.split()) for n, v in arguments.items() if isinstance(v, str)}


def is_static(source: str) -> bool:
    """Whether the data of a source never change: its script passes their date, however computed.

    The manifest does not tell: a bundled capture of a changing source has a date too.
    """
    return _arguments(source).get("as_of", "") != ""


def facts_of(source: str) -> dict[str, str]:
    """Title, publisher, page, licence and licence_page of one source, as far as they are known.

    What cannot be read from the script is taken from the manifest of the snapshot.
    """
    return _in_manifest(source) | declared(source)


def of(source: str) -> str:
    """The credit of one source: title, publisher, page, licence and its page."""
    facts = facts_of(source)
    if not facts.get("page"):
        return f"{source} (its script in api/ declares no page)"
    title = f"{facts.get('title', source)} by {facts.get('publisher', 'an unnamed publisher')}"
    licence = f"{facts.get('licence', 'not declared')}{_link(facts.get('licence_page'))}"
    return f"{title}{_link(facts['page'])}, licence: {licence}"


def line(sources: Iterable[str]) -> str:
    """The credits of all sources of a table on one line; empty if there are none."""
    credits = "; ".join(of(source) for source in sources)
    return f"Sources: {credits}." if credits else ""


def complete_comments(
    connection: psycopg.Connection, schema: str, credits_of: Mapping[str, str]
) -> None:
    """Add the credits to the comments of a schema's tables, and strip all comments.

    A folded text in YAML ends with a line break, which is not part of the description.

    credits_of: the credits to add, by table; a table without any gets none.
    """
    comments = connection.execute(
        """select relname, attname, coalesce(description, '') from pg_catalog.pg_class as tables
        join lateral (
            select 0 as number, null as attname
            union all
            select attnum, attname from pg_catalog.pg_attribute
            where attrelid = tables.oid and attnum > 0 and not attisdropped
        ) as parts on true
        left join pg_catalog.pg_description on objoid = tables.oid and objsubid = number
            and classoid = 'pg_catalog.pg_class'::regclass
        where relnamespace = %s::regnamespace and relkind = 'r'""",
        [schema],
    ).fetchall()
    with connection.transaction():
        for table, column, comment in comments:
            credits = credits_of.get(table, "") if column is None else ""
            text = " ".join(part for part in (comment.strip(), credits) if part)
            if text != comment:
                kind = sql.SQL("table" if column is None else "column")
                name = sql.Identifier(schema, table, *([] if column is None else [column]))
                statement = sql.SQL("comment on {} {} is {}")
                connection.execute(statement.format(kind, name, sql.Literal(text)))


def _arguments(source: str) -> dict[str, Any]:
    """The arguments of the last `Source(…)` in a script, by parameter; None where not constant.

    The script may import `Source` under another name, and change a Source by `replace(…)`.
    """
    try:
        tree = ast.parse((ROOT / "api" / f"{source}.py").read_text("utf-8-sig"))
    except (OSError, SyntaxError, ValueError):
        return {}
    names = {"Source"}
    constants: dict[str, Any] = {"__builtins__": {"str": str, "dict": dict}}
    arguments: dict[str, Any] = {}
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.stmt | ast.Call)]
    for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset)):
        match node:
            case ast.ImportFrom():
                names |= {name.asname for name in node.names if name.name == "Source"}
            case ast.Assign() | ast.AnnAssign():
                _assign(node, constants)
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                if name in names:
                    given = [_value(argument, constants) for argument in node.args]
                    arguments = dict(zip(_FIRST, given, strict=False))
                if name in names or (name == "replace" and arguments):
                    for keyword in node.keywords:
                        value = _value(keyword.value, constants)
                        arguments |= {keyword.arg: value} if keyword.arg else value or {}
    return arguments


def _value(node: ast.expr, constants: dict[str, Any]) -> Any:
    """The value of an expression of constants; None of any other.

    Without imports and builtins, an expression can compute texts and numbers, and nothing else.
    """
    try:
        return eval(compile(ast.Expression(node), "api", "eval"), constants)  # noqa: S307
    except Exception:  # noqa: BLE001 - whatever it is, it is not made of constants
        return None


def _assign(node: ast.Assign | ast.AnnAssign, constants: dict[str, Any]) -> None:
    """Keep the values of an assignment if it is one of constants; else forget its names."""
    try:
        exec(compile(ast.Module([node], []), "api", "exec"), constants)  # noqa: S102
    except Exception:  # noqa: BLE001 - as above
        for target in ast.walk(node):
            if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store):
                constants.pop(target.id, None)


def _in_manifest(source: str) -> dict[str, str]:
    """What the script declared when it was last run; empty without a snapshot."""
    try:
        path = settings.load().raw / source / "datapackage.json"
        manifest = json.loads(path.read_bytes())
        publisher, licence = manifest["sources"][0], manifest["licenses"][0]
        facts = {
            "title": manifest["title"],
            "publisher": publisher["title"],
            "page": manifest["homepage"],
            "licence": licence["title"],
            "licence_page": licence["path"],
        }
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return {name: " ".join(text.split()) for name, text in facts.items() if isinstance(text, str)}


def _link(address: str | None) -> str:
    return f" <{address}>" if address else ""
