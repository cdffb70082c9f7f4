"""The rate of requests to a host, shared by all sources on it and by all processes that fetch them.

Each host has a small file in `data/state/hosts/`, locked while it is read and written. It has the
time of the last request, the process that sent it, and until when the host asked us to wait. A
source waits for each response before it sends its next request, so the publisher sets the rate of
one source; requests of different sources to one host keep a distance.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Generator

import msgspec

from pipeline import durable
from pipeline.settings import Settings

QUIET_SECONDS = 12 * 3600.0  # at most: the next night asks again
GAP_SECONDS = 0.1  # between the requests of different sources to one host


class _Host(msgspec.Struct):
    last: float = 0.0  # time of the last request, in seconds since 1970
    process: int = 0
    quiet_until: float = 0.0


def turn(settings: Settings, host: str) -> float:
    """Seconds to wait before a request to a host; after 0, the request counts as sent.

    All other processes obey a host that asked to wait (`quiet`); the process that it asked waits
    by itself.
    """
    with _locked(settings, host) as state:
        now = time.time()
        if state.last > now:  # a clock that was set back must not keep a host waiting
            state.last = state.quiet_until = 0.0
        wait = max(state.last + GAP_SECONDS, state.quiet_until) - now
        if state.process != os.getpid() and wait > 0:
            return wait
        state.last, state.process, state.quiet_until = now, os.getpid(), 0.0
        return 0.0


def quiet(settings: Settings, host: str, seconds: float) -> None:
    """Record that a host asked us to wait (Retry-After), for all sources on it."""
    with _locked(settings, host) as state:
        state.last, state.process = time.time(), os.getpid()
        state.quiet_until = state.last + min(seconds, QUIET_SECONDS)


@contextlib.contextmanager
def _locked(settings: Settings, host: str) -> Generator[_Host]:
    """The state of a host; changes are written. The lock is released when its process ends."""
    # In the file's name, characters that are not letters, digits, dots or hyphens become `_`.
    name = "".join(c if c.isascii() and (c.isalnum() or c in ".-") else "_" for c in host)
    path = settings.state / "hosts" / f"{name[:200]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(durable.open_own(path, os.O_RDWR), "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        state = _read(file.read())
        yield state
        file.seek(0)
        file.write(msgspec.json.encode(state))
        file.truncate()


def _read(text: bytes) -> _Host:
    try:
        return msgspec.json.decode(text, type=_Host)
    except msgspec.DecodeError:
        return _Host()  # new, or half written by a process that was killed
