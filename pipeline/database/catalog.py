"""The pipeline's schemas, and their tables and columns as the server's catalog lists them.

The columns of a published table are a contract: a Rails client that has prepared a statement fails
with "cached plan must not change result type" when they change under it. They change only when an
operator accepts it.
"""

import psycopg

SOURCE = "source"
PUBLISHED, NEXT = "transformed", "transformed_next"  # what readers have, and what is being built

_COLUMNS = """
select attname, format_type(atttypid, atttypmod)
from pg_catalog.pg_attribute
where attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text))
    and attnum > 0 and not attisdropped
order by attnum
"""


def tables(connection: psycopg.Connection, schema: str = PUBLISHED) -> dict[str, int]:
    """The oids of the tables in a schema, by name; empty when there is no such schema."""
    rows = connection.execute(
        """select relname, oid from pg_catalog.pg_class
        where relnamespace = to_regnamespace(%s) and relkind = 'r' order by 1""",
        [schema],
    )
    return dict(rows.fetchall())


def columns(connection: psycopg.Connection, schema: str, table: str) -> dict[str, str]:
    """The types of a table's columns by name, in order; empty when there is no such table."""
    return dict(connection.execute(_COLUMNS, [schema, table]).fetchall())


def column_changes(old: dict[str, str], new: dict[str, str]) -> str:
    """Describe what changed in the columns of a table.

    Parameters
    ----------
    old, new: types of the columns by name, in order.

    Returns an empty text when nothing changed, or `old` is empty because there was no table.
    """
    if not old:
        return ""
    changes = [f"{name} {new[name]} is new" for name in new if name not in old]
    changes += [f"{name} {old[name]} is gone" for name in old if name not in new]
    changes += [
        f"{name} was {old[name]} and is {new[name]}"
        for name in new
        if name in old and new[name] != old[name]
    ]
    old_order = [name for name in old if name in new]
    new_order = [name for name in new if name in old]
    if old_order != new_order:
        changes.append(f"the order was {', '.join(old_order)} and is {', '.join(new_order)}")
    elif list(new)[: len(new_order)] != new_order:
        changes.append("new columns stand before old ones")
    return "; ".join(changes)
