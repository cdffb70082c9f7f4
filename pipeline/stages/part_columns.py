"""The guard of the columns of each part: a file lost a column that other files still have.

The legible file has the columns of all raw files, so its header says nothing about a single file:
a column that has another name in the newest year would be null in its rows, unnoticed. Each part
(as in `volume.counted`) is compared with the last good snapshot. A new column that only some files
have is not a loss.
"""

from collections.abc import Collection, Mapping

from pipeline import state
from pipeline.errors import SourceError, unless_meant
from pipeline.formats.legible import Legible
from pipeline.raw.snapshot import Snapshot
from pipeline.schema import declaration, drift
from pipeline.settings import Settings
from pipeline.text import escaped

MOST_PARTS = 3  # named by an error
Lacking = dict[str, list[str]]  # the columns that a part does not have and another part has


def lacking(current: Snapshot, legible: Legible, before: Lacking) -> Lacking:
    """Return which columns each part with rows lacks.

    In few features a property may be missing by chance: the value of `before` stays then.
    """
    found: Lacking = {}
    for part, files in _parts(current, legible).items():
        each = [legible.lacking.get(file, []) for file in files]
        in_all = set(each[0]).intersection(*each[1:])
        if not is_json(current):
            found[part] = _in_order(legible, set().union(*each))
        elif sum(legible.files[file] for file in files) >= drift.FEW_FEATURES:
            found[part] = _in_order(legible, in_all)
        elif part in before:
            found[part] = before[part]
    return found


def check(here: Settings, source: str, current: Snapshot, legible: Legible, now: Lacking) -> None:
    """Compare what each part lacks (`lacking`) with the last good snapshot.

    Raises SourceError for a column that a part lost, that a new part lacks, or that only some pages
    of a part have: the publisher changed it while it was read.
    """
    columns, before = recorded(here, source)
    sentences = []
    for part, names in now.items():
        if part in before:
            lost = {name for name in names if name in columns and name not in before[part]}
        elif columns:
            lost = set(names) & columns - _lacked_by_others(current, before)
        else:
            lost = _renamed_on_the_first_night(source, legible, names)
        lost |= _uneven(current, legible, part) - set(before.get(part, ()))
        if lost:
            new = [c for c in legible.columns if c not in columns and c not in names]
            also = f", has {drift.shown(new)}" if columns and new else ""
            sentences.append(f"{escaped(part)} lacks {drift.shown(_in_order(legible, lost))}{also}")
    if sentences:
        more = f"; and {len(sentences) - MOST_PARTS} more" * (len(sentences) > MOST_PARTS)
        what = f"{'; '.join(sentences[:MOST_PARTS])}{more}"
        raise SourceError(
            f"{source}: columns are missing that other files have: {what}",
            "the old rows stay; rename= in the preprocess script joins a column that has another "
            f"name there; {unless_meant(source)}",
        )


def recorded(here: Settings, source: str) -> tuple[set[str], Lacking]:
    """Return the columns of the last good legible file, and which of them each part lacked."""
    made = state.preprocessed(here, source)
    columns = set(made.columns).difference(made.absent or ())
    return columns, state.read(here, source).get("lacking", {})


def is_json(current: Snapshot) -> bool:
    """Return whether a snapshot is JSON, whose members have no order and may be missing."""
    return any(entry.format.endswith("json") for entry in current.descriptor.resources)


def _parts(current: Snapshot, legible: Legible) -> Mapping[str, list[str]]:
    """Return the raw files of each part that have rows."""
    part_of = {entry.path: entry.part for entry in current.descriptor.resources}
    parts: dict[str, list[str]] = {}
    for file, rows in legible.files.items():
        if rows:
            parts.setdefault(part_of.get(file) or file, []).append(file)
    return parts


def _lacked_by_others(current: Snapshot, before: Lacking) -> set[str]:
    """Return what a new part may lack: in JSON, the properties that other parts lacked before."""
    return set().union(*before.values()) if is_json(current) else set()


def _renamed_on_the_first_night(source: str, legible: Legible, names: Collection[str]) -> set[str]:
    """Return the declared columns that a part lacks, if it has undeclared ones instead."""
    if not declaration.path(source).exists():
        return set()
    declared = declaration.read(source).published
    has_others = any(c not in declared and c not in names for c in legible.columns)
    return set(names) & set(declared) if has_others else set()


def _uneven(current: Snapshot, legible: Legible, part: str) -> set[str]:
    """Return the columns that only some files of a part have."""
    if is_json(current):
        return set()
    each = [set(legible.lacking.get(f, ())) for f in _parts(current, legible).get(part, ())]
    return set().union(*each) - set.intersection(*each) if each else set()


def _in_order(legible: Legible, names: Collection[str]) -> list[str]:
    return [name for name in legible.columns if name in names]
