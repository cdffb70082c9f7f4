"""A clone of this project as a user has it, made from the work tree as it is."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import lifeline
from patience import end_of
from warm import Warm

from pipeline.settings import ROOT


class Clone:
    """A clone of this project with an environment of its own, as a user has it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.warmth: dict[str, str] = {}
        self.environment = {
            "HOME": str(folder.parent / "home"),
            "PATH": os.environ["PATH"],
            "STASH": "off",
            "EXPORTS": "none",  # few tests look at the downloads
            lifeline.MARK: os.environ[lifeline.MARK],
        }

    def run(self, *words: str, program: str = "run_pipeline.sh", **variables: str):
        """Run a command of the clone; returns the completed process, output as text.

        One that hangs fails the test with what it said and where it stood.
        """
        process = subprocess.Popen(
            [str(self.folder / program), *words],
            cwd="/",
            env=self.environment | {"PYTHONFAULTHANDLER": "1"} | self.warmth | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        what = f"{program} {' '.join(words)}"
        said, errors = end_of(process, what, self._where_it_stands)
        return subprocess.CompletedProcess(process.args, process.returncode, said, errors)

    @contextmanager
    def warm(self, is_wanted: bool = True) -> Iterator[None]:
        """Let `run` have its interpreters from a process that has everything imported."""
        if not is_wanted or sys.platform != "linux":
            yield
            return
        before = self.warmth
        warm = Warm(self.folder, self.environment)
        self.warmth = warm.environment
        try:
            yield
        finally:
            self.warmth = before
            warm.stop()

    def processes(self) -> dict[int, str]:
        """The processes that work in the clone, without the server's: id and command line."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if os.fsencode(self.folder) == bytes((entry / "cwd").readlink()):
                    words = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(entry.name)] = words.decode(errors="replace")
            except OSError:
                continue
        return found

    def _where_it_stands(self) -> str:
        """What a run that hangs waits for: its processes, the server's sessions, its stacks."""
        found = [f"{number} {words}" for number, words in self.processes().items()]
        sessions = """select pid, datname, application_name, state, wait_event_type, wait_event,
            pg_blocking_pids(pid), now() - xact_start, left(query, 200) from pg_stat_activity"""
        server = next(self.folder.glob("data/postgres/cluster/postmaster.pid"), None)
        if server:
            asked = [str(self.folder / "run_pipeline.sh"), "db", "psql", "--", "-XAtc", sessions]
            with suppress(subprocess.TimeoutExpired):
                words = {"env": self.environment, "cwd": "/", "timeout": 30}
                found.append(subprocess.run(asked, capture_output=True, text=True, **words).stdout)
        for number, words in self.processes().items():
            if "pipeline.cli.child" in words:
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGABRT)  # the interpreter prints where it is
        time.sleep(2)
        logs = sorted(self.folder.glob("data/logs/*.log"), key=lambda path: path.stat().st_mtime)
        return "\n".join([*found, *(path.read_text()[-5000:] for path in logs[-1:])])

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


def shrink(clone: Clone, sources: Iterable[str], models: Mapping[str, str]) -> None:
    """Leave some sources in a clone, and a dbt project of models by their paths."""
    for stage, end in (("api", "py"), ("preprocess", "py"), ("load", "sql")):
        for path in (clone.folder / stage).glob(f"*.{end}"):
            if path.stem.removeprefix("test_") not in (*sources, "conftest"):
                path.unlink()
    for path in (clone.folder / "data/bundled").iterdir():
        if path.name not in sources:
            shutil.rmtree(path)
    project = clone.folder / "transform"
    for folder in ("models", "tests"):
        shutil.rmtree(project / folder, ignore_errors=True)
    for name, text in models.items():
        path = project / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
