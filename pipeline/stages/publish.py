"""Stage `publish`: `prod` gets the tables that are published in `transformed`.

`python -m pipeline.stages.publish` runs it; the runner starts it so. On nights that published
nothing, only `data_status` is updated. Permissions are written again and tested every night.
"""

import time
from collections.abc import Callable

import psycopg

from pipeline import database, runs, settings, state
from pipeline.database import catalog, ledger
from pipeline.database.catalog import PUBLISHED
from pipeline.errors import PipelineError, SettingError, SourceError
from pipeline.marts import data_status
from pipeline.marts.freshness import Row
from pipeline.prod import audit, dump, ownership, permissions, pin, replicate
from pipeline.prod import connection as prod
from pipeline.prod.dump import Dump
from pipeline.settings import Settings
from pipeline.stages import script
from pipeline.state import Outcome

NEXT_NIGHT = "the next night catches up"


def main() -> None:
    """Publish to prod what is published in dev."""
    script.run("publish", ledger.PROD, __doc__, lambda here, options: run(here, options.force))


def run(here: Settings, force: bool = False, take_over: bool = False) -> dict:
    """Bring prod up to date; returns the facts of the step.

    When prod cannot be reached or refuses the tables, the outcome is `failed`, and prod stays as it
    was. When a server goes away, everything is tried once more.

    force:     also replace tables that others changed in prod.
    take_over: also replace a prod that is the copy of another dev database.

    Raises SourceError when dev is lost: prod is as it was, or up to date. Raises SettingError, and
    changes nothing, when a setting leads to a database that is not ours or cannot be used.
    """
    try:
        return database.retry_once(here, lambda dev: _run(here, dev, force, take_over))
    except psycopg.Error as error:
        trouble = database.explain(error, "dev was lost, prod may be behind")
        raise SourceError(trouble.what, f"{trouble.remedy}; {NEXT_NIGHT}") from None


def _run(here: Settings, dev: psycopg.Connection, force: bool, take_over: bool) -> dict:
    database.prepare(dev)
    if not dump.published(dev):
        outcome = Outcome.MISSING if settings.sources() else Outcome.UNCHANGED
        return {"outcome": outcome, "reason": "nothing is published in dev yet"}
    pinned = pin.read(here).pinned
    made = dump.make(here, dev, pinned.generation if pinned else None)
    about = {"generation": made.generation, "bytes": made.path.stat().st_size}
    try:
        facts = _update_or_retry(here, dev, made, force, take_over)
    except SettingError as error:
        _record(dev, _failed(error) | about)
        raise
    except psycopg.Error as error:
        facts = _failed(database.explain(error, "prod failed"))
    except PipelineError as error:
        facts = _failed(error)
    _record(dev, facts | about)
    return facts | about


def _update_or_retry(
    here: Settings, dev: psycopg.Connection, made: Dump, force: bool, take_over: bool
) -> dict:
    """Update prod; once more if its server went away, and dev's did not."""
    try:
        return _update(here, dev, made, force, take_over)
    except psycopg.Error as error:
        if not database.is_lost(error) or database.is_gone(dev):
            raise
    time.sleep(database.PAUSE)
    return _update(here, dev, made, force, take_over)


def _failed(trouble: PipelineError) -> dict:
    """Return the facts of a night that did not reach prod, or whose tables prod refused."""
    return {
        "outcome": Outcome.FAILED,
        "reason": f"prod is behind: {trouble.what}",
        "remedy": "; ".join(filter(None, [trouble.remedy, NEXT_NIGHT])),
        "not_checked": [],  # not the ones of an earlier night
        "revoked": [],
    }


