"""A killed test run leaves no server, no process and no folder behind."""

import os
import subprocess
import sys
from pathlib import Path

import lifeline
import psycopg
import pytest
from patience import end_of, eventually

from pipeline.settings import ROOT

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc"),
    pytest.mark.database,
]
# Beside the server: a program in a session of its own, and a child by fork, which has all that is
# open here and stays.
OWNER = f"""
import os, signal, subprocess, sys
from dataclasses import replace
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
import lifeline
from pipeline import embedded as postgres, settings

with lifeline.folder("pipeline-test-killed-") as folder:
    here = replace(settings.load(), data_dir=folder / "data", database_url="")
    here.state.mkdir(parents=True)
    url = postgres.ensure_running(here, lambda text: None)
    program = subprocess.Popen(["sleep", "600"], start_new_session=True)
    stays = os.fork()
    if not stays:
        os.close(1)
        signal.pause()
    print(folder, url, program.pid, stays, sep="\\n", flush=True)
    sys.stdin.read()
"""


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize("is_killed", [True, False])
def test_nothing_outlives_the_owner_of_a_folder(is_killed):
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        env={name: value for name, value in os.environ.items() if name != lifeline.MARK},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    folder, url, program, stays = (owner.stdout.readline().strip() for _ in range(4))
    try:
        with psycopg.connect(url) as connection:
            backend = connection.info.backend_pid
            assert backend in lifeline.processes(Path(folder))
            if is_killed:
                owner.kill()
            end_of(owner)  # by the end of its input
            eventually(lambda: not Path(folder).exists(), "the end of the folder")
            left = [p for p in (backend, int(program)) if is_running(p)]
            assert left == []
        assert lifeline.processes(Path(folder)) == []
    finally:
        owner.kill()
        os.kill(int(stays), 9)
        lifeline.clean(Path(folder))
