"""Stage `publish`: what readers of `transformed` have is brought into `prod`, as it is.

`python -m pipeline.stages.publish` does it; the runner starts it so. On nights that published
nothing only `data_status` is brought up to date. Permissions are written anew and tried every
night.
"""

import time
from collections.abc import Callable

import psycopg

from pipeline import database, prod, state
from pipeline.database import catalog, ledger
from pipeline.database.catalog import PUBLISHED
from pipeline.errors import PipelineError, SettingError, SourceError
from pipeline.marts import data_status
from pipeline.marts.freshness import Row
from pipeline.prod import audit, dump, ownership, permissions, pin, replicate
from pipeline.prod.dump import Dump
from pipeline.settings import Settings
from pipeline.stages import script
from pipeline.state import Outcome

STAYS = "the next night catches up"


def main() -> None:
    """Publish to prod what is published in dev."""
    script.run("publish", ledger.PROD, __doc__, lambda here, options: run(here, options.force))


def run(here: Settings, force: bool = False, take_over: bool = False) -> dict:
    """Bring prod up to date; returns the facts of the stage.

    When prod cannot be reached, or does not take it, the outcome is `failed`: dev stays published,
    prod stays as it was. When a server goes away meanwhile, all of it is done once more. `force`
    replaces tables that others changed in prod, too; `take_over` a prod that is the copy of another
    dev database.

    Raises SourceError when dev is lost meanwhile: prod is as it was, or has it all. Raises
    SettingError when what a setting leads to is not ours, or not usable: nothing was changed there.
    """
    try:
        return database.retry_once(here, lambda dev: _run(here, dev, force, take_over))
    except psycopg.Error as error:
        trouble = database.explain(error, "dev was lost, prod may be behind")
        raise SourceError(trouble.what, f"{trouble.remedy}; {STAYS}") from None


def _run(here: Settings, dev: psycopg.Connection, force: bool, take_over: bool) -> dict:
    database.prepare(dev)
    if not dump.published(dev):
        return {"outcome": Outcome.MISSING, "reason": "nothing is published in dev yet"}
    pinned = pin.read(here).pinned
    made = dump.make(here, dev, pinned.generation if pinned else None)
    about = {"generation": made.generation, "bytes": made.path.stat().st_size}
    try:
        facts = _bring_or_once_more(here, dev, made, force, take_over)
    except SettingError as error:
        _note(dev, _failed(error) | about)
        raise
    except psycopg.Error as error:
        facts = _failed(database.explain(error, "prod failed"))
    except PipelineError as error:
        facts = _failed(error)
    _note(dev, facts | about)
    return facts | about


def _bring_or_once_more(here: Settings, dev: psycopg.Connection, made: Dump, *how: bool) -> dict:
    """Let prod follow; once more when prod's server went away, and not that of dev with it."""
    try:
        return _bring(here, dev, made, *how)
    except psycopg.Error as error:
        if not database.is_lost(error) or database.is_gone(dev):
            raise
    time.sleep(database.PAUSE)
    return _bring(here, dev, made, *how)


def _failed(trouble: PipelineError) -> dict:
    """The facts of a night that did not reach prod, or that prod did not take."""
    remedy = "; ".join(filter(None, [trouble.remedy, STAYS]))
    facts = {
        "outcome": Outcome.FAILED,
        "reason": f"prod is behind: {trouble.what}",
        "remedy": remedy,
    }
    return facts | {"not_checked": [], "revoked": []}  # of this night nothing is known


