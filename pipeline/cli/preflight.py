"""What would stop a run before it begins: one list, which the run and `doctor` both check.

Nothing is changed here. The database has its own checks (`RunRecord.check_database`, which `doctor`
also makes), because only a connection can make them.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from pipeline import declaration_checks, folders
from pipeline.errors import SetupError
from pipeline.settings import Settings

_REMEDY = "chown it, or set DATA_DIR"


def refuse(here: Settings, sources: Iterable[str], stages: Iterable[str]) -> None:
    """Raise SetupError with everything that would stop a run of these stages for these sources."""
    if found := problems(here, sources, stages):
        remedies = dict.fromkeys(error.remedy for error in found)
        raise SetupError("; ".join(error.what for error in found), "; ".join(remedies))


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
    paths = dict.fromkeys([here.data_dir, *(here.data_dir / name for name in folders.NAMES)])
    reasons = dict.fromkeys(filter(None, map(_why_unusable, paths)))
    found += [SetupError(reason, _REMEDY) for reason in reasons]
    lock = here.state / "run.lock"
    if os.path.lexists(lock) and not (lock.is_file() and os.access(lock, os.R_OK | os.W_OK)):
        found.append(SetupError(f"{lock} cannot be written by this user", _REMEDY))
    return found


def _why_unusable(folder: Path) -> str:
    """Why a folder cannot be written or created; empty if it can."""
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        return f"{folder} should be a folder and is something else"
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return f"{folder} cannot be written by this user"
    return ""
