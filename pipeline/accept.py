"""`./run_pipeline.sh accept SOURCE`: what was refused is right after all.

Few rows: the refused snapshot is taken from the quarantine as it is, verified by its manifest;
nothing is fetched, and its rows are what is usual from then on. Other columns: those that were
seen are written into `load/<source>.sql`.
"""

import os
import sys

from pipeline import drift, durable, errors, fetch, lock, script, settings, snapshot, state, volume
from pipeline.settings import Settings
from pipeline.snapshot import Snapshot


def run(names: list[str]) -> int:
    """Accept what was refused of some sources, rows and columns; returns the exit code.

    Raises BusyError when a run is in progress, SourceError when what is kept is damaged.
    """
    here = settings.load()
    with lock.held_by_this_run(here):
        waiting = {name: (_refused(here, name), drift.waiting(here, name)) for name in names}
        if idle := [name for name in names if not any(waiting[name])]:
            what = "nothing is refused, so there is nothing to accept"
            print(f"run_pipeline.sh: {idle[0]}: {what}", file=sys.stderr)
            return errors.USAGE
        for name in names:
            rows, columns = waiting[name]
            if rows:
                taken = accept(here, name)
                count = taken.descriptor.get("rows")
                counted = "" if count is None else f"{count:,} rows, "
                print(
                    f"{name}: accepted, {counted}fetched {taken.fetched_at}; the next run loads it"
                )
            if columns:
                for line in drift.accept(here, name):
                    print(f"{name}: {line}")
    return errors.OK


def accept(here: Settings, name: str) -> Snapshot:
    """Make the refused snapshot of a source the current one, stash it and note it.

    Raises SourceError, as `snapshot.read` does, when it is damaged or no longer there; nothing
    is changed then.
    """
    refused = _refused(here, name)
    kept = here.quarantine / name / refused["folder"]
    snapshot.read(kept, name)
    aside = snapshot.open_candidate(here, name)
    for path in kept.iterdir():
        snapshot.carry_over(path, aside)
    durable.replace_folder(aside, here.raw / name)
    taken = snapshot.current(here, name)
    volume.remember(here, name, taken, refused["validators"], is_normal=True)
    told = fetch.facts(here, name, taken, "new")
    told |= {"run": f"{script.now()} accept {os.getpid()}", "started_at": script.now()}
    state.update(here, name, "api", **told, seconds=0, ends_run=None)
    snapshot.discard(kept)
    return taken


def _refused(here: Settings, name: str) -> dict:
    return state.read(here, name).get("refused", {})
