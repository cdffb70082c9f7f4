"""The n-th system call of a step fails, or is its last one.

`faulty.c` is preloaded into a process that has everything imported (`zygote.py`) and forks a child
for each step, so that a step does not cost the start of Python. Counted are calls that change files
below the clone, and connections, in the step's own process and in those that it starts with its
environment (the data tests, the scripts of a stage). Not counted: git, which gets another
environment, git-lfs, whose calls bypass libc, and PostgreSQL, which is responsible for its own
writes.
"""

import contextlib
import errno
import json
import mmap
import os
import select
import signal
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from patience import STANDSTILL, Watch, end_of, not_counted

HERE = Path(__file__).parent
COUNT, ONCE, FROM_THEN_ON, KILL = range(4)
_FIELDS = struct.Struct("=7q512s512s")  # struct page of faulty.c
KINDS = {
    "ENOSPC once": (ONCE, errno.ENOSPC),
    "EIO once": (ONCE, errno.EIO),
    "ENOSPC from then on": (FROM_THEN_ON, errno.ENOSPC),
    "EIO from then on": (FROM_THEN_ON, errno.EIO),
    "SIGKILL": (KILL, signal.SIGKILL),
    "SIGTERM": (KILL, signal.SIGTERM),
}


@dataclass(frozen=True)
class Done:
    """How a step ended: its exit code (below 0: the signal), what it printed."""

    code: int
    output: str


def compile_library(folder: Path) -> Path:
    """Compile `faulty.c`; returns the library to preload."""
    library = folder / "faulty.so"
    flags = ["-std=gnu11", "-O1", "-shared", "-fPIC", "-Wall", "-Werror"]
    subprocess.run(["cc", *flags, "-o", library, HERE / "faulty.c", "-ldl"], check=True)
    return library


class Page:
    """The memory that the injector shares with every process of a step."""

    def __init__(self, path: Path, root: Path):
        path.write_bytes(bytes(mmap.PAGESIZE))
        self.path, self._root = path, str(root).encode() + b"/"
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def arm(self, at: int = 0, kind: str = "") -> None:
        """Count from now on; let the `at`-th call fail as `kind` says (0: none)."""
        action, number = KINDS.get(kind, (COUNT, 0))
        _FIELDS.pack_into(self._memory, 0, 1, 0, at, action, number, 0, 0, self._root, b"")

    def disarm(self) -> tuple[int, str]:
        """Stop counting; returns the calls that were counted, and the one that failed or ''."""
        _, count, *_, fired, _, what = _FIELDS.unpack_from(self._memory)
        struct.pack_into("=q", self._memory, 0, 0)
        return count, what.rstrip(b"\0").decode("utf-8", "replace") if fired else ""

    def leader(self) -> int:
        """The process of the step, which leads a group of its own."""
        return _FIELDS.unpack_from(self._memory)[5]


class Zygote:
    """A process that has the clone's modules imported, and forks a child for each step."""

    def __init__(self, clone: Path, environment: dict[str, str], library: Path, page: Page):
        self._page, self._output = page, page.path.with_name("output")
        self._process = subprocess.Popen(
            [clone / ".venv/bin/python", HERE / "zygote.py", clone, page.path, self._output],
            cwd=clone,
            env=environment | {"LD_PRELOAD": str(library), "INJECTION_PAGE": str(page.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout.readline() == "ready\n"

    def run(self, words: list[str], environment: dict[str, str]) -> Done:
        """Run a script or module with its arguments in a child; one that hangs is ended."""
        asked = {"words": words, "environment": environment}
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        self._await_answer()
        code = int(self._process.stdout.readline())
        return Done(code, self._output.read_text("utf-8", "replace"))

    def _await_answer(self) -> None:
        with not_counted(threading.get_native_id()):
            watch = Watch()
            while not select.select([self._process.stdout], [], [], 1)[0]:
                if watch.still_for() > STANDSTILL:
                    with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                        os.killpg(self._page.leader(), signal.SIGKILL)
                    watch = Watch()

    def stop(self) -> None:
        """End the process: waiting for it closes its input."""
        end_of(self._process, "the zygote")


def still_running(page: Page) -> list[str]:
    """The processes that a step left behind, by their command lines."""
    mark = b"INJECTION_STEP=" + os.fsencode(page.path)
    left = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                left.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it ended meanwhile
    return left


def is_able() -> bool:
    """Whether this machine has what the injector needs: Linux and a C compiler."""
    from shutil import which

    return sys.platform == "linux" and which("cc") is not None
