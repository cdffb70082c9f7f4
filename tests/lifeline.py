"""A temporary folder whose servers and files do not outlive the process that asked for it.

    with lifeline.folder("pipeline-bench-") as folder: …

However that process ends (kill -9 included), a second one notices, ends every process that belongs
to the folder, and removes it. A process belongs to a folder when it works below it, as a PostgreSQL
server does in its cluster, or was started with MARK set to it.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MARK = "PIPELINE_TEST_FOLDER"


@contextmanager
def folder(prefix: str) -> Iterator[Path]:
    """A new temporary folder that other users may enter, for as long as the context lasts."""
    made, end = begin(prefix)
    try:
        yield made
    finally:
        end()


def begin(prefix: str):
    """Make the folder; returns its path and the function that ends what belongs to it."""
    made = Path(tempfile.mkdtemp(prefix=prefix))
    made.chmod(0o755)  # as a clone in a home folder is
    os.environ[MARK] = str(made)
    watcher = subprocess.Popen(
        [sys.executable, __file__, made],
        cwd="/",
        env={},
        stdin=subprocess.PIPE,  # it closes when this process ends
        start_new_session=True,
    )
    os.register_at_fork(after_in_child=watcher.stdin.close)  # a child that stays must not hold it

    def end() -> None:
        watcher.stdin.close()
        watcher.wait()
        os.environ.pop(MARK, None)

    return made, end


def part(name: str) -> Path:
    """A folder of this process in that of the one that started it, under the same lifeline."""
    made = Path(os.environ[MARK]) / name
    made.mkdir()
    made.chmod(0o755)
    os.environ[MARK] = str(made)
    return made


def processes(root: Path) -> list[int]:
    """The processes that belong to a folder, but for the one that asks."""
    roots = [root, *_moved(root)]
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        if int(entry.name) == os.getpid():
            continue
        with suppress(OSError):  # it ended meanwhile
            works_in = (entry / "cwd").readlink()
            is_below = any(works_in.is_relative_to(below) for below in roots)
            if is_below or _is_marked((entry / "environ").read_bytes(), root):
                found.append(int(entry.name))
    return found


def _is_marked(environment: bytes, root: Path) -> bool:
    mark = f"{MARK}={root}".encode()
    return any(each == mark or each.startswith(mark + b"/") for each in environment.split(b"\0"))


def _moved(root: Path) -> list[Path]:
    """The homes of servers that could not stand below the folder."""
    homes = []
    for folder, below, files in os.walk(root):  # which minds no folder that goes meanwhile
        below[:] = set(below) - {".venv", ".git", "cluster"}
        if "moved_to" in files and Path(folder).name == "postgres":
            with suppress(OSError):
                homes.append(Path(folder, "moved_to").read_text().strip())
    return [Path(home) for home in homes if home]


def clean(root: Path) -> None:
    """End all processes that belong to a folder; remove it and the homes of its servers."""
    homes = _moved(root)
    while left := processes(root):
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)
    for path in (*homes, root):
        shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.SIG_IGN)
    sys.stdin.read()
    clean(Path(sys.argv[1]))
