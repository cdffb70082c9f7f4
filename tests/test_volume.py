"""The volume guard and `accept`: few rows are refused, kept, and let in when somebody says so."""

import gzip
import json
import random
import sys
import types

import pytest
from publisher import Answer
from test_fetch import HOST, SOURCE, URL, night, on_disk, serve

from pipeline import __main__ as command_line
from pipeline import accept, errors, lock, settings, state, volume
from pipeline.candidate import Source
from pipeline.errors import SourceError

WORDS = ("T", "P", "https://e.gov/", "L", "https://l.gov/", "csv")


@pytest.fixture
def here(here, publisher, monkeypatch):
    monkeypatch.setenv("MIRRORS", f"{HOST}={publisher.url}")
    monkeypatch.setenv("FETCH_PATIENCE", "0")
    settings.load.cache_clear()
    return settings.load()


def table(count, word="x"):
    return b"a,b\n" + b"".join(b"%d,%s\n" % (n, word.encode()) for n in range(count))


def nights(publisher, *counts, **more):
    """A night for each count; the facts of the last."""
    for number, count in enumerate(counts):
        serve(publisher, table(count, f"night{number}"))
        facts = night(**more)
    return facts


# Counting


@pytest.mark.parametrize(
    ("kind", "body", "count"),
    [
        ("csv", b"a,b\n", 0),
        ("csv", b"a,b\r\n\r\n", 0),
        ("csv", b"", 0),
        ("csv", b"\n", 0),
        ("csv", b"a,b", 0),
        ("csv", b"a\n1", 1),
        ("csv", b"a,b\n1,2\n\n", 1),
        ("csv", b"a,b\n1,2\n", 1),
        ("csv", b"a,b\r\n1,2\r\n3,4", 2),
        ("csv", b'a,b\n1,"two\nlines, and ""more""\n"\n3,4\n', 2),
        ("csv", b'a,b\n1,6" pipe\n3,4\n', None),
        ("tsv", b'a\tb\n6"\t7\n8\t9\n', 2),
        ("geojson", b'{"type":"FeatureCollection","features":[{"a":[1]},{}]}', 2),
        ("geojson", b'{"type":"FeatureCollection","features":[]}', 0),
        ("topojson", b'{"type":"Topology","objects":{"a":{"geometries":[1,2]},"b":{}}}', 2),
        ("json", b"[1,2]", None),
    ],
)
def test_rows_are_counted(tmp_path, kind, body, count):
    (tmp_path / "file").write_bytes(body)
    assert volume.rows(tmp_path / "file", kind) == count


def test_rows_of_random_tables_are_counted_however_the_file_is_cut(tmp_path, monkeypatch):
    """Quotes, line ends and the last line may all fall on the border of two blocks."""
    chance = random.Random(6)
    path, sizes = tmp_path / "file", [1, 2, 3, 7, 64]
    monkeypatch.setattr(
        volume.archive, "blocks", lambda path: in_blocks(path, chance.choice(sizes))
    )
    for _ in range(300):
        count, end = chance.randrange(6), chance.choice([b"\n", b"\r\n"])
        values = [b"", b"x", b'"a,b"', b'"\n"', b'"\r\n"', b'"say ""no"""', b'"\n\n"']
        lines = [b",".join(chance.choices(values, k=2)) for _ in range(1 + count)]
        body = end.join(lines) + chance.choice([b"", end, end + end])
        path.write_bytes(body)
        assert volume.rows(path, "csv") == count, body
        path.write_bytes(body + b'"')
        assert volume.rows(path, "csv") is None, body


def in_blocks(path, size):
    body = path.read_bytes()
    return (body[start : start + size] for start in range(0, len(body), size))


