"""The table `source.<source>`: made, and changed, as its declaration and its file say."""

import psycopg
from psycopg import sql

from pipeline import ddl, script
from pipeline.errors import SourceError


def exists(connection: psycopg.Connection, source: str) -> bool:
    """Whether a source has its table."""
    found = connection.execute("select to_regclass(%s)", [f"source.{source}"]).fetchone()
    return found[0] is not None


def make_empty(connection: psycopg.Connection, source: str) -> None:
    """A source that was never fetched has an empty table, so that every model still builds."""
    with connection.transaction():
        connection.execute(ddl.text_of(source))


def declare(connection: psycopg.Connection, source: str, published: list[str]) -> list[str]:
    """Give a table the columns and comments of its declaration, and those nobody declared yet.

    Parameters
    ----------
    published: the columns of the file about to be loaded.

    Returns the names of the columns that are in no declaration and were added now; one that is
    gone again is no harm, it is null then. Raises SourceError when the file lacks a column that
    its publisher must have: stage `preprocess` asks first, but a declaration may change.
    """
    known = ddl.read(source)
    if missing := [column for column in known.published if column not in published]:
        new = [column for column in published if column not in known.columns]
        raise SourceError(
            f"{source}: the file lacks columns {', '.join(missing)}"
            + f"; new in it: {', '.join(new)}" * bool(new),
            f"the old rows stay; load/{source}.sql declares what the file does not have",
        )
    present = _columns(connection, source)
    for column in known.columns:
        if column not in present:
            _add(connection, source, column)
    connection.execute(known.text)
    added = [column for column in published if column not in {*present, *known.columns}]
    for column in added:
        _add(connection, source, column)
        connection.execute(
            sql.SQL("comment on column {}.{} is {}").format(
                sql.Identifier("source", source),
                sql.Identifier(column),
                f"{ddl.UNDESCRIBED} appeared on {script.now()[:10]}",
            )
        )
    return added


def _columns(connection: psycopg.Connection, source: str) -> list[str]:
    found = connection.execute(
        """select attname from pg_catalog.pg_attribute
        where attrelid = %s::regclass and attnum > 0 and not attisdropped""",
        [f"source.{source}"],
    )
    return [name for (name,) in found]


def _add(connection: psycopg.Connection, source: str, column: str) -> None:
    connection.execute(
        sql.SQL("alter table {} add column {} text").format(
            sql.Identifier("source", source), sql.Identifier(column)
        )
    )
