"""Signals to a run: each ends it through `finally` blocks, instead of at once."""

import signal
from collections.abc import Generator
from contextlib import contextmanager

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asked the run to end."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number

    @property
    def name(self) -> str:
        """The signal's name, such as SIGTERM."""
        return signal.Signals(self.number).name

    @property
    def exit_code(self) -> int:
        """What a shell makes of it."""
        return 128 + self.number


def reason(said: str, code: int) -> str:
    """Why a program failed: what it said, or how it ended, if it was killed or said nothing.

    code: as `subprocess` gives it, negative for a signal.
    """
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"number {-code}"
        ended = f"it was ended by signal {name}"
    else:
        ended = f"it ended with code {code} and said nothing"
    said = said.strip()
    return f"{said} ({ended})" if said and code < 0 else said or ended


@contextmanager
def as_exceptions() -> Generator[None]:
    """Raise Stopped when one of ENDING comes; a second one does not disturb the tidying up."""

    def stop(number, frame):
        for ending in ENDING:
            signal.signal(ending, signal.SIG_IGN)
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
