"""What a person wants to know after a night: each source, each published table, what to do."""

from datetime import UTC, datetime

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from pipeline import state
from pipeline.settings import NO_SOURCES, Settings
from pipeline.state import CHECKED, SOURCE_STAGES, Outcome
from pipeline.text import escaped

COLOURS: dict[str, str] = {Outcome.FAILED: "red"}
COLOURS |= dict.fromkeys((*CHECKED, Outcome.PUBLISHED), "green")


def from_state(here: Settings, sources: list[str]) -> dict[str, dict[str, dict]]:
    """What each source's stages did last, as noted on disk: source -> stage -> facts."""
    return {source: state.read(here, source) for source in sources}


def outcome_of(stages: dict[str, dict]) -> tuple[str, str, str]:
    """What a source's readers have of it: outcome, reason, remedy."""
    fetched = stages.get("api", {})
    if not fetched:
        return Outcome.MISSING, "never fetched", "./run_pipeline.sh"
    failed = [s for s in SOURCE_STAGES if stages.get(s, {}).get("outcome") == Outcome.FAILED]
    older = ["load"] if stages.get("load", {}).get("outcome") == Outcome.KEPT else []
    told = [stages[stage] for stage in dict.fromkeys(["api", *failed, *older])]
    reasons = [facts["reason"] for facts in told if facts.get("reason")]
    remedies = [facts["remedy"] for facts in told if facts.get("remedy")]
    outcome = fetched["outcome"]
    if failed:
        outcome = Outcome.KEPT if stages.get("load", {}).get("rows") else Outcome.MISSING
    elif older:
        outcome = Outcome.KEPT
    return outcome, "; ".join(reasons), "; ".join(dict.fromkeys(remedies))


def notes_of(whole: dict) -> list[str]:
    """What the newest build holds, could not read, and warns of."""
    held = [f"transformed.{name}: held, {reason}" for name, reason in _dict(whole, "held")]
    held += [f"{name}: failed, {reason}" for name, reason in _dict(whole, "failed")]
    held += [
        f"transformed.{name}: it has no model since {since} and is dropped some days after that"
        for name, since in _dict(whole, "gone")
    ]
    uncast = [
        f"source.{u['source']}, column {u['column']}: {u['count']:,} values are not {u['type']} "
        f"and are null in the models, such as {u['example']!a}"
        for u in whole.get("uncastable") or []
    ]
    warnings = [f"warning: {name}: {text}" for name, text in _dict(whole, "warnings")]
    return [*held, *uncast, *warnings]


def removed(whole: dict, names: list[str]) -> dict[str, list[str]]:
    """The published tables made of sources that have no script any more, by source.

    whole: facts of the newest build.
    names: all sources that there are.
    """
    found: dict[str, list[str]] = {}
    for table, sources in _dict(whole, "sources"):
        for source in sources if table in whole.get("tables", []) else ():
            if source not in names:
                found.setdefault(source, []).append(f"transformed.{table}")
    return found


def notes_of_removed(whole: dict, names: list[str]) -> list[str]:
    """The same in words: such a table becomes overdue, since nobody asks for newer rows."""
    return [
        f"source {source} has no script api/{source}.py, so its rows stay as they are and become "
        f"overdue in {', '.join(tables)}: bring the script back, or take it out of the models"
        for source, tables in removed(whole, names).items()
    ]


def notes_of_prod(published: dict) -> list[str]:
    """What is not well with prod, from the facts of stage publish."""
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


def _dict(whole: dict, key: str) -> list[tuple[str, str]]:
    return list((whole.get(key) or {}).items())


def render(
    stages_of: dict[str, dict[str, dict]], tables: dict[str, dict], notes: list[str]
) -> Group:
    """The report as something rich can print."""
    parts = [_sources_table(stages_of) if stages_of else Text(NO_SOURCES)]
    if tables:
        parts += ["", _tables_table(tables)]
    advice = _advice(stages_of) + notes
    if advice:
        parts += ["", Text("Needs attention", style="bold")]
        parts += [Text(f"- {line}") for line in advice]
    return Group(*parts)


def show(file, stages_of, tables, notes: list[str]) -> None:
    """Print the report: as wide as a terminal is, and at least as wide as the tables elsewhere."""
    console = Console(file=file, soft_wrap=True)
    if not console.is_terminal:
        console.width = 120
    console.print(render(stages_of, tables, notes))


def _sources_table(stages_of: dict[str, dict[str, dict]]) -> Table:
    table = _table("Source", "State", "Rows", "Bytes", "Seconds", "Data as of", "Age")
    for source, stages in stages_of.items():
        outcome = outcome_of(stages)[0]
        fetched, loaded = stages.get("api", {}), stages.get("load", {})
        rows = loaded.get("rows") or stages.get("preprocess", {}).get("rows")
        if loaded.get("outcome") == Outcome.KEPT:  # the rows are of a newer snapshot
            fetched = loaded.get("kept") or {}
        seconds = sum(float(stages.get(stage, {}).get("seconds") or 0) for stage in SOURCE_STAGES)
        as_of = _instant(
            fetched.get("as_of") or fetched.get("checked_at") or fetched.get("fetched_at")
        )
        table.add_row(
            source,
            Text(outcome, style=COLOURS.get(outcome, "yellow")),
            _number(rows),
            _number(fetched.get("bytes")),
            f"{seconds:.1f}",
            f"{as_of:%Y-%m-%d}" if as_of else "-",
            _age(as_of),
        )
    return table


def _tables_table(tables: dict[str, dict]) -> Table:
    table = _table("Published table", "Rows", "Seconds", "Published at")
    for name, step in tables.items():
        at = step["started_at"].astimezone(UTC)
        seconds = f"{float(step['seconds'] or 0):.1f}"
        table.add_row(f"transformed.{name}", _number(step["rows"]), seconds, f"{at:%Y-%m-%d %H:%M}")
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="left" if name == "State" else "right", no_wrap=True)
    return table


def _advice(stages_of: dict[str, dict[str, dict]]) -> list[str]:
    """What is not well and what to do; one line for all sources that share a reason."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for source, stages in stages_of.items():
        outcome, reason, remedy = outcome_of(stages)
        if outcome not in CHECKED or reason:
            groups.setdefault((outcome, reason.removeprefix(f"{source}: "), remedy), []).append(
                source
            )
        note = stages.get("api", {}).get("stash_note")
        if note:
            groups.setdefault(("not in the stash", note, ""), []).append(source)
        fetched = stages.get("api", {})
        note = fetched.get("note")
        if note and fetched["outcome"] in CHECKED:  # else it is of an earlier night
            groups.setdefault(("note", note, ""), []).append(source)
        for what, count in (stages.get("preprocess", {}).get("notes") or {}).items():
            groups.setdefault(("note", f"{count:,} {what}", ""), []).append(source)
    return [
        escaped(f"{', '.join(names)}: " + ", ".join(filter(None, (outcome, reason, remedy))), 2000)
        for (outcome, reason, remedy), names in groups.items()
    ]


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
