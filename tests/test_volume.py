"""The volume guard and `accept`: few rows are rejected, kept, and accepted on demand."""

import gzip
import io
import json
import random
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from publisher import Answer
from snapshots import described
from test_fetch import HOST, SOURCE, URL, night, on_disk, serve

from pipeline import __main__ as command_line
from pipeline import compressed, errors, settings, state
from pipeline.cli import accept
from pipeline.connectors import listing
from pipeline.errors import SourceError
from pipeline.formats import delimited, geojson, topojson
from pipeline.formats.legible import Legible, Output
from pipeline.raw import refetch, snapshot, volume
from pipeline.raw.candidate import Candidate
from pipeline.raw.snapshot import Snapshot
from pipeline.raw.source import Source
from pipeline.stages import guards, lock, preprocess
from pipeline.state import Fetched

WORDS = ("T", "P", "https://e.gov/", "L", "https://l.gov/")
CSV = Source(*WORDS, "csv")
NOTHING = Fetched()


@pytest.fixture
def here(here, publisher, monkeypatch):
    monkeypatch.setenv("MIRRORS", f"{HOST}={publisher.url}")
    monkeypatch.setenv("FETCH_PATIENCE", "0")
    monkeypatch.setattr(preprocess, "_run_data_tests", lambda source, path: None)
    settings.load.cache_clear()
    return settings.load()


def table(count, word="x"):
    return b"a,b\n" + b"".join(b"%d,%s\n" % (n, word.encode()) for n in range(count))


def as_csv(taken, output):
    return delimited.write_csv(taken.files, output)


def made(here, make=as_csv, name="alpha", force=False) -> dict:
    """Stage preprocess of one source; returns its record."""
    try:
        facts = preprocess.work(here, SimpleNamespace(force=force), name, make)
    except SourceError as error:
        facts = {"outcome": "failed", "reason": error.what, "remedy": error.remedy}
    return state.update(here, name, "preprocess", **{"reason": "", "remedy": ""} | facts)


def nights(publisher, *counts, make=as_csv, **more):
    """A night for each count; the facts of the last."""
    for number, count in enumerate(counts):
        serve(publisher, table(count, f"night{number}"))
        night(**more)
        facts = made(settings.load(), make)
    return facts


def legible_rows(here, name="alpha"):
    return volume.records(preprocess.output_of(here, name)) - 1


# Counting


