"""The drill: its server, faults, readers and verdicts."""

import gzip
import io
import json
import re
from urllib.parse import urlsplit

import psycopg
import pytest
import requests
from patience import eventually

from pipeline import settings
from pipeline.drill import command, faults, proxy, trials
from pipeline.drill.faults import Reply
from pipeline.drill.proxy import LOGIN, MOVED, Server
from pipeline.drill.readers import Readers, Seen, published, trouble
from pipeline.drill.trials import TRIALS, Night, verdict, why_not, worst
from pipeline.http import network

MARK = b"\xef\xbb\xbf"
CSV = b'a,b\n1,"x\ny"\n2,z\n3,w\n'


def features(*numbers: int) -> bytes:
    found = [{"type": "Feature", "properties": {"n": n, "m": 0}} for n in numbers]
    return json.dumps({"type": "FeatureCollection", "features": found}).encode()


# Rows


@pytest.mark.parametrize(
    ("body", "third", "renamed"),
    [
        (CSV, b'a,b\n1,"x\ny"\n', CSV.replace(b"a,", b"renamed_a,", 1)),
        (
            b'\xef\xbb\xbf"a"\tb\n1\t2\n',
            b'\xef\xbb\xbf"a"\tb\n',
            b'\xef\xbb\xbf"renamed_a"\tb\n1\t2\n',
        ),
        (features(1, 2, 3), features(1), features(1, 2, 3).replace(b'"n"', b'"renamed_n"')),
        (b'[{"a": 1}, {"a": 2}, {"a": 3}]', b'[{"a": 1}]', None),
        (b"<html>a,b\n1,2\n</html>", b"<html>a,b\n1,2\n</html>", b"<html>a,b\n1,2\n</html>"),
        (b'{"count": 3}', b'{"count": 3}', b'{"count": 3}'),
    ],
)
def test_rows_are_removed_and_columns_renamed_in_every_format(body, third, renamed):
    assert faults.fewer_rows(1 / 3)(Reply(body)).body == third
    if renamed:
        assert faults.renamed_column(Reply(body)).body == renamed


def test_rows_are_found_in_gzip_and_in_a_topology():
    packed = faults.fewer_rows(0)(Reply(gzip.compress(CSV))).body
    assert gzip.decompress(packed) == b"a,b\n"
    topology = {"type": "Topology", "objects": {"x": {"geometries": [{"properties": {"a": 1}}]}}}
    renamed = json.loads(faults.renamed_column(Reply(json.dumps(topology).encode())).body)
    assert renamed["objects"]["x"]["geometries"] == [{"properties": {"renamed_a": 1}}]


def test_a_fault_of_rows_is_left_out_if_no_rows_are_recognised():
    of_rows = next(trial for trial in TRIALS if trial.name == "no rows")
    assert why_not(of_rows, [Reply(b"<html></html>")]) == "no rows are recognised in its replies"
    assert not why_not(of_rows, [Reply(b"<html></html>"), Reply(CSV)])


# The server


@pytest.fixture
def behind(here, publisher, tmp_path, monkeypatch):
    """A drill's server in front of a publisher: a function that requests `/host/path` from it."""
    monkeypatch.setenv("MIRRORS", f"*={publisher.url}")
    settings.load.cache_clear()
    server = Server(settings.load(), tmp_path)
    server.listen(recording=True)
    with proxy.serving(server) as url:

        def ask(path: str, **headers: str) -> requests.Response:
            return requests.get(url + path, headers=headers, allow_redirects=False)

        ask.server, ask.url = server, url
        yield ask


