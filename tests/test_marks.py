"""Changes of a table are detected by counts, file and columns."""

import random
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from servers import new_database

from pipeline import database
from pipeline.marts import marks
from pipeline.marts.marks import Version
from pipeline.settings import Settings

ROWS = 40
TABLE = sql.Identifier("source", "kept")
# What somebody may do to a table. The first group changes it.
CHANGES = (
    "delete from source.kept where id % 7 = 0",
    "delete from source.kept",
    "truncate source.kept",
    "update source.kept set value = value || '!' where id = 3",
    "update source.kept set value = null",
    "insert into source.kept select * from source.kept where id = 1",
    "insert into source.kept values (1000, 'new')",
    "with gone as (delete from source.kept where id = 5) insert into source.kept values (5, 'x')",
    "begin; truncate source.kept; insert into source.kept values (1, 'one'); commit",
    "alter table source.kept drop column value",
    "alter table source.kept add column more text",
    "alter table source.kept alter column id type bigint",
    "alter table source.kept rename column value to price",
    """create table source.other as select id, value || '' as value from source.kept where id > 1;
    drop table source.kept; alter table source.other rename to kept""",
)
HARMLESS = (
    "vacuum source.kept",
    "vacuum full source.kept",
    "vacuum (freeze, analyze) source.kept",
    "analyze source.kept",
    "select count(*) from source.kept",
    "create index on source.kept (id)",
    "comment on table source.kept is 'mine'",
    "grant select on source.kept to public",
    "select pg_stat_reset()",
    "select pg_stat_reset_single_table_counters('source.kept'::regclass)",
    "alter table source.kept set (fillfactor = 90); cluster source.kept using kept_pkey",
    "alter table source.kept rename to away; alter table source.away rename to kept",
)
ROLLED_BACK = (
    "begin; delete from source.kept; rollback",
    "begin; truncate source.kept; rollback",
    "begin; update source.kept set value = null; rollback",
    "begin; insert into source.kept values (1000, 'new'); rollback; vacuum source.kept",
    "begin; savepoint a; delete from source.kept where id = 3; rollback to a; commit",
    """begin; update source.kept set value = value || '!' where id > 9; rollback;
    vacuum full source.kept""",
    "select * from source.kept for update; update source.kept set value = '' where false",
)


@pytest.fixture(params=["embedded", "debian 15"])
def owner(request, here: Settings, server_settings: Settings) -> Iterator[psycopg.Connection]:
    from pipeline import embedded

    url = embedded.url(server_settings)
    if request.param != "embedded":
        url = request.getfixturevalue("debian_url")
    with new_database(url, "marked") as address, database.connect_to(address, "X") as connection:
        database.prepare(connection)
        yield connection


def make(owner, number: int, *, with_hash: bool) -> Version:
    """Create the table again and record it, as a stage does."""
    owner.execute("drop table if exists source.kept")
    owner.execute("create table source.kept (id integer, value text)")
    values = f"select n, 'value ' || n from generate_series(1, {ROWS}) as n"
    owner.execute(f"insert into source.kept {values}")
    owner.execute("alter table source.kept add constraint kept_pkey primary key (id)")
    owner.execute("alter table source.kept drop constraint kept_pkey")
    owner.execute("create index kept_pkey on source.kept (id)")
    marks.flush(owner)
    made = Version(f"making {number}", ROWS, writer=marks.writer(owner, "source", "kept"))
    marks.record(owner, "source", "kept", made)
    if with_hash:
        hashed = made._replace(hash=marks.content(owner, TABLE)[1])
        marks.add_hash(owner, "source", "kept", hashed)
    return made


def do(owner, statements: str) -> None:
    """Execute statements in another session, which then reports its counts."""
    with psycopg.connect(owner.info.dsn, password=owner.info.password, autocommit=True) as somebody:
        for statement in statements.split(";"):
            somebody.execute(statement)
        marks.flush(somebody)


def found(owner, made: Version) -> bool:
    return bool(marks.altered(owner, "source", {"kept": made}))


