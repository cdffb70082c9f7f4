"""What others built on the published tables: plain views are recreated, the rest is refused.

Every publication replaces the tables, and a view is bound to the very tables it was created on.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import NamedTuple

import psycopg
from psycopg import sql

from pipeline.database import grants
from pipeline.database.queries import detail, trusted
from pipeline.errors import SourceError


class Refused(SourceError):
    """Objects of others prevent that some published tables are replaced; these are held then."""

    def __init__(self, tables: set[str], what: str):
        super().__init__(
            f"objects of others depend on it: {what}", "drop them, or let them read a copy"
        )
        self.tables = tables


@contextmanager
def refusing(tables: set[str]) -> Generator[None]:
    """Raise Refused for these tables when a statement fails because of others' objects."""
    try:
        yield
    except psycopg.errors.DependentObjectsStillExist as error:
        raise Refused(tables, detail(error)) from None
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.DuplicateTable) as error:
        raise Refused(tables, error.diag.message_primary or str(error)) from None


class View(NamedTuple):
    """A view of others that reads a published table, and everything needed to recreate it."""

    name: sql.Identifier
    version: str  # the version of its row in pg_class, which changes with the view
    tables: set[str]  # the published tables it reads, at any depth
    owner: str  # quoted where it must be
    options: str | None
    definition: str
    comments: dict[str, str]  # by column; the view's own under ""
    grants: list[grants.Grant]


_VIEWS = """
with recursive reading (root, oid, depth) as (
    select table_oid, table_oid, 0 from unnest(%(tables)s::oid[]) as table_oid
    union
    select root, ev_class, depth + 1
    from reading
    join pg_depend on refclassid = 'pg_class'::regclass and refobjid = reading.oid
    join pg_rewrite on classid = 'pg_rewrite'::regclass and objid = pg_rewrite.oid
    where ev_class <> reading.oid
)
select
    pg_class.oid, nspname, relname, pg_class.xmin::text, roots, relowner::regrole::text,
    (select string_agg(format('%%s=%%L', option_name, option_value), ', ')
        from pg_options_to_table(reloptions)),
    pg_get_viewdef(pg_class.oid),
    (select coalesce(jsonb_object_agg(coalesce(attname, ''), description), '{}')
        from pg_description left join pg_attribute on attrelid = objoid and attnum = objsubid
            and objsubid > 0
        where classoid = 'pg_class'::regclass and objoid = pg_class.oid)
from (
    select oid, max(depth) as depth, array_agg(distinct root) as roots from reading group by oid
) as deepest
join pg_class using (oid) join pg_namespace on pg_namespace.oid = relnamespace
where relkind = 'v'
order by depth, pg_class.oid
"""
# What PostgreSQL drops silently together with a table or a view.
_LOST = """
select relation, format('%%s on %%s', what, relation::regclass) from (
    select 'row security policy ' || polname, polrelid from pg_policy
    union all
    select 'trigger ' || tgname, tgrelid from pg_trigger where not tgisinternal
    union all
    select 'rule ' || rulename, ev_class from pg_rewrite where rulename <> '_RETURN'
    union all
    select 'default of column ' || attname, adrelid
    from pg_attrdef join pg_class on pg_class.oid = adrelid
    join pg_attribute on attrelid = adrelid and attnum = adnum
    where relkind = 'v'
    union all
    select 'logical replication ' || pubname, prrelid
    from pg_publication_rel join pg_publication on pg_publication.oid = prpubid
) as lost (what, relation)
where relation = any(%s::oid[])
order by 1
"""


def views(connection: psycopg.Connection, tables: dict[str, int]) -> list[View]:
    """The views on tables, at any depth, in the order in which they can be created.

    tables: oids by name. Raises Refused, naming what else would be lost with the tables and views.
    """
    names = {oid: name for name, oid in tables.items()}
    found = connection.execute(_VIEWS, {"tables": list(names)}).fetchall()
    read = {oid: {names[root] for root in roots} for oid, _, _, _, roots, *_ in found}
    read |= {oid: {name} for oid, name in names.items()}
    if lost := connection.execute(_LOST, [list(read)]).fetchall():
        at_fault = set.union(*(read[relation] for relation, _ in lost))
        raise Refused(at_fault, "; ".join(what for _, what in lost[:5]))
    granted = grants.of_others(connection, [oid for oid, *_ in found])
    return [
        View(sql.Identifier(schema, name), version, read[oid], *rest, grants=granted[oid])
        for oid, schema, name, version, _, *rest in found
    ]


def lock(connection: psycopg.Connection, view: View) -> None:
    """Lock a view by setting its owner to what it is. Raises Refused without the permission.

    LOCK TABLE would demand that the view's owner may lock the tables that it reads. If its owner
    changed meanwhile, or it was dropped, the caller finds that when it reads the view again.
    """
    statement = sql.SQL("alter view if exists {} owner to {}")
    with refusing(view.tables):
        connection.execute(statement.format(view.name, sql.SQL(trusted(view.owner))))


def create(connection: psycopg.Connection, view: View) -> None:
    """Recreate a view as it was. Raises Refused when it does not fit the new tables."""
    # Options, owner and definition come from the server, quoted where they must be.
    options = sql.SQL(f"with ({trusted(view.options)})" if view.options else "")
    definition, owner = sql.SQL(trusted(view.definition)), sql.SQL(trusted(view.owner))
    try:
        connection.execute(
            sql.SQL("create view {} {} as {}").format(view.name, options, definition)
        )
        for column, text in view.comments.items():
            what = sql.SQL("column {}.{}" if column else "view {}")
            what = what.format(view.name, *([sql.Identifier(column)] if column else []))
            connection.execute(sql.SQL("comment on {} is {}").format(what, sql.Literal(text)))
        grants.give(connection, view.name, view.grants)
        connection.execute(sql.SQL("alter view {} owner to {}").format(view.name, owner))
    except (psycopg.ProgrammingError, psycopg.NotSupportedError) as error:
        name = view.name.as_string(connection)
        raise Refused(view.tables, f"view {name} ({error.diag.message_primary})") from None
