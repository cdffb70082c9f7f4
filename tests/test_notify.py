"""Messages and heartbeats: when they are due, what they say, and that they never hurt a night."""

import email
import json
import socket
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.header import decode_header, make_header
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiosmtpd.controller import Controller
from prometheus_client.parser import text_string_to_metric_families

from pipeline import settings
from pipeline.errors import SetupError
from pipeline.notify import heartbeat, message, send
from pipeline.notify.message import Kind, Message
from pipeline.report import metrics
from pipeline.report.facts import Facts, Source, Stage, Table

NOW = datetime(2026, 11, 28, 2, 14, tzinfo=UTC)
TOKEN = "T0kenT0kenT0ken"


def source(name: str, state: str = "fresh", reason: str = "") -> Source:
    return Source(name, state, NOW, reason, False, 10, [10], 99, 1.0, "", "", "", "", "", "", {})


def table(name: str, state: str = "fresh", reason: str = "") -> Table:
    return Table(name, state, NOW, reason, False, [], 10, [10], 1, NOW)


WELL = Facts(NOW, [source("gauges"), source("rivers")], [table("levels"), table("floods")])
KEPT = replace(
    WELL,
    sources=[source("gauges", "kept", "status 503"), source("rivers", "kept", "status 503")],
    tables=[table("levels", "kept"), table("floods", "held", "a test failed")],
)
HEALED = replace(KEPT, tables=[table("levels", "kept"), table("floods")])


def told(here, facts: Facts, code: int, now: datetime = NOW, error: str = "") -> Message | None:
    """The message of a night, delivered."""
    found = message.due(here, facts, code, error, now)
    if found:
        message.record(here, facts, code, now)
    return found


# When a message is due


def test_nights_without_a_change_are_silent(here):
    assert told(here, WELL, 0) is None
    assert told(here, KEPT, 2).kind is Kind.TROUBLE
    assert told(here, KEPT, 2, NOW + timedelta(days=1)) is None
    assert told(here, HEALED, 2, NOW + timedelta(days=2)).kind is Kind.TROUBLE
    assert told(here, HEALED, 2, NOW + timedelta(days=3)) is None
    recovered = told(here, WELL, 0, NOW + timedelta(days=4))
    assert recovered.kind is Kind.RECOVERED
    assert "source gauges kept" in recovered.body
    assert told(here, WELL, 0, NOW + timedelta(days=5)) is None


def test_other_words_for_the_same_trouble_are_no_change(here):
    told(here, KEPT, 2)
    other = replace(KEPT, sources=[replace(s, reason="timed out") for s in KEPT.sources])
    assert told(here, other, 2) is None


def test_what_stays_wrong_is_repeated_weekly(here):
    told(here, KEPT, 2)
    kinds = [told(here, KEPT, 2, NOW + timedelta(days=day)) for day in range(1, 22)]
    reminders = [day for day, found in enumerate(kinds, 1) if found]
    assert reminders == [7, 14, 21]
    assert {found.kind for found in kinds if found} == {Kind.REMINDER}


def test_a_database_that_cannot_be_read_is_no_recovery(here):
    told(here, KEPT, 2)
    unknown = Facts(NOW, [source("gauges", "unknown")], database_error="it does not respond")
    assert told(here, unknown, 2) is None
    assert message.last(here).troubles
    assert told(here, unknown, 1).title == "Pipeline: the night failed (code 1)"


def test_what_was_not_delivered_is_due_again(here):
    assert message.due(here, KEPT, 2, "", NOW)
    assert message.due(here, KEPT, 2, "", NOW)


def test_a_failed_night_is_told_though_the_sources_are_fresh(here):
    found = told(here, WELL, 1, error="the disk is full - free some space")
    assert found.title == "Pipeline: the night failed (code 1)"
    assert "the disk is full - free some space" in found.body
    assert told(here, WELL, 1) is None
    assert told(here, WELL, 0).kind is Kind.RECOVERED


# What it says


