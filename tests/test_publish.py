"""Stage publish: prod has what dev has published, whole, or stays as it was."""

import io
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import psycopg
import pytest
from patience import end_of, eventually
from readers import reading
from test_publication import (
    READS,
    autovacuum_of_one,
    build,
    generations,
    through_a_view,
    value,
)

from pipeline import database, embedded, settings
from pipeline.cli import prod as publish_command
from pipeline.cli import status
from pipeline.database import catalog, ledger, locks
from pipeline.embedded.programs import program
from pipeline.errors import PipelineError, SourceError
from pipeline.marts import data_status, marks, publication
from pipeline.prod import connection as prod
from pipeline.prod import dump, pg_restore, pin, replicate
from pipeline.settings import ROOT, Settings
from pipeline.stages import publish

TABLES = ("one", "two")
# What text COPY has to carry unharmed.
NAUGHTY = ["", "\\.", "a\tb\nc\r\n", "\\N", "é漢🙂", "'; drop schema transformed --", '"', "\\"]


class Place:
    """A dev and a prod database, and what is published from one to the other."""

    def __init__(self, here: Settings, dev: psycopg.Connection):
        self.here, self.dev = here, dev

    def publish_dev(
        self,
        number: int,
        tables: tuple[str, ...] = TABLES,
        statement: str = "",
        keep: tuple[str, ...] = (),
        rows_of: Mapping[str, list[tuple]] = MappingProxyType({}),
    ) -> None:
        """What stage transform does: tables of a generation, published in dev."""

        def note(connection: psycopg.Connection, generation: int) -> list:
            run, told = f"run {number}", {"outcome": "published", "generation": generation}
            ledger.begin(connection, run, "transform", "2026-01-01T00:00:00Z")
            facts = told | {
                "tables": [*tables, *keep],
                "held": {},
                "sources": {t: [] for t in tables},
            }
            for name in tables:
                count = f"select count(*) from transformed_next.{name}"
                rows = connection.execute(count).fetchone()[0]
                step = told | {"rows": rows, "started_at": "2026-01-01T00:00:00Z"}
                ledger.note(connection, run, "transform", name, step, "made")
                made = marks.Version(str(generation), rows)
                marks.record(connection, "transformed", name, made, built_in="transformed_next")
            ledger.note(connection, run, "transform", ledger.ALL_MODELS, facts, "made")
            return data_status.rows(connection)

        room = build(self.dev, number, tables)
        if statement:
            self.dev.execute(statement)
        for name, rows in rows_of.items():
            for row in rows:
                signs = ", ".join(["%s"] * len(row))
                self.dev.execute(f"insert into transformed_next.{name} values ({signs})", row)
        marks.flush(self.dev)
        gone = catalog.tables(self.dev).keys() - {*tables, *keep, data_status.FACTS, "mine"}
        publication.publish(self.dev, self.here, room, tables, note, gone)

    def run(self, **words) -> dict:
        return publish.run(self.here, **words)

    def schema(self, address: str) -> str:
        """The published schema of a database as pg_dump tells it, rows included."""
        words = ["--schema=transformed", "--no-owner", "--no-privileges", "--dbname", address]
        done = subprocess.run(
            [program("pg_dump"), *words, "--exclude-table-data=transformed.data_status_facts"],
            check=True,
            capture_output=True,
            text=True,
        )
        lines = done.stdout.splitlines()
        return [line for line in lines if not line.startswith(("\\restrict", "\\unrestrict"))]


@pytest.fixture
def place(here: Settings, server_settings: Settings, database_url: str) -> Iterator[Place]:
    """Generation 1 is published in dev; prod is empty."""
    name = f"{database_url.rpartition('/')[2].partition('?')[0]}_prod"
    settings = replace(
        here,
        database_url=database_url,
        prod_database_url=embedded.url(server_settings, name),
        publish_patience=20,
        keep_dumps=3,
    )
    settings.state.mkdir(parents=True)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"create database {name}")
        with database.connect(settings) as dev:
            database.prepare(dev)
            made = Place(settings, dev)
            made.publish_dev(1)
            yield made
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def reader(place: Place) -> Iterator[psycopg.Connection]:
    with psycopg.connect(place.here.prod_database_url, autocommit=True) as connection:
        yield connection


