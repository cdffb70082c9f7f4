"""Runs are known by their ids: `2026-01-31T04-17-00Z-4711`, its start and its process.

A run passes its id to the processes it starts, in the variable PIPELINE_RUN. A script that somebody
starts by hand is a run of its own.
"""

import os
from datetime import UTC, datetime

VARIABLE = "PIPELINE_RUN"


def new_id() -> str:
    """The id of a run that starts now, in this process; it sorts by time and can name a file."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}-{os.getpid()}"


def parent_id() -> str:
    """The id of the run that started this process; empty if a person did."""
    return os.environ.get(VARIABLE, "")


def current_id() -> str:
    """The id under which this process records what it does."""
    return parent_id() or f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} by hand {os.getpid()}"


def is_of_process(run: str, process: str) -> bool:
    """Whether `process` ("process 4711", as the lock names it) is the one that started a run."""
    return bool(process) and run.rpartition("-")[2] == process.rpartition(" ")[2]
