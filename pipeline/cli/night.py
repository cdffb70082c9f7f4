"""The night: the stages in order, each for all sources side by side, and an honest report of them.

`run` is the whole story of a run, `Night.run` that of its stages. Below them, in this order: the
stages, what they have in common, and how a run ends.
"""

from collections.abc import Callable
from contextlib import nullcontext, suppress

import psycopg

from pipeline import database, errors, folders, runs, settings, signals, state
from pipeline.cli import last_night, preflight, report
from pipeline.cli.console import RunConsole
from pipeline.cli.run_record import Facts, RunRecord
from pipeline.cli.runner import Job, Runner, source_job
from pipeline.database import ledger
from pipeline.errors import BusyError, PipelineError, SetupError
from pipeline.raw import stash
from pipeline.report import page
from pipeline.settings import Settings
from pipeline.signals import Stopped
from pipeline.stages import loads, lock, preprocess, script, transform
from pipeline.state import Outcome

NOT_LOADED = (Outcome.FAILED, Outcome.KEPT)
DATABASE_STAGES = {"load", "transform", "publish"}


def run(stages: list[str], sources: list[str], options) -> int:
    """Run stages for sources; returns the exit code.

    Several stages are a night: how it ended is recorded, whatever ends it.
    Raises BusyError (75) and SetupError (78) before anything was touched.
    """
    is_night = len(stages) > 1
    with last_night.recorded() if is_night else nullcontext():
        here = settings.load()
        preflight.refuse(here, sources, stages)
        with lock.held_by_this_run(here):
            folders.make(here)
            for left_by_a_kill in here.state.glob(".*.json.*"):
                left_by_a_kill.unlink(missing_ok=True)
            run_id = runs.new_id()
            console = RunConsole(here.logs, run_id)
            night = Night(here, sources, options, console, run_id)
            with signals.as_exceptions():
                try:
                    return night.run(stages)
                except Stopped as signal:
                    return night.stop(signal)
                finally:
                    console.close()


