"""One child process of a run: `python -m pipeline.cli.child LIFELINE MEMORY_MB SCRIPT|-m MODULE …`.

A child must not outlive the run that started it, nor eat the machine. LIFELINE is the reading
end of a pipe whose writing end the run holds: when the run dies, however it dies, the pipe
closes and the child ends with all it started.
"""

import contextlib
import os
import resource
import runpy
import signal
import sys
import threading


def main() -> None:
    """Set the limits, then become the script or module named on the command line."""
    lifeline, memory_mb, *words = sys.argv[1:]
    threading.Thread(target=_end_with_the_run, args=(int(lifeline),), daemon=True).start()
    _limit_memory(int(memory_mb))
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path[0] = os.path.dirname(words[0])  # noqa: PTH120 - as the interpreter sets it
        runpy.run_path(words[0], run_name="__main__")


def _end_with_the_run(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


def _limit_memory(megabytes: int) -> None:
    """Bound what the process may allocate: it gets a MemoryError, and its neighbours nothing.

    RLIMIT_DATA, since address space that is only reserved does no harm; should the limit not
    suffice, the kernel is told to take this process before any other of the run.
    """
    if megabytes:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (megabytes << 20, megabytes << 20))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:  # noqa: PTH123
        score.write("500")


if __name__ == "__main__":
    main()