def packed(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


def zipped(body: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr("rows.csv", body)
    return file.getvalue()


def of_zip(taken, output):
    member = compressed.unzip(taken.file, "rows.csv", output.with_name("rows.csv"))
    try:
        return delimited.write_csv(member, output)
    finally:
        member.unlink()


def of_json(taken, output):
    """Rows of a JSON document, which a script writes by itself."""
    rows = json.loads(taken.file.read_bytes())["rows"]
    with Output(output) as out:
        out.write(b"n\n" + b"".join(b"%d\n" % row for row in rows))
        return out.receipt({taken.file.name: len(rows)}, ["n"], {})


def of_json_in_a_row(taken, output):
    """The same by a script that does not tell where its rows come from."""
    legible = of_json(taken, output)
    return Legible(legible.rows, legible.columns, legible.sha256, legible.bytes, {})


def inches(count):
    """Rows in which a quote has no meaning: an inch mark in the first, or in the first two."""
    return b"a\tb\n" + b"".join(b"%d\t6%s\n" % (n, b'"' * (n < 1)) for n in range(count))


def feature_collection(count):
    feature = {"type": "Feature", "properties": {"a": 1}, "geometry": None}
    return json.dumps({"type": "FeatureCollection", "features": [feature] * count}).encode()


def topology(count):
    points = [{"type": "Point", "coordinates": [1, 2]}] * count
    layers = {"wanted": points, "other": points[:1] * 500}
    objects = {k: {"type": "GeometryCollection", "geometries": v} for k, v in layers.items()}
    return json.dumps({"type": "Topology", "objects": objects, "arcs": []}).encode()


def unquoted(taken, output):
    return delimited.write_csv(taken.files, output, delimiter="\t", quote=None)


def of_cr(taken, output):
    return delimited.write_csv(taken.files, output, line_end="\r")


def of_utf16(taken, output):
    return delimited.write_csv(taken.files, output, encoding="utf-16")


KINDS = {  # of every kind: what the publisher has for so many rows, and how it is made legible
    "csv": ("csv", table, as_csv),
    "csv with line ends in quotes": ("csv", lambda n: table(n, '"x\n\ny"'), as_csv),
    "csv that ends in CR alone": ("csv", lambda n: table(n).replace(b"\n", b"\r"), of_cr),
    "csv in UTF-16": ("csv", lambda n: table(n).decode().encode("utf-16"), of_utf16),
    "tsv with an inch mark": ("tsv", inches, unquoted),
    "csv.gz": ("csv.gz", lambda n: packed(table(n)), as_csv),
    "csv.gz by another name": ("csv.gz", lambda n: packed(table(n)), as_csv),
    "zip": ("zip", lambda n: zipped(table(n)), of_zip),
    "json": ("json", lambda n: json.dumps({"rows": [1] * n}).encode(), of_json),
    "json, not told by file": (
        "json",
        lambda n: json.dumps({"rows": [1] * n}).encode(),
        of_json_in_a_row,
    ),
    "geojson": ("geojson", feature_collection, lambda t, o: geojson.write_csv(t.files, o)),
    "topojson": (
        "topojson",
        topology,
        lambda t, o: topojson.write_csv(t.file, o, object_name="wanted"),
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_rows_of_a_snapshot_of_any_kind_are_checked(here, publisher, name):
    """3,201 rows that became 1,000 were published, where the kind was zip or json."""
    kind, body, make = KINDS[name]
    path = "/rows.csv.gz" if name == "csv.gz" else "/rows"
    source = Source(*WORDS, kind, encoding="utf-16" if "16" in name else "utf-8")
    outcomes = []
    for count in (320, 321, 100, 160, 3300, 0, 322):
        publisher.answers[path] = [Answer(body(count))]
        night(source=source, gather=lambda candidate: candidate.download(f"https://{HOST}{path}"))
        facts = made(here, make)
        outcomes.append((count, facts["outcome"], facts["rows"]))
        if count == 100:
            assert "100 rows came where 320 are usual" in facts["reason"]
    assert outcomes == [
        (320, "new", 320),
        (321, "new", 321),
        (100, "failed", 321),
        (160, "failed", 321),
        (3300, "failed", 321),
        (0, "failed", 321),
        (322, "new", 322),
    ]


def test_rows_of_random_tables_are_counted_however_the_file_is_cut(tmp_path, monkeypatch):
    """Quotes, line ends and the last line may all fall on the border of two blocks."""
    chance = random.Random(6)
    path, sizes = tmp_path / "file", [1, 2, 3, 7, 64]
    monkeypatch.setattr(
        volume.compressed, "blocks", lambda path: in_blocks(path, chance.choice(sizes))
    )
    path.touch()
    assert volume.records(path) == 0
    for _ in range(300):
        count, end = chance.randrange(6), chance.choice([b"\n", b"\r\n"])
        values = [b"", b"x", b'"a,b"', b'"\n"', b'"\r\n"', b'"say ""no"""', b'"\n\n"']
        lines = [b",".join(chance.choices(values, k=2)) for _ in range(1 + count)]
        path.write_bytes(end.join(lines) + chance.choice([b"", end]))
        assert volume.records(path) == count + 1, path.read_bytes()


def in_blocks(path, size):
    body = path.read_bytes()
    return (body[start : start + size] for start in range(0, len(body), size))


# Refusing


def test_under_half_of_the_usual_is_refused_with_the_numbers(here, publisher):
    nights(publisher, 100, 90)
    before = preprocess.output_of(here, "alpha").read_bytes()
    facts = nights(publisher, 47)  # the median is 95
    assert facts["outcome"] == "failed"
    assert f"{URL}: refused, 47 rows came where 95 are usual" in facts["reason"]
    assert "./run_pipeline.sh accept alpha" in facts["remedy"]
    assert preprocess.output_of(here, "alpha").read_bytes() == before
    assert (here.quarantine / "alpha" / "000001-alpha.csv").exists()
    assert nights(publisher, 48)["outcome"] == "new"


def test_what_is_refused_stays_as_it_came(here, publisher):
    """In the stash as well, which is filled before: it is history."""
    nights(publisher, 100, 10)
    assert on_disk(here)["file.csv"] == table(10, "night1")
    assert state.read(here, "alpha")["api"]["outcome"] == "new"
    content = snapshot.current(here, "alpha").content
    assert state.read(here, "alpha")["rejected"]["content"] == content
    assert not preprocess.is_current(here, "alpha")


def test_the_median_is_of_the_last_seven(here, publisher):
    counts = [1000, 600, 500, 400, 400, 300, 300, 200, 200]
    assert nights(publisher, *counts)["outcome"] == "new"
    assert nights(publisher, 150)["outcome"] == "new"  # the median of all nine is 400
    history = state.read(here, "alpha")["accepted"]
    assert [entry["rows"] for entry in history] == [400, 400, 300, 300, 200, 200, 150]


def test_one_bad_large_night_does_not_move_the_bound(here, publisher):
    assert nights(publisher, 100, 100, 100, 900, 60)["outcome"] == "new"


def test_over_ten_times_the_usual_is_refused_with_the_numbers(here, publisher):
    nights(publisher, 100, 90)
    facts = nights(publisher, 951)  # the median is 95
    assert facts["outcome"] == "failed"
    assert f"{URL}: refused, 951 rows came where 95 are usual" in facts["reason"]
    assert legible_rows(here) == 90
    assert nights(publisher, 950)["outcome"] == "new"


def test_after_nights_without_a_row_any_number_is_right(here, publisher):
    quiet = Source(*WORDS, "csv", may_be_empty=True)
    assert nights(publisher, 0, 5, source=quiet)["outcome"] == "new"


def test_no_row_is_refused_on_the_first_night_too(here, publisher):
    facts = nights(publisher, 0)
    assert facts["outcome"] == "failed"
    assert "no row" in facts["reason"]


def test_the_guard_stands_without_its_memory(here, publisher):
    nights(publisher, 100)
    (here.state / "alpha.json").unlink()
    assert "100 are usual" in nights(publisher, 10)["reason"]


def test_the_memory_of_an_earlier_version_is_the_last_good_file(here, publisher):
    """Its own counts were those of raw bytes, which are wrong for some kinds."""
    nights(publisher, 100)
    history = [{"fetched_at": "then", "content": "digest", "rows": 5}]
    state.replace(here, "alpha", accepted=None, history=history, refused={"folder": "x"})
    assert "100 are usual" in nights(publisher, 10)["reason"]
    assert nights(publisher, 101)["outcome"] == "new"
    assert not {"history", "refused"} & state.read(here, "alpha").keys()


def test_the_bundled_capture_is_no_measure(here, publisher):
    """It may be years old, and it was never accepted."""
    nights(publisher, 100)
    state.replace(here, "alpha", accepted=None)
    assert volume.accepted(here, "alpha", preprocess.output_of(here, "alpha")) == []
    taken = SimpleNamespace(content="c", origin="bundled", descriptor=described([]))
    legible = Legible(3, ["a", "b"], "", 0, {})
    output = preprocess.output_of(here, "alpha")
    assert guards.check(here, "alpha", taken, legible, output, output) == {}
    taken.origin = "live"
    assert guards.check(here, "alpha", taken, legible, output, output)["accepted"]


def test_force_does_not_pass_the_guard(here, publisher):
    nights(publisher, 100)
    assert nights(publisher, 10, force=True)["outcome"] == "failed"
    assert made(here, force=True)["outcome"] == "failed"


def test_another_script_that_makes_fewer_rows_is_held_too(here, publisher, monkeypatch):
    """The snapshot is the same; what the code makes of it is not."""
    nights(publisher, 100)

    def of_half(taken, output):
        raw = output.with_name("half.csv")
        raw.write_bytes(b"".join(taken.file.read_bytes().splitlines(keepends=True)[:40]))
        return delimited.write_csv(raw, output)

    monkeypatch.setattr(preprocess, "code_fingerprint", lambda source: "other")
    assert "39 rows came where 100 are usual" in made(here, of_half)["reason"]
    assert accept.run(["alpha"]) == errors.OK
    assert made(here, of_half)["rows"] == 39
    assert [entry["rows"] for entry in state.read(here, "alpha")["accepted"]] == [39]


@pytest.mark.parametrize(
    ("declared", "count", "outcome"),
    [
        ({"may_be_empty": True}, 0, "new"),
        ({"may_be_empty": True}, 3, "failed"),
        ({"may_shrink": True}, 3, "new"),
        ({"may_shrink": True}, 3000, "new"),
        ({"may_be_empty": True}, 3000, "failed"),
        ({"may_shrink": True}, 0, "failed"),
        ({"may_shrink": True, "may_be_empty": True}, 0, "new"),
    ],
)
def test_what_a_script_declares_passes(here, publisher, declared, count, outcome):
    nights(publisher, 100)
    source = Source(*WORDS, "csv", **declared)
    assert nights(publisher, count, source=source)["outcome"] == outcome


def test_a_declaration_after_a_rejection_accepts_the_same_snapshot(here, publisher):
    nights(publisher, 100, 10)
    night(source=Source(*WORDS, "csv", may_shrink=True))
    assert made(here)["rows"] == 10


def test_a_source_without_declarations_is_checked():
    assert not SOURCE.may_be_empty
    assert not SOURCE.may_shrink


# Accepting


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process: returns its exit code and output."""

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
    assert "rejected" not in state.read(here, "alpha")
    facts = made(here)
    assert (facts["outcome"], facts["rows"], facts["reason"]) == ("new", 10, "")
    assert night()["outcome"] == "unchanged"
    assert made(here)["outcome"] == "unchanged"


def test_what_was_accepted_counts_as_fetched(here, publisher, run):
    """What preprocess rejected is fetched again in full: see `refetch`."""
    nights(publisher, 100, 10)
    state.update(here, "alpha", "preprocess", run="tonight", rejected_in="tonight")
    assert refetch.due(here, "alpha", snapshot.current(here, "alpha"))
    run("accept", "alpha")
    assert not refetch.due(here, "alpha", snapshot.current(here, "alpha"))


def test_what_was_accepted_is_usual_from_then_on(here, publisher, run):
    nights(publisher, 100, 100, 100, 10)
    run("accept", "alpha")
    assert nights(publisher, 9)["outcome"] == "new"
    assert nights(publisher, 4)["outcome"] == "failed"


def test_accepted_rows_are_usual_however_many(here, publisher, run):
    nights(publisher, 100, 100, 2000)
    assert run("accept", "alpha")[0] == errors.OK
    assert nights(publisher, 2001)["outcome"] == "new"
    assert nights(publisher, 101)["outcome"] == "failed"


def test_accepted_emptiness_is_usual_until_there_are_rows_again(here, publisher, run):
    nights(publisher, 100, 0)
    assert run("accept", "alpha")[0] == errors.OK
    serve(publisher, b"a,b\r\n")  # another snapshot, which is empty too
    night()
    assert made(here)["rows"] == 0
    assert nights(publisher, 30)["outcome"] == "new"
    assert "no row" in nights(publisher, 0)["reason"]


def test_accept_applies_once(here, publisher, run):
    nights(publisher, 100, 10)
    assert run("accept", "alpha")[0] == errors.OK
    code, said = run("accept", "alpha")
    assert code == errors.USAGE
    assert "alpha: nothing was rejected" in said


def test_accept_accepts_exactly_the_rejected_snapshot(here, publisher, run):
    """Another one came since, and no guard has looked at it."""
    nights(publisher, 100, 10)
    serve(publisher, table(3, "other"))
    night()
    code, said = run("accept", "alpha")
    assert code == errors.DEGRADED
    assert "is not on disk any more" in said
    assert "3 rows came where 100 are usual" in made(here)["reason"]
    assert run("accept", "alpha")[0] == errors.OK
    assert made(here)["rows"] == 3


def test_a_refusal_is_forgotten_when_the_publisher_is_well_again(here, publisher, run):
    nights(publisher, 100, 10)
    assert nights(publisher, 100)["outcome"] == "new"
    assert run("accept", "alpha")[0] == errors.USAGE


def test_a_damaged_refused_snapshot_is_not_accepted(here, publisher, run):
    nights(publisher, 100, 10)
    (here.raw / "alpha" / "file.csv").write_bytes(table(11))
    code, said = run("accept", "alpha")
    assert code == errors.DEGRADED
    assert "file.csv does not have the SHA-256" in said
    assert guards.waiting(here, "alpha")


def test_accept_that_was_killed_is_finished_by_the_next(here, publisher, run, monkeypatch):
    nights(publisher, 100, 10)
    with monkeypatch.context() as patched:
        patched.setattr(state, "replace", lambda *words, **more: sys.exit(137))
        assert run("accept", "alpha")[0] == 137
    assert run("accept", "alpha")[0] == errors.OK
    assert made(here)["rows"] == 10


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["accept"], "accept needs the name of a source"),
        (["accept", "gamma"], "there is no source gamma"),
        (["accept", "alpha", "beta"], "nothing was rejected"),
        (["accept", "alpha", "--header"], "nothing was rejected"),
        (["status", "--header"], "--header is an option of accept"),
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
    assert guards.waiting(here, "alpha")


# The parts of a snapshot of several files


def snapshot_of(parts: dict[str, int], number: int, window: str = "", **more):
    """A snapshot with a file a part, and the receipt of what was made of it."""
    resources = [
        {"path": f"{part}.csv", "url": f"https://e.gov/{part}.csv", "part": part} for part in parts
    ]
    taken = Snapshot("alpha", Path(), described(resources, number, window_begin=window, **more))
    files = {f"{part}.csv": rows for part, rows in parts.items()}
    return taken, Legible(sum(parts.values()), ["a"], "", 0, {}, files=files)


class Nights:
    """Nights of the guard alone; `run` returns its message, or nothing."""

    def __init__(self, **declared):
        self.known: list[volume.Count] = []
        self.declared = Fetched(**declared)

    def run(self, parts: dict[str, int], window: str = "", accept=False, **more) -> str:
        taken, legible = snapshot_of(
            parts, len(self.known) + random.getrandbits(60), window, **more
        )
        newest = volume.counted(taken, legible)
        try:
            volume.check("quakes", taken, newest, self.known, self.declared)
        except SourceError as error:
            if accept:
                self.known = [newest]
            return error.what
        self.known = volume.with_newest(self.known, newest)
        return ""


PROVEN = {"completeness": {"verdict": "complete"}}


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"2022": 900, "2023": 0, "2024": 900}, "2023.csv: refused, 0 rows came, where 1,000"),
        ({"2022": 900, "2024": 900}, "2023: refused, no such file came, where 1,000"),
        ({"2022": 900, "2023": 499, "2024": 900}, "2023.csv: refused, 499 rows came, where 1,000"),
        ({"2022": 900, "2023": 900, "2024": 100}, "2024.csv: refused, 100 rows came"),
        ({"2022": 900, "2023": 900}, "2024: refused, no such file came"),
        ({"2023": 900, "2024": 900}, "2022: refused, no such file came"),
        ({"2022": 900, "2023": 500, "2024": 900}, ""),
        ({"2023": 900, "2024": 900, "2025": 30}, ""),  # 2025 took the place of 2022
        ({"2022": 900, "2023": 900, "2024": 20_000}, ""),  # a part may grow
        ({"2022": 900, "2023": 900, "2024": 900, "2025": 1}, ""),
    ],
)
@pytest.mark.parametrize("more", [{}, PROVEN])
def test_a_part_that_disappears_inside_a_whole_is_refused(now, said, more):
    quiet = Nights()
    for _ in range(3):
        assert quiet.run(dict.fromkeys(("2022", "2023", "2024"), 1000), **more) == ""
    told = quiet.run(now, **more)
    assert said in told if said else told == ""


def test_a_part_of_few_rows_may_not_become_empty():
    quiet = Nights()
    for _ in range(3):
        assert quiet.run({"a": 19, "b": 1000}) == ""
    assert quiet.run({"a": 1, "b": 1000}) == ""
    assert "a.csv: refused, 0 rows came, where 19 are usual" in quiet.run({"a": 0, "b": 1000})
    assert "a: refused, no such file came" in quiet.run({"b": 1000})


def test_a_part_that_leaves_the_declared_window_is_no_loss():
    """A service without an event in a month may send no file of it."""
    quiet = Nights()
    assert quiet.run({"2023-11": 500, "2023-12": 500, "2024-01": 400}, "2023-11") == ""
    assert quiet.run({"2024-01": 400}, "2023-11") != ""
    assert quiet.run({"2024-01": 400}, "2024-01") == ""  # a shorter window; the total is less too
    for _ in range(8):  # nor is it one on the nights after
        assert quiet.run({"2024-01": 400}, "2024-01") == ""
    assert quiet.run({"2024-01": 400, "2024-02": 100}, "2024-01") == ""


def test_in_a_declared_window_a_new_part_does_not_replace_a_missing_one():
    quiet = Nights()
    assert quiet.run({"2022": 900, "2023": 900, "2024": 900}, "2022") == ""
    now = {"2021": 5000, "2022": 900, "2024": 900}
    assert "2023: refused, no such file came" in quiet.run(now, "2021")
    assert "2024: refused, no such file came" in quiet.run({"2022": 900, "2023": 900}, "2022")


@pytest.mark.parametrize("static", ["a", "z"])
def test_files_with_new_names_every_night_are_checked_as_a_whole(static):
    quiet = Nights()
    for number in range(20):
        assert quiet.run({static: 100, f"d{number}": 900, f"e{number}": 900}) == ""
    assert "2 files" in quiet.run({"f": 100, "g": 700})


def test_what_leaves_hides_no_loss_of_what_stays():
    quiet = Nights()
    assert quiet.run({"8": 1000, "9": 1000, "10": 1000}, "8") == ""
    assert "10.csv: refused, 300 rows" in quiet.run({"9": 1000, "10": 300, "11": 1000}, "9")
    assert "600 rows came where 2,000 are usual" in quiet.run({"9": 300, "10": 300}, "9")
    assert quiet.run({"10": 1000, "11": 1000}, "10") == "", "numbers have the order of numbers"


def test_of_the_usual_rows_those_of_what_left_are_taken_off_where_they_were():
    quiet = Nights()
    for parts in ({"1": 10, "2": 101}, {"2": 101, "3": 0}, {"2": 101, "3": 0}):
        assert quiet.run(parts, min(parts), **PROVEN) == ""
    assert "50 rows came where 101 are usual" in quiet.run({"2": 50, "3": 0}, "2", **PROVEN)
    still = Nights()
    assert still.run({"1": 1000, "2": 100}, "2") == ""
    assert "200 rows came where 1,100 are usual" in still.run({"1": 100, "2": 100}, "2")


def test_a_snapshot_of_one_part_is_checked_once():
    quiet = Nights()
    assert quiet.run({"a": 100}) == ""
    said = "https://e.gov/a.csv: refused, 40 rows came where 100 are usual"
    assert quiet.run({"a": 40}) == f"{said} (the median of the last 1)"


def test_rows_without_their_files_are_checked_as_a_whole():
    quiet = Nights()
    assert quiet.run({"a": 100, "b": 100}) == ""
    taken, _ = snapshot_of({"a": 1, "b": 1}, 7)
    for rows, is_refused in ((200, False), (90, True)):
        newest = volume.counted(taken, Legible(rows, ["a"], "", 0, {}))
        if is_refused:
            with pytest.raises(SourceError, match="90 rows came where 200 are usual"):
                volume.check("quakes", taken, newest, quiet.known, NOTHING)
        else:
            volume.check("quakes", taken, newest, quiet.known, NOTHING)


def test_an_empty_file_is_refused_on_the_first_night_too():
    assert Nights().run({"a": 90, "b": 0}) == "b.csv: refused, 0 rows came"
    assert Nights(may_be_empty=True).run({"a": 90, "b": 0}) == ""
    assert Nights().run({"a": 90, "b": 0}, **PROVEN) == ""  # a month begins without an event
    accepted = Nights()
    accepted.run({"a": 90, "b": 0}, accept=True)
    assert accepted.run({"a": 90, "b": 0}) == ""


def test_a_source_that_may_shrink_may_not_lose_a_part():
    quiet = Nights(may_shrink=True)
    assert quiet.run({"a": 900, "b": 900}) == ""
    assert quiet.run({"a": 900, "b": 9}) == ""
    assert "b.csv: refused" in quiet.run({"a": 900, "b": 0})
    assert Nights(may_shrink=True, may_be_empty=True).run({"a": 9, "b": 0}) == ""


def test_of_many_parts_some_are_named():
    quiet = Nights()
    assert quiet.run({str(n): 100 for n in range(10)}) == ""
    assert "; and 5 more parts" in quiet.run({str(n): 100 * (n > 7) for n in range(10)})


def test_a_snapshot_of_an_earlier_version_is_checked_as_a_whole():
    """Its manifest does not say which parts there are."""
    quiet = Nights()
    old, legible = snapshot_of({"page-1": 100, "page-2": 100}, 1)
    old.descriptor.resources[0].part = None
    quiet.known = [volume.counted(old, legible)]
    assert quiet.known[0].parts == {}
    assert quiet.run({"pages": 150}) == ""


def test_parts_of_random_nights_are_checked_by_the_rule(is_long):
    """The rule, word by word, beside the code."""
    chance = random.Random(3)
    for _ in range(2000 if is_long else 100):
        quiet, begin = Nights(), 100
        last: dict[str, int] = {}
        history: dict[str, list[int]] = {}
        usual = [chance.choice([0, 3, 19, 20, 200]) for _ in range(100)]
        for _ in range(12):
            begin += chance.random() < 0.2
            names = [str(number) for number in range(begin, begin + 4)]
            now = {
                name: round(usual[int(name) % 100] * chance.choice([1, 1, 1, 1.2, 0.7, 0.3, 0]))
                for name in names
                if chance.random() < 0.95
            }
            now |= {"anchor": 2000}  # so that the whole is never judged
            expected = set()
            for part, before in last.items():
                rows = now.get(part, 0)
                middle = sorted(history[part][-7:])
                size = (middle[(len(middle) - 1) // 2] + middle[len(middle) // 2]) / 2
                is_gone = rows == 0 and before > 0 and (part == "anchor" or int(part) >= begin)
                is_less = 0 < rows < size / 2 and size >= 20
                expected |= {part} if is_gone or is_less else set()
            said = quiet.run(now, str(begin), **PROVEN)
            named = {part for part in last if f"{part}.csv: ref" in said or f"{part}: ref" in said}
            assert len(named) == min(3, len(expected)), (said, expected)
            assert named <= expected
            if not said:
                last = now
                for part, rows in now.items():
                    history.setdefault(part, []).append(rows)


# Which parts a snapshot has


def test_files_of_a_listing_are_parts_whatever_their_version(here, publisher):
    pattern = r"d_v(\d)\.(\d{4})_c(\d{8})\.csv\.gz"

    def listed(*names: str, most: int | None = 2):
        links = "".join(f'<a href="{name}">x</a>' for name in names)
        publisher.answers["/files/"] = [Answer(f"<html>{links}</html>".encode())]
        candidate = Candidate(here, CSV, "storms", None)
        urls = listing.newest(candidate, f"https://{HOST}/files/", pattern, most)
        assert [url.rpartition("/")[2] for url in urls] == list(candidate.parts)
        return list(candidate.parts.values()), candidate.extra.get("window_begin", "")

    one, two, three = (f"d_v1.{year}_c20250101.csv.gz" for year in (2022, 2023, 2024))
    again = two.replace("c2025", "c2026")
    parts = ["d_v1.2023_c.csv.gz", "d_v1.2024_c.csv.gz"]
    assert listed(one, two, three) == (parts, parts[0])
    assert listed(one, two, again, three) == (parts, parts[0])
    assert listed(three) == (parts[1:], "")  # fewer than there should be: nothing has left
    assert len(listed(one, two, three, most=None)[0]) == 3


def test_files_of_a_month_and_pages_are_one_part_each(here, publisher):
    def gather(candidate):
        candidate.download(URL)
        candidate.download(f"https://{HOST}/p1.csv", part="pages")
        candidate.download(f"https://{HOST}/p2.csv", part="pages")

    for path in ("/file.csv", "/p1.csv", "/p2.csv"):
        publisher.answers[path] = [Answer(table(30))]
    night(gather=gather)
    assert made(here)["outcome"] == "new"
    assert state.read(here, "alpha")["accepted"][0]["parts"] == {"file.csv": 30, "pages": 60}
    publisher.answers["/p2.csv"] = [Answer(table(5))]
    night(gather=gather)
    assert made(here)["outcome"] == "new"
    publisher.answers["/file.csv"] = [Answer(b"a,b\n")]
    night(gather=gather)
    assert "file.csv: refused, 0 rows came, where 30 are usual" in made(here)["reason"]