def test_rows_of_a_topology_are_those_of_the_object_that_is_read(tmp_path):
    (tmp_path / "file").write_bytes(
        b'{"type":"Topology","objects":{"counties":{"geometries":[1,2]},"nation":{"geometries":[3]}}}'
    )
    assert volume.rows(tmp_path / "file", "topojson", "counties") == 2
    assert volume.rows(tmp_path / "file", "topojson") == 3
    with pytest.raises(SourceError, match="no object states in it, but counties, nation"):
        volume.rows(tmp_path / "file", "topojson", "states")


def test_rows_of_a_large_packed_file_are_counted(tmp_path):
    quoted = b"".join(b'%d,"a\nb"\n' % n for n in range(300_000))
    (tmp_path / "file.csv.gz").write_bytes(gzip.compress(b"a,b\n" + quoted, 1))
    assert volume.rows(tmp_path / "file.csv.gz", "csv.gz") == 300_000


@pytest.mark.parametrize("features", [b"5", b"[" * 200_000])
def test_what_cannot_be_counted_is_refused(tmp_path, features):
    (tmp_path / "file").write_bytes(b'{"type": "FeatureCollection", "features": %b}' % features)
    with pytest.raises(SourceError, match="cannot be counted"):
        volume.rows(tmp_path / "file", "geojson")


# Refusing


def test_the_manifest_has_the_rows(here, publisher):
    assert nights(publisher, 7)["rows"] == 7
    assert json.loads(on_disk(here)["datapackage.json"])["resources"][0]["rows"] == 7


def test_under_half_of_the_usual_is_refused_with_the_numbers(here, publisher):
    nights(publisher, 100, 90)
    before = on_disk(here)
    facts = nights(publisher, 47)  # the median is 95
    assert facts["outcome"] == "kept"
    assert f"{URL}: refused, 47 rows came where 95 are usual" in facts["reason"]
    assert "./run_pipeline.sh accept alpha" in facts["remedy"]
    assert on_disk(here) == before
    assert nights(publisher, 48)["outcome"] == "new"


def test_the_median_is_of_the_last_seven(here, publisher):
    counts = [1000, 600, 500, 400, 400, 300, 300, 200, 200]
    assert nights(publisher, *counts)["outcome"] == "new"
    assert nights(publisher, 150)["outcome"] == "new"  # the median of all nine is 400
    history = state.read(here, "alpha")["history"]
    assert [entry["rows"] for entry in history] == [400, 400, 300, 300, 200, 200, 150]


def test_one_bad_large_night_does_not_move_the_bound(here, publisher):
    assert nights(publisher, 100, 100, 100, 900, 60)["outcome"] == "new"


def test_over_ten_times_the_usual_is_refused_with_the_numbers(here, publisher):
    nights(publisher, 100, 90)
    before = on_disk(here)
    facts = nights(publisher, 951)  # the median is 95
    assert facts["outcome"] == "kept"
    assert f"{URL}: refused, 951 rows came where 95 are usual" in facts["reason"]
    assert on_disk(here) == before
    assert nights(publisher, 950)["outcome"] == "new"


def test_accepted_rows_are_usual_however_many(here, publisher, run):
    nights(publisher, 100, 100, 2000)
    assert run("accept", "alpha")[0] == errors.OK
    assert nights(publisher, 2001)["outcome"] == "new"
    assert nights(publisher, 101)["outcome"] == "kept"


def test_after_nights_without_a_row_any_number_is_right(here, publisher):
    quiet = Source(*WORDS, may_be_empty=True)
    assert nights(publisher, 0, 5, source=quiet)["outcome"] == "new"


def test_no_row_is_refused_on_the_first_night_too(here, publisher):
    facts = nights(publisher, 0)
    assert facts["outcome"] == "missing"
    assert "no row" in facts["reason"]


def test_the_guard_stands_without_its_memory(here, publisher):
    nights(publisher, 100)
    (here.state / "alpha.json").unlink()
    assert "100 are usual" in nights(publisher, 10)["reason"]


def test_force_does_not_pass_the_guard(here, publisher):
    nights(publisher, 100)
    assert nights(publisher, 10, force=True)["outcome"] == "kept"


