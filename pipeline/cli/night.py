"""The night: stages in order, sources side by side, and the truth about it at the end."""

import os
import time
from contextlib import nullcontext, suppress

import psycopg

from pipeline import database, errors, settings, signals, state
from pipeline.cli import last_night, preflight, report
from pipeline.cli.console import Screen
from pipeline.cli.run_record import Books, Facts
from pipeline.cli.runner import Job, Runner, source_job
from pipeline.database import ledger
from pipeline.errors import BusyError, PipelineError, SetupError
from pipeline.raw import stash
from pipeline.settings import Settings
from pipeline.signals import Stopped
from pipeline.stages import loads, lock, preprocess, script, transform
from pipeline.state import Outcome

NOT_LOADED = (Outcome.FAILED, Outcome.KEPT)
OF_DATABASE = {"load", "transform", "publish"}


class Night:
    """One run: what it was asked for, and what came of it so far."""

    def __init__(self, here: Settings, sources: list[str], options, screen: Screen, run_id: str):
        self.here, self.sources, self.options, self.screen = here, sources, options, screen
        self.books = Books(here, screen, run_id, sources)
        self.runner = Runner(here, run_id, screen.log)
        self.facts: Facts = {}
        self.backlog = ""  # why the stash could not be pushed
        self.trouble: list[PipelineError] = []  # what ended the run before its last stage
        self.words = [w for w in ("force", "offline") if getattr(options, w)]

    def run(self, stages: list[str]) -> int:
        """Run the stages; returns the exit code."""
        is_whole = len(stages) > 1
        if is_whole:  # until it ends, no night has ended since
            last_night.begin(self.here, self.books.run_id)
        if stages[0] not in OF_DATABASE and OF_DATABASE.intersection(stages):
            self.books.meet_database()
        for stage in stages:
            self.screen.stage(stage)
            try:
                self.facts[stage] = getattr(self, f"_{stage}")()
            except OSError as error:
                self._give_up(script.ends_run(error))
                break
            except (psycopg.Error, PipelineError) as error:
                if isinstance(error, (BusyError, SetupError)) and stage == stages[0]:
                    raise
                self._give_up(error)
                break
            if self.runner.failures:
                self._give_up(self.runner.failures[0])
                break
        code = self._close(stages)
        if is_whole:
            last_night.end(self.here, code, "; ".join(map(str, self.trouble)))
        return code

    def _api(self) -> dict[str, dict]:
        facts = self._run_sources("api", self.sources)
        if self.here.stash in stash.PUSHED and not self.options.offline:
            pushed = stash.push(self.here)
            self.screen.say(f"  api stash: {pushed.where}")
            self.backlog = "" if pushed.done else pushed.note
        return facts

    def _preprocess(self) -> dict[str, dict]:
        wanted = self._unless_current(
            "preprocess", lambda name: preprocess.is_current(self.here, name)
        )
        return self._run_sources("preprocess", wanted)

    def _load(self) -> dict[str, dict]:
        connection = self.books.connect()
        self.books.copy_steps(connection)
        waiting = loads.pending(connection, self.here, self.sources)
        wanted = self._unless_current("load", lambda name: name not in waiting)
        last = ledger.newest(connection, "load")
        for name in self.sources:  # another machine may have failed since, or been behind
            if name not in wanted and last.get(name, {}).get("outcome") in NOT_LOADED:
                self._forget_failure("load", name)
        consent = ["--allow-older"] * getattr(self.options, "allow_older", False)
        return self._run_sources("load", wanted, consent)

    def _transform(self) -> dict[str, dict]:
        options = self.options
        is_asked = options.force or options.accept_contract or options.accept_rows
        if not is_asked and transform.is_current(self.books.connect()):
            if self._noted(ledger.ALL_MODELS, "transform").get("outcome") == Outcome.FAILED:
                self._forget_failure("transform", ledger.ALL_MODELS)
            self.screen.line("transform", ledger.ALL_MODELS, {"outcome": Outcome.UNCHANGED})
            return {ledger.ALL_MODELS: {"outcome": Outcome.UNCHANGED}}
        accepted = [f"--accept-contract={name}" for name in options.accept_contract]
        accepted += [f"--accept-rows={name}" for name in options.accept_rows]
        command = ("-m", "pipeline.stages.transform", *self._flags(), *accepted)
        return self._run_jobs([Job("transform", ledger.ALL_MODELS, command)])

    def _publish(self) -> dict[str, dict]:
        with suppress(psycopg.Error):  # prod is told tonight's status, if there is a database
            self._settle(self.books.connect())
        return self._run_jobs(
            [Job("publish", ledger.PROD, ("-m", "pipeline.stages.publish", *self._flags()))]
        )

    def _unless_current(self, stage: str, is_current) -> list[str]:
        """The sources with work in a stage; of the others it is said that nothing changed."""
        wanted = [name for name in self.sources if self.options.force or not is_current(name)]
        for name in self.sources:
            if name not in wanted:
                outcome = state.read(self.here, name).get(stage, {}).get("outcome")
                if outcome in NOT_LOADED:  # mended since, and not by this stage
                    self._forget_failure(stage, name)
                is_missing = outcome in (None, Outcome.MISSING)
                outcome = Outcome.MISSING if is_missing else Outcome.UNCHANGED
                self.screen.line(stage, name, {"outcome": outcome})
        return wanted

    def _forget_failure(self, stage: str, name: str) -> None:
        """Note that a stage which failed before has nothing to do now."""
        facts = {"outcome": Outcome.UNCHANGED, "reason": "", "remedy": "", "run": self.books.run_id}
        facts["started_at"] = state.now()
        if stage == "preprocess":
            state.update(self.here, name, stage, **facts)
            return
        # What failed may have been to note on disk what is loaded or published since.
        connection = self.books.connect()
        made = ledger.newest(connection, stage, ledger.MADE[stage]).get(name)
        fingerprint = made["fingerprint"] if made else None
        facts = (made["facts"] | {"rows": made["rows"]} if made else {}) | facts
        facts = state.update(self.here, name, stage, **facts)
        ledger.note(connection, self.books.run_id, stage, name, facts, fingerprint)

    def _noted(self, name: str, stage: str) -> dict:
        return state.read(self.here, name).get(stage, {})

    def _run_sources(self, stage: str, names: list[str], more: list[str] | None = None) -> dict:
        flags = self._flags() + (more or [])
        return self._run_jobs([source_job(stage, name, flags) for name in names])

    def _run_jobs(self, jobs: list[Job]) -> dict[str, dict]:
        def on_end(job: Job, facts: dict) -> None:
            self.screen.end(job.stage, job.name)
            said = {"reason": "", "remedy": ""} if job in self.runner.ending else {}
            self.screen.line(job.stage, job.name, facts | said)  # the report says it, once

        return self.runner.run(
            jobs, on_start=lambda job: self.screen.start(job.stage, job.name), on_end=on_end
        )

    def _flags(self) -> list[str]:
        return [f"--{word}" for word in self.words]

    def _give_up(self, error: psycopg.Error | PipelineError) -> None:
        if isinstance(error, psycopg.Error):
            error = database.explain(error, "the database failed")
        self.trouble.append(error)
        self.screen.log(f"failed: {error}")  # the report says it to the person

    def _close(self, stages: list[str]) -> int:
        tables: dict[str, dict] = {}
        stages_of = report.from_state(self.here, self.sources)
        if self.books.connection is not None:
            with suppress(psycopg.Error, PipelineError):
                connection = self.books.connect()
                self._settle(connection)
                tables = ledger.published(connection)
                note = "; ".join(str(error) for error in self.trouble)
                ledger.end(connection, self.books.run_id, self._exit_code(), note)
        code = self._exit_code()
        self.screen.close()
        self.screen.report(stages_of, tables, self._notes())
        # A single stage judges its own work only.
        meaning = f"stage {stages[0]} succeeded" if not code and len(stages) == 1 else ""
        meaning = meaning or errors.meaning(code)
        self.screen.say(f"ended with code {code} ({meaning}); log: {self.screen.path}")
        return code

    def _settle(self, connection: psycopg.Connection) -> None:
        try:
            self.books.settle(connection, self.facts)
        except PipelineError as error:
            self._give_up(error)

    def _exit_code(self) -> int:
        if self.trouble:
            return max((e.exit_code for e in self.trouble), key=lambda c: c != errors.DEGRADED)
        if self.runner.codes and all(code == errors.SETUP for code in self.runner.codes):
            return errors.SETUP  # nothing but sources whose own files are wrong
        outcomes = [facts["outcome"] for stage in self.facts.values() for facts in stage.values()]
        degraded = any(outcome in state.DEGRADED_OUTCOMES for outcome in outcomes)
        degraded = degraded or self.backlog or self._left_over() or self._has_removed()
        return errors.DEGRADED if degraded else errors.OK

    def _has_removed(self) -> bool:
        """Whether a table is made of a source that nobody fetches any more."""
        whole = self._noted(ledger.ALL_MODELS, "transform")
        return "transform" in self.facts and bool(report.removed(whole, settings.sources()))

    def _left_over(self) -> bool:
        """Whether a stage that had nothing to do tonight still lacks a source's data."""
        for stage in self.facts:
            for name in self.sources if stage in state.SOURCE_STAGES else ():
                noted = state.read(self.here, name).get(stage, {})
                if noted.get("outcome") in state.DEGRADED_OUTCOMES:
                    return True
        return False

    def _notes(self) -> list[str]:
        notes = [f"failed: {error}" for error in self.trouble]
        notes += [f"the stash is not pushed: {self.backlog}"] if self.backlog else []
        whole = state.read(self.here, ledger.ALL_MODELS).get("transform", {})
        ended_by = " ".join(map(str, self.trouble))
        if whole.get("outcome") == Outcome.FAILED and whole["reason"] not in ended_by:
            notes.append(f"transform: {whole['reason']} - {whole['remedy']}")
        notes += report.notes_of(whole)
        notes += report.notes_of_removed(whole, settings.sources())
        if any(isinstance(error, errors.SettingError) for error in self.trouble):
            return notes  # that of prod is among them
        return notes + report.notes_of_prod(self._noted(ledger.PROD, "publish"))


