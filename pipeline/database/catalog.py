"""The contract of a published table: its columns' names, order and types.

A Rails client that has prepared a statement fails with "cached plan must not change result type"
when they change under it, so they change only when an operator says so.
"""

import psycopg

_COLUMNS = """
select attname, format_type(atttypid, atttypmod)
from pg_catalog.pg_attribute
where attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text))
    and attnum > 0 and not attisdropped
order by attnum
"""


def columns(connection: psycopg.Connection, schema: str, table: str) -> dict[str, str]:
    """The types of a table's columns by name, in order; empty when there is no such table."""
    return dict(connection.execute(_COLUMNS, [schema, table]).fetchall())


def difference(old: dict[str, str], new: dict[str, str]) -> str:
    """What of a table's columns changed, in words; empty when nothing did, or it is a first table.

    Parameters
    ----------
    old, new: types of the columns by name, in order.
    """
    if not old:
        return ""
    told = [f"{name} {new[name]} is new" for name in new if name not in old]
    told += [f"{name} {old[name]} is gone" for name in old if name not in new]
    told += [
        f"{name} was {old[name]} and is {new[name]}"
        for name in new
        if name in old and new[name] != old[name]
    ]
    kept_before = [name for name in old if name in new]
    kept_now = [name for name in new if name in old]
    if kept_before != kept_now:
        told.append(f"the order was {', '.join(kept_before)} and is {', '.join(kept_now)}")
    elif list(new)[: len(kept_now)] != kept_now:
        told.append("new columns stand before old ones")
    return "; ".join(told)
