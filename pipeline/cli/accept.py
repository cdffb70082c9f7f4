"""`./run_pipeline.sh accept SOURCE`: accept a rejected snapshot.

Few rows, a shorter last row, or a column that one file lost: exactly the rejected snapshot is
accepted, and the guards regard its numbers as usual from then on. Other columns: the received ones
are written into `load/<source>.sql`. Nothing is fetched; the next run preprocesses and loads it.
"""

import sys

from pipeline import errors, settings, state
from pipeline.schema import drift
from pipeline.settings import Settings
from pipeline.stages import guards, lock


def run(names: list[str], is_header: bool = False) -> int:
    """Accept the rejected rows and columns of some sources; returns the exit code.

    `is_header`: the first line of a file is its header, although it looks like a row.
    Raises BusyError if a run is in progress, SourceError if the rejected snapshot is damaged or is
    no longer the one on disk.
    """
    here = settings.load()
    with lock.held_by_this_run(here):
        for name in names:
            if is_header and drift.first_row(here, name):
                drift.take_for_header(here, name)
        for name in names:
            if reason := _why_not(here, name):
                print(f"run_pipeline.sh: {reason}", file=sys.stderr)
                return errors.USAGE
        for name in names:
            for line in _accept(here, name):
                print(f"{name}: {line}")
    return errors.OK


def _accept(here: Settings, name: str) -> list[str]:
    lines = drift.accept(here, name)
    if lines:
        lines.append("./run_pipeline.sh sync passes its new descriptions on to the models")
    lines += guards.accept(here, name) if guards.waiting(here, name) else []
    preprocess = state.read(here, name).get("preprocess", {})
    # It counts as fetched again: an accepted snapshot need not be fetched once more (`refetch`).
    preprocess = preprocess and preprocess | {"rejected_in": None}
    state.replace(here, name, rejected=None, preprocess=preprocess or None)
    return lines


def _why_not(here: Settings, name: str) -> str:
    """Why nothing of a source can be accepted; empty if something can."""
    if first_row := drift.first_row(here, name):
        return str(drift.about_first_row(name, first_row))
    if guards.waiting(here, name) or drift.waiting(here, name):
        return ""
    if "rejected" in (facts := state.read(here, name)):
        preprocess = facts.get("preprocess", {})
        why = " - ".join(filter(None, [preprocess.get("reason"), preprocess.get("remedy")]))
        return (
            f"{name}: its snapshot cannot be accepted, because it cannot be read or fails a test: "
            f"{why}"
        )
    return f"{name}: nothing was rejected, so there is nothing to accept"
