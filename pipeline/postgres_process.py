"""The embedded server's processes: whether they live, started and stopped."""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from pipeline import durable, postgres_place, postgres_programs
from pipeline.errors import PipelineError, SetupError
from pipeline.postgres_place import PORT, Place

PATIENCE = 300  # seconds for a start, crash recovery included, and for a stop
LOG_LIMIT = 10 << 20  # bytes
ASIDE = "move data/postgres aside; the next run fills a new one from the snapshots on disk"
# Fixed at every start. With wal_level minimal a bulk load into a new table writes no WAL.
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
    postmaster's working folder is its cluster.
    """
    try:
        lines = (place.cluster / "postmaster.pid").read_text().splitlines()
        process = int(lines[0])
    except (FileNotFoundError, ValueError, IndexError):
        return None
    if _working_folder(place, process) != str(place.cluster):
        return None
    return process, lines[7].strip() if len(lines) > 7 else "starting"


def start(place: Place, deadline: float, say: Callable[[str], None]) -> None:
    crashed = (place.cluster / "postmaster.pid").exists()
    say("Starting PostgreSQL" + (" (recovering: it was not shut down)" if crashed else ""))
    _clear_stale(place)
    _write_access(place)
    programs = postgres_programs.for_server(place)
    check_path(programs)
    check_path(place.cluster)
    _bound_log(place.log)
    command = [programs / "pg_ctl", "start", "-D", place.cluster, "-w", "-s", "-o", _options(place)]
    while True:
        seconds = max(1, int(deadline - time.monotonic()))
        with _open_log(place.log) as log:
            began = os.fstat(log.fileno()).st_size
            started = postgres_place.run(
                place.user, *command, "-t", str(seconds), stdout=log, stderr=subprocess.STDOUT
            )
        if started.returncode == 0:
            return
        said = tail(place.log, began)
        # A killed postmaster's last sessions hold its memory until they notice.
        if "is still in use" not in said or time.monotonic() > deadline:
            raise PipelineError(
                f"PostgreSQL did not start: {said}", f"the rest is in {place.log}; or {ASIDE}"
            )
        time.sleep(0.5)


def stop(place: Place) -> bool:
    """Fast shutdown. A signal, not pg_ctl, which would signal a reused process id as well."""
    found = server(place)
    if not found:
        return False
    os.kill(found[0], signal.SIGINT)
    deadline = time.monotonic() + PATIENCE
    while server(place):
        if time.monotonic() > deadline:
            raise PipelineError(f"PostgreSQL (process {found[0]}) does not stop", "see its log")
        time.sleep(0.05)
    return True


def socket_of(place: Place) -> Path:
    return place.socket / f".s.PGSQL.{PORT}"


def tail(log: Path, began: int) -> str:
    """The last lines of the log, from a byte on."""
    with log.open("rb") as file:
        file.seek(max(began, log.stat().st_size - 4000))
        return legible(file.read())


def legible(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").splitlines()[-6:]
    return " | ".join("".join(c if c.isprintable() else "?" for c in line) for line in lines)


def check_path(programs: Path) -> None:
    """initdb and pg_ctl give their own path to a shell between double quotes."""
    if set(str(programs)) & set('"$`\\\n'):
        raise SetupError(
            f"{str(programs)!r}: PostgreSQL's programs do not work in a path with a quote, "
            "a dollar sign, a backtick or a backslash",
            "move the clone",
        )


def _options(place: Place) -> str:
    """The server's settings, quoted for the shell through which pg_ctl starts it."""
    settings = FIXED | {
        "unix_socket_directories": str(place.socket),
        "hba_file": str(place.home / "pg_hba.conf"),
        "ident_file": str(place.home / "pg_ident.conf"),
    }
    return " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())


def _write_access(place: Place) -> None:
    """Who may log in. Written by this process, so that root writes nothing in the cluster."""
    owners = dict.fromkeys([place.user.pw_name, *(["root"] if os.geteuid() == 0 else [])])
    idents = "".join(f'owner "{owner}" postgres\n' for owner in owners)
    for name, text in {"pg_hba.conf": ACCESS, "pg_ident.conf": idents}.items():
        durable.write(place.home / name, text.encode())
        (place.home / name).chmod(0o644 if os.geteuid() == 0 else 0o600)


def _working_folder(place: Place, process: int) -> str | None:
    """Asked as the server's user: root in a container may not look into others' processes."""
    if Path("/proc/self/cwd").exists():
        asked = ["readlink", f"/proc/{process}/cwd"]
    else:
        asked = ["lsof", "-a", "-p", str(process), "-d", "cwd", "-Fn"]
    said = postgres_place.run(place.user, *asked, capture_output=True).stdout
    return os.fsdecode(said).rstrip("\n").rpartition("\nn")[2] or None


def _clear_stale(place: Place) -> None:
    """Remove what a dead server left and PostgreSQL would stumble on; call it under the lock.

    PostgreSQL itself puts up with a postmaster.pid of a dead process. It refuses an empty one, and
    one whose process id was given to another process of the same user.
    """
    pid_file = place.cluster / "postmaster.pid"
    try:
        process = int(pid_file.read_text().splitlines()[0])
        os.kill(process, 0)
        pid_file.unlink()
    except (ValueError, IndexError):
        pid_file.unlink()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        pass
    for leftover in (socket_of(place), socket_of(place).with_name(f"{socket_of(place).name}.lock")):
        leftover.unlink(missing_ok=True)


def _open_log(log: Path):
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    return os.fdopen(descriptor, "ab")


def _bound_log(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_name("server.log.1"))
