"""The report after a run: each source, each published table, and what needs attention."""

from collections import Counter
from datetime import UTC, datetime
from typing import NamedTuple

from rich.text import Text

from pipeline.cli import tables as output
from pipeline.settings import NO_SOURCES
from pipeline.state import CHECKED, SOURCE_STAGES, Outcome
from pipeline.text import escaped

COLOURS: dict[str, str] = {Outcome.FAILED: "red"}
COLOURS |= dict.fromkeys((*CHECKED, Outcome.PUBLISHED), "green")
LONGEST_NOTE = 2000


class Summary(NamedTuple):
    """What the readers of a source have: its outcome, why, and what to do."""

    outcome: str
    reason: str
    remedy: str


def show(
    file, stages_of: dict[str, dict[str, dict]], tables: dict[str, dict], notes: list[str]
) -> None:
    """Print the report: the sources, the published tables (if any), and the notes."""
    console = output.console(file)
    if stages_of:
        rows = [_source_row(source, stages) for source, stages in stages_of.items()]
        numbers = ("Rows", "Bytes", "Seconds", "Age")
        output.show(console, rows, numbers=numbers, optional=("Seconds", "Bytes"))
    else:
        output.show_text(console, NO_SOURCES)
    if tables:
        console.print()
        rows = [_table_row(name, step) for name, step in tables.items()]
        output.show(console, rows, numbers=("Rows", "Seconds"), optional=("Seconds",))
    if notes := _notes_of_sources(stages_of) + notes:
        console.print()
        output.show_notes(console, "Needs attention", notes)


def summary(stages: dict[str, dict]) -> Summary:
    """What the readers of a source have."""
    fetched = stages.get("api", {})
    if not fetched:
        return Summary(Outcome.MISSING, "never fetched", "./run_pipeline.sh")
    failed = [s for s in SOURCE_STAGES if stages.get(s, {}).get("outcome") == Outcome.FAILED]
    older = ["load"] if stages.get("load", {}).get("outcome") == Outcome.KEPT else []
    steps = [stages[stage] for stage in dict.fromkeys(["api", *failed, *older])]
    reasons = [facts["reason"] for facts in steps if facts.get("reason")]
    remedies = [facts["remedy"] for facts in steps if facts.get("remedy")]
    outcome = fetched["outcome"]
    if failed:
        outcome = Outcome.KEPT if stages.get("load", {}).get("rows") else Outcome.MISSING
    elif older:
        outcome = Outcome.KEPT
    return Summary(outcome, "; ".join(reasons), "; ".join(dict.fromkeys(remedies)))


def notes_of(build: dict) -> list[str]:
    """What the newest build of the models holds, could not read, and warns of."""
    notes = [f"transformed.{name}: held, {reason}" for name, reason in _items(build, "held")]
    notes += [f"{name}: failed, {reason}" for name, reason in _items(build, "failed")]
    notes += [
        f"transformed.{name}: it has no model since {since} and is dropped some days after that"
        for name, since in _items(build, "gone")
    ]
    notes += [
        f"source.{u['source']}, column {u['column']}: {u['count']:,} values are not {u['type']} "
        f"and are null in the models, such as {u['example']!a}"
        for u in build.get("uncastable") or []
    ]
    return notes + [f"warning: {name}: {text}" for name, text in _items(build, "warnings")]


def removed(build: dict, names: list[str]) -> dict[str, list[str]]:
    """The published tables made of sources that have no script any more, by source.

    build: facts of the newest build of the models.
    names: all sources that have a script.
    """
    found: dict[str, list[str]] = {}
    for table, sources in _items(build, "sources"):
        for source in sources if table in build.get("tables", []) else ():
            if source not in names:
                found.setdefault(source, []).append(f"transformed.{table}")
    return found


def notes_of_removed(build: dict, names: list[str]) -> list[str]:
    """The same as notes: such a table becomes overdue, because nobody fetches newer rows."""
    return [
        f"source {source} has no script api/{source}.py, so its rows stay as they are and become "
        f"overdue in {', '.join(tables)}: bring the script back, or take it out of the models"
        for source, tables in removed(build, names).items()
    ]


