"""Drift: the columns of a legible file held against those that `load/<source>.sql` declares.

A new column is no harm: stage `load` adds and reports it. A column that is missing, and columns in
another order, hold the source at its last good rows until `./run_pipeline.sh accept` takes what
was seen over into the file.
"""

import csv
import math
import re
import sys
from pathlib import Path

from pipeline import durable, state
from pipeline.errors import SourceError
from pipeline.formats import headerless
from pipeline.formats.legible import Legible
from pipeline.formats.remedies import DECLARE_HEADER
from pipeline.schema import declaration, renames
from pipeline.settings import ROOT, Settings
from pipeline.text import escaped

FEW_FEATURES = 20  # under which a property that none of them has proves nothing
MOST_NAMES = 12  # of a list that an error shows
_READERS = (
    "api/{}.py",
    "preprocess/{}.py",
    "preprocess/test_{}.py",
    "transform/models/staging/stg_{}.sql",
)


def check(
    here: Settings, source: str, new: Path, columns: list[str], last: Path, *, is_ordered: bool
) -> None:
    """Hold the columns of a new legible file against the declared ones.

    Parameters
    ----------
    new, columns: the file about to be taken, and its columns.
    last:         the last good one, which need not be there; its values tell a rename.
    is_ordered:   whether the order of columns means anything, as members of JSON have none.

    Raises SourceError with both lists when the file has other columns than declared; what it has
    is remembered for `accept`. A source without a declaration has nothing to hold against.
    """
    if not declaration.path(source).exists():
        return
    declared = declaration.read(source).published
    gone, came = _missing(declared, columns), _missing(columns, declared)
    moved = _moved(declared, columns) if is_ordered else ""
    if not gone and not moved:
        state.replace(here, source, drift=None, headerless=None)
        return
    before = waiting(here, source) or first_row(here, source)
    since = before["since"] if before.get("columns") == columns else state.now()[:10]
    seen = {"columns": columns, "renamed": {}, "since": since}
    if _is_a_row(columns, declared, new, last):
        state.replace(here, source, drift=None, headerless=seen)
        raise SourceError(*_of_a_row(source, columns, declared))
    likely = renames.found(last, new, gone, came)
    seen["renamed"] = {name: old for name, (old, _) in likely.items()}
    state.replace(here, source, drift=seen, headerless=None)
    lists = [f"missing {shown(gone)}"] if gone else []
    lists += [f"new {shown(came)}"] if came else []
    lists += [moved] if moved else []
    evidence = [
        f"; {escaped(name)} appeared, {escaped(old)} vanished, {_percent(share)} equal values"
        for name, (old, share) in likely.items()
    ]
    raise SourceError(
        f"{source}: other columns than load/{source}.sql declares: {', '.join(lists)}"
        + "".join(evidence),
        f"the old rows stay; if the publisher means it, ./run_pipeline.sh accept {source} takes "
        "it over",
    )


def _is_a_row(columns: list[str], declared: list[str], new: Path, last: Path) -> bool:
    """Whether the names are values: `accept` would take the first row for the header."""
    if set(columns) & set(declared):
        return False
    return (
        headerless.is_like_a_row(columns)
        or headerless.is_a_row_of(columns, last)
        or headerless.is_a_row_of(columns, new, likely=0)
    )


def _of_a_row(source: str, columns: list[str], declared: list[str]) -> tuple[str, str]:
    """What is said of a file whose header is missing, and what to do."""
    return (
        f"{source}: the file has no header: its first line is a row, {shown(columns)}, where the "
        f"columns {shown(declared)} are declared",
        f"the old rows stay; {DECLARE_HEADER}. If these are the names of its columns now, "
        f"./run_pipeline.sh accept {source} --header takes them over",
    )


def first_row(here: Settings, source: str) -> dict:
    """The names, as `waiting` gives them, that may be the first row of a file without a header."""
    return state.read(here, source).get("headerless", {})


def take_for_header(here: Settings, source: str) -> None:
    """Somebody says that the first line is the header: `accept` may take it over."""
    state.replace(here, source, drift=first_row(here, source), headerless=None)


def about_first_row(here: Settings, source: str) -> SourceError:
    """Why `accept` does not take over what may be a row."""
    columns = first_row(here, source)["columns"]
    return SourceError(*_of_a_row(source, columns, declaration.read(source).published))


