"""Guard of the published tables: far fewer rows than in the last generation are not published.

A join that matches no more empties a mart without an error. The guard of the sources (`volume`)
does not see that: their rows are all there. Where they are not, since the source may shrink or
somebody accepted it, a table may lose the same share, and no second consent is asked for.
"""

from collections.abc import Collection, Mapping

import psycopg
from psycopg import sql

from pipeline.database import catalog, ledger
from pipeline.database.queries import one, scalar

SHARE = 0.5  # of the rows of the last generation


def losses(connection: psycopg.Connection, sources_of: Mapping[str, Collection[str]]) -> dict:
    """Which of the tables that would be published lost too many rows, in words, by name.

    sources_of: of each table that stands in `transformed_next` the sources that it is made of. A
    table that was never published loses none.
    """
    known = ledger.newest(connection, "transform", ("published",))
    there = catalog.tables(connection)
    found = {}
    for name, sources in sources_of.items():
        if name not in there:
            continue
        published = known.get(name)
        # Without a ledger they are counted.
        before = published["rows"] if published else _count(connection, catalog.PUBLISHED, name)
        now = _count(connection, catalog.NEXT, name)
        if now < SHARE * before and published:
            before *= _left(connection, sources, published["step_id"])
        if now < SHARE * before:
            found[name] = (
                f"it would have {now:,} rows where {before:,.0f} are to be expected, less than "
                "half (a join that matches no more?); if that is right: "
                f"./run_pipeline.sh transform --accept-rows {name}"
            )
    return found


def _left(connection: psycopg.Connection, sources: Collection[str], step: int) -> float:
    """The share of the rows of some sources that they have still: now, and before a step."""
    before, now = one(
        connection,
        """with loads as (
            select name, step_id, rows from pipeline.steps
            where stage = 'load' and outcome = 'new' and name = any(%(sources)s)
        ),
        of_each as (
            select
                (array_agg(rows order by step_id desc) filter (where step_id < %(step)s))[1]
                    as rows_before,
                (array_agg(rows order by step_id desc))[1] as rows_now
            from loads group by name
        )
        select coalesce(sum(rows_before), 0), coalesce(sum(rows_now), 0) from of_each""",
        {"sources": list(sources), "step": step},
    )
    return min(1.0, float(now / before)) if before else 1.0


def _count(connection: psycopg.Connection, schema: str, name: str) -> int:
    query = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, name))
    return scalar(connection, query)
