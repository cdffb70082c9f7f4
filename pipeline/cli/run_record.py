"""The run's record: its own connection, the ledger, and the status that readers see in the end."""

import sys
from datetime import UTC, datetime

import psycopg

from pipeline import database, embedded, state
from pipeline.cli.console import RunConsole
from pipeline.database import ledger, locks
from pipeline.database.queries import one
from pipeline.errors import BusyError, PipelineError, SetupError
from pipeline.marts import data_status
from pipeline.settings import Settings

Facts = dict[str, dict[str, dict]]  # stage -> name of a source or model -> what it did


class RunRecord:
    """What one run records in the database, as soon as there is one."""

    def __init__(self, here: Settings, console: RunConsole, run_id: str, sources: list[str]):
        self.here, self.console, self.run_id, self.sources = here, console, run_id, sources
        self.started_at = state.now()
        self.connection: psycopg.Connection | None = None
        self._server_process: tuple = (None, None)  # of the connection: pid, since when

    def check_database(self) -> None:
        """Find out before anything is touched what the database would stop the night with later.

        The embedded server is started if it is down: readers need it before the night does. A
        server that cannot be reached stops nothing: the stages before `load` need none.
        Raises BusyError and SetupError.
        """
        try:
            if not self.here.database_url:
                embedded.binaries()
            self.connect(patience=database.GLANCE)
        except (psycopg.Error, PipelineError) as error:
            if isinstance(error, psycopg.Error):
                error = database.explain(error, "the database failed")
            if isinstance(error, (BusyError, SetupError)):
                raise error from None
            self.console.log(f"the database is not available yet: {error}")

    def connect(self, patience: float | None = None) -> psycopg.Connection:
        """The run's own connection, which keeps other machines' runs off this database.

        It lasts through the night unless the server does not: then there is a new one.
        """
        if self.connection is None or database.is_gone(self.connection):
            lock_patience = locks.ENDED_LOCK_PATIENCE
            if self.connection:
                lock_patience = locks.LOST_LOCK_PATIENCE
                self.connection.close()
            self.connection = None
            connection = database.connect(self.here, self.console.say, patience)
            try:
                self._end_lost_process(connection)
                database.hold_run_lock(connection, lock_patience)
                database.prepare(connection)
                arguments = " ".join(sys.argv[1:])
                ledger.begin(connection, self.run_id, arguments, self.started_at)
            except BaseException:
                connection.close()
                raise
            self.connection = connection
        return self.connection

    def copy_steps(self, connection: psycopg.Connection, facts: Facts | None = None) -> None:
        """Copy to the ledger what stages recorded only on disk, in this run or an earlier one.

        facts: what this run did, which could not be written to a full disk.
        """
        for stage in (*state.SOURCE_STAGES, "transform"):
            names = [ledger.ALL_MODELS] if stage == "transform" else self.sources
            steps = {name: state.read(self.here, name).get(stage) for name in names}
            ledger.copy(connection, stage, steps | (facts or {}).get(stage, {}))

    def clear_failure(self, stage: str, name: str) -> None:
        """Record that a stage which failed before has nothing to do now."""
        cleared = {"outcome": state.Outcome.UNCHANGED, "reason": "", "remedy": ""}
        cleared |= {"run": self.run_id, "started_at": state.now()}
        if stage == "preprocess":
            state.update(self.here, name, stage, **cleared)
            return
        # What failed may have been to record on disk what is loaded or published since.
        connection = self.connect()
        last_good = ledger.newest(connection, stage, ledger.MADE[stage]).get(name)
        facts, fingerprint = {}, None
        if last_good:
            facts = last_good["facts"] | {"rows": last_good["rows"]}
            fingerprint = last_good["fingerprint"]
        facts = state.update(self.here, name, stage, **(facts | cleared))
        ledger.note(connection, self.run_id, stage, name, facts, fingerprint)

    def settle(self, connection: psycopg.Connection, facts: Facts) -> None:
        """Bring the ledger and `data_status` up to date with what this run has done so far.

        Raises PipelineError if `data_status` cannot be written.
        """
        self.copy_steps(connection, facts)
        # Keeps `data_status` right on nights that publish nothing, too.
        outcomes = [step["outcome"] for step in facts.get("transform", {}).values()]
        is_verified = any(outcome in ledger.ENDED for outcome in outcomes)
        data_status.refresh(connection, datetime.now(UTC) if is_verified else None)

    def end_after_signal(self, exit_code: int, reason: str) -> None:
        """Record the end over a new connection: ours may be in the middle of a statement."""
        if self.connection is not None:
            self.connection.close()
            with database.connect(self.here, patience=database.GLANCE) as connection:
                ledger.end(connection, self.run_id, exit_code, reason)

    def _end_lost_process(self, connection: psycopg.Connection) -> None:
        """End the server process of our previous connection, which may still hold its locks."""
        connection.execute(
            """select pg_terminate_backend(pid) from pg_stat_activity
            where (pid, backend_start) = (%s, %s::timestamptz)""",
            self._server_process,
        )
        self._server_process = one(
            connection,
            """select pid, backend_start::text from pg_stat_activity
            where pid = pg_backend_pid()""",
        )
