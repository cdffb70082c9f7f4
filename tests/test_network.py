"""Each run probes the network once, within seconds, whatever hangs."""

import json
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest
from patience import Stopwatch

from pipeline import settings
from pipeline.http import network
from pipeline.raw import snapshot

URL = "https://data.example.gov/file.csv"


@pytest.fixture
def listener():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server


@pytest.fixture
def probes(monkeypatch):
    """The endpoints that were probed, with their time limits; nothing responds."""
    probed = []

    def nothing(endpoints, seconds):
        probed.append((sorted(endpoints), seconds))
        return False

    monkeypatch.setattr(network, "_any_responds", nothing)
    return probed


def mirror(monkeypatch, base):
    hosts = ("data.example.gov", "cdn.example.net", "api.example.org")
    monkeypatch.setenv("MIRRORS", ",".join(f"{host}={base}" for host in hosts))
    settings.load.cache_clear()
    return settings.load()


def base_of(server) -> str:
    return f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_host_that_answers_is_a_network(here, monkeypatch, listener):
    assert not network.is_down(mirror(monkeypatch, base_of(listener)), URL, ())


def test_a_closed_port_is_none_and_is_known_at_once(here, monkeypatch, listener):
    base = base_of(listener)
    listener.close()
    watch = Stopwatch()
    assert network.is_down(mirror(monkeypatch, base), URL, ())
    assert watch.seconds() < 1


def test_packets_that_vanish_take_no_longer_than_the_limit(here, monkeypatch):
    """A listener whose backlog is full drops packets, as a black hole does."""
    with closing(socket.socket()) as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        monkeypatch.setattr(network, "PROBE_SECONDS", 0.5)
        began, watch = time.monotonic(), Stopwatch()
        assert network.is_down(mirror(monkeypatch, base_of(full)), URL, ())
        assert time.monotonic() - began > 0.4
        assert watch.seconds() < 1.5
        for filler in fillers:
            filler.close()


HANGING = """
import socket, sys, time
from pathlib import Path
from pipeline.http import network
socket.getaddrinfo = lambda *arguments, **options: time.sleep(60)
network.PROBE_SECONDS = 0.5
print(network._any_responds({("a.invalid", 443), ("b.invalid", 443)}, 0.5))
"""


def test_a_resolver_that_never_answers_holds_up_neither_the_probe_nor_the_end():
    watch = Stopwatch()
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True)
    assert done.stdout == "False\n"
    assert watch.seconds() < 5


def test_one_broken_address_does_not_hide_a_good_one(monkeypatch, listener):
    good = listener.getsockname()
    dead = ("127.0.0.1", 1)  # like an IPv6 address in a network with IPv4 only
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *arguments, **options: [
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in (dead, good)
        ],
    )
    assert network._any_responds({("both.example.gov", 443)}, 2)


def test_names_that_cannot_be_asked_for_are_no_network():
    assert not network._any_responds({("", 443), ("a..b", 443), ("x" * 300, 443)}, 2)


def test_no_host_is_tried_but_the_known_ones(here, example, probes):
    assert network.is_down(here, URL, snapshot.addresses(here))
    assert probes[0][0] == [("data.example.gov", 443), ("railways.example", 443)]


def test_hosts_of_snapshots_are_known(here, probes):
    folder = here.raw / "alpha"
    folder.mkdir(parents=True)
    resources = [{"url": "https://alpha.example.gov/a"}, {"url": "http://beta.example.gov/b"}]
    (folder / "datapackage.json").write_text(json.dumps({"resources": resources}))
    for name, text in (("broken", "{"), ("other", '{"resources": 1}')):
        (here.raw / name).mkdir()
        (here.raw / name / "datapackage.json").write_text(text)
    network.is_down(here, URL, snapshot.addresses(here))
    assert {("alpha.example.gov", 443), ("beta.example.gov", 80)} < set(probes[0][0])


def test_a_run_asks_once_and_a_further_host_is_looked_at_shortly(here, probes, monkeypatch):
    monkeypatch.setenv("PIPELINE_RUN", "tonight")
    assert network.is_down(here, URL, snapshot.addresses(here))
    assert network.is_down(here, URL, snapshot.addresses(here))
    assert network.is_down(here, "https://further.example.gov/", snapshot.addresses(here))
    assert probes[0][1] == network.PROBE_SECONDS
    assert probes[1] == ([], network.LATER_PROBE_SECONDS)
    assert probes[2] == ([("further.example.gov", 443)], network.LATER_PROBE_SECONDS)
    monkeypatch.setenv("PIPELINE_RUN", "tomorrow")
    network.is_down(here, URL, snapshot.addresses(here))
    assert probes[3][1] == network.PROBE_SECONDS


def test_a_network_that_was_there_is_not_asked_again(here, monkeypatch, probes):
    monkeypatch.setenv("PIPELINE_RUN", "tonight")
    monkeypatch.setattr(network, "_any_responds", lambda endpoints, seconds: True)
    assert not network.is_down(here, URL, snapshot.addresses(here))
    monkeypatch.setattr(network, "_any_responds", lambda endpoints, seconds: pytest.fail("again"))
    assert not network.is_down(here, "https://further.example.gov/", snapshot.addresses(here))


@pytest.mark.parametrize("text", ["", "[1]", '{"run": "tonight"}', "\x00"])
def test_a_damaged_note_is_no_answer(here, monkeypatch, probes, text):
    monkeypatch.setenv("PIPELINE_RUN", "tonight")
    here.state.mkdir(parents=True)
    (here.state / "network.json").write_text(text)
    assert network.is_down(here, URL, snapshot.addresses(here))
    assert len(probes) == 1


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [
        ("http://proxy.example:3128", ("proxy.example", 3128)),
        ("proxy.example:3128", ("proxy.example", 3128)),
        ("http://proxy.example", ("proxy.example", 80)),
        ("socks5://proxy.example", ("proxy.example", 1080)),
    ],
)
def test_where_a_proxy_leads_out_the_proxy_is_asked(here, monkeypatch, probes, proxy, expected):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    network.is_down(here, URL, snapshot.addresses(here))
    assert probes[0][0] == [expected]


def test_mirrors_keep_path_and_query(here, monkeypatch):
    given = mirror(monkeypatch, "http://127.0.0.1:9/base")
    asked = network.mirrored(given, "https://DATA.example.gov/a/b.csv?x=1&y=%20")
    assert asked == "http://127.0.0.1:9/base/a/b.csv?x=1&y=%20"
    assert network.mirrored(given, "https://elsewhere.gov/a") == "https://elsewhere.gov/a"
