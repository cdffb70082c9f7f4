"""A clone of this project as a user has it, made from the work tree as it is."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.settings import ROOT


class Clone:
    """A clone of this project with an environment of its own, as a user has it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = {
            "HOME": str(folder.parent / "home"),
            "PATH": os.environ["PATH"],
            "STASH": "off",
        }

    def run(self, *words: str, program: str = "run_pipeline.sh", timeout=240, **variables: str):
        """Run a command of the clone; returns the completed process, output as text.

        One that hangs fails the test with what it said, before pytest's own limit hides that.
        """
        try:
            return subprocess.run(
                [str(self.folder / program), *words],
                cwd="/",
                env=self.environment | variables,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as error:
            said = b"".join(filter(None, (error.stdout, error.stderr))).decode(errors="replace")
            pytest.fail(f"{program} {' '.join(words)} hung for {timeout} s, and said\n{said}")

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
