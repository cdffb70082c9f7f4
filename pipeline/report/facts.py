"""What the report page shows, as typed records, and the one sentence that sums it up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime


@dataclass(frozen=True)
class Source:
    """One source, as readers have it."""

    name: str
    state: str
    as_of: datetime | None
    reason: str
    is_overdue: bool
    rows: int | None
    rows_before: list[int]
    bytes: int | None
    seconds: float
    title: str
    publisher: str
    page: str
    licence: str
    licence_page: str
    completeness: str
    fixes: dict[str, int]


@dataclass(frozen=True)
class Table:
    """One published table."""

    name: str
    state: str
    as_of: datetime | None
    reason: str
    is_overdue: bool
    stays_old: list[str]
    rows: int | None
    rows_before: list[int]
    generation: int | None
    published_at: datetime | None


@dataclass(frozen=True)
class Night:
    """One night of the calendar: its day, and the worst exit code of that day's nights."""

    day: date
    exit_code: int | None
    note: str


@dataclass(frozen=True)
class Stage:
    """How long a stage of the newest night took, in seconds, and the seconds of its steps."""

    name: str
    elapsed: float
    work: float


@dataclass(frozen=True)
class Uncastable:
    """Values of a source column that could not be cast, and are null in the models."""

    source: str
    column: str
    type: str
    count: int
    example: str


@dataclass(frozen=True)
class Size:
    """How many bytes something takes, day by day, the oldest first."""

    name: str
    bytes: list[int]


@dataclass(frozen=True)
class Facts:
    """Everything on the page but the charts."""

    made_at: datetime
    sources: list[Source] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    nights: list[Night] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    uncastable: list[Uncastable] = field(default_factory=list)
    warnings: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    sizes: list[Size] = field(default_factory=list)
    last_night: Mapping | None = None
    database_error: str = ""  # why nothing could be read from the database

    @property
    def held(self) -> list[Table]:
        """The tables of which readers keep older rows."""
        return [table for table in self.tables if table.state == "held"]


def summary(facts: Facts) -> str:
    """The one sentence that the page begins with."""
    if facts.database_error:
        return f"The database cannot be read: {facts.database_error}."
    if not facts.tables:
        return "Nothing is published yet."
    stale = [source for source in facts.sources if source.state != "fresh"]
    parts = []
    if not stale:
        newest = max((s.as_of for s in facts.sources if s.as_of), default=None)
        since = f" as of {newest.astimezone(UTC):%H:%M} UTC" if newest else ""
        parts.append(f"All {len(facts.sources)} sources are fresh{since}")
    else:
        by_state: dict[str, int] = {}
        for source in stale:
            by_state[source.state] = by_state.get(source.state, 0) + 1
        counts = [f"{count} {_is_or_are(count)} {state}" for state, count in by_state.items()]
        parts.append(f"Of {len(facts.sources)} sources, {_listed(counts)}")
    if facts.held:
        names = _listed([table.name for table in facts.held])
        parts.append(f"readers see older rows of {names}")
    else:
        parts.append("no table is held")
    return f"{'; '.join(parts)}."


def _is_or_are(count: int) -> str:
    return "is" if count == 1 else "are"


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