def _update(
    here: Settings, dev: psycopg.Connection, made: Dump, force: bool, take_over: bool
) -> dict:
    """Replace prod's tables if they are behind, unless it is pinned; always set permissions."""
    status = status_rows(dev)

    def write_status(connection: psycopg.Connection) -> None:
        data_status.write(connection, status)

    with prod.connect(here) as connection:
        dev_id = ownership.claim(connection, dev, here, take_over)
        is_filled = ownership.is_filled(connection)
        pin.update(here, dev_id=dev_id, **({} if is_filled else {"tables": None, "pinned": None}))
        before = pin.read(here)
        rights = permissions.prepare(connection, here, dev_id)
        is_behind = not is_filled or prod.generations(connection) != made.generations
        if before.pinned:
            facts = pin.held(before.pinned)
        elif force or is_behind:
            facts = put(here, connection, made, rights, write_status, force)
        else:
            facts = {"outcome": Outcome.UNCHANGED}
            if before.generation != made.generation:
                _record_tables(here, connection, made)  # the run that replaced them was killed
        if facts["outcome"] != Outcome.PUBLISHED:
            with connection.transaction():
                if not before.pinned:
                    write_status(connection)
                permissions.apply(connection, here, rights)
        return facts | _revoked(rights) | _audited(here, connection, rights)


def _revoked(rights: permissions.Rights) -> dict:
    """Log the rights that were revoked from others; returns them."""
    for statement in rights.revoked:
        print(f"prod: {statement}")
    return {"revoked": rights.revoked}


def put(
    here: Settings,
    connection: psycopg.Connection,
    source: Dump,
    rights: permissions.Rights,
    write_status: Callable[[psycopg.Connection], None],
    force: bool = False,
) -> dict:
    """Replace prod's tables by those of a dump; returns the facts of it.

    write_status: updates the dumped `data_status` within the transaction.

    Raises SourceError when others changed the tables in prod, unless `force` is given.
    """
    recorded = pin.read(here).tables or {}
    if not force and (changed := replicate.changed_by_others(connection, recorded)):
        raise SourceError(
            f"somebody changed prod: {changed}",
            "prod stays as it is; ./run_pipeline.sh publish --force replaces it",
        )

    try:
        kept_out = replicate.replicate(connection, here, source, rights, write_status)
    except psycopg.Error as error:
        # Perhaps only the reply to the commit was lost.
        if not database.is_lost(error) or not _has(here, source):
            raise
        kept_out = None
    _record_tables(here, connection, source)
    rows = sum(table.rows for table in source.tables.values())
    return {"outcome": Outcome.PUBLISHED, "rows": rows, "readers_waited": kept_out}


def _record_tables(here: Settings, connection: psycopg.Connection, source: Dump) -> None:
    """Record the tables that we left in prod, to recognise changes that others make."""
    tables = {name: table.columns for name, table in source.tables.items()}
    tables[data_status.FACTS] = catalog.columns(connection, PUBLISHED, data_status.FACTS)
    pin.update(here, tables=tables, generation=source.generation)


def _has(here: Settings, source: Dump) -> bool:
    with prod.connect(here) as connection:
        return prod.generations(connection) == source.generations


def status_rows(dev: psycopg.Connection) -> list[Row]:
    """Return the rows of `data_status` in dev."""
    return [
        Row._make(row[name] for name in Row._fields)._replace(stays_old=tuple(row["stays_old"]))
        for row in data_status.read(dev)
    ]


def _audited(here: Settings, connection: psycopg.Connection, rights: permissions.Rights) -> dict:
    """Check the permissions; returns the facts of it."""
    checks = audit.run(here, connection, dump.contents_in_prod(here, prod.generations(connection)))
    failed = [check for check in checks if check.result == audit.Result.FAIL]
    facts: dict = {"checks": len(checks), "beyond": rights.beyond}
    facts["not_checked"] = [
        check.what for check in checks if check.result == audit.Result.NOT_CHECKED
    ]
    if failed:
        facts["outcome"] = Outcome.FAILED
        facts["reason"] = "prod permission check failed: " + "; ".join(
            f"{check.number} {check.what} ({check.detail})" for check in failed
        )
        facts["remedy"] = "./run_pipeline.sh publish --audit shows all; see docs/public_facing.md"
    return facts


def _record(dev: psycopg.Connection, facts: dict) -> None:
    run_id = runs.current_id()
    ledger.begin(dev, run_id, "publish", state.now())
    ledger.note(dev, run_id, "publish", ledger.PROD, facts | {"started_at": state.now()})


if __name__ == "__main__":
    main()
