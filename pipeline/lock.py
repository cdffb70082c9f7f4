"""One run at a time on one data folder, by a lock that dies with its holder."""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from pipeline import durable, folders
from pipeline.errors import BusyError, SetupError
from pipeline.settings import Settings


@contextlib.contextmanager
def held_by_this_run(settings: Settings) -> Iterator[None]:
    """Hold the run's lock; a script the runner started works under the runner's own.

    Raises BusyError when another run holds it, SetupError when the folder cannot be written or
    one of the pipeline's folders in it is a link.
    The kernel frees the lock when its holder ends, however it ends; the file's text only tells
    who it is. The descriptor is not inherited, so a server started meanwhile does not hold it.
    """
    folders.refuse_links(settings)
    if os.environ.get("PIPELINE_RUN"):
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
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 100).decode("utf-8", "replace").strip()
            raise BusyError(
                f"another run is in progress ({holder or 'it gave no name'}); nothing was done"
            ) from None
        with contextlib.suppress(OSError):  # a full disk: the lock holds without a name, too
            os.truncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