def run(stages: list[str], sources: list[str], options) -> int:
    """Run stages for sources; returns the exit code.

    Raises BusyError (75) and SetupError (78) before anything was touched.
    """
    with last_night.noting() if len(stages) > 1 else nullcontext():
        return _run(settings.load(), stages, sources, options)


def _run(here: Settings, stages: list[str], sources: list[str], options) -> int:
    preflight.refuse(here, sources, stages)
    with lock.held_by_this_run(here):
        preflight.make_folders(here)
        for left_by_a_kill in here.state.glob(".*.json.*"):
            left_by_a_kill.unlink(missing_ok=True)
        run_id = f"{time.strftime('%Y-%m-%dT%H-%M-%SZ', time.gmtime())}-{os.getpid()}"
        screen = Screen(here.logs, run_id)
        night = Night(here, sources, options, screen, run_id)
        with signals.as_exceptions():
            try:
                return night.run(stages)
            except Stopped as stopped:
                night.runner.stop()
                if len(stages) > 1:
                    last_night.stopped(here, run_id, stopped.exit_code, stopped.name)
                return _say_stopped(night, stopped)
            finally:
                screen.close()


def _say_stopped(night: Night, stopped: Stopped) -> int:
    code, name = stopped.exit_code, stopped.name
    night.screen.close()
    night.screen.say(f"stopped by {name}; what was finished stays, the next run does the rest")
    with suppress(psycopg.Error, PipelineError):
        if night.books.connection is not None:
            night.books.connection.close()  # it may have been in the middle of a statement
            with database.connect(night.here, patience=database.GLANCE) as connection:
                ledger.end(connection, night.books.run_id, code, f"stopped by {name}")
    return code
