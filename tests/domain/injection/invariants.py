"""What must hold after every fault, and what else after the next night, which has no fault.

All of it is checked from outside, with as little of the pipeline's own code as possible.
"""

import base64
import fcntl
import hashlib
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import psycopg
from patience import STANDSTILL, Watch, not_counted
from psycopg import sql

from injection import injector
from injection.injector import Done, Page

PATIENCE = STANDSTILL  # seconds without any activity, until what a killed run left has ended
EXITS = (0, 1, 2, 64, 75, 78, 129, 130, 143)
POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d+)\n"
)
Tables = dict[str, tuple[int, str]]  # rows of each table and a hash of them


def of_exit(done: Done, killed_by: int = 0, says: str = "") -> list[str]:
    """The exit code is a documented one, and the output contains no traceback.

    says: how the step's own lines begin, if the output contains another program's log.
    """
    wrong = []
    if says:
        lines = [line for line in done.output.splitlines() if line.startswith(says)]
        done = Done(done.code, "\n".join(lines))
    if done.code not in EXITS and not (killed_by and done.code == -killed_by):
        wrong.append(f"exit code {done.code}")
    if "Traceback (most recent call last)" in done.output:
        wrong.append("a traceback is shown")
    if done.code in (1, 2, 75, 78) and not done.output.strip():
        wrong.append(f"exit code {done.code} without a message")
    return [f"{what}: {done.output[-300:]}" for what in wrong]


def of_files(data: Path) -> list[str]:
    """Every snapshot verifies by its SHA256SUMS; the state parses."""
    wrong = []
    for folder in data.glob("raw/[!.]*"):
        wrong += [f"raw {folder.name}: {what}" for what in _of_snapshot(folder)]
    for path in data.glob("state/[!.]*.json"):
        try:
            assert isinstance(json.loads(path.read_bytes()), dict)
        except (ValueError, AssertionError):
            wrong.append(f"state: {path.name} does not parse")
    return wrong


def _of_snapshot(folder: Path) -> list[str]:
    try:
        lines = (folder / "SHA256SUMS").read_text().splitlines()
    except FileNotFoundError:
        return ["there is no SHA256SUMS"]
    named = {name: sha256 for sha256, name in (line.split("  ", 1) for line in lines)}
    there = {path.name for path in folder.iterdir()} - {"SHA256SUMS"}
    if there != named.keys():
        return [f"{sorted(there)} lie there, {sorted(named)} are named"]
    return [
        f"{name} is not what SHA256SUMS says"
        for name, sha256 in named.items()
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != sha256
    ]


