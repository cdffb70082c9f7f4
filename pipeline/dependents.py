"""What others built upon the published tables: their views are made anew, the rest is refused.

Tables are replaced at every publication, and a view is bound to the very tables it was made on.
"""

from typing import NamedTuple

import psycopg
from psycopg import sql

from pipeline import grants
from pipeline.errors import SourceError


class View(NamedTuple):
    """A view of somebody else's that reads a published table, and all it takes to make it anew."""

    name: sql.Identifier
    owner: str  # quoted where it must be
    options: str | None
    definition: str
    comments: dict[str, str]  # by column; the view's own under ""
    grants: list[grants.Grant]


_VIEWS = """
with recursive upon (oid, depth) as (
    select unnest(%(tables)s::oid[]), 0
    union
    select ev_class, depth + 1
    from upon
    join pg_depend on refclassid = 'pg_class'::regclass and refobjid = upon.oid
    join pg_rewrite on classid = 'pg_rewrite'::regclass and objid = pg_rewrite.oid
    where ev_class <> upon.oid
)
select
    pg_class.oid, nspname, relname, relowner::regrole::text,
    (select string_agg(format('%%s=%%L', option_name, option_value), ', ')
        from pg_options_to_table(reloptions)),
    pg_get_viewdef(pg_class.oid),
    (select coalesce(jsonb_object_agg(coalesce(attname, ''), description), '{}')
        from pg_description left join pg_attribute on attrelid = objoid and attnum = objsubid
            and objsubid > 0
        where classoid = 'pg_class'::regclass and objoid = pg_class.oid)
from (select oid, max(depth) as depth from upon group by oid) as deepest
join pg_class using (oid) join pg_namespace on pg_namespace.oid = relnamespace
where relkind = 'v'
order by depth, pg_class.oid
"""
# What goes with a table or a view without a word from PostgreSQL.
_LOST = """
select format('%%s on %%s', what, relation::regclass) from (
    select 'row security policy ' || polname, polrelid from pg_policy
    union all
    select 'trigger ' || tgname, tgrelid from pg_trigger where not tgisinternal
    union all
    select 'rule ' || rulename, ev_class from pg_rewrite where rulename <> '_RETURN'
    union all
    select 'logical replication ' || pubname, prrelid
    from pg_publication_rel join pg_publication on pg_publication.oid = prpubid
) as lost (what, relation)
where relation = any(%s::oid[])
order by 1
"""


def views(connection: psycopg.Connection, tables: list[int]) -> list[View]:
    """The views upon tables, at any depth, in the order in which they can be made.

    Raises SourceError naming what would be lost with one of the tables or views.
    """
    found = connection.execute(_VIEWS, {"tables": tables}).fetchall()
    relations = [*tables, *(row[0] for row in found)]
    if lost := [row[0] for row in connection.execute(_LOST, [relations])]:
        raise refused("; ".join(lost[:5]))
    return [
        View(sql.Identifier(schema, name), *rest, grants.of_others(connection, oid))
        for oid, schema, name, *rest in found
    ]


def make(connection: psycopg.Connection, view: View) -> None:
    """Make a view anew, as it was. Raises SourceError when it does not fit the new tables."""
    # Options, owner and definition are the server's own words, quoted where they must be.
    options = sql.SQL(f"with ({view.options})" if view.options else "")
    definition, owner = sql.SQL(view.definition), sql.SQL(view.owner)
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
        raise refused(f"view {name} ({error.diag.message_primary})") from None


def refused(what: str) -> SourceError:
    """The error of a publication that would break what others made."""
    return SourceError(
        f"the publication is put off: objects of others depend on published tables: {what}",
        "drop them, or make them read a copy; the published tables stay as they were",
    )
