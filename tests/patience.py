"""Waiting without a clock that decides: a busy machine makes tests slow, not red.

What is waited for may take as long as it needs while something is done about it. A test fails when
its processes stand still: they neither compute nor wait for a core or the disk.
"""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import lifeline
import pytest

Found = TypeVar("Found")
# Seconds; where the kernel does not tell who waits for a core (macOS, some containers), a busy
# machine cannot be told from a standstill, and the clock alone decides, generously.
STANDSTILL = 90.0 if Path("/proc/self/schedstat").exists() else 1800.0
SHARE = 0.3  # of a core: who polls takes less
POLLERS: set[int] = set()  # ids of threads and processes that work for ever and do not count
_LOOK = 1.0  # seconds between two looks at the processes


@contextmanager
def not_counted(*pollers: int) -> Iterator[None]:
    """What threads or processes do meanwhile is no sign that anything is done."""
    added = set(pollers) - POLLERS
    POLLERS.update(added)
    try:
        yield
    finally:
        POLLERS.difference_update(added)


def own_processes() -> list[int]:
    """This test process and all that belong to its folder."""
    return [os.getpid(), *lifeline.processes(Path(os.environ[lifeline.MARK]))]


class Watch:
    """Tells for how long processes, by default all our own, have stood still."""

    def __init__(self, processes: Callable[[], list[int]] = own_processes):
        self._processes = processes
        self._looked = self._moved = time.monotonic()
        self._work = self._done()

    def still_for(self) -> float:
        """Seconds since anything was seen to be done."""
        now = time.monotonic()
        if now - self._looked >= _LOOK:
            work = self._done()
            # What a process did that ended is lost, and must not be taken from the others' work.
            done = sum(max(0.0, work[each] - self._work.get(each, 0.0)) for each in work)
            if done > SHARE * (now - self._looked):
                self._moved = now
            self._looked, self._work = now, work
        return now - self._moved

    def _done(self) -> dict[int, float]:
        return {process: work(process) for process in self._processes()}


def work(process: int) -> float:
    """Seconds that a process has computed, or waited for a core or the disk, all threads.

    Of its children that have ended, the seconds that they computed.
    """
    seconds = 0.0
    tasks = Path(f"/proc/{process}/task")
    try:
        threads = [tasks / number for number in os.listdir(tasks)]  # noqa: PTH208 - an end is told
    except OSError:  # it ended
        return seconds
    for thread in threads:
        try:
            ran, waited, _ = (thread / "schedstat").read_text().split()
            after_name = (thread / "stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if int(thread.name) in POLLERS:
            continue
        seconds += (int(ran) + int(waited)) / 1e9
        of_children = map(int, after_name[13:15]) if int(thread.name) == process else ()
        seconds += (int(after_name[39]) + sum(of_children)) / os.sysconf("SC_CLK_TCK")
        seconds += _LOOK if after_name[0] == "D" else 0.0
    return seconds


def eventually(condition: Callable[[], Found], what: str = "it", every: float = 0.05) -> Found:
    """Wait until a condition holds; returns what it gave."""
    with not_counted(threading.get_native_id()):
        watch = Watch()
        while not (found := condition()):
            if watch.still_for() > STANDSTILL:
                pytest.fail(f"{what} did not come, and nothing was done for {STANDSTILL:g} s")
            time.sleep(every)
    return found


def end_of(
    process: subprocess.Popen,
    what: str = "the process",
    stood: Callable[[], str] = str,
    given: str | None = None,
) -> tuple[str, str]:
    """Wait for a process to end; returns what it wrote to its pipes, '' where it has none.

    stood: tells of one that hangs what it waits for. given: what it reads from its input.
    """
    watch = Watch()
    while True:
        try:
            said, errors = process.communicate(given, timeout=1)
            return said or "", errors or ""
        except subprocess.TimeoutExpired:
            given = None  # it is being passed on
            if watch.still_for() > STANDSTILL:
                where = stood()
                process.kill()
                said, errors = process.communicate()
                pytest.fail(f"{what} hung for {STANDSTILL:g} s:\n{said}\n{errors}\n{where}")


def joined(*threads: threading.Thread) -> None:
    """Wait for threads to end."""
    for thread in threads:
        eventually(lambda thread=thread: not thread.is_alive(), f"the end of {thread.name}")


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
