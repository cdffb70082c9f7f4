"""The guards of stage `preprocess`: what a new legible file is held against is the ones before.

A publisher may mean what looks like a fault: fewer rows, other columns, a shorter last row. So
what a guard refuses is remembered, and `./run_pipeline.sh accept SOURCE` lets exactly that in;
every message says so. A guard that compares with an earlier state and is not in `check` can be
overruled by nobody.
"""

import hashlib
import mmap
import re
from collections.abc import Callable
from pathlib import Path

from pipeline import state
from pipeline.errors import SourceError
from pipeline.formats.legible import Legible
from pipeline.raw import snapshot, volume
from pipeline.raw.snapshot import Snapshot
from pipeline.schema import drift
from pipeline.settings import Settings
from pipeline.stages import part_columns
from pipeline.text import escaped

LONGEST_LAST_LINE = 1024 * 1024


class Refused(SourceError):
    """All that guards have against a file; `overrule` is what `accept` remembers to let it in."""

    def __init__(self, troubles: list[SourceError], overrule: dict):
        remedies = [piece for error in troubles for piece in error.remedy.split("; ")]
        what = "; ".join(error.what for error in troubles)
        super().__init__(what, "; ".join(dict.fromkeys(remedies)))
        self.overrule = overrule


def check(
    here: Settings, source: str, taken: Snapshot, legible: Legible, new: Path, last: Path
) -> dict:
    """Hold a new legible file against the earlier ones by every guard.

    Parameters
    ----------
    taken, legible: the snapshot, and the receipt of what was made of it.
    new, last:      the file about to be taken, and the last good one, which need not be there.

    Returns what is to be remembered once it is taken, by the name it has in the state. Raises
    Refused with all that any guard has against it.
    """
    known, newest = volume.accepted(here, source, last), volume.counted(taken, legible)
    lacking = part_columns.lacking(taken, legible, part_columns.known_of(here, source)[1])
    told = state.read(here, source).get("api", {})
    declared = {name: bool(told.get(name)) for name in ("may_shrink", "may_be_empty")}
    end = _last_line(new)
    # Each with what `accept` has to remember; columns are written into load/<source>.sql instead.
    guards: list[tuple[Callable[[], None], dict]] = [
        (lambda: _refuse_cut_end(here, source, end, last), {"accepted_end": _digest(end)}),
        (lambda: _check_columns(here, source, taken, legible, new, last), {}),
        (
            lambda: part_columns.check(here, source, taken, legible, lacking),
            {"lacking": lacking},
        ),
        (lambda: volume.check(source, taken, newest, known, declared), {"accepted": [newest]}),
    ]
    troubles: list[SourceError] = []
    overrule: dict = {}
    for guard, remembered in guards:
        try:
            guard()
        except SourceError as error:
            troubles.append(error)
            overrule |= remembered
    if troubles:
        raise Refused(troubles, overrule)
    # The bundled capture is no measure: it may be years old.
    if taken.origin != "live":
        return {}
    return {"accepted": volume.with_newest(known, newest), "lacking": lacking}


def remember(here: Settings, source: str, remembered: dict) -> None:
    """Remember a legible file that was taken, as `check` says."""
    of_earlier_versions = dict.fromkeys(("history", "refused"))
    state.replace(here, source, rejected=None, **of_earlier_versions, **remembered)


def reject(here: Settings, source: str, taken: Snapshot, error: SourceError) -> None:
    """Remember that this snapshot was refused, by a guard or by anything else of the stage."""
    overrule = error.overrule if isinstance(error, Refused) else {}
    state.replace(here, source, rejected={"content": taken.content, "overrule": overrule})


def waiting(here: Settings, source: str) -> dict:
    """What `accept` would remember of the snapshot that was refused; empty when there is nothing.

    The columns that were refused are not among it: see `drift.waiting`.
    """
    return state.read(here, source).get("rejected", {}).get("overrule", {})


def accept(here: Settings, source: str) -> list[str]:
    """Let the refused snapshot through its guards; the next run makes it legible and loads it.

    Returns sentences on what was accepted. Raises SourceError when the snapshot on disk is
    another one by now, or is damaged; nothing is accepted then.
    """
    rejected = state.read(here, source)["rejected"]
    taken = snapshot.current(here, source)
    if taken is None or taken.content != rejected["content"]:
        raise SourceError(
            f"{source}: the snapshot that was refused is not the one on disk any more; its rows "
            "were not accepted",
            f"./run_pipeline.sh preprocess {source} judges the one that is there",
        )
    overrule = rejected["overrule"]
    state.replace(here, source, **overrule, rejected=None)
    said = []
    if "accepted" in overrule:
        said.append(f"{overrule['accepted'][0]['rows']:,} rows")
    if "accepted_end" in overrule:
        said.append("its last row")
    if "lacking" in overrule:
        said.append("the columns of its files")
    return [f"accepted, {', '.join(said)}, fetched {taken.fetched_at}; the next run loads it"]


def _check_columns(
    here: Settings, source: str, taken: Snapshot, legible: Legible, new: Path, last: Path
) -> None:
    gone = drift.vanished(here, source, legible, last)
    columns = [name for name in legible.columns if name not in gone]
    drift.check(here, source, new, columns, last, is_ordered=not part_columns.is_json(taken))


def _refuse_cut_end(here: Settings, source: str, end: bytes, last: Path) -> None:
    """Refuse a file whose last row is the beginning of a row known from before, and is none itself.

    Only a file without a line end at its end can be cut inside its last field unnoticed; what is
    known is the last good file, or the bundled capture.
    """
    if end.endswith(b"\n") or state.read(here, source).get("accepted_end") == _digest(end):
        return
    capture = snapshot.bundled(source)
    row = re.escape(b"\n" + end)
    for known in [last] if last.exists() else capture.files if capture else []:
        with known.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            is_cut = re.search(row + rb"[^\r\n]", text) and not re.search(row + rb"[\r\n]", text)
            is_cut = is_cut and text[-len(end) - 1 :] != b"\n" + end
        if is_cut:
            raise SourceError(
                f"{source}: the file is cut inside its last row, or that row became shorter: "
                f"{escaped(end.decode())}",
                "the old rows stay; the next night fetches it again; if the publisher means it, "
                f"./run_pipeline.sh accept {source} takes it over",
            )


def _last_line(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LONGEST_LAST_LINE))
        return file.read().splitlines(keepends=True)[-1]


def _digest(end: bytes) -> str:
    return hashlib.sha256(end).hexdigest()
