"""The embedded PostgreSQL server: find, create, start and stop it.

It keeps running between nights so that readers can connect. It listens only on a Unix socket, in a
folder of its owner's, and trusts nobody: the kernel identifies its owner, and root who runs it as a
system user; every other role needs its password (SCRAM).
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from pipeline import durable, signals
from pipeline.embedded import layout, os_user, process, programs
from pipeline.embedded.layout import PORT, Folders
from pipeline.embedded.process import ASIDE, PATIENCE
from pipeline.errors import PipelineError, SetupError
from pipeline.settings import Settings

INITDB = (
    "--username=postgres", "--auth-local=peer", "--auth-host=reject", "--no-instructions",
    "--encoding=UTF8", "--data-checksums",
    # The same order of text on every system, and English messages.
    "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
    # Settings that ALTER SYSTEM may change later.
    "--set=shared_buffers=128MB", "--set=max_wal_size=1GB",
    # In files, since /dev/shm has 64 MB in a container and is emptied by logind at a logout.
    "--set=dynamic_shared_memory_type=mmap",
)  # fmt: skip


class _Server(NamedTuple):
    """What a server says of itself when it is connected to."""

    cluster: str
    version: str
    has_dev: bool


def ensure_running(settings: Settings, say: Callable[[str], None] = print) -> str:
    """Start the server if it is down; creates the cluster and database `dev` if they are missing.

    Returns the libpq URL of database `dev`. `say` gets a line when something slow begins.
    Raises SetupError when a permission, another owner or another major version prevents it,
    PipelineError when the server does not start.
    """
    folders = layout.find(settings)
    if folders:
        _check_version(folders)
        process.bound_log(folders.log)
        server = _ask(folders)
        if server and server.has_dev and _is_of(folders, server):
            _stopped(settings).unlink(missing_ok=True)
            return _url(folders, "dev")
    with _lock(settings):
        return _start(settings, say)


def keep_up(settings: Settings, say: Callable[[str], None] = print) -> str | None:
    """The same for cron: while the server `is_stopped`, it starts nothing and returns None."""
    with _lock(settings):
        return None if is_stopped(settings) else _start(settings, say)


def is_stopped(settings: Settings) -> bool:
    """Whether the settings lead to the embedded server and it was stopped on purpose (`stop`)."""
    return not settings.database_url and _stopped(settings).exists() and not url(settings)


def url(settings: Settings, database: str = "dev") -> str | None:
    """The libpq URL of a database on the server of these settings; None if it does not run."""
    folders = layout.find(settings)
    return _url(folders, database) if folders and _ask(folders) else None


def stop(settings: Settings) -> bool:
    """Stop the server and wait for it; False if none ran. Afterwards it `is_stopped`, for cron.

    Sessions are ended, their transactions rolled back. Raises PipelineError when it does not stop.
    """
    if not layout.find(settings):
        return False
    with _lock(settings):
        folders = layout.find(settings)
        if not folders:
            return False
        os.close(process.open_own(_stopped(settings), os.O_WRONLY))
        return process.stop(folders)


def describe(settings: Settings) -> dict[str, str]:
    """Where the server is and whether it runs, for people: a name and a text each.

    Raises SetupError when the cluster is another user's.
    """
    facts = {"binaries": f"{programs.binaries()} ({programs.version()})"}
    folders = layout.find(settings)
    if folders:
        postmaster, server = process.find(folders), _ask(folders)
        facts |= {
            "cluster": str(folders.cluster),
            "socket": str(folders.socket_file),
            "log": str(folders.log),
            "user": folders.user.pw_name,
            "server": (
                f"{postmaster.state}, process {postmaster.pid}" if postmaster else "not running"
            ),
        }
        if server:
            facts["version"] = server.version
    else:
        facts["cluster"] = f"none yet; the next run creates it in {settings.postgres}"
    if unused := layout.leftovers(settings):
        facts["unused"] = ", ".join(map(str, unused))
    return facts


def _stopped(settings: Settings) -> Path:
    """The file that exists from `stop` until the server is started."""
    return settings.postgres / "stopped"


def _url(folders: Folders, database: str) -> str:
    # With the port, because otherwise PGPORT would change it.
    host = quote(str(folders.socket), safe="")
    return f"postgresql://postgres@/{quote(database, safe='')}?host={host}&port={PORT}"


@contextlib.contextmanager
def _lock(settings: Settings) -> Generator[None]:
    """Let one process at a time create, start or stop the server; the others wait for it."""
    try:
        folder = layout.create_root(settings)
        descriptor = process.open_own(folder / "lock", os.O_RDWR)
    except OSError as error:
        raise SetupError(
            f"{settings.postgres} cannot be written: {error.strerror}",
            "make this user its owner, or set DATA_DIR to another folder",
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    except OSError as error:
        raise PipelineError(
            f"PostgreSQL in {folder}: {error}", "check the disk and its permissions, run again"
        ) from error
    finally:
        os.close(descriptor)


def _start(settings: Settings, say: Callable[[str], None]) -> str:
    """Create and start what is missing, under the lock; returns the URL of database `dev`."""
    folders = layout.prepare(settings, say)
    process.bound_log(folders.log)
    for leftover in folders.home.glob("cluster.new-*"):  # initdb may outlive a killed run a bit
        shutil.rmtree(leftover, ignore_errors=True)
    if not (folders.cluster / "PG_VERSION").exists():
        _create_cluster(folders, say)
    _check_version(folders)
    if not _bring_up(folders, say).has_dev:
        _create_database(folders)
    _stopped(settings).unlink(missing_ok=True)
    return _url(folders, "dev")


def _check_version(folders: Folders) -> None:
    try:
        cluster = (folders.cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return
    installed = programs.version().split(".")[0]
    if cluster != installed:
        raise SetupError(
            f"{folders.cluster} is of PostgreSQL {cluster}, the installed one is {installed}",
            f"stop the server, then {ASIDE}",
        )


def _create_cluster(folders: Folders, say: Callable[[str], None]) -> None:
    """Run initdb in another folder and rename it: a cluster is complete or absent."""
    say(f"Creating the PostgreSQL cluster {folders.cluster}")
    initdb = programs.for_server(folders) / "initdb"
    new = Path(tempfile.mkdtemp(prefix="cluster.new-", dir=folders.home))
    os_user.give(new, folders.user)
    command = (initdb, *INITDB, "-D", new)
    try:
        done = os_user.run(folders.user, *command, capture_output=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise PipelineError(f"initdb did not end within {PATIENCE} s", "run again") from None
    if done.returncode != 0:
        shutil.rmtree(new, ignore_errors=True)
        reason = signals.reason(process.legible(done.stderr), done.returncode)
        raise PipelineError(f"initdb failed: {reason}", "correct what it names, run again")
    try:
        new.rename(folders.cluster)
    except OSError:
        shutil.rmtree(new)
        raise SetupError(f"{folders.cluster} exists, but contains no cluster", ASIDE) from None
    durable.flush(folders.home)


def _bring_up(folders: Folders, say: Callable[[str], None]) -> _Server:
    """Start the server unless it runs, and wait until it accepts connections."""
    deadline = time.monotonic() + PATIENCE
    is_announced = False
    while True:
        postmaster = process.find(folders)
        server = _ask(folders) if postmaster else None
        if server and _is_of(folders, server):
            return server
        if not postmaster:
            process.start(folders, deadline, say)
        elif postmaster.state == "ready" and (server or not folders.socket_file.exists()):
            say("PostgreSQL's folder was moved, or its socket removed: restarting it")
            process.stop(folders)
        elif time.monotonic() > deadline:
            raise PipelineError(
                f"PostgreSQL ({postmaster.state}, process {postmaster.pid}) accepts no "
                f"connections: {process.tail(folders.log)}",
                f"if it is still recovering, run again later; its log is {folders.log}",
            )
        else:
            if not is_announced:
                say("PostgreSQL runs but does not accept connections yet: waiting for it")
                is_announced = True
            time.sleep(0.1)


def _create_database(folders: Folders) -> None:
    import psycopg

    try:
        with psycopg.connect(_url(folders, "postgres"), autocommit=True) as connection:
            connection.execute("create database dev")
    except psycopg.Error as error:
        reason = process.legible(str(error).encode())
        raise PipelineError(
            f"database dev cannot be created: {reason}", f"see {folders.log}"
        ) from error


def _ask(folders: Folders) -> _Server | None:
    """What the server on the socket says of itself, if its owner alone controls the socket."""
    if not (folders.socket_file.exists() and os_user.is_private(folders.socket, folders.user)):
        return None
    import psycopg

    try:
        with psycopg.connect(_url(folders, "postgres"), connect_timeout=5) as connection:
            (row,) = connection.execute(
                "select current_setting('data_directory'), current_setting('server_version'),"
                " exists (select from pg_database where datname = 'dev')"
            )
    except psycopg.OperationalError:
        return None
    return _Server(*row)


def _is_of(folders: Folders, server: _Server) -> bool:
    """Whether this is the server of this cluster, and its path still leads to the cluster."""
    try:
        return Path(server.cluster).samefile(folders.cluster)
    except OSError:
        return False
