"""Stage load: the unchanged rows, in one transaction, on PostgreSQL 18 and 15."""

import csv
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from patience import eventually, joined
from psycopg import sql
from servers import new_database

from pipeline import database, state
from pipeline.database import ledger
from pipeline.errors import PipelineError, SourceError
from pipeline.formats import delimited
from pipeline.marts import alterations, marks
from pipeline.schema import declaration, table
from pipeline.settings import ROOT, Settings
from pipeline.stages import load, loads, preprocess

SOURCE = "sample"
# Every character PostgreSQL can hold, but for most of Unicode's private use, and for
# the C1 controls, which are refused before: they are what another encoding was taken for.
EVERYTHING = "".join(
    map(chr, [*range(1, 0x80), *range(0xA0, 0xD800), *range(0xF000, 0x10000), 0x1F4A9, 0x10FFFF])
)


@pytest.fixture(params=["embedded", "debian 15"])
def place(request, here: Settings, server_settings: Settings) -> Iterator[Settings]:
    """Settings with an empty database and a data folder of the test's own."""
    from pipeline import embedded

    if request.param == "embedded":
        url = embedded.url(server_settings)
    else:
        url = request.getfixturevalue("debian_url")
    name = f"load_{abs(hash(request.node.nodeid)):x}"
    with new_database(url, name) as address:
        made = replace(here, database_url=address, publish_patience=3)
        made.preprocessed.mkdir(parents=True)
        made.state.mkdir()
        yield made


@pytest.fixture
def owner(place: Settings) -> Iterator[psycopg.Connection]:
    with database.connect(place) as connection:
        yield connection


