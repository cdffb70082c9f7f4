"""All stages on an external server: Debian's PostgreSQL 15, over TCP, with SCRAM."""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from clone import Clone
from psycopg import sql
from servers import PASSWORD

OWNER, DATABASE = "county team", "open data"


@pytest.fixture(scope="module")
def url(debian_url: str) -> str:
    """A role that owns only its database; both names must be quoted."""
    with psycopg.connect(debian_url, autocommit=True) as admin:
        for statement in (
            "create role {role} login nosuperuser password {password}",
            "create database {database} owner {role}",
            "revoke all on database {database} from public",
        ):
            admin.execute(
                sql.SQL(statement).format(
                    role=sql.Identifier(OWNER),
                    database=sql.Identifier(DATABASE),
                    password=sql.Literal(PASSWORD),
                )
            )
    after = debian_url.rpartition("@")[2]
    address = f"postgresql://{quote(OWNER)}:{quote(PASSWORD, safe='')}@{after}"
    return address.replace("/postgres", f"/{quote(DATABASE)}")


@pytest.fixture(scope="module")
def first_night(clone: Clone, url: str) -> Iterator[tuple[subprocess.CompletedProcess, set[str]]]:
    """An offline first night in the clone, and every command line seen meanwhile."""
    process = subprocess.Popen(
        [str(clone.folder / "run_pipeline.sh"), "--offline"],
        env=clone.environment | clone.warmth | {"DATABASE_URL": url},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seen: set[str] = set()
    while process.poll() is None:
        seen |= command_lines()
        time.sleep(0.02)
    said = process.stdout.read()
    yield subprocess.CompletedProcess(process.args, process.returncode, said), seen


def command_lines() -> set[str]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.add(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue  # it ended
    return found


def rows(url: str, statement: str) -> list[tuple]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchall()


def test_the_whole_path_works(first_night, url):
    done, _ = first_night
    assert done.returncode == 2, done.stdout
    assert "transform all models: published" in done.stdout, done.stdout
    ((version,),) = rows(url, "show server_version")
    assert version.startswith("15.")
    statement = "select count(*) > 3000, sum(earthquake_count) > 0 from transformed.{}"
    assert rows(url, statement.format("county_hazard_profile")) == [(True, True)]


def test_no_embedded_server_was_created(first_night, clone):
    assert not (clone.folder / "data" / "postgres").exists()


def test_casts_are_checked_without_the_function_of_newer_servers(first_night, url):
    cast = "select count(magnitude) > 1000, count(occurred_at) > 1000 from transformed.earthquakes"
    assert rows(url, cast) == [(True, True)]
    assert rows(url, "select count(*) from staging.uncastable_values") == [(0,)]


def test_a_second_night_changes_nothing(first_night, clone, url):
    done = clone.run("--offline", DATABASE_URL=url)
    assert done.returncode == 2, done.stdout
    assert "transform all models: unchanged" in done.stdout


def test_a_published_table_is_replaced_by_the_next(first_night, clone, url):
    with psycopg.connect(url, autocommit=True) as somebody:
        somebody.execute("delete from transformed.county_unemployment where county_fips < '02'")
        somebody.execute("select pg_stat_force_next_flush()")
    again = clone.run("transform", DATABASE_URL=url)
    assert again.returncode == 0, again.stdout
    assert "transform all models: published" in again.stdout
    counted = "select count(*) filter (where county_fips < '02') from transformed.{}"
    assert rows(url, counted.format("county_unemployment"))[0][0] > 60


def test_commands_use_the_server(first_night, clone, url):
    words = ("db", "psql", "--", "-XAtc", "select current_user || ' in ' || current_database()")
    asked = clone.run(*words, DATABASE_URL=url)
    assert asked.stdout == f"{OWNER} in {DATABASE}\n", asked.stderr
    assert clone.run("status", DATABASE_URL=url).returncode == 2
    doctor = clone.run("doctor", DATABASE_URL=url)
    assert doctor.returncode == 0, doctor.stdout
    assert re.search(r"version +PostgreSQL 15\.", doctor.stdout)
    assert PASSWORD not in doctor.stdout
    assert quote(PASSWORD, safe="") not in doctor.stdout
    assert clone.run("db", "stop", DATABASE_URL=url).returncode == 78


def test_the_password_is_nowhere(first_night, clone, url):
    done, command_lines_seen = first_night
    assert any("pipeline.stages.transform" in line for line in command_lines_seen)
    wrong = clone.run("load", DATABASE_URL=url.replace("/open%20data", "/nowhere"))
    assert wrong.returncode == 1, wrong.stdout
    texts = [done.stdout, wrong.stdout, wrong.stderr, *command_lines_seen]
    for table in ("pipeline.runs", "pipeline.steps"):
        texts += [str(row) for row in rows(url, f"select * from {table}")]
    data = clone.folder / "data"
    texts += [
        path.read_bytes().decode("utf-8", "replace")
        for path in data.rglob("*")
        if path.is_file() and data / "bundled" not in path.parents
    ]
    for form in (PASSWORD, quote(PASSWORD, safe=""), PASSWORD.encode().hex()):
        assert [text[:200] for text in texts if form in text] == []
