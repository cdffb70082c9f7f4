"""The embedded server's process: whether it lives, started and stopped."""

import contextlib
import os
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from pipeline import durable, signals
from pipeline.embedded import programs as postgres_programs
from pipeline.embedded.layout import PORT, Place
from pipeline.embedded.os_user import run
from pipeline.errors import PipelineError

PATIENCE = 300  # seconds for a start, crash recovery included, and for a stop
LOG_LIMIT = 10 << 20  # bytes
ASIDE = "move data/postgres aside; the next run fills a new one from the snapshots on disk"
# Given at every start. With wal_level minimal a bulk load into a new table writes no WAL.
FIXED = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_parameter_max_length_on_error": "0",
    "logging_collector": "off",
}
ACCESS = """\
# type  database  user      method
local   all       postgres  peer map=owner
local   all       all       scram-sha-256
"""


def server(place: Place) -> tuple[int, str] | None:
    """Process id and state (starting, ready, stopping) of this cluster's postmaster, if it lives.

    postmaster.pid outlives a killed server, and its process id may be somebody else's by now: a
    postmaster works in the folder of its cluster.
    """
    try:
        lines = (place.cluster / "postmaster.pid").read_text().splitlines()
        process = int(lines[0])
    except (FileNotFoundError, ValueError, IndexError):
        return None
    if not _works_in(place, process):
        return None
    return process, lines[7].strip() if len(lines) > 7 else "starting"


def start(place: Place, deadline: float, say: Callable[[str], None]) -> None:
    """Start the server, which must not run, and wait for it up to the monotonic `deadline`.

    Raises PipelineError with the server's last words when it does not come up; if it is only not
    done by then (a long recovery), it goes on and this returns.
    """
    crashed = (place.cluster / "postmaster.pid").exists()
    say("Starting PostgreSQL" + (" (recovering: it was not shut down)" if crashed else ""))
    _clear_stale(place)
    _write_access(place)
    programs = postgres_programs.for_server(place)
    command = [programs / "pg_ctl", "start", "-D", place.cluster, "-w", "-s", "-o", _options(place)]
    while True:
        seconds = max(1, int(deadline - time.monotonic()))
        with open(open_own(place.log, os.O_WRONLY | os.O_APPEND), "ab") as log:
            began = os.fstat(log.fileno()).st_size
            started = run(
                place.user, *command, "-t", str(seconds), stdout=log, stderr=subprocess.STDOUT
            )
        if started.returncode == 0 or server(place):
            return
        said = tail(place.log, began)
        # A killed postmaster's last sessions hold its memory until they notice.
        if "is still in use" not in said or time.monotonic() > deadline:
            said = signals.reason(said, started.returncode)
            raise PipelineError(
                f"PostgreSQL did not start: {said}", f"the rest is in {place.log}; or {ASIDE}"
            )
        time.sleep(0.5)


def stop(place: Place) -> bool:
    """Fast shutdown, waited for; False if no server ran. Raises PipelineError after PATIENCE.

    By a signal: pg_ctl would send it to whatever process has the id in a stale postmaster.pid.
    """
    found = server(place)
    if not found:
        return False
    run(place.user, "/bin/sh", "-c", 'kill -INT "$1"', "sh", str(found[0]))
    deadline = time.monotonic() + PATIENCE
    while server(place):
        if time.monotonic() > deadline:
            raise PipelineError(
                f"PostgreSQL (process {found[0]}) did not stop within {PATIENCE} s",
                f"its log is {place.log}",
            )
        time.sleep(0.05)
    return True


def socket_of(place: Place) -> Path:
    """The socket itself."""
    return place.socket / f".s.PGSQL.{PORT}"


def open_own(path: Path, flags: int) -> int:
    """Descriptor of a file that is made if need be, and is its folder's owner's, even for root.

    Raises SetupError when it is a link.
    """
    descriptor = durable.open_own(path, flags, 0o600)
    folder = path.parent.stat()
    if os.geteuid() == 0 and folder.st_uid != 0:
        os.fchown(descriptor, folder.st_uid, folder.st_gid)
    return descriptor


def bound_log(log: Path) -> None:
    """Move a log that grew beyond LOG_LIMIT to server.log.1, also under the running server.

    The server appends, so the file can be emptied beneath it; its last LOG_LIMIT bytes are kept.
    Raises SetupError when it is a link.
    """
    durable.unlinked(log)
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        with contextlib.suppress(OSError), log.open("rb") as file:  # on a full disk, none is kept
            file.seek(-LOG_LIMIT, os.SEEK_END)
            durable.write(log.with_name("server.log.1"), file.read())
        os.truncate(log, 0)


def tail(log: Path, began: int = 0) -> str:
    """The last lines of the log, from a byte on, legible on one line."""
    if not log.exists():
        return "(no log)"
    with log.open("rb") as file:
        file.seek(max(began, log.stat().st_size - 4000))
        return legible(file.read())


def legible(said: bytes) -> str:
    """The last lines of what a program said, on one line, without control characters."""
    lines = said.decode("utf-8", "replace").splitlines()[-6:]
    return " | ".join("".join(c if c.isprintable() else "?" for c in line) for line in lines)


def _options(place: Place) -> str:
    """The server's settings, quoted for the shell through which pg_ctl starts it."""
    settings = FIXED | {
        "unix_socket_directories": str(place.socket),
        "hba_file": str(place.home / "pg_hba.conf"),
        "ident_file": str(place.home / "pg_ident.conf"),
    }
    return " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())


def _write_access(place: Place) -> None:
    """Who may log in: the owner, and root, who could become the owner anyway.

    These files stand outside the cluster, where root writes nothing.
    """
    owners = sorted({place.user.pw_name, "root"})
    idents = "".join(f'owner "{owner}" postgres\n' for owner in owners)
    for name, text in {"pg_hba.conf": ACCESS, "pg_ident.conf": idents}.items():
        durable.write(place.home / name, text.encode())
        (place.home / name).chmod(0o644 if os.geteuid() == 0 else 0o600)


def _works_in(place: Place, process: int) -> bool:
    """Whether a process of the server's user has the cluster as its working folder.

    Asked as that user: root in a container may not look into other users' processes.
    """
    linux = Path("/proc/self/cwd").exists()
    lsof = ("lsof", "-a", "-p", str(process), "-d", "cwd", "-Fn")
    asked = ("readlink", f"/proc/{process}/cwd") if linux else lsof
    said = os.fsdecode(run(place.user, *asked, capture_output=True).stdout).removesuffix("\n")
    try:
        return Path(said if linux else said.rpartition("\nn")[2]).samefile(place.cluster)
    except OSError:
        return False


def _clear_stale(place: Place) -> None:
    """Remove what a dead server left and PostgreSQL would stumble on; call it under the lock.

    PostgreSQL itself puts up with a postmaster.pid of a dead process. It refuses an empty one, and
    one whose process id was given to another process of the same user.
    """
    pid_file = place.cluster / "postmaster.pid"
    try:
        os.kill(int(pid_file.read_text().splitlines()[0]), 0)
        pid_file.unlink()
    except (ValueError, IndexError):
        pid_file.unlink()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        pass
    socket = socket_of(place)
    for leftover in (socket, socket.with_name(f"{socket.name}.lock")):
        leftover.unlink(missing_ok=True)
