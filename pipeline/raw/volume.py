"""The volume guard: far fewer rows than before, far more, or none, is not taken for the truth.

What counts are the rows that stage `preprocess` makes of a snapshot, before any are loaded. All of
them are held against the median of the last seven accepted snapshots, and each part of a snapshot
of several files against its own: a month that is gone shows in no total. What is refused stays as
it came; `./run_pipeline.sh accept SOURCE` lets it in. Source.may_shrink and may_be_empty declare
what is normal (what may shrink may grow as fast).
"""

import re
import statistics
from pathlib import Path

from pipeline import compressed, state
from pipeline.errors import SourceError
from pipeline.formats.legible import Legible
from pipeline.raw.snapshot import Snapshot
from pipeline.settings import Settings
from pipeline.text import escaped

REMEMBERED = 7  # accepted snapshots
SHARE = 0.5  # of their median
TIMES = 10
FEW = 20  # rows; a part that usually has fewer may have any number but none
MOST_PARTS = 3  # that an error names


def counted(taken: Snapshot, legible: Legible) -> dict:
    """What is remembered of a snapshot: its fingerprint, its rows, and the rows of each part.

    A part is a file, or several files that belong together (`Candidate.parts`). A snapshot of an
    earlier version does not say which; of that no part is known.
    """
    resources = taken.descriptor["resources"]
    part_of = {entry["path"]: entry.get("part") for entry in resources}
    parts: dict[str, int] = {}
    for name, rows in legible.files.items() if all(part_of.values()) else ():
        part = part_of.get(name, name)  # a member of an archive is a part too
        parts[part] = parts.get(part, 0) + rows
    return {"content": taken.content, "rows": legible.rows, "parts": parts}


def accepted(here: Settings, source: str, last: Path) -> list[dict]:
    """What is remembered of the snapshots accepted so far, as by `counted`, the oldest first.

    Without a memory it is the rows of `last`, the last good legible file.
    """
    remembered = state.read(here, source)
    if "accepted" in remembered:
        return remembered["accepted"]
    rows = remembered.get("preprocess", {}).get("rows") if remembered.get("history") else None
    if "preprocess" not in remembered and last.exists():
        rows = records(last) - 1
    return [] if rows is None else [{"content": "", "rows": rows, "parts": {}}]


def with_newest(known: list[dict], newest: dict) -> list[dict]:
    """The memory with one more accepted snapshot; each is in it once."""
    return [*(e for e in known if e["content"] != newest["content"]), newest][-REMEMBERED:]


def check(source: str, taken: Snapshot, newest: dict, known: list[dict], declared: dict) -> None:
    """Hold the rows of a snapshot against those of the ones accepted before.

    Parameters
    ----------
    newest:   what `counted` tells of it.
    known:    of the ones accepted before, the oldest first.
    declared: `may_shrink` and `may_be_empty`, as the source's script in `api/` says.

    Raises SourceError with the numbers when there are too few or too many.
    """
    left = _left(newest["parts"], known, taken.descriptor.get("window_begin", ""))
    lost = _lost_parts(taken, newest["parts"], known, left, declared)
    flaw = _flaw_of_all(newest["rows"], known, left, declared)
    if not lost and not flaw:
        return
    urls = [entry["url"] for entry in taken.descriptor["resources"]]
    where = urls[0] if len(urls) == 1 else f"{source}, {len(urls)} files"
    whole = [f"{where}: refused, {flaw}"] if flaw else []
    raise SourceError(
        "; ".join([*whole, *lost[:MOST_PARTS]])
        + f"; and {len(lost) - MOST_PARTS} more parts" * (len(lost) > MOST_PARTS),
        f"the old rows stay; look at data/quarantine/{source}/; if the publisher means it, "
        f"./run_pipeline.sh accept {source} takes it over",
    )


def _flaw_of_all(count: int, known: list[dict], left: set[str], declared: dict) -> str:
    """What is wrong with the rows of a snapshot as a whole; empty when nothing is."""
    if count == 0:
        is_usual = declared["may_be_empty"] or (known and known[-1]["rows"] == 0)
        return "" if is_usual else "there is no row in it"
    if declared["may_shrink"] or not known:
        return ""
    before = statistics.median(entry["rows"] for entry in known)
    # Rows that left the window with their part are no loss.
    usual = statistics.median(
        entry["rows"] - sum(entry["parts"].get(part, 0) for part in left) for entry in known
    )
    if count < SHARE * usual:
        before = usual
    elif not before or count <= TIMES * before:
        return ""
    return (
        f"{count:,} rows came where {before:,.0f} are usual (the median of the last {len(known)})"
    )


def _lost_parts(
    taken: Snapshot, now: dict[str, int], known: list[dict], left: set[str], declared: dict
) -> list[str]:
    """A sentence on each part of a snapshot of several that lost its rows, or most of them."""
    before = known[-1]["parts"] if known else {}
    names = list(dict.fromkeys([*before, *now]))
    if not now or len(names) < 2:  # one part is the whole
        return []
    missing = [part for part in before if part not in now]
    if not taken.descriptor.get("window_begin") and len(missing) <= len(now.keys() - before):
        left = left.union(missing)  # files without a window have new names, for all that is known
    may_begin_empty = "completeness" in taken.descriptor  # which is proven
    sentences = []
    for part in names:
        history = [entry["parts"][part] for entry in known if part in entry["parts"]]
        usual = statistics.median(history or [0])
        if now.get(part):
            is_lost = usual >= FEW and now[part] < SHARE * usual and not declared["may_shrink"]
        else:
            had_rows = before.get(part, not may_begin_empty)
            is_lost = had_rows and part not in left and not declared["may_be_empty"]
        if is_lost:
            what = f"{now[part]:,} rows came" if part in now else "no such file came"
            where_usual = f", where {usual:,.0f} are usual" if history else ""
            sentences.append(f"{_name_of(taken, part)}: refused, {what}{where_usual}")
    return sentences


def _name_of(taken: Snapshot, part: str) -> str:
    """A part as an error names it: by its file, if it is one."""
    resources = taken.descriptor["resources"]
    files = [entry["path"] for entry in resources if entry.get("part") == part]
    return escaped(files[0] if len(files) == 1 else part)


def _left(now: dict[str, int], known: list[dict], window_begin: str) -> set[str]:
    """The parts that left the window that a source's script declares: they are older than it."""
    if not window_begin:
        return set()
    begin = _order(window_begin)
    parts = {part for entry in known for part in entry["parts"]}
    return {part for part in parts if part not in now and _order(part) < begin}


def _order(part: str) -> list[str | int]:
    """What orders the names of parts: text as text, numbers as numbers."""
    pieces = re.split(r"([0-9]+)", part)
    return [int(piece) if number % 2 else piece for number, piece in enumerate(pieces)]


def records(path: Path) -> int:
    """The records of a legible file, its header among them: the line ends outside of quotes.

    A last line without one is a record.
    """
    from pipeline.formats import bitmask, records  # numpy is slow to import, and often not needed

    count, is_inside, block = 0, False, b"\n"
    for block in compressed.blocks(path):
        borders = records.find(block, begins_inside=is_inside)
        is_inside = borders.ends_inside
        count += len(bitmask.positions(borders.line_ends))
    return count + (not block.endswith(b"\n"))