def notes_of_prod(published: dict) -> list[str]:
    """What is wrong with prod, from the facts of stage publish."""
    notes = []
    if published.get("outcome") in (Outcome.FAILED, Outcome.HELD):
        notes = [f"prod: {published['outcome']}, {published['reason']} - {published['remedy']}"]
    if revoked := published.get("revoked"):
        what = "1 right was" if len(revoked) == 1 else f"{len(revoked)} rights were"
        notes.append(
            f"prod: {what} revoked, so that nobody but the application's role can read it; the log "
            "lists each"
        )
    if unknown := published.get("not_checked"):
        notes.append(f"prod: not checked, because rights are missing: {'; '.join(unknown)}")
    return notes


def _items(build: dict, key: str) -> list[tuple[str, str]]:
    return list((build.get(key) or {}).items())


def _source_row(source: str, stages: dict[str, dict]) -> output.Row:
    outcome = summary(stages).outcome
    fetched, loaded = stages.get("api", {}), stages.get("load", {})
    rows = loaded.get("rows") or stages.get("preprocess", {}).get("rows")
    if loaded.get("outcome") == Outcome.KEPT:  # the rows are of a newer snapshot than the one here
        fetched = loaded.get("kept") or {}
    seconds = sum(float(stages.get(stage, {}).get("seconds") or 0) for stage in SOURCE_STAGES)
    as_of = _instant(fetched.get("as_of") or fetched.get("checked_at") or fetched.get("fetched_at"))
    return {
        "Source": source,
        "State": Text(outcome, style=COLOURS.get(outcome, "yellow")),
        "Rows": _number(rows),
        "Bytes": _number(fetched.get("bytes")),
        "Seconds": f"{seconds:.1f}",
        "Data as of": f"{as_of:%Y-%m-%d}" if as_of else "-",
        "Age": _age(as_of),
    }


def _table_row(name: str, step: dict) -> output.Row:
    return {
        "Published table": f"transformed.{name}",
        "Rows": _number(step["rows"]),
        "Seconds": f"{float(step['seconds'] or 0):.1f}",
        "Published at": f"{step['started_at'].astimezone(UTC):%Y-%m-%d %H:%M}",
    }


def _notes_of_sources(stages_of: dict[str, dict[str, dict]]) -> list[str]:
    """What is wrong with sources and what to do: one note for all that one cause affects."""
    affected: dict[tuple[str, str], dict[str, str]] = {}  # reason, remedy -> source -> outcome
    for source, stages in stages_of.items():
        outcome, reason, remedy = summary(stages)
        if outcome not in CHECKED or reason:
            cause = (reason.removeprefix(f"{source}: "), remedy)
            affected.setdefault(cause, {})[source] = outcome
    notes = [
        f"{_subject(outcomes, len(stages_of))}, {', '.join(filter(None, cause))}".rstrip(", ")
        for cause, outcomes in affected.items()
    ]
    remarks: dict[str, list[str]] = {}
    for source, stages in stages_of.items():
        for remark in _remarks(stages):
            remarks.setdefault(remark, []).append(source)
    notes += [f"{', '.join(sources)}: {remark}" for remark, sources in remarks.items()]
    return [escaped(note, LONGEST_NOTE) for note in notes]


def _subject(outcomes: dict[str, str], all_sources: int) -> str:
    """Which sources one cause affects, and how: "2 sources (a, b): kept"."""
    counts = Counter(outcomes.values())
    how = ", ".join(
        f"{count} {name}" if len(counts) > 1 else name for name, count in counts.items()
    )
    if len(outcomes) == 1:
        return f"{next(iter(outcomes))}: {how}"
    if len(outcomes) == all_sources and all_sources > 2:
        return f"all {all_sources} sources: {how}"
    return f"{len(outcomes)} sources ({', '.join(outcomes)}): {how}"


def _remarks(stages: dict[str, dict]) -> list[str]:
    """What is worth knowing about a source although nothing is wrong with its rows."""
    fetched = stages.get("api", {})
    remarks = [f"not in the stash, {fetched['stash_note']}"] if fetched.get("stash_note") else []
    if fetched.get("note") and fetched["outcome"] in CHECKED:  # else it is of an earlier night
        remarks.append(f"note, {fetched['note']}")
    counts = stages.get("preprocess", {}).get("notes") or {}
    return remarks + [f"note, {count:,} {what}" for what, count in counts.items()]


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _instant(text: str | None) -> datetime | None:
    if not text:
        return None
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _age(instant: datetime | None) -> str:
    if instant is None:
        return "-"
    seconds = (datetime.now(UTC) - instant).total_seconds()
    for unit, length in (("y", 31_557_600), ("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return "now"
