"""The dev database: connections with the same session everywhere, or clear errors."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import psycopg
import pytest
from patience import Stopwatch, eventually
from psycopg.conninfo import conninfo_to_dict
from servers import PASSWORD, new_database

from pipeline import database, embedded, settings
from pipeline.cli.console import RunConsole
from pipeline.cli.run_record import RunRecord
from pipeline.database import ledger, ledger_versions, locks
from pipeline.database.connection import SESSION
from pipeline.errors import BusyError, PipelineError, SetupError, SourceError
from pipeline.settings import Settings


@pytest.fixture
def place(server_settings: Settings, database_url: str) -> Settings:
    return replace(server_settings, database_url=database_url)


@pytest.fixture
def owner(place: Settings) -> Iterator[psycopg.Connection]:
    with database.connect(place) as connection:
        yield connection


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.database.connection.PATIENCE", 0)


def silent(text: str) -> None:
    raise AssertionError(f"unexpected message: {text}")


def value(connection: psycopg.Connection, statement: str):
    return connection.execute(statement).fetchone()[0]


def test_the_embedded_server_is_found(server_settings):
    with database.connect(server_settings, silent) as connection:
        assert connection.autocommit
        assert connection.info.dbname == "dev"
    assert conninfo_to_dict(database.url(server_settings))["user"] == "postgres"


def test_every_session_has_the_same_settings_whatever_an_administrator_set(place, owner):
    for name, odd in {
        "statement_timeout": "'5s'",
        "idle_session_timeout": "'5s'",
        "timezone": "'Asia/Tokyo'",
        "datestyle": "'SQL, DMY'",
        "search_path": "public",
        "default_transaction_read_only": "on",
        "client_encoding": "'LATIN1'",
    }.items():
        owner.execute(f"alter database {owner.info.dbname} set {name} = {odd}")
    with database.connect(place) as connection:
        wanted = SESSION | {"client_encoding": "UTF8"}
        wanted |= {name: "0" for name in wanted if name.startswith("tcp_")}  # a Unix socket
        found = {name: value(connection, f"show {name}") for name in wanted}
    assert found == wanted


def test_prepare_can_be_repeated_and_run_by_several_processes(place, owner):
    errors: list[Exception] = []

    def prepare():
        try:
            with database.connect(place) as connection:
                database.prepare(connection)
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)

    several = [threading.Thread(target=prepare) for _ in range(6)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()
    database.prepare(owner)
    assert errors == []
    undescribed = """select count(*) from pg_class where relnamespace = 'pipeline'::regnamespace
        and relkind = 'r' and obj_description(oid) is null"""
    assert value(owner, undescribed) == 0


@pytest.mark.parametrize(
    ("text", "type_name", "expected"),
    [
        ("1.10", "numeric", True),
        ("one", "numeric", False),
        ("", "integer", False),
        ("99999999999", "integer", False),
        ("2018-02-30", "date", False),
        ("2018-02-28", "date", True),
        ("maybe", "boolean", False),
        ("12345", "numeric(4, 0)", False),
        ("x'); drop schema pipeline; --", "numeric", False),
        (None, "numeric", None),
    ],
)
@pytest.mark.parametrize("server", ["embedded", "debian 15"])
def test_whether_a_cast_would_succeed(request, server, text, type_name, expected):
    is_embedded = server == "embedded"
    url = request.getfixturevalue("database_url" if is_embedded else "debian_url")
    here = replace(request.getfixturevalue("server_settings"), database_url=url)
    with database.connect(here) as connection:
        database.prepare(connection)
        asked = connection.execute("select pipeline.is_valid(%s, %s)", [text, type_name])
        assert asked.fetchone() == (expected,)


# Errors


def test_an_unreachable_server_gives_one_line_without_the_password(here, impatient, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:s3cr3t@127.0.0.1:9/dev")
    settings.load.cache_clear()
    with pytest.raises(PipelineError, match=r"cannot be reached.*refused") as caught:
        database.connect(settings.load())
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_a_server_that_is_starting_is_waited_for(place, monkeypatch):
    real, tries = psycopg.connect, []

    def connect(*words, **more):
        tries.append(1)
        if len(tries) < 3:
            raise psycopg.OperationalError("FATAL: the database system is starting up")
        return real(*words, **more)

    monkeypatch.setattr(psycopg, "connect", connect)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    database.connect(place).close()
    assert len(tries) == 3


def test_a_wrong_password_is_not_tried_again(debian_url, server_settings):
    watch = Stopwatch()
    wrong = debian_url.replace(quote(PASSWORD, safe=""), "wrong")
    with pytest.raises(SetupError, match=r"^the password in DATABASE_URL is wrong: .*failed"):
        database.connect(replace(server_settings, database_url=wrong))
    without = debian_url.replace(f":{quote(PASSWORD, safe='')}", "")
    with pytest.raises(SetupError, match=r"^DATABASE_URL has no password, and the server asks"):
        database.connect(replace(server_settings, database_url=without))
    assert watch.seconds() < 5


def test_a_database_that_does_not_exist_is_named(place):
    nowhere = place.database_url.replace("/test?", "/nowhere?")
    with pytest.raises(PipelineError, match="does not exist") as caught:
        database.connect(replace(place, database_url=nowhere))
    assert caught.value.remedy == "create it, or correct it in DATABASE_URL"


@pytest.mark.parametrize(
    "given",
    [
        "sslmode=nonsense",
        "channel_binding=maybe",
        "target_session_attrs=x",
        "gssencmode=x",
        "ssl_min_protocol_version=SSLv9",
        "load_balance_hosts=x",
        "require_auth=foo",
        "port=99999",
        "host=a,b&port=1,2,3",
    ],
)
def test_a_parameter_that_cannot_be_used_is_78_and_not_tried_again(place, monkeypatch, given):
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it was tried again"))
    parts = [part for part in place.database_url.split("&") if part.split("=")[0] not in given]
    with pytest.raises(SetupError, match=r"^DATABASE_URL cannot be used: ") as caught:
        database.connect(replace(place, database_url="&".join([*parts, given])))
    assert caught.value.exit_code == 78


def test_a_server_without_a_free_connection_names_the_limit(place, owner, impatient):
    owner.execute(f"alter database {owner.info.dbname} connection limit 0")
    owner.execute("create role weak login password 'x'")
    try:
        weak = place.database_url.replace("postgres@", "weak:x@")
        with pytest.raises(PipelineError, match="too many connections for database") as caught:
            database.connect(replace(place, database_url=weak))
        assert caught.value.exit_code == 1
    finally:
        owner.execute("drop role weak")


def test_a_malformed_url_is_refused(server_settings):
    odd = replace(server_settings, database_url="postgresql://[::1/dev?nonsense=1")
    with pytest.raises(SetupError, match="DATABASE_URL is not a valid connection string") as caught:
        database.connect(odd)
    assert caught.value.exit_code == 78


def test_a_server_that_is_too_old_is_refused(place, monkeypatch):
    monkeypatch.setattr("pipeline.database.connection.OLDEST", 99)
    with pytest.raises(SetupError, match="is too old: 99 to 18 are supported"):
        database.connect(place)


def test_a_database_that_cannot_hold_every_text_is_refused(server_settings, database_url):
    options = "encoding 'SQL_ASCII' locale 'C' template template0"
    with (
        new_database(database_url, "in_ascii", options) as url,
        pytest.raises(SetupError, match="is in SQL_ASCII, which cannot hold every text"),
    ):
        database.connect(replace(server_settings, database_url=url))


def test_a_role_that_may_not_create_is_told_what_to_grant(place, owner):
    owner.execute("create role weak login")
    try:
        owner.execute("set session authorization weak")
        with pytest.raises(SetupError, match=r"permission denied.*grant create on database") as e:
            database.prepare(owner)
        assert 'to "weak"' not in e.value.what
        assert e.value.exit_code == 78
    finally:
        owner.execute("reset session authorization")
        owner.execute("drop role weak")


def test_a_standby_is_recognised(place, owner):
    owner.execute("set default_transaction_read_only = on")
    with pytest.raises(SetupError, match="can only be read"):
        database.prepare(owner)


def test_one_run_at_a_time_on_one_database(place, owner):
    database.hold_run_lock(owner)
    with database.connect(place) as other, pytest.raises(BusyError) as caught:
        database.hold_run_lock(other)
    assert caught.value.exit_code == 75
    owner.execute("select pg_advisory_unlock_all()")
    with database.connect(place) as other:
        database.hold_run_lock(other)


def test_the_lock_of_a_run_that_has_just_ended_is_waited_for(place, owner, monkeypatch):
    """Its session may end a moment after its process."""
    database.hold_run_lock(owner)
    monkeypatch.setattr("pipeline.database.locks.ENDED_LOCK_PATIENCE", 30)
    letting_go = threading.Timer(0.5, lambda: owner.execute("select pg_advisory_unlock_all()"))
    letting_go.start()
    RunRecord(place, SimpleNamespace(say=print, log=print), "tonight", []).connect()
    letting_go.join()


def test_the_lock_of_a_connection_that_was_lost_is_waited_for(place, owner):
    database.hold_run_lock(owner)
    letting_go = threading.Timer(0.5, lambda: owner.execute("select pg_advisory_unlock_all()"))
    with database.connect(place) as other:
        letting_go.start()
        database.hold_run_lock(other, patience=30)
    letting_go.join()


def test_a_run_that_lost_its_connection_waits_for_its_own_lock(place, owner, tmp_path):
    """Its server process may still hold it: here another session does for a while."""
    record = RunRecord(place, RunConsole(tmp_path, "run"), "run", [])
    lost = record.connect()
    owner.execute("select pg_terminate_backend(%s, 10000)", [lost.info.backend_pid])
    database.hold_run_lock(owner)
    letting_go = threading.Timer(0.5, lambda: owner.execute("select pg_advisory_unlock_all()"))
    letting_go.start()
    assert record.connect() is not lost
    letting_go.join()


def test_a_connection_that_a_router_dropped_blocks_nothing(place, owner, tmp_path):
    """The client gets an error; the server does not notice, and its end stays open."""
    record = RunRecord(place, RunConsole(tmp_path, "run"), "run", [])
    lost = record.connect()
    with socket.socket(fileno=os.dup(lost.fileno())), Path(os.devnull).open() as nowhere:
        os.dup2(nowhere.fileno(), lost.fileno())
        watch = Stopwatch()
        assert record.connect() is not lost
        assert watch.seconds() < locks.LOST_LOCK_PATIENCE / 2
    record.connection.close()


SLEEP = """
import sys
sys.path.insert(0, {root!r})
from pipeline import database
connection = database.connect_to({url!r}, "DATABASE_URL")
print(connection.info.backend_pid, flush=True)
connection.execute("select pg_sleep(600)")
"""


def test_the_server_ends_the_statement_of_a_process_that_was_killed(place, owner):
    program = SLEEP.format(root=str(settings.ROOT), url=place.database_url)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    found = f"select count(*) from pg_stat_activity where pid = {process.stdout.readline()}"
    sleeping = f"{found} and query like '%pg_sleep%'"
    eventually(lambda: value(owner, sleeping) == 1, "its statement")
    process.kill()
    process.communicate()
    eventually(lambda: value(owner, found) == 0, "the end of its statement")


def test_a_server_that_cannot_check_its_client_is_used(place, monkeypatch):
    monkeypatch.setattr(
        "pipeline.database.connection.CHECK_INTERVAL", ("client_connection_check_interval", "-1")
    )
    with database.connect(place) as connection:
        assert value(connection, "show client_connection_check_interval") == "0"


@pytest.mark.parametrize(
    ("error", "kind", "is_lost"),
    [
        (psycopg.errors.DiskFull("no space"), PipelineError, False),
        (psycopg.errors.InsufficientPrivilege("no"), SetupError, False),
        (psycopg.errors.AdminShutdown("bye"), PipelineError, True),
        (psycopg.OperationalError("server closed the connection"), PipelineError, True),
        (psycopg.InterfaceError("the connection is closed"), PipelineError, True),
        (psycopg.errors.ProgramLimitExceeded("row is too big"), SourceError, False),
        (psycopg.errors.DeadlockDetected("deadlock detected"), SourceError, False),
        (psycopg.errors.BadCopyFileFormat("missing data"), SourceError, False),
        (psycopg.errors.UndefinedTable("no such table"), SourceError, False),
    ],
)
def test_errors_of_the_server_end_the_run_and_errors_of_data_hold_a_source(error, kind, is_lost):
    assert type(database.explain(error, "it failed")) is kind
    assert database.is_lost(error) is is_lost


# The ledger


def test_a_session_that_locks_the_ledger_is_waited_for_briefly(place, owner, monkeypatch):
    database.prepare(owner)
    monkeypatch.setattr("pipeline.database.setup.LOCK_TIMEOUT", "100ms")
    with psycopg.connect(place.database_url) as other:
        other.execute("lock table pipeline.steps in row exclusive mode")  # as an update does
        database.prepare(owner)  # the ledger has the newest version, so nothing is waited for
        newer = (*ledger_versions.STEPS, "alter table pipeline.steps add more text")
        monkeypatch.setattr(ledger_versions, "STEPS", newer)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            database.prepare(owner)
    database.prepare(owner)


def test_the_ledger_returns_the_newest_step_of_each_name(place, owner):
    database.prepare(owner)
    ledger.begin(owner, "one", "night", "2026-01-01T00:00:00Z")
    ledger.begin(owner, "one", "night", "2026-01-01T00:00:00Z")  # once is enough
    facts = {"outcome": "new", "rows": 3, "columns": ["a"], "run": "one"}
    ledger.note(owner, "one", "load", "x", facts, "f1")
    ledger.note(owner, "one", "load", "x", {"outcome": "failed", "reason": "no"})
    ledger.note(owner, "one", "load", "y", {"outcome": "new"}, "f2")
    newest = ledger.newest(owner, "load")
    assert (newest["x"]["outcome"], newest["x"]["reason"]) == ("failed", "no")
    good = ledger.newest(owner, "load", ("new",))["x"]
    assert (good["fingerprint"], good["rows"], good["facts"]) == ("f1", 3, {"columns": ["a"]})
    assert ledger.newest(owner, "transform") == {}
    assert ledger.last_run(owner) is None
    ledger.end(owner, "one", 2, "degraded")
    assert ledger.last_run(owner)["exit_code"] == 2


# ./run_pipeline.sh db


def test_no_password_is_on_a_command_line(debian_url, here, monkeypatch):
    from pipeline.cli import db

    seen = {}

    def execve(program, words, environment):
        seen.update(words=words, environment=environment, program=program)

    monkeypatch.setenv("DATABASE_URL", debian_url)
    settings.load.cache_clear()
    monkeypatch.setattr("os.execve", execve)
    db.run("psql", ["-XAtc", "select 1 + 1"])
    assert seen["words"] == ["psql", "-XAtc", "select 1 + 1"]
    done = subprocess.run(
        [seen["program"], *seen["words"][1:]],
        env=seen["environment"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "2\n"


def test_commands_of_the_embedded_server(here, server_settings, monkeypatch, capsys):
    from pipeline.cli import db

    monkeypatch.setattr(settings, "load", lambda: server_settings)
    assert db.run("start", []) == db.run("url", []) == 0
    told, url = capsys.readouterr().out.splitlines()
    assert told == f"running: {url}"
    with psycopg.connect(url) as connection:
        assert connection.info.dbname == "dev"
    monkeypatch.setattr(settings, "load", lambda: here)
    assert db.run("stop", []) == 0
    assert capsys.readouterr().out == "it was not running\n"
    monkeypatch.undo()


def test_an_external_server_is_neither_started_nor_stopped(here, monkeypatch, capsys):
    from pipeline.cli import db

    monkeypatch.setenv("DATABASE_URL", "postgresql://me@127.0.0.1:9/dev")
    settings.load.cache_clear()
    assert db.run("url", []) == 0
    assert capsys.readouterr().out == "postgresql://me@127.0.0.1:9/dev\n"
    for action in ("start", "stop"):
        with pytest.raises(SetupError, match="its administrator starts"):
            db.run(action, [])


def test_variables_of_libpq_do_not_replace_the_embedded_server(server_settings, monkeypatch):
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
    monkeypatch.setenv("PGOPTIONS", "-c no_such_setting=1")
    with database.connect(server_settings) as connection:
        assert connection.execute("select current_database()").fetchone() == ("dev",)


# A second attempt


@pytest.fixture
def run(owner, monkeypatch):
    """A run of tonight, recorded in the ledger."""
    database.prepare(owner)
    monkeypatch.setattr("pipeline.database.retry.PAUSE", 0)
    monkeypatch.setenv("PIPELINE_RUN", "tonight")
    ledger.begin(owner, "tonight", "night", "2026-01-01T04:17:00Z")


LOST = "select pg_terminate_backend(pg_backend_pid())"


def failing(*errors: Exception | None):
    """Work that raises these errors in turn; None: its session is ended."""
    left = list(errors)

    def work(connection):
        if not left:
            return "done"
        if error := left.pop(0):
            raise error
        return connection.execute(LOST)

    work.left = left
    return work


def test_work_that_lost_its_session_is_repeated(place, run, capsys):
    assert database.retry_once(place, failing(None)) == "done"
    assert "the database went away (terminating connection" in capsys.readouterr().out


def test_work_is_repeated_only_once(place, run):
    with pytest.raises(psycopg.OperationalError):
        database.retry_once(place, failing(None, None))


@pytest.mark.parametrize(
    "error", [SourceError("a reader"), PipelineError("no room"), psycopg.errors.DataError("bad")]
)
def test_work_that_failed_for_another_reason_is_not_repeated(place, run, error):
    work = failing(error, error)
    with pytest.raises(type(error)):
        database.retry_once(place, work)
    assert len(work.left) == 1


def test_an_error_of_another_program_is_repeated_if_the_session_is_lost_too(place, run):
    def work(connection, met=[]):  # noqa: B006 - kept between calls
        if met:
            return "done"
        met.append(1)
        with contextlib.suppress(psycopg.Error):
            connection.execute(LOST)
        raise SourceError("pg_dump failed")

    assert database.retry_once(place, work) == "done"


def test_an_overtaken_run_repeats_nothing(place, run, owner):
    ledger.begin(owner, "another", "night", "2026-01-01T04:18:00Z")
    with pytest.raises(psycopg.OperationalError):
        database.retry_once(place, failing(None))


def test_the_embedded_server_is_started_before_a_publisher_is_asked(here, monkeypatch):
    started = []
    monkeypatch.setattr(embedded, "binaries", lambda: None)
    monkeypatch.setattr(
        embedded,
        "ensure_running",
        lambda *words: started.append(words) or "postgresql://h.invalid/x",
    )
    monkeypatch.setattr(database, "GLANCE", 0)
    screen = SimpleNamespace(say=print, log=print)
    RunRecord(here, screen, "tonight", []).check_database()
    assert started
