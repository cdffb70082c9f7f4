"""A process that has everything imported and forks a child for each interpreter of a clone.

A night of two sources starts a dozen interpreters, and what they import takes more than half of
the night's CPU: dbt alone two seconds. So a clone of the tests gets `warm_client.py`: each of its
interpreters that is started for a module of ours hands over its arguments, environment, folder and
open files to this process, passes signals on, and ends as the child ends. All else is as always:
`run_pipeline.sh`, the processes of a run and their ends, every file and statement.

Nothing of what a child did is remembered but the names of the modules that it imported, of our own
package and of the environment: they are imported here, so that the next child need not, and as the
next process of this kind begins.

Cold are the runs of `--long`, and those that tell the process itself: signals, kills, another
clock, a missing package (`Small.start`, or `WARM_START=""`).
"""

import atexit
import faulthandler
import gc
import importlib
import marshal
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from contextlib import suppress
from pathlib import Path

import lifeline
from warm_client import ADDRESS, LOW

TRIED: set[str] = set()  # modules; one that cannot be imported by itself is left to the children


class Warm:
    """The process, for as long as a clone has it."""

    def __init__(self, clone: Path, environment: dict[str, str]):
        folder = Path(tempfile.mkdtemp(prefix="warm-", dir=os.environ[lifeline.MARK]))
        address = folder / "socket"
        (packages,) = clone.glob(".venv/lib/*/site-packages")
        shutil.copy(Path(__file__).with_name("warm_client.py"), packages)
        (packages / "warm_client.pth").write_text("import warm_client\n")
        self._process = subprocess.Popen(
            [clone / ".venv/bin/python", __file__, clone, address],
            cwd="/",
            env=environment | {"OPENBLAS_NUM_THREADS": "1"},  # a child has no thread of it
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout.readline() == b"ready\n"
        self.environment = {ADDRESS: str(address)}

    def stop(self) -> None:
        """End it."""
        self._process.communicate()


def serve(address: str) -> None:
    """Fork a child for each that asks, until standard input ends."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    ended, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wakes)
    while os.open(os.devnull, os.O_RDONLY) < LOW:
        pass  # what libraries open as they are imported (proj.db) has numbers that no child needs
    os.write(1, b"ready\n")
    children: dict[int, tuple[socket.socket, int, bool]] = {}
    memory = Path(address).parents[1] / "modules of the warm"  # of this test process
    _learn(memory.read_text().split() if memory.exists() else [], memory)
    while True:
        ready = select.select([0, listener, ended], [], [])[0]
        if ended in ready:
            os.read(ended, 4096)
            _learn(_reap(children), memory)
        if listener in ready:
            client = listener.accept()[0]
            if asked := _asked(client):
                _fork(client, asked, children)
        if 0 in ready:
            return


def _asked(client: socket.socket) -> tuple | None:
    """What a client wants, with its files; None of one that was killed before it had said it."""
    said, files, *_ = socket.recv_fds(client, 4, LOW)
    size, body = int.from_bytes(said, "big"), b""
    while len(body) < size and (block := client.recv(size - len(body))):
        body += block
    if size and len(body) == size:
        return (*marshal.loads(body), files)
    for file in files:
        os.close(file)
    client.close()
    return None


def _fork(client: socket.socket, asked: tuple, children: dict) -> None:
    *_, leads, _, files = asked
    imported = os.memfd_create("imported")
    child = os.fork()
    if not child:
        for other, file, _ in children.values():
            other.close()
            os.close(file)
        _become(client.detach(), asked, imported)
    children[child] = client, imported, leads
    for file in files:
        os.close(file)
    with suppress(OSError):  # it went away; the child sees it too
        client.sendall(b"%d" % child)


def _reap(children: dict) -> list[str]:
    """Tell of children that ended; returns the modules that they had imported."""
    learned: list[str] = []
    while children:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            break
        client, imported, leads = children.pop(child)
        if leads:  # who started the client ends its group, which is the child's
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child, signal.SIGKILL)
        with suppress(OSError):
            client.sendall(b"%d" % status)
        client.close()
        learned += os.pread(imported, os.fstat(imported).st_size, 0).decode().split()
        os.close(imported)
    return learned


def _learn(names: list[str], memory: Path) -> None:
    """Import what children imported, and note it for the next process of this kind."""
    new = [name for name in names if name not in sys.modules and name not in TRIED]
    TRIED.update(new)
    for name in new:
        with suppress(Exception):
            importlib.import_module(name)
    if new:
        memory.write_text("\n".join(_worth_learning()))
        gc.collect()
        gc.freeze()


def _become(client: int, asked: tuple, imported: int) -> None:
    """Be the interpreter that the client was started as, from its first word to its end."""
    words, environment, folder, mask, _, places, files = asked
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.closerange(0, LOW)
    for place, file in zip(places, files, strict=True):
        os.dup2(file, place)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.umask(mask)
    os.chdir(folder)
    if os.read(client, 2) != b"go":  # it was killed before it could pass a signal on
        os._exit(1)
    threading.Thread(target=_end_with, args=(client,), daemon=True).start()
    code = _run(words, folder)
    os.write(imported, " ".join(_worth_learning()).encode())
    os._exit(code)


def _end_with(client: int) -> None:
    os.read(client, 1)
    os.killpg(0, signal.SIGKILL)


def _run(words: list[str], folder: str) -> int:
    """Run a module as the interpreter does; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(
            line_buffering=stream.isatty() or stream is sys.stderr,
            write_through=bool(os.environ.get("PYTHONUNBUFFERED")),
        )
    if os.environ.get("PYTHONFAULTHANDLER"):
        faulthandler.enable()
    warnings.filterwarnings("ignore", ".*found in sys.modules after import", RuntimeWarning)
    sys.path[0], sys.argv = folder, list(words)
    code: object = 0
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
    threading._shutdown()
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return 120
    return code & 0xFF if isinstance(code, int) else int(code is not None)


def _worth_learning() -> list[str]:
    """The modules that this process has, of the environment, of Python and of our own package."""
    import pipeline

    ours = str(Path(pipeline.__file__).parent)
    places = (ours, sys.prefix, sys.base_prefix)
    return [
        name
        for name, module in list(sys.modules.items())
        if name != "__main__" and str(getattr(module, "__file__", None)).startswith(places)
    ]


if __name__ == "__main__":
    os.umask(0o022)
    sys.path[0] = sys.argv[1]
    serve(sys.argv[2])
    os._exit(0)  # what was imported need not be torn down, and has nothing to say
