"""The dev database: connections, locks, the ledger."""

from pipeline.database.connection import (
    GLANCE,
    client_environment,
    connect,
    connect_to,
    environment,
    is_gone,
    url,
)
from pipeline.database.failures import explain, is_lost, one_line
from pipeline.database.locks import hold_run_lock, is_run_in_progress
from pipeline.database.retry import PAUSE, retry_once
from pipeline.database.setup import prepare

__all__ = [
    "GLANCE",
    "PAUSE",
    "client_environment",
    "connect",
    "connect_to",
    "environment",
    "explain",
    "hold_run_lock",
    "is_gone",
    "is_lost",
    "is_run_in_progress",
    "one_line",
    "prepare",
    "retry_once",
    "url",
]