def test_prod_has_what_dev_has_and_nothing_else(place, reader):
    facts = place.run()
    assert (facts["outcome"], facts["generation"], facts["rows"]) == ("published", 1, 400)
    assert place.schema(place.here.prod_database_url) == place.schema(place.here.database_url)
    schemas = "select array_agg(nspname::text) from pg_namespace where nspname !~ '^(pg_|info)'"
    assert set(value(reader, schemas)) <= {"public", "pipeline", "transformed"}
    marks = "select array_agg(relname::text) from pg_class where relkind = 'r'"
    marks += " and relnamespace = 'pipeline'::regnamespace"
    assert value(reader, marks) == ["copy_of"], "whose copy it is, and no more"
    told = "select kind, name, state, generation from transformed.data_status where kind = 'table'"
    assert reader.execute(told).fetchall() == place.dev.execute(told).fetchall() != []
    assert ledger.newest(place.dev, "publish")[ledger.PROD]["outcome"] == "published"


def test_a_night_that_publishes_nothing_brings_only_the_status_up_to_date(place, reader):
    place.run()
    tables = (
        "select oid, relfilenode from pg_class where relnamespace = 'transformed'::regnamespace"
    )
    before = reader.execute(f"{tables} and relname <> 'data_status_facts' order by 1").fetchall()
    place.dev.execute("update transformed.data_status_facts set reason = 'a publisher is away'")
    facts = place.run()
    assert facts["outcome"] == "unchanged"
    after = reader.execute(f"{tables} and relname <> 'data_status_facts' order by 1").fetchall()
    assert after == before
    assert value(reader, "select min(reason) from transformed.data_status") == "a publisher is away"


def test_every_generation_follows_and_the_newest_dumps_are_kept(place, reader):
    place.run()
    for number in range(2, 6):
        place.publish_dev(number)
        assert place.run()["generation"] == number
        assert generations(reader) == {number}
    assert [kept.generation for kept in dump.kept(place.here)] == [5, 4, 3]
    names = sorted(path.name for path in place.here.dumps.iterdir())
    assert names == ["3.dump", "3.json", "4.dump", "4.json", "5.dump", "5.json", "SHA256SUMS"]
    checked = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    assert subprocess.run(checked, cwd=place.here.dumps, check=False).returncode == 0


def test_plain_pg_restore_reads_a_dump(place, server_settings):
    place.run()
    name = "restored_by_hand"
    place.dev.execute(f"create database {name}")
    try:
        address = embedded.url(server_settings, name)
        words = ["--exit-on-error", "--dbname", address, str(place.here.dumps / "1.dump")]
        subprocess.run([program("pg_restore"), *words], check=True, capture_output=True)
        assert place.schema(address) == place.schema(place.here.database_url)
    finally:
        place.dev.execute(f"drop database {name} with (force)")


def test_odd_values_names_and_types_arrive_as_they_are(place, reader):
    row = (
        1.10,
        float("nan"),
        "2026-01-01T00:00:00.123456+00",
        NAUGHTY,
        "((0,0),(1,0),(1,1))",
        "{}",
    )
    statement = """drop table transformed_next.odd;
        create table transformed_next.odd (
            "a ""name"" with; everything" text, n numeric, f double precision,
            at timestamptz, list text[], ring polygon, j jsonb
        );
        create index on transformed_next.odd using gist (ring);
        comment on table transformed_next.odd is e'a;\nCOPY x FROM stdin;\n\\\\.\nSET a = b;\n'"""
    place.publish_dev(
        2, ("one", "odd"), statement, rows_of={"odd": [(text, *row) for text in [*NAUGHTY, None]]}
    )
    place.run()
    assert place.schema(place.here.prod_database_url) == place.schema(place.here.database_url)
    found = {row[0] for row in reader.execute("select * from transformed.odd")}
    assert found == {*NAUGHTY, None}


