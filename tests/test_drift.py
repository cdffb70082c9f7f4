"""Drift: columns that come, go, are renamed or moved, from the legible file to `accept`."""

import argparse
import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import small_clone
from small_clone import ROWS

from pipeline import errors, state
from pipeline.cli import accept
from pipeline.errors import SourceError
from pipeline.formats import delimited
from pipeline.raw import snapshot
from pipeline.schema import declaration, drift
from pipeline.settings import ROOT, Settings
from pipeline.stages import load, loads, preprocess

SOURCE = "stations"
HEADER = ["ident", "name", "city", "state", "country", "latitude", "longitude"]
PLAIN = argparse.Namespace(force=False)


@pytest.fixture
def declared(example: Path) -> Path:
    """The declaration of the example source, which a test may edit."""
    return example / "load" / f"{SOURCE}.sql"


@pytest.fixture
def place(here: Settings, database_url: str, declared) -> Settings:
    """The bundled snapshot as the current snapshot, and an empty database."""
    taken = snapshot.install_bundled(here, snapshot.bundled(SOURCE))
    state.update(here, SOURCE, "api", content=taken.content, outcome="bundled")
    return replace(here, database_url=database_url, publish_patience=3)


def night(place: Settings, monkeypatch, change=lambda rows: rows) -> dict:
    """Stages preprocess and load on changed rows; returns the facts of stage load."""

    def make_legible(taken, output):
        with taken.file.open(newline="") as file:
            rows = list(csv.reader(file))
        raw = place.data_dir / "raw.csv"
        with raw.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(change(rows))
        return delimited.write_csv(raw, output)

    with monkeypatch.context() as patched:
        patched.setattr(preprocess, "_run_data_tests", lambda source, path: None)
        patched.setattr(preprocess, "code_fingerprint", lambda source: repr(change))
        try:
            facts = preprocess.work(place, PLAIN, SOURCE, make_legible)
        except SourceError:
            state.update(place, SOURCE, "preprocess", outcome="failed")
            raise
    state.update(place, SOURCE, "preprocess", **facts)
    return load.run(place, SOURCE)


def renamed(rows, **names):
    return [[names.get(name, name) for name in rows[0]], *rows[1:]]


def in_order(rows, *order):
    places = [rows[0].index(name) for name in order]
    return [[row[place] for place in places] for row in rows]


def query(place: Settings, statement: str) -> list[tuple]:
    with psycopg.connect(place.database_url) as connection:
        return connection.execute(statement).fetchall()


def columns(place: Settings) -> list[str]:
    return [
        name
        for (name,) in query(
            place,
            "select attname from pg_attribute where attrelid = 'source.stations'::regclass "
            "and attnum > 0 order by attnum",
        )
    ]


