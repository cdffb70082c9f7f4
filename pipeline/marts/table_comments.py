"""The comments of the tables that are about to be published: whose data they are, too."""

from collections.abc import Mapping

import psycopg
from psycopg import sql


def complete(connection: psycopg.Connection, schema: str, credits_of: Mapping[str, str]) -> None:
    """Add a line to the comment of each table, and take white space off the ends of all comments.

    A folded text of YAML ends in a line end, which is none of the description.

    credits_of: what is added to the comment of a table, by its name; empty adds nothing.
    """
    found = connection.execute(
        """select relname, attname, coalesce(description, '') from pg_catalog.pg_class as tables
        join lateral (
            select 0 as number, null as attname
            union all
            select attnum, attname from pg_catalog.pg_attribute
            where attrelid = tables.oid and attnum > 0 and not attisdropped
        ) as parts on true
        left join pg_catalog.pg_description on objoid = tables.oid and objsubid = number
            and classoid = 'pg_catalog.pg_class'::regclass
        where relnamespace = %s::regnamespace and relkind = 'r'""",
        [schema],
    ).fetchall()
    with connection.transaction():
        for table, column, comment in found:
            more = credits_of.get(table, "") if column is None else ""
            text = " ".join(part for part in (comment.strip(), more) if part)
            if text != comment:
                what = sql.SQL("table" if column is None else "column")
                name = sql.Identifier(schema, table, *([] if column is None else [column]))
                statement = sql.SQL("comment on {} {} is {}")
                connection.execute(statement.format(what, name, sql.Literal(text)))
