"""Guard of the published tables: one with far fewer rows than before is not published.

A join that no longer matches empties a mart without an error. The guard of the sources (`volume`)
does not see that, because the rows of the sources are all there. If they are not, because the
source may shrink or an operator accepted it, a table may lose the same share without being accepted
again.
"""

from collections.abc import Collection, Mapping

import psycopg
from psycopg import sql

from pipeline.database import catalog, ledger
from pipeline.database.queries import one, scalar
from pipeline.state import Outcome

SHARE = 0.5  # of the rows of the last generation


def losses(
    connection: psycopg.Connection, sources_of: Mapping[str, Collection[str]]
) -> dict[str, str]:
    """The tables that would be published with too few rows: the reason by name.

    sources_of: the sources of each table to be checked, which was built in `transformed_next`. A
    table that was never published has none to lose.
    """
    steps = ledger.newest(connection, "transform", (Outcome.PUBLISHED,))
    reasons = {}
    for name in sources_of.keys() & catalog.tables(connection).keys():
        step = steps.get(name)
        expected = (step["rows"] or 0) if step else _count(connection, catalog.PUBLISHED, name)
        now = _count(connection, catalog.NEXT, name)
        if now < SHARE * expected and step:
            expected *= _share_left(connection, sources_of[name], step["step_id"])
        if now < SHARE * expected:
            reasons[name] = (
                f"it would have {now:,} rows where {expected:,.0f} are expected, less than half "
                "(does a join no longer match?); if that is right: "
                f"./run_pipeline.sh transform --accept-rows {name}"
            )
    return reasons


def _share_left(connection: psycopg.Connection, sources: Collection[str], step: int) -> float:
    """The share of the rows of some sources, as they were before a step, that they still have."""
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
