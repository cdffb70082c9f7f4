"""Guard of the published tables: far fewer rows than in the last generation are not published.

A join that matches no more empties a mart without an error. The guard of the sources (`volume`)
does not see that: their rows are all there.
"""

import psycopg
from psycopg import sql

from pipeline import ledger, publication

SHARE = 0.5  # of the rows of the last generation


def losses(connection: psycopg.Connection, names: list[str]) -> dict[str, str]:
    """Which of the tables that would be published lost too many rows, in words, by name.

    names: tables that stand in `transformed_next`. A table that was never published loses none.
    """
    known = ledger.newest(connection, "transform", ("published",))
    there = publication.tables(connection)
    found = {}
    for name in names:
        if name not in there:
            continue
        before = known[name]["rows"] if name in known else None
        if before is None:  # the ledger is lost
            before = _count(connection, publication.PUBLISHED, name)
        now = _count(connection, publication.NEXT, name)
        if now < SHARE * before:
            found[name] = (
                f"it would have {now:,} rows where {before:,} are published, less than half "
                "(a join that matches no more?); if that is right: "
                f"./run_pipeline.sh transform --accept-rows {name}"
            )
    return found


def _count(connection: psycopg.Connection, schema: str, name: str) -> int:
    query = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, name))
    return connection.execute(query).fetchone()[0]
