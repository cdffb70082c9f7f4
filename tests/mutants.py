"""The mutants of a module: each is its source with one small change that a test should notice."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

_SWAPPED = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Add,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,),
}
_OPPOSITE = {"min": "max", "max": "min", "any": "all", "all": "any"}
# Calls whose texts are statements.
_RUN_AS_SQL = {"execute", "one", "scalar", "SQL", "_oldest", "_drop"}
_SQL = (
    (r" and ", " or "),
    (r" or (?!replace)", " and "),
    (r" = (?!')", " <> "),
    (r" <> ", " = "),
    (r" >= ", " < "),
    (r" > ", " < "),
    (r"\bnot exists", "exists"),
    (r" is not null", " is null"),
    (r"= '(?=\w')", "= 'no"),
    (r"\baccess exclusive", "row exclusive"),
    (r"\bshare update exclusive", "access share"),
    (r" cascade", ""),
    (r" desc\b", " asc"),
    (r" or replace", ""),
    (r" if not exists", ""),
    (r" if exists", ""),
    (r"\bfreeze, ", ""),
    (r"^freeze$", "verbose"),
    (r"\bset local ", "set "),
)


MOST_SHOWN = 100  # characters of code around a change


@dataclass(frozen=True)
class Mutant:
    """A module with one change: `before` and `after` are what surrounds it, in one line of code."""

    module: str
    function: str  # "" at the level of the module
    first: int  # the lines of the statement
    last: int | None  # None: it is run when the module is imported
    before: str
    after: str
    code: CodeType

    @property
    def name(self) -> str:
        """What the list of equivalent mutants knows it by: no line number, which would move."""
        return f"{self.module} {self.function or 'module'}: {self.before} -> {self.after}"


def of(module: str, path: Path) -> list[Mutant]:
    """All mutants of a module's file, in the order of its lines."""
    tree = ast.parse(path.read_text("utf-8"))
    found = []
    for change in _changes(tree):
        before = change.shown()
        change.apply()
        after, code = change.shown(), compile(ast.fix_missing_locations(tree), path, "exec")
        change.undo()
        if before != after:
            statement = change.statement
            # What a function's first line says is of use where its body runs.
            is_head = _is_compound(statement) and not isinstance(statement, ast.FunctionDef)
            last = statement.body[0].lineno - 1 if is_head else statement.end_lineno
            last = max(last, statement.lineno) if change.is_in_function else None
            where = (module, change.function, statement.lineno, last)
            found.append(Mutant(*where, *_apart(before, after), code))
    return found


def _apart(before: str, after: str) -> tuple[str, str]:
    """Two long texts, from a little before where they differ to a little after it."""
    if max(len(before), len(after)) <= MOST_SHOWN:
        return before, after
    start = _shared(before, after)
    end = _shared(before[start:][::-1], after[start:][::-1])
    start, end = max(0, start - MOST_SHOWN // 4), max(0, end - MOST_SHOWN // 4)
    return before[start : len(before) - end], after[start : len(after) - end]


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, pair in pairs if pair[0] != pair[1]), min(len(one), len(other)))


class _Change:
    """Another value for a field of a node, or for an element of a list in it."""

    def __init__(self, above: list[ast.AST], owner: object, key: str | int, new: object):
        self._above, self._owner, self._key, self._new = above, owner, key, new
        self._old = self._now = owner[key] if isinstance(key, int) else getattr(owner, key)
        self.statement = [node for node in above if isinstance(node, ast.stmt)][-1]
        functions = [n.name for n in above if isinstance(n, ast.FunctionDef | ast.ClassDef)]
        self.function = ".".join(functions)
        self.is_in_function = any(isinstance(node, ast.FunctionDef) for node in above)
        self._shown = self._smallest()

    def apply(self) -> None:
        self._put(self._new)

    def undo(self) -> None:
        self._put(self._old)

    def _put(self, value: object) -> None:
        self._now = value
        if isinstance(self._key, int):
            self._owner[self._key] = value
        else:
            setattr(self._owner, self._key, value)

    def shown(self) -> str:
        """The smallest piece of code around the change that tells where it is."""
        if isinstance(self._old, ast.stmt):
            return _head(self._now)
        return _head(self._shown)

    def _smallest(self) -> ast.AST:
        found = None
        for node in reversed(self._above):
            if not hasattr(node, "lineno"):
                continue
            if found and len(_head(node)) > MOST_SHOWN:
                break
            found = node
            if isinstance(node, ast.stmt):
                break
        return found


def _changes(tree: ast.Module) -> Iterator[_Change]:
    for above, node, is_sql in _visited(tree, [], False):
        yield from _of_node(above, node, is_sql)
        for _, value in ast.iter_fields(node):
            for number, part in enumerate(value if isinstance(value, list) else []):
                if isinstance(part, ast.stmt):
                    for new in _in_place_of(part, above):
                        yield _Change([*above, part], value, number, new)


def _visited(node, above, is_sql) -> Iterator[tuple[list[ast.AST], ast.AST, bool]]:
    """Every node that may change, with those above it, itself the last: no message, no type."""
    yield [*above, node], node, is_sql
    if isinstance(node, ast.Raise | ast.FormattedValue | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.Call):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
        is_sql = getattr(called, "id", called) in _RUN_AS_SQL
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "ctx"):
            continue
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST) and not _is_text(part):
                yield from _visited(part, [*above, node], is_sql)