def lint(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sqlfluff", "lint", "--config", ROOT / ".sqlfluff", path],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


# What holds a source, and what it is told


def test_a_rename_holds_the_source_with_both_lists_and_its_evidence(place, monkeypatch):
    night(place, monkeypatch)
    output = preprocess.output_of(place, SOURCE)
    before = output.read_bytes(), query(place, "select * from source.stations")

    def change(rows):
        rows = renamed(rows, ident="code")
        return [rows[0], ["new", *rows[1][1:]], *rows[2:]]  # one value differs

    with pytest.raises(SourceError) as caught:
        night(place, monkeypatch, change)
    assert caught.value.what == (
        "stations: other columns than load/stations.sql declares: missing ident, new code; "
        "code appeared, ident vanished, 99.9 % equal values"
    )
    assert "./run_pipeline.sh accept stations" in caught.value.remedy
    assert (output.read_bytes(), query(place, "select * from source.stations")) == before


def test_two_renames_at_once_are_distinguished(place, monkeypatch):
    night(place, monkeypatch)
    with pytest.raises(SourceError) as caught:
        night(place, monkeypatch, lambda rows: renamed(rows, latitude="y", longitude="x"))
    assert "x appeared, longitude vanished, 100.0 % equal values" in caught.value.what
    assert "y appeared, latitude vanished, 100.0 % equal values" in caught.value.what


def test_a_rename_is_seen_though_every_row_changed_elsewhere(place, monkeypatch):
    night(place, monkeypatch)

    def change(rows):
        rows = renamed(rows, ident="code")
        return [rows[0], *([*row[:1], "changed", *row[2:]] for row in reversed(rows[1:]))]

    with pytest.raises(SourceError, match=r"code appeared, ident vanished, 100\.0 % equal values"):
        night(place, monkeypatch, change)


def test_other_values_are_no_evidence_of_a_rename(place, monkeypatch):
    night(place, monkeypatch)

    def change(rows):
        return [["number", *rows[0][1:]], *([str(n), *r[1:]] for n, r in enumerate(rows[1:]))]

    with pytest.raises(SourceError) as caught:
        night(place, monkeypatch, change)
    assert caught.value.what.endswith("missing ident, new number")


def test_a_rename_without_a_last_good_file_has_no_evidence(place, monkeypatch):
    with pytest.raises(SourceError, match="missing ident, new code - "):
        night(place, monkeypatch, lambda rows: renamed(rows, ident="code"))


@pytest.mark.parametrize("damage", [b"", b"\xff\n", b'"\n', b"ident\n1,2,3\n"])
def test_a_damaged_last_file_is_no_evidence(place, monkeypatch, damage):
    night(place, monkeypatch)
    preprocess.output_of(place, SOURCE).write_bytes(damage)
    with pytest.raises(SourceError, match="missing ident, new code - "):
        night(place, monkeypatch, lambda rows: renamed(rows, ident="code"))


def test_names_that_differ_in_case_only_are_two(place, monkeypatch):
    night(place, monkeypatch)
    with pytest.raises(SourceError, match=r"IDENT appeared, ident vanished, 100\.0 %"):
        night(place, monkeypatch, lambda rows: renamed(rows, ident="IDENT"))


def test_a_column_that_is_missing_holds_the_source(place, monkeypatch):
    night(place, monkeypatch)
    with pytest.raises(SourceError, match=r"declares: missing city, state - the old rows stay"):
        night(place, monkeypatch, lambda rows: in_order(rows, "ident", "name", *HEADER[4:]))


def test_long_lists_are_cut(place, monkeypatch):
    names = {name: f"new_{name}" for name in HEADER}
    more = [[f"more_{number}" for number in range(50)], ["1"] * 50]

    def change(rows):
        return [row + more[n > 0] for n, row in enumerate(renamed(rows, **names))]

    with pytest.raises(
        SourceError, match=r"missing ident, .*, new new_ident, .*, more_4 and 45 more"
    ):
        night(place, monkeypatch, change)


def test_another_order_holds_the_source_and_shows_what_moved(place, monkeypatch):
    night(place, monkeypatch)
    order = ["ident", "name", "state", "city", "country", "latitude", "longitude"]
    with pytest.raises(SourceError, match="another order: state, city where city, state are decl"):
        night(place, monkeypatch, lambda rows: in_order(rows, *order))


def test_the_order_of_json_members_means_nothing(place, tmp_path):
    last = preprocess.output_of(place, SOURCE)
    moved = [*HEADER[1:], HEADER[0]]
    drift.check(place, SOURCE, tmp_path / "new", moved, last, is_ordered=False)
    assert drift.waiting(place, SOURCE) is None
    with pytest.raises(SourceError, match="another order"):
        drift.check(place, SOURCE, tmp_path / "new", moved, last, is_ordered=True)


def test_a_new_column_in_the_middle_is_loaded_and_reported(place, monkeypatch):
    night(place, monkeypatch)
    facts = night(
        place,
        monkeypatch,
        lambda rows: [[r[0], ("fresh", "x")[n > 0], *r[1:]] for n, r in enumerate(rows)],
    )
    assert facts["reason"] == "new columns: fresh"
    assert columns(place) == [*HEADER, "fresh"]
    assert query(place, "select distinct fresh from source.stations") == [("x",)]
    assert drift.waiting(place, SOURCE) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.replace(b"city", b"name", 1), "two columns are called 'name'"),
        (
            lambda data: data.replace(b",", b";"),
            "the declared delimiter ',' does not occur, ';' occurs 6 times",
        ),
        (lambda data: data.replace(b",", b"\t"), r"'\\t' occurs 6 times"),
        (lambda data: b"\xef\xbb\xbf" + data, "line 1: a byte order mark"),
        (lambda data: data.decode().encode("utf-16"), "UTF-16"),
        (
            lambda data: data.replace(b"Oakcliff", b"Oak\xefcliff", 1),
            "line 2.*byte 0xef is not UTF-8",
        ),
    ],
)
def test_another_delimiter_or_encoding_is_named(place, tmp_path, change, words):
    raw = tmp_path / "stations.csv"
    raw.write_bytes(change(snapshot.current(place, SOURCE).file.read_bytes()))
    with pytest.raises(SourceError, match=words):
        delimited.write_csv(raw, tmp_path / "legible.csv")


