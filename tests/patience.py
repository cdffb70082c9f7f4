"""Waiting without a clock that decides: a busy machine makes tests slow, not red.

What is waited for may take as long as it needs while something is done about it. A test fails when
its processes stand still: they neither compute nor wait for a core or the disk.
"""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import lifeline
import pytest

Found = TypeVar("Found")
STANDSTILL = 90.0  # seconds
SHARE = 0.3  # of a core: who polls takes less
_LOOK = 1.0  # seconds between two looks at the processes


class Watch:
    """Tells for how long the processes that belong to a folder have stood still.

    folder: by default that of this test process and of all it started.
    """

    def __init__(self, folder: Path | None = None):
        self.folder = folder or Path(os.environ[lifeline.MARK])
        self._looked = self._moved = time.monotonic()
        self._work = self._done()

    def still_for(self) -> float:
        """Seconds since anything was seen to be done."""
        now = time.monotonic()
        if now - self._looked >= _LOOK:
            work = self._done()
            if work - self._work > SHARE * (now - self._looked):
                self._moved = now
            self._looked, self._work = now, work
        return now - self._moved

    def _done(self) -> float:
        return sum(work(process) for process in [os.getpid(), *lifeline.processes(self.folder)])


def work(process: int) -> float:
    """Seconds that a process has computed, or waited for a core or the disk, all threads."""
    seconds = 0.0
    for thread in Path(f"/proc/{process}/task").glob("*"):
        try:
            ran, waited, _ = (thread / "schedstat").read_text().split()
            after_name = (thread / "stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        seconds += (int(ran) + int(waited)) / 1e9
        seconds += int(after_name[39]) / os.sysconf("SC_CLK_TCK")  # for the disk
        seconds += _LOOK if after_name[0] == "D" else 0.0
    return seconds


def eventually(condition: Callable[[], Found], what: str = "it", every: float = 0.05) -> Found:
    """Wait until a condition holds; returns what it gave."""
    watch = Watch()
    while not (found := condition()):
        if watch.still_for() > STANDSTILL:
            pytest.fail(f"{what} did not come, and nothing was done for {STANDSTILL:g} s")
        time.sleep(every)
    return found


def end_of(
    process: subprocess.Popen, what: str = "the process", stood: Callable[[], str] = str
) -> tuple[str, str]:
    """Wait for a process to end; returns what it wrote to its pipes, '' where it has none.

    stood: tells of one that hangs what it waits for.
    """
    watch = Watch()
    while True:
        try:
            said, errors = process.communicate(timeout=1)
            return said or "", errors or ""
        except subprocess.TimeoutExpired:
            if watch.still_for() > STANDSTILL:
                where = stood()
                process.kill()
                said, errors = process.communicate()
                pytest.fail(f"{what} hung for {STANDSTILL:g} s:\n{said}\n{errors}\n{where}")


class Stopwatch:
    """Measures what a promise bounds: seconds, less those in which a process got no core."""

    def __init__(self):
        self._began, self._starved = time.monotonic(), _starved()

    def seconds(self) -> float:
        """Since it was made."""
        return time.monotonic() - self._began - (_starved() - self._starved)


def _starved() -> float:
    """Seconds in which some process of this machine waited for a core (0 where not told)."""
    try:
        line = Path("/proc/pressure/cpu").read_text().splitlines()[0]
    except OSError:
        return 0.0
    return int(line.rpartition("total=")[2]) / 1e6
