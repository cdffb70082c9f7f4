"""The embedded PostgreSQL server: found, made, started and stopped.

It keeps running between nights so that readers can connect. It listens on a Unix socket alone,
in a folder of its owner's; nobody is trusted: the owner (and root, who runs it as a system user)
is known to the server by the kernel's word, every other role by SCRAM.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from pipeline import durable, postgres_place, postgres_process, postgres_programs
from pipeline.errors import PipelineError, SetupError
from pipeline.postgres_place import PORT, Place
from pipeline.postgres_programs import binaries
from pipeline.settings import Settings

__all__ = ["binaries", "describe", "ensure_running", "stop", "url"]

# Written when the cluster is made; ALTER SYSTEM may change them.
INITIAL = {
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    # Files, since /dev/shm has 64 MB in a container and is emptied by logind at a logout.
    "dynamic_shared_memory_type": "mmap",
}


def ensure_running(settings: Settings, say: Callable[[str], None] = print) -> str:
    """Make the cluster and database `dev` where they are not, start the server if it is down.

    Returns the libpq URL of database `dev`. `say` gets a line when something slow begins.
    Raises SetupError when a permission, another owner or another major version is in the way,
    PipelineError when the server does not come up.
    """
    place = postgres_place.find(settings)
    if place:
        _check_version(place)
        if _answer(place) == (str(place.cluster), True):
            return _url(place, "dev")
    with _lock(settings):
        place = postgres_place.prepare(settings, say)
        if not (place.cluster / "PG_VERSION").exists():
            _make_cluster(place, say)
        _check_version(place)
        _bring_up(place, say)
        _make_database(place)
    return _url(place, "dev")


def url(settings: Settings, database: str = "dev") -> str | None:
    """The libpq URL of a database on the server of these settings; None if it does not run."""
    place = postgres_place.find(settings)
    return _url(place, database) if place and _answer(place) else None


def stop(settings: Settings) -> bool:
    """Stop the server and wait for it; False if none ran.

    Sessions are ended, their transactions rolled back. Raises PipelineError after postgres_process.PATIENCE.
    """
    if not postgres_place.find(settings):
        return False
    with _lock(settings):
        place = postgres_place.find(settings)
        return bool(place) and postgres_process.stop(place)


def describe(settings: Settings) -> dict[str, str]:
    """Where the server stands, for people: a name and a text each."""
    facts = {"binaries": f"{binaries()} ({postgres_programs.version()})"}
    place = postgres_place.find(settings)
    if place:
        found = postgres_process.server(place)
        facts |= {
            "cluster": str(place.cluster),
            "socket": str(place.socket),
            "log": str(place.log),
            "user": place.user.pw_name,
            "server": f"{found[1]}, process {found[0]}" if found else "not running",
        }
    else:
        facts["cluster"] = f"none yet; the next run makes it in {settings.postgres}"
    unused = postgres_place.leftovers(settings)
    if unused:
        facts["unused"] = ", ".join(map(str, unused))
    return facts


def _url(place: Place, database: str) -> str:
    host = quote(str(place.socket), safe="")
    return f"postgresql://postgres@/{quote(database, safe='')}?host={host}&port={PORT}"


@contextlib.contextmanager
def _lock(settings: Settings) -> Iterator[None]:
    """One process at a time makes, starts or stops; the others wait for it."""
    try:
        folder = postgres_place.make_notes_folder(settings)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(folder / "lock", flags, 0o600)
    except OSError as error:
        raise SetupError(
            f"{settings.postgres} cannot be written: {error.strerror}",
            "give this user the folder, or set DATA_DIR to another one",
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
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
            f"stop the server, then {postgres_process.ASIDE}",
        )


def _make_cluster(place: Place, say: Callable[[str], None]) -> None:
    """Run initdb in a folder beside and rename it: a cluster is whole or absent."""
    say(f"Making the PostgreSQL cluster in {place.cluster}")
    for leftover in place.home.glob("cluster.new-*"):
        shutil.rmtree(leftover)
    programs = postgres_programs.for_server(place)
    postgres_process.check_path(programs)
    fresh = Path(tempfile.mkdtemp(prefix="cluster.new-", dir=place.home))
    postgres_place.give(fresh, place.user)
    command = [
        programs / "initdb", "-D", fresh, "--username=postgres", "--encoding=UTF8", "--locale=C",
        "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--data-checksums",
        "--auth-local=peer", "--auth-host=reject", "--no-instructions",
    ]  # fmt: skip
    for name, value in INITIAL.items():
        command += ["--set", f"{name}={value}"]
    made = postgres_place.run(
        place.user, *command, capture_output=True, timeout=postgres_process.PATIENCE
    )
    if made.returncode != 0:
        shutil.rmtree(fresh, ignore_errors=True)
        raise PipelineError(
            f"initdb failed: {postgres_process.legible(made.stderr)}", "see what it says"
        )
    try:
        fresh.rename(place.cluster)
    except OSError:
        shutil.rmtree(fresh)
        raise SetupError(
            f"{place.cluster} is there, but no cluster is in it", postgres_process.ASIDE
        ) from None
    durable.flush(place.home)


def _bring_up(place: Place, say: Callable[[str], None]) -> None:
    """Start the server unless it runs, and wait until it answers."""
    deadline = time.monotonic() + postgres_process.PATIENCE
    told = False
    while True:
        found = postgres_process.server(place)
        answer = _answer(place) if found else None
        if answer and answer[0] == str(place.cluster):
            return
        if not found:
            postgres_process.start(place, deadline, say)
        elif found[1] == "ready" and (answer or not postgres_process.socket_of(place).exists()):
            say("The server's socket or folder was moved away: starting it anew")
            postgres_process.stop(place)
        elif time.monotonic() > deadline:
            raise PipelineError(
                f"PostgreSQL ({found[1]}, process {found[0]}) does not answer on {place.socket}: "
                + postgres_process.tail(place.log, 0),
                f"if it is still recovering, run again later; its log is {place.log}",
            )
        else:
            if not told:
                say("PostgreSQL runs but does not answer yet: waiting for it")
                told = True
            time.sleep(0.1)


def _make_database(place: Place) -> None:
    answer = _answer(place)
    if answer and not answer[1]:
        import psycopg

        with psycopg.connect(_url(place, "postgres"), autocommit=True) as connection:
            connection.execute("create database dev")


def _answer(place: Place) -> tuple[str, bool] | None:
    """The cluster of the server that answers, and whether it has database `dev`; else None."""
    if not (
        postgres_process.socket_of(place).exists()
        and postgres_place.is_private(place.socket, place.user)
    ):
        return None
    import psycopg

    try:
        with psycopg.connect(_url(place, "postgres"), connect_timeout=5) as connection:
            return connection.execute(
                "select current_setting('data_directory'),"
                " exists (select from pg_database where datname = 'dev')"
            ).fetchone()
    except psycopg.OperationalError:
        return None