def test_utf_8_where_another_encoding_is_declared_is_refused(tmp_path):
    raw = tmp_path / "names.csv"
    raw.write_text("name\nPeña Alta\n", encoding="utf-8")
    with pytest.raises(SourceError, match="UTF-8, although latin-1 is declared"):
        delimited.write_csv(raw, tmp_path / "legible.csv", encoding="latin-1")
    raw.write_text("name\nPeña Alta\n", encoding="latin-1")
    assert delimited.write_csv(raw, tmp_path / "legible.csv", encoding="latin-1").rows == 1


# Accepting


def test_a_rename_is_accepted_into_the_declaration(place, monkeypatch, declared):
    night(place, monkeypatch)
    change = lambda rows: renamed(rows, ident="code")  # noqa: E731 - the same again
    with pytest.raises(SourceError):
        night(place, monkeypatch, change)
    before = declared.read_text()
    since = drift.waiting(place, SOURCE).since
    said = drift.accept(place, SOURCE)
    assert said[0] == "load/stations.sql: ident no longer published, null from now on"
    assert said[1] == "load/stations.sql: code (before: ident) added"
    assert "preprocess/test_stations.py" in said[2]
    assert "transform/models/staging/stg_stations.sql" in said[2]
    assert "commit load/stations.sql" in said[-1]
    after = declared.read_text()
    assert '    "ident" text,\n    "code" text,\n    "name" text,\n' in after
    assert f"'No longer published since {since}: null from then on; see code.';" in after
    assert f"'Since {since}; before: ident.';" in after
    assert set(before.splitlines()) - set(after.splitlines()) == {
        "'Three letters that identify the station.';"
    }
    lint(declared)
    assert drift.waiting(place, SOURCE) is None
    assert night(place, monkeypatch, change)["outcome"] == "new"
    assert columns(place) == [*HEADER, "code"]
    nulls = "select count(ident), count(code), count(*) from source.stations"
    assert query(place, nulls) == [(0, 1000, 1000)]
    comment = "select col_description('source.stations'::regclass, 1)"
    assert f"No longer published since {since}" in query(place, comment)[0][0]


def test_what_was_accepted_is_the_contract_from_then_on(place, monkeypatch):
    night(place, monkeypatch)
    with pytest.raises(SourceError):
        night(place, monkeypatch, lambda rows: renamed(rows, ident="code"))
    drift.accept(place, SOURCE)
    night(place, monkeypatch, lambda rows: renamed(rows, ident="code"))
    with pytest.raises(SourceError, match="missing code, new ident; ident appeared, code vanished"):
        night(place, monkeypatch)  # renamed back
    drift.accept(place, SOURCE)
    assert declaration.read(SOURCE).published == HEADER
    assert "Published again since" in declaration.read(SOURCE).comments["ident"]
    night(place, monkeypatch)
    assert query(place, "select count(ident), count(code) from source.stations") == [(1000, 0)]


