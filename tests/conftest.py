"""What the tests stand on: settings of their own, a publisher on loopback, a database, a clone."""

import gc
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import example_source
import lifeline
import psycopg
import pytest
import servers
import small_clone
import watchdog
from clone import Clone, make_clone
from publisher import Publisher, serving
from small_clone import Small

from pipeline import embedded, settings
from pipeline.settings import ROOT, Settings

CAPTURES = ROOT.parent / "shared" / "captures"
collect_ignore = ["example"]  # its data tests run in the nights of the tests that use it


OF_A_DATABASE = {"server_settings", "debian_url"}
OF_A_CLONE = {"clone", "small", "emptied"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long form of every test that has one")
    parser.addoption("--fast", action="store_true", help="without a database and without a clone")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: runs with --long alone")
    config.addinivalue_line("markers", "database: starts a server of its own")
    longest = watchdog.LONGEST_OF_THE_LONG if config.getoption("--long") else watchdog.LONGEST
    if hasattr(config, "workerinput"):  # the process that started this one keeps the lifeline
        lifeline.part(config.workerinput["workerid"])
    else:
        folder, config.end_of_folder = lifeline.begin(
            "tests-"
        )  # short: the path of a socket has a limit
        config.option.basetemp = config.option.basetemp or str(folder / "tmp")
    config.pluginmanager.register(watchdog.Watchdog(longest))


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "end_of_folder"):
        config.end_of_folder()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def is_left_out(item: pytest.Item) -> bool:
        if item.get_closest_marker("long") and not config.getoption("--long"):
            return True
        fixtures = set(item.fixturenames)
        is_fast = not (
            fixtures & (OF_A_DATABASE | OF_A_CLONE) or item.get_closest_marker("database")
        )
        return config.getoption("--fast") and not is_fast

    left_out = [item for item in items if is_left_out(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = _longest_first([item for item in items if item not in set(left_out)])


def _longest_first(items: list[pytest.Item]) -> list[pytest.Item]:
    """Files with clones come first, then those with a database: short ones fill up the end."""
    turns: dict[Path, int] = {}
    for item in items:
        fixtures = set(item.fixturenames)
        turn = 0 if fixtures & OF_A_CLONE else 1 if fixtures & OF_A_DATABASE else 2
        turns[item.path] = min(turn, turns.get(item.path, turn))
    return sorted(items, key=lambda item: turns[item.path])


def pytest_collection_finish() -> None:
    """What was collected stays to the end: the collector of garbage need not look at it again."""
    gc.collect()
    gc.freeze()


class FailuresAtOnce:
    """Names a failed test, and why it failed, at the moment it does; the whole story comes last."""

    def __init__(self, config: pytest.Config):
        self.config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = crash.message if crash else str(report.longrepr)
            where = f"{crash.path}:{crash.lineno}" if crash else report.when
            terminal.write_line(f"\nFAILED {report.nodeid} ({where}): {why[:2000]}", red=True)


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(FailuresAtOnce(session.config))


@pytest.fixture(scope="session")
def is_long(request: pytest.FixtureRequest) -> bool:
    """Whether the long forms were asked for: `./run_tests.sh --long`."""
    return request.config.getoption("--long")


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test of this process reaches beyond this machine."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in (
            "127.0.0.1",
            "::1",
            "localhost",
        ):
            raise OSError(f"a test tried to reach {address[0]}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The default settings, with a data folder of the test's own and no stash."""
    for name, value in settings.DEFAULTS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("STASH", "off")
    settings.load.cache_clear()
    yield settings.load()
    settings.load.cache_clear()


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the example source in it, which is the only source while the test lasts."""
    return example_source.use(tmp_path / "example", monkeypatch)


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A temporary folder that other users may enter, as a clone in a home folder is."""
    folder = Path(tempfile.mkdtemp(dir=os.environ[lifeline.MARK]))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def server_settings(open_folder: Path) -> Iterator[Settings]:
    """Settings whose embedded PostgreSQL runs; it is stopped after the last test."""
    here = Settings(
        data_dir=open_folder / "server",
        database_url="",
        stash="off",
        mirrors={},
        fetch_patience=0,
        source_timeout=60,
        source_memory_mb=0,
        publish_patience=5,
        contact="tests",
    )
    here.data_dir.mkdir()
    embedded.ensure_running(here, lambda text: None)
    yield here
    embedded.stop(here)


@pytest.fixture(scope="session")
def debian_url(open_folder: Path) -> Iterator[str]:
    """A superuser's URL on Debian's PostgreSQL 15, in a cluster of the tests' own."""
    if not (servers.DEBIAN / "postgres").exists():
        pytest.skip("Debian's PostgreSQL 15 is not installed")
    with servers.debian(open_folder / "debian") as url:
        yield url


@pytest.fixture
def database_url(server_settings: Settings) -> Iterator[str]:
    """The URL of an empty database of the test's own; it has the same name in every test."""
    with psycopg.connect(embedded.url(server_settings), autocommit=True) as connection:
        connection.execute("drop database if exists test with (force)")
        connection.execute("create database test")
        yield embedded.url(server_settings, "test")
        connection.execute("drop database test with (force)")


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    """A server that misbehaves as the test tells it to."""
    with serving() as known:
        yield known


@pytest.fixture(scope="module")
def clone(open_folder: Path, request: pytest.FixtureRequest, is_long: bool) -> Iterator[Clone]:
    """A clone in a folder with a space in its name; its server is stopped after the module."""
    made = make_clone(open_folder / f"a clone for {request.module.__name__.rpartition('.')[2]}")
    with made.warm(not is_long):
        yield made
        made.run("db", "stop")
    shutil.rmtree(made.folder)


@pytest.fixture(scope="session")
def small(open_folder: Path, is_long: bool) -> Iterator[Small]:
    """A clone with two small sources of its own, after its first night.

    All modules of a test process share it: each test leaves it well, as a night must be.
    """
    with small_clone.first_night(open_folder / "a small clone", not is_long) as made:
        yield made
