"""The embedded PostgreSQL server: found, made, started and stopped.

It keeps running between nights so that readers can connect. It listens on a Unix socket alone,
in a folder of its owner's, and trusts nobody: its owner, and root who runs it as a system user,
are known to it by the kernel's word, every other role by SCRAM.
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
from pipeline.embedded import layout, os_user, process
from pipeline.embedded import programs as postgres_programs
from pipeline.embedded.layout import PORT, Place
from pipeline.embedded.process import ASIDE, PATIENCE
from pipeline.embedded.programs import binaries
from pipeline.errors import PipelineError, SetupError
from pipeline.settings import Settings

__all__ = ["binaries", "describe", "ensure_running", "is_stopped", "keep_up", "stop", "url"]

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


class _Answer(NamedTuple):
    """What a server that answers says of itself."""

    cluster: str
    version: str
    has_dev: bool


def ensure_running(settings: Settings, say: Callable[[str], None] = print) -> str:
    """Make the cluster and database `dev` where they are not, start the server if it is down.

    Returns the libpq URL of database `dev`. `say` gets a line when something slow begins.
    Raises SetupError when a permission, another owner or another major version is in the way,
    PipelineError when the server does not come up.
    """
    place = layout.find(settings)
    if place:
        _check_version(place)
        process.bound_log(place.log)
        answer = _answer(place)
        if answer and answer.has_dev and _is_of(place, answer):
            _stopped(settings).unlink(missing_ok=True)
            return _url(place, "dev")
    with _lock(settings):
        return _start(settings, say)


def keep_up(settings: Settings, say: Callable[[str], None] = print) -> str | None:
    """The same for cron: starts nothing, and returns None, while the server `is_stopped`."""
    with _lock(settings):
        return None if is_stopped(settings) else _start(settings, say)


def is_stopped(settings: Settings) -> bool:
    """Whether the embedded server is down since `stop`, on purpose, and is the one meant."""
    return not settings.database_url and _stopped(settings).exists() and not url(settings)


def _stopped(settings: Settings) -> Path:
    """The file that is there from `stop` on, until the server is started."""
    return settings.postgres / "stopped"


def _start(settings: Settings, say: Callable[[str], None]) -> str:
    """Make and start what is not there, under the lock; returns the URL of database `dev`."""
    place = layout.prepare(settings, say)
    process.bound_log(place.log)
    for leftover in place.home.glob("cluster.new-*"):  # initdb may outlive a killed run a bit
        shutil.rmtree(leftover, ignore_errors=True)
    if not (place.cluster / "PG_VERSION").exists():
        _make_cluster(place, say)
    _check_version(place)
    answer = _bring_up(place, say)
    if not answer.has_dev:
        _make_database(place)
    _stopped(settings).unlink(missing_ok=True)
    return _url(place, "dev")


def url(settings: Settings, database: str = "dev") -> str | None:
    """The libpq URL of a database on the server of these settings; None if it does not run."""
    place = layout.find(settings)
    return _url(place, database) if place and _answer(place) else None


def stop(settings: Settings) -> bool:
    """Stop the server and wait for it; False if none ran. It `is_stopped` then, for cron.

    Sessions are ended, their transactions rolled back. Raises PipelineError when it does not stop.
    """
    if not layout.find(settings):
        return False
    with _lock(settings):
        place = layout.find(settings)
        if not place:
            return False
        os.close(process.open_own(_stopped(settings), os.O_WRONLY))
        return process.stop(place)


def describe(settings: Settings) -> dict[str, str]:
    """Where the server stands, for people: a name and a text each.

    Raises SetupError when the cluster is another user's.
    """
    facts = {"binaries": f"{binaries()} ({postgres_programs.version()})"}
    place = layout.find(settings)
    if place:
        found, answer = process.server(place), _answer(place)
        facts |= {
            "cluster": str(place.cluster),
            "socket": str(process.socket_of(place)),
            "log": str(place.log),
            "user": place.user.pw_name,
            "server": f"{found[1]}, process {found[0]}" if found else "not running",
        }
        if answer:
            facts["version"] = answer.version
    else:
        facts["cluster"] = f"none yet; the next run makes it in {settings.postgres}"
    unused = layout.leftovers(settings)
    if unused:
        facts["unused"] = ", ".join(map(str, unused))
    return facts


def _url(place: Place, database: str) -> str:
    # The port is named, since PGPORT would change it.
    host = quote(str(place.socket), safe="")
    return f"postgresql://postgres@/{quote(database, safe='')}?host={host}&port={PORT}"


@contextlib.contextmanager
def _lock(settings: Settings) -> Generator[None]:
    """One process at a time makes, starts or stops; the others wait for it."""
    try:
        folder = layout.make_notes_folder(settings)
        descriptor = process.open_own(folder / "lock", os.O_RDWR)
    except OSError as error:
        raise SetupError(
            f"{settings.postgres} cannot be written: {error.strerror}",
            "give this user the folder, or set DATA_DIR to another one",
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    except OSError as error:
        raise PipelineError(
            f"PostgreSQL in {folder}: {error}", "see to the disk and its permissions, run again"
        ) from error
    finally:
        os.close(descriptor)


def _check_version(place: Place) -> None:
    try:
        cluster = (place.cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return
    installed = postgres_programs.version().split(".")[0]
    if cluster != installed:
        raise SetupError(
            f"{place.cluster} is of PostgreSQL {cluster}, the installed one is {installed}",
            f"stop the server, then {ASIDE}",
        )


def _make_cluster(place: Place, say: Callable[[str], None]) -> None:
    """Run initdb in a folder beside and rename it: a cluster is whole or absent."""
    say(f"Making the PostgreSQL cluster {place.cluster}")
    programs = postgres_programs.for_server(place)
    fresh = Path(tempfile.mkdtemp(prefix="cluster.new-", dir=place.home))
    os_user.give(fresh, place.user)
    command = (programs / "initdb", *INITDB, "-D", fresh)
    try:
        made = os_user.run(place.user, *command, capture_output=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise PipelineError(f"initdb did not end within {PATIENCE} s", "run again") from None
    if made.returncode != 0:
        shutil.rmtree(fresh, ignore_errors=True)
        said = signals.reason(process.legible(made.stderr), made.returncode)
        raise PipelineError(f"initdb failed: {said}", "see to what it names, run again")
    try:
        fresh.rename(place.cluster)
    except OSError:
        shutil.rmtree(fresh)
        raise SetupError(f"{place.cluster} is there, but no cluster is in it", ASIDE) from None
    durable.flush(place.home)


def _bring_up(place: Place, say: Callable[[str], None]) -> _Answer:
    """Start the server unless it runs, and wait until it answers."""
    deadline = time.monotonic() + PATIENCE
    told = False
    while True:
        found = process.server(place)
        answer = _answer(place) if found else None
        if answer and _is_of(place, answer):
            return answer
        if not found:
            process.start(place, deadline, say)
        elif found[1] == "ready" and (answer or not process.socket_of(place).exists()):
            say("PostgreSQL's folder was moved, or its socket removed: starting it anew")
            process.stop(place)
        elif time.monotonic() > deadline:
            said = process.tail(place.log)
            raise PipelineError(
                f"PostgreSQL ({found[1]}, process {found[0]}) does not answer: {said}",
                f"if it is still recovering, run again later; its log is {place.log}",
            )
        else:
            if not told:
                say("PostgreSQL runs but does not answer yet: waiting for it")
                told = True
            time.sleep(0.1)


def _make_database(place: Place) -> None:
    import psycopg

    try:
        with psycopg.connect(_url(place, "postgres"), autocommit=True) as connection:
            connection.execute("create database dev")
    except psycopg.Error as error:
        said = process.legible(str(error).encode())
        raise PipelineError(f"database dev cannot be made: {said}", f"see {place.log}") from error


def _answer(place: Place) -> _Answer | None:
    """What the server says that answers on the socket, if that is in its owner's hands."""
    socket = process.socket_of(place)
    if not (socket.exists() and os_user.is_private(place.socket, place.user)):
        return None
    import psycopg

    try:
        with psycopg.connect(_url(place, "postgres"), connect_timeout=5) as connection:
            (row,) = connection.execute(
                "select current_setting('data_directory'), current_setting('server_version'),"
                " exists (select from pg_database where datname = 'dev')"
            )
    except psycopg.OperationalError:
        return None
    return _Answer(*row)


def _is_of(place: Place, answer: _Answer) -> bool:
    """Whether this cluster's server answered, and under a path that still leads there."""
    try:
        return Path(answer.cluster).samefile(place.cluster)
    except OSError:
        return False