def test_a_missing_column_stays_declared_and_is_null(place, monkeypatch, declared):
    night(place, monkeypatch)
    change = lambda rows: in_order(rows, *HEADER[:4], *HEADER[5:])  # noqa: E731
    with pytest.raises(SourceError):
        night(place, monkeypatch, change)
    drift.accept(place, SOURCE)
    lint(declared)
    night(place, monkeypatch, change)
    assert query(place, "select count(country), count(*) from source.stations") == [(0, 1000)]


def test_a_column_that_is_published_again_is_loaded_and_reported(place, monkeypatch):
    night(place, monkeypatch)
    with pytest.raises(SourceError):
        night(place, monkeypatch, lambda rows: in_order(rows, *HEADER[:4], *HEADER[5:]))
    drift.accept(place, SOURCE)
    night(place, monkeypatch, lambda rows: in_order(rows, *HEADER[:4], *HEADER[5:]))
    facts = night(place, monkeypatch)
    assert facts["reason"] == "published again: country"
    assert query(place, "select count(country) from source.stations") == [(1000,)]


def test_another_order_is_accepted_with_lines_and_comments_moved(place, monkeypatch, declared):
    night(place, monkeypatch)
    order = [*HEADER[1:], HEADER[0]]
    with pytest.raises(SourceError):
        night(place, monkeypatch, lambda rows: in_order(rows, *order))
    before = declared.read_text()
    drift.accept(place, SOURCE)
    lint(declared)
    after = declared.read_text()
    assert (
        list(declaration.read(SOURCE).columns) == list(declaration.read(SOURCE).comments) == order
    )
    assert sorted(after.replace(",\n", "\n").split()) == sorted(before.replace(",\n", "\n").split())
    night(place, monkeypatch, lambda rows: in_order(rows, *order))
    assert query(place, "select name from source.stations where ident = 'AAA'") != []


def test_accept_takes_what_was_seen_and_nothing_newer(place, monkeypatch):
    night(place, monkeypatch)
    with pytest.raises(SourceError):
        night(place, monkeypatch, lambda rows: renamed(rows, ident="code"))
    drift.accept(place, SOURCE)
    with pytest.raises(SourceError, match="missing code, new id -"):
        night(place, monkeypatch, lambda rows: renamed(rows, ident="id"))


def test_a_refusal_is_forgotten_when_the_publisher_is_well_again(place, monkeypatch):
    night(place, monkeypatch)
    with pytest.raises(SourceError):
        night(place, monkeypatch, lambda rows: renamed(rows, ident="code"))
    assert drift.waiting(place, SOURCE).renamed == {"code": "ident"}
    night(place, monkeypatch)
    assert drift.waiting(place, SOURCE) is None


def test_the_command_accepts_once(place, monkeypatch, capsys):
    night(place, monkeypatch)
    with pytest.raises(SourceError):
        night(place, monkeypatch, lambda rows: renamed(rows, ident="code"))
    assert accept.run([SOURCE]) == errors.OK
    assert "stations: load/stations.sql: code (before: ident) added" in capsys.readouterr().out
    assert accept.run([SOURCE]) == errors.USAGE


