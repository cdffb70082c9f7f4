"""How the newest night of this data folder went: `data/state/night.json`.

It is recorded with or without a database, and also if a night ends before it began (code 78). While
a night is in progress, the record of the one before stays in it.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec.structs import replace

from pipeline import durable, errors, settings, state
from pipeline.errors import BusyError, SetupError
from pipeline.marts.freshness import GRACE, RHYTHM
from pipeline.settings import Settings

DAY = 24 * 3600
FILE = "night.json"


Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class Night(msgspec.Struct, frozen=True, omit_defaults=True):
    """A whole night: when it began and ended, its exit code, and why if it was not 0."""

    run: str = ""  # the id of the run; empty if it ended before it had one
    began_at: Instant | None = None
    ended_at: Instant | None = None  # None: it is in progress, or was killed, or stopped
    exit_code: int | None = None
    reason: str = ""
    before: "Night | None" = None

    def __str__(self) -> str:
        """When it ended and how, in a few words."""
        began = f"began {self.began_at:%Y-%m-%d %H:%M %Z}" if self.began_at else "began"
        if self.exit_code is None:
            return f"{began} and did not end: it was killed, or the machine stopped"
        how = f"with code {self.exit_code} ({errors.meaning(self.exit_code)})"
        if self.ended_at:
            return f"ended {self.ended_at:%Y-%m-%d %H:%M %Z} {how}"
        return f"{began} and ended {how}"

    @property
    def succeeded(self) -> bool:
        """Whether it ended with 0."""
        return self.exit_code == errors.OK

    @property
    def is_over(self) -> bool:
        """Whether its end was recorded."""
        return self.exit_code is not None

    @property
    def last_at(self) -> datetime | None:
        """The time of the last that was recorded of it."""
        return self.ended_at or self.began_at

    def is_old(self, now: datetime) -> bool:
        """Whether the night after it should be over by now."""
        return self.last_at is not None and now > self.last_at + RHYTHM + GRACE


def begin(here: Settings, run: str) -> None:
    """Record that a night begins: until it ends, no night has ended since."""
    _write(here.state, Night(run, _now()), _read(here.state))


def end(here: Settings, exit_code: int, reason: str = "") -> None:
    """Record how the night that is in progress ended."""
    night = _read(here.state) or Night()
    ended = replace(night, ended_at=_now(), exit_code=exit_code, reason=reason)
    _write(here.state, ended, night.before)


def stopped(here: Settings, run: str, exit_code: int, signal: str) -> None:
    """Record that a signal stopped the night in progress; it has no time of its end."""
    night = _read(here.state)
    if night and night.run == run:
        ended = replace(night, exit_code=exit_code, reason=f"stopped by {signal}")
        _write(here.state, ended, night.before)


@contextmanager
def recorded() -> Generator[None]:
    """Record an error that ends a night before its last stage, even before it could begin.

    Such a night has no time of its end, so `--if-missed` repeats it. A night that met another run
    did nothing: the record stays as it was before.
    """
    folder = settings.state_folder()
    before = _read(folder)
    try:
        yield
    except Exception as error:
        night = _read(folder)
        has_begun = night is not None and night != before
        if isinstance(error, BusyError):
            if has_begun and not night.is_over:
                _write(folder, before or Night(), before and before.before)
        elif folder.is_dir():
            began = night if has_begun else Night(began_at=_now())
            code = getattr(error, "exit_code", errors.FAILED)
            ended = replace(began, exit_code=code, reason=settings.redact(str(error)))
            _write(folder, ended, before)
        raise


def newest(here: Settings) -> list[Night]:
    """The newest night on record and, if it is not over, the one before; the newest first."""
    night = _read(here.state)
    before = night.before if night and not night.is_over else None
    return [each for each in (night, before) if each and each != Night()]


def was_missed() -> bool:
    """Whether no night ended, successful or not, within the last 24 hours, or the newest did not.

    A night that a power cut or a kill ended is missed, even if another ended shortly before it.
    """
    night = _read(settings.load().state)
    ended = night.ended_at if night else None
    return ended is None or not 0 <= time.time() - ended.timestamp() < DAY


def _now() -> datetime:
    return datetime.fromisoformat(state.now())


def _read(folder: Path) -> Night | None:
    """The record; an unreadable file counts as none."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Night)
    except (OSError, msgspec.MsgspecError):
        return None


def _write(folder: Path, night: Night, before: Night | None) -> None:
    """Write the record of a night and of the one before, but not of the one before that."""
    night = replace(night, before=before and replace(before, before=None))
    with suppress(OSError, SetupError):  # a full disk, a link: the night itself reports it
        durable.write_json(durable.unlinked(folder) / FILE, msgspec.to_builtins(night))