@pytest.mark.parametrize("with_hash", [True, False])
def test_each_change_is_found_and_nothing_else(owner, with_hash):
    for number, statements in enumerate((*CHANGES, *HARMLESS)):
        made = make(owner, number, with_hash=with_hash)
        assert not found(owner, made), statements
        do(owner, statements)
        assert found(owner, made) == (statements in CHANGES), statements
        assert found(owner, made) == (statements in CHANGES), "found once, it stays found"


@pytest.mark.parametrize("with_hash", [True, False])
def test_what_was_rolled_back_is_no_change(owner, with_hash):
    for number, statements in enumerate(ROLLED_BACK):
        made = make(owner, number, with_hash=with_hash)
        do(owner, statements)
        assert not found(owner, made), statements
        do(owner, "update source.kept set value = value where id = 2")
        assert found(owner, made) is not with_hash, statements


def test_what_was_rolled_back_in_an_empty_table_is_no_change(owner):
    owner.execute("create table source.kept (id integer)")
    marks.record(owner, "source", "kept", Version("nothing", 0))
    do(owner, "begin; insert into source.kept values (1); rollback")
    assert not found(owner, Version("nothing", 0))
    do(owner, "insert into source.kept values (1)")
    assert found(owner, Version("nothing", 0))


def test_a_row_that_was_updated_while_counts_were_lost_is_found(owner):
    made = make(owner, 1, with_hash=False)
    do(owner, "update source.kept set value = 'by hand' where id = 1; select pg_stat_reset()")
    assert found(owner, made)


def test_every_change_in_a_random_series_is_found(owner, is_long):
    """With a hash exactly the changes are found; without one at least the changes."""
    chance = random.Random(8)
    for number in range(300 if is_long else 12):
        with_hash = chance.random() < 0.6
        made = make(owner, number, with_hash=with_hash)
        before, is_touched = shape_and_rows(owner), False
        for _ in range(chance.randint(1, 4)):
            is_change = chance.random() < 0.3
            is_touched |= is_change
            pool = CHANGES[:9] if is_change else (*HARMLESS[:8], *ROLLED_BACK)
            do(owner, chance.choice(pool))
            if chance.random() < 0.3 and not is_change and with_hash:
                found(owner, made)  # a check in between, which may record it again
        is_changed = shape_and_rows(owner) != before
        # Without a hash a restored row is another row.
        expected = is_changed if with_hash else is_changed or is_touched
        assert is_changed <= found(owner, made) <= expected, number


def shape_and_rows(owner) -> list[tuple]:
    return sorted(owner.execute("select kept::text from source.kept").fetchall())


def test_counters_emptied_by_a_crash_are_no_change(owner):
    made = make(owner, 1, with_hash=False)
    do(owner, "select pg_stat_reset()")
    assert not found(owner, made)
    do(owner, "update source.kept set value = 'by hand' where id = 1")
    assert found(owner, made), "it was recorded again"


def test_an_unchanged_table_is_not_read(owner, monkeypatch):
    made = make(owner, 1, with_hash=True)
    monkeypatch.setattr(marks, "_difference", lambda *words: pytest.fail("the table was read"))
    assert not found(owner, made)


def test_a_record_of_an_earlier_version_does_not_count(owner):
    """The run was killed after it wrote the table and before it recorded it."""
    make(owner, 1, with_hash=True)
    owner.execute("truncate source.kept")
    owner.execute("insert into source.kept values (1, 'one'), (2, 'two')")
    marks.flush(owner)
    later = Version("a later making", 2)
    assert not found(owner, later)
    do(owner, "delete from source.kept where id = 1")
    assert found(owner, later)


def test_counts_that_were_not_reported_yet_are_not_recorded(owner):
    """They would be taken for a change when they come."""
    with psycopg.connect(owner.info.dsn, password=owner.info.password, autocommit=True) as maker:
        maker.execute("create table source.kept (id integer)")
        marks.flush(maker)
        maker.execute("select")
        maker.execute(f"insert into source.kept select generate_series(1, {ROWS})")
        made = Version("by another session", ROWS)
        assert not found(owner, made)
        marks.flush(maker)
        assert not found(owner, made)
        assert not found(owner, made)


def test_a_table_without_recorded_rows_is_taken_for_unchanged(owner):
    make(owner, 1, with_hash=False)
    do(owner, "truncate source.kept")
    assert not found(owner, Version("making 1"))
