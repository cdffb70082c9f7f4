"""The guard of the columns of each part: a file that lost one which others of its snapshot have.

The legible file has the columns of all raw files, so its header tells nothing of one file alone:
a column that the newest year has under another name would be null in its rows, and nobody told.
Each part (as in `volume.counted`) is held against the last good snapshot. A new column, which only
some files have, is no loss.
"""

from collections.abc import Collection, Mapping

from pipeline import state
from pipeline.errors import SourceError
from pipeline.formats.legible import Legible
from pipeline.raw.snapshot import Snapshot
from pipeline.schema import declaration, drift
from pipeline.settings import Settings
from pipeline.text import escaped

MOST_PARTS = 3  # that an error names
Lacking = dict[str, list[str]]  # the columns that each part does not have and another one has


def lacking(taken: Snapshot, legible: Legible, known: Lacking) -> Lacking:
    """What is remembered of a snapshot: which columns each part lacks that has rows.

    Of few features nothing is told, since a property may be rare: `known` stays.
    """
    found: Lacking = {}
    for part, files in _parts(taken, legible).items():
        each = [legible.lacking.get(file, []) for file in files]
        in_all = set(each[0]).intersection(*each[1:])
        if not is_json(taken):
            found[part] = _in_order(legible, set().union(*each))
        elif sum(legible.files[file] for file in files) >= drift.FEW_FEATURES:
            found[part] = _in_order(legible, in_all)
        elif part in known:
            found[part] = known[part]
    return found


def check(here: Settings, source: str, taken: Snapshot, legible: Legible, now: Lacking) -> None:
    """Hold what each part lacks, as `lacking` tells, against the last good snapshot.

    Raises SourceError for a column that a part has no more, that a new part lacks, or that some
    pages of one part have and others have not: the publisher changed it while it was read.
    """
    had, known = known_of(here, source)
    sentences = []
    for part, names in now.items():
        if part in known:
            lost = {name for name in names if name in had and name not in known[part]}
        elif had:
            lost = set(names) & had - _lacked_by_others(taken, known)
        else:
            lost = _renamed_on_the_first_night(source, legible, names)
        lost |= _uneven(taken, legible, part) - set(known.get(part, ()))
        if lost:
            new = [c for c in legible.columns if c not in had and c not in names] if had else []
            also = f", has {drift.shown(new)}" * bool(new)
            sentences.append(f"{escaped(part)} lacks {drift.shown(_in_order(legible, lost))}{also}")
    if sentences:
        more = f"; and {len(sentences) - MOST_PARTS} more" * (len(sentences) > MOST_PARTS)
        what = f"{'; '.join(sentences[:MOST_PARTS])}{more}"
        raise SourceError(
            f"{source}: columns are missing that other files have: {what}",
            "the old rows stay; rename= in the preprocess script joins a column that has another "
            f"name there; if the publisher means it, ./run_pipeline.sh accept {source} takes it "
            "over",
        )


def known_of(here: Settings, source: str) -> tuple[set[str], Lacking]:
    """The columns of the last good legible file, and which of them each part lacked."""
    remembered = state.read(here, source)
    made = remembered.get("preprocess", {})
    had = set(made.get("columns") or ()) - set(made.get("absent") or ())
    return had, remembered.get("lacking", {})


def is_json(taken: Snapshot) -> bool:
    """Whether it is JSON, whose objects have members in no order, and may leave some out."""
    return any(entry.format.endswith("json") for entry in taken.descriptor.resources)


def _parts(taken: Snapshot, legible: Legible) -> Mapping[str, list[str]]:
    """The raw files of each part that have rows."""
    part_of = {entry.path: entry.part for entry in taken.descriptor.resources}
    parts: dict[str, list[str]] = {}
    for file, rows in legible.files.items():
        if rows:
            parts.setdefault(part_of.get(file) or file, []).append(file)
    return parts


def _lacked_by_others(taken: Snapshot, known: Lacking) -> set[str]:
    """What a new part may lack: of JSON, the properties that were rare before."""
    return set().union(*known.values()) if is_json(taken) else set()


def _renamed_on_the_first_night(source: str, legible: Legible, names: Collection[str]) -> set[str]:
    """The declared columns that a part lacks which has others in their place."""
    if not declaration.path(source).exists():
        return set()
    declared = declaration.read(source).published
    has_others = any(c not in declared and c not in names for c in legible.columns)
    return set(names) & set(declared) if has_others else set()


def _uneven(taken: Snapshot, legible: Legible, part: str) -> set[str]:
    """The columns that some files of a part have, and others have not."""
    if is_json(taken):
        return set()
    each = [set(legible.lacking.get(f, ())) for f in _parts(taken, legible).get(part, ())]
    return set().union(*each) - set.intersection(*each) if each else set()


def _in_order(legible: Legible, names: Collection[str]) -> list[str]:
    return [name for name in legible.columns if name in names]
