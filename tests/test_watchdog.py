"""A test that hangs fails with its stacks; one that is slow does not."""

import os
import subprocess
import sys
from pathlib import Path

import lifeline
import pytest

CONFTEST = """
from watchdog import Watchdog

def pytest_configure(config):
    config.pluginmanager.register(Watchdog(longest={longest}, still={still}, every=0.2))
"""
WAITS = """
import threading

def test_it():
    threading.Event().wait()

def test_the_next():
    pass
"""
IS_BUSY = """
def test_it():
    while True:
        pass
"""
WORKS = """
import time

def test_it():
    until = time.process_time() + 4
    while time.process_time() < until:
        pass
"""


def run(folder: Path, test: str, **limits: float) -> subprocess.CompletedProcess:
    (folder / "conftest.py").write_text(CONFTEST.format(**limits))
    (folder / "test_it.py").write_text(test)
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder],
        env=os.environ | {"PYTHONPATH": paths, lifeline.MARK: str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="needs Linux")
def test_a_test_that_waits_forever_fails_with_its_stacks(tmp_path):
    done = run(tmp_path, WAITS, still=2, longest=600)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "nothing was done for 2 s" in done.stdout
    assert "threading.Event().wait()" in done.stdout
    assert "1 failed, 1 passed" in done.stdout


def test_a_test_that_is_busy_forever_fails(tmp_path):
    done = run(tmp_path, IS_BUSY, still=600, longest=2)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "it was not over after 2 s" in done.stdout


def test_a_test_that_works_may_take_longer_than_a_standstill(tmp_path):
    done = run(tmp_path, WORKS, still=2, longest=600)
    assert done.returncode == 0, done.stdout + done.stderr
