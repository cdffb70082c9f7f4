"""One run at a time on one data folder, by a lock that dies with its holder."""

import contextlib
import fcntl
import os
import time
from collections.abc import Generator

from pipeline import durable, folders, runs
from pipeline.errors import BusyError, SetupError
from pipeline.settings import Settings

TRIES, PAUSE = 5, 0.02  # seconds; `holder` takes the lock for an instant


@contextlib.contextmanager
def held_by_this_run(settings: Settings) -> Generator[None]:
    """Hold the lock of the run; a script that the runner started works under the runner's lock.

    The kernel releases the lock when its holder ends, however it ends; the text of the file only
    names the holder. The descriptor is not inherited, so a server started meanwhile does not hold
    the lock.

    Raises BusyError when another run holds the lock, SetupError when the folder cannot be written
    or one of the pipeline's folders in it is a link.
    """
    folders.refuse_links(settings)
    if runs.parent_id():
        yield
        return
    path = settings.state / "run.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = durable.open_own(path, os.O_RDWR)
    except OSError as error:
        raise SetupError(
            f"{path} cannot be written: {error.strerror}",
            "give this user the folder, or set DATA_DIR to another one",
        ) from None
    try:
        if not _is_taken(descriptor):
            name = _name(descriptor)
            raise BusyError(f"another run is in progress ({name}); nothing was done")
        with contextlib.suppress(OSError):  # a full disk: the lock works without a name, too
            os.truncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def holder(settings: Settings) -> str:
    """Return who holds the lock now, such as "process 4711"; empty if nobody does."""
    try:
        descriptor = os.open(settings.state / "run.lock", os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _name(descriptor)
    finally:
        os.close(descriptor)
    return ""


def _is_taken(descriptor: int) -> bool:
    """Take the lock if no run holds it; returns whether that succeeded."""
    for attempt in range(TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(PAUSE if attempt < TRIES - 1 else 0)
        else:
            return True
    return False


def _name(descriptor: int) -> str:
    """Return what the holder of the lock wrote into it."""
    return os.pread(descriptor, 100, 0).decode("utf-8", "replace").strip() or "it gave no name"
