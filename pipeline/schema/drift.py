"""Drift: the columns of a legible file differ from those that `load/<source>.sql` declares.

A new column does no harm: stage `load` adds and reports it. With a missing column, or another
order, the source stays at its last good rows until `./run_pipeline.sh accept` writes the new
columns into the file.
"""

import csv
import math
import re
import sys
from pathlib import Path

import msgspec

from pipeline import durable, state
from pipeline.errors import SourceError, unless_meant
from pipeline.formats import headerless
from pipeline.formats.legible import Legible
from pipeline.formats.remedies import DECLARE_HEADER
from pipeline.schema import declaration, renames
from pipeline.settings import ROOT, Settings
from pipeline.text import escaped

FEW_FEATURES = 20  # among fewer features, a property may be missing by chance
MOST_NAMES = 12  # shown by an error
_READERS = (
    "api/{}.py",
    "preprocess/{}.py",
    "preprocess/test_{}.py",
    "transform/models/staging/stg_{}.sql",
)


class Rejected(msgspec.Struct):
    """The columns of a rejected file."""

    columns: list[str]
    since: str  # the day they came first
    renamed: dict[str, str] = {}  # new name -> old name


def check(
    here: Settings, source: str, new: Path, columns: list[str], last: Path, *, is_ordered: bool
) -> None:
    """Compare the columns of a new legible file with the declared ones.

    Parameters
    ----------
    new, columns: the new file, and its columns.
    last:         the last good file, which need not exist; its values show a rename.
    is_ordered:   whether the order of the columns matters; in JSON it does not.

    Raises SourceError with the differences, and records the columns for `accept`. A source without
    a declaration is not checked.
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
    since = before.since if before and before.columns == columns else state.now()[:10]
    rejected = Rejected(columns, since)
    if _is_a_row(columns, declared, new, last):
        state.replace(here, source, drift=None, headerless=msgspec.to_builtins(rejected))
        raise SourceError(*_about_row(source, columns, declared))
    likely = renames.found(last, new, gone, came)
    rejected.renamed = {name: old for name, (old, _) in likely.items()}
    state.replace(here, source, drift=msgspec.to_builtins(rejected), headerless=None)
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
        f"the old rows stay; {unless_meant(source)}",
    )


def _is_a_row(columns: list[str], declared: list[str], new: Path, last: Path) -> bool:
    """Return whether the names are values: `accept` would take the first row for a header."""
    if set(columns) & set(declared):
        return False
    return (
        headerless.is_like_a_row(columns)
        or headerless.is_a_row_of(columns, last)
        or headerless.is_a_row_of(columns, new, likely=0)
    )


def _about_row(source: str, columns: list[str], declared: list[str]) -> tuple[str, str]:
    """Return the message about a file without a header, and its remedy."""
    return (
        f"{source}: the file has no header: its first line is a row, {shown(columns)}, where the "
        f"columns {shown(declared)} are declared",
        f"the old rows stay; {DECLARE_HEADER}. If these are the names of its columns now, "
        f"./run_pipeline.sh accept {source} --header accepts them",
    )


def first_row(here: Settings, source: str) -> Rejected | None:
    """Return rejected columns that may be the first row of a file without a header."""
    return _recorded(here, source, "headerless")


def take_for_header(here: Settings, source: str) -> None:
    """Let `accept` take the first line for the header, because somebody says so."""
    state.replace(here, source, drift=msgspec.to_builtins(first_row(here, source)), headerless=None)


def about_first_row(source: str, rejected: Rejected) -> SourceError:
    """Return why `accept` does not accept columns that may be a row."""
    return SourceError(*_about_row(source, rejected.columns, declaration.read(source).published))


def vanished(here: Settings, source: str, legible: Legible, last: Path) -> list[str]:
    """Return the declared properties that the last good snapshot had, and no feature has now.

    If a script declares properties, their columns exist in any case: the header does not show it.
    """
    before = state.preprocessed(here, source)
    if legible.rows < FEW_FEATURES or not legible.absent:
        return []
    if before.absent is None:  # an earlier version made the last good file
        present = _columns_with_values(last, legible.absent)
    else:
        present = [name for name in before.columns if name not in before.absent]
    return [name for name in legible.absent if name in present]


def absent(here: Settings, source: str, legible: Legible) -> list[str]:
    """Return the absent properties to record; of few features, those that were absent before."""
    if legible.rows >= FEW_FEATURES:
        return legible.absent
    before = state.preprocessed(here, source)
    absent_before = before.absent or []
    present = [name for name in before.columns if name not in absent_before]
    return [name for name in legible.absent if name not in present]


def _columns_with_values(path: Path, columns: list[str]) -> list[str]:
    """Return those columns that have a value in any row of a legible file."""
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


def waiting(here: Settings, source: str) -> Rejected | None:
    """Return the rejected columns that `accept` would accept."""
    return _recorded(here, source, "drift")


def _recorded(here: Settings, source: str, member: str) -> Rejected | None:
    recorded = state.read(here, source).get(member)
    return msgspec.convert(recorded, Rejected) if recorded else None


def accept(here: Settings, source: str) -> list[str]:
    """Write the rejected columns into `load/<source>.sql`; the next run loads them.

    Returns sentences on what was changed and what is left to do, none if no columns were rejected.
    Raises SourceError when the file is not a declaration.
    """
    rejected = waiting(here, source)
    if rejected is None:
        return []
    declared, columns, renamed = declaration.read(source), rejected.columns, rejected.renamed
    text = declaration.edited(declared, columns, renamed, rejected.since)
    try:
        durable.write(declaration.path(source), text.encode())
    except OSError as error:
        what = f"{source}: load/{source}.sql cannot be written: {error.strerror}"
        raise SourceError(what, "nothing was accepted; make the file writable") from None
    state.replace(here, source, drift=None)
    published = declared.published
    gone, came = _missing(published, columns), _missing(columns, published)
    done = [f"load/{source}.sql: {shown(gone)} no longer published, null from now on"] * bool(gone)
    named = [f"{name} (before: {renamed[name]})" if name in renamed else name for name in came]
    done += [f"load/{source}.sql: {shown(named)} added"] * bool(came)
    if _moved(published, columns):
        done.append(f"load/{source}.sql: the columns are in the publisher's order")
    if readers := _readers(source, gone):
        done.append(f"change what reads {shown(gone)}, if need be: {', '.join(readers)}")
    return [*done, f"accepted; commit load/{source}.sql, the next run loads it"]


def _readers(source: str, columns: list[str]) -> list[str]:
    """Return the source's own files that name one of the columns."""
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
    """Describe the difference in the order of the shared columns; empty if there is none."""
    kept = [name for name in declared if name in columns]
    now = [name for name in columns if name in declared]
    differing = [n for n, pair in enumerate(zip(kept, now, strict=True)) if len(set(pair)) > 1]
    if not differing:
        return ""
    part = slice(differing[0], differing[-1] + 1)
    return f"another order: {shown(now[part])} where {shown(kept[part])} are declared"


def shown(names: list[str]) -> str:
    """Return the first names, and how many more there are, for an error."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(escaped(name) for name in names[:MOST_NAMES]) + more


def _percent(share: float) -> str:
    """Return a percentage, which is 100.0 only if all values are equal."""
    return f"{math.floor(share * 1000) / 10} %"
