"""What follows a night: the page, the downloads, the message and the heartbeat, whatever fails."""

import json
import sys
from dataclasses import replace

import pytest
from test_notify import web

from pipeline import errors, exports, report
from pipeline.cli import aftermath, last_night
from pipeline.errors import BusyError, SetupError
from pipeline.report import page


@pytest.fixture
def followed(monkeypatch):
    """The exit codes that people were told, and whether the start was."""
    codes: list[object] = []
    monkeypatch.setattr(aftermath, "begin", lambda: codes.append("begin"))
    monkeypatch.setattr(
        aftermath, "follow", lambda code, has_begun=True: codes.append(code if has_begun else -code)
    )
    return codes


@pytest.mark.parametrize("code", [0, 1, 2, 78])
def test_the_code_of_a_night_stays_and_is_told(followed, code):
    assert aftermath.of_night(lambda: code) == code
    assert followed == ["begin", code]


def test_a_night_that_a_signal_stopped_ends_at_once(followed):
    assert aftermath.of_night(lambda: 143) == 143
    assert followed == ["begin"]


def test_a_night_that_cannot_begin_is_told(followed):
    def night():
        raise SetupError("the disk is full")

    with pytest.raises(SetupError):
        aftermath.of_night(night)
    assert followed == ["begin", -errors.SETUP]


def test_a_night_beside_another_one_is_not_told(followed):
    def night():
        raise BusyError("another run is in progress")

    with pytest.raises(BusyError):
        aftermath.of_night(night)
    assert followed == ["begin"]


@pytest.mark.parametrize(
    ("program", "seconds", "said"),
    [
        ("print('HEARTBEAT_URL cannot be reached')", 60, "HEARTBEAT_URL cannot be reached"),
        ("raise ValueError('no')", 60, "ValueError: no"),
        ("import time; time.sleep(60)", 1, "took more than 1 seconds"),
        ("import os; os.kill(os.getpid(), 9)", 60, "ended with code -9"),
    ],
)
def test_what_could_not_be_done_is_one_line_and_no_failure(
    monkeypatch, tmp_path, capsys, program, seconds, said
):
    script = tmp_path / "child"
    script.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c \"{program}\"\n")
    script.chmod(0o755)
    monkeypatch.setattr(aftermath.sys, "executable", str(script))
    monkeypatch.setattr(aftermath, "SECONDS", seconds)
    assert aftermath.follow(0) is None
    told = capsys.readouterr().err
    assert said in told
    assert all(line.startswith("after the night: ") for line in told.splitlines())


@pytest.fixture
def night(here, monkeypatch):
    """A night whose database cannot be reached, with a webhook and a heartbeat; tells people."""

    def tell(server, code: int) -> list[str]:
        given = replace(
            here,
            database_url="postgresql://nobody@127.0.0.1:1/none",
            notify_urls=f"json://{server.url}/hook",
            heartbeat_url=f"http://{server.url}/ping",
        )
        monkeypatch.setenv("NOTIFY_URLS", given.notify_urls)
        return aftermath.main(given, code)

    return tell


def test_a_failed_night_reaches_people_once(here, night):
    last_night.end(here, 1, "the database cannot be reached - start it")
    with web() as server:
        assert night(server, 1) == []
        assert night(server, 1) == []
    calls = dict(reversed(server.calls))
    assert [path for path, _ in server.calls].count("/hook") == 1
    assert [path for path, _ in server.calls].count("/ping/fail") == 2
    assert "the database cannot be reached - start it" in json.loads(calls["/hook"])["message"]
    assert page.path(here).is_file()


def test_a_night_that_did_not_begin_is_told_and_nothing_is_written(here, monkeypatch):
    last_night.end(here, errors.SETUP, "DATABASE_URL is not a valid connection string - see it")
    monkeypatch.setattr(aftermath, "write", lambda here: pytest.fail("it was written"))
    with web() as server:
        given = replace(
            here,
            notify_urls=f"json://{server.url}/hook",
            heartbeat_url=f"http://{server.url}/ping",
        )
        monkeypatch.setenv("NOTIFY_URLS", given.notify_urls)
        assert aftermath.main(given, errors.SETUP, has_begun=False) == []
    bodies = dict(server.calls)
    assert set(bodies) == {"/hook", "/ping/fail"}
    told = json.loads(bodies["/hook"])["message"]
    assert "DATABASE_URL is not a valid connection string" in told
    assert "Nothing is published" not in told


def test_one_dead_channel_does_not_repeat_the_message_to_the_others(here, monkeypatch):
    last_night.end(here, 1, "the disk is full")
    with web(500) as dead, web() as alive:
        given = replace(here, notify_urls=f"json://{dead.url}/ json://{alive.url}/")
        monkeypatch.setenv("NOTIFY_URLS", given.notify_urls)
        for _ in range(2):
            aftermath.main(given, 1, has_begun=False)
    assert len(alive.calls) == 1


def test_a_page_that_cannot_be_written_stops_neither_message_nor_heartbeat(night, monkeypatch):
    def fail(here):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report.page, "write", lambda *given: fail(None))
    with web() as server:
        (failure,) = night(server, 1)
    assert failure.startswith("the report page cannot be written: OSError: ")
    assert {path for path, _ in server.calls} == {"/hook", "/ping/fail"}


def test_downloads_that_fail_leave_the_page(here, database_url, monkeypatch):
    def fail(*given):
        raise ValueError("a row is too long")

    monkeypatch.setattr(exports, "write", fail)
    facts, failures = aftermath.write(replace(here, database_url=database_url))
    assert failures == ["the downloads are unchanged: ValueError: a row is too long"]
    assert facts is not None
    assert page.path(here).is_file()
