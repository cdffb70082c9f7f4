"""The process of the embedded server: find, start and stop it."""

import contextlib
import os
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pipeline import durable, signals
from pipeline.embedded import programs
from pipeline.embedded.layout import PORT, Folders
from pipeline.embedded.os_user import run
from pipeline.errors import PipelineError
from pipeline.text import printable

PATIENCE = 300  # seconds for a start, crash recovery included, and for a stop
LOG_LIMIT = 10 << 20  # bytes
ASIDE = "move data/postgres aside; the next run fills a new database from the snapshots on disk"
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


class Postmaster(NamedTuple):
    """The main process of a running server."""

    pid: int
    state: str  # starting, ready or stopping


def find(folders: Folders) -> Postmaster | None:
    """The postmaster of this cluster, if it is alive.

    postmaster.pid outlives a killed server, and another process may have its number by now. A
    postmaster's working folder is that of its cluster.
    """
    try:
        lines = (folders.cluster / "postmaster.pid").read_text().splitlines()
        pid = int(lines[0])
    except (FileNotFoundError, ValueError, IndexError):
        return None
    if not _works_in(folders, pid):
        return None
    return Postmaster(pid, lines[7].strip() if len(lines) > 7 else "starting")


def start(folders: Folders, deadline: float, say: Callable[[str], None]) -> None:
    """Start the server, which must not run, and wait for it until the monotonic `deadline`.

    Raises PipelineError with the end of the server's log when it does not start. If it is still
    starting by then (a long recovery), it continues, and this function returns.
    """
    crashed = (folders.cluster / "postmaster.pid").exists()
    say("Starting PostgreSQL" + (" (recovering: it was not shut down)" if crashed else ""))
    _clear_stale(folders)
    _write_access(folders)
    pg_ctl = programs.for_server(folders) / "pg_ctl"
    command = [pg_ctl, "start", "-D", folders.cluster, "-w", "-s", "-o", _options(folders)]
    while True:
        seconds = max(1, int(deadline - time.monotonic()))
        with open(open_own(folders.log, os.O_WRONLY | os.O_APPEND), "ab") as log:
            began = os.fstat(log.fileno()).st_size
            started = run(
                folders.user, *command, "-t", str(seconds), stdout=log, stderr=subprocess.STDOUT
            )
        if started.returncode == 0 or find(folders):
            return
        message = tail(folders.log, began)
        # A killed postmaster's last sessions hold its memory until they notice.
        if "is still in use" not in message or time.monotonic() > deadline:
            reason = signals.reason(message, started.returncode)
            raise PipelineError(
                f"PostgreSQL did not start: {reason}", f"read {folders.log}, or {ASIDE}"
            )
        time.sleep(0.5)


def stop(folders: Folders) -> bool:
    """Shut the server down and wait for it; False if none ran. Raises PipelineError after PATIENCE.

    By a signal: pg_ctl would send one to whatever process has the number in a stale postmaster.pid.
    """
    postmaster = find(folders)
    if not postmaster:
        return False
    run(folders.user, "/bin/sh", "-c", 'kill -INT "$1"', "sh", str(postmaster.pid))
    deadline = time.monotonic() + PATIENCE
    while find(folders):
        if time.monotonic() > deadline:
            raise PipelineError(
                f"PostgreSQL (process {postmaster.pid}) did not stop within {PATIENCE} s",
                f"read its log, {folders.log}",
            )
        time.sleep(0.05)
    return True


def open_own(path: Path, flags: int) -> int:
    """The descriptor of a file; creates it, owned by the owner of its folder even if root does.

    Raises SetupError when it is a link.
    """
    descriptor = durable.open_own(path, flags, 0o600)
    folder = path.parent.stat()
    if os.geteuid() == 0 and folder.st_uid != 0:
        os.fchown(descriptor, folder.st_uid, folder.st_gid)
    return descriptor


def bound_log(log: Path) -> None:
    """Move a log that grew beyond LOG_LIMIT to server.log.1, also while the server runs.

    The server appends, so its log can be emptied; the last LOG_LIMIT bytes are kept. Raises
    SetupError when it is a link.
    """
    durable.unlinked(log)
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        with contextlib.suppress(OSError), log.open("rb") as file:  # a full disk: nothing is kept
            file.seek(-LOG_LIMIT, os.SEEK_END)
            durable.write(log.with_name("server.log.1"), file.read())
        os.truncate(log, 0)


def tail(log: Path, began: int = 0) -> str:
    """The last lines of the log, after its first `began` bytes, on one line."""
    if not log.exists():
        return "(no log)"
    with log.open("rb") as file:
        file.seek(max(began, log.stat().st_size - 4000))
        return legible(file.read())


def legible(output: bytes) -> str:
    """The last lines of a program's output, on one line, without control characters."""
    lines = output.decode("utf-8", "replace").splitlines()[-6:]
    return " | ".join(map(printable, lines))


def _options(folders: Folders) -> str:
    """The server's settings, quoted for the shell that pg_ctl starts it with."""
    settings = FIXED | {
        "unix_socket_directories": str(folders.socket),
        "hba_file": str(folders.home / "pg_hba.conf"),
        "ident_file": str(folders.home / "pg_ident.conf"),
    }
    return " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())


def _write_access(folders: Folders) -> None:
    """Let the owner log in, and root, who could become the owner anyway.

    These files are outside the cluster, in which root writes nothing.
    """
    owners = sorted({folders.user.pw_name, "root"})
    idents = "".join(f'owner "{owner}" postgres\n' for owner in owners)
    for name, text in {"pg_hba.conf": ACCESS, "pg_ident.conf": idents}.items():
        durable.write(folders.home / name, text.encode())
        (folders.home / name).chmod(0o644 if os.geteuid() == 0 else 0o600)


def _works_in(folders: Folders, pid: int) -> bool:
    """Whether a process of the server's user has the cluster as its working folder.

    That user asks: root in a container may not inspect the processes of other users.
    """
    linux = Path("/proc/self/cwd").exists()
    lsof = ("lsof", "-a", "-p", str(pid), "-d", "cwd", "-Fn")
    command = ("readlink", f"/proc/{pid}/cwd") if linux else lsof
    output = os.fsdecode(run(folders.user, *command, capture_output=True).stdout).removesuffix("\n")
    try:
        return Path(output if linux else output.rpartition("\nn")[2]).samefile(folders.cluster)
    except OSError:
        return False


def _clear_stale(folders: Folders) -> None:
    """Remove what a dead server left and PostgreSQL would refuse; call it under the lock.

    PostgreSQL accepts a postmaster.pid of a dead process. It refuses an empty one, and one whose
    number belongs to another process of the same user by now.
    """
    pid_file = folders.cluster / "postmaster.pid"
    try:
        os.kill(int(pid_file.read_text().splitlines()[0]), 0)
        pid_file.unlink()
    except (ValueError, IndexError):
        pid_file.unlink()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        pass
    socket = folders.socket_file
    for leftover in (socket, socket.with_name(f"{socket.name}.lock")):
        leftover.unlink(missing_ok=True)
