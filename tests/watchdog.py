"""Fails a test that hangs, with the stacks of all threads.

A test hangs when the processes of its worker stand still for minutes; one that is busy for ever
(a loop that waits for what never comes) is ended after hours. One that cannot be interrupted takes
its process with it, and the run ends.
"""

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import lifeline
import patience
import pytest

PATIENCE = max(240.0, 2 * patience.STANDSTILL)  # seconds: what waits itself knows better what for
LONGEST, LONGEST_OF_THE_LONG = 3600.0, 12 * 3600.0  # seconds of a test that is busy

SLEEP = time.sleep  # tests replace that of the module


class Watchdog(threading.Thread):
    """A plugin of pytest, and the thread that watches for it."""

    def __init__(self, longest: float, still: float = PATIENCE, every: float = 15.0):
        super().__init__(name="watchdog", daemon=True)
        self.longest, self.still, self.every = longest, still, every
        self._folder = Path(os.environ[lifeline.MARK])
        self.why, self._test, self._began, self._barks = "", "", 0.0, 0
        signal.signal(signal.SIGUSR2, self._fail)
        self.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Watch while a test, its fixtures included, is under way."""
        self._test, self._began, self._barks = item.nodeid, time.monotonic(), 0
        try:
            return (yield)
        finally:
            self._test = ""

    def run(self) -> None:
        with patience.not_counted(threading.get_native_id()):
            watched, watch = "", self._watch()
            while True:
                SLEEP(self.every)
                if self._test != watched:
                    watched, watch = self._test, self._watch()
                elif watched and (why := self._wrong(watch)):
                    self._bark(why)
                    watch, self._began = self._watch(), time.monotonic()

    def _watch(self) -> patience.Watch:
        return patience.Watch(lambda: [os.getpid(), *lifeline.processes(self._folder)])

    def _wrong(self, watch: patience.Watch) -> str:
        if watch.still_for() > self.still:
            return f"nothing was done for {self.still:g} s"
        if time.monotonic() - self._began > self.longest:
            return f"it was not over after {self.longest:g} s"
        return ""

    def _bark(self, why: str) -> None:
        self.why, self._barks = why, self._barks + 1
        if self._barks > 3:  # a test, and the ends of its fixtures, or what heeds no signal
            print(f"\n{self._test}: {why}, and it cannot be interrupted", file=sys.__stderr__)
            faulthandler.dump_traceback(file=sys.__stderr__)
            os._exit(1)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR2)

    def _fail(self, number, frame) -> None:
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        stacks = [
            f"{names.get(ident)}:\n{''.join(traceback.format_stack(stack))}"
            for ident, stack in sys._current_frames().items()
        ]
        pytest.fail(f"{self.why}\n" + "\n".join(stacks))
