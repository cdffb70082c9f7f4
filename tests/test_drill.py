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
from publisher import Answer

from pipeline import settings
from pipeline.drill import command, proxy, row_faults, trials
from pipeline.drill.proxy import LOGIN, MOVED, Server
from pipeline.drill.readers import Readers, Seen, published, trouble
from pipeline.drill.trials import TRIALS, not_for
from pipeline.drill.verdict import Night, verdict, worst
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
def test_rows_go_and_columns_are_renamed_in_every_form(body, third, renamed):
    assert row_faults.fewer_rows(1 / 3)(Answer(body)).body == third
    if renamed:
        assert row_faults.renamed_column(Answer(body)).body == renamed


def test_rows_are_found_in_gzip_and_in_a_topology():
    packed = row_faults.fewer_rows(0)(Answer(gzip.compress(CSV))).body
    assert gzip.decompress(packed) == b"a,b\n"
    topology = {"type": "Topology", "objects": {"x": {"geometries": [{"properties": {"a": 1}}]}}}
    renamed = json.loads(row_faults.renamed_column(Answer(json.dumps(topology).encode())).body)
    assert renamed["objects"]["x"]["geometries"] == [{"properties": {"renamed_a": 1}}]


def test_a_fault_of_rows_is_left_out_where_no_rows_are_known():
    of_rows = next(trial for trial in TRIALS if trial.name == "no rows")
    assert not_for(of_rows, [Answer(b"<html></html>")]) == "no rows are known in its answers"
    assert not not_for(of_rows, [Answer(b"<html></html>"), Answer(CSV)])


# The server


@pytest.fixture
def behind(here, publisher, tmp_path, monkeypatch):
    """A server of a drill before a publisher: a function that asks it for `/host/path`."""
    monkeypatch.setenv("MIRRORS", f"*={publisher.url}")
    settings.load.cache_clear()
    server = Server(settings.load(), tmp_path)
    server.listen(recording=True)
    with proxy.serving(server) as url:

        def ask(path: str, **headers: str) -> requests.Response:
            return requests.get(url + path, headers=headers, allow_redirects=False)

        ask.server, ask.url = server, url
        yield ask


def test_an_answer_is_recorded_once_and_replayed(behind, publisher):
    given = {"ETag": '"x"', "Content-Type": "text/csv", "Keep-Alive": "timeout=1"}
    publisher.answers["/a.gov/f.csv"] = [Answer(CSV, headers=given)]
    first = behind(
        "/a.gov/f.csv?x=1", **{"If-None-Match": '"x"', "X-App-Token": "t", "Range": "1-"}
    )
    asked = publisher.requests[0].headers
    assert asked["X-App-Token"] == "t"
    assert not {"If-None-Match", "Range"} & asked.keys()
    behind.server.listen(recording=False)
    again = behind("/a.gov/f.csv?x=1")
    assert len(publisher.requests) == 1
    for answer in (first, again):
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (200, CSV, '"x"')
        assert "Keep-Alive" not in answer.headers
    behind("/a.gov/f.csv?x=2")
    assert len(publisher.requests) == 2


def test_an_answer_without_a_length_is_passed_on_whole(behind, publisher):
    publisher.answers["/a.gov/f.csv"] = [Answer(CSV, length=None)]
    assert behind("/a.gov/f.csv").content == CSV


def test_what_asks_for_another_try_is_not_recorded(behind, publisher):
    publisher.answers["/a.gov/f.csv"] = [Answer(b"busy", 503), Answer(CSV)]
    assert behind("/a.gov/f.csv").status_code == 503
    behind.server.listen(recording=False)
    assert behind("/a.gov/f.csv").content == CSV


def test_a_cut_answer_of_the_publisher_is_not_recorded(behind, publisher):
    publisher.answers["/a.gov/f.csv"] = [Answer(CSV, cut=5), Answer(CSV)]
    with pytest.raises(requests.exceptions.RequestException):
        _ = behind("/a.gov/f.csv").content
    behind.server.listen(recording=False)
    assert behind("/a.gov/f.csv").content == CSV


def test_a_fault_is_for_one_address_and_so_many_times(behind, publisher):
    publisher.answers["/a.gov/list"] = [Answer(b"[]")]
    publisher.answers["/a.gov/f.csv"] = [Answer(CSV)]
    asked = [f"https://a.gov{path}" for path in ("/list", "/f.csv?p=1", "/f.csv?p=2")]
    for url in asked:
        behind(url.removeprefix("https:/"))
    assert behind.server.asked == asked
    addresses = behind.server.addresses_of(asked, ["https://b.gov/"])
    assert addresses == {"https://a.gov/f.csv"}
    assert behind.server.addresses_of(asked, ["https://a.gov/list?x"]) == {"https://a.gov/list"}
    behind.server.listen(recording=False)
    behind.server.switch_on(lambda url: lambda answer: Answer(b"no", 500), addresses, 2)
    codes = [behind(url.removeprefix("https:/")).status_code for url in (*asked, asked[1])]
    assert codes == [200, 500, 500, 200]
    assert behind.server.met == 2


