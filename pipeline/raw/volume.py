"""The volume guard: a snapshot with far fewer rows than before, far more, or none is rejected.

It counts the rows that stage `preprocess` makes of a snapshot, before any is loaded. Their total is
compared with the median of the last seven accepted snapshots, and each part of a snapshot of
several files with its own earlier numbers: a total does not show that one month is missing. A
rejected snapshot stays on disk; `./run_pipeline.sh accept SOURCE` accepts it. Source.may_shrink and
may_be_empty declare what is normal (a source that may shrink may also grow).
"""

import re
import statistics
from pathlib import Path

import msgspec

from pipeline import compressed, state
from pipeline.errors import SourceError, unless_meant
from pipeline.formats.legible import Legible
from pipeline.raw.snapshot import Snapshot
from pipeline.settings import Settings
from pipeline.state import Fetched
from pipeline.text import escaped

RECORDED = 7  # accepted snapshots
SHARE = 0.5  # of their median, at least
TIMES = 10  # their median, at most
FEW = 20  # a part that usually has fewer rows may have any number except 0
MOST_PARTS = 3  # named by an error


class Count(msgspec.Struct):
    """The rows of an accepted snapshot."""

    content: str  # its content fingerprint
    rows: int
    parts: dict[str, int]  # rows of each part; empty where they are unknown


def counted(current: Snapshot, legible: Legible) -> Count:
    """Count the rows of a snapshot and of each of its parts.

    A part is a file, or several files that belong together (`Candidate.parts`). The manifests of
    earlier versions do not record the parts; they are unknown then.
    """
    part_of = {entry.path: entry.part for entry in current.descriptor.resources}
    parts: dict[str, int] = {}
    for name, rows in legible.files.items() if all(part_of.values()) else ():
        part = part_of.get(name) or name  # a member of an archive is a part too
        parts[part] = parts.get(part, 0) + rows
    return Count(current.content, legible.rows, parts)


def accepted(here: Settings, source: str, last: Path) -> list[Count]:
    """Return the counts of the snapshots accepted so far, oldest first.

    Without a record it is the count of `last`, the last good legible file.
    """
    recorded = state.read(here, source)
    if "accepted" in recorded:
        return msgspec.convert(recorded["accepted"], list[Count])
    rows = recorded.get("preprocess", {}).get("rows") if recorded.get("history") else None
    if "preprocess" not in recorded and last.exists():
        rows = records(last) - 1
    return [] if rows is None else [Count("", rows, {})]


def with_newest(counts: list[Count], newest: Count) -> list[Count]:
    """Return the counts to record after one more snapshot was accepted; each is there once."""
    return [*(c for c in counts if c.content != newest.content), newest][-RECORDED:]


def check(
    source: str, current: Snapshot, newest: Count, before: list[Count], declared: Fetched
) -> None:
    """Compare the rows of a snapshot with those of the snapshots accepted before.

    Parameters
    ----------
    newest:   the count of the snapshot.
    before:   the counts of the accepted snapshots, oldest first.
    declared: has `may_shrink` and `may_be_empty`, from the source's script in `api/`.

    Raises SourceError with the numbers when there are too few or too many rows.
    """
    left = _left(newest.parts, before, current.descriptor.window_begin)
    lost = _lost_parts(current, newest.parts, before, left, declared)
    flaw = _flaw_of_all(newest.rows, before, left, declared)
    if not lost and not flaw:
        return
    urls = [entry.url for entry in current.descriptor.resources]
    where = urls[0] if len(urls) == 1 else f"{source}, {len(urls)} files"
    whole = [f"{where}: refused, {flaw}"] if flaw else []
    raise SourceError(
        "; ".join([*whole, *lost[:MOST_PARTS]])
        + f"; and {len(lost) - MOST_PARTS} more parts" * (len(lost) > MOST_PARTS),
        f"the old rows stay; look at data/quarantine/{source}/; {unless_meant(source)}",
    )


def _flaw_of_all(rows: int, before: list[Count], left: set[str], declared: Fetched) -> str:
    """Return what is wrong with the total number of rows; empty if nothing is."""
    if rows == 0:
        is_usual = declared.may_be_empty or (before and before[-1].rows == 0)
        return "" if is_usual else "there is no row in it"
    if declared.may_shrink or not before:
        return ""
    usual = statistics.median(count.rows for count in before)
    # Rows of parts that left the window are not a loss.
    least = statistics.median(
        count.rows - sum(count.parts.get(part, 0) for part in left) for count in before
    )
    if rows < SHARE * least:
        usual = least
    elif not usual or rows <= TIMES * usual:
        return ""
    return f"{rows:,} rows came where {usual:,.0f} are usual (the median of the last {len(before)})"


def _lost_parts(
    current: Snapshot, now: dict[str, int], before: list[Count], left: set[str], declared: Fetched
) -> list[str]:
    """Return a sentence for each part that lost its rows, or most of them."""
    last = before[-1].parts if before else {}
    names = list(dict.fromkeys([*last, *now]))
    if not now or len(names) < 2:  # a single part is the whole
        return []
    missing = [part for part in last if part not in now]
    if not current.descriptor.window_begin and len(missing) <= len(now.keys() - last):
        left = left.union(missing)  # without a window, the files may just have new names
    may_begin_empty = current.descriptor.completeness is not None  # it proves that there is no row
    sentences = []
    for part in names:
        history = [count.parts[part] for count in before if part in count.parts]
        usual = statistics.median(history or [0])
        if now.get(part):
            is_lost = usual >= FEW and now[part] < SHARE * usual and not declared.may_shrink
        else:
            had_rows = last.get(part, not may_begin_empty)
            is_lost = had_rows and part not in left and not declared.may_be_empty
        if is_lost:
            what = f"{now[part]:,} rows came" if part in now else "no such file came"
            where_usual = f", where {usual:,.0f} are usual" if history else ""
            sentences.append(f"{_name_of(current, part)}: refused, {what}{where_usual}")
    return sentences


def _name_of(current: Snapshot, part: str) -> str:
    """Return the name of a part for an error: its file's, if it is one file."""
    files = [entry.path for entry in current.descriptor.resources if entry.part == part]
    return escaped(files[0] if len(files) == 1 else part)


def _left(now: dict[str, int], before: list[Count], window_begin: str) -> set[str]:
    """Return the parts that are older than the window that the source's script declares."""
    if not window_begin:
        return set()
    begin = _sort_key(window_begin)
    parts = {part for count in before for part in count.parts}
    return {part for part in parts if part not in now and _sort_key(part) < begin}


def _sort_key(part: str) -> list[str | int]:
    """Return what sorts the names of parts: text as text, numbers as numbers."""
    pieces = re.split(r"([0-9]+)", part)
    return [int(piece) if number % 2 else piece for number, piece in enumerate(pieces)]


def records(path: Path) -> int:
    """Return the number of records of a legible file, header included.

    They are counted by line ends outside of quotes; a last line without an end is a record too.
    """
    from pipeline.formats import bitmask, records  # numpy is slow to import, and often not needed

    count, is_inside, block = 0, False, b"\n"
    for block in compressed.blocks(path):
        borders = records.find(block, begins_inside=is_inside)
        is_inside = borders.ends_inside
        count += len(bitmask.positions(borders.line_ends))
    return count + (not block.endswith(b"\n"))
