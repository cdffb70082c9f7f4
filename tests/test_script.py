"""What a script says of an error that nobody raised on purpose."""

import errno
import os
import sys

import pytest

from pipeline import __main__ as command_line
from pipeline import accept, errors, script
from pipeline.errors import PipelineError, SourceError


def test_a_disk_that_fails_is_named_and_no_fault_of_ours(here, capsys):
    told = script.understood(OSError(errno.EIO, "Input/output error", "data/raw/quakes.csv"))
    assert isinstance(told, SourceError)
    assert "the disk cannot be read or written" in told.what
    assert "data/raw/quakes.csv" in told.what
    assert capsys.readouterr().err == ""


def test_a_full_disk_ends_the_run(here):
    with pytest.raises(PipelineError, match="the disk is full: data/raw/quakes") as caught:
        script.understood(OSError(errno.ENOSPC, "No space left on device", "data/raw/quakes.csv"))
    assert not isinstance(caught.value, SourceError)


def test_a_fault_of_ours_leaves_its_traceback_in_the_log(here, capsys):
    try:
        {}["mag"]
    except KeyError as error:
        told = script.understood(error)
    assert told.what.startswith("KeyError: 'mag'")
    assert "KeyError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "said"), [(errno.ENOSPC, "the disk is full: x"), (errno.EIO, "the disk cannot be")]
)
def test_a_disk_that_fails_a_command_is_told_in_one_line(here, monkeypatch, capsys, number, said):
    def fail(names):
        raise OSError(number, os.strerror(number), "x")

    monkeypatch.setattr(accept, "run", fail)
    monkeypatch.setattr(sys, "argv", ["run_pipeline.sh", "accept", "bls_unemployment"])
    monkeypatch.setenv("STAGES", "api")
    assert command_line.main() == errors.FAILED
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"run_pipeline.sh: {said}")
