"""What stops a run before it begins: one list, by which the run and `doctor` check alike.

Nothing is changed here. The database has its own checks (`Books.meet_database`, which `doctor`
does too), since only a connection can make them.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from pipeline import declaration_checks, folders
from pipeline.errors import SetupError
from pipeline.settings import Settings

MADE = ("raw", "preprocessed", "state", "quarantine", "logs")  # of DATA_DIR, by every run
_REMEDY = "chown it, or set DATA_DIR"


def problems(
    here: Settings, sources: Iterable[str], stages: Iterable[str] = declaration_checks.PARTS_OF
) -> list[SetupError]:
    """What would stop a run of these stages for these sources, each with its remedy."""
    found = [
        SetupError(missing, "see docs/adding_a_source.md")
        for missing in declaration_checks.missing_parts(sources, stages)
    ]
    try:
        folders.refuse_links(here)
    except SetupError as error:
        return [*found, error]
    named = dict.fromkeys([here.data_dir, *(here.data_dir / name for name in folders.NAMES)])
    unusable = dict.fromkeys(what for what in map(_unusable_folder, named) if what)
    found += [SetupError(what, _REMEDY) for what in unusable]
    lock = here.state / "run.lock"
    if os.path.lexists(lock) and not (lock.is_file() and os.access(lock, os.R_OK | os.W_OK)):
        found.append(SetupError(f"{lock} cannot be written by this user", _REMEDY))
    return found


def refuse(here: Settings, sources: Iterable[str], stages: Iterable[str]) -> None:
    """Raise SetupError with all that would stop a run of these stages for these sources."""
    if found := problems(here, sources, stages):
        remedies = dict.fromkeys(error.remedy for error in found)
        raise SetupError("; ".join(error.what for error in found), "; ".join(remedies))


def make_folders(here: Settings) -> None:
    """Make the folders that every run works in. Raises SetupError when one cannot be made."""
    for name in MADE:
        folder = here.data_dir / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(f"{folder} cannot be made: {error.strerror}", "set DATA_DIR") from None


def _unusable_folder(folder: Path) -> str:
    """Why a folder cannot be written or made; empty when it can."""
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        return f"{folder} is in the place of a folder and is none"
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return f"{folder} cannot be written by this user"
    return ""