def test_the_command_accepts_rows_and_columns_in_one(place, monkeypatch, capsys):
    night(place, monkeypatch)
    count = load.run(place, SOURCE)["rows"]
    state.replace(place, SOURCE, accepted=[{"content": "", "rows": count, "parts": {}}])

    def few(rows):
        return renamed(rows[: count // 3], ident="code")

    with pytest.raises(SourceError) as refused:
        night(place, monkeypatch, few)
    assert "other columns than" in refused.value.what
    assert f"rows came where {count:,} are usual" in refused.value.what
    assert refused.value.remedy.count("./run_pipeline.sh accept stations") == 1
    assert accept.run([SOURCE]) == errors.OK
    said = capsys.readouterr().out
    assert f"stations: accepted, {count // 3 - 1:,} rows" in said
    assert "stations: load/stations.sql: code (before: ident) added" in said
    assert night(place, monkeypatch, few)["rows"] == count // 3 - 1


def test_accept_that_was_killed_is_finished_by_the_next(place, monkeypatch, declared):
    night(place, monkeypatch)
    with pytest.raises(SourceError):
        night(place, monkeypatch, lambda rows: renamed(rows, ident="code"))
    with monkeypatch.context() as patched:
        patched.setattr(drift.state, "replace", lambda *words, **more: sys.exit(137))
        with pytest.raises(SystemExit):
            drift.accept(place, SOURCE)
    before = declared.read_text()
    drift.accept(place, SOURCE)
    assert declared.read_text() == before


def test_a_declaration_that_cannot_be_written_is_reported(place, monkeypatch):
    night(place, monkeypatch)
    with pytest.raises(SourceError):
        night(place, monkeypatch, lambda rows: renamed(rows, ident="code"))

    def refuse(path, content):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(drift.durable, "write", refuse)
    with pytest.raises(SourceError, match=r"load/stations\.sql cannot be written: Permission"):
        drift.accept(place, SOURCE)
    monkeypatch.undo()


# What is compared, without a night


def said_of(here: Settings, columns: list[str], *, is_ordered=True) -> SourceError:
    """Return the error about a legible file with these columns, without a last good one."""
    nowhere = here.data_dir / "none.csv"
    with pytest.raises(SourceError) as caught:
        drift.check(here, SOURCE, nowhere, columns, nowhere, is_ordered=is_ordered)
    return caught.value


def test_the_declared_columns_pass_and_nothing_is_written(here, declared):
    nowhere = here.data_dir / "none.csv"
    for columns in (HEADER, [*HEADER, "more"], ["more", *HEADER]):
        drift.check(here, SOURCE, nowhere, columns, nowhere, is_ordered=True)
    assert not (here.state / f"{SOURCE}.json").exists()


def test_a_source_without_a_declaration_has_nothing_to_hold_against(here, declared):
    declared.unlink()
    nowhere = here.data_dir / "none.csv"
    drift.check(here, SOURCE, nowhere, ["any"], nowhere, is_ordered=True)


A_TO_G = "abcdefg"


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("abdefg", "missing c"),
        ("abdefgx", "missing c, new x"),
        ("bacdefg", "another order: b, a where a, b are declared"),
        ("acbedfg", "another order: c, b, e, d where b, c, d, e are declared"),
        ("gabcdef", "another order: g, a, b, c, d, e, f where a, b, c, d, e, f, g are declared"),
        ("bdaefgx", "missing c, new x, another order: b, d, a where a, b, d are declared"),
        ("abcdegxf", "new x, another order: g, f where f, g are declared"),
    ],
)
def test_the_differences_are_reported_and_nothing_else(here, declared, columns, said):
    declare(declared, A_TO_G)
    error = said_of(here, list(columns))
    assert error.what == f"{SOURCE}: other columns than load/{SOURCE}.sql declares: {said}"


def declare(path: Path, columns: str) -> None:
    """A declaration of columns with one letter each."""
    lines = ",\n".join(f'    "{name}" text' for name in columns)
    comments = "".join(
        f"comment on column source.{SOURCE}.\"{name}\" is\n'Letter {name}.';\n" for name in columns
    )
    table = f"create table if not exists source.{SOURCE} (\n{lines}\n);\n"
    path.write_text(table + comments)


@pytest.mark.parametrize(
    ("count", "shown"), [(12, "n10, n11"), (13, "n10, n11 and 1 more"), (50, "n11 and 38 more")]
)
def test_of_long_lists_twelve_names_are_shown(here, declared, count, shown):
    declare(declared, "a")
    what = said_of(here, [f"n{number}" for number in range(count)]).what
    assert what.endswith(f", {shown}")