@pytest.mark.parametrize(
    ("declared", "count", "outcome"),
    [
        ({"may_be_empty": True}, 0, "new"),
        ({"may_be_empty": True}, 3, "kept"),
        ({"may_shrink": True}, 3, "new"),
        ({"may_shrink": True}, 3000, "new"),
        ({"may_be_empty": True}, 3000, "kept"),
        ({"may_shrink": True}, 0, "kept"),
        ({"may_shrink": True, "may_be_empty": True}, 0, "new"),
    ],
)
def test_what_a_script_declares_passes(here, publisher, declared, count, outcome):
    nights(publisher, 100)
    assert nights(publisher, count, source=Source(*WORDS, **declared))["outcome"] == outcome


def test_what_was_refused_is_kept_once_however_often_it_comes(here, publisher):
    nights(publisher, 100)
    for _ in range(3):
        nights(publisher, 10)
    kept = list((here.quarantine / "alpha").iterdir())
    assert [folder.name for folder in kept] == [state.read(here, "alpha")["refused"]["folder"]]
    assert (kept[0] / "file.csv").read_bytes() == table(10, "night0")


# Accepting


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process: its exit code and what it said."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["run_pipeline.sh", *words])
        monkeypatch.setattr(settings, "sources", lambda: ["alpha", "beta"])
        try:
            code = command_line.main()
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def test_accept_takes_what_was_refused_without_asking_again(here, publisher, run):
    nights(publisher, 100, 100, 100, 10)
    publisher.requests.clear()
    code, said = run("accept", "alpha")
    assert code == errors.OK
    assert "alpha: accepted, 10 rows" in said
    assert publisher.requests == []
    assert on_disk(here)["file.csv"] == table(10, "night3")
    noted = state.read(here, "alpha")["api"]
    assert (noted["outcome"], noted["rows"], noted["reason"]) == ("new", 10, "")
    assert (
        noted["content"] == json.loads(on_disk(here)["datapackage.json"])["fingerprints"]["content"]
    )
    assert list((here.quarantine / "alpha").iterdir()) == []
    assert night()["outcome"] == "unchanged"


def test_what_was_accepted_is_usual_from_then_on(here, publisher, run):
    nights(publisher, 100, 100, 100, 10)
    run("accept", "alpha")
    assert nights(publisher, 9)["outcome"] == "new"
    assert nights(publisher, 4)["outcome"] == "kept"


def test_accept_lets_in_once(here, publisher, run):
    nights(publisher, 100, 10)
    assert run("accept", "alpha")[0] == errors.OK
    code, said = run("accept", "alpha")
    assert code == errors.USAGE
    assert "alpha: nothing is refused" in said


def test_validators_of_what_was_accepted_hold(here, publisher, run):
    nights(publisher, 100)
    serve(publisher, table(10), headers={"ETag": '"few"'})
    night()
    run("accept", "alpha")
    publisher.answers["/file.csv"] = [Answer(status=304)]
    assert night()["outcome"] == "unchanged"
    assert publisher.requests[-1].headers["If-None-Match"] == '"few"'


def test_a_refusal_is_forgotten_when_the_publisher_is_well_again(here, publisher, run):
    nights(publisher, 100, 10)
    assert nights(publisher, 100)["outcome"] == "unchanged"
    assert run("accept", "alpha")[0] == errors.USAGE


def test_a_damaged_refused_snapshot_is_not_accepted(here, publisher, run):
    nights(publisher, 100, 10)
    before = on_disk(here)
    (kept,) = (here.quarantine / "alpha").iterdir()
    (kept / "file.csv").write_bytes(table(11))
    code, said = run("accept", "alpha")
    assert code == errors.DEGRADED
    assert "file.csv does not have the SHA-256" in said
    assert on_disk(here) == before