def test_what_others_put_beside_the_published_tables_stays_in_dev(place, reader):
    place.dev.execute(
        """create table transformed.mine (); create function transformed.f() returns int return 1;
        comment on function transformed.f() is 'mine';
        create view transformed.seen as select * from transformed.one;
        create type transformed.t as enum ('x'); create schema other"""
    )
    place.run()
    found = "select array_agg(relname::text order by relname) from pg_class"
    found += " where relnamespace = 'transformed'::regnamespace and relkind in ('r', 'v')"
    assert value(reader, found) == ["data_status", "data_status_facts", "one", "two"]
    assert value(reader, "select count(*) from pg_proc where proname = 'f'") == 0


# What goes wrong


def failed(facts: dict, words: str) -> bool:
    return facts["outcome"] == "failed" and words in facts["reason"]


def test_prod_is_down_and_the_next_night_catches_up(place, reader):
    place.run()
    place.publish_dev(2)
    away = replace(place.here, prod_database_url="postgresql://x:secret@127.0.0.1:9/prod")
    facts = publish.run(away)
    assert failed(facts, "prod is behind: the database cannot be reached")
    assert "secret" not in str(facts)
    assert "the next night catches up" in facts["remedy"]
    assert facts["not_checked"] == []
    assert generations(reader) == {1}
    assert place.run()["outcome"] == "published"
    assert generations(reader) == {2}


def test_a_difference_leaves_prod_as_it_was(place, reader, monkeypatch):
    place.run()
    place.publish_dev(2)
    content = dump.content

    def other(connection, table):
        found = content(connection, table)
        return found._replace(rows=199) if "_prod" in connection.info.dbname else found

    with monkeypatch.context() as patched:
        patched.setattr(dump, "content", other)
        assert failed(place.run(), "prod would differ from the dump: one has 199 rows of 200")
    assert generations(reader) == {1}
    assert place.run()["outcome"] == "published"


def test_each_table_in_prod_is_held_against_the_dump_that_it_came_with(place):
    """Also where no dump has all that prod says: of one table somebody changed its status there."""
    place.publish_dev(1)
    place.run()
    there = dump.kept(place.here)[0].generations
    tables = dump.kept(place.here)[0].tables
    contents = {name: table.content for name, table in tables.items()}
    assert dump.contents_in_prod(place.here, there) == contents
    name, *others = sorted(there)
    assert dump.contents_in_prod(place.here, there | {name: 99}).keys() == set(others)
    assert dump.contents_in_prod(place.here, {}) == {}


def test_a_damaged_dump_is_not_taken(place, reader):
    place.run()
    place.publish_dev(2)
    dump.make(place.here, place.dev)
    path = place.here.dumps / "2.dump"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert failed(place.run(), "2.dump does not have the SHA-256")
    assert generations(reader) == {1}
    path.unlink()
    assert place.run()["outcome"] == "published", "made anew"


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ("kill -9 $$", "it was killed by signal SIGKILL"),
        ("echo lost >&2; kill -15 $$", r"lost \(it was killed by signal SIGTERM\)"),
        ("exit 7", "it ended with code 7 and printed nothing"),
        ("echo no such table >&2; exit 1", "no such table$"),
    ],
)
@pytest.mark.parametrize("module", [dump, pg_restore])
def test_a_program_that_is_killed_leaves_a_reason(place, tmp_path, monkeypatch, module, ends, told):
    """The kernel kills what takes its memory, without a word."""
    stub = tmp_path / "stub"
    stub.write_text(f"#!/bin/sh\n{ends}\n")
    stub.chmod(0o755)
    kept = dump.make(place.here, place.dev)
    monkeypatch.setattr(module, "program", lambda name: str(stub))
    place.publish_dev(2)
    with pytest.raises(SourceError) as caught:
        if module is dump:
            dump.make(place.here, place.dev)
        else:
            pg_restore.before_rows(kept.path)
    assert re.search(told, caught.value.what), caught.value.what
    assert caught.value.remedy


def test_a_dump_that_was_killed_half_way_does_not_count(place):
    place.here.dumps.mkdir()
    (place.here.dumps / "1.dump").write_bytes(b"half")
    (place.here.dumps / ".1.dump.99").write_bytes(b"half")
    assert dump.kept(place.here) == []
    assert place.run()["outcome"] == "published"
    assert not (place.here.dumps / ".1.dump.99").exists()


