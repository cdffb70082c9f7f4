"""What the tests stand on: settings of their own, a publisher on loopback, a database, a clone."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psycopg
import pytest

from pipeline import postgres, settings
from pipeline.settings import ROOT, Settings

CAPTURES = ROOT.parent / "shared" / "captures"


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


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A temporary folder that other users may enter, as a clone in a home folder is."""
    folder = Path(tempfile.mkdtemp(prefix="pipeline-test-"))
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
    postgres.ensure_running(here, lambda text: None)
    yield here
    postgres.stop(here)


@pytest.fixture
def database_url(server_settings: Settings, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database of the test's own."""
    name = f"test_{abs(hash(request.node.nodeid)):x}"
    with psycopg.connect(postgres.url(server_settings), autocommit=True) as connection:
        connection.execute(f"create database {name}")
        yield postgres.url(server_settings, name)
        connection.execute(f"drop database {name} with (force)")


@dataclass
class Answer:
    """One scripted answer. `hang` seconds pass before it; `cut` sends only so many bytes."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang: float = 0
    cut: int | None = None
    length: str | None = "right"  # the Content-Length sent; None sends none


@dataclass
class Publisher:
    """A publisher on loopback: answers by path, in order, the last one again and again."""

    url: str
    answers: dict[str, list[Answer] | Callable]
    requests: list[BaseHTTPRequestHandler] = field(default_factory=list)

    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [request.path for request in self.requests]


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    """A server that misbehaves as the test tells it to."""
    with serving() as known:
        yield known


@contextmanager
def serving() -> Iterator[Publisher]:
    """A publisher for as long as the context lasts."""
    known = Publisher("", {})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            known.requests.append(self)
            scripted = known.answers.get(self.path.partition("?")[0])
            if callable(scripted):
                answer = scripted(self)
            elif scripted:
                answer = scripted.pop(0) if len(scripted) > 1 else scripted[0]
            else:
                answer = Answer(b"no such page", 404)
            _send(self, answer)

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    known.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    yield known
    server.shutdown()
    server.server_close()


def _send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    import time

    time.sleep(answer.hang)
    handler.send_response(answer.status)
    for name, value in answer.headers.items():
        handler.send_header(name, value)
    if answer.length is not None and answer.status != 304:
        length = str(len(answer.body)) if answer.length == "right" else answer.length
        handler.send_header("Content-Length", length)
    else:
        handler.close_connection = answer.length is None
    handler.end_headers()
    if answer.status != 304:
        handler.wfile.write(answer.body if answer.cut is None else answer.body[: answer.cut])
    if answer.cut is not None:
        handler.close_connection = True


class Clone:
    """A clone of this project with an environment of its own, as a user has it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = {
            "HOME": str(folder.parent / "home"),
            "PATH": os.environ["PATH"],
            "STASH": "off",
        }

    def run(self, *words: str, program: str = "run_pipeline.sh", timeout=300, **variables: str):
        """Run a command of the clone; returns the completed process, output as text."""
        return subprocess.run(
            [str(self.folder / program), *words],
            cwd="/",
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def query(self, statement: str) -> list[list[str]]:
        """The rows of a query on the clone's dev database, as text."""
        done = self.run("db", "psql", "--", "-XAtqc", statement)
        assert done.returncode == 0, done.stderr
        return [line.split("|") for line in done.stdout.splitlines()]


def make_clone(folder: Path) -> Clone:
    """Clone the work tree as it is, uncommitted changes included, and link its environment."""
    (folder.parent / "home").mkdir(exist_ok=True)
    git = ["git", "-c", "init.defaultBranch=main", "-c", "user.name=t", "-c", "user.email=t@t"]
    folder.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "as it is"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    subprocess.run(["cp", "-al", str(ROOT / ".venv"), str(folder / ".venv")], check=True)
    for path in [folder / ".venv" / "root", *folder.glob(".venv/lib/*/site-packages/pipeline.pth")]:
        path.unlink()
        path.write_text(f"{folder}\n")
    return Clone(folder)


@pytest.fixture(scope="module")
def clone(open_folder: Path, request: pytest.FixtureRequest) -> Iterator[Clone]:
    """A clone in a folder with a space in its name; its server is stopped after the module."""
    made = make_clone(open_folder / f"a clone for {request.module.__name__.rpartition('.')[2]}")
    yield made
    made.run("db", "stop")
    shutil.rmtree(made.folder)
