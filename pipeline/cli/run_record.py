"""The run's books: its own connection, the ledger, and what readers are told in the end."""

import sys
from datetime import UTC, datetime

import psycopg

from pipeline import database, embedded, state
from pipeline.cli.console import Screen
from pipeline.database import ledger, locks
from pipeline.database.queries import one
from pipeline.errors import BusyError, PipelineError, SetupError
from pipeline.marts import data_status
from pipeline.settings import Settings

Facts = dict[str, dict[str, dict]]  # stage -> name of a source or model -> what it did


class Books:
    """What one run writes down, from the moment there is a database."""

    def __init__(self, here: Settings, screen: Screen, run_id: str, sources: list[str]):
        self.here, self.screen, self.run_id, self.sources = here, screen, run_id, sources
        self.started_at = state.now()
        self.connection: psycopg.Connection | None = None
        self._server_process: tuple = (None, None)  # of the connection: pid, since when

    def meet_database(self) -> None:
        """Find out before anything is touched what the database would stop the night with later.

        The embedded server is started if it is down: readers need it before the night does. One
        that cannot be reached stops nothing: what comes before stage load needs none.
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
            self.screen.log(f"the database is not there yet: {error}")

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
            connection = database.connect(self.here, self.screen.say, patience)
            try:
                self._end_what_was_lost(connection)
                database.hold_run_lock(connection, lock_patience)
                database.prepare(connection)
                words = " ".join(sys.argv[1:])
                ledger.begin(connection, self.run_id, words, self.started_at)
            except BaseException:
                connection.close()
                raise
            self.connection = connection
        return self.connection

    def _end_what_was_lost(self, connection: psycopg.Connection) -> None:
        """End the server process of a connection before this one, should it not know yet."""
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

    def copy_steps(self, connection: psycopg.Connection, done: Facts | None = None) -> None:
        """Copy to the ledger what stages recorded only on disk, in this run or an earlier one.

        done: what this run did, which could not be written to a full disk.
        """
        for stage in (*state.SOURCE_STAGES, "transform"):
            names = [ledger.ALL_MODELS] if stage == "transform" else self.sources
            steps = {name: state.read(self.here, name).get(stage) for name in names}
            ledger.copy(connection, stage, steps | (done or {}).get(stage, {}))

    def settle(self, connection: psycopg.Connection, done: Facts) -> None:
        """Bring the ledger and `data_status` up to date with what this run has done so far.

        Raises PipelineError when readers cannot be told.
        """
        self.copy_steps(connection, done)
        # Keeps `data_status` right on nights that publish nothing, too.
        outcomes = [facts["outcome"] for facts in done.get("transform", {}).values()]
        is_verified = any(outcome in ledger.ENDED for outcome in outcomes)
        data_status.refresh(connection, datetime.now(UTC) if is_verified else None)
