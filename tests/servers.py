"""Databases for the tests: empty ones, and Debian's PostgreSQL 15 over TCP."""

import os
import pwd
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
from patience import eventually
from psycopg.conninfo import conninfo_to_dict

DEBIAN = Path("/usr/lib/postgresql/15/bin")
PGBOUNCER = Path("/usr/sbin/pgbouncer")
PASSWORD = "p@ss/w:rd %20#?&'\"é"  # with what a URL must escape


@contextmanager
def new_database(url: str, name: str, options: str = "") -> Iterator[str]:
    """An empty database on the server of a URL, for as long as the context lasts: its URL."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create database {name} {options}")
    before, _, words = url.partition("?")
    yield f"{before.rpartition('/')[0]}/{name}" + (f"?{words}" if words else "")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


@contextmanager
def pgbouncer(folder: Path, server: str, mode: str) -> Iterator[str]:
    """PgBouncer before a database of Debian's PostgreSQL, on loopback: the URL that leads through.

    mode: what it pools: `transaction` or `session`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir()
    given = conninfo_to_dict(server)
    quoted = given["password"].replace("'", "''")
    (folder / "pgbouncer.ini").write_text(f"""[databases]
{given["dbname"]} = host=127.0.0.1 port={given["port"]} user={given["user"]} password='{quoted}'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 5
""")
    run_as = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    for path in (folder, folder / "pgbouncer.ini"):
        os.chown(path, run_as.pw_uid, run_as.pw_gid)
    user = ["-u", run_as.pw_name] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        [PGBOUNCER, *user, folder / "pgbouncer.ini"], cwd=folder, stderr=subprocess.DEVNULL
    )
    url = f"postgresql://{given['user']}@127.0.0.1:{port}/{given['dbname']}"
    try:
        eventually(lambda: process.poll() is not None or _is_open(port), "PgBouncer")
        yield url
    finally:
        process.kill()
        process.wait()


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def debian(folder: Path) -> Iterator[str]:
    """A cluster of Debian's PostgreSQL 15, over TCP with SCRAM: its superuser's URL."""
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir()
    (folder / "password").write_text(PASSWORD)
    for path in (folder, folder / "password"):
        os.chown(path, user.pw_uid, user.pw_gid)
    as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def run(program: str, *words: str) -> None:
        subprocess.run(
            [DEBIAN / program, "-D", folder / "cluster", *words],
            **(as_user if os.geteuid() == 0 else {}),
            cwd=folder,
            env={"LC_ALL": "C.UTF-8"},
            stdout=subprocess.DEVNULL,
            check=True,
        )

    pwfile = f"--pwfile={folder / 'password'}"
    run("initdb", "--auth=scram-sha-256", pwfile, "--username=admin", "--encoding=UTF8")
    given = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories=''"
    run("pg_ctl", "start", "-w", "-s", "-l", str(folder / "log"), "-o", given)
    try:
        yield f"postgresql://admin:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "stop", "-w", "-s", "-m", "immediate")
