"""Runs the scripts of a stage side by side, each in a process of its own.

One that crashes, hangs past its limit or eats memory takes nothing else with it. A signal to the
run ends all of them.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pipeline import errors, settings, state
from pipeline.errors import PipelineError, SettingError
from pipeline.settings import ROOT, Settings
from pipeline.stages import script
from pipeline.state import Outcome

GRACE = 5.0  # seconds between asking a process to end and ending it
# With which codes a child ends that ends the run too, and as what.
_ENDS_RUN = {errors.ENDS_RUN: PipelineError, errors.SETUP: SettingError}
AT_ONCE = {"api": 12}  # jobs of a stage that waits for others more than it works


@dataclass(frozen=True)
class Job:
    """One child process: the stage and name it works for, and its command line."""

    stage: str
    name: str
    command: tuple[str, ...]


class Runner:
    """Holds what the children of one run share: the lifeline, the log, who is running."""

    def __init__(self, here: Settings, run_id: str, log: Callable[[str], None]):
        self.here, self.run_id, self.log = here, run_id, log
        self.lifeline, self._held = os.pipe()
        self._running: set[subprocess.Popen] = set()
        self._guard = threading.Lock()
        self._stopping = False
        self.failures: list[PipelineError] = []  # what ends the whole night with code 1
        self.ending: set[Job] = set()  # the jobs that met it
        self.codes: list[int | None] = []  # with which jobs ended

    def run(
        self,
        jobs: Iterable[Job],
        on_start: Callable[[Job], None] = lambda job: None,
        on_end: Callable[[Job, dict], None] = lambda job, facts: None,
    ) -> dict[str, dict]:
        """Run jobs on every core, or AT_ONCE of them; returns the facts of each by name.

        What a job did is read from its state file; one that ended without writing it has failed.
        """
        jobs = list(jobs)
        facts: dict[str, dict] = {}

        def work(job: Job) -> None:
            if self._stopping:
                return
            on_start(job)
            facts[job.name] = self._run_one(job)
            on_end(job, facts[job.name])

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
        """End every child with all it started: asked first, made to after a while."""
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
        tail: list[str] = []
        reader = threading.Thread(target=self._read, args=(process, job, tail), daemon=True)
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
        return self._judge(job, code, tail, time.monotonic() - started)

    def _start(self, job: Job) -> subprocess.Popen | None:
        memory = str(self.here.source_memory_mb)
        command = [
            sys.executable,
            "-m",
            "pipeline.cli.child",
            str(self.lifeline),
            memory,
            *job.command,
        ]
        environment = os.environ | {"PIPELINE_RUN": self.run_id, "PYTHONUNBUFFERED": "1"}
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

    def _read(self, process: subprocess.Popen, job: Job, tail: list[str]) -> None:
        """Copy a child's output to the log, a bounded tail of it aside."""
        for text in process.stdout or ():
            text = settings.redact(text.rstrip())
            self.log(f"{job.stage} {job.name}: {text}")
            tail.append(text)
            del tail[:-20]

    def _judge(self, job: Job, code: int | None, tail: list[str], seconds: float) -> dict:
        noted = state.read(self.here, job.name).get(job.stage, {})
        told = noted.get("run") == self.run_id
        self.codes.append(code)
        if told and code in (errors.OK, errors.DEGRADED, errors.SETUP):
            return noted
        if code is None:
            what = f"stopped after {self.here.source_timeout:g} s (SOURCE_TIMEOUT)"
        elif code < 0:
            what = f"ended by signal {signal.Signals(-code).name}"
        else:
            last = next((text for text in reversed(tail) if text), "it printed nothing")
            if code in _ENDS_RUN:
                error = _ENDS_RUN[code](last.removeprefix(f"{job.name}: "))
                return self._ends_run(job, error, seconds)
            silent = "" if code else " and recorded no outcome"
            what = f"ended with code {code}{silent}: {last}"
        return self._failed(job, what, seconds, is_rejected=not self._stopping)

    def _ends_run(self, job: Job, error: PipelineError, seconds: float) -> dict:
        """Note an error of a job that ends the run, with its remedy as an error prints it."""
        self.failures.append(error)
        self.ending.add(job)
        said = str(error)
        what, _, remedy = said.rpartition(" - ") if " - " in said else (said, "", "see the log")
        return self._failed(job, what, seconds, remedy)

    def _failed(
        self,
        job: Job,
        what: str,
        seconds: float,
        remedy: str = "see the log",
        *,
        is_rejected: bool = False,
    ) -> dict:
        """Note a failure; `is_rejected`: the job failed by itself, as `script.run` notes it."""
        facts = {"run": self.run_id, "outcome": Outcome.FAILED, "reason": what, "remedy": remedy}
        facts |= {"started_at": state.now(), "seconds": round(seconds, 3)}
        facts |= {"rejected_in": self.run_id} if is_rejected else {}
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


def source_job(stage: str, source: str, options: list[str]) -> Job:
    """The job of one source in one stage."""
    if stage == "load":
        return Job(stage, source, ("-m", "pipeline.stages.load", source, *options))
    return Job(stage, source, (str(Path(ROOT) / stage / f"{source}.py"), *options))