def test_causes_are_grouped_and_tables_named(here):
    found = told(here, KEPT, 2)
    assert found.title == "Pipeline: Of 2 sources, 2 are kept; readers see older rows of floods"
    assert found.body.count("status 503") == 1
    assert "- gauges, rivers: kept, status 503" in found.body
    assert "- table floods: held, a test failed" in found.body
    assert "Readers see older rows in: levels, floods." in found.body
    assert "./run_pipeline.sh status" in found.body


def test_texts_of_others_stay_on_their_line(here):
    evil = replace(WELL, sources=[source("gauges", "kept", "a\nb\x1b[31m\r\nSubject: x")])
    lines = told(here, evil, 2).body.splitlines()
    (line,) = [line for line in lines if line.startswith("- gauges")]
    assert "Subject: x" in line
    assert "\x1b" not in line


# Delivery


class Mailbox:
    """What a mail server received."""

    def __init__(self):
        self.mails: list[email.message.Message] = []

    async def handle_DATA(self, server, session, envelope):
        self.mails.append(email.message_from_bytes(envelope.content))
        return "250 OK"


@pytest.fixture
def mailbox():
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=0)
    controller.port = free_port()
    controller.start()
    box.url = f"mailto://127.0.0.1:{controller.port}?from=p@example.org&to=o@example.org"
    yield box
    controller.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def web(status: int = 200, seconds: float = 0):
    """A web server that records requests; its `calls` are (path, body)."""
    calls = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            calls.append((self.path, body.decode()))
            released.wait(seconds)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    released = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.calls = calls
    server.url = f"127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        released.set()
        server.shutdown()


@pytest.fixture
def channels(here, monkeypatch):
    """Settings with these addresses, also in the process that sends."""

    def given(urls: str):
        monkeypatch.setenv("NOTIFY_URLS", urls)
        settings.load.cache_clear()
        return replace(here, notify_urls=urls)

    yield given
    settings.load.cache_clear()


def test_a_mail_and_a_webhook_arrive(here, channels, mailbox):
    with web() as server:
        here = channels(f"{mailbox.url}, json://{server.url}/hook")
        assert send.deliver(here, told(here, KEPT, 2)) == (2, [])
    ((path, body),) = server.calls
    assert path == "/hook"
    assert "gauges, rivers: kept, status 503" in json.loads(body)["message"]
    (mail,) = mailbox.mails
    assert "2 are kept" in str(make_header(decode_header(mail["Subject"])))
    parts = [part for part in mail.walk() if not part.is_multipart()]
    assert any(b"gauges, rivers: kept, status 503" in p.get_payload(decode=True) for p in parts)


@pytest.mark.parametrize("status", [404, 500])
def test_a_channel_that_refuses_is_named_without_its_secrets(here, channels, status):
    with web(status) as refusing, web() as taking:
        here = channels(f"json://{refusing.url}/{TOKEN} json://{taking.url}/")
        (failure,) = send.deliver(here, told(here, KEPT, 2)).failures
    assert failure.startswith("NOTIFY_URLS, number 1 (json): ")
    assert TOKEN not in failure
    assert len(taking.calls) == 1


def test_a_channel_that_there_is_not_is_named(here, channels):
    (failure,) = send.deliver(channels(f"nosuchservice://{TOKEN}/"), told(here, KEPT, 2)).failures
    assert failure.startswith("NOTIFY_URLS, number 1 (nosuchservice): ")
    assert TOKEN not in failure


def test_a_channel_that_stays_silent_is_given_up(here, channels, monkeypatch):
    monkeypatch.setattr(send, "SECONDS", 3)
    with web(seconds=60) as server, web() as taking:
        here = channels(f"json://{server.url}/ json://{taking.url}/")
        (failure,) = send.deliver(here, told(here, KEPT, 2)).failures
    assert failure == "NOTIFY_URLS, number 1 (json): no response within 3 seconds"
    assert len(taking.calls) == 1


def test_without_addresses_nothing_is_sent(here):
    assert send.deliver(replace(here, notify_urls=""), told(here, KEPT, 2)) == (0, [])


# The heartbeat


