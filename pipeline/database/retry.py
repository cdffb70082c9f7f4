"""A second attempt when the server went away."""

import time
from collections.abc import Callable
from typing import TypeVar

import psycopg

from pipeline import runs
from pipeline.database.connection import connect, is_gone
from pipeline.database.failures import one_line
from pipeline.database.queries import scalar
from pipeline.errors import PipelineError
from pipeline.settings import Settings

T = TypeVar("T")
PAUSE = 1.0  # seconds in which a server that lost a session to a kill has ended all others too


def retry_once(settings: Settings, work: Callable[[psycopg.Connection], T]) -> T:
    """Do work on a connection to the dev database, and again if the server went away meanwhile.

    A server recovers from a crash by itself, and the embedded one is started again. There is no
    second attempt when another run began since: its rows are newer. Raises what the work raises.
    """
    with connect(settings) as connection:
        try:
            return work(connection)
        except (psycopg.Error, PipelineError) as error:
            if not is_gone(connection):
                raise
            first = error
    print(f"the database went away ({one_line(first)}); trying again")
    time.sleep(PAUSE)
    with connect(settings) as connection:
        if _is_overtaken(connection):
            raise first
        return work(connection)


def _is_overtaken(connection: psycopg.Connection) -> bool:
    """Whether another run began after the run of this process."""
    return scalar(
        connection,
        """select exists (
            select from pipeline.runs as ours join pipeline.runs as later
                on later.started_at > ours.started_at
            where ours.run_id = %s
        )""",
        [runs.parent_id()],
    )