def test_a_dump_that_lost_its_description_is_made_again(place, capsys):
    place.run()
    about = place.here.dumps / "1.json"
    for harm in (about.unlink, lambda: about.write_text("{")):
        harm()
        assert publish_command.show_dumps(place.here) == 2
        said = capsys.readouterr()
        assert "no dump is kept" in said.out
        assert "1.dump: its contents cannot be read" in said.err
        (place.here.dumps / "a folder of others").mkdir(exist_ok=True)
        assert place.run()["outcome"] == "unchanged"
        assert [kept.generation for kept in dump.kept(place.here)] == [1]


def test_a_dump_whose_description_is_torn_is_named_and_stays(place, capsys):
    """pg_restore reads it all the same."""
    for number in range(2, 7):
        place.run()
        (place.here.dumps / "2.json").write_text("{")
        place.publish_dev(number)
    assert [kept.generation for kept in dump.kept(place.here)] == [5, 4, 3]
    assert publish_command.show_dumps(place.here) == 2
    assert "2.dump: its contents cannot be read" in capsys.readouterr().err
    listed = subprocess.run(
        [program("pg_restore"), "--list", place.here.dumps / "2.dump"], capture_output=True
    )
    assert b"TABLE transformed one" in listed.stdout
    (place.here.dumps / "2.dump").unlink()
    assert publish_command.show_dumps(place.here) == 0


