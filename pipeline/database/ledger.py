"""The ledger in schema `pipeline`: the runs, and what each stage did for each source and model."""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, TypedDict

import psycopg

from pipeline.database.queries import dicts, scalar
from pipeline.errors import DEGRADED, OK
from pipeline.state import CHECKED, DEGRADED_OUTCOMES, SOURCE_STAGES, Outcome, now

ALL_MODELS = "all models"  # the step of a whole build; no source or model has this name
PROD = "database prod"  # the step of stage publish; no source has this name
ENDED = (Outcome.PUBLISHED, Outcome.HELD, Outcome.UNCHANGED)  # outcomes of a complete build
# The outcomes with which a step describes what is in the tables of its stage.
MADE = {"load": (Outcome.NEW,), "transform": ENDED}
# Facts that have a column of their own.
_COLUMNS = ("outcome", "started_at", "seconds", "rows", "bytes", "reason", "remedy")


class Step(TypedDict):
    """One row of `pipeline.steps`: what a stage did for a source or model in a run."""

    step_id: int
    run_id: str
    stage: str
    name: str
    outcome: Outcome
    started_at: datetime | None
    seconds: Decimal | None
    rows: int | None
    bytes: int | None
    fingerprint: str | None
    reason: str | None
    remedy: str | None
    facts: dict


class LoadedSnapshot(TypedDict):
    """The snapshot that the table of a source was made from; None where nobody recorded it."""

    loaded_at: datetime
    content: str | None
    origin: str | None
    as_of: str | None
    fetched_at: str | None
    checked_at: str | None  # when it was last checked with success that the publisher still has it


def is_there(connection: psycopg.Connection) -> bool:
    """Whether a run has created the ledger."""
    return scalar(connection, "select to_regclass('pipeline.steps')") is not None


def identity(connection: psycopg.Connection) -> str:
    """The id of this dev database: all machines that share the database share it."""
    return str(scalar(connection, "select dev_id from pipeline.identity"))


def begin(connection: psycopg.Connection, run_id: str, arguments: str, started_at: str) -> None:
    """Record the begin of a run, once; `arguments`: its command line."""
    connection.execute(
        """insert into pipeline.runs (run_id, words, started_at) values (%s, %s, %s)
        on conflict (run_id) do nothing""",
        [run_id, arguments, started_at],
    )


def end(connection: psycopg.Connection, run_id: str, exit_code: int, note: str) -> None:
    """Record how a run ended."""
    connection.execute(
        """update pipeline.runs set ended_at = clock_timestamp(), exit_code = %s, note = %s
        where run_id = %s""",
        [exit_code, note, run_id],
    )