def vanished(here: Settings, source: str, legible: Legible, last: Path) -> list[str]:
    """The declared properties that the last good snapshot had, and none of many features has now.

    Where a script declares properties, their columns are there without them, and no header tells.
    """
    before = state.read(here, source).get("preprocess", {})
    if legible.rows < FEW_FEATURES or not legible.absent:
        return []
    if "absent" in before:
        known = [name for name in before.get("columns", []) if name not in before["absent"]]
    else:  # an earlier version made the last good file
        known = _columns_with_values(last, legible.absent)
    return [name for name in legible.absent if name in known]


def absent(here: Settings, source: str, legible: Legible) -> list[str]:
    """The absent properties to remember: of few features, only those that were absent before."""
    if legible.rows >= FEW_FEATURES:
        return legible.absent
    before = state.read(here, source).get("preprocess", {})
    known = [name for name in before.get("columns", []) if name not in before.get("absent", [])]
    return [name for name in legible.absent if name not in known]


def _columns_with_values(path: Path, columns: list[str]) -> list[str]:
    """Those of some columns that have a value in any row of a legible file."""
    found: set[str] = set()
    if not path.exists():
        return []
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.update(name for name in columns if row.get(name))
            if len(found) == len(columns):
                break
    return [name for name in columns if name in found]


def waiting(here: Settings, source: str) -> dict:
    """The columns that were refused last and `accept` would take; empty when there are none.

    `columns`: the publisher's. `renamed`: new name -> old name. `since`: the day they came.
    """
    return state.read(here, source).get("drift", {})


def accept(here: Settings, source: str) -> list[str]:
    """Write the columns that were refused into `load/<source>.sql`; the next run loads them.

    Returns sentences on what was changed and what is left to do. Raises SourceError when the file
    is no declaration.
    """
    seen, known = waiting(here, source), declaration.read(source)
    columns, renamed = seen["columns"], seen["renamed"]
    text = declaration.edited(known, columns, renamed, seen["since"])
    try:
        durable.write(declaration.path(source), text.encode())
    except OSError as error:
        what = f"{source}: load/{source}.sql cannot be written: {error.strerror}"
        raise SourceError(what, "nothing was accepted; make the file writable") from None
    state.replace(here, source, drift=None)
    gone, came = _missing(known.published, columns), _missing(columns, known.published)
    said = [f"load/{source}.sql: {shown(gone)} no longer published, null from now on"] * bool(gone)
    named = [f"{name} (before: {renamed[name]})" if name in renamed else name for name in came]
    said += [f"load/{source}.sql: {shown(named)} added"] * bool(came)
    if _moved(known.published, columns):
        said.append(f"load/{source}.sql: the columns are in the publisher's order")
    if readers := _readers(source, gone):
        said.append(f"change what reads {shown(gone)}, if need be: {', '.join(readers)}")
    return [*said, f"accepted; commit load/{source}.sql, the next run loads it"]


def _readers(source: str, columns: list[str]) -> list[str]:
    """The source's own files in which a column is named."""
    word = re.compile("|".join(rf"(?<!\w){re.escape(column)}(?!\w)" for column in columns))
    files = [reader.format(source) for reader in _READERS if columns]
    return [
        name
        for name in files
        if (ROOT / name).exists() and word.search((ROOT / name).read_text("utf-8"))
    ]


def _missing(names: list[str], others: list[str]) -> list[str]:
    return [name for name in names if name not in others]


def _moved(declared: list[str], columns: list[str]) -> str:
    """Both orders, from the first to the last column that stands elsewhere; empty if none does.

    Columns that are in one list only move nothing.
    """
    kept = [name for name in declared if name in columns]
    now = [name for name in columns if name in declared]
    differing = [n for n, pair in enumerate(zip(kept, now, strict=True)) if len(set(pair)) > 1]
    if not differing:
        return ""
    part = slice(differing[0], differing[-1] + 1)
    return f"another order: {shown(now[part])} where {shown(kept[part])} are declared"


def shown(names: list[str]) -> str:
    """Names as an error shows them: the first few, and how many more there are."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(escaped(name) for name in names[:MOST_NAMES]) + more


def _percent(share: float) -> str:
    """Never 100.0 unless all are equal."""
    return f"{math.floor(share * 1000) / 10} %"
