"""All sources on a host share one rate, and one Retry-After."""

import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from types import SimpleNamespace

import pytest
from patience import Stopwatch, end_of
from publisher import Answer

from pipeline import settings
from pipeline.errors import Transient
from pipeline.http import rate_limit
from pipeline.http.client import Client
from pipeline.settings import ROOT

HOST = "data.example.gov"
CHILD = """
import sys, pathlib
from pipeline import settings
from pipeline.http.client import Client
client = Client(settings.load())
for number in range(4):
    client.get("https://data.example.gov/file.csv", pathlib.Path(sys.argv[1]))
"""


@pytest.fixture
def here(here, publisher, monkeypatch):
    monkeypatch.setenv("MIRRORS", f"{HOST}={publisher.url},other.gov={publisher.url}")
    monkeypatch.setenv("FETCH_PATIENCE", "0")
    settings.load.cache_clear()
    return settings.load()


@pytest.fixture
def as_process(monkeypatch):
    """Pretend to be another process, by its id."""
    return lambda number: monkeypatch.setattr(rate_limit.os, "getpid", lambda: number)


def test_processes_on_one_host_keep_their_distance(here, publisher, tmp_path):
    asked = []

    def answer(handler):
        asked.append((time.monotonic(), handler.headers["User-Agent"]))
        return Answer(b"a\n1\n")

    publisher.answers["/file.csv"] = answer
    command = [sys.executable, "-c", CHILD]
    children = [
        subprocess.Popen(
            [*command, str(tmp_path / str(n))],
            env=os.environ | {"PYTHONPATH": str(ROOT), "CONTACT": f"source {n}"},
            cwd=tmp_path,
        )
        for n in range(3)
    ]
    for child in children:
        end_of(child)
    assert [child.returncode for child in children] == [0, 0, 0]
    assert len(asked) == 12
    turns = [later[0] - one[0] for one, later in pairwise(asked) if later[1] != one[1]]
    assert len(turns) >= 2
    assert min(turns) > rate_limit.GAP_SECONDS * 0.7  # the time to the server varies


def test_another_process_waits_for_its_turn(here, as_process):
    as_process(1)
    assert rate_limit.turn(here, HOST) == 0
    assert rate_limit.turn(here, HOST) == 0  # one source alone may follow its own responses at once
    as_process(2)
    assert 0 < rate_limit.turn(here, HOST) <= rate_limit.GAP_SECONDS
    assert rate_limit.turn(here, "other.gov") == 0
    time.sleep(rate_limit.GAP_SECONDS)
    assert rate_limit.turn(here, HOST) == 0
    as_process(1)
    assert 0 < rate_limit.turn(here, HOST) <= rate_limit.GAP_SECONDS


def test_a_retry_after_holds_for_every_source_on_the_host(here, publisher, tmp_path, as_process):
    publisher.answers["/file.csv"] = [
        Answer(b"slow", 429, {"Retry-After": "30"}),
        Answer(b"a\n1\n"),
    ]
    as_process(1)
    with pytest.raises(Transient, match="answered 429"):
        Client(here).get(f"https://{HOST}/file.csv", tmp_path / "file")
    as_process(2)
    asked = len(publisher.requests)
    with pytest.raises(Transient, match="asked us to wait") as caught:
        Client(here).get(f"https://{HOST}/file.csv", tmp_path / "file")
    assert 29 < caught.value.wait <= 30
    assert len(publisher.requests) == asked
    Client(here).get("https://other.gov/file.csv", tmp_path / "file")


def test_a_source_with_patience_waits_for_the_host(here, publisher, tmp_path, as_process):
    publisher.answers["/file.csv"] = [Answer(b"a\n1\n")]
    as_process(1)
    rate_limit.quiet(here, HOST, 1.5)
    as_process(2)
    client = Client(here)
    client.patience = 5
    began, watch = time.monotonic(), Stopwatch()
    assert client.get(f"https://{HOST}/file.csv", tmp_path / "file").status == 200
    assert time.monotonic() - began > 1.4
    assert watch.seconds() < 4
    assert len(publisher.requests) == 1


def test_a_host_is_not_left_alone_for_ever(here, as_process):
    as_process(1)
    rate_limit.quiet(here, HOST, 10**9)
    as_process(2)
    assert rate_limit.turn(here, HOST) <= rate_limit.QUIET_SECONDS


def test_a_clock_set_back_does_not_hold_a_host(here, as_process, monkeypatch):
    as_process(1)
    rate_limit.quiet(here, HOST, 600)
    as_process(2)
    a_year_ago = SimpleNamespace(time=lambda: time.time() - 365 * 86400)
    monkeypatch.setattr(rate_limit, "time", a_year_ago)
    assert rate_limit.turn(here, HOST) == 0


@pytest.mark.parametrize("text", [b"", b'{"last": 1', b"\xff"])
def test_a_damaged_note_counts_as_none(here, text):
    (here.state / "hosts").mkdir(parents=True)
    path = here.state / "hosts" / f"{HOST}.json"
    path.write_bytes(text)
    assert rate_limit.turn(here, HOST) == 0
    assert json.loads(path.read_bytes())["process"] == os.getpid()


def test_a_host_cannot_name_a_file_elsewhere(here):
    assert rate_limit.turn(here, "../../run.lock") == 0
    assert [path.name for path in (here.state / "hosts").iterdir()] == [".._.._run.lock.json"]
