"""How fresh each source and each published table is: the rules behind `transformed.data_status`.

Nothing here touches a database. The input is what the stages recorded; the output is one row per
source and table.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pipeline.settings import ROOT, redact
from pipeline.state import CHECKED, Outcome
from pipeline.text import escaped

# The state of a source, worst first, and the state of a table that is made of it.
WORST_FIRST = {"bundled": "bundled", "held": "kept", "kept": "kept", "missing": "kept"}
RHYTHM, GRACE = timedelta(days=1), timedelta(hours=3)  # of the nightly checks
LONGEST_REASON = 500  # characters


class Table(NamedTuple):
    """The table of a model, as the ledger describes it."""

    state: str  # published, held or missing
    reason: str | None = None  # why it is held or missing
    published_at: datetime | None = None
    generation: int | None = None
    rows: int | None = None


class Row(NamedTuple):
    """The row of one source or table; its fields are the columns of `data_status`, in order."""

    kind: str
    name: str
    state: str
    as_of: datetime | None = None
    fetched_at: datetime | None = None
    checked_at: datetime | None = None
    loaded_at: datetime | None = None
    published_at: datetime | None = None
    generation: int | None = None
    reason: str | None = None
    stays_old: tuple[str, ...] = ()
    expected_next_at: datetime | None = None


def rows(
    stages_of: Mapping[str, Mapping[str, dict]],
    loaded: Mapping[str, Mapping],
    tables: Mapping[str, Table],
    lineage: Mapping[str, Collection[str]],
    ancestors: Mapping[str, Collection[str]],
    verified_at: datetime | None = None,
    before: Iterable[dict] = (),
    static: Collection[str] = (),
) -> list[Row]:
    """The rows of `data_status`: sources by name, then tables by name.

    Parameters
    ----------
    stages_of:   what each source's stages did last: source -> stage -> facts.
    loaded:      the snapshot of which each source's rows were made: `ledger.loaded_snapshots`.
    tables:      the table of each model, by name.
    lineage:     the sources that each model descends from.
    ancestors:   the models that each model descends from, directly or not.
    verified_at: when it was last verified that the published tables correspond to the loaded rows
                 and the models; None if tonight's run did not get that far.
    before:      the rows as they are now: a table that was not verified keeps its dates.
    static:      the sources whose data never change, as their scripts declare.

    A table of a source that was removed is not verified by any check, because nobody asks its
    publisher any more.
    """
    earlier = {row["name"]: row for row in before if row["kind"] == "table"}
    sources = {
        name: _source(name, stages_of[name], loaded.get(name, {}), tables, lineage)
        for name in sorted(stages_of)
    }
    return [
        *sources.values(),
        *(
            _table(
                name,
                tables[name],
                {source: sources.get(source) for source in lineage.get(name, ())},
                _held_with(name, tables, ancestors),
                verified_at if tables[name].state == "published" else None,
                earlier.get(name, {}),
                static,
            )
            for name in sorted(tables)
        ),
    ]


def _source(
    name: str,
    stages: Mapping[str, dict],
    loaded: Mapping,
    tables: Mapping[str, Table],
    lineage: Mapping[str, Collection[str]],
) -> Row:
    fetched = stages.get("api", {})
    state = _source_state(stages, loaded)
    # Readers have nothing of a snapshot that was not loaded.
    shown = fetched if state == "fresh" else loaded
    # Another machine may have loaded what it checked later than this one.
    first, second = (loaded, fetched) if _is_older(stages) else (fetched, loaded)
    checked_at = _instant(first.get("checked_at") or second.get("checked_at"))
    affected = [t for t in tables if tables[t].state != "missing" and name in lineage.get(t, ())]
    return Row(
        kind="source",
        name=name,
        state=state,
        as_of=_instant(shown.get("as_of") or shown.get("checked_at") or shown.get("fetched_at")),
        fetched_at=_instant(shown.get("fetched_at")),
        checked_at=checked_at,
        loaded_at=_instant(loaded.get("loaded_at")),
        reason=_source_reason(name, state, stages),
        stays_old=() if state == "fresh" else tuple(sorted(affected)),
        expected_next_at=checked_at and checked_at + RHYTHM + GRACE,
    )


def _source_state(stages: Mapping[str, dict], loaded: Mapping) -> str:
    fetched = stages.get("api", {})
    is_checked = fetched.get("outcome") in CHECKED
    if not loaded:
        return "missing"
    if not _failures(stages) and is_checked and fetched.get("content") == loaded.get("content"):
        return "fresh"
    if loaded.get("origin") == "bundled":
        return "bundled"
    return "held" if _failures(stages) else "kept"


def _failures(stages: Mapping[str, dict]) -> list[dict]:
    """The facts of the stages after `api` that failed: the snapshot did not become rows."""
    later = (stages.get(stage, {}) for stage in ("preprocess", "load"))
    return [facts for facts in later if facts.get("outcome") == Outcome.FAILED]


def _is_older(stages: Mapping[str, dict]) -> bool:
    """Whether what was fetched is older than the loaded rows, and did not replace them."""
    return stages.get("load", {}).get("outcome") == Outcome.KEPT


def _source_reason(name: str, state: str, stages: Mapping[str, dict]) -> str | None:
    fetched = stages.get("api", {})
    older = [stages["load"]] if _is_older(stages) else []
    given = [facts.get("reason") or "" for facts in (fetched, *_failures(stages), *older)]
    reasons = [reason.removeprefix(f"{name}: ") for reason in given if reason]
    if not reasons and state != "fresh":
        was_checked = fetched.get("outcome") in CHECKED
        reasons = ["the newest snapshot is not loaded yet" if was_checked else "never fetched"]
    return _publishable("; ".join(dict.fromkeys(reasons)))


def _table(
    name: str,
    table: Table,
    sources: Mapping[str, Row | None],
    stays_old: tuple[str, ...],
    verified_at: datetime | None,
    earlier: dict,
    static: Collection[str],
) -> Row:
    published_at = _instant(table.published_at)
    dates = _dates(sources, static)
    as_of = expected_next_at = None
    has_removed_source = None in sources.values()
    if verified_at and not has_removed_source:
        as_of, expected_next_at = min(dates, default=None), verified_at + RHYTHM + GRACE
    elif published_at:
        # Its sources may have been loaded again since: their dates may be newer than its rows.
        dates = dates if has_removed_source else [*dates, published_at]
        as_of = earlier.get("as_of") or min(dates, default=None)
        expected_next_at = earlier.get("expected_next_at") or published_at + RHYTHM + GRACE
    return Row(
        kind="table",
        name=name,
        state=_table_state(table, sources),
        as_of=as_of,
        published_at=published_at,
        generation=table.generation,
        reason=_table_reason(table, sources),
        stays_old=stays_old,
        expected_next_at=expected_next_at,
    )


def _dates(sources: Mapping[str, Row | None], static: Collection[str]) -> list[datetime]:
    """The dates of the changing sources; of the static ones only if there are no others."""
    dates = {name: row.as_of for name, row in sources.items() if row and row.as_of}
    return [dates[name] for name in dates if name not in static] or list(dates.values())


def _table_state(table: Table, sources: Mapping[str, Row | None]) -> str:
    if table.state != "published":
        return table.state
    states = {_state(row) for row in sources.values()}
    if "missing" in states and table.rows == 0:
        return "missing"
    return next((of_table for state, of_table in WORST_FIRST.items() if state in states), "fresh")


def _table_reason(table: Table, sources: Mapping[str, Row | None]) -> str | None:
    if table.state != "published":
        default = "never published" if table.state == "missing" else "not published tonight"
        return _publishable(table.reason or default)
    groups = {
        state: sorted(name for name, row in sources.items() if _state(row) == state)
        for state in WORST_FIRST
    }
    return _publishable(
        "; ".join(f"{s}: {', '.join(names)}" for s, names in groups.items() if names)
    )


def _state(source: Row | None) -> str:
    """The state of a source; a removed one is missing."""
    return source.state if source else "missing"


def _held_with(
    name: str, tables: Mapping[str, Table], ancestors: Mapping[str, Collection[str]]
) -> tuple[str, ...]:
    """The tables that stay old because a model is held: its own, and held ones made from it."""
    if tables[name].state != "held":
        return ()
    held = (other for other, table in tables.items() if table.state == "held")
    return tuple(sorted(t for t in held if t == name or name in ancestors.get(t, ())))


def _instant(value: str | datetime | None) -> datetime | None:
    """A point in time; a date stands for its beginning in UTC."""
    if not value:
        return None
    instant = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _publishable(reason: str) -> str | None:
    """A reason that anybody may read: one line, no secret, no path of this machine."""
    return escaped(redact(reason).replace(f"{ROOT}/", ""), LONGEST_REASON) or None
