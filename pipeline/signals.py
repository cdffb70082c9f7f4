"""Signals that end a run: they raise an exception, so that `finally` blocks are executed."""

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
        """The exit code that a shell gives to this signal."""
        return 128 + self.number


def reason(output: str, code: int) -> str:
    """Why a program failed: its output, or how it ended, if it was killed or printed nothing.

    code: as in `subprocess`, negative for a signal.
    """
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"number {-code}"
        ended = f"it was killed by signal {name}"
    else:
        ended = f"it ended with code {code} and printed nothing"
    output = output.strip()
    return f"{output} ({ended})" if output and code < 0 else output or ended


@contextmanager
def as_exceptions() -> Generator[None]:
    """Raise Stopped at one of the signals in ENDING; later ones do not disturb the cleanup."""

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
