"""`transformed.data_status`: how old everything is, for those who read the published tables.

A table of facts that the pipeline writes, and a view that adds what the clock says when it is
read: so it turns red by itself when the pipeline is dead. docs/data_status.md tells readers of it;
the rules are in `freshness`.
"""

import json
import re
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg.rows import dict_row

from pipeline.database.queries import detail, scalar
from pipeline.errors import SourceError
from pipeline.marts.freshness import Row

SCHEMA, FACTS, VIEW = "transformed", "data_status_facts", "data_status"
INSTANT = "timestamp with time zone"
Columns = dict[LiteralString, tuple[LiteralString, LiteralString]]
# Type and comment of each column; names and order are a contract with applications.
COLUMNS: Columns = {
    "kind": ("text not null", "source or table"),
    "name": ("text not null", "Name of the source, or of the table in this schema"),
    "state": ("text not null", "fresh, kept, bundled, missing or held; see docs/data_status.md"),
    "as_of": (INSTANT, "The data are as they were then; of a table, its oldest changing source"),
    "fetched_at": (INSTANT, "When the bytes in use were fetched from the publisher (sources)"),
    "checked_at": (INSTANT, "When the publisher was last asked with success (sources)"),
    "loaded_at": (INSTANT, "When the rows were loaded (sources)"),
    "published_at": (INSTANT, "When the table was last published (tables)"),
    "generation": ("bigint", "Number of the publication that the table came with (tables)"),
    "reason": ("text", "Why it is not fresh, for those who run the pipeline"),
    "stays_old": ("text[] not null", "The published tables that stay older because of this"),
    "expected_next_at": (INSTANT, "When the next nightly check should be over"),
}
COMPUTED: Columns = {
    "age": ("now() - as_of", "Time since as_of, computed when read"),
    "is_overdue": (
        "coalesce(now() > expected_next_at, true)",
        "Whether a nightly check is missed, computed when read; true if there was none ever",
    ),
}
ABOUT_FACTS = "What view data_status computes from; one row per source and per published table."
ABOUT_VIEW = "How old the data are, and why; one row per source and per published table."
_SELECT = (
    f"select {', '.join(COLUMNS)}, "  # noqa: S608 - our own names
    + ", ".join(f"{expression} as {name}" for name, (expression, _) in COMPUTED.items())
    + f" from {SCHEMA}.{FACTS}"
)
# What to drop, by pg_class.relkind.
_KINDS: dict[str, LiteralString]
_KINDS = {"r": "table", "p": "table", "f": "foreign table", "v": "view", "m": "materialized view"}
_KINDS |= {"S": "sequence", "i": "index", "I": "index", "c": "type"}


@dataclass(frozen=True)
class _Relation:
    """What stands under one of our names."""

    kind: str  # as in pg_class.relkind
    columns: dict[str, str]
    primary_key: str | None
    is_permanent: bool
    options: list[str]
    definition: str | None  # of a view


def prepare(connection: psycopg.Connection) -> None:
    """Make table and view where one is missing, or is not as it was made.

    One that is made anew is empty: to be called in the transaction that writes the rows. Grants
    follow from the schema's default privileges. Reads the catalogue only, if all is there.

    Raises SourceError when something of others depends on one that must be made anew.
    """
    with connection.transaction():
        if scalar(connection, "select to_regnamespace(%s)", [SCHEMA]) is None:
            connection.execute(f"create schema {SCHEMA}")
        facts, view = _relation(connection, FACTS), _relation(connection, VIEW)
        facts_are_well, view_is_well = _are_our_facts(facts), _is_our_view(view)
        if facts_are_well and view_is_well:
            return
        _drop(connection, VIEW, view)
        if not facts_are_well:
            _drop(connection, FACTS, facts)
            _make_facts(connection)
        _make_view(connection)


def replace(connection: psycopg.Connection, rows: list[Row]) -> None:
    """Let these rows be told as part of a publication that has locked the table.

    The new tables are frozen: a snapshot that is older than the publication reads them too, once
    its wait for them is over. So these rows are frozen, or such a reader would find the old status
    beside the new tables.
    """
    names = ", ".join(COLUMNS)
    with connection.cursor() as cursor:
        cursor.execute(f"truncate {SCHEMA}.{FACTS}")
        with cursor.copy(f"copy {SCHEMA}.{FACTS} ({names}) from stdin (freeze)") as copy:
            for row in rows:
                copy.write_row([list(v) if isinstance(v, tuple) else v for v in row])


def write(connection: psycopg.Connection, rows: list[Row]) -> None:
    """Let these rows be told, and no others; part of the caller's transaction.

    Rows that stay the same are not touched, and nothing but rows is locked.
    """
    names = ", ".join(COLUMNS)
    updates = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS)
    connection.execute(
        f"""with told as (
            select {names} from jsonb_populate_recordset(null::{SCHEMA}.{FACTS}, %s::jsonb)
        ), gone as (
            delete from {SCHEMA}.{FACTS} where (kind, name) not in (select kind, name from told)
        )
        insert into {SCHEMA}.{FACTS} as known ({names}) select {names} from told
        on conflict (kind, name) do update set {updates}
        where known.* is distinct from excluded.*""",  # noqa: S608 - our own names
        [json.dumps([row._asdict() for row in rows], default=str)],
    )