def test_the_day_is_that_of_the_first_refusal_of_the_same_columns(here, declared, monkeypatch):
    for day, columns, since in (
        ("2026-01-01", "abd", "2026-01-01"),
        ("2026-01-02", "abd", "2026-01-01"),
        ("2026-01-03", "abe", "2026-01-03"),
        ("2026-01-04", "abe", "2026-01-03"),
    ):
        monkeypatch.setattr(drift.state, "now", lambda day=day: f"{day}T02:03:04Z")
        said_of(here, list(columns))
        expected = {"columns": list(columns), "renamed": {}, "since": since}
        assert state.read(here, SOURCE) == {"drift": expected}


@pytest.mark.parametrize(
    ("columns", "renamed", "said"),
    [
        ("abdefg", {}, ["c no longer published, null from now on"]),
        (
            "abxdefg",
            {"x": "c"},
            ["c no longer published, null from now on", "x (before: c) added"],
        ),
        (
            "abxdefgy",
            {"x": "c"},
            ["c no longer published, null from now on", "x (before: c), y added"],
        ),
        ("bacdefg", {}, ["the columns are in the publisher's order"]),
        (
            "bagdef",
            {},
            [
                "c no longer published, null from now on",
                "the columns are in the publisher's order",
            ],
        ),
    ],
)
def test_accepted_columns_are_reported_line_by_line(
    here, declared, tmp_path, columns, renamed, said
):
    declare(declared, A_TO_G)
    seen = {"columns": list(columns), "renamed": renamed, "since": "2026-01-01"}
    state.update(here, SOURCE, "drift", **seen)
    lines = [f"load/{SOURCE}.sql: {line}" for line in said]
    last = f"accepted; commit load/{SOURCE}.sql, the next run loads it"
    assert [line for line in drift.accept(here, SOURCE) if "what reads" not in line] == [
        *lines,
        last,
    ]
    assert declaration.read(SOURCE).published == list(columns)
    assert state.read(here, SOURCE) == {}


def test_the_files_that_read_a_column_are_named(here, declared, tmp_path, monkeypatch):
    monkeypatch.setattr(drift, "ROOT", tmp_path)
    own = [
        f"api/{SOURCE}.py",
        f"preprocess/{SOURCE}.py",
        f"preprocess/test_{SOURCE}.py",
        f"transform/models/staging/stg_{SOURCE}.sql",
    ]
    for name in own:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("the city_code, a.cost, cité: naïve\n", encoding="utf-8")
    assert drift._readers(SOURCE, ["city", "a+", "d.cost", "code"]) == []
    assert drift._readers(SOURCE, []) == []
    for name in own:
        (tmp_path / name).write_text('cité select "city" from x\n', encoding="utf-8")
        assert drift._readers(SOURCE, ["state", "city"]) == [name]
        (tmp_path / name).unlink()
    assert drift._readers(SOURCE, ["city"]) == []
    (tmp_path / own[0]).write_text("city")
    seen = {"columns": HEADER[:2], "renamed": {}, "since": "2026-01-01"}
    state.update(here, SOURCE, "drift", **seen)
    gone = ", ".join(HEADER[2:])
    assert drift.accept(here, SOURCE)[1] == f"change what reads {gone}, if need be: {own[0]}"


# The declaration


def test_declarations_of_all_sources_are_understood_and_left_as_they_are():
    for path in (ROOT / "load").glob("*.sql"):
        known = declaration.read(path.stem)
        assert list(known.columns) == list(known.comments) == known.published
        assert declaration.edited(known, known.published, {}, "2026-01-01") == path.read_text()


def test_comments_among_the_columns_are_kept(declared):
    declared.write_text(
        'create table if not exists source.stations (\n    -- where\n    "a" text, -- first\n'
        '    "b""c" text -- last\n);\n'
    )
    known = declaration.read(SOURCE)
    assert known.published == ["a", 'b"c']
    text = declaration.edited(known, ['b"c', "it's", "a"], {}, "2026-01-01")
    assert text == (
        "create table if not exists source.stations (\n"
        '    "b""c" text, -- last\n'
        '    "it\'s" text,\n'
        '    -- where\n    "a" text -- first\n);\n'
        'comment on column source.stations."it\'s" is\n'
        "'Not described yet; since 2026-01-01.';\n"
    )