def _bring(
    here: Settings, dev: psycopg.Connection, made: Dump, force: bool, take_over: bool
) -> dict:
    """Let prod follow, unless it is pinned; its permissions are seen to in any case."""
    rows = told_in(dev)

    def tell(connection: psycopg.Connection) -> None:
        data_status.write(connection, rows)

    with prod.connect(here) as connection:
        dev_id = ownership.claim(connection, dev, here, take_over)
        is_filled = ownership.is_filled(connection)
        pin.update(here, dev_id=dev_id, **({} if is_filled else {"tables": None, "pinned": None}))
        known = pin.read(here)
        rights = permissions.prepare(connection, here, dev_id)
        is_behind = not is_filled or prod.generations(connection) != made.generations
        if not known.pinned and (force or is_behind):
            facts = put(here, connection, made, rights, tell, force)
        else:
            facts = pin.held(known.pinned) if known.pinned else {"outcome": Outcome.UNCHANGED}
            if not known.pinned and known.generation != made.generation:
                _remember(here, connection, made)  # the run that brought it was killed then
            with connection.transaction():
                if not known.pinned:
                    tell(connection)
                permissions.apply(connection, here, rights)
        return facts | _revoked(rights) | _audited(here, connection, rights)


def _revoked(rights: permissions.Rights) -> dict:
    """What was taken from others, all of which goes into the log."""
    for statement in rights.revoked:
        print(f"prod: {statement}")
    return {"revoked": rights.revoked}


def put(
    here: Settings,
    connection: psycopg.Connection,
    source: Dump,
    rights: permissions.Rights,
    tell: Callable[[psycopg.Connection], None],
    force: bool = False,
) -> dict:
    """Replace what prod has by a dump; returns the facts of it.

    tell: brings the dumped `data_status` up to date, within the transaction.

    Raises SourceError when others changed the tables in prod, unless `force` is given.
    """
    known = pin.read(here).tables or {}
    if not force and (changed := replicate.changed_by_others(connection, known)):
        raise SourceError(
            f"somebody changed prod: {changed}",
            "prod stays as it is; ./run_pipeline.sh publish --force replaces it",
        )

    try:
        kept_out = replicate.replicate(connection, here, source, rights, tell)
    except psycopg.Error as error:
        # The answer to the commit may be all that was lost.
        if not database.is_lost(error) or not _has(here, source):
            raise
        kept_out = None
    _remember(here, connection, source)
    rows_in_all = sum(facts["rows"] for facts in source.tables.values())
    return {"outcome": Outcome.PUBLISHED, "rows": rows_in_all, "readers_waited": kept_out}


def _remember(here: Settings, connection: psycopg.Connection, source: Dump) -> None:
    """Note which tables we left in prod, to tell when others change them."""
    left = {name: facts["columns"] for name, facts in source.tables.items()}
    left[data_status.FACTS] = catalog.columns(connection, PUBLISHED, data_status.FACTS)
    pin.update(here, tables=left, generation=source.generation)


def _has(here: Settings, source: Dump) -> bool:
    with prod.connect(here) as connection:
        return prod.generations(connection) == source.generations


def told_in(dev: psycopg.Connection) -> list[Row]:
    """What readers of dev are told, to be told in prod."""
    return [
        Row._make(row[name] for name in Row._fields)._replace(stays_old=tuple(row["stays_old"]))
        for row in data_status.read(dev)
    ]


def _audited(here: Settings, connection: psycopg.Connection, rights: permissions.Rights) -> dict:
    """What the audit of the permissions found."""
    checks = audit.run(here, connection, dump.in_prod(here, prod.generations(connection)))
    failed = [check for check in checks if check.result == "FAIL"]
    facts: dict = {"checks": len(checks), "beyond": rights.beyond}
    facts["not_checked"] = [check.what for check in checks if check.result == "not checked"]
    if failed:
        facts["outcome"] = Outcome.FAILED
        facts["reason"] = "prod permission check failed: " + "; ".join(
            f"{check.number} {check.what} ({check.detail})" for check in failed
        )
        facts["remedy"] = "./run_pipeline.sh publish --audit shows all; see docs/public_facing.md"
    return facts


def _note(dev: psycopg.Connection, facts: dict) -> None:
    run_id = state.run_id()
    ledger.begin(dev, run_id, "publish", state.now())
    ledger.note(dev, run_id, "publish", ledger.PROD, facts | {"started_at": state.now()})


if __name__ == "__main__":
    main()
