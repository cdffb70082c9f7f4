"""What others built upon the published tables: their views are made anew, the rest is refused.

Tables are replaced at every publication, and a view is bound to the very tables it was made on.
"""

from typing import NamedTuple

import psycopg
from psycopg import sql

from pipeline.database import grants
from pipeline.database.queries import trusted
from pipeline.errors import SourceError


class Refused(SourceError):
    """What others made stands in the way of some published tables, which are held then."""

    def __init__(self, tables: set[str], what: str):
        super().__init__(
            f"objects of others depend on it: {what}", "drop them, or let them read a copy"
        )
        self.tables = tables


class View(NamedTuple):
    """A view of somebody else's that reads a published table, and all it takes to make it anew."""

    name: sql.Identifier
    version: str  # which row of pg_class: another one after every change
    tables: set[str]  # the published tables it reads, at any depth
    owner: str  # quoted where it must be
    options: str | None
    definition: str
    comments: dict[str, str]  # by column; the view's own under ""
    grants: list[grants.Grant]


_VIEWS = """
with recursive upon (root, oid, depth) as (
    select table_oid, table_oid, 0 from unnest(%(tables)s::oid[]) as table_oid
    union
    select root, ev_class, depth + 1
    from upon
    join pg_depend on refclassid = 'pg_class'::regclass and refobjid = upon.oid
    join pg_rewrite on classid = 'pg_rewrite'::regclass and objid = pg_rewrite.oid
    where ev_class <> upon.oid
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
    select oid, max(depth) as depth, array_agg(distinct root) as roots from upon group by oid
) as deepest
join pg_class using (oid) join pg_namespace on pg_namespace.oid = relnamespace
where relkind = 'v'
order by depth, pg_class.oid
"""
# What goes with a table or a view without a word from PostgreSQL.
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
    """The views upon tables, at any depth, in the order in which they can be made.

    tables: oids by name. Raises Refused naming what would be lost with one of them or of the views.
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
    """Keep others from a view. Raises Refused when we may not.

    LOCK TABLE would demand that a view's owner may lock what is below it. Where the owner is
    another one by now, or the view is gone, what is read afterwards differs.
    """
    statement = sql.SQL("alter view if exists {} owner to {}")
    try:
        connection.execute(statement.format(view.name, sql.SQL(trusted(view.owner))))
    except psycopg.errors.InsufficientPrivilege as error:
        raise Refused(view.tables, error.diag.message_primary or str(error)) from None


def make(connection: psycopg.Connection, view: View) -> None:
    """Make a view anew, as it was. Raises Refused when it does not fit the new tables."""
    # Options, owner and definition are the server's own words, quoted where they must be.
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
