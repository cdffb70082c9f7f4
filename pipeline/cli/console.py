"""What a run shows: progress on a terminal, plain lines elsewhere, and always the log file."""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import durable, settings, state
from pipeline.stages import script

if TYPE_CHECKING:  # rich is slow to start
    from rich.progress import TaskID

KEEP_LOGS = 60


class Screen:
    """The terminal (or plain standard output) and the log of one run."""

    def __init__(self, folder: Path, run_id: str):
        self.path = folder / f"{run_id}.log"
        opened = durable.open_own(self.path, os.O_WRONLY | os.O_APPEND)
        self._file = os.fdopen(opened, "a", 1, encoding="utf-8", errors="backslashreplace")
        self._guard = threading.Lock()
        self._progress = None
        self._tasks: dict[tuple[str, str], TaskID] = {}
        for old in sorted(folder.glob("*.log"))[:-KEEP_LOGS]:
            old.unlink(missing_ok=True)
        if sys.stdout.isatty():
            self._progress = _progress()
            self._progress.start()

    def log(self, text: str) -> None:
        """A line for the log file alone."""
        # A full disk under the log does not end the night.
        with self._guard, suppress(OSError, ValueError):
            self._file.write(f"{state.now()} {settings.redact(text)}\n")

    def say(self, text: str) -> None:
        """A line for the person and the log."""
        self.log(text)
        self._print(settings.redact(text))

    def stage(self, name: str) -> None:
        """A stage begins."""
        self.say(f"{name} …" if self._progress else name)

    def start(self, stage: str, name: str) -> None:
        """A job begins."""
        self.log(f"{stage} {name}: started")
        if self._progress:
            self._tasks[stage, name] = self._progress.add_task(f"{stage} {name}", total=None)

    def end(self, stage: str, name: str) -> None:
        """A job ended."""
        task = self._tasks.pop((stage, name), None)
        if self._progress and task is not None:
            self._progress.remove_task(task)

    def line(self, stage: str, name: str, facts: dict) -> None:
        """One plain line on what came of a step."""
        seconds = f" ({float(facts['seconds']):.1f} s)" if facts.get("seconds") is not None else ""
        self.say(f"  {stage} {script.line(name, facts)}{seconds}")

    def report(self, stages_of, tables, notes) -> None:
        """The closing report, to the person and to the log."""
        from pipeline.cli import report

        with suppress(OSError, ValueError):
            report.show(self._file, stages_of, tables, notes)
        try:
            report.show(sys.stdout, stages_of, tables, notes)
            sys.stdout.flush()
        except OSError:
            _silence_stdout()

    def close(self) -> None:
        """Take the progress display off the terminal."""
        if self._progress:
            self._progress.stop()
            self._progress = None

    def _print(self, text: str) -> None:
        try:
            if self._progress:
                self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
            else:
                print(text, flush=True)
        except OSError:
            _silence_stdout()


def _silence_stdout() -> None:
    """Nobody reads on (`| head`), or its disk is full: the run goes on, the log has it all."""
    sys.stdout = open("/dev/null", "w")  # noqa: PTH123, SIM115 - held until the process ends


def _progress():
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    return Progress(*columns, transient=True, refresh_per_second=8)