def note(
    connection: psycopg.Connection,
    run_id: str,
    stage: str,
    name: str,
    facts: dict,
    fingerprint=None,
) -> None:
    """Add a step, in the transaction of the work that it describes.

    A script run by hand is a run of its own, which ends with its step. Its id contains a blank,
    unlike the id of a night.
    """
    rest = {k: v for k, v in facts.items() if k not in _COLUMNS and k not in ("run", "stamp")}
    connection.execute(
        """insert into pipeline.steps
            (run_id, stage, name, outcome, started_at, seconds, rows, bytes, reason, remedy,
             fingerprint, facts)
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        [run_id, stage, name, *(facts.get(c) for c in _COLUMNS), fingerprint, json.dumps(rest)],
    )
    if " " in run_id:
        is_degraded = facts["outcome"] in DEGRADED_OUTCOMES
        connection.execute(
            """update pipeline.runs set
                ended_at = greatest(
                    ended_at, %(started)s::timestamptz + make_interval(secs => %(seconds)s)
                ),
                exit_code = greatest(exit_code, %(code)s)
            where run_id = %(run)s""",
            {
                "run": run_id,
                "started": facts.get("started_at") or now(),
                "seconds": facts.get("seconds") or 0,
                "code": DEGRADED if is_degraded else OK,
            },
        )


def copy(connection: psycopg.Connection, stage: str, steps: Mapping[str, dict | None]) -> None:
    """Add the steps of a stage that were recorded only on disk; commits.

    The ledger is the history of all machines; `data/state/` has the last step of each stage on one
    machine, which `api` and `preprocess` write without a database. Stages `load` and `transform`
    record in the ledger themselves what they change there, so what is missing has failed.

    steps: facts by the name of the source or model.
    """
    steps_on_disk = {name: facts for name, facts in steps.items() if facts and "run" in facts}
    recorded = connection.execute(
        "select name, run_id from pipeline.steps where stage = %s and run_id = any(%s)",
        [stage, [facts["run"] for facts in steps_on_disk.values()]],
    ).fetchall()
    for name, facts in steps_on_disk.items():
        is_of_database = stage in MADE and facts["outcome"] in (Outcome.NEW, *ENDED)
        if (name, facts["run"]) not in recorded and not is_of_database:
            with connection.transaction():
                begin(connection, facts["run"], stage, facts["started_at"])
                fingerprint = facts.get("content") or facts.get("sha256")
                note(connection, facts["run"], stage, name, facts, fingerprint)


def amend(connection: psycopg.Connection, stage: str, name: str, **facts: object) -> None:
    """Add facts to the newest step with outcome `new`: they changed, but not what it made."""
    connection.execute(
        """update pipeline.steps set facts = facts || %(facts)s::jsonb where step_id = (
            select max(step_id) from pipeline.steps
            where stage = %(stage)s and name = %(name)s and outcome = 'new'
        )""",
        {"stage": stage, "name": name, "facts": json.dumps(facts)},
    )


def newest(
    connection: psycopg.Connection, stage: str, outcomes: tuple[Outcome, ...] = ()
) -> dict[str, Step]:
    """The newest step of each name in a stage, among those with one of the outcomes."""
    steps = dicts(
        connection,
        """select distinct on (name) * from pipeline.steps
        where stage = %(stage)s and (outcome = any(%(outcomes)s) or %(outcomes)s = '{}')
        order by name, step_id desc""",
        {"stage": stage, "outcomes": list(outcomes)},
    )
    return {step["name"]: step for step in steps}


def last_build(connection: psycopg.Connection) -> Step | None:
    """The step of the newest complete build of all models."""
    return newest(connection, "transform", MADE["transform"]).get(ALL_MODELS)


def sources(connection: psycopg.Connection, names: list[str]) -> dict[str, dict[str, dict]]:
    """What each source's stages did last: source -> stage -> facts."""
    stages_of: dict[str, dict[str, dict]] = {name: {} for name in names}
    for stage in SOURCE_STAGES:
        for name, step in newest(connection, stage).items():
            if name in stages_of:
                stages_of[name][stage] = step["facts"] | {
                    k: v for k, v in step.items() if k != "facts"
                }
    return stages_of


def published(connection: psycopg.Connection) -> dict[str, Any]:
    """The step that published each of the tables that readers have, by name."""
    steps = newest(connection, "transform", (Outcome.PUBLISHED,))
    whole = last_build(connection)
    names = whole["facts"]["tables"] if whole else []
    return {name: steps[name] for name in names if name in steps}


def loaded(connection: psycopg.Connection) -> dict[str, str]:
    """The fingerprint of the load of each source's rows, by name."""
    steps = newest(connection, "load", MADE["load"])
    return {name: step["fingerprint"] or "" for name, step in steps.items()}


def loaded_snapshots(connection: psycopg.Connection) -> dict[str, LoadedSnapshot]:
    """The snapshot that each loaded source's table was made from, by source."""
    query = """
    with loads as (
        select distinct on (name)
            name, step_id, started_at, facts #>> '{snapshot, content}' as content
        from pipeline.steps where stage = 'load' and outcome = 'new'
        order by name, step_id desc
    ),
    -- A load by an earlier version does not name its snapshot; the step of its legible file does.
    -- That may be a failed one, which names the last good file, and if it was run by hand, it was
    -- recorded after the load.
    contents as (
        select distinct on (loads.name) loads.name, loads.started_at,
            coalesce(loads.content, facts ->> 'input') as content
        from loads
        left join pipeline.steps on steps.name = loads.name and stage = 'preprocess'
            and (steps.step_id < loads.step_id or steps.started_at <= loads.started_at)
        order by loads.name, steps.step_id desc
    )
    select distinct on (contents.name)
        contents.name, contents.started_at as loaded_at, content, facts ->> 'origin' as origin,
        facts ->> 'as_of' as as_of, facts ->> 'fetched_at' as fetched_at,
        facts ->> 'checked_at' as checked_at
    from contents
    left join pipeline.steps on steps.name = contents.name and stage = 'api'
        and fingerprint = content
    order by contents.name, outcome in ('new', 'unchanged') desc, steps.step_id desc
    """
    return {row.pop("name"): row for row in dicts(connection, query)}


def loads(connection: psycopg.Connection, source: str) -> list[dict]:
    """The snapshot and the number of rows of each load of a source, the newest first.

    `is_overruled` marks a load that an operator let replace newer rows. `checked_at` of the newest
    other load is when it was last checked with success that the publisher still has it.
    """
    steps = connection.execute(
        """select coalesce(facts -> 'snapshot', '{}'), rows from pipeline.steps
        where stage = 'load' and name = %s and outcome = 'new' order by step_id desc""",
        [source],
    )
    loads = [snapshot | {"rows": rows} for snapshot, rows in steps]
    newest = next((load for load in loads if not load.get("is_overruled")), {})
    if newest.get("content"):
        checked = connection.execute(
            """select facts ->> 'checked_at' from pipeline.steps
            where stage = 'api' and name = %s and fingerprint = %s and outcome = any(%s)
            order by step_id desc limit 1""",
            [source, newest["content"], list(CHECKED)],
        ).fetchone()
        newest |= {"checked_at": checked[0]} if checked and checked[0] else {}
    return loads


def generation(connection: psycopg.Connection) -> int:
    """The greatest generation that was ever published; 0 before the first."""
    return scalar(
        connection,
        """select coalesce(max((facts ->> 'generation')::bigint), 0) from pipeline.steps
        where stage = 'transform' and outcome = 'published'""",
    )


def last_run(connection: psycopg.Connection) -> dict | None:
    """The newest run that has ended."""
    query = "select * from pipeline.runs where ended_at is not null order by ended_at desc limit 1"
    return next(iter(dicts(connection, query)), None)


def night_since(connection: psycopg.Connection, since: datetime | None) -> dict | None:
    """The newest complete night of any machine that has ended and began after `since`."""
    nights = dicts(
        connection,
        """select * from pipeline.runs
        where words ~ '^night\\M' and ended_at is not null
            and started_at > coalesce(%s::timestamptz, '-infinity') and started_at <= now()
        order by started_at desc limit 1""",
        [since],
    )
    return next(iter(nights), None)


def unfinished(connection: psycopg.Connection) -> list[dict]:
    """The runs that began after the newest one that ended, and did not end; the newest first.

    Runs of only stages `api` and `preprocess` are copied to the ledger later, without an end.
    """
    return dicts(
        connection,
        """with of_database as (
            select * from pipeline.runs
            where words ~ '^(night|load|transform|publish)\\M' and started_at <= now()
        )
        select * from of_database where ended_at is null and started_at > coalesce(
            (select max(started_at) from of_database where ended_at is not null), '-infinity'
        )
        order by started_at desc""",
    )
