"""The facts of the report page, read from the ledger, `data_status` and the raw snapshots."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from pipeline import durable, state
from pipeline.database import ledger
from pipeline.marts import credits
from pipeline.raw.manifest import DESCRIPTOR
from pipeline.report.facts import Facts, Night, Size, Source, Stage, Table, Uncastable
from pipeline.settings import ROOT, Settings
from pipeline.state import SOURCE_STAGES

CALENDAR_WEEKS = 12
HISTORY = 60  # loads, publications or days in a sparkline
MEASURED = ("raw", "preprocessed", "dumps", "exports", "quarantine", "logs")  # folders of data/
SIZES = "sizes"  # of the record in data/state


def read(here: Settings, connection: psycopg.Connection, sources: list[str]) -> Facts:
    """Read the facts; what a dev database does not have yet stays empty."""
    made_at = datetime.now(UTC)
    if not ledger.is_there(connection):
        return Facts(made_at, [_unread(here, name) for name in sources])
    status = _status(connection)
    built = ledger.last_build(connection)
    whole = built["facts"] if built else {}
    last_night = _last_night(connection)
    return Facts(
        made_at,
        sources=_sources(here, connection, sources, status),
        tables=_tables(connection, status),
        nights=_nights(connection, made_at.date()),
        stages=_stages(connection, last_night),
        changes=_changes(connection, last_night),
        uncastable=[Uncastable(**found) for found in whole.get("uncastable") or []],
        warnings=whole.get("warnings") or {},
        failed=whole.get("failed") or {},
        sizes=_sizes(here, connection, made_at.date()),
        last_night=last_night,
    )


def without_database(here: Settings, sources: list[str], error: str) -> Facts:
    """The facts on disk alone, when the database cannot be read."""
    unread = [_unread(here, name) for name in sources]
    return Facts(datetime.now(UTC), sources=unread, database_error=error)


def _status(connection: psycopg.Connection) -> dict[tuple[str, str], dict]:
    """The rows of `data_status` by kind and name; none before the first publication."""
    there = connection.execute("select to_regclass('transformed.data_status')").fetchone()
    if there == (None,):
        return {}
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute("select * from transformed.data_status")
        return {(row["kind"], row["name"]): row for row in cursor}


def _sources(here, connection, names: list[str], status) -> list[Source]:
    steps = ledger.sources(connection, names)
    before = _rows_before(connection, "load", "new")
    found = []
    for name in names:
        row = status.get(("source", name), {})
        stages = steps[name]
        fetched, legible = stages.get("api", {}), stages.get("preprocess", {})
        found.append(
            Source(
                name=name,
                state=row.get("state", "missing"),
                as_of=row.get("as_of"),
                reason=row.get("reason") or "",
                is_overdue=bool(row.get("is_overdue")),
                rows=before[name][-1] if before.get(name) else None,
                rows_before=before.get(name, []),
                bytes=fetched.get("bytes"),
                seconds=sum(float(stages.get(s, {}).get("seconds") or 0) for s in SOURCE_STAGES),
                fixes=legible.get("notes") or {},
                **_described(here, name),
            )
        )
    return found


def _unread(here: Settings, name: str) -> Source:
    return Source(
        name, "unknown", None, "", False, None, [], None, 0, fixes={}, **_described(here, name)
    )


def _described(here: Settings, name: str) -> dict[str, str]:
    """Whose data a source has, and the proof that its newest snapshot is complete."""
    known = credits.facts_of(name)
    proof = durable.read_json(here.raw / name / DESCRIPTOR).get("completeness") or {}
    members = ("publisher", "page", "licence", "licence_page")
    return {member: known.get(member, "") for member in members} | {
        "title": known.get("title", name),
        "completeness": proof.get("verdict", ""),
    }


def _tables(connection: psycopg.Connection, status) -> list[Table]:
    before = _rows_before(connection, "transform", "published")
    published = ledger.published(connection)
    return [
        Table(
            name=name,
            state=row["state"],
            as_of=row["as_of"],
            reason=row["reason"] or "",
            is_overdue=bool(row["is_overdue"]),
            stays_old=row["stays_old"] or [],
            rows=published[name]["rows"] if name in published else None,
            rows_before=before.get(name, []),
            generation=row["generation"],
            published_at=row["published_at"],
        )
        for (kind, name), row in sorted(status.items())
        if kind == "table"
    ]


def _rows_before(connection: psycopg.Connection, stage: str, outcome: str) -> dict[str, list[int]]:
    """The numbers of rows that a stage made of each name, the oldest first."""
    rows = connection.execute(
        """select name, array_agg(rows order by step_id) from (
            select name, step_id, rows, row_number() over (partition by name order by step_id desc)
            from pipeline.steps where stage = %s and outcome = %s and rows is not null
        ) as newest where row_number <= %s group by name""",
        [stage, outcome, HISTORY],
    )
    return dict(rows.fetchall())


def _last_night(connection: psycopg.Connection) -> dict | None:
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            "select * from pipeline.runs where words ~ '^night\\M' order by started_at desc limit 1"
        )
        return cursor.fetchone()


def _nights(connection: psycopg.Connection, today: date) -> list[Night]:
    """One entry per day from the first night on, the oldest first.

    The exit code of a day is the worst of its nights; None means that no night ended on that day.
    """
    first_day = today - timedelta(days=today.weekday(), weeks=CALENDAR_WEEKS - 1)
    rows = connection.execute(
        """select (started_at at time zone 'UTC')::date, exit_code, note from pipeline.runs
        where words ~ '^night\\M' and started_at >= %s order by started_at""",
        [first_day],
    ).fetchall()
    worst: dict[date, Night] = {}
    for day, code, note in rows:
        night = Night(day, code, note or "")
        if day not in worst or _severity(code) >= _severity(worst[day].exit_code):
            worst[day] = night
    return [worst.get(day, Night(day, None, "")) for day in _days(min(worst, default=today), today)]


def _severity(code: int | None) -> int:
    """0 before 2 before all others."""
    return {0: 0, 2: 1}.get(code, 2) if code is not None else 2


def _days(first: date, last: date) -> Iterable[date]:
    return (first + timedelta(days=n) for n in range((last - first).days + 1))


def _stages(connection: psycopg.Connection, night: Mapping | None) -> list[Stage]:
    """The stages of a night in order: each lasts from the end of the one before to its own end."""
    if night is None:
        return []
    rows = connection.execute(
        """select stage, max(started_at + make_interval(secs => coalesce(seconds, 0)::float)),
            coalesce(sum(seconds), 0)::float
        from pipeline.steps where run_id = %s and started_at is not null group by stage
        order by 2""",
        [night["run_id"]],
    )
    stages, begin = [], night["started_at"]
    for name, end, work in rows:
        stages.append(Stage(name, max((end - begin).total_seconds(), 0), work))
        begin = max(begin, end)
    return stages


def _changes(connection: psycopg.Connection, night: Mapping | None) -> list[str]:
    """What the newest night loaded and published, with the number of rows before."""
    if night is None:
        return []
    rows = connection.execute(
        """select stage, name, rows, (
            select before.rows from pipeline.steps as before
            where before.stage = steps.stage and before.name = steps.name
                and before.outcome = steps.outcome and before.step_id < steps.step_id
            order by before.step_id desc limit 1
        ) from pipeline.steps
        where run_id = %s and (stage, outcome) in (('load', 'new'), ('transform', 'published'))
            and name != %s
        order by stage, name""",
        [night["run_id"], ledger.ALL_MODELS],
    )
    return [_change(*row) for row in rows]


def _change(stage: str, name: str, rows: int | None, before: int | None) -> str:
    what = f"source {name}" if stage == "load" else f"table {name}"
    if before is None or rows is None:
        return f"{what}: {rows or 0:,} rows, for the first time"
    if rows == before:
        return f"{what}: new content, still {rows:,} rows"
    return f"{what}: {rows:,} rows, {abs(rows - before):,} {'more' if rows > before else 'fewer'}"


def _sizes(here: Settings, connection: psycopg.Connection, today: date) -> list[Size]:
    """The sizes of the folders and of the database, added to the record of the days before."""
    database = connection.execute("select pg_database_size(current_database())").fetchone()
    now = {name: _size_of(here.data_dir / name) for name in MEASURED}
    now |= {
        "stash": _size_of(ROOT / ".git" / "lfs"),
        "database dev": database[0] if database else 0,
    }
    days: dict[str, dict[str, int]] = state.read(here, SIZES).get("days", {})
    days = dict(sorted((days | {today.isoformat(): now}).items())[-HISTORY:])
    state.replace(here, SIZES, days=days)
    return [Size(name, [day[name] for day in days.values() if name in day]) for name in now]


def _size_of(folder: Path) -> int:
    """The bytes of all files in a folder; a file that goes away meanwhile counts as nothing."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(path, name).lstat().st_size
    return total
