"""The guards of stage `preprocess`: a new legible file is compared with the earlier ones.

A publisher may mean what looks like a fault: fewer rows, other columns, a shorter last row. So a
rejection is recorded, and `./run_pipeline.sh accept SOURCE` accepts exactly what was rejected;
every message says so. Every guard that compares with an earlier state must be in `check`: nobody
could overrule it otherwise.
"""

import hashlib
import mmap
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from pipeline import state
from pipeline.errors import SourceError, unless_meant
from pipeline.formats.legible import Legible
from pipeline.raw import snapshot, volume
from pipeline.raw.snapshot import Snapshot
from pipeline.schema import drift
from pipeline.settings import Settings
from pipeline.stages import part_columns
from pipeline.text import escaped

LONGEST_LAST_LINE = 1024 * 1024


class Refused(SourceError):
    """The objections of all guards; `overrule` is what `accept` records to overrule them."""

    def __init__(self, objections: list[SourceError], overrule: dict):
        remedies = [piece for error in objections for piece in error.remedy.split("; ")]
        what = "; ".join(error.what for error in objections)
        super().__init__(what, "; ".join(dict.fromkeys(remedies)))
        self.overrule = overrule


def check(
    here: Settings, source: str, current: Snapshot, legible: Legible, new: Path, last: Path
) -> dict:
    """Compare a new legible file with the earlier ones.

    Parameters
    ----------
    current, legible: the snapshot, and the receipt of the file made of it.
    new, last:        the new file, and the last good one, which need not exist.

    Returns what is recorded once the file is accepted, by its name in the state. Raises Refused
    with the objections of all guards.
    """
    counts, newest = volume.accepted(here, source, last), volume.counted(current, legible)
    lacking = part_columns.lacking(current, legible, part_columns.recorded(here, source)[1])
    declared = state.fetched(here, source)
    end = _last_line(new)
    # Each with what `accept` has to record; columns are written into load/<source>.sql instead.
    guards: list[tuple[Callable[[], None], dict]] = [
        (lambda: _refuse_cut_end(here, source, end, last), {"accepted_end": _digest(end)}),
        (lambda: _check_columns(here, source, current, legible, new, last), {}),
        (
            lambda: part_columns.check(here, source, current, legible, lacking),
            {"lacking": lacking},
        ),
        (
            lambda: volume.check(source, current, newest, counts, declared),
            {"accepted": msgspec.to_builtins([newest])},
        ),
    ]
    objections: list[SourceError] = []
    overrule: dict = {}
    for guard, consent in guards:
        try:
            guard()
        except SourceError as error:
            objections.append(error)
            overrule |= consent
    if objections:
        raise Refused(objections, overrule)
    if current.origin != "live":  # the bundled snapshot may be years old: it is not a measure
        return {}
    accepted = msgspec.to_builtins(volume.with_newest(counts, newest))
    return {"accepted": accepted, "lacking": lacking}


def record(here: Settings, source: str, accepted: dict) -> None:
    """Record that a legible file was accepted; accepted: what `check` returned."""
    of_earlier_versions = dict.fromkeys(("history", "refused"))
    state.replace(here, source, rejected=None, **of_earlier_versions, **accepted)


def reject(here: Settings, source: str, current: Snapshot, error: SourceError) -> None:
    """Record that this snapshot was rejected, by a guard or by anything else in the stage."""
    overrule = error.overrule if isinstance(error, Refused) else {}
    state.replace(here, source, rejected={"content": current.content, "overrule": overrule})


def waiting(here: Settings, source: str) -> dict:
    """Return what `accept` would record for the rejected snapshot; empty if there is nothing.

    Rejected columns are not part of it: see `drift.waiting`.
    """
    return state.read(here, source).get("rejected", {}).get("overrule", {})


def accept(here: Settings, source: str) -> list[str]:
    """Overrule the guards for the rejected snapshot; the next run makes it legible and loads it.

    Returns sentences on what was accepted. Raises SourceError, and accepts nothing, when another
    snapshot is on disk by now, or a damaged one.
    """
    rejected = state.read(here, source)["rejected"]
    current = snapshot.current(here, source)
    if current is None or current.content != rejected["content"]:
        raise SourceError(
            f"{source}: the rejected snapshot is not on disk any more; its rows were not accepted",
            f"./run_pipeline.sh preprocess {source} checks the current snapshot",
        )
    overrule = rejected["overrule"]
    state.replace(here, source, **overrule, rejected=None)
    parts = []
    if "accepted" in overrule:
        parts.append(f"{overrule['accepted'][0]['rows']:,} rows")
    if "accepted_end" in overrule:
        parts.append("its last row")
    if "lacking" in overrule:
        parts.append("the columns of its files")
    return [f"accepted, {', '.join(parts)}, fetched {current.fetched_at}; the next run loads it"]


def _check_columns(
    here: Settings, source: str, current: Snapshot, legible: Legible, new: Path, last: Path
) -> None:
    gone = drift.vanished(here, source, legible, last)
    columns = [name for name in legible.columns if name not in gone]
    drift.check(here, source, new, columns, last, is_ordered=not part_columns.is_json(current))


def _refuse_cut_end(here: Settings, source: str, end: bytes, last: Path) -> None:
    """Refuse a file whose last row is only the beginning of an earlier row.

    Only a file that does not end with a line end can be cut inside its last field unnoticed. The
    earlier rows are those of the last good file, or of the bundled snapshot.
    """
    if end.endswith(b"\n") or state.read(here, source).get("accepted_end") == _digest(end):
        return
    capture = snapshot.bundled(source)
    row = re.escape(b"\n" + end)
    for earlier in [last] if last.exists() else capture.files if capture else []:
        with (
            earlier.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text,
        ):
            is_cut = re.search(row + rb"[^\r\n]", text) and not re.search(row + rb"[\r\n]", text)
            is_cut = is_cut and text[-len(end) - 1 :] != b"\n" + end
        if is_cut:
            raise SourceError(
                f"{source}: the file is cut inside its last row, or that row became shorter: "
                f"{escaped(end.decode())}",
                f"the old rows stay; the next night fetches it again; {unless_meant(source)}",
            )


def _last_line(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LONGEST_LAST_LINE))
        return file.read().splitlines(keepends=True)[-1]


def _digest(end: bytes) -> str:
    return hashlib.sha256(end).hexdigest()
