"""One child process of a run: `python -m pipeline.cli.child LIFELINE MEMORY_MB SCRIPT|-m MODULE …`.

A child must not outlive the run that started it, nor use up the machine's memory. LIFELINE is the
reading end of a pipe whose writing end the run holds: if the run dies, in whatever way, the pipe
closes, and the child ends with all that it started.
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
    lifeline, memory_mb, *arguments = sys.argv[1:]
    threading.Thread(target=_end_with_the_run, args=(int(lifeline),), daemon=True).start()
    _limit_memory(int(memory_mb))
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[0] = os.path.dirname(arguments[0])  # noqa: PTH120 - as the interpreter sets it
        runpy.run_path(arguments[0], run_name="__main__")


def _end_with_the_run(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


def _limit_memory(megabytes: int) -> None:
    """Limit what the process may allocate: it gets a MemoryError, and others are not affected.

    RLIMIT_DATA, because address space that is only reserved does no harm. If the limit does not
    suffice, the kernel is asked to kill this process before any other of the run.
    """
    if megabytes:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (megabytes << 20, megabytes << 20))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:  # noqa: PTH123
        score.write("500")


if __name__ == "__main__":
    main()