def read(connection: psycopg.Connection) -> list[dict]:
    """What readers are told now, sources first, each by name; nothing before the first night."""
    view = scalar(connection, "select to_regclass(%s)", [f"{SCHEMA}.{VIEW}"])
    if view is None:
        return []
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(f"select * from {SCHEMA}.{VIEW} order by kind, name")  # noqa: S608
        return cursor.fetchall()


def loaded(connection: psycopg.Connection) -> dict[str, dict]:
    """Of what each source's table was made, from the ledger; a source never loaded is left out.

    Returns `loaded_at`, and of the snapshot `content`, `origin`, `as_of`, `fetched_at`, and
    `checked_at`: when its publisher last said that it is (still) the newest.
    """
    query = """
    with loads as (
        select distinct on (name)
            name, step_id, started_at, facts #>> '{snapshot, content}' as content
        from pipeline.steps where stage = 'load' and outcome = 'new'
        order by name, step_id desc
    ),
    -- A load by an earlier version does not say what it was made of.
    -- A failed step tells of the last good file too. One made by hand is noted after the load.
    contents as (
        select distinct on (loads.name) loads.name, loads.started_at,
            coalesce(loads.content, facts ->> 'input') as content
        from loads
        left join pipeline.steps on steps.name = loads.name and stage = 'preprocess'
            and (steps.step_id < loads.step_id or steps.started_at <= loads.started_at)
        order by loads.name, steps.step_id desc
    )
    select distinct on (contents.name)
        contents.name, contents.started_at as loaded_at, content, facts ->> 'origin' as origin,
        facts ->> 'as_of' as as_of, facts ->> 'fetched_at' as fetched_at,
        facts ->> 'checked_at' as checked_at
    from contents
    left join pipeline.steps on steps.name = contents.name and stage = 'api'
        and fingerprint = content
    order by contents.name, outcome in ('new', 'unchanged') desc, steps.step_id desc
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        return {row.pop("name"): row for row in cursor.execute(query)}


def _relation(connection: psycopg.Connection, name: str) -> _Relation | None:
    row = connection.execute(
        """select
            relkind::text,
            (select jsonb_object_agg(attname, attnum || ' ' || format_type(atttypid, atttypmod)
                    || case when attnotnull then ' not null' else '' end)
                from pg_catalog.pg_attribute
                where attrelid = found.oid and attnum > 0 and not attisdropped),
            (select pg_get_constraintdef(pg_constraint.oid) from pg_catalog.pg_constraint
                where conrelid = found.oid and conname = relname || '_pkey'),
            relpersistence = 'p', coalesce(reloptions, '{}'),
            case relkind when 'v' then pg_get_viewdef(found.oid) end
        from pg_catalog.pg_class as found where oid = to_regclass(%s)""",
        [f"{SCHEMA}.{name}"],
    ).fetchone()
    return _Relation(*row) if row else None


def _are_our_facts(found: _Relation | None) -> bool:
    wanted = {
        name: f"{number} {kind}" for number, (name, (kind, _)) in enumerate(COLUMNS.items(), 1)
    }
    return (
        found is not None
        and found.kind == "r"
        and found.columns == wanted
        and found.primary_key == "PRIMARY KEY (kind, name)"
        and found.is_permanent
    )


def _is_our_view(found: _Relation | None) -> bool:
    return (
        found is not None
        and found.kind == "v"
        and found.options == ["security_invoker=true"]
        and _plain(found.definition or "") == _plain(_SELECT)
    )


def _plain(query: str) -> str:
    """A query without what servers of different versions write differently when they show it."""
    return re.sub(rf"\b{FACTS}\.|[\s();]", "", query).lower()


def _drop(connection: psycopg.Connection, name: LiteralString, found: _Relation | None) -> None:
    if found is None:
        return
    try:
        connection.execute(f"drop {_KINDS[found.kind]} {SCHEMA}.{name}")
    except psycopg.errors.DependentObjectsStillExist as error:
        raise SourceError(
            f"{SCHEMA}.{name} was altered and cannot be made anew: {detail(error)}",
            f"drop what depends on it, or give {SCHEMA}.{name} its columns back",
        ) from None


def _make_facts(connection: psycopg.Connection) -> None:
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in COLUMNS.items())
    key = f"constraint {FACTS}_pkey primary key (kind, name)"
    connection.execute(f"create table {SCHEMA}.{FACTS} ({columns}, {key})")
    _comment(connection, "table", FACTS, ABOUT_FACTS, COLUMNS)


def _make_view(connection: psycopg.Connection) -> None:
    head = f"create view {SCHEMA}.{VIEW} with (security_invoker = true) as"
    connection.execute(f"{head} {_SELECT}")
    _comment(connection, "view", VIEW, ABOUT_VIEW, COLUMNS | COMPUTED)


def _comment(
    connection: psycopg.Connection,
    kind: LiteralString,
    name: LiteralString,
    about: LiteralString,
    columns: Columns,
) -> None:
    connection.execute(f"comment on {kind} {SCHEMA}.{name} is '{about}'")
    for column, (_, comment) in columns.items():
        connection.execute(f"comment on column {SCHEMA}.{name}.{column} is '{comment}'")
