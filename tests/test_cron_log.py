"""What cron mails of a night, and the log it leaves."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from pipeline import cron_log
from pipeline.settings import ROOT

SCRIPT = ROOT / "pipeline" / "cron_log.py"
REPORT = "Source  State\\n\\nNeeds attention\\n- rivers: kept\\nended with code 2\\n"


def run(log, *command: str) -> subprocess.CompletedProcess:
    """The command as cron runs it: with hardly any environment."""
    return subprocess.run(
        [sys.executable, SCRIPT, log, *command],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin"},
        timeout=60,
    )


def test_a_fresh_night_is_silent_and_logged(tmp_path):
    done = run(tmp_path / "cron.log", "sh", "-c", "echo fine; echo beside >&2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    lines = (tmp_path / "cron.log").read_text().splitlines()
    dated = [re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (.*)", line)[1] for line in lines]
    assert dated == ["fine", "beside"]


def test_a_degraded_night_is_mailed_from_its_summary_on(tmp_path):
    done = run(tmp_path / "cron.log", "sh", "-c", f"printf '{REPORT}'; exit 2")
    assert done.returncode == 2
    assert done.stdout == "Needs attention\n- rivers: kept\nended with code 2\n"
    assert len((tmp_path / "cron.log").read_text().splitlines()) == 5


def test_a_night_that_ended_early_is_mailed_with_its_last_lines(tmp_path):
    done = run(tmp_path / "cron.log", "sh", "-c", "seq 100; exit 78")
    assert done.returncode == 78
    assert done.stdout.split() == [str(n) for n in range(81, 101)]


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path):
    done = run(tmp_path / "absent" / "cron.log", "sh", "-c", "touch '%s'" % (tmp_path / "ran"))
    assert done.returncode == 0
    assert "cannot be written" in done.stdout
    assert (tmp_path / "ran").exists()


def test_the_log_is_rotated(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cron_log, "LARGEST_LOG", 2_000)
    log = tmp_path / "cron.log"
    assert cron_log.main(str(log), ["sh", "-c", "seq 1000"]) == 0
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, signal.SIG_DFL if name != signal.SIGINT else signal.default_int_handler)
    logs = sorted(path.name for path in tmp_path.iterdir())
    assert logs == ["cron.log", *(f"cron.log.{n}" for n in range(1, cron_log.KEPT_LOGS + 1))]
    assert all((tmp_path / name).stat().st_size <= 2_000 for name in logs)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_the_command(tmp_path, name):
    wait = f"trap 'echo told; exit 9' {name.name[3:]}; echo up; while :; do sleep 0.1; done"
    process = subprocess.Popen(
        [sys.executable, SCRIPT, tmp_path / "cron.log", "sh", "-c", wait],
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    log = tmp_path / "cron.log"
    while not (log.exists() and "up" in log.read_text()):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(name)
    assert process.communicate(timeout=60)[0] == "up\ntold\n"
    assert process.returncode == 9


def test_a_command_that_is_killed_has_the_code_of_a_shell(tmp_path):
    assert run(tmp_path / "cron.log", "sh", "-c", "kill -9 $$").returncode == 137