class Night:
    """One run: what was asked of it, and what came of it so far."""

    def __init__(
        self, here: Settings, sources: list[str], options, console: RunConsole, run_id: str
    ):
        self.here, self.sources, self.options, self.console = here, sources, options, console
        self.run_id, self.is_night = run_id, False
        self.record = RunRecord(here, console, run_id, sources)
        self.runner = Runner(here, run_id, console)
        self.facts: Facts = {}
        self.backlog = ""  # why the stash could not be pushed
        self.errors: list[PipelineError] = []  # what ended the run before its last stage

    def run(self, stages: list[str]) -> int:
        """Run the stages and report; returns the exit code."""
        self.is_night = len(stages) > 1
        is_first = self.is_night and not last_night.newest(self.here)
        if self.is_night:  # a night that never ends must be recorded, too
            last_night.begin(self.here, self.run_id)
        if stages[0] not in DATABASE_STAGES and DATABASE_STAGES.intersection(stages):
            self.record.check_database()
        for stage in stages:
            self.console.stage(stage)
            if not self._succeeds(stage, is_first_stage=stage == stages[0]):
                break
        code, tables = self._finish()
        self._report(stages, code, tables, is_first)
        if self.is_night:
            last_night.end(self.here, code, "; ".join(map(str, self.errors)))
        return code

    def stop(self, signal: Stopped) -> int:
        """End the run on a signal: its processes, its records; returns the exit code."""
        self.runner.stop()
        if self.is_night:
            last_night.stopped(self.here, self.run_id, signal.exit_code, signal.name)
        self.console.close()
        self.console.say(
            f"stopped by {signal.name}; what was finished stays, the next run does the rest"
        )
        with suppress(psycopg.Error, PipelineError):
            self.record.end_after_signal(signal.exit_code, f"stopped by {signal.name}")
        return signal.exit_code

    def _succeeds(self, stage: str, is_first_stage: bool) -> bool:
        """Run one stage; returns whether the run goes on.

        Raises BusyError and SetupError if the first stage meets them: nothing was done yet.
        """
        try:
            self.facts[stage] = getattr(self, f"_{stage}")()
        except OSError as error:
            self._fail(script.ends_run(error))
        except (psycopg.Error, PipelineError) as error:
            if isinstance(error, (BusyError, SetupError)) and is_first_stage:
                raise
            self._fail(error)
        else:
            for failure in self.runner.failures[:1]:
                self._fail(failure)
        return not self.errors

    # The stages: each returns what it did, by the name of a source or a model.

    def _api(self) -> dict[str, dict]:
        facts = self._run_sources("api", self.sources)
        if self.here.stash in stash.PUSHED and not self.options.offline:
            pushed = stash.push(self.here)
            self.console.say(f"  api stash: {pushed.where}")
            self.backlog = "" if pushed.done else pushed.note
        return facts

    def _preprocess(self) -> dict[str, dict]:
        return self._run_sources(
            "preprocess",
            self._not_current("preprocess", lambda name: preprocess.is_current(self.here, name)),
        )

    def _load(self) -> dict[str, dict]:
        connection = self.record.connect()
        self.record.copy_steps(connection)
        pending = loads.pending(connection, self.here, self.sources)
        names = self._not_current("load", lambda name: name not in pending)
        last = ledger.newest(connection, "load")
        for name in self.sources:  # another machine may have failed since, or been behind
            if name not in names and last.get(name, {}).get("outcome") in NOT_LOADED:
                self.record.clear_failure("load", name)
        consent = ["--allow-older"] * getattr(self.options, "allow_older", False)
        return self._run_sources("load", names, consent)

    def _transform(self) -> dict[str, dict]:
        options = self.options
        is_asked = options.force or options.accept_contract or options.accept_rows
        if not is_asked and transform.is_current(self.record.connect()):
            if self._last_facts(ledger.ALL_MODELS, "transform").get("outcome") == Outcome.FAILED:
                self.record.clear_failure("transform", ledger.ALL_MODELS)
            self.console.step("transform", ledger.ALL_MODELS, {"outcome": Outcome.UNCHANGED})
            return {ledger.ALL_MODELS: {"outcome": Outcome.UNCHANGED}}
        accepted = [f"--accept-contract={name}" for name in options.accept_contract]
        accepted += [f"--accept-rows={name}" for name in options.accept_rows]
        return self._run_module("transform", ledger.ALL_MODELS, accepted)

    def _publish(self) -> dict[str, dict]:
        with suppress(psycopg.Error):  # tonight's status goes to prod, if there is a database
            self._settle(self.record.connect())
        return self._run_module("publish", ledger.PROD)

    # What the stages have in common.

    def _not_current(self, stage: str, is_current: Callable[[str], bool]) -> list[str]:
        """The sources that a stage has work for; shows the others, and clears old failures."""
        names = [name for name in self.sources if self.options.force or not is_current(name)]
        for name in self.sources:
            if name not in names:
                outcome = self._last_facts(name, stage).get("outcome")
                if outcome in NOT_LOADED:  # repaired since, and not by this stage
                    self.record.clear_failure(stage, name)
                is_missing = outcome in (None, Outcome.MISSING)
                outcome = Outcome.MISSING if is_missing else Outcome.UNCHANGED
                self.console.step(stage, name, {"outcome": outcome})
        return names

    def _last_facts(self, name: str, stage: str) -> dict:
        return state.read(self.here, name).get(stage, {})

    def _run_sources(self, stage: str, names: list[str], more: list[str] | None = None) -> dict:
        flags = self._flags() + (more or [])
        return self.runner.run([source_job(stage, name, flags) for name in names])

    def _run_module(self, stage: str, name: str, more: list[str] | None = None) -> dict:
        command = ("-m", f"pipeline.stages.{stage}", *self._flags(), *(more or []))
        return self.runner.run([Job(stage, name, command)])

    def _flags(self) -> list[str]:
        return [f"--{name}" for name in ("force", "offline") if getattr(self.options, name)]

    # How the run ends.

    def _fail(self, error: psycopg.Error | PipelineError) -> None:
        """Record what ends the run; the report shows it to the person, once."""
        if isinstance(error, psycopg.Error):
            error = database.explain(error, "the database failed")
        self.errors.append(error)
        self.console.log(f"failed: {error}")

    def _finish(self) -> tuple[int, dict[str, dict]]:
        """Bring the records up to date; returns the exit code and the published tables."""
        tables: dict[str, dict] = {}
        if self.record.connection is not None:
            with suppress(psycopg.Error, PipelineError):
                connection = self.record.connect()
                self._settle(connection)
                tables = ledger.published(connection)
                reason = "; ".join(map(str, self.errors))
                ledger.end(connection, self.run_id, self._exit_code(), reason)
        return self._exit_code(), tables

    def _settle(self, connection: psycopg.Connection) -> None:
        try:
            self.record.settle(connection, self.facts)
        except PipelineError as error:
            self._fail(error)

    def _exit_code(self) -> int:
        if self.errors:
            return max((e.exit_code for e in self.errors), key=lambda c: c != errors.DEGRADED)
        if self.runner.codes and all(code == errors.SETUP for code in self.runner.codes):
            return errors.SETUP  # the only sources are those whose own files are wrong
        outcomes = [facts["outcome"] for stage in self.facts.values() for facts in stage.values()]
        is_degraded = (
            any(outcome in state.DEGRADED_OUTCOMES for outcome in outcomes)
            or self.backlog
            or self._lacks_data()
            or self._has_tables_of_removed_sources()
        )
        return errors.DEGRADED if is_degraded else errors.OK

    def _lacks_data(self) -> bool:
        """Whether a stage that had nothing to do tonight still lacks a source's data."""
        return any(
            self._last_facts(name, stage).get("outcome") in state.DEGRADED_OUTCOMES
            for stage in self.facts
            if stage in state.SOURCE_STAGES
            for name in self.sources
        )

    def _has_tables_of_removed_sources(self) -> bool:
        build = self._last_facts(ledger.ALL_MODELS, "transform")
        return "transform" in self.facts and bool(report.removed(build, settings.sources()))

    def _report(
        self, stages: list[str], code: int, tables: dict[str, dict], is_first: bool
    ) -> None:
        self.console.close()
        sources = {name: state.read(self.here, name) for name in self.sources}
        self.console.report(sources, tables, self._notes())
        # A single stage judges its own work only.
        is_stage = len(stages) == 1 and code == errors.OK
        meaning = f"stage {stages[0]} succeeded" if is_stage else errors.meaning(code)
        self.console.say(f"ended with code {code} ({meaning}); log: {self.console.path}")
        if is_first and tables:
            self.console.say(
                f"Now open {page.path(self.here)}, or query the tables (README.md has an example): "
                "./run_pipeline.sh db psql"
            )

    def _notes(self) -> list[str]:
        notes = [f"failed: {error}" for error in self.errors]
        notes += [f"the stash is not pushed: {self.backlog}"] if self.backlog else []
        build = self._last_facts(ledger.ALL_MODELS, "transform")
        is_said = build.get("reason", "") in " ".join(notes)
        if build.get("outcome") == Outcome.FAILED and not is_said:
            notes.append(f"transform: {build['reason']} - {build['remedy']}")
        notes += report.notes_of(build)
        notes += report.notes_of_removed(build, settings.sources())
        if any(isinstance(error, errors.SettingError) for error in self.errors):
            return notes  # the one of prod is among them
        return notes + report.notes_of_prod(self._last_facts(ledger.PROD, "publish"))
