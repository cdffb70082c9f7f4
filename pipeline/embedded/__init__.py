"""The embedded PostgreSQL server."""

from pipeline.embedded.programs import binaries
from pipeline.embedded.server import (
    describe,
    ensure_running,
    is_stopped,
    keep_up,
    stop,
    url,
)

__all__ = [
    "binaries",
    "describe",
    "ensure_running",
    "is_stopped",
    "keep_up",
    "stop",
    "url",
]