def test_a_response_is_recorded_once_and_replayed(behind, publisher):
    given = {"ETag": '"x"', "Content-Type": "text/csv", "Keep-Alive": "timeout=1"}
    publisher.answers["/a.gov/f.csv"] = [Reply(CSV, headers=given)]
    first = behind(
        "/a.gov/f.csv?x=1", **{"If-None-Match": '"x"', "X-App-Token": "t", "Range": "1-"}
    )
    asked = publisher.requests[0].headers
    assert asked["X-App-Token"] == "t"
    assert not {"If-None-Match", "Range"} & asked.keys()
    behind.server.listen(recording=False)
    again = behind("/a.gov/f.csv?x=1")
    assert len(publisher.requests) == 1
    for response in (first, again):
        facts = (response.status_code, response.content, response.headers["ETag"])
        assert facts == (200, CSV, '"x"')
        assert "Keep-Alive" not in response.headers
    behind("/a.gov/f.csv?x=2")
    assert len(publisher.requests) == 2


def test_a_response_without_a_length_is_passed_on_completely(behind, publisher):
    publisher.answers["/a.gov/f.csv"] = [Reply(CSV, length=None)]
    assert behind("/a.gov/f.csv").content == CSV


def test_a_status_that_calls_for_a_retry_is_not_recorded(behind, publisher):
    publisher.answers["/a.gov/f.csv"] = [Reply(b"busy", 503), Reply(CSV)]
    assert behind("/a.gov/f.csv").status_code == 503
    behind.server.listen(recording=False)
    assert behind("/a.gov/f.csv").content == CSV


def test_a_truncated_response_of_the_publisher_is_not_recorded(behind, publisher):
    publisher.answers["/a.gov/f.csv"] = [Reply(CSV, cut=5), Reply(CSV)]
    with pytest.raises(requests.exceptions.RequestException):
        _ = behind("/a.gov/f.csv").content
    behind.server.listen(recording=False)
    assert behind("/a.gov/f.csv").content == CSV


def test_a_fault_is_for_one_address_and_so_many_times(behind, publisher):
    publisher.answers["/a.gov/list"] = [Reply(b"[]")]
    publisher.answers["/a.gov/f.csv"] = [Reply(CSV)]
    asked = [f"https://a.gov{path}" for path in ("/list", "/f.csv?p=1", "/f.csv?p=2")]
    for url in asked:
        behind(url.removeprefix("https:/"))
    assert behind.server.requested == asked
    addresses = behind.server.addresses_of(asked, ["https://b.gov/"])
    assert addresses == {"https://a.gov/f.csv"}
    assert behind.server.addresses_of(asked, ["https://a.gov/list?x"]) == {"https://a.gov/list"}
    behind.server.listen(recording=False)
    behind.server.switch_on(lambda url: lambda reply: Reply(b"no", 500), addresses, 2)
    codes = [behind(url.removeprefix("https:/")).status_code for url in (*asked, asked[1])]
    assert codes == [200, 500, 500, 200]
    assert behind.server.faults_sent == 2


def test_the_targets_of_redirects_respond(behind, publisher):
    publisher.answers["/a.gov/f.csv"] = [Reply(CSV)]
    addresses = {"https://a.gov/f.csv"}
    behind.server.switch_on(lambda url: lambda reply: Reply(b"no", 500), addresses, 9)
    assert behind(f"/{MOVED}/a.gov/f.csv").content == CSV
    assert b"log in" in behind(f"/{LOGIN}/").content


ORIGINS = {
    "https://a.gov/f.csv?x=1": "a.gov/f.csv?x=1",
    "https://a.gov:443/f.csv": "a.gov/f.csv",
    "https://A.gov:8443/f.csv": "https:a.gov:8443/f.csv",
    "http://a.gov/f.csv": "http:a.gov:80/f.csv",
    "http://a.gov:8000/f.csv?x=1:2/3": "http:a.gov:8000/f.csv?x=1:2/3",
    "http://a.gov:443/": "http:a.gov:443/",
}