def test_the_hosts_that_redirects_lead_to_answer(behind, publisher):
    publisher.answers["/a.gov/f.csv"] = [Answer(CSV)]
    addresses = {"https://a.gov/f.csv"}
    behind.server.switch_on(lambda url: lambda answer: Answer(b"no", 500), addresses, 9)
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
    """The pipeline is led to the drill, the drill asks the address that the script asks."""
    here = behind.server._here
    monkeypatch.setitem(here.mirrors, "*", behind.url)
    led = network.mirrored(here, url)
    assert led == f"{behind.url}/{ORIGINS[url]}"
    monkeypatch.setitem(here.mirrors, "*", publisher.url)
    publisher.answers[f"/{ORIGINS[url].partition('?')[0]}"] = [Answer(CSV)]
    assert requests.get(led, timeout=10).content == CSV
    (asked,) = behind.server.asked
    assert network.below(asked) == network.below(url)
    assert urlsplit(asked).scheme == urlsplit(url).scheme
    usual = {"https": 443, "http": 80}[urlsplit(url).scheme]
    assert (urlsplit(asked).port or usual) == (urlsplit(url).port or usual)
    (moved,) = re.findall(rb"Location: (\S+)", sent(trials._moved(asked)))
    behind.server.asked.clear()
    assert behind(f"/{moved.decode().removeprefix('https://')}").content == CSV
    assert behind.server.asked == [asked]


def sent(fault) -> bytes:
    """What a fault writes to the connection."""
    written = io.BytesIO()
    fault(Answer()).send(written)
    return written.getvalue()


def test_nobody_else_on_this_machine_can_ask_through_the_server(behind, publisher):
    publisher.answers["/a.gov/f.csv"] = [Answer(CSV)]
    open_url = behind.url.rpartition("/")[0]
    assert requests.get(f"{open_url}/a.gov/f.csv").status_code == 404
    assert not publisher.requests


def test_a_world_that_is_gone_is_noticed(here, tmp_path, monkeypatch):
    with proxy.nobody() as gone:
        monkeypatch.setenv("MIRRORS", f"*={gone}")
        settings.load.cache_clear()
        server = Server(settings.load(), tmp_path)
        assert server.answer("/a.gov/f.csv", {}).status == 502
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
def test_readers_know_a_generation(seen, wrong):
    assert trouble(seen, OLD, NEW) == wrong


def test_a_table_that_is_rightly_empty_is_no_trouble():
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
    """What the readers meet until something is so, in so many readings at most."""
    reads, troubles = 0, []

    def is_over() -> bool:
        nonlocal reads, troubles
        seen = readers.take(before, after)
        reads, troubles = reads + seen.reads, troubles + seen.troubles
        return reads > MANY or until(reads, troubles)

    eventually(is_over, "a reading", every=0.1)
    return Seen(reads, troubles)


def test_readers_of_tables_that_stand_meet_nothing(read):
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
def test_readers_notice_what_no_reader_may_meet(read, harm, wrong):
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
    ("facts", "did", "violations"),
    [
        ({}, "recovered", []),
        ({"code": 2, "reason": "it is down"}, "kept", []),
        ({"code": 2, "reason": "x", "is_same_raw": False}, "refused", []),
        ({"code": 2}, "kept", ["nothing says why"]),
        ({"code": 1, "reason": "x"}, "failed", ["ended with code 1"]),
        ({"is_same_raw": False}, "taken", ["a bad answer was taken for data"]),
        (
            {"code": 2, "reason": "x", "is_same_raw": False, "is_same_published": False},
            "refused",
            ["what is published changed"],
        ),
        ({"is_met": False}, "recovered", ["the source never asked for what the fault was in"]),
    ],
)
def test_a_night_is_judged(facts, did, violations):
    judged = verdict(Night(**(vars(WELL) | facts)), READ, may_take=False)
    assert (judged.did, judged.violations) == (did, violations)


def test_fewer_rows_may_be_taken_by_a_source_that_says_so():
    night = Night(0, "", is_met=True, is_same_raw=False, is_same_published=False)
    assert verdict(night, READ, may_take=True).violations == []
    assert verdict(night, READ, may_take=False).violations


def test_what_readers_meet_is_a_violation_and_so_is_no_reading():
    assert verdict(WELL, Seen(9, ["an error: x"]), False).violations == ["a reader met an error: x"]
    assert verdict(WELL, Seen(0, []), False).violations == ["nothing was read meanwhile"]


def test_the_worst_code_counts():
    assert [worst(codes) for codes in ([0, 2, 0], [0, 0], [2, 1], [2, 143])] == [2, 0, 1, 143]


def test_a_source_that_was_left_out_is_told_by_the_code():
    assert [command.exit_code(*counts) for counts in ((0, 0), (0, 1), (1, 0), (1, 1))] == [
        0,
        78,
        1,
        1,
    ]