@pytest.fixture
def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Declare the table of the source, as a file in load/ does."""
    path = tmp_path / "sample.sql"
    monkeypatch.setattr(declaration, "path", lambda source: path)

    def write(*columns: str) -> None:
        names = [sql.Identifier(column).as_string() + " text" for column in columns]
        path.write_text(f"create table if not exists source.{SOURCE} ({', '.join(names)});")

    return write


def made_legible(place: Settings, data: bytes) -> dict:
    """Stage preprocess, without its scripts: a raw CSV becomes the legible file and its record."""
    raw = place.data_dir / "raw.csv"
    raw.write_bytes(data)
    output = preprocess.output_of(place, SOURCE)
    legible = delimited.write_csv(raw, output)
    return note(place, legible.rows, legible.columns)


def note(place: Settings, rows: int, columns: list[str]) -> dict:
    data = preprocess.output_of(place, SOURCE).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    facts = {"outcome": "new", "sha256": digest, "bytes": len(data)}
    return state.update(place, SOURCE, "preprocess", **facts, rows=rows, columns=columns)


def rows(connection: psycopg.Connection, columns: str = "*") -> list[tuple]:
    return connection.execute(f"select {columns} from source.{SOURCE} order by ctid").fetchall()


# The rows as they are


def test_values_arrive_byte_for_byte(place, owner, declare):
    declare("a", "b", "c")
    data = b'a,b,c\r\n1.10,01001,\r\n"","a ""quote""\r\nand a line"," x "\r\n\\N,\\\\,null\r\n'
    made_legible(place, data)
    facts = load.run(place, SOURCE)
    assert (facts["outcome"], facts["rows"], facts["bytes"]) == ("new", 3, len(data))
    assert rows(owner) == [
        ("1.10", "01001", None),
        ("", 'a "quote"\r\nand a line', " x "),
        ("\\N", "\\\\", "null"),
    ]


def test_every_character_that_postgresql_can_hold(place, owner, declare):
    declare("text", "more")
    quoted = EVERYTHING.replace('"', '""')
    made_legible(place, f'text,more\n"{quoted}",x\n'.encode())
    load.run(place, SOURCE)
    assert rows(owner) == [(EVERYTHING, "x")]


ODD_NAMES = [
    "with space?",
    'a "quote"',
    "it's",
    '"; drop schema source cascade; --',
    "%s {} %(x)s",
    "select",
    "Ünï",
    "UPPER",
    "é" * 31 + "x",  # 63 bytes
]


def test_odd_names_of_columns(place, owner, declare):
    declare(*(name.replace(" ", "_") for name in ODD_NAMES))
    path = place.data_dir / "header.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([ODD_NAMES, list(map(str, range(9)))])
    made_legible(place, path.read_bytes())
    load.run(place, SOURCE)
    assert rows(owner) == [tuple("012345678")]


def test_odd_names_of_columns_that_are_new(place, owner, declare):
    declare("first")
    header = ",".join(['"' + name.replace('"', '""') + '"' for name in ODD_NAMES])
    made_legible(place, f"{header},first\n{'x,' * 9}y\n".encode())
    facts = load.run(place, SOURCE)
    assert rows(owner) == [("y", *"x" * 9)]
    assert "new columns" in facts["reason"]


def test_a_table_as_wide_as_postgresql_allows(place, owner, declare):
    names = [f"column_{number}" for number in range(1600)]
    declare(*names)
    made_legible(place, f"{','.join(names)}\n{'1,' * 1599}2\n".encode())
    load.run(place, SOURCE)
    assert rows(owner, "column_0, column_1599") == [("1", "2")]
    wide = ",".join(["x" * 100] * 1600)
    made_legible(place, f"{','.join(names)}\n{wide}\n".encode())
    with pytest.raises(SourceError, match="sample was not loaded: row is too big"):
        load.run(place, SOURCE)
    assert rows(owner, "column_0, column_1599") == [("1", "2")]


def test_a_header_without_rows(place, owner, declare):
    declare("a", "b")
    made_legible(place, b"a,b\n1,2\n")
    load.run(place, SOURCE)
    made_legible(place, b"b,a\n")
    assert load.run(place, SOURCE)["rows"] == 0
    assert rows(owner) == []


def test_columns_in_another_order_arrive_by_name(place, owner, declare):
    declare("a", "b")
    made_legible(place, b"b,a\n1,2\n")
    load.run(place, SOURCE)
    assert rows(owner, "a, b") == [("2", "1")]


# Once, and again


def test_the_same_snapshot_twice_is_loaded_once(place, owner, declare):
    declare("a")
    made_legible(place, b"a\n1\n")
    assert load.run(place, SOURCE)["outcome"] == "new"
    before = owner.execute("select xmin, ctid from source.sample").fetchall()
    assert load.run(place, SOURCE) == {"outcome": "unchanged", "rows": 1}
    assert owner.execute("select xmin, ctid from source.sample").fetchall() == before
    assert load.run(place, SOURCE, force=True)["outcome"] == "new"


BY_HAND = (
    "delete from source.sample where a = '2'",
    "update source.sample set a = 'mine' where a = '2'",
    "insert into source.sample values ('mine')",
    "truncate source.sample",
    "alter table source.sample drop column a",
)


def by_hand(place: Settings, statement: str) -> None:
    with psycopg.connect(place.database_url, autocommit=True) as somebody:
        somebody.execute(statement)
        marks.flush(somebody)


def test_what_somebody_changed_is_loaded_again_and_what_is_made_of_it_made_again(
    place, owner, declare
):
    declare("a")
    made_legible(place, b"a\n1\n2\n")
    load.run(place, SOURCE)
    for statement in BY_HAND:
        before = ledger.loaded(owner)[SOURCE]
        assert loads.pending(owner, place, [SOURCE]) == []
        by_hand(place, statement)
        assert loads.pending(owner, place, [SOURCE]) == [SOURCE], statement
        facts = load.run(place, SOURCE)
        assert facts["outcome"] == "new"
        assert facts["reason"].startswith("somebody had changed source.sample, ")
        assert rows(owner, "a") == [("1",), ("2",)]
        assert ledger.loaded(owner)[SOURCE] != before
        assert load.run(place, SOURCE)["outcome"] == "unchanged"
    assert owner.execute("select count(*) from pipeline.table_marks").fetchone() == (1,)


def test_a_file_that_was_made_again_on_demand_is_loaded_again(place, owner, declare):
    """The documented recovery: `preprocess SOURCE --force`, then `load`."""
    declare("a")
    made_legible(place, b"a\n1\n")
    load.run(place, SOURCE)
    for day in ("2026-01-01", "2026-01-02"):
        before = ledger.loaded(owner)[SOURCE]
        state.update(place, SOURCE, "preprocess", forced_at=f"{day}T00:00:00+00:00")
        assert loads.pending(owner, place, [SOURCE]) == [SOURCE]
        assert load.run(place, SOURCE)["outcome"] == "new"
        assert ledger.loaded(owner)[SOURCE] != before
        assert loads.pending(owner, place, [SOURCE]) == []
    # Another machine on the same database, whose file nobody made again.
    state.update(place, SOURCE, "preprocess", forced_at="")
    assert loads.pending(owner, place, [SOURCE]) == []


def test_a_failed_load_is_not_a_change_by_others(place, owner, declare, monkeypatch):
    """The server forgets the counts of a transaction that truncated the table and was undone."""
    declare("a")
    made_legible(place, b"a\n1\n2\n")
    load.run(place, SOURCE)
    made_legible(place, b"a\n3\n")
    note(place, 7, ["a"])  # so that the count of what was copied is not the file's
    with pytest.raises(SourceError, match="1 rows were copied where the file has 7"):
        load.run(place, SOURCE)
    others = "select count(*) from pg_stat_activity where datname = current_database()"
    eventually(lambda: owner.execute(others).fetchone() == (1,), "the end of its session")
    assert marks.changes(owner, "source", SOURCE) == 2
    assert rows(owner, "a") == [("1",), ("2",)]
    assert alterations.altered_sources(owner) == {}


def test_the_step_in_the_ledger_is_part_of_the_load(place, owner, declare, monkeypatch):
    declare("a")
    made_legible(place, b"a\n1\n")
    monkeypatch.setenv("PIPELINE_RUN", "tonight")
    load.run(place, SOURCE)
    step = ledger.newest(owner, "load")[SOURCE]
    assert (step["run_id"], step["outcome"], step["rows"]) == ("tonight", "new", 1)
    assert step["fingerprint"] == loads.fingerprint_of(place, SOURCE)
    same = """select count(*) from source.sample, pipeline.steps
        where sample.xmin = steps.xmin or true"""
    assert owner.execute(same).fetchone() == (1,)

    def fail(*words, **more):
        raise RuntimeError("no ledger")

    monkeypatch.setattr(ledger, "note", fail)
    made_legible(place, b"a\n2\n")
    with pytest.raises(RuntimeError):
        load.run(place, SOURCE)
    assert rows(owner) == [("1",)]


def test_an_empty_database_is_filled_from_the_files_on_disk(place, owner, declare):
    declare("a")
    made_legible(place, b"a\n1\n")
    load.run(place, SOURCE)
    owner.execute("drop schema source, pipeline, staging cascade")
    assert load.run(place, SOURCE)["outcome"] == "new"
    assert rows(owner) == [("1",)]


def test_a_dropped_table_is_filled_again(place, owner, declare):
    declare("a")
    made_legible(place, b"a\n1\n")
    load.run(place, SOURCE)
    owner.execute("drop table source.sample")
    assert loads.pending(owner, place, [SOURCE]) == [SOURCE]
    assert load.run(place, SOURCE)["outcome"] == "new"


def test_no_empty_table_replaces_a_loaded_one_that_is_gone(place, owner, declare):
    declare("a")
    made_legible(place, b"a\n1\n")
    load.run(place, SOURCE)
    owner.execute("drop table source.sample")
    made_legible(place, b"a\n2\n")
    preprocess.output_of(place, SOURCE).write_bytes(b"altered")
    with pytest.raises(SourceError):
        load.run(place, SOURCE)
    assert not table.exists(owner, SOURCE)
    preprocess.output_of(place, SOURCE).write_bytes(b"a\n2\n")
    assert load.run(place, SOURCE, force=True)["outcome"] == "new"
    assert rows(owner) == [("2",)]


def test_a_source_that_was_never_fetched_has_an_empty_table(place, owner, declare):
    declare("a")
    assert load.run(place, SOURCE)["outcome"] == "missing"
    assert rows(owner) == []


def test_views_on_source_survive(place, owner, declare):
    declare("a")
    made_legible(place, b"a\n1\n")
    load.run(place, SOURCE)
    owner.execute("create view public.v as select * from source.sample")
    made_legible(place, b"a\n2\n")
    load.run(place, SOURCE)
    assert owner.execute("select * from public.v").fetchall() == [("2",)]


# Drift


def test_a_new_column_is_added_last_commented_and_reported(place, owner, declare):
    declare("a", "b")
    made_legible(place, b"a,fresh,b\n1,2,3\n")
    facts = load.run(place, SOURCE)
    assert facts["reason"] == "new columns: fresh"
    assert facts["remedy"] == "describe them in load/sample.sql"
    assert rows(owner) == [("1", "3", "2")]
    comment = "select col_description('source.sample'::regclass, 3)"
    assert "appeared on" in owner.execute(comment).fetchone()[0]
    made_legible(place, b"a,fresh,b\n4,5,6\n")
    assert "reason" not in load.run(place, SOURCE)
    made_legible(place, b"a,b\n7,8\n")  # gone again, and nobody had declared it
    load.run(place, SOURCE)
    assert rows(owner) == [("7", "8", None)]


def test_a_column_that_is_missing_holds_the_source_with_both_lists(place, owner, declare):
    declare("county_fips", "name")
    made_legible(place, b"county_fips,name\n01001,Autauga\n")
    load.run(place, SOURCE)
    made_legible(place, b"cnty_fips,name\n01001,Autauga\n")
    with pytest.raises(SourceError, match="lacks columns county_fips; new in it: cnty_fips"):
        load.run(place, SOURCE)
    assert rows(owner) == [("01001", "Autauga")]


# Bad input


def test_a_line_that_ends_the_copy_is_noticed(place, owner, declare):
    """PostgreSQL before 18 stops at it without a word; the scan refuses it before that."""
    declare("a")
    made_legible(place, b"a\n1\n")
    load.run(place, SOURCE)
    preprocess.output_of(place, SOURCE).write_bytes(b"a\n2\n\\.\n3\n")
    note(place, 3, ["a"])
    if owner.info.server_version >= 180000:
        load.run(place, SOURCE)
        assert rows(owner) == [("2",), ("\\.",), ("3",)]
        return
    with pytest.raises(SourceError, match="1 rows were copied where the file has 3"):
        load.run(place, SOURCE)
    assert rows(owner) == [("1",)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a,b\n1\n", 'missing data for column "b".* line 2'),
        (b"a,b\n1,2,3\n", "extra data after last expected column.* line 2"),
        (b"a,b\n1,\xff\n", "invalid byte sequence.* line 2"),
        (b"a,b\n1,\x00\n", "invalid byte sequence.* line 2"),
        (b"a,c\n1,2\n", "column name mismatch in header"),
    ],
)
def test_what_copy_refuses_is_named_with_its_line(place, owner, declare, data, words):
    declare("a", "b")
    made_legible(place, b"a,b\n1,2\n")
    load.run(place, SOURCE)
    preprocess.output_of(place, SOURCE).write_bytes(data)
    note(place, 1, ["a", "b"])
    with pytest.raises(SourceError, match=f"sample was not loaded: {words}"):
        load.run(place, SOURCE)
    assert rows(owner) == [("1", "2")]


@pytest.mark.parametrize("altered", [b"a\n3\n", b"a\n3,4\n", b"", None])
def test_a_legible_file_that_was_altered_is_not_loaded(place, owner, declare, altered):
    declare("a")
    made_legible(place, b"a\n1\n")
    load.run(place, SOURCE)
    made_legible(place, b"a\n2\n")
    path = preprocess.output_of(place, SOURCE)
    path.unlink() if altered is None else path.write_bytes(altered)
    with pytest.raises(SourceError, match=r"not what preprocess wrote.*writes it again"):
        load.run(place, SOURCE)
    assert rows(owner) == [("1",)]
    assert state.read(place, SOURCE)["preprocess"]["stamp"] is None  # so that it is made anew


def test_sql_that_does_not_parse_holds_that_source(place, declare, tmp_path):
    (tmp_path / "sample.sql").write_text("create tabel")
    made_legible(place, b"a\n1\n")
    with pytest.raises(SourceError, match='sample was not loaded: syntax error at or near "tabel"'):
        load.run(place, SOURCE)


def test_control_characters_are_escaped(place, declare):
    declare("a", "b")
    made_legible(place, b"a,b\n1,2\n")
    preprocess.output_of(place, SOURCE).write_bytes(b"a,b\n\x1b[31mred\x07\n")
    note(place, 1, ["a", "b"])
    with pytest.raises(SourceError, match=r"\\x1b\[31mred") as caught:
        load.run(place, SOURCE)
    assert str(caught.value).isprintable()


# Readers and crashes


def test_load_waits_for_a_reader_that_ends(place, owner, declare):
    declare("a")
    made_legible(place, b"a\n1\n")
    load.run(place, SOURCE)
    made_legible(place, b"a\n2\n")
    with psycopg.connect(place.database_url) as reader:
        reader.execute("select * from source.sample")
        threading.Timer(2.5, reader.commit).start()  # LOCK_TIMEOUT has passed once by then
        assert load.run(place, SOURCE)["outcome"] == "new"
    assert rows(owner) == [("2",)]


def test_a_reader_that_does_not_end_keeps_the_old_rows(place, owner, declare):
    declare("a")
    made_legible(place, b"a\n1\n")
    load.run(place, SOURCE)
    made_legible(place, b"a\n2\n")
    with psycopg.connect(place.database_url) as reader:
        reader.execute("select * from source.sample")
        with pytest.raises(SourceError, match=r"readers held source\.sample for 0 s"):
            load.run(replace(place, publish_patience=0), SOURCE)
    assert rows(owner) == [("1",)]


@contextmanager
def in_the_middle_of_copy(place: Settings, owner, work) -> Iterator[None]:
    """Let `work` load from a pipe that holds still in the middle of a row; then end the pipe.

    Yields when the server is copying.
    """
    data = b"a\n" + b"a long row\n" * 300_000
    made_legible(place, data)
    path = preprocess.output_of(place, SOURCE)
    path.unlink()
    os.mkfifo(path)
    work()
    with path.open("wb") as pipe:
        pipe.write(data[: 2 * load.BLOCK])
        pipe.flush()
        copying = "select count(*) from pg_stat_progress_copy"
        eventually(lambda: owner.execute(copying).fetchone()[0], "a COPY")
        yield
        try:
            pipe.write(data[2 * load.BLOCK :])
            pipe.flush()
        except BrokenPipeError:
            pass  # it was killed
    path.unlink()
    path.write_bytes(data)


def terminate(owner) -> int:
    return owner.execute(
        "select count(pg_terminate_backend(pid)) from pg_stat_progress_copy"
    ).fetchone()[0]


def test_killed_in_the_middle_of_copy_the_old_rows_stay(place, owner, declare, tmp_path):
    declare("a")
    made_legible(place, b"a\n1\n")
    load.run(place, SOURCE)
    program = f"""
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from pipeline.schema import declaration as ddl
from pipeline.stages import load
from pipeline.settings import Settings
ddl.path = lambda source: Path({str(tmp_path / "sample.sql")!r})
load.run(Settings(Path({str(place.data_dir)!r}), {place.database_url!r}, "off", {{}}, 0, 60, 0, 3,
    "tests"), "sample")