CHANGES = {
    "alter table transformed.one add column mine int": "one: mine integer is new",
    "drop table transformed.two": "table two is gone",
    "create table transformed.mine ()": "table mine is not ours",
    "create view transformed.mine as select 1": "view mine is not ours",
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_somebody_changed_in_prod_is_named_and_replaced_only_by_consent(place, reader, change):
    place.run()
    reader.execute(change)
    place.publish_dev(2)
    assert failed(place.run(), f"somebody changed prod: {CHANGES[change]}")
    facts = place.run(force=True)
    assert facts["outcome"] == "published"
    assert generations(reader) == {2}
    place.publish_dev(3)
    assert place.run()["outcome"] == "published"


def test_a_prod_that_is_new_was_changed_by_nobody(place, reader):
    place.run()
    reader.execute("drop schema transformed cascade")  # or PROD_DATABASE_URL leads elsewhere now
    assert place.run()["outcome"] == "published"
    assert generations(reader) == {1}


def test_objects_of_others_that_depend_on_prod_are_named(place, reader):
    place.run()
    reader.execute("create schema app; create view app.v as select * from transformed.one")
    place.publish_dev(2)
    assert failed(place.run(), "view app.v depends on table transformed_old.one")
    assert generations(reader) == {1}
    reader.execute("drop schema app cascade")
    assert place.run()["outcome"] == "published"


def test_a_reader_that_does_not_let_go_puts_it_off(place, reader):
    place.run()
    place.publish_dev(2)
    place.here = replace(place.here, publish_patience=1)
    with reader.transaction():
        assert generations(reader) == {1}
        facts = place.run()
        assert failed(facts, f"the oldest is process {reader.info.backend_pid} of postgres")
        assert "select generation" in facts["reason"]
        assert generations(reader) == {1}
    assert place.run()["outcome"] == "published"


@pytest.mark.parametrize("patience", [0, 1])
def test_a_table_of_dev_that_somebody_keeps_to_themselves_puts_it_off(place, patience):
    place.here = replace(place.here, publish_patience=patience)
    with place.dev.transaction():
        place.dev.execute("lock table transformed.two in access exclusive mode")
        with pytest.raises(SourceError, match=f"process {place.dev.info.backend_pid} of"):
            place.run()
    assert not list(place.here.dumps.glob(".*"))
    assert place.run()["outcome"] == "published"


def test_a_reader_of_what_is_stored_aside_is_waited_for_or_named(place, reader):
    """Of a TOAST table, which goes with its own and is not locked with it; so does autovacuum."""
    place.run()
    place.publish_dev(2)
    aside = "select reltoastrelid::regclass::text from pg_class where relname = 'one'"
    patience, place.here = place.here, replace(place.here, publish_patience=1)
    with reader.transaction():
        reader.execute(f"select from {value(reader, aside)}")
        assert failed(place.run(), f"the oldest is process {reader.info.backend_pid} of")
        place.here = patience
        process = start(place)
        assert seen(place, f"select count(*) from ({WAITING}) as waiting") == 1
    assert end_of(process)[0] == "published\n"


def test_new_readers_do_not_wait_for_one_lock_after_another(place, reader, monkeypatch):
    monkeypatch.setattr(locks, "LOCK_TIMEOUT", "5s")
    monkeypatch.setattr(locks, "LONGEST_ATTEMPT", 0.3)
    place.run()
    place.publish_dev(2)
    place.here = replace(place.here, publish_patience=2)
    with reader.transaction():
        generations(reader, ("two",))
        only_one = lambda connection: generations(connection, ("one",))  # noqa: E731
        with reading(place.here.prod_database_url, [only_one]) as (other,):
            assert failed(place.run(), "postponed: readers hold the tables of prod")
    assert other.wrong == []
    assert other.waited > 0.1
    assert other.longest < 2


def test_a_reader_on_its_way_through_the_view_puts_it_off(place, reader):
    """It has locked the view and not yet the table below it."""
    place.run()
    place.publish_dev(2)
    place.here = replace(place.here, publish_patience=1)
    with reader.transaction():
        reader.execute("comment on view transformed.data_status is 'locks the view alone'")
        assert failed(place.run(), "postponed: readers hold the tables of prod")
    assert place.run()["outcome"] == "published"


def test_a_commit_whose_reply_was_lost_counts(place, reader, monkeypatch):
    done = replicate.replicate

    def lose_the_answer(*words):
        done(*words)
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(replicate, "replicate", lose_the_answer)
    assert place.run()["outcome"] == "published"
    assert generations(reader) == {1}


BY_HAND = (
    "delete from transformed.one where id < 5",
    "update transformed.one set generation = 99 where id < 5",
    "truncate transformed.one",
    "alter table transformed.one add column more text",
)


def by_hand(place: Place, statement: str) -> None:
    """What somebody does in dev in a session of their own."""
    with psycopg.connect(place.here.database_url, autocommit=True) as somebody:
        somebody.execute(statement)
        marks.flush(somebody)


@pytest.mark.parametrize("is_dumped", [False, True])
def test_what_somebody_changed_in_dev_does_not_reach_prod(place, reader, is_dumped):
    """Also when another table is published: that is when all of dev is dumped."""
    place.run()
    for number, change in enumerate(BY_HAND, 1):
        place.publish_dev(2 * number)
        if is_dumped:
            assert place.run()["outcome"] == "published"
        place.publish_dev(2 * number + 1, ("two",), keep=("one",))
        by_hand(place, change)
        before = generations(reader)
        words = r"changed what is published in dev: transformed\.one \("
        with pytest.raises(SourceError, match=words):
            place.run()
        assert generations(reader) == before
        assert not [path for path in place.here.dumps.iterdir() if path.name[0] == "."]


def test_what_somebody_changes_while_it_is_dumped_does_not_reach_prod(place, reader, monkeypatch):
    place.run()
    place.publish_dev(2)
    content = dump.content

    def change_and_read(connection, table):
        if table == "one":
            by_hand(place, "update transformed.two set generation = 7")
        return content(connection, table)

    monkeypatch.setattr(dump, "content", change_and_read)
    with pytest.raises(SourceError, match="changed what is published in dev"):
        place.run()
    assert generations(reader) == {1}


# Readers


def test_readers_meet_no_error_no_empty_table_and_no_mixture(place, reader):
    place.run()
    reads = [read for read in READS if read is not through_a_view]
    with reading(place.here.prod_database_url, reads) as readers:
        for number in range(2, 6):
            place.publish_dev(number)
            facts = place.run()
            assert facts["outcome"] == "published", facts
    assert [each.wrong for each in readers] == [[]] * len(reads)
    for each in readers:
        assert {len(seen) for seen in each.seen} == {1}
        assert set.union(*each.seen) >= {1, 5}


def test_a_snapshot_from_before_finds_the_new_tables_full(place):
    place.run()
    place.publish_dev(2)
    with psycopg.connect(place.here.prod_database_url) as old:
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        old.execute("select 1")
        assert place.run()["outcome"] == "published"
        assert generations(old) == {2}


# Killed

PUBLISH = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, {root!r})
from pipeline import errors, settings
from pipeline.stages import publish
print("ready", flush=True)
here = replace(settings.load(), database_url={dev!r}, prod_database_url={prod!r})
try:
    print(publish.run(here)["outcome"])
