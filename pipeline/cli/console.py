"""What a run shows: progress on a terminal, plain lines elsewhere, and always the log file."""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import durable, settings, state
from pipeline.stages import script
from pipeline.state import Outcome
from pipeline.text import wrapped

if TYPE_CHECKING:  # rich is slow to start
    from rich.progress import TaskID

KEEP_LOGS = 60
_IN_REPORT = (Outcome.FAILED, Outcome.HELD, Outcome.KEPT)  # outcomes whose reason the report gives


class RunConsole:
    """The terminal (or plain standard output) and the log of one run."""

    def __init__(self, folder: Path, run_id: str):
        self.path = folder / f"{run_id}.log"
        opened = durable.open_own(self.path, os.O_WRONLY | os.O_APPEND)
        self._file = os.fdopen(opened, "a", 1, encoding="utf-8", errors="backslashreplace")
        self._guard = threading.Lock()
        self._progress = None
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._shown_reasons: set[str] = set()
        for old in sorted(folder.glob("*.log"))[:-KEEP_LOGS]:
            old.unlink(missing_ok=True)
        if sys.stdout.isatty():
            self._progress = _progress()
            self._progress.start()

    def log(self, text: str) -> None:
        """Write a line to the log file only."""
        # A full disk under the log does not end the night.
        with self._guard, suppress(OSError, ValueError):
            self._file.write(f"{state.now()} {settings.redact(text)}\n")

    def say(self, text: str) -> None:
        """Write a line to the person and to the log."""
        self.log(text)
        self._print(settings.redact(text))

    def stage(self, name: str) -> None:
        """Show that a stage begins."""
        self.say(f"{name} …" if self._progress else name)

    def start(self, stage: str, name: str) -> None:
        """Show that a job begins."""
        self.log(f"{stage} {name}: started")
        if self._progress:
            self._tasks[stage, name] = self._progress.add_task(f"{stage} {name}", total=None)

    def progress(self, stage: str, name: str, text: str) -> None:
        """Show what a job is doing now, on a terminal."""
        task = self._tasks.get((stage, name))
        if self._progress and task is not None:
            self._progress.update(task, description=f"{stage} {name}: {text}")

    def end(self, stage: str, name: str) -> None:
        """Show that a job ended."""
        task = self._tasks.pop((stage, name), None)
        if self._progress and task is not None:
            self._progress.remove_task(task)

    def step(self, stage: str, name: str, facts: dict) -> None:
        """Show the result of a step in one line.

        The log has the reason of each step. The person reads each reason once: in the report, which
        groups the sources that it affected, or here.
        """
        seconds = f" ({float(facts['seconds']):.1f} s)" if facts.get("seconds") is not None else ""
        self.log(f"  {stage} {script.line(name, facts)}{seconds}")
        reason = facts.get("reason") or ""
        is_in_report = stage == "api" or facts["outcome"] in _IN_REPORT
        if is_in_report or reason in self._shown_reasons:
            facts = facts | {"reason": "", "remedy": ""}
        self._shown_reasons.add(reason)
        self._print(settings.redact(f"  {stage} {script.line(name, facts)}{seconds}"))

    def report(self, stages_of, tables, notes) -> None:
        """Write the closing report to the person and to the log."""
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
            for line in wrapped(text, sys.stdout.isatty()):
                if self._progress:
                    self._progress.console.print(
                        line, markup=False, highlight=False, soft_wrap=True
                    )
                else:
                    print(line, flush=True)
        except OSError:
            _silence_stdout()


def _silence_stdout() -> None:
    """The reader is gone (`| head`), or its disk is full: the run continues, the log has it all."""
    sys.stdout = open("/dev/null", "w")  # noqa: PTH123, SIM115 - stays open until the process ends


def _progress():
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    what = TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold"))
    columns = SpinnerColumn(), what, TimeElapsedColumn()
    return Progress(*columns, transient=True, refresh_per_second=8)
