"""Rows that must be there, and SQL that is safe though no literal of this code."""

from typing import Any, LiteralString, cast

import psycopg
from psycopg.abc import Params, QueryNoTemplate


def one(
    connection: psycopg.Connection, query: QueryNoTemplate, params: Params | None = None
) -> tuple:
    """The row of a query that always has one; LookupError should it have none."""
    row = connection.execute(query, params).fetchone()
    if row is None:
        raise LookupError("a query that always has a row had none")
    return row


def scalar(
    connection: psycopg.Connection, query: QueryNoTemplate, params: Params | None = None
) -> Any:
    """The first value of that row."""
    return one(connection, query, params)[0]


def detail(error: psycopg.Error) -> str:
    """What the server adds to an error, such as what depends on a table, in one line."""
    return " ".join((error.diag.message_detail or "").split())


def trusted(text: str) -> LiteralString:
    """SQL from a server's catalog (names, definitions), a file of this project, or a number.

    psycopg takes literals of the code alone, so that nobody's input becomes SQL. No publisher's
    word is to come here.
    """
    return cast(LiteralString, text)
