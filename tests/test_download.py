"""HTTP: complete responses or errors, retries only where they help, no secrets in messages."""

import base64
import gzip
import hashlib
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from email.utils import formatdate
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
from patience import Stopwatch
from publisher import Answer, held, stop_listening
from urllib3 import HTTPHeaderDict

from pipeline import compressed, settings
from pipeline.errors import SourceError, Transient
from pipeline.http import addresses, network, responses
from pipeline.http import client as download
from pipeline.http.client import Client
from pipeline.raw import checks, fingerprints
from pipeline.text import shown

HOST = "data.example.gov"
URL = f"https://{HOST}/file.csv"
BODY = b"a,b\n1,2\n3,4\n"


@pytest.fixture
def waits(monkeypatch):
    """The seconds waited between tries; no time passes."""
    waited = []
    clock = SimpleNamespace(sleep=waited.append, monotonic=time.monotonic, time=time.time)
    monkeypatch.setattr(download, "time", clock)
    return waited


def settings_with(monkeypatch, url, **more):
    monkeypatch.setenv("MIRRORS", f"{HOST}={url},other.example.gov={url}/other")
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    settings.load.cache_clear()
    return settings.load()


@pytest.fixture
def client(here, publisher, monkeypatch, waits):
    return Client(settings_with(monkeypatch, publisher.url))


@pytest.fixture
def get(client, tmp_path):
    def get(url=URL, **more):
        return client.get(url, tmp_path / "file", **more)

    return get


