"""The stash: the history of the raw snapshots, beside the current copy on disk.

The rest of the pipeline uses the stash through this module only. Setting `STASH` selects the store:
a module with these five functions (docs/stash.md explains how to add another).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline import state
from pipeline.errors import PipelineError
from pipeline.raw import git_stash, snapshot
from pipeline.settings import SOURCE_NAME, Settings

STORES = {"git": git_stash, "git+push": git_stash}
PUSHED = {"git+push"}


@dataclass(frozen=True)
class Stored:
    """The result of storing a snapshot, or of a push."""

    done: bool  # it is in the stash now, by this call or an earlier one
    where: str  # "raw-data 1a2b3c4", "raw-data 1a2b3c4, unchanged" or "not stashed"
    note: str = ""  # one line for the operator; empty without a problem


def store(settings: Settings, source: str, message: str) -> Stored:
    """Put the current snapshot of a source into the stash; does nothing if it is there already.

    A problem of the stash (no git-lfs, no checkout, a full disk) is returned as a note: the
    snapshot stays on disk, and the night continues.

    Raises PipelineError when the snapshot is damaged, or has a name or a link in it that must not
    enter a history.
    """
    if settings.stash not in STORES:
        return Stored(False, "not stashed")
    current = snapshot.read(settings.raw / _checked(source), source)
    for file in current.files:
        if file.name.lower().startswith(".git"):
            raise PipelineError(f"{source}: a file named {file.name!r} would steer git")
    return _attempt(lambda: STORES[settings.stash].store(current, message), "not stashed")


def push(settings: Settings) -> Stored:
    """Push the stash to the remote, if the setting says so.

    A problem (no remote, no network, a refusal) is returned as a note, with what waits.
    """
    if settings.stash not in PUSHED:
        return Stored(False, "not pushed")
    return _attempt(STORES[settings.stash].push, "not pushed")


def restore(settings: Settings, source: str, into: Path, network: bool = False) -> bool:
    """Write the last stashed snapshot of a source into a folder; the caller verifies it.

    Parameters
    ----------
    into:    an existing, empty folder.
    network: whether objects that are not on this machine may be fetched from the remote.

    Returns False and writes nothing when the stash has no complete snapshot.
    Raises OSError when the folder cannot be written.
    """
    if settings.stash not in STORES:
        return False
    try:
        return STORES[settings.stash].restore(_checked(source), into, network)
    except PipelineError:
        return False


def problems(settings: Settings) -> list[str]:
    """Return why the stash would fail tonight, a line with a remedy for each problem."""
    if settings.stash not in STORES:
        return []
    return STORES[settings.stash].problems(settings.stash in PUSHED)


def gap(settings: Settings, sources: Iterable[str]) -> list[str]:
    """Return what the history lacks: snapshots on disk, and snapshots that were replaced since.

    One line each; empty without a gap or without a stash.
    """
    if settings.stash not in STORES:
        return []
    fetched = {name: state.fetched(settings, name) for name in sources}
    lost = [f"{name} of {at}" for name, facts in fetched.items() for at in facts.never_stashed]
    what = "the stash has a gap: snapshots were replaced before they could be stashed"
    lines = [f"{what}: {', '.join(lost)}"] if lost else []
    try:
        waiting = STORES[settings.stash].lacking(settings.raw / _checked(n) for n in fetched)
    except PipelineError as error:
        return [*lines, str(error)]
    if waiting:
        lines.append(f"not in the stash yet: {', '.join(waiting)} - the next night tries again")
    return lines


def _checked(source: str) -> str:
    if not SOURCE_NAME.fullmatch(source):
        raise PipelineError(f"{source!r} is not the name of a source")
    return source


def _attempt(work: Callable[[], str], otherwise: str) -> Stored:
    try:
        return Stored(True, work())
    except PipelineError as error:
        return Stored(False, otherwise, str(error))
    except OSError as error:
        return Stored(False, otherwise, f"the stash cannot be written: {error}")