"""
    started: list[subprocess.Popen] = []
    with in_the_middle_of_copy(
        place, owner, lambda: started.append(subprocess.Popen([sys.executable, "-c", program]))
    ):
        os.kill(started[0].pid, signal.SIGKILL)
        assert started[0].wait() == -signal.SIGKILL
    assert rows(owner) == [("1",)]
    assert load.run(place, SOURCE)["rows"] == 300_000


def test_a_backend_terminated_in_the_middle_of_copy_is_tried_once_more(place, owner, declare):
    declare("a")
    made_legible(place, b"a\n1\n")
    load.run(place, SOURCE)
    outcome: list = []

    def work():
        def attempt():
            try:
                outcome.append(load.run(place, SOURCE)["rows"])
            except PipelineError as error:
                outcome.append(error)

        loading.append(threading.Thread(target=attempt))
        loading[0].start()

    loading: list[threading.Thread] = []
    with in_the_middle_of_copy(place, owner, work):
        assert terminate(owner) == 1
        time.sleep(0.5)
        assert rows(owner) == [("1",)]
    joined(loading[0])
    assert outcome == [300_000]
    assert len(rows(owner)) == 300_000


def test_the_server_is_killed_in_the_middle_of_copy_and_recovers(place, owner, declare):
    """A killed session ends all others, and the server restarts by itself."""
    declare("a")
    made_legible(place, b"a\n1\n")
    load.run(place, SOURCE)
    with ThreadPoolExecutor() as pool:
        loading: list[Future] = []
        with in_the_middle_of_copy(
            place, owner, lambda: loading.append(pool.submit(load.run, place, SOURCE))
        ):
            (process,) = owner.execute("select pid from pg_stat_progress_copy").fetchone()
            os.kill(process, signal.SIGKILL)
        assert loading[0].result()["rows"] == 300_000
    with database.connect(place) as after:
        assert len(rows(after)) == 300_000
        others = "select count(*) from pipeline.steps where name = %s and outcome = 'new'"
        assert after.execute(others, [SOURCE]).fetchone() == (2,)


def test_a_backend_terminated_every_time_ends_the_run(place, owner, declare, monkeypatch):
    declare("a")
    made_legible(place, b"a\n1\n")
    load.run(place, SOURCE)
    made_legible(place, b"a\n2\n")

    def copy(connection, *words):
        owner.execute("select pg_terminate_backend(%s)", [connection.info.backend_pid])
        connection.execute("select 1")

    monkeypatch.setattr(load, "_copy", copy)
    with pytest.raises(PipelineError, match=r"sample was not loaded.*server runs") as e:
        load.run(place, SOURCE)
    assert e.value.exit_code == 1
    assert rows(owner) == [("1",)]


# The administrator's doings


def test_limits_meant_for_readers_do_not_stop_a_load(place, owner, declare):
    name = owner.info.dbname
    for setting, value in {
        "statement_timeout": "200ms",
        "lock_timeout": "200ms",
        "idle_in_transaction_session_timeout": "200ms",
        "idle_session_timeout": "200ms",
        "default_transaction_read_only": "on",
        "search_path": "nowhere",
    }.items():
        owner.execute(f"alter database {name} set {setting} = '{value}'")
    declare("a")
    made_legible(place, b"a\n" + b"x\n" * 2_000_000)  # which takes longer than the limits
    assert load.run(place, SOURCE)["rows"] == 2_000_000


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small file system")
def test_a_full_disk_of_the_database_keeps_the_old_rows(place, owner, declare, open_folder):
    declare("a")
    made_legible(place, b"a\n1\n")
    load.run(place, SOURCE)
    server = owner.execute("select pg_read_file('postmaster.pid')").fetchone()[0].split()[0]
    small = open_folder / f"small-{server}"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this root cannot mount a file system")
    try:
        user = Path(f"/proc/{server}").stat()
        os.chown(small, user.st_uid, user.st_gid)
        owner.execute(f"create tablespace small location '{small}'")
        owner.execute("alter table source.sample set tablespace small")
        made_legible(place, b"a\n" + b"x" * 1000 + b"\n" + b"a quite long row\n" * 500_000)
        with pytest.raises(PipelineError, match="the database's disk is full") as caught:
            load.run(place, SOURCE)
        assert caught.value.exit_code == 1
        assert rows(owner) == [("1",)]
        owner.execute("drop table source.sample")
        owner.execute("drop tablespace small")
    finally:
        subprocess.run(["umount", str(small)], check=True)