def _is_text(node: ast.AST) -> bool:
    """A docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _of_node(above: list[ast.AST], node: ast.AST, is_sql: bool) -> Iterator[_Change]:
    """Changes within an expression, or the head of a statement."""
    if isinstance(node, ast.Compare | ast.BoolOp | ast.BinOp | ast.AugAssign):
        yield from _operators(above, node)
    elif isinstance(node, ast.Constant):
        is_of_format = any(isinstance(each, ast.JoinedStr) for each in above)
        for value in _other_values(node.value, is_sql, is_of_format):
            yield _Change(above, node, "value", value)
    elif isinstance(node, ast.Slice):
        for bound in ("lower", "upper"):
            if getattr(node, bound):
                yield _Change(above, node, bound, None)
    elif isinstance(node, ast.Name) and node.id in _OPPOSITE:
        yield _Change(above, node, "id", _OPPOSITE[node.id])
    elif isinstance(node, ast.Return) and not _is_none(node.value):
        yield _Change(above, node, "value", ast.Constant(None))
    yield from _conditions(above, node)
    yield from _without_sign(above, node)
    yield from _shorter(above, node)


def _operators(above: list[ast.AST], node: ast.AST) -> Iterator[_Change]:
    """Another operator; of `and` and `or` also one operand less."""
    if isinstance(node, ast.Compare):
        for number, operator in enumerate(node.ops):
            for other in _SWAPPED[type(operator)]:
                yield _Change(above, node.ops, number, other())
        return
    for other in _SWAPPED.get(type(node.op), ()):
        yield _Change(above, node, "op", other())
    for number in range(len(node.values) if isinstance(node, ast.BoolOp) else 0):
        rest = node.values[:number] + node.values[number + 1 :]
        yield _Change(above, node, "values", rest if len(rest) > 1 else [*rest, *rest])


def _conditions(above: list[ast.AST], node: ast.AST) -> Iterator[_Change]:
    """Conditions the other way round, where no other change does that."""
    if isinstance(node, ast.If | ast.While | ast.IfExp) and not isinstance(
        node.test, ast.Compare | ast.Constant
    ):
        yield _Change(above, node, "test", _negated(node.test))
    elif isinstance(node, ast.comprehension):
        for number, test in enumerate(node.ifs):
            if not isinstance(test, ast.Compare):
                yield _Change(above, node.ifs, number, _negated(test))


def _without_sign(above: list[ast.AST], node: ast.AST) -> Iterator[_Change]:
    """`not`, `~` and `-` taken away, but for conditions, which are negated anyway."""
    if isinstance(node, ast.If | ast.IfExp | ast.comprehension):
        return
    for field, value in ast.iter_fields(node):
        if isinstance(value, ast.UnaryOp):
            yield _Change(above, node, field, value.operand)
        for number, part in enumerate(value if isinstance(value, list) else []):
            if isinstance(part, ast.UnaryOp):
                yield _Change(above, value, number, part.operand)


def _negated(test: ast.expr) -> ast.expr:
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    return ast.UnaryOp(ast.Not(), test)


def _shorter(above: list[ast.AST], node: ast.AST) -> Iterator[_Change]:
    """Collections that are written out at the level of the module, or caught, less one element."""
    is_constant = isinstance(above[-2] if len(above) > 1 else None, ast.Assign | ast.ExceptHandler)
    if not is_constant or (len(above) > 3 and not isinstance(above[-2], ast.ExceptHandler)):
        return
    if isinstance(node, ast.Tuple | ast.List) and isinstance(node.ctx, ast.Load):
        for number in range(len(node.elts)):
            yield _Change(above, node, "elts", node.elts[:number] + node.elts[number + 1 :])


def _other_values(value: object, is_sql: bool, is_of_format: bool) -> list:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value * 2 if isinstance(value, float) else value + 1]
    if isinstance(value, bytes):
        return [bytes([value[0] ^ 1]) + value[1:] if value else b"?"]
    if not isinstance(value, str):
        return []
    if is_sql:
        return [
            value[: met.start()] + met.expand(new) + value[met.end() :]
            for old, new in _SQL
            for met in re.finditer(old, value)
        ]
    return [] if is_of_format or re.search(r"\s", value) else [f"not {value}"]


def _in_place_of(statement: ast.stmt, above: list[ast.AST]) -> list[ast.stmt]:
    """What a statement may be replaced by: nothing, mostly."""
    if isinstance(statement, ast.Continue):
        return [ast.Break()]
    if isinstance(statement, ast.Break):
        return [ast.Continue()]
    is_bare_return = isinstance(statement, ast.Return) and statement.value is None
    is_call = isinstance(statement, ast.Expr) and not _is_text(statement)
    is_change = isinstance(statement, ast.AugAssign | ast.Delete) or (
        isinstance(statement, ast.Assign) and _is_set_before(statement, above)
    )
    if is_bare_return or is_call or is_change or isinstance(statement, ast.Raise):
        return [ast.Pass()]
    return []


def _is_set_before(statement: ast.Assign, above: list[ast.AST]) -> bool:
    """Whether the target has a value already: without the statement no name would be missing."""
    target = statement.targets[0]
    if not isinstance(target, ast.Name):
        return isinstance(target, ast.Attribute | ast.Subscript)
    functions = [node for node in above if isinstance(node, ast.FunctionDef)]
    if not functions:
        return False
    names = [n for n in ast.walk(functions[-1]) if isinstance(n, ast.Name | ast.arg)]
    lines = [n.lineno for n in names if target.id == getattr(n, "id", getattr(n, "arg", None))]
    return min(lines) < statement.lineno


def _head(node: ast.AST) -> str:
    """A node as code in one line; of what has a body, the line above it."""
    text = ast.unparse(node)
    return text.partition("\n")[0] if isinstance(node, ast.stmt) else " ".join(text.split())


def _is_compound(statement: ast.stmt) -> bool:
    return bool(getattr(statement, "body", None))


def _is_none(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value is None)
