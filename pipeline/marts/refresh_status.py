"""What the ledger says becomes what readers are told in `transformed.data_status`."""

from datetime import datetime

import psycopg

from pipeline import settings
from pipeline.database import ledger
from pipeline.errors import SourceError
from pipeline.marts import credits, data_status, freshness, publication

LOCK_TIMEOUT = "1s"


def readers(connection: psycopg.Connection, verified_at: datetime | None = None) -> None:
    """Bring `data_status` up to date, in a transaction.

    verified_at: as for `rows`.

    Raises SourceError when others hold it for longer than LOCK_TIMEOUT; new readers queue behind us
    meanwhile, where it must be made anew.
    """
    try:
        with connection.transaction():
            connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
            data_status.write(connection, rows(connection, verified_at))
    except psycopg.errors.LockNotAvailable:
        oldest = publication.holder(connection, data_status.SCHEMA)
        raise SourceError(
            "transformed.data_status is as it was before: it is held by others, of whom the oldest "
            f"is {oldest}",
            "the next run brings it up to date",
        ) from None


def rows(
    connection: psycopg.Connection, verified_at: datetime | None = None
) -> list[freshness.Row]:
    """What readers are to be told now; its table and view are made where they are missing.

    verified_at: when the published tables were found, or made, to be what the loaded rows and the
    models say; None where it did not come to that.
    """
    data_status.prepare(connection)
    names = settings.sources()
    stages_of = ledger.sources(connection, names)
    whole = ledger.last_build(connection)
    facts = whole["facts"] if whole else {}
    return freshness.rows(
        stages_of,
        data_status.loaded(connection),
        _tables(connection, facts),
        facts.get("sources", {}),
        facts.get("ancestors", {}),
        verified_at,
        data_status.read(connection),
        {name for name in names if credits.is_static(name)},
    )


def _tables(connection: psycopg.Connection, facts: dict) -> dict[str, dict]:
    """What each model's table is: published, held or missing, and since when."""
    published = ledger.newest(connection, "transform", ("published",))
    deleted = {name: "its model was deleted" for name in facts.get("gone", {})}
    behind = _behind(connection, facts) | deleted
    tables = {}
    for name in facts.get("sources", {}).keys() | set(facts.get("tables", [])):
        reason = facts["held"].get(name) or behind.get(name)
        is_there = name in facts["tables"] and name in published
        told = {"state": "published" if is_there and not reason else "held"}
        told = told if is_there else {"state": "missing"}
        if is_there:
            step = published[name]
            told |= {"published_at": step["started_at"], "rows": step["rows"]}
            told |= {"generation": step["facts"]["generation"]}
        tables[name] = told | {"reason": reason}
    return tables


def _behind(connection: psycopg.Connection, facts: dict) -> dict[str, str]:
    """The tables whose sources were loaded since they were built, and why they are not newer."""
    now = ledger.loaded(connection)
    then = facts.get("loaded", {})
    newest = ledger.newest(connection, "transform").get(ledger.ALL_MODELS)
    reason = "newer rows are loaded and not yet published"
    if newest and newest["outcome"] == "failed":
        reason = newest["reason"].partition("; the oldest is")[0]  # who reads is nobody's business
    return {
        name: reason
        for name, sources in facts.get("sources", {}).items()
        if any(now.get(source) != then.get(source) for source in sources)
    }