@pytest.mark.parametrize("url", ORIGINS)
def test_scheme_and_port_of_a_publisher_are_kept(behind, publisher, url, monkeypatch):
    """The pipeline is redirected to the drill, which requests the same address."""
    here = behind.server._here
    monkeypatch.setitem(here.mirrors, "*", behind.url)
    led = network.mirrored(here, url)
    assert led == f"{behind.url}/{ORIGINS[url]}"
    monkeypatch.setitem(here.mirrors, "*", publisher.url)
    publisher.answers[f"/{ORIGINS[url].partition('?')[0]}"] = [Reply(CSV)]
    assert requests.get(led, timeout=10).content == CSV
    (asked,) = behind.server.requested
    assert network.below(asked) == network.below(url)
    assert urlsplit(asked).scheme == urlsplit(url).scheme
    usual = {"https": 443, "http": 80}[urlsplit(url).scheme]
    assert (urlsplit(asked).port or usual) == (urlsplit(url).port or usual)
    (moved,) = re.findall(rb"Location: (\S+)", sent(trials._moved(asked)))
    behind.server.requested.clear()
    assert behind(f"/{moved.decode().removeprefix('https://')}").content == CSV
    assert behind.server.requested == [asked]


def sent(fault) -> bytes:
    """What a fault writes to the connection."""
    written = io.BytesIO()
    fault(Reply()).send(written)
    return written.getvalue()


def test_nobody_else_on_this_machine_can_ask_through_the_server(behind, publisher):
    publisher.answers["/a.gov/f.csv"] = [Reply(CSV)]
    open_url = behind.url.rpartition("/")[0]
    assert requests.get(f"{open_url}/a.gov/f.csv").status_code == 404
    assert not publisher.requests


def test_a_missing_network_is_detected(here, tmp_path, monkeypatch):
    with proxy.nobody() as gone:
        monkeypatch.setenv("MIRRORS", f"*={gone}")
        settings.load.cache_clear()
        server = Server(settings.load(), tmp_path)
        assert server.reply("/a.gov/f.csv", {}).status == 502
        assert server.is_offline


def test_every_host_that_is_not_named_goes_to_the_star(here, monkeypatch):
    monkeypatch.setenv("MIRRORS", "a.gov=https://m.org/a,*=http://127.0.0.1:9/x")
    settings.load.cache_clear()
    given = settings.load()
    assert network.mirrored(given, "https://a.gov/f?q=1") == "https://m.org/a/f?q=1"
    assert network.mirrored(given, "https://B.gov/f?q=1") == "http://127.0.0.1:9/x/b.gov/f?q=1"


# Readers

MANY = 500  # readings
OLD = {"a": (2, "1"), "b": (1, "5")}
NEW = {"a": (3, "2"), "b": (1, "6")}


@pytest.mark.parametrize(
    ("seen", "wrong"),
    [
        (OLD, ""),
        (NEW, ""),
        ({"a": (2, "1")}, ""),
        ({"a": (0, "0")}, "transformed.a empty"),
        ({"a": (2, "7")}, "transformed.a with rows of no generation"),
        ({"a": (2, "1"), "b": (1, "6")}, "tables of two generations in one transaction"),
    ],
)
def test_readers_recognise_a_generation(seen, wrong):
    assert trouble(seen, OLD, NEW) == wrong


def test_a_table_may_be_empty_if_its_generation_is():
    assert trouble({"a": (0, "0")}, OLD, NEW | {"a": (0, "0")}) == ""


