"""`transformed.data_status`: how old everything is, for those who read the published tables.

A table of facts that the pipeline writes, and a view that computes the rest from the clock when it
is read: so a table becomes overdue by itself when the pipeline is dead. docs/data_status.md
describes both to readers; the rules are in `freshness`.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import psycopg

from pipeline import settings
from pipeline.database import ledger, locks
from pipeline.database.catalog import PUBLISHED
from pipeline.database.queries import detail, dicts, scalar
from pipeline.errors import SourceError
from pipeline.marts import credits, freshness
from pipeline.marts.freshness import Row, Table
from pipeline.state import Outcome

FACTS, VIEW = "data_status_facts", "data_status"
LOCK_TIMEOUT = "1s"
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
    + f" from {PUBLISHED}.{FACTS}"
)
# What to drop, by pg_class.relkind.
_KINDS: dict[str, LiteralString]
_KINDS = {"r": "table", "p": "table", "f": "foreign table", "v": "view", "m": "materialized view"}
_KINDS |= {"S": "sequence", "i": "index", "I": "index", "c": "type"}


@dataclass(frozen=True)
class _Relation:
    """A relation that has one of our names."""

    kind: str  # as in pg_class.relkind
    columns: dict[str, str]
    primary_key: str | None
    is_permanent: bool
    options: list[str]
    definition: str | None  # of a view


def refresh(connection: psycopg.Connection, verified_at: datetime | None = None) -> None:
    """Bring table and view up to date, in a transaction of its own; `verified_at`: see `rows`.

    Raises SourceError when a session locks them for longer than LOCK_TIMEOUT; if they must be
    recreated, new readers wait behind us meanwhile.
    """
    try:
        with connection.transaction():
            connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
            write(connection, rows(connection, verified_at))
    except psycopg.errors.LockNotAvailable:
        oldest = locks.oldest_holder(connection, PUBLISHED)
        raise SourceError(
            f"{PUBLISHED}.{VIEW} stays as it was: other sessions lock it; the oldest is {oldest}",
            "the next run brings it up to date",
        ) from None


def rows(connection: psycopg.Connection, verified_at: datetime | None = None) -> list[Row]:
    """The rows as they should be now, by the ledger; creates table and view if they are missing.

    verified_at: when it was last verified that the published tables correspond to the loaded rows
    and the models; None if this run did not get that far.
    """
    prepare(connection)
    names = settings.sources()
    build = (ledger.last_build(connection) or {"facts": {}})["facts"]
    return freshness.rows(
        ledger.sources(connection, names),
        ledger.loaded_snapshots(connection),
        _tables(connection, build),
        build.get("sources", {}),
        build.get("ancestors", {}),
        verified_at,
        read(connection),
        {name for name in names if credits.is_static(name)},
    )


def prepare(connection: psycopg.Connection) -> None:
    """Create table and view where one is missing, or is not as the pipeline created it.

    A recreated table is empty: call this in the transaction that writes the rows. The schema's
    default privileges apply. If both are as they should be, only the catalog is read.

    Raises SourceError when something of others depends on one that must be recreated.
    """
    with connection.transaction():
        if scalar(connection, "select to_regnamespace(%s)", [PUBLISHED]) is None:
            connection.execute(f"create schema {PUBLISHED}")
        facts, view = _relation(connection, FACTS), _relation(connection, VIEW)
        if _is_our_table(facts) and _is_our_view(view):
            return
        _drop(connection, VIEW, view)
        if not _is_our_table(facts):
            _drop(connection, FACTS, facts)
            _create_table(connection)
        _create_view(connection)


def replace(connection: psycopg.Connection, rows: list[Row]) -> None:
    """Rewrite all rows, frozen, as part of a publication that has locked the table.

    The new tables are frozen, so a snapshot older than the publication reads them as soon as its
    wait for them is over. Such a reader would find the old status beside the new tables if these
    rows were not frozen too.
    """
    names = ", ".join(COLUMNS)
    with connection.cursor() as cursor:
        cursor.execute(f"truncate {PUBLISHED}.{FACTS}")
        with cursor.copy(f"copy {PUBLISHED}.{FACTS} ({names}) from stdin (freeze)") as copy:
            for row in rows:
                copy.write_row([list(v) if isinstance(v, tuple) else v for v in row])


def write(connection: psycopg.Connection, rows: list[Row]) -> None:
    """Write these rows and delete all others, in the caller's transaction.

    Rows that stay the same are not touched, and only rows are locked.
    """
    names = ", ".join(COLUMNS)
    updates = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS)
    connection.execute(
        f"""with new as (
            select {names} from jsonb_populate_recordset(null::{PUBLISHED}.{FACTS}, %s::jsonb)
        ), gone as (
            delete from {PUBLISHED}.{FACTS} where (kind, name) not in (select kind, name from new)
        )
        insert into {PUBLISHED}.{FACTS} as old ({names}) select {names} from new
        on conflict (kind, name) do update set {updates}
        where old.* is distinct from excluded.*""",  # noqa: S608 - our own names
        [json.dumps([row._asdict() for row in rows], default=str)],
    )


def read(connection: psycopg.Connection) -> list[dict]:
    """The rows of the view, sources first, each sorted by name; empty before the first night."""
    view = scalar(connection, "select to_regclass(%s)", [f"{PUBLISHED}.{VIEW}"])
    if view is None:
        return []
    return dicts(connection, f"select * from {PUBLISHED}.{VIEW} order by kind, name")  # noqa: S608


def _tables(connection: psycopg.Connection, build: dict) -> dict[str, Table]:
    """The table of each model of a build (its facts in the ledger), by name."""
    published = ledger.newest(connection, "transform", (Outcome.PUBLISHED,))
    reasons = _outdated(connection, build)
    reasons |= dict.fromkeys(build.get("gone", {}), "its model was deleted")
    reasons |= build.get("held", {})
    tables = {}
    for name in build.get("sources", {}).keys() | set(build.get("tables", [])):
        reason = reasons.get(name)
        if name in build["tables"] and name in published:
            step = published[name]
            tables[name] = Table(
                "held" if reason else "published",
                reason,
                step["started_at"],
                step["facts"]["generation"],
                step["rows"],
            )
        else:
            tables[name] = Table("missing", reason)
    return tables


def _outdated(connection: psycopg.Connection, build: dict) -> dict[str, str]:
    """Why the tables are not newer whose sources were loaded since they were built, by name."""
    loaded_now, loaded_then = ledger.loaded(connection), build.get("loaded", {})
    newest = ledger.newest(connection, "transform").get(ledger.ALL_MODELS)
    reason = "newer rows are loaded and not yet published"
    if newest and newest["outcome"] == Outcome.FAILED:
        reason = (newest["reason"] or "").partition("; the oldest is")[
            0
        ]  # other sessions are private
    return {
        name: reason
        for name, sources in build.get("sources", {}).items()
        if any(loaded_now.get(source) != loaded_then.get(source) for source in sources)
    }


def _relation(connection: psycopg.Connection, name: str) -> _Relation | None:
    row = connection.execute(
        """select
            relkind::text,
            (select jsonb_object_agg(attname, attnum || ' ' || format_type(atttypid, atttypmod)
                    || case when attnotnull then ' not null' else '' end)
                from pg_catalog.pg_attribute
                where attrelid = relation.oid and attnum > 0 and not attisdropped),
            (select pg_get_constraintdef(pg_constraint.oid) from pg_catalog.pg_constraint
                where conrelid = relation.oid and conname = relname || '_pkey'),
            relpersistence = 'p', coalesce(reloptions, '{}'),
            case relkind when 'v' then pg_get_viewdef(relation.oid) end
        from pg_catalog.pg_class as relation where oid = to_regclass(%s)""",
        [f"{PUBLISHED}.{name}"],
    ).fetchone()
    return _Relation(*row) if row else None


def _is_our_table(relation: _Relation | None) -> bool:
    columns = {
        name: f"{number} {kind}" for number, (name, (kind, _)) in enumerate(COLUMNS.items(), 1)
    }
    return (
        relation is not None
        and relation.kind == "r"
        and relation.columns == columns
        and relation.primary_key == "PRIMARY KEY (kind, name)"
        and relation.is_permanent
    )


def _is_our_view(relation: _Relation | None) -> bool:
    return (
        relation is not None
        and relation.kind == "v"
        and relation.options == ["security_invoker=true"]
        and _normalised(relation.definition or "") == _normalised(_SELECT)
    )


def _normalised(query: str) -> str:
    """A query without what differs between the versions of PostgreSQL that print it."""
    return re.sub(rf"\b{FACTS}\.|[\s();]", "", query).lower()


def _drop(connection: psycopg.Connection, name: LiteralString, relation: _Relation | None) -> None:
    if relation is None:
        return
    try:
        connection.execute(f"drop {_KINDS[relation.kind]} {PUBLISHED}.{name}")
    except psycopg.errors.DependentObjectsStillExist as error:
        raise SourceError(
            f"{PUBLISHED}.{name} was altered and cannot be recreated: {detail(error)}",
            f"drop what depends on it, or give {PUBLISHED}.{name} its columns back",
        ) from None


def _create_table(connection: psycopg.Connection) -> None:
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in COLUMNS.items())
    key = f"constraint {FACTS}_pkey primary key (kind, name)"
    connection.execute(f"create table {PUBLISHED}.{FACTS} ({columns}, {key})")
    _comment(connection, "table", FACTS, ABOUT_FACTS, COLUMNS)


def _create_view(connection: psycopg.Connection) -> None:
    options = "with (security_invoker = true)"
    connection.execute(f"create view {PUBLISHED}.{VIEW} {options} as {_SELECT}")
    _comment(connection, "view", VIEW, ABOUT_VIEW, COLUMNS | COMPUTED)


def _comment(
    connection: psycopg.Connection,
    kind: LiteralString,
    name: LiteralString,
    about: LiteralString,
    columns: Columns,
) -> None:
    connection.execute(f"comment on {kind} {PUBLISHED}.{name} is '{about}'")
    for column, (_, comment) in columns.items():
        connection.execute(f"comment on column {PUBLISHED}.{name}.{column} is '{comment}'")
