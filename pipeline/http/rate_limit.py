"""One polite rate a host, however many sources are on it, and however many processes fetch them.

Each host has a small file in `data/state/hosts/`, locked while it is read and written, with the
instant of the last request, whose it was, and until when the host asked for quiet.
A source waits for each answer before it asks again, so that one alone goes at the publisher's own
pace; requests of different sources to one host keep a distance.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Generator
from pathlib import Path

from pipeline import durable
from pipeline.settings import Settings

QUIET_SECONDS = 12 * 3600.0  # at most: the next night asks again
GAP_SECONDS = 0.1  # between the requests of different sources to one host


def turn(settings: Settings, host: str) -> float:
    """Seconds to wait before a request to a host; 0: it is this process's turn, and is noted.

    A host that asked for quiet (`quiet`) is left alone until then by every other process; the one
    that was asked does as it was told by itself.
    """
    with _noted(settings, host) as noted:
        now = time.time()
        # A clock that was set back must not keep a host waiting.
        last, quiet_until = noted.get("last", 0.0), noted.get("quiet_until", 0.0)
        if last > now:
            last = quiet_until = 0.0
        is_another = noted.get("process") != os.getpid()
        wait = max(last + GAP_SECONDS, quiet_until) - now
        if is_another and wait > 0:
            return wait
        noted |= {"last": now, "process": os.getpid(), "quiet_until": 0.0}
        return 0.0


def quiet(settings: Settings, host: str, seconds: float) -> None:
    """Note that a host asked us to wait so long (Retry-After), for all sources on it."""
    with _noted(settings, host) as noted:
        now = time.time()
        until = now + min(seconds, QUIET_SECONDS)
        noted |= {"last": now, "process": os.getpid(), "quiet_until": until}


@contextlib.contextmanager
def _noted(settings: Settings, host: str) -> Generator[dict]:
    """What is noted of a host; changes to it are kept. The lock dies with its process."""
    path = _file(settings, host)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = durable.open_own(path, os.O_RDWR)
    with os.fdopen(descriptor, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = file.read()
        try:
            noted = json.loads(before or b"{}")
        except ValueError:
            noted = {}  # written half by a process that was killed
        yield noted
        after = json.dumps(noted).encode()
        if after != before:
            file.seek(0)
            file.write(after)
            file.truncate()


def _file(settings: Settings, host: str) -> Path:
    """The file of a host; whatever is no letter, digit, dot or hyphen in its name is `_`."""
    name = "".join(c if c.isascii() and (c.isalnum() or c in ".-") else "_" for c in host)
    return settings.state / "hosts" / f"{name[:200]}.json"
