"""Queries by the shape of their result, and SQL that is safe although it is not a literal."""

from typing import Any, LiteralString, cast

import psycopg
from psycopg.abc import Params, QueryNoTemplate
from psycopg.rows import dict_row


def one(
    connection: psycopg.Connection, query: QueryNoTemplate, params: Params | None = None
) -> tuple:
    """The row of a query that always has one; raises LookupError if it has none."""
    row = connection.execute(query, params).fetchone()
    if row is None:
        raise LookupError("a query that always has a row had none")
    return row


def scalar(
    connection: psycopg.Connection, query: QueryNoTemplate, params: Params | None = None
) -> Any:
    """The first value of that row."""
    return one(connection, query, params)[0]


def dicts(
    connection: psycopg.Connection, query: QueryNoTemplate, params: Params | None = None
) -> list[Any]:
    """The rows of a query, each a dict with its values by column."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, params).fetchall()


def detail(error: psycopg.Error) -> str:
    """The details of a server's error, such as what depends on a table, on one line."""
    return " ".join((error.diag.message_detail or "").split())


def trusted(text: str) -> LiteralString:
    """Mark a text as SQL: one from a server's catalog, a file of this project, or a number.

    psycopg accepts only literals of the code, so that no input becomes SQL. Never pass a
    publisher's text.
    """
    return cast(LiteralString, text)
