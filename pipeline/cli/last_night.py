"""How the newest whole night of this data folder went: `data/state/night.json`.

It is noted with or without a database, and also when a night ends before it began (code 78). The
night before is kept in the note while a night is in progress, so that nobody has to guess then.
"""

import json
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline import durable, errors, settings, state
from pipeline.errors import BusyError, SetupError
from pipeline.marts.freshness import GRACE, RHYTHM
from pipeline.settings import Settings

DAY = 24 * 3600
FILE = "night.json"


@dataclass(frozen=True)
class Night:
    """A whole night: when it began and ended, its exit code, and why if it was not 0."""

    run: str  # the id of the run; empty where it is not known
    began_at: datetime | None
    ended_at: datetime | None  # None: it is in progress, or was killed, or stopped
    exit_code: int | None
    reason: str = ""

    @property
    def is_well(self) -> bool:
        """Whether it ended with 0."""
        return self.exit_code == errors.OK

    @property
    def is_over(self) -> bool:
        """Whether its end was noted."""
        return self.exit_code is not None

    @property
    def at(self) -> datetime | None:
        """The last that is known of it."""
        return self.ended_at or self.began_at

    def is_old(self, now: datetime) -> bool:
        """Whether the night after it should be over by now."""
        return self.at is not None and now > self.at + RHYTHM + GRACE


def begin(here: Settings, run: str) -> None:
    """Note that a whole night begins: until it ends, no night has ended since."""
    _write(here.state, {"run": run, "began_at": state.now()}, _noted(here.state))


def end(here: Settings, exit_code: int, reason: str = "") -> None:
    """Note how the night that is in progress ended."""
    noted = _noted(here.state)
    told = {"ended_at": state.now(), "exit_code": exit_code, "reason": reason}
    _write(here.state, noted | told, noted.get("before"))


@contextmanager
def noting() -> Generator[None]:
    """Note what ends a night before its last stage, also before it could begin.

    Such a night has no end by the clock, so `--if-missed` makes up for it. One that met another run
    did nothing: the note is as it was before.
    """
    folder = settings.state_folder()
    before = _noted(folder)
    try:
        yield
    except Exception as error:
        noted = _noted(folder)
        is_begun = noted != before
        if isinstance(error, BusyError):
            if is_begun and not _is_over(noted):
                _write(folder, before, before.get("before"))
        elif folder.is_dir():
            began = noted if is_begun else {"began_at": state.now()}
            code = getattr(error, "exit_code", errors.FAILED)
            told = {"exit_code": code, "reason": settings.redact(str(error))}
            _write(folder, began | told, before)
        raise


def stopped(here: Settings, run: str, exit_code: int, signal: str) -> None:
    """Note that the night in progress was stopped by a signal; it has no end of its own."""
    noted = _noted(here.state)
    if noted.get("run") != run:
        return
    told = {"exit_code": exit_code, "reason": f"stopped by {signal}"}
    _write(here.state, noted | told, noted.get("before"))


def newest(here: Settings) -> list[Night]:
    """The newest night that is noted and, if it is not over, the one before; newest first."""
    noted = _noted(here.state)
    before = noted.get("before")
    given = [noted, before if isinstance(before, dict) and not _is_over(noted) else {}]
    return [_night(one) for one in given if one]


def in_words(night: Night) -> str:
    """When a night ended and how, in a few words."""
    began = f"began {night.began_at:%Y-%m-%d %H:%M %Z}" if night.began_at else "began"
    if night.exit_code is None:
        return f"{began} and did not end: it was killed, or the machine stopped"
    how = f"with code {night.exit_code} ({errors.meaning(night.exit_code)})"
    return (
        f"ended {night.ended_at:%Y-%m-%d %H:%M %Z} {how}"
        if night.ended_at
        else f"{began} and ended {how}"
    )


def was_missed() -> bool:
    """Whether no whole night ended, well or not, within the last 24 hours, or the newest did not.

    One that a power cut or a kill ended is missed, however short before it another one ended.
    """
    ended = _instant(_noted(settings.load().state).get("ended_at"))
    return ended is None or not 0 <= time.time() - ended.timestamp() < DAY


def _night(noted: dict) -> Night:
    code, reason = noted.get("exit_code"), noted.get("reason")
    began, ended = _instant(noted.get("began_at")), _instant(noted.get("ended_at"))
    code = code if isinstance(code, int) else None
    return Night(str(noted.get("run", "")), began, ended, code, str(reason or ""))


def _is_over(noted: dict) -> bool:
    return isinstance(noted.get("exit_code"), int)


def _instant(value: object) -> datetime | None:
    try:
        instant = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _noted(folder: Path) -> dict:
    """What is noted; a file that cannot be read counts as nothing."""
    try:
        noted = json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _write(folder: Path, noted: dict, before: dict | None) -> None:
    """Note a night; of the one before only that one, not its own forerunner."""
    noted = {name: value for name, value in noted.items() if name != "before"}
    before = {name: value for name, value in (before or {}).items() if name != "before"}
    with suppress(OSError, SetupError):  # a full disk, a link: the night says so
        durable.write_json(
            durable.unlinked(folder) / FILE, noted | ({"before": before} if before else {})
        )
