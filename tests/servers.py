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

DEBIAN = Path("/usr/lib/postgresql/15/bin")
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
