"""The stash: the history of the raw snapshots, beside the current copy on disk.

This is all that the rest of the pipeline knows of storage. Setting `STASH` picks the store, a
module with the five functions of this one (docs/stash.md says how to add another).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline import state
from pipeline.errors import PipelineError
from pipeline.raw import git_stash, snapshot
from pipeline.settings import SOURCE_NAME, Settings

STORES = {"git": git_stash, "git+push": git_stash}
PUSHED = {"git+push"}
LOST = "never_stashed"  # of a source: when snapshots were fetched that never entered the stash


@dataclass(frozen=True)
class Stored:
    """What came of a snapshot in the stash, or of a push."""

    done: bool  # it is there now, whether by this call or an earlier one
    where: str  # "raw-data 1a2b3c4", "raw-data 1a2b3c4, unchanged" or "not stashed"
    note: str = ""  # one line for the operator; empty when all is well


def store(settings: Settings, source: str, message: str) -> Stored:
    """Put the current snapshot of a source into the stash; the same one again is a no-op.

    What hinders the stash (no git-lfs, no checkout, a full disk) is told in the note: the
    snapshot stays on disk, and the night goes on.

    Raises PipelineError when the snapshot is no whole one, or has a name or a link in it that
    must not go into a history.
    """
    if settings.stash not in STORES:
        return Stored(False, "not stashed")
    taken = snapshot.read(settings.raw / _named(source), source)
    for file in taken.files:
        if file.name.lower().startswith(".git"):
            raise PipelineError(f"{source}: a file named {file.name!r} would steer git")
    return _told("not stashed", STORES[settings.stash].store, taken, message)


def push(settings: Settings) -> Stored:
    """Send what is stashed to the remote, where the setting asks for it.

    What hinders it (no remote, no network, a refusal) is told in the note, with what waits.
    """
    if settings.stash not in PUSHED:
        return Stored(False, "not pushed")
    return _told("not pushed", STORES[settings.stash].push)


def restore(settings: Settings, source: str, into: Path, network: bool = False) -> bool:
    """Write the last stashed snapshot of a source into a folder; the caller verifies it.

    Parameters
    ----------
    into:    an existing, empty folder.
    network: whether objects that are not on this machine may be fetched from the remote.

    Returns False, with nothing written, when the stash has none or not the whole of it.
    Raises OSError when the folder cannot be written.
    """
    if settings.stash not in STORES:
        return False
    try:
        return STORES[settings.stash].restore(_named(source), into, network)
    except PipelineError:
        return False


def problems(settings: Settings) -> list[str]:
    """What would keep the stash from its work tonight, a line each with its remedy."""
    if settings.stash not in STORES:
        return []
    return STORES[settings.stash].problems(settings.stash in PUSHED)


def gap(settings: Settings, sources: Iterable[str]) -> list[str]:
    """What the history in the stash lacks: snapshots on disk, and those that were replaced since.

    A line each; empty when there is no gap, or no stash.
    """
    if settings.stash not in STORES:
        return []
    noted = {name: state.read(settings, name).get("api", {}) for name in sources}
    lost = [f"{name} of {at}" for name, facts in noted.items() for at in facts.get(LOST, [])]
    what = "the stash has a gap: snapshots were replaced before they could be stashed"
    found = [f"{what}: {', '.join(lost)}"] if lost else []
    try:
        waiting = STORES[settings.stash].lacking(settings.raw / _named(name) for name in noted)
    except PipelineError as error:
        return [*found, str(error)]
    if waiting:
        found.append(f"not in the stash yet: {', '.join(waiting)} - the next night tries again")
    return found


def _named(source: str) -> str:
    if not SOURCE_NAME.fullmatch(source):
        raise PipelineError(f"{source!r} is not the name of a source")
    return source


def _told(otherwise: str, work, *arguments) -> Stored:
    try:
        return Stored(True, work(*arguments))
    except PipelineError as error:
        return Stored(False, otherwise, str(error))
    except OSError as error:
        return Stored(False, otherwise, f"the stash cannot be written: {error}")