except errors.SourceError as error:
    print(f"{{error.what}}; {{error.remedy}}")
"""


def start(place: Place) -> subprocess.Popen:
    """Stage publish in a process of its own."""
    addresses = {"dev": place.here.database_url, "prod": place.here.prod_database_url}
    program = PUBLISH.format(root=str(ROOT), **addresses)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


# The replication while readers keep it from locking the old tables.
WAITING = """select pid from pg_stat_activity
    where query like 'lock table%' and datname like '%\\_prod'"""


def seen(place: Place, statement: str) -> int:
    """What a statement in dev returns as soon as that is more than 0."""
    return eventually(lambda: value(place.dev, statement), statement, every=0.01)


def test_killed_at_any_moment_prod_is_whole(place, reader, is_long):
    place.run()
    moments, last, whole = random.Random(6), 1, 0.0
    for number in range(2, 102 if is_long else 12):
        place.publish_dev(number)
        process, began = start(place), time.monotonic()
        if whole:
            time.sleep(moments.uniform(0, whole))
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        whole = whole or time.monotonic() - began
        (found,) = generations(reader)
        assert found in (last, number)
        told = "select distinct generation from transformed.data_status where kind = 'table'"
        assert reader.execute(told).fetchall() == [(found,)]
        last = found
    assert place.run()["outcome"] in ("published", "unchanged")
    assert place.schema(place.here.prod_database_url) == place.schema(place.here.database_url)
    left = "select count(*) from pg_namespace where nspname = 'transformed_old'"
    assert value(reader, left) == 0


@pytest.mark.parametrize("times", [1, 2])
def test_a_session_in_prod_that_is_terminated_is_tried_once_more(place, reader, times):
    place.run()
    place.publish_dev(2)
    with reader.transaction():
        generations(reader)  # so that the replication is in its transaction, and waits
        process = start(place)
        ending = f"select count(pg_terminate_backend(pid)) from ({WAITING}) as waiting"
        for _ in range(times):
            assert seen(place, ending) == 1
        if times == 2:
            assert end_of(process)[0] == "failed\n"
            assert generations(reader) == {1}
    if times == 1:
        assert end_of(process)[0] == "published\n"
    assert place.run()["outcome"] == ("published" if times == 2 else "unchanged")
    assert generations(reader) == {2}


def test_a_lost_connection_to_dev_is_opened_once_more(place, reader):
    place.run()
    place.publish_dev(2)
    with reader.transaction():
        generations(reader)
        process = start(place)
        ending = f"""select count(pg_terminate_backend(pid)) from pg_stat_activity
            where datname = current_database() and application_name = 'pipeline'
                and pid <> pg_backend_pid() and exists ({WAITING})"""
        assert seen(place, ending) == 1
    lost, outcome = end_of(process)[0].splitlines()
    assert lost.startswith("the database went away (terminating connection due to administrator")
    assert outcome == "unchanged", "prod had all it needs"
    assert generations(reader) == {2}


def test_dev_that_is_lost_again_is_named(place, monkeypatch):
    def lose(here, dev, *how):
        dev.execute("select pg_terminate_backend(pg_backend_pid())")

    monkeypatch.setattr(publish, "_run", lose)
    with pytest.raises(
        SourceError, match="dev was lost, prod may be behind: terminating"
    ) as caught:
        place.run()
    assert caught.value.remedy.endswith("the next night catches up")


def test_autovacuum_of_the_old_tables_and_a_replication_do_not_wait_for_each_other(place, reader):
    """Autovacuum holds this lock and ends, as `analyze` does, with a note in pg_class."""
    place.run()
    place.publish_dev(2)
    with reader.transaction():
        reader.execute("set local statement_timeout = '10s'")
        reader.execute("lock table transformed.one in share update exclusive mode")
        reader.execute("delete from transformed.one")  # so that there is something to note
        process = start(place)
        assert seen(place, f"select count(*) from ({WAITING}) as waiting") == 1
        reader.execute("analyze transformed.one")
    assert end_of(process)[0] == "published\n"


def test_autovacuum_of_an_old_table_is_cancelled(place, reader):
    place.run()
    place.publish_dev(2)
    place.here = replace(place.here, publish_patience=5)
    with autovacuum_of_one(reader):
        assert place.run()["outcome"] == "published"


def test_a_replication_whose_process_was_killed_is_waited_for(place, reader):
    """The server goes on with what it was told before it notices."""
    with psycopg.connect(place.here.prod_database_url) as killed:
        killed.execute("select pg_advisory_xact_lock(%s)", [prod.LOCK])
        ending = threading.Timer(1.5, killed.rollback)
        ending.start()
        assert place.run()["outcome"] == "published"
        ending.join()


def test_two_replications_at_a_time_are_refused(place, reader, monkeypatch):
    monkeypatch.setattr("pipeline.database.locks.LOST_LOCK_PATIENCE", 0.2)
    with psycopg.connect(place.here.prod_database_url) as other:
        other.execute("select pg_advisory_xact_lock(%s)", [prod.LOCK])
        facts = place.run()
    assert facts["outcome"] == "failed"
    assert facts["reason"] == "prod is behind: another replication to prod is in progress"
    assert place.run()["outcome"] == "published"


def test_a_run_killed_right_after_the_commit_in_prod_leaves_nothing_to_force(
    place, reader, monkeypatch
):
    """It had no time to record which tables it left there."""
    place.run()
    place.publish_dev(2, (*TABLES, "three"))
    with monkeypatch.context() as patched:
        patched.setattr(publish, "_record_tables", lambda *words: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            place.run()
    assert generations(reader) == {2}
    assert place.run()["outcome"] == "unchanged"
    place.publish_dev(3, (*TABLES, "three"))
    assert place.run()["outcome"] == "published"


# Rollback


def test_a_rollback_is_pinned_before_it_is_committed(place, reader, monkeypatch):
    """Else a kill after the commit would let tonight undo it; one that fails leaves no pin."""
    place.run()
    place.publish_dev(2)
    place.run()
    pins = []

    def fail(*words):
        pins.append(pin.read(place.here).pinned.generation)
        raise psycopg.errors.DiskFull("no space")

    with monkeypatch.context() as patched:
        patched.setattr(replicate, "replicate", fail)
        with pytest.raises(PipelineError, match="prod stays as it was"):
            publish_command.rollback(place.here, 0)
    assert pins == [1]
    assert not pin.read(place.here).pinned
    assert generations(reader) == {2}


def test_rollback_pins_prod_until_resume(place, reader, capsys):
    place.run()
    for number in (2, 3):
        place.publish_dev(number)
        place.run()
    assert publish_command.rollback(place.here, 0) == 0
    assert generations(reader) == {2}
    states = "select distinct state, reason from transformed.data_status where kind = 'table'"
    ((state, reason),) = reader.execute(states).fetchall()
    assert (state, reason.partition(" on ")[0]) == ("held", "rolled back by hand to generation 2")
    place.publish_dev(4)
    facts = place.run()
    assert (facts["outcome"], facts["generation"]) == ("held", 4)
    assert "prod is pinned to generation 2" in facts["reason"]
    assert facts["checks"] > 25, "its permissions are tried all the same"
    assert generations(reader) == {2}
    assert [kept.generation for kept in dump.kept(place.here)] == [4, 3, 2]
    place.publish_dev(5)
    place.run()
    assert [kept.generation for kept in dump.kept(place.here)] == [5, 4, 3, 2], "2 is in prod"
    capsys.readouterr()
    publish_command.show_dumps(place.here)
    assert "in prod, pinned" in capsys.readouterr().out
    with pytest.raises(SourceError, match="no older dump is kept"):
        publish_command.rollback(place.here, 0)
    with pytest.raises(SourceError, match="no dump of generation 77 is kept"):
        publish_command.rollback(place.here, 77)
    assert publish_command.rollback(place.here, 3) == 0, "forward, too"
    assert generations(reader) == {3}
    assert publish_command.resume(place.here) == 0
    assert generations(reader) == {5}
    assert reader.execute(states).fetchall() == [("fresh", None)]
    assert publish_command.resume(place.here) == 0
    assert "prod is not pinned" in capsys.readouterr().out


def test_status_says_at_once_that_prod_is_pinned(place, reader, capsys, monkeypatch):
    place.run()
    place.publish_dev(2)
    place.run()

    def told() -> str:
        capsys.readouterr()
        with monkeypatch.context() as patched:
            patched.setattr(settings, "load", lambda: place.here)
            assert status.show() == 2
        return capsys.readouterr().out

    publish_command.rollback(place.here, 0)
    assert "- prod: held, prod is pinned to generation 1 since" in told()
    assert "\nprod: held, generation 1\n" in told()
    publish_command.resume(place.here)
    assert "\nprod: published, generation 2\n" in told()


def test_a_dry_run_says_what_would_change_and_changes_nothing(place, reader, capsys):
    publish_command.dry_run(place.here)
    assert "is added" in capsys.readouterr().out
    assert value(reader, "select to_regnamespace('transformed')") is None
    place.run()
    place.publish_dev(2, ("one", "three"), "alter table transformed_next.one add column more int")
    capsys.readouterr()
    assert publish_command.dry_run(place.here) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert "generation 1 to 2; more integer is new" in lines["one"]
    assert lines["three"].rstrip().endswith("is added")
    assert lines["two"].rstrip().endswith("is dropped")
    assert generations(reader) == {1}


def test_those_who_only_look_make_no_database(server_settings):
    here = replace(server_settings, prod_database_url="")
    with psycopg.connect(embedded.url(here), autocommit=True) as connection:
        connection.execute("drop database if exists prod")
        for look in (publish_command.dry_run, publish_command.show_audit):
            with pytest.raises(SourceError, match="there is no database prod yet"):
                look(here)
        assert not value(connection, "select count(*) from pg_database where datname = 'prod'")


# Other servers


def test_prod_may_be_postgresql_15(place, debian_url, capsys):
    with psycopg.connect(debian_url, autocommit=True) as connection:
        connection.execute("create database prod_of_15")
        try:
            address = debian_url.rpartition("/")[0] + "/prod_of_15"
            address += f"?{debian_url.partition('?')[2]}" if "?" in debian_url else ""
            place.here = replace(place.here, prod_database_url=address)
            assert place.run()["outcome"] == "published"
            place.publish_dev(2)
            assert place.run()["outcome"] == "published"
            assert publish_command.rollback(place.here, 1) == 0
            with psycopg.connect(address) as reader:
                assert generations(reader) == {1}
                assert value(reader, "show server_version_num").startswith("15")
        finally:
            connection.execute("drop database prod_of_15 with (force)")


def test_without_an_address_prod_stands_beside_dev(server_settings):
    with prod.connect(server_settings) as connection:
        assert connection.info.dbname == "prod"
    assert prod.url(server_settings) == embedded.url(server_settings, "prod")
    assert isinstance(server_settings.data_dir, Path)


def test_a_generation_is_greater_than_all_recorded_ones(place):
    assert prod.greatest_generation(place.here, 0) == 0
    place.run()
    place.publish_dev(2)
    dump.make(place.here, place.dev)
    assert prod.greatest_generation(place.here, 1) == 2, "a dump has it"
    for path in place.here.dumps.iterdir():
        path.unlink()
    assert prod.greatest_generation(place.here, 0) == 1, "the ledger is lost; prod has it"
    assert prod.greatest_generation(place.here, 7) == 7


def test_rows_are_read_whole_however_they_come():
    """The end of the rows may be split between two reads, and a line may be longer than one."""
    lines = [b"1\t\\\\.\n", b"\n", b"x" * 100 + b"\n", b"\\.x\n", b"2\n"]
    for size in (1, 2, 3, 7, 64, 1000):
        script = (
            b"COPY t (a) FROM stdin;\n" + b"".join(lines) + b"\\.\n\n\nCOPY u (b) FROM stdin;\n"
        )
        stream = io.BufferedReader(io.BytesIO(script + b"\\.\n"), size)
        copies = [(what, b"".join(blocks)) for what, blocks in pg_restore._copies(stream)]
        assert copies == [("COPY t (a)", b"".join(lines)), ("COPY u (b)", b"")]