@pytest.fixture
def read(database_url):
    """A database with two published tables, and the two readers at work."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("create schema transformed")
        for table in "ab":
            connection.execute(f"create table transformed.{table} as select 1 as generation")
        readers = Readers(database_url)
        readers.start()
        yield connection, readers
        readers.stop()


def met(readers, before, after, until) -> Seen:
    """What the readers see until a condition holds, in MANY reads at most."""
    reads, troubles = 0, []

    def is_over() -> bool:
        nonlocal reads, troubles
        seen = readers.take(before, after)
        reads, troubles = reads + seen.reads, troubles + seen.troubles
        return reads > MANY or until(reads, troubles)

    eventually(is_over, "a reading", every=0.1)
    return Seen(reads, troubles)


def test_readers_of_unchanged_tables_see_no_trouble(read):
    connection, readers = read
    tables = published(connection)
    assert tables.keys() == {"a", "b"}
    seen = met(readers, tables, tables, lambda reads, troubles: reads > 20)
    assert seen.reads > 20
    assert seen.troubles == []


@pytest.mark.parametrize(
    ("harm", "wrong"),
    [
        ("truncate transformed.a", "transformed.a empty"),
        ("update transformed.a set generation = 7", "transformed.a with rows of no generation"),
        ("alter table transformed.a add extra int", "transformed.a with rows of no generation"),
        ("update transformed.a set generation = 2", "tables of two generations"),
        ("create view transformed.v as select 1 / (generation - 1) from transformed.a", None),
        ("lock", "canceling statement due to lock timeout"),
    ],
)
def test_readers_detect_what_no_reader_may_see(read, harm, wrong):
    connection, readers = read
    before = published(connection)
    with connection.transaction(force_rollback=True):
        connection.execute("update transformed.a set generation = 2")
        connection.execute("update transformed.b set generation = 2")
        after = published(connection)
    if harm == "lock":
        connection.execute(f"alter database {connection.info.dbname} set lock_timeout = 100")
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where pid <> pg_backend_pid() and datname = current_database()"
        )
        with connection.transaction():
            connection.execute("lock table transformed.a in access exclusive mode")
            seen = met(readers, before, after, lambda reads, found: wrong in str(found))
    else:
        connection.execute(harm)
        seen = met(readers, before, after, lambda reads, found: found or (not wrong and reads > 20))
    if wrong is None:
        assert seen.troubles == []  # a view of others is no table of ours
    else:
        assert any(wrong in text for text in seen.troubles), seen


# Verdicts

WELL = Night(0, "", is_met=True, is_same_raw=True, is_same_published=True)
READ = Seen(10, [])


@pytest.mark.parametrize(
    ("facts", "outcome", "violations"),
    [
        ({}, "recovered", []),
        ({"code": 2, "reason": "it is down"}, "kept", []),
        ({"code": 2, "reason": "x", "is_same_raw": False}, "rejected", []),
        ({"code": 2}, "kept", ["no reason was given"]),
        ({"code": 1, "reason": "x"}, "failed", ["ended with code 1"]),
        ({"is_same_raw": False}, "accepted", ["a faulty reply was accepted as data"]),
        (
            {"code": 2, "reason": "x", "is_same_raw": False, "is_same_published": False},
            "rejected",
            ["the published tables changed"],
        ),
        ({"is_met": False}, "recovered", ["the source never requested what had the fault"]),
    ],
)
def test_a_night_is_judged(facts, outcome, violations):
    judged = verdict(Night(**(vars(WELL) | facts)), READ, may_accept=False)
    assert (judged.outcome, judged.violations) == (outcome, violations)


def test_fewer_rows_may_be_accepted_by_a_source_that_declares_it():
    night = Night(0, "", is_met=True, is_same_raw=False, is_same_published=False)
    assert verdict(night, READ, may_accept=True).violations == []
    assert verdict(night, READ, may_accept=False).violations


def test_trouble_of_readers_is_a_violation_and_so_is_no_read_at_all():
    assert verdict(WELL, Seen(9, ["an error: x"]), False).violations == ["a reader met an error: x"]
    assert verdict(WELL, Seen(0, []), False).violations == ["no table was read meanwhile"]


def test_the_worst_code_counts():
    assert [worst(codes) for codes in ([0, 2, 0], [0, 0], [2, 1], [2, 143])] == [2, 0, 1, 143]


def test_the_exit_code_shows_that_a_source_was_left_out():
    assert [command.exit_code(*counts) for counts in ((0, 0), (0, 1), (1, 0), (1, 1))] == [
        0,
        78,
        1,
        1,
    ]
