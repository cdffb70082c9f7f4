"""How fresh each source and each published table is: the rules behind `transformed.data_status`.

Nothing here touches a database: what the stages did comes in, one row a source or table goes out.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pipeline.settings import ROOT, redact
from pipeline.state import CHECKED
from pipeline.text import escaped

# What a table with such a source is called; the worst source comes first.
WORST_FIRST = {"bundled": "bundled", "held": "kept", "kept": "kept", "missing": "kept"}
RHYTHM, GRACE = timedelta(days=1), timedelta(hours=3)  # of the nightly checks
LONGEST_REASON = 500  # characters


class Row(NamedTuple):
    """What readers are told of one source or table; the columns of the table, in order."""

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
    loaded: Mapping[str, dict],
    tables: Mapping[str, dict],
    lineage: Mapping[str, Collection[str]],
    ancestors: Mapping[str, Collection[str]],
    verified_at: datetime | None = None,
    before: Iterable[dict] = (),
    static: Collection[str] = (),
) -> list[Row]:
    """What readers are to be told: sources by name, then tables by name.

    Parameters
    ----------
    stages_of:   what each source's stages did last: source -> stage -> facts.
    loaded:      of what each source's table was made, as `data_status.loaded` tells.
    tables:      of each model, `state` (published, held or missing), `reason`, `published_at`,
                 `generation` and `rows`.
    lineage:     the sources that each model descends from.
    ancestors:   the models that each model descends from, through however many others.
    verified_at: when the published tables were last found, or made, to be what the loaded rows
                 and the models say; None where tonight it did not come to that.
    before:      the rows that are told now: what holds on for a table that was not verified.
    static:      the sources whose data never change, as their scripts declare.

    A table of a source that is no longer there is not verified by any check: nobody asks for it.
    """
    earlier = {row["name"]: row for row in before if row["kind"] == "table"}
    of_sources = {
        name: _source(name, stages_of[name], loaded.get(name, {}), tables, lineage)
        for name in sorted(stages_of)
    }
    of_tables = [
        _table(
            name,
            tables[name],
            {source: of_sources.get(source) for source in lineage.get(name, ())},
            _held_with(name, tables, ancestors),
            verified_at if tables[name]["state"] == "published" else None,
            earlier.get(name, {}),
            static,
        )
        for name in sorted(tables)
    ]
    return [*of_sources.values(), *of_tables]


def _source(name: str, stages: Mapping[str, dict], loaded: dict, tables, lineage) -> Row:
    fetched = stages.get("api", {})
    state = _source_state(stages, loaded)
    # Of a snapshot that did not get as far as the table, readers have nothing.
    told = fetched if state == "fresh" else loaded
    # Another machine may have loaded what it checked later than this one.
    first, second = (loaded, fetched) if _is_older(stages) else (fetched, loaded)
    checked_at = _instant(first.get("checked_at") or second.get("checked_at"))
    hit = [t for t in tables if tables[t]["state"] != "missing" and name in lineage.get(t, ())]
    return Row(
        kind="source",
        name=name,
        state=state,
        as_of=_instant(told.get("as_of") or told.get("checked_at") or told.get("fetched_at")),
        fetched_at=_instant(told.get("fetched_at")),
        checked_at=checked_at,
        loaded_at=_instant(loaded.get("loaded_at")),
        reason=_source_reason(name, state, stages),
        stays_old=() if state == "fresh" else tuple(sorted(hit)),
        expected_next_at=checked_at and checked_at + RHYTHM + GRACE,
    )


def _source_state(stages: Mapping[str, dict], loaded: dict) -> str:
    fetched = stages.get("api", {})
    if not loaded:
        return "missing"
    if _refused(stages):
        return "bundled" if loaded.get("origin") == "bundled" else "held"
    if fetched.get("outcome") in CHECKED and fetched.get("content") == loaded.get("content"):
        return "fresh"
    return "bundled" if loaded.get("origin") == "bundled" else "kept"


def _refused(stages: Mapping[str, dict]) -> list[dict]:
    """What the stages after `api` say that failed: the snapshot did not become rows."""
    later = (stages.get(stage, {}) for stage in ("preprocess", "load"))
    return [facts for facts in later if facts.get("outcome") == "failed"]


def _is_older(stages: Mapping[str, dict]) -> bool:
    """Whether what was fetched is older than the loaded rows, and did not replace them."""
    return stages.get("load", {}).get("outcome") == "kept"


def _source_reason(name: str, state: str, stages: Mapping[str, dict]) -> str | None:
    fetched = stages.get("api", {})
    later = [stages["load"]] if _is_older(stages) else []
    told = [facts.get("reason") or "" for facts in (fetched, *_refused(stages), *later)]
    reasons = [reason.removeprefix(f"{name}: ") for reason in told if reason]
    if not reasons and state != "fresh":
        was_checked = fetched.get("outcome") in CHECKED
        reasons = ["the newest snapshot is not loaded yet" if was_checked else "never fetched"]
    return _shown("; ".join(dict.fromkeys(reasons)))


def _table(
    name: str,
    facts: dict,
    sources: Mapping[str, Row | None],
    stays_old: tuple[str, ...],
    verified_at: datetime | None,
    earlier: dict,
    static: Collection[str],
) -> Row:
    published_at = _instant(facts.get("published_at"))
    dates = _dates(sources, static)
    as_of = due = None
    is_orphan = None in sources.values()
    if verified_at and not is_orphan:
        as_of, due = min(dates, default=None), verified_at + RHYTHM + GRACE
    elif published_at:
        # The sources go on while the table stays: their dates may be newer than its rows.
        known = dates if is_orphan else [*dates, published_at]
        as_of = earlier.get("as_of") or min(known, default=None)
        due = earlier.get("expected_next_at") or published_at + RHYTHM + GRACE
    return Row(
        kind="table",
        name=name,
        state=_table_state(facts, sources),
        as_of=as_of,
        published_at=published_at,
        generation=facts.get("generation"),
        reason=_table_reason(facts, sources),
        stays_old=stays_old,
        expected_next_at=due,
    )


def _dates(sources: Mapping[str, Row | None], static: Collection[str]) -> list[datetime]:
    """How old the changing sources are; the static ones only where there are no others."""
    known = {name: row.as_of for name, row in sources.items() if row and row.as_of}
    return [known[name] for name in known if name not in static] or list(known.values())


def _table_state(facts: dict, sources: Mapping[str, Row | None]) -> str:
    if facts["state"] != "published":
        return facts["state"]
    states = {_state(row) for row in sources.values()}
    if "missing" in states and facts.get("rows") == 0:
        return "missing"
    return next((called for state, called in WORST_FIRST.items() if state in states), "fresh")


def _table_reason(facts: dict, sources: Mapping[str, Row | None]) -> str | None:
    if facts["state"] != "published":
        default = "never published" if facts["state"] == "missing" else "not published tonight"
        return _shown(facts.get("reason") or default)
    groups = {
        state: sorted(name for name, row in sources.items() if _state(row) == state)
        for state in WORST_FIRST
    }
    return _shown("; ".join(f"{s}: {', '.join(names)}" for s, names in groups.items() if names))


def _state(source: Row | None) -> str:
    """The state of a source; one that is no longer there is missing."""
    return source.state if source else "missing"


def _held_with(name: str, tables: Mapping[str, dict], ancestors) -> tuple[str, ...]:
    """The tables that stay old because a model is held: its own, and the held ones after it."""
    if tables[name]["state"] != "held":
        return ()
    held = (table for table, facts in tables.items() if facts["state"] == "held")
    return tuple(sorted(t for t in held if t == name or name in ancestors.get(t, ())))


def _instant(value: str | datetime | None) -> datetime | None:
    """A point in time from a fact; a date is its beginning in UTC."""
    if not value:
        return None
    instant = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _shown(reason: str) -> str | None:
    """A reason as anyone may read it: one line, no secret, no path of this machine."""
    return escaped(redact(reason).replace(f"{ROOT}/", ""), LONGEST_REASON) or None
