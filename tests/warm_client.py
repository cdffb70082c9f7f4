"""Hands what an interpreter was started for over to a process of `warm.py`, where there is one.

Every interpreter of a clone imports this as it starts. It must cost next to nothing, so that it
imports what is built in alone. Without such a process the interpreter goes on as always.
"""

import os
import sys

ADDRESS = "WARM_START"  # the variable with the socket of the warm process
HANDED_OVER = ("pipeline", "pytest")  # the packages whose modules are
LOW = 100  # the files of an interpreter that is handed over have lower numbers
PASSED_ON = (1, 2, 6, 15)  # SIGHUP, SIGINT, SIGABRT, SIGTERM


def hand_over() -> None:
    """Let the warm process do it and end as it ends, if there is one; else return."""
    words = sys.orig_argv[1:]
    if not os.environ.get(ADDRESS) or os.environ.get("LD_PRELOAD") or words[:1] != ["-m"]:
        return
    if words[1].partition(".")[0] not in HANDED_OVER:
        return
    import _socket

    warm = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        files = _open_files(warm.fileno())
        if max(files) >= LOW:
            raise OSError
        os.fstat(0), os.fstat(1), os.fstat(2)  # one that is closed cannot be passed on
        warm.connect(os.environ[ADDRESS])
    except OSError:
        warm.close()
        return
    _ask(warm, words[1:], files)
    _end_as(_follow(warm, leads=os.getpgrp() == os.getpid()))


def _open_files(but: int) -> list[int]:
    found = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - no pathlib here
    return [file for file in found if file != but and os.path.exists(f"/proc/self/fd/{file}")]  # noqa: PTH110


def _ask(warm, words: list[str], files: list[int]) -> None:
    import _socket
    import array
    import marshal

    mask = os.umask(0)
    os.umask(mask)
    leads = os.getpgrp() == os.getpid()
    asked = marshal.dumps((words, dict(os.environ), os.getcwd(), mask, leads, files))  # noqa: PTH109
    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", files).tobytes())
    warm.sendmsg([len(asked).to_bytes(4, "big")], [rights])
    warm.sendall(asked)


def _follow(warm, leads: bool) -> int:
    """Pass signals on until the child ends; returns the status of its end (-1: nobody knows)."""
    import _signal

    process = int(warm.recv(20) or b"0")
    send = os.killpg if leads else os.kill

    def pass_on(number, frame) -> None:
        try:
            send(process, number)
        except ProcessLookupError:
            return

    for number in PASSED_ON if process else ():
        _signal.signal(number, pass_on)
    warm.sendall(b"go")  # a signal from now on reaches the child
    return int(warm.recv(20) or b"-1")


def _end_as(status: int) -> None:
    import _signal

    if status == -1:
        os._exit(70)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        _signal.signal(-code, _signal.SIG_DFL) if -code != 9 else None
        os.kill(os.getpid(), -code)
    os._exit(code)


hand_over()