@pytest.mark.parametrize(
    ("signal", "path"),
    [("start", "/ping/1/start"), ("success", "/ping/1"), ("fail", "/ping/1/fail")],
)
def test_the_heartbeat_follows_the_conventions(here, signal, path):
    with web() as server:
        here = replace(here, heartbeat_url=f"http://{server.url}/ping/1")
        assert heartbeat.ping(here, signal, "all is well") == ""
    assert server.calls == [(path, "all is well")]


@pytest.mark.parametrize(
    ("code", "signal"), [(0, "success"), (2, "success"), (1, "fail"), (78, "fail")]
)
def test_a_degraded_night_has_ended(code, signal):
    assert heartbeat.of_code(code) == signal


def test_a_heartbeat_that_fails_is_a_sentence_without_its_secret(here, monkeypatch):
    monkeypatch.setattr(heartbeat, "SECONDS", 0.5)
    url = f"http://127.0.0.1:{free_port()}/{TOKEN}"
    dead = heartbeat.ping(replace(here, heartbeat_url=url), "start")
    assert dead == "HEARTBEAT_URL cannot be reached: ConnectionError"
    with web(503) as server:
        here = replace(here, heartbeat_url=f"http://{server.url}/{TOKEN}")
        assert heartbeat.ping(here, "start") == "HEARTBEAT_URL responded with status 503"
    with web(seconds=60) as server:
        here = replace(here, heartbeat_url=f"http://{server.url}/{TOKEN}")
        assert heartbeat.ping(here, "start") == "HEARTBEAT_URL cannot be reached: ReadTimeout"


# Settings


@pytest.mark.parametrize("name", ["NOTIFY_URLS", "HEARTBEAT_URL"])
def test_the_addresses_are_never_shown(monkeypatch, name):
    url = f"https://user:{TOKEN}1@hooks.example.org/services/{TOKEN}2?key={TOKEN}3"
    monkeypatch.setenv(name, url)
    assert settings.masked(name, url) == "***"
    shown = settings.redact(f"{url} {TOKEN}1 {TOKEN}2 {TOKEN}3 hooks.example.org")
    assert TOKEN not in shown
    assert "hooks.example.org" in shown


def test_a_token_in_the_place_of_a_server_is_a_secret(monkeypatch):
    monkeypatch.setenv("NOTIFY_URLS", f"mailto://localhost, slack://{TOKEN}/B123456/x")
    assert settings.redact(f"{TOKEN} B123456 localhost") == "*** *** localhost"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HEARTBEAT_URL", "hc-ping.com/x"),
        ("HEARTBEAT_URL", "ftp://hc-ping.com/x"),
        ("HEARTBEAT_URL", "https://a b"),
        ("NOTIFY_URLS", "operator@example.org"),
        ("NOTIFY_URLS", "mailto://a\nb"),
    ],
)
def test_a_wrong_address_is_refused_and_not_shown(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    settings.load.cache_clear()
    with pytest.raises(SetupError, match=name) as refused:
        settings.load()
    settings.load.cache_clear()
    assert value not in str(refused.value)


# Metrics


def test_the_metrics_are_what_prometheus_reads():
    facts = replace(
        KEPT,
        sources=[source("gauges"), source("rivers", "kept"), source("lakes", "unknown")],
        stages=[Stage("api", 3.5, 9)],
        last_night={"started_at": NOW, "exit_code": None},
    )
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics.render(facts))
        for sample in family.samples
    }
    assert found["pipeline_source_fresh", "gauges"] == 1
    assert found["pipeline_source_fresh", "rivers"] == 0
    assert ("pipeline_source_fresh", "lakes") not in found
    assert ("pipeline_night_exit_code",) not in found
    assert found["pipeline_table_held", "floods"] == 1
    assert found["pipeline_report_timestamp_seconds",] == NOW.timestamp()
    assert found["pipeline_stage_seconds", "api"] == 3.5


def test_every_metric_has_its_help(here):
    text = metrics.write(here, replace(KEPT, stages=[Stage("api", 1, 1)])).read_text()
    for family in text_string_to_metric_families(text):
        assert family.documentation == metrics.HELP[family.name]
        assert family.type == "gauge"
