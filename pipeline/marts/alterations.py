"""Which tables in dev are not as the pipeline made them: asked before one is called current.

A table in schema `source` that somebody changed is loaded again, a published one is built again.
Until then nothing is made of it, and it does not go to prod.
"""

from collections.abc import Collection

import psycopg

from pipeline.database import catalog, ledger
from pipeline.errors import SourceError
from pipeline.marts import marks
from pipeline.marts.marks import Made

SOURCE = "source"


def altered_sources(
    connection: psycopg.Connection, names: Collection[str] | None = None
) -> dict[str, str]:
    """The tables, of all or some sources, that are not as they were loaded: in what, by source."""
    steps = ledger.newest(connection, "load", ledger.MADE["load"])
    made = {
        name: Made(step["fingerprint"], step["rows"])
        for name, step in steps.items()
        if names is None or name in names
    }
    return marks.altered(connection, SOURCE, made)


def altered_tables(connection: psycopg.Connection) -> dict[str, str]:
    """The published tables that are not as they were published: in what, by name."""
    steps = ledger.newest(connection, "transform", ("published",))
    made = {
        name: Made(str(step["facts"]["generation"]), step["rows"]) for name, step in steps.items()
    }
    return marks.altered(connection, catalog.PUBLISHED, made)


def refuse_altered(connection: psycopg.Connection, described: dict[str, dict]) -> None:
    """Raise SourceError when a published table, or what was read of it, is not as it was published.

    described: rows, generation and hash of tables as somebody read them; empty where nobody did.
    """
    found = altered_tables(connection)
    if not described:  # pg_dump will wait for a table that is locked; then it is looked at again
        found = {name: why for name, why in found.items() if why != marks.LOCKED}
    noted = marks.noted(connection, catalog.PUBLISHED)
    for name, facts in described.items():
        made = noted.get(name)
        if not made or made.of != str(facts["generation"]):
            continue
        if made.rows not in (None, facts["rows"]) or made.hash not in (None, facts["hash"]):
            found.setdefault(name, "it has other rows")
    if found:
        names = ", ".join(f"transformed.{name} ({why})" for name, why in sorted(found.items()))
        raise SourceError(
            f"somebody changed what is published in dev: {names}",
            "prod stays as it was; ./run_pipeline.sh transform builds it again",
        )


def note_hashes(connection: psycopg.Connection, described: dict[str, dict]) -> None:
    """Note the hashes of published tables, as they were read for a dump."""
    for name, facts in described.items():
        made = Made(str(facts["generation"]), facts["rows"], facts["hash"])
        marks.add_hash(connection, catalog.PUBLISHED, name, made)