def of_leftovers(data: Path, clone: Path, page: Page, connection, *, settled: bool) -> list[str]:
    """No lock, process or idle transaction is left; after a faultless night no temporary file."""
    if left := _stays(lambda: _alive(page, connection)):
        return left
    wrong = []
    with (data / "state/run.lock").open("a+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wrong.append("the run's lock is held")
    if settled:
        patterns = ("raw/.incoming/*", "raw/.begun/*", "preprocessed/.*.new", "state/.*.[0-9]*")
        wrong += [f"left: {path}" for pattern in patterns for path in data.glob(pattern)]
        git = clone / ".git"
        patterns = ("*.lock", "refs/**/*.lock", "raw-data-stash/[im]*", "lfs/tmp/*")
        wrong += [f"left: {path}" for pattern in patterns for path in git.glob(pattern)]
        wrong += _of_room(connection)
    return wrong


def _stays(left: Callable[[], list[str]]) -> list[str]:
    """What is still left when all processes that we started are idle."""
    with not_counted(threading.get_native_id()):
        watch = Watch()
        while (found := left()) and watch.still_for() < PATIENCE:
            time.sleep(0.02)
    return found


def _alive(page: Page, connection) -> list[str]:
    left = [f"a process is left: {command}" for command in injector.still_running(page)]
    return left + _sessions(connection)


def _sessions(connection) -> list[str]:
    rows = connection.execute(
        """select coalesce(application_name, '') || ' ' || state || ': ' || left(query, 100)
        from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()
        and backend_type = 'client backend' and application_name not like 'reader%'"""
    )
    return [f"a session is left: {row[0]}" for row in rows]


def _of_room(connection) -> list[str]:
    rows = connection.execute(
        """select relname from pg_class
        where relnamespace = to_regnamespace('transformed_next') and relkind in ('r', 'v')"""
    )
    return [f"transformed_next.{name} is left" for (name,) in rows]


def of_git(clone: Path, tip_before: str) -> list[str]:
    """Branch raw-data is valid, continues from its last commit, and has pointers for data."""
    tip = tip_of(clone)
    if not tip:
        return [f"branch raw-data is gone: it was at {tip_before}"] if tip_before else []
    wrong = []
    if tip == tip_before:
        return []
    checked = _git(clone, "fsck", "--strict", "--no-dangling", "--no-progress", tip, check=False)
    if checked.returncode:
        wrong.append(f"git fsck: {checked.stderr.decode()[:200]}")
    if (
        tip_before
        and _git(clone, "merge-base", "--is-ancestor", tip_before, tip, check=False).returncode
    ):
        wrong.append(f"raw-data does not go on from {tip_before}")
    for line in _git(clone, "ls-tree", "-r", tip).stdout.decode().splitlines():
        told, name = line.split("\t")
        if name.endswith(("SHA256SUMS", "datapackage.json", ".gitattributes")):
            continue
        pointer = POINTER.fullmatch(_git(clone, "cat-file", "blob", told.split()[2]).stdout)
        if not pointer:
            wrong.append(f"raw-data: {name} is no pointer")
        elif not _is_stored(clone, pointer[1].decode()):
            wrong.append(f"raw-data: the object of {name} is damaged or not there")
    return wrong


def tip_of(clone: Path) -> str:
    """The commit of branch raw-data, or ''."""
    return (
        _git(clone, "rev-parse", "-q", "--verify", "raw-data", check=False).stdout.decode().strip()
    )


def _is_stored(clone: Path, oid: str) -> bool:
    path = clone / ".git/lfs/objects" / oid[:2] / oid[2:4] / oid
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == oid


def _git(clone: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", clone, *words], capture_output=True, check=check)


def of_sources(connection, known: dict[str, tuple[int, str]]) -> list[str]:
    """Each source's table has the rows of the file that its newest load in the ledger names.

    known: rows and hash of every file that was ever loaded, by its fingerprint.
    """
    wrong = []
    rows = connection.execute(
        """select distinct on (name) name, fingerprint, rows from pipeline.steps
        where stage = 'load' and outcome = 'new' order by name, step_id desc"""
    ).fetchall()
    for name, fingerprint, told in rows:
        has = contents(connection, "source", name)
        if fingerprint not in known:
            wrong.append(f"source.{name}: the ledger names a file that never was")
        elif has != known[fingerprint] or told != has[0]:
            wrong.append(f"source.{name}: {has} where its file has {known[fingerprint]}")
    return wrong


def contents(connection, schema: str, name: str) -> tuple[int, str]:
    """The rows of a table, and MD5 over all of them in order."""
    query = sql.SQL(
        "select count(*), coalesce(md5(string_agg(t::text, E'\\n' order by t::text)), '')"
        " from {} as t"
    )
    return connection.execute(query.format(sql.Identifier(schema, name))).fetchone()


def published(connection) -> Tables:
    """The published tables except the one behind `data_status`, in one snapshot."""
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read")
        names = connection.execute(
            """select tablename from pg_tables where schemaname = 'transformed'
            and tablename <> 'data_status_facts' order by 1"""
        ).fetchall()
        return {name: contents(connection, "transformed", name) for (name,) in names}


def held(connection) -> set[str]:
    """The tables that `data_status` calls held."""
    rows = connection.execute(
        "select name from transformed.data_status where kind = 'table' and state = 'held'"
    )
    return {name for (name,) in rows}


def made_of_kept(connection, marts: dict[str, tuple[tuple[str, ...], str]]) -> Tables:
    """The tables as they must be if a source of theirs is kept: made from what is loaded.

    A fault in one source does not stop the others: a mart made from both is then neither the old
    one nor that of the next night. marts: the sources of each, and its query on schema source.
    """
    rows = connection.execute(
        "select name from transformed.data_status where kind = 'source' and state = 'kept'"
    )
    kept, made = {name for (name,) in rows}, {}
    with connection.transaction(force_rollback=True):
        connection.execute("create schema beside")
        for name, (sources, query) in marts.items():
            if kept.intersection(sources):
                connection.execute(f"create table beside.{name} as {query}")
                made[name] = contents(connection, "beside", name)
    return made


def of_generations(
    before: Tables, between: Tables, held: set[str], after: Tables, made: Tables
) -> list[str]:
    """After a fault the tables are of the old generation or of the new one.

    Except held tables, and those made from a kept source (`made_of_kept`).
    """
    if between in (before, after):
        return []
    return [
        f"transformed.{name} is neither old and held nor new: {rows}"
        for name, rows in between.items()
        if rows not in (after.get(name), made.get(name))
        and not (rows == before.get(name) and name in held)
    ]


def of_status(connection, *, settled: bool) -> list[str]:
    """`data_status` agrees with ledger and schema on generation and state of every table."""
    tables = published(connection).keys()
    wrong = []
    rows = connection.execute(
        """select kind, name, state, generation, loaded_at, is_overdue
        from transformed.data_status"""
    ).fetchall()
    generations = dict(
        connection.execute(
            """select name, max((facts ->> 'generation')::bigint) from pipeline.steps
            where stage = 'transform' and outcome = 'published' group by name"""
        ).fetchall()
    )
    told = {name for kind, name, *_ in rows if kind == "table"}
    if told != set(tables):
        wrong.append(f"data_status tells of {sorted(told)}, there are {sorted(tables)}")
    for kind, name, state, generation, _, is_overdue in rows:
        if kind == "table" and generation != generations.get(name):
            wrong.append(
                f"data_status: {name} is of generation {generations.get(name)}, told: {generation}"
            )
        if settled and (state != "fresh" or is_overdue):
            wrong.append(f"data_status: {name} is {state} after an honest night")
    return wrong


def of_prod(connection) -> list[str]:
    """No session and no partial replication is left in prod; `data_status` names its tables."""
    if left := _stays(lambda: _sessions(connection)):
        return left
    there = set(published(connection))
    rows = connection.execute("select name from transformed.data_status where kind = 'table'")
    told = {name for (name,) in rows}
    wrong = [] if told == there else [f"prod tells of {sorted(told)}, there are {sorted(there)}"]
    schemas = connection.execute(
        "select nspname from pg_namespace where nspname !~ '^(pg_|information_schema)'"
    )
    others = {name for (name,) in schemas} - {"public", "transformed", "pipeline"}
    marks = "select relname from pg_class join pg_namespace on pg_namespace.oid = relnamespace"
    marks = connection.execute(f"{marks} where nspname = 'pipeline' and relkind in ('r', 'v')")
    others |= {f"pipeline, {name}" for (name,) in marks if name != "copy_of"}
    return wrong + [f"prod: schema {name} is left" for name in sorted(others)]


def of_secrets(markers: list[str], folders: list[Path], outputs: list[str]) -> list[str]:
    """No secret is in what was printed, logged or recorded, however it is encoded."""
    forms = {form for marker in markers for form in _forms(marker)}
    wrong = [
        f"a secret is printed: {text[-200:]}" for text in outputs if _has(text.encode(), forms)
    ]
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and _has(path.read_bytes(), forms):
                wrong.append(f"a secret stands in {path}")
    return wrong


def _forms(marker: str) -> set[bytes]:
    return {
        marker.encode(),
        quote(marker, safe="").encode(),
        base64.b64encode(marker.encode()).rstrip(b"="),
        base64.urlsafe_b64encode(marker.encode()).rstrip(b"="),
    }


def _has(content: bytes, forms: set[bytes]) -> bool:
    return any(form in content for form in forms)


def connect(url: str) -> psycopg.Connection:
    """The checker's own connection, past the proxy."""
    return psycopg.connect(url, autocommit=True, application_name=f"reader check {os.getpid()}")
