"""`./run_pipeline.sh accept SOURCE`: what was refused is right after all.

Few rows, a last row that became shorter, a column that one file lost: the snapshot that was refused
goes through, and no other, and what it has is usual from then on. Other columns: those that were
seen are written into `load/<source>.sql`. Nothing is fetched; the next run makes it legible and
loads it.
"""

import sys

from pipeline import errors, settings, state
from pipeline.schema import drift
from pipeline.settings import Settings
from pipeline.stages import guards, lock


def run(names: list[str], is_header: bool = False) -> int:
    """Accept what was refused of some sources, rows and columns; returns the exit code.

    `is_header`: the first line of a file is its header, though it looks like a row.
    Raises BusyError when a run is in progress, SourceError when what was refused is damaged or is
    not the snapshot on disk any more.
    """
    here = settings.load()
    with lock.held_by_this_run(here):
        for name in names:
            if is_header and drift.first_row(here, name):
                drift.take_for_header(here, name)
        for name in names:
            if why := _not_acceptable(here, name):
                print(f"run_pipeline.sh: {why}", file=sys.stderr)
                return errors.USAGE
        for name in names:
            for line in _accept(here, name):
                print(f"{name}: {line}")
    return errors.OK


def _accept(here: Settings, name: str) -> list[str]:
    said = drift.accept(here, name)
    if said:
        said.append("./run_pipeline.sh sync passes its new descriptions on to the models")
    said += guards.accept(here, name) if guards.waiting(here, name) else []
    tried = state.read(here, name).get("preprocess", {})
    # It counts as fetched again: what was accepted need not come once more (`refetch.due`).
    tried = tried and tried | {"rejected_in": None}
    state.replace(here, name, rejected=None, preprocess=tried or None)
    return said


def _not_acceptable(here: Settings, name: str) -> str:
    """Why nothing of a source can be accepted; empty when something can."""
    if first_row := drift.first_row(here, name):
        return str(drift.about_first_row(name, first_row))
    if guards.waiting(here, name) or drift.waiting(here, name):
        return ""
    if "rejected" in (noted := state.read(here, name)):
        tried = noted.get("preprocess", {})
        why = " - ".join(filter(None, [tried.get("reason"), tried.get("remedy")]))
        return (
            f"{name}: what came cannot be accepted, since it cannot be read or fails a test: {why}"
        )
    return f"{name}: nothing is refused, so there is nothing to accept"
