"""Which tables in dev are not as the pipeline wrote them: checked before one is taken for current.

A table in schema `source` that somebody changed is loaded again, a published one is built again.
Until then nothing is made from it, and it does not go to prod.
"""

from collections.abc import Collection

import psycopg

from pipeline.database import ledger
from pipeline.database.catalog import PUBLISHED, SOURCE
from pipeline.errors import SourceError
from pipeline.marts import marks
from pipeline.marts.marks import Version
from pipeline.state import Outcome


def altered_sources(
    connection: psycopg.Connection, names: Collection[str] | None = None
) -> dict[str, str]:
    """The tables of all or some sources that are not as they were loaded: how, by source."""
    steps = ledger.newest(connection, "load", ledger.MADE["load"])
    versions = {
        name: Version(step["fingerprint"] or "", step["rows"])
        for name, step in steps.items()
        if names is None or name in names
    }
    return marks.altered(connection, SOURCE, versions)


def altered_tables(connection: psycopg.Connection) -> dict[str, str]:
    """The published tables that are not as they were published: how, by name."""
    steps = ledger.newest(connection, "transform", (Outcome.PUBLISHED,))
    versions = {
        name: Version(str(step["facts"]["generation"]), step["rows"])
        for name, step in steps.items()
    }
    return marks.altered(connection, PUBLISHED, versions)


def refuse_altered(connection: psycopg.Connection, described: dict[str, dict]) -> None:
    """Raise SourceError when a published table, or what was read from it, is not as published.

    described: rows, generation and hash of tables as they were read; empty before they are read.
    """
    altered = altered_tables(connection)
    if not described:  # pg_dump will wait for a locked table, which is checked again afterwards
        altered = {name: why for name, why in altered.items() if why != marks.LOCKED}
    recorded = marks.recorded(connection, PUBLISHED)
    for name, facts in described.items():
        version = recorded.get(name)
        if not version or version.of != str(facts["generation"]):
            continue
        if version.rows not in (None, facts["rows"]) or version.hash not in (None, facts["hash"]):
            altered.setdefault(name, "it has other rows")
    if altered:
        names = ", ".join(f"transformed.{name} ({why})" for name, why in sorted(altered.items()))
        raise SourceError(
            f"somebody changed what is published in dev: {names}",
            "prod stays as it was; ./run_pipeline.sh transform builds it again",
        )


def record_hashes(connection: psycopg.Connection, described: dict[str, dict]) -> None:
    """Record the hashes of published tables, as they were read for a dump."""
    for name, facts in described.items():
        version = Version(str(facts["generation"]), facts["rows"], facts["hash"])
        marks.add_hash(connection, PUBLISHED, name, version)