def test_a_name_made_to_end_the_comment_does_not(place, monkeypatch):
    night(place, monkeypatch)
    evil = "'" * 40 + ";drop"
    with pytest.raises(SourceError):
        night(place, monkeypatch, lambda rows: renamed(rows, ident=evil))
    drift.accept(place, SOURCE)
    night(place, monkeypatch, lambda rows: renamed(rows, ident=evil))
    comment = "select col_description('source.stations'::regclass, 1)"
    assert query(place, comment)[0][0].endswith(f"see {evil}.")


@pytest.mark.parametrize(
    "text", ["", "create tabel", "create table if not exists source.x (a int);"]
)
def test_what_is_no_table_of_texts_is_refused(declared, text):
    declared.write_text(text)
    with pytest.raises(SourceError, match=r"load/stations\.sql, line 1: no list of columns"):
        declaration.read(SOURCE)


def test_a_changed_comment_reaches_the_table_without_its_rows(place, monkeypatch, declared):
    night(place, monkeypatch)
    rows = "select xmin, ctid from source.stations"
    before = query(place, rows)
    declared.write_text(declared.read_text().replace("Country, in words.", "It''s in words."))
    with psycopg.connect(place.database_url) as connection:
        assert loads.pending(connection, place, [SOURCE]) == [SOURCE]
    facts = load.run(place, SOURCE)
    assert (facts["outcome"], facts["reason"]) == ("unchanged", "its comments are new")
    comment = "select col_description('source.stations'::regclass, 5)"
    assert query(place, comment) == [("It's in words.",)]
    assert query(place, rows) == before
    with psycopg.connect(place.database_url) as connection:
        assert loads.pending(connection, place, [SOURCE]) == []


def test_a_declaration_changed_since_preprocess_holds_the_source(place, monkeypatch, declared):
    night(place, monkeypatch)
    declared.write_text(declared.read_text().replace('"ident"', '"code"'))
    with pytest.raises(SourceError, match="lacks columns code; new in it: ident"):
        load.run(place, SOURCE)
    assert query(place, "select count(ident) from source.stations") == [(1000,)]


# As a user meets it


@pytest.fixture(scope="module")
def small(open_folder, is_long):
    """A small clone of this module's own: its columns are renamed for good."""
    folder = open_folder / "a clone whose columns are renamed"
    with small_clone.first_night(folder, not is_long) as made:
        yield made


def test_a_publisher_renames_a_column_and_the_operator_accepts_it(small):
    published = "select min(night), max(night), count(*) from transformed.left_rows"
    before = small.query(published)
    newest = small.something_new()
    small.give_out("left", small.body(newest - 1).replace(b"night", b"evening", 1))
    held = small.run()
    assert held.returncode == 2, held.stdout + held.stderr
    assert "missing night, new evening; evening appeared, night vanished" in held.stdout
    assert "100.0 % equal values" in held.stdout
    assert "./run_pipeline.sh accept left" in held.stdout
    assert small.query(published) == before
    assert small.published_of("right") == newest
    accepted = small.run("accept", "left")
    assert accepted.returncode == 0, accepted.stderr
    assert "preprocess/test_left.py" in accepted.stdout, "the files that name it"
    data_test = small.folder / "preprocess" / "test_left.py"
    data_test.write_text(data_test.read_text().replace("night", "evening"))
    declared = (small.folder / "load" / "left.sql").read_text()
    assert [f'"{name}" text' in declared for name in ("night", "evening")] == [True, True]
    done = small.run()
    assert done.returncode == 0, done.stdout + done.stderr
    counts = "select count(evening), count(night), count(*) from source.left"
    assert small.query(counts) == [[str(ROWS), "0", str(ROWS)]]
    assert small.query(published) == [["", "", str(ROWS)]]
    assert small.run("accept", "left").returncode == 64