@contextmanager
def raw_server(reply: bytes) -> Iterator[str]:
    """The URL of a server that sends exactly these bytes to every client and closes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                if connection.recv(65536):  # a probe of the network sends nothing
                    connection.sendall(reply)

    Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop_listening(listener)


def get_raw(reply, monkeypatch, path, patience="0"):
    with raw_server(reply) as url:
        return Client(settings_with(monkeypatch, url, FETCH_PATIENCE=patience)).get(URL, path)


def test_a_whole_answer_is_written_as_it_came(publisher, get, tmp_path):
    publisher.answers["/file.csv"] = [
        Answer(BODY, headers={"Content-Type": "Text/CSV; charset=utf-8", "ETag": '"1"'})
    ]
    received = get()
    assert (tmp_path / "file").read_bytes() == BODY
    assert (received.status, received.size) == (200, len(BODY))
    assert received.sha256 == hashlib.sha256(BODY).hexdigest()
    assert received.media_type == "text/csv"
    assert received.validators == {"ETag": '"1"'}


def test_identity_is_asked_for_and_the_contact_is_named(publisher, get, here):
    publisher.answers["/file.csv"] = [Answer(BODY)]
    get()
    headers = publisher.requests[-1].headers
    assert headers["Accept-Encoding"] == "identity"
    assert headers["User-Agent"] == here.user_agent


LOGINS = {
    "me:s3cr3t-7f3k9": b"me:s3cr3t-7f3k9",
    "me%40corp:a%2Fb%25%20%C3%A9:%3Dq": "me@corp:a/b% é:=q".encode(),
    "t0ken-7f3k9": b"t0ken-7f3k9:",
    ":s3cr3t-7f3k9": b":s3cr3t-7f3k9",
}


@pytest.mark.parametrize("login", LOGINS)
def test_user_and_password_of_a_mirror_are_sent_to_it_alone(
    publisher, monkeypatch, tmp_path, here, login, capsys
):
    base = publisher.url.replace("//", f"//{login}@")
    given = settings_with(monkeypatch, base, MIRRORS=f"{HOST}={base}/m,b.gov={publisher.url}")
    publisher.answers |= {
        "/m/file.csv": [Answer(b"", 302, {"Location": "https://b.gov/file.csv"})],
        "/file.csv": [Answer(b"", 401)],
    }
    with pytest.raises(SourceError) as caught:
        Client(given).get(URL, tmp_path / "file")
    sent = [request.headers.get("Authorization") for request in publisher.requests]
    assert sent == [f"Basic {base64.b64encode(LOGINS[login]).decode()}", None]
    assert "@" not in network.mirrored(given, URL)
    assert "7f3k9" not in f"{caught.value}{given!r}{capsys.readouterr()}"
    assert settings.redact(f"at {sent[0]} end").count("***") == 1


def test_a_mirror_and_a_script_that_both_log_in_are_refused(publisher, monkeypatch, tmp_path):
    base = publisher.url.replace("//", "//me:s3cr3t-7f3k9@")
    given = settings_with(monkeypatch, base)
    with pytest.raises(SourceError, match="both MIRRORS and the source"):
        Client(given).get(URL, tmp_path / "file", headers={"authorization": "Bearer x"})
    assert publisher.requests == []


def test_credentials_of_netrc_are_not_sent(publisher, get, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    publisher.answers["/file.csv"] = [Answer(BODY)]
    get()
    assert "Authorization" not in publisher.requests[-1].headers


# Retries


def test_two_failures_then_an_answer(publisher, get, waits, client):
    publisher.answers["/file.csv"] = [Answer(status=500), Answer(status=502), Answer(BODY)]
    assert get().status == 200
    assert client.tries == 3
    assert 1 <= waits[0] < waits[1]  # back-off, never within a second


@pytest.mark.parametrize("status", [202, 408, 425, 429, 500, 502, 503, 504, 507, 520, 524])
def test_what_asking_again_may_mend_is_asked_again(publisher, get, status, waits):
    publisher.answers["/file.csv"] = [Answer(status=status), Answer(BODY)]
    assert get().status == 200
    assert len(waits) == 1


def test_failures_without_end_stop_within_the_patience(publisher, get, waits):
    publisher.answers["/file.csv"] = [Answer(b"sorry", status=503)]
    with pytest.raises(Transient, match=r"answered 503: sorry \(\d tries\)"):
        get()
    assert 2 <= len(publisher.requests) <= 6
    assert sum(waits) <= 20


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7", (7, 7)),
        ("0", (1, 1)),  # at least a second
        (lambda: formatdate(time.time() + 8, usegmt=True), (6, 8)),
        (lambda: formatdate(time.time() - 3600, usegmt=True), (1, 1)),
        ("-5", (1, 2)),  # invalid: the back-off of a first failure
        ("soon", (1, 2)),
        ("1e3", (1, 2)),
        ("٣", (1, 2)),
    ],
)
def test_retry_after_in_both_forms(publisher, get, waits, value, expected):
    value = (value if isinstance(value, str) else value()).encode().decode("latin-1")
    publisher.answers["/file.csv"] = [
        Answer(status=429, headers={"Retry-After": value}),
        Answer(BODY),
    ]
    get()
    assert expected[0] <= waits[0] <= expected[1]


@pytest.mark.parametrize("value", ["36000", lambda: formatdate(time.time() + 36000, usegmt=True)])
def test_a_wait_beyond_the_patience_gives_up_at_once(publisher, get, waits, value):
    value = value if isinstance(value, str) else value()
    publisher.answers["/file.csv"] = [Answer(status=503, headers={"Retry-After": value})]
    with pytest.raises(Transient, match=r"answered 503$"):
        get()
    assert len(publisher.requests) == 1
    assert waits == []


def test_the_patience_is_the_sources_not_the_requests(publisher, client, get, waits):
    publisher.answers["/file.csv"] = [Answer(status=500)]
    for _ in range(2):
        with pytest.raises(Transient):
            get()
    assert sum(waits) <= 20


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418, 204, 206, 304])
def test_what_asking_again_does_not_mend_is_asked_once(publisher, get, status, waits):
    publisher.answers["/file.csv"] = [Answer(b"" if status in (204, 304) else b"no", status=status)]
    with pytest.raises(SourceError, match=f"answered {status}") as caught:
        get()
    assert not isinstance(caught.value, Transient)
    assert len(publisher.requests) == 1


def test_refused_credentials_and_a_moved_data_set_have_their_remedy(publisher, get):
    for status, remedy in ((401, "credential"), (403, "credential"), (404, "moved")):
        publisher.answers["/file.csv"] = [Answer(b"no", status=status)]
        with pytest.raises(SourceError) as caught:
            get()
        assert remedy in caught.value.remedy


def test_a_closed_port_is_tried_again_while_there_is_a_network(client, get, monkeypatch, waits):
    with closing(socket.create_server(("127.0.0.1", 0))) as closed:
        port = closed.getsockname()[1]
    client.settings.mirrors[HOST] = f"http://127.0.0.1:{port}"
    monkeypatch.setattr(network, "is_down", lambda *_: False)
    with pytest.raises(Transient, match="refused") as caught:
        get()
    assert "tries" in caught.value.what
    assert waits


def test_without_a_network_nothing_is_asked_and_nothing_waited_for(client, get, monkeypatch, waits):
    monkeypatch.setattr(network, "is_down", lambda *_: True)
    with pytest.raises(download.NoNetwork):
        get()
    assert client.tries == 0
    assert waits == []


def test_a_server_that_never_answers_is_given_up(publisher, get, monkeypatch, client):
    monkeypatch.setattr(download, "READ_SECONDS", 0.2)
    client.patience = 0.5
    publisher.answers["/file.csv"], _ = held(Answer(BODY))
    watch = Stopwatch()
    with pytest.raises(Transient, match="timed out"):
        get()
    assert watch.seconds() < 3


# The body


def test_a_body_shorter_than_announced_is_asked_for_again(publisher, get, tmp_path):
    publisher.answers["/file.csv"] = [Answer(BODY, cut=5), Answer(BODY)]
    get()
    assert (tmp_path / "file").read_bytes() == BODY
    assert len(publisher.requests) == 2


def test_a_cut_body_is_never_taken(publisher, get):
    publisher.answers["/file.csv"] = [Answer(BODY, cut=5)]
    with pytest.raises(Transient, match=r"cut after 5 bytes|only 5 of 12 bytes"):
        get()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


def test_chunks_are_put_together(here, monkeypatch, tmp_path):
    get_raw(CHUNKED + b"4\r\na,b\n\r\n8\r\n1,2\n3,4\n\r\n0\r\n\r\n", monkeypatch, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


@pytest.mark.parametrize(
    "reply",
    [
        CHUNKED + b"4\r\na,b\n\r\n8\r\n1,2\n3,4\n\r\n",  # no last chunk
        CHUNKED + b"4\r\na,b\n\r\n8\r\n1,2\n",  # cut within a chunk
        CHUNKED + b"zz\r\na,b\n\r\n0\r\n\r\n",
        PLAIN + b"Content-Length: 13\r\n\r\n" + BODY,
        b"",
    ],
)
def test_a_reply_without_its_end_is_worth_asking_again(here, monkeypatch, tmp_path, reply):
    with pytest.raises(Transient):
        get_raw(reply, monkeypatch, tmp_path / "file")


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: -12\r\n",
        b"Content-Length: +12\r\n",
        b"Content-Length: 12abc\r\n",
        b"Content-Length: twelve\r\n",
        b"Content-Length: 12\r\nContent-Length: 12\r\n",
        b"Content-Length: 12\r\nContent-Length: 8\r\n",
        b"Content-Length: 12\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"a line without a colon\r\nContent-Length: 12\r\n",
        b"Content-Encoding: br\r\nContent-Length: 12\r\n",
    ],
)
def test_a_head_that_leaves_the_end_open_is_refused(here, monkeypatch, tmp_path, head):
    with pytest.raises(SourceError) as caught:
        get_raw(PLAIN + head + b"\r\n" + BODY, monkeypatch, tmp_path / "file", patience="20")
    assert not isinstance(caught.value, Transient)


def test_without_length_or_chunks_the_document_must_prove_its_end(here, monkeypatch, tmp_path):
    seen = []
    with raw_server(PLAIN + b"\r\n" + BODY) as url:
        Client(settings_with(monkeypatch, url)).get(
            URL, tmp_path / "file", check=lambda path, is_delimited: seen.append(is_delimited)
        )
    assert seen == [False]


def test_gzip_that_was_not_asked_for_is_undone(publisher, get, tmp_path):
    body = BODY + b"5,6\n" * 500_000
    headers = {"Content-Encoding": "gzip"}
    publisher.answers["/file.csv"] = [Answer(gzip.compress(body), headers=headers)]
    received = get()
    assert (tmp_path / "file").read_bytes() == body
    assert received.sha256 == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize(
    ("body", "is_transient"),
    [
        (gzip.compress(BODY, mtime=0)[:-9], True),
        (gzip.compress(BODY, mtime=0)[:-8] + bytes(8), True),
        (b"no gzip at all", True),
        (gzip.compress(BODY, mtime=0) + gzip.compress(BODY, mtime=0)[:-9], True),
        (gzip.compress(BODY, mtime=0) + b"rest", False),
    ],
)
def test_damaged_gzip_is_refused(publisher, get, client, body, is_transient):
    client.patience = 0
    publisher.answers["/file.csv"] = [Answer(body, headers={"Content-Encoding": "gzip"})]
    with pytest.raises(SourceError, match="gzip") as caught:
        get()
    assert isinstance(caught.value, Transient) == is_transient


def test_a_gzip_bomb_ends_early(publisher, get, tmp_path):
    bomb = gzip.compress(bytes(200 * 1024**2), compresslevel=9)
    publisher.answers["/file.csv"] = [Answer(bomb, headers={"Content-Encoding": "gzip"})]
    with pytest.raises(SourceError, match="expands without end"):
        get()
    assert (tmp_path / "file").stat().st_size < 100 * 1024**2


def test_an_answer_over_the_limit_is_stopped(publisher, get, monkeypatch):
    monkeypatch.setattr(compressed, "MAX_BYTES", 8)
    publisher.answers["/file.csv"] = [Answer(BODY)]
    with pytest.raises(SourceError, match="stopped"):
        get()


# Redirects


def redirect(target, status=302):
    return [Answer(status=status, headers={"Location": target})]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", ["/moved.csv", f"https://{HOST}/moved.csv"])
def test_a_redirect_is_followed_through_mirrors(publisher, get, tmp_path, target, status):
    publisher.answers["/file.csv"] = redirect(target, status)
    publisher.answers["/moved.csv"] = [Answer(BODY)]
    get()
    assert (tmp_path / "file").read_bytes() == BODY


def test_headers_do_not_follow_to_another_host(publisher, get):
    publisher.answers["/file.csv"] = redirect("https://other.example.gov/file.csv")
    publisher.answers["/other/file.csv"] = [Answer(BODY)]
    get(headers={"X-App-Token": "secret"})
    assert publisher.requests[0].headers["X-App-Token"] == "secret"
    assert "X-App-Token" not in publisher.requests[1].headers


@pytest.mark.parametrize(
    "target",
    [
        f"http://{HOST}/file.csv",
        "ftp://data.example.gov/file.csv",
        "file:///etc/passwd",
        "https://127.0.0.1/x",
        "https://127.1/x",
        "https://2130706433/x",
        "https://0x7f.1/x",
        "https://localhost:8443/x",
        "https://localhost./x",
        "https://10.0.0.1/x",
        "https://192.168.1.1/x",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/x",
        "https://[fe80::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "//127.0.0.1/x",
        "",
        URL,
        # Addresses that represent an IPv4 address: NAT64, mapped, compatible, 6to4, Teredo.
        "https://[64:ff9b::7f00:1]/x",
        "https://[64:ff9b::127.0.0.1]/x",
        "https://[64:ff9b::a9fe:a9fe]/x",
        "https://[64:ff9b::8.8.8.8]/x",
        "https://[64:ff9b:1::10.0.0.1]/x",
        "https://[::ffff:8.8.8.8]/x",
        "https://[::ffff:0:10.0.0.1]/x",
        "https://[::10.0.0.1]/x",
        "https://[2002:7f00:1::]/x",
        "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/x",
        # Site-local, special, multicast and unassigned addresses.
        "https://[fec0::1]/x",
        "https://192.0.0.192/x",
        "https://192.88.99.1/x",
        "https://[3fff::1]/x",
        "https://[fd00::1]/x",
        "https://[ff02::1]/x",
        "https://[fe80::1%25eth0]/x",
        "https://224.0.0.1/x",
        "https://100.64.0.1/x",
        "https://198.18.0.1/x",
        "https://0/x",
        "https://0177.0.0.1/x",
        # URLs whose host libraries disagree about, or translate.
        r"https://127.0.0.1\@www.example.gov/x",
        r"https://www.example.gov\@127.0.0.1/x",
        "https://127%2e0.0.1/x",
        "https://%6cocalhost/x",
        "https://\uff11\uff12\uff17.0.0.1/x".encode().decode("latin-1"),
        "https://127\u30020\u30020\u30021/x".encode().decode("latin-1"),
        "https://\uff4cocalhost/x".encode().decode("latin-1"),
        "https://www.example.gov:443@127.0.0.1/x",
        "https://:443/x",
    ],
)
def test_a_redirect_that_leads_nowhere_good_is_refused(publisher, get, target, waits):
    publisher.answers["/file.csv"] = redirect(target)
    with pytest.raises(SourceError, match="not followed"):
        get()
    assert len(publisher.requests) == 1


OUTSIDE, OTHER = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"


def resolving(monkeypatch, *found):
    """Resolve every name to these addresses; return the list of resolved names."""
    asked = []

    def getaddrinfo(host, port, **more):
        asked.append(host)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, socket.SOCK_STREAM, 6, "", (address, 443)) for address in found]

    resolver = SimpleNamespace(getaddrinfo=getaddrinfo, SOCK_STREAM=socket.SOCK_STREAM)
    monkeypatch.setattr(addresses, "socket", resolver)
    return asked


@pytest.mark.parametrize(
    "found",
    [
        ["127.0.0.1"],
        ["10.1.2.3"],
        ["172.16.0.1"],
        ["192.168.0.1"],
        ["169.254.169.254"],
        ["100.100.100.200"],
        ["0.0.0.0"],
        ["224.0.0.1"],
        ["::1"],
        ["fd00:ec2::254"],
        ["fe80::1%eth0"],
        ["::ffff:10.0.0.1"],
        ["2002:a00:1::"],
        ["64:ff9b::a00:1"],
        ["64:ff9b:1::a9fe:a9fe"],
        [OUTSIDE, "10.0.0.1"],
        [OUTSIDE, OTHER, "::1"],
    ],
)
def test_a_redirect_to_a_name_of_an_inside_address_is_refused(publisher, get, monkeypatch, found):
    asked = resolving(monkeypatch, *found)
    publisher.answers["/file.csv"] = redirect("https://www.example.org/x")
    with pytest.raises(SourceError, match="not followed: the name resolves to") as caught:
        get()
    assert found[-1].partition("%")[0] in caught.value.what
    assert asked == ["www.example.org"]
    assert len(publisher.requests) == 1


def led_to(target):
    """A redirect to a target, for `responses.redirect_target`."""
    return SimpleNamespace(raw=SimpleNamespace(headers=HTTPHeaderDict(Location=target)))


@pytest.mark.parametrize(
    "found", [[OUTSIDE], [OTHER], [OUTSIDE, OTHER], ["64:ff9b::5db8:d70e"], []]
)
def test_a_redirect_to_a_public_name_is_followed(here, monkeypatch, found):
    asked = resolving(monkeypatch, *found)
    target = "https://www.example.org/x"
    assert responses.redirect_target(here, URL, led_to(target)) == target
    assert asked == ["www.example.org"]


def test_a_name_that_a_proxy_or_a_mirror_resolves_is_not_looked_up(here, monkeypatch):
    asked = resolving(monkeypatch, "10.0.0.1")
    target = "https://www.example.org/x"
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.gov:3128")
    assert responses.redirect_target(here, URL, led_to(target)) == target
    monkeypatch.setenv("NO_PROXY", "www.example.org")
    with pytest.raises(SourceError, match="not followed"):
        responses.redirect_target(here, URL, led_to(target))
    monkeypatch.setenv("MIRRORS", "*=http://127.0.0.1:9")
    settings.load.cache_clear()
    assert responses.redirect_target(settings.load(), URL, led_to(target)) == target
    assert asked == ["www.example.org"]


def test_an_inside_address_is_followed_to_its_mirror(here, publisher, monkeypatch, tmp_path):
    monkeypatch.setenv("MIRRORS", f"{HOST}={publisher.url},10.0.0.1={publisher.url}/inside")
    settings.load.cache_clear()
    publisher.answers["/file.csv"] = redirect("https://10.0.0.1/file.csv")
    publisher.answers["/inside/file.csv"] = [Answer(BODY)]
    assert Client(settings.load()).get(URL, tmp_path / "file").status == 200


def test_redirects_in_a_circle_end(publisher, get):
    publisher.answers["/file.csv"] = redirect("/b")
    publisher.answers["/b"] = redirect("/file.csv")
    with pytest.raises(SourceError, match="redirects more than 5 times"):
        get()


def test_two_places_to_go_are_none(here, monkeypatch, tmp_path):
    reply = b"HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(SourceError, match="2 locations"):
        get_raw(reply, monkeypatch, tmp_path / "file")


# Conditional requests


def test_not_modified_is_an_answer_to_a_conditional_request_only(publisher, get, tmp_path):
    publisher.answers["/file.csv"] = [Answer(status=304)]
    assert get(headers={"If-None-Match": '"1"'}).status == 304
    assert not (tmp_path / "file").exists()
    with pytest.raises(SourceError, match="answered 304"):
        get(headers={"X-App-Token": "x"})


# Messages


def test_nothing_secret_and_no_control_character_is_shown(publisher, get, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:s3cr%20et@h/d")
    body = b"\x1b[31mred\r\nnext s3cr et " + b"x" * 2000
    publisher.answers["/file.csv"] = [Answer(body, status=400)]
    with pytest.raises(SourceError) as caught:
        get(f"https://user:hidden@{HOST}/file.csv?s3cr%20et")
    message = str(caught.value)
    assert message.isprintable()
    assert "hidden" not in message
    assert "s3cr" not in message
    assert len(message) < 700


def test_a_redirect_to_what_is_no_url_shows_no_password(publisher, get):
    publisher.answers["/file.csv"] = redirect("https://user:hidden@[bad/x")
    with pytest.raises(SourceError) as caught:
        get()
    assert not isinstance(caught.value, Transient)
    assert "hidden" not in str(caught.value)
    assert "hidden" not in shown("https://user:hidden@[bad/x")


# Certificates


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("tls") / "pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1"
    command += " -addext subjectAltName=IP:127.0.0.1"
    files = ["-out", path, "-keyout", path.with_suffix(".key")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return path


@pytest.mark.parametrize("trusted", [False, True])
def test_a_certificate_nobody_vouches_for_is_refused_once(
    here, monkeypatch, tmp_path, certificate, waits, trusted
):
    listener = socket.create_server(("127.0.0.1", 0))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True) as wrapped:
                    wrapped.recv(65536)
                    wrapped.sendall(PLAIN + b"Content-Length: 12\r\n\r\n" + BODY)
            except OSError:
                if listener.fileno() < 0:
                    return

    with ExitStack() as stack:
        stack.callback(stop_listening, listener)
        Thread(target=serve, daemon=True).start()
        here = settings_with(monkeypatch, f"https://127.0.0.1:{listener.getsockname()[1]}")
        if trusted:  # the same server with a trusted certificate: only that makes the difference
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
            assert Client(here).get(URL, tmp_path / "file").status == 200
            return
        with pytest.raises(SourceError, match="certificate was refused") as caught:
            Client(here).get(URL, tmp_path / "file")
    assert not isinstance(caught.value, Transient)
    assert "certificate" in caught.value.remedy
    assert waits == []


# Checks of a document


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("csv", b"", "the response is empty"),
        ("csv", b"\xef\xbb\xbf \r\n", "the response is empty"),
        ("csv", b"<!DOCTYPE html><p>Maintenance</p>", "a web page came instead of csv"),
        ("json", b" <html>", "a web page came instead of json"),
        ("csv", b'{"error": "no"}', "JSON came instead of csv"),
        ("csv", b"a,b\n1,2", "the last line has no end"),
        ("json", b"true", "not JSON"),
        ("json", b"Service unavailable", "not JSON"),
        ("json", b'{"a": [1, 2', "the JSON has no end"),
        ("json", b'{"a": [1, 2}', "not JSON"),
        ("json", b"[" * 100_000 + b"]" * 100_000, "not JSON"),
        ("json", b'{"error": {"code": 400}}', "an error came with status 200"),
        ("json", b'{"rows": [], "error": true}', "an error came with status 200"),
        ("geojson", b'{"features": []}', "no FeatureCollection came"),
        ("geojson", b'{"type": "Topology"}', "no FeatureCollection came"),
        ("geojson", b"[]", "no FeatureCollection came"),
        ("topojson", b'{"type": "FeatureCollection"}', "no Topology came"),
        ("geojson", b'{"type": {"a": 1}}', "no FeatureCollection came"),
    ],
)
def test_what_is_no_whole_document_of_its_kind_is_refused(tmp_path, kind, body, message):
    path = tmp_path / "file"
    path.write_bytes(body)
    with pytest.raises(SourceError, match=message) as caught:
        checks.check(path, kind, URL)
    assert URL in caught.value.what
    assert caught.value.what.isprintable()
    assert isinstance(caught.value, Transient) == (message.split()[-1] in ("empty", "end"))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("csv", BODY),
        ("tsv", b"a\tb\r\n1\t2\r\n"),
        ("csv", b'"a","b"\n"{","x"\n'),
        ("json", b' {"a": 1.10, "error": null} \n'),
        ("json", b"\xef\xbb\xbf[1, {}]"),
        ("geojson", b'{"features": [], "type": "FeatureCollection"}'),
        ("topojson", b'{"type":"Topology"}'),
    ],
)
def test_whole_documents_pass(tmp_path, kind, body):
    (tmp_path / "file").write_bytes(body)
    checks.check(tmp_path / "file", kind, URL)


def test_a_missing_final_newline_needs_a_declaration_and_a_length(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a,b\n1,2")
    checks.check(path, "csv", URL, final_newline=False)
    with pytest.raises(Transient, match="no end"):
        checks.check(path, "csv", URL, final_newline=False, is_delimited=False)


# The content fingerprint

VOLATILE = ("metadata.generated", "updated")


@pytest.mark.parametrize(
    ("one", "other", "is_equal"),
    [
        (
            b'{"metadata": {"generated": 1, "count": 2}, "x": 1}',
            b'{"metadata":{"generated":2,"count":2},"x":1}',
            True,
        ),
        (b'{"x": [1, 2]}', b'{"x": [1,2]}', False),  # the rest is compared as bytes
        (b'{"metadata": {"generated": 1}, "x": 1}', b'{"metadata":{"generated":2}, "x":1}', True),
        (b'{"x": 1, "updated": {"a": 1}}', b'{"x": 1}', True),
        (b'{"x": 1, "y": 2}', b'{"y": 2, "x": 1}', True),
        (b'{"x": 1.10}', b'{"x": 1.1}', False),
        (b'{"x": 1}', b'{"x": "1"}', False),
        (b'{"x": {"updated": 1}}', b'{"x": {"updated": 2}}', False),
        (b'{"metadata": null}', b"{}", False),
        (b'{"metadata": [1]}', b'{"metadata": [2]}', False),
    ],
)
def test_the_content_fingerprint_leaves_out_the_volatile_and_nothing_else(one, other, is_equal):
    prints = []
    for body in (one, other):
        prints.append(fingerprints.of_json(body, VOLATILE, "file"))
    assert (prints[0] == prints[1]) == is_equal


@pytest.mark.parametrize("body", [b"[1]", b"{", b"\xff"])
def test_the_content_fingerprint_of_something_else_is_an_error(body):
    with pytest.raises(SourceError, match="not a JSON object"):
        fingerprints.of_json(body, VOLATILE, "file")
