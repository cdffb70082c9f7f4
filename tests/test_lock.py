"""One run at a time, by a lock that dies with its holder."""

import errno
import os
import subprocess
import sys

import pytest

from pipeline.errors import BusyError, SetupError
from pipeline.stages import lock

HOLD = """
import sys
from pipeline.stages import lock
from pipeline import settings
with lock.held_by_this_run(settings.load()):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(here):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_second_run_learns_who_holds_the_lock(here, holder):
    with pytest.raises(BusyError, match=f"process {holder.pid}"), lock.held_by_this_run(here):
        pass


def test_it_is_free_again_when_its_holder_was_killed(here, holder):
    holder.kill()
    holder.wait()
    with lock.held_by_this_run(here):
        pass


def test_a_server_started_by_the_run_does_not_hold_the_lock(here):
    with lock.held_by_this_run(here):
        left = subprocess.Popen(["sleep", "30"], close_fds=False)
    try:
        with lock.held_by_this_run(here):
            pass
    finally:
        left.kill()
        left.wait()


def test_a_script_of_the_run_works_under_the_runs_lock(here, holder, monkeypatch):
    monkeypatch.setenv("PIPELINE_RUN", "that run")
    with lock.held_by_this_run(here):
        pass


def test_a_link_in_its_place_is_not_followed(here, tmp_path):
    here.state.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (here.state / "run.lock").symlink_to(victim)
    with pytest.raises(SetupError, match="is a symbolic link"), lock.held_by_this_run(here):
        pass
    assert victim.read_text() == "precious"


def test_it_holds_where_its_holders_name_cannot_be_written(here, monkeypatch):
    def fail(*words):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", fail)
    with lock.held_by_this_run(here), pytest.raises(BusyError), lock.held_by_this_run(here):
        pass
