"""Runs the scripts of a stage side by side, each in a process of its own.

A script that crashes, hangs past its limit or uses up its memory affects no other. A signal to the
run ends all of them.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipeline import errors, runs, settings, state
from pipeline.cli.console import RunConsole
from pipeline.errors import PipelineError, SettingError
from pipeline.settings import ROOT, Settings
from pipeline.stages import script

GRACE = 5.0  # seconds between asking a process to end and killing it
AT_ONCE = {"api": 12}  # jobs of a stage that waits for others more than it works
LAST_LINES = 20  # of a job's output, to tell why it failed
# The exit codes of a job that end the run too, and the error that each stands for.
_ENDS_RUN = {errors.ENDS_RUN: PipelineError, errors.SETUP: SettingError}
_DBT_STARTS = re.compile(r"\s(\d+ of \d+) START (?:.* model ([\w.]+))?")


@dataclass(frozen=True)
class Job:
    """One child process: the stage and name it works for, and its command line."""

    stage: str
    name: str
    command: tuple[str, ...]


def source_job(stage: str, source: str, options: list[str]) -> Job:
    """The job of one source in one stage."""
    if stage == "load":
        return Job(stage, source, ("-m", "pipeline.stages.load", source, *options))
    return Job(stage, source, (str(ROOT / stage / f"{source}.py"), *options))


class Runner:
    """What the children of one run share: the lifeline, the console, which of them run."""

    def __init__(self, here: Settings, run_id: str, console: RunConsole):
        self.here, self.run_id, self.console = here, run_id, console
        # Children end when the writing end closes, and this process holds it to its own end.
        self.lifeline, self._writing_end = os.pipe()
        self._running: set[subprocess.Popen] = set()
        self._guard = threading.Lock()
        self._stopping = False
        self.failures: list[PipelineError] = []  # what ends the whole run
        self.codes: list[int | None] = []  # the exit codes of the jobs

    def run(self, jobs: Iterable[Job]) -> dict[str, dict]:
        """Run jobs on every core, or AT_ONCE of them; returns the facts of each by name.

        What a job did is read from its state file; one that ended without writing it has failed.
        """
        jobs = list(jobs)
        facts: dict[str, dict] = {}

        def work(job: Job) -> None:
            if self._stopping:
                return
            self.console.start(job.stage, job.name)
            facts[job.name] = self._run_one(job)
            self.console.end(job.stage, job.name)
            self.console.step(job.stage, job.name, facts[job.name])

        workers = max([2, os.cpu_count() or 2, *(AT_ONCE.get(job.stage, 0) for job in jobs)])
        with ThreadPoolExecutor(max_workers=workers) as pool:
            try:
                for done in [pool.submit(work, job) for job in jobs]:
                    done.result()
            except BaseException:
                self.stop()
                raise
        return facts

    def stop(self) -> None:
        """End every child with all that it started: ask first, kill after GRACE."""
        with self._guard:
            self._stopping = True
            running = list(self._running)
        for process in running:
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        while any(p.poll() is None for p in running) and time.monotonic() < deadline:
            time.sleep(0.05)
        for process in running:
            _signal_group(process, signal.SIGKILL)

    def _run_one(self, job: Job) -> dict:
        started = time.monotonic()
        process = self._start(job)
        if process is None:
            return self._failed(job, "not started: the run is ending", 0)
        output: deque[str] = deque(maxlen=LAST_LINES)
        reader = threading.Thread(target=self._read, args=(process, job, output), daemon=True)
        reader.start()
        try:
            code = process.wait(timeout=self.here.source_timeout or None)
        except subprocess.TimeoutExpired:
            code = None
        _signal_group(process, signal.SIGKILL)  # whatever it left running
        process.wait()
        reader.join(timeout=GRACE)
        with self._guard:
            self._running.discard(process)
        self.codes.append(code)
        recorded = state.read(self.here, job.name).get(job.stage, {})
        has_recorded = recorded.get("run") == self.run_id
        if has_recorded and code in (errors.OK, errors.DEGRADED, errors.SETUP):
            return recorded
        return self._failure_of(job, code, output, time.monotonic() - started)

    def _start(self, job: Job) -> subprocess.Popen | None:
        child = ("-m", "pipeline.cli.child", str(self.lifeline), str(self.here.source_memory_mb))
        command = [sys.executable, *child, *job.command]
        environment = os.environ | {runs.VARIABLE: self.run_id, "PYTHONUNBUFFERED": "1"}
        with self._guard:
            if self._stopping:
                return None
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(self.lifeline,),
                start_new_session=True,
                text=True,
                errors="backslashreplace",
            )
            self._running.add(process)
        return process

    def _read(self, process: subprocess.Popen, job: Job, output: deque[str]) -> None:
        """Copy a child's output to the log, and show which model dbt builds now."""
        model = ""
        for line in process.stdout or ():
            line = settings.redact(line.rstrip())
            self.console.log(f"{job.stage} {job.name}: {line}")
            output.append(line)
            if started := _DBT_STARTS.search(line):
                model = started[2] or model
                self.console.progress(job.stage, job.name, f"{started[1]}, {model}")

    def _failure_of(self, job: Job, code: int | None, output: deque[str], seconds: float) -> dict:
        """Record why a job that ended without recording it itself has failed."""
        last = next((line for line in reversed(output) if line), "it printed nothing")
        if code in _ENDS_RUN:
            error = last.removeprefix(f"{job.name}: ")
            self.failures.append(_ENDS_RUN[code](error))
            reason, separator, remedy = error.rpartition(" - ")
            return self._failed(job, reason if separator else error, seconds, remedy)
        if code is None:
            reason = f"stopped after {self.here.source_timeout:g} s (SOURCE_TIMEOUT)"
        elif code < 0:
            reason = f"ended by signal {signal.Signals(-code).name}"
        else:
            silently = "" if code else " and recorded no outcome"
            reason = f"ended with code {code}{silently}: {last}"
        # "Rejected" makes the next night fetch the source again; a run that stops rejects nothing.
        rejected = {} if self._stopping else {"rejected_in": self.run_id}
        return self._failed(job, reason, seconds, **rejected)

    def _failed(
        self, job: Job, reason: str, seconds: float, remedy: str = "", **rejected: str
    ) -> dict:
        facts = {"run": self.run_id, "outcome": state.Outcome.FAILED, "reason": reason}
        facts |= {"remedy": remedy or "see the log", "started_at": state.now()}
        facts |= {"seconds": round(seconds, 3)} | rejected
        try:
            return state.update(self.here, job.name, job.stage, **facts)
        except OSError as error:
            self.failures.append(script.ends_run(error))
            return facts


def _signal_group(process: subprocess.Popen, number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return  # nothing of it is left