def test_accept_that_was_killed_is_finished_by_the_next(here, publisher, run, monkeypatch):
    nights(publisher, 100, 10)
    with monkeypatch.context() as patched:
        patched.setattr(volume, "remember", lambda *words, **more: sys.exit(137))
        assert run("accept", "alpha")[0] == 137
    assert run("accept", "alpha")[0] == errors.OK
    assert on_disk(here)["file.csv"] == table(10, "night1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["accept"], "name the source"),
        (["accept", "gamma"], "no source is called gamma"),
        (["accept", "alpha", "beta"], "nothing is refused"),
    ],
)
def test_wrong_usage(here, run, words, said):
    code, told = run(*words)
    assert code == errors.USAGE
    assert said in told


def test_accept_waits_for_no_run(here, publisher, run):
    nights(publisher, 100, 10)
    with lock.held_by_this_run(here):
        assert run("accept", "alpha")[0] == errors.BUSY
    assert accept.accept(here, "alpha").descriptor["rows"] == 10


def test_a_source_that_says_nothing_is_held_to_the_guard():
    assert not SOURCE.may_be_empty
    assert not SOURCE.may_shrink


def test_one_empty_file_of_several_is_refused():
    entries = [
        {"url": f"https://e.gov/{year}.csv", "rows": rows} for year, rows in ((1, 90), (2, 0))
    ]
    described = {"rows": 90, "resources": entries}
    with pytest.raises(SourceError, match=r"e\.gov/2\.csv: refused, there is no row in this file"):
        volume.check(Source(*WORDS), "alpha", described, [100])
    volume.check(Source(*WORDS, may_be_empty=True), "alpha", described, [100])
    proven = {"completeness": {"verdict": "complete"}}  # an empty last page is none of that
    volume.check(Source(*WORDS), "alpha", described | proven, [100])


@pytest.mark.parametrize("more", [{}, {"completeness": {"verdict": "complete"}}])
def test_a_snapshot_without_a_row_is_refused_however_it_came(more):
    described = {"rows": 0, "resources": [{"url": URL, "rows": 0}]} | more
    with pytest.raises(SourceError, match="refused, there is no row in it"):
        volume.check(Source(*WORDS), "alpha", described, [])
    volume.check(Source(*WORDS), "alpha", {"rows": 1, "resources": [{"url": URL, "rows": 1}]}, [])


def test_the_guard_looks_at_the_last_seven_alone():
    described = {"rows": 150, "resources": [{"url": URL, "rows": 150}]}
    volume.check(Source(*WORDS), "alpha", described, [1000] * 8 + [200] * 7)
    with pytest.raises(SourceError, match=r"where 1,000 are usual \(the median of the last 7\)"):
        volume.check(Source(*WORDS), "alpha", described, [200] * 7 + [1000] * 8)


def test_rows_of_the_bundled_capture_are_no_measure(here):
    """It may be years old, and it was never accepted."""
    current = types.SimpleNamespace(origin="live", descriptor={"rows": 5})
    assert volume.accepted_rows(here, "alpha", current) == [5]
    current.origin = "bundled"
    assert volume.accepted_rows(here, "alpha", current) == []
    assert volume.accepted_rows(here, "alpha", None) == []


def test_what_is_remembered_of_a_snapshot_is_read_by_later_versions_too(here):
    here.state.mkdir(parents=True, exist_ok=True)
    taken = types.SimpleNamespace(fetched_at="then", content="digest", descriptor={"rows": 5})
    volume.remember(here, "alpha", taken, {"etag": "x"})
    volume.remember(here, "alpha", taken, {"etag": "y"})  # the same snapshot counts once
    kept = [{"fetched_at": "then", "content": "digest", "rows": 5}]
    assert state.read(here, "alpha") == {"validators": {"etag": "y"}, "history": kept}
    uncounted = types.SimpleNamespace(fetched_at="now", content="other", descriptor={})
    volume.remember(here, "alpha", uncounted, {})
    assert state.read(here, "alpha") == {"validators": {}, "history": kept}


def test_a_snapshot_that_nobody_can_count_passes():
    volume.check(Source(*WORDS), "alpha", {"resources": [{"url": URL}]}, [100])
