"""When a message is due after a night, and what it says.

At most one message per night, and only when the state changed: something is wrong that was not, or
something is well again. What stays wrong is repeated weekly. A last message says that all is well.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec

from pipeline import state
from pipeline.errors import DEGRADED, OK, meaning
from pipeline.report import facts as report_facts
from pipeline.report.facts import Facts, Source
from pipeline.settings import Settings
from pipeline.text import escaped

REMINDER = timedelta(days=7)
NAME = "notified"  # of the record in data/state
LONGEST_LINE = 500  # characters


class Kind(StrEnum):
    """Why a message is due."""

    TROUBLE = "trouble"
    REMINDER = "reminder"
    RECOVERED = "recovered"


class Sent(msgspec.Struct):
    """The record of the last message: what was wrong then, and when it was sent."""

    troubles: list[str] = []
    at: str = ""


@dataclass(frozen=True)
class Message:
    """One message to people."""

    kind: Kind
    title: str
    body: str


def due(here: Settings, facts: Facts, code: int, error: str, now: datetime) -> Message | None:
    """The message that is due after a night, if one is.

    Parameters
    ----------
    code:  the exit code of the night.
    error: what ended it early, if something did; one sentence with its remedy.
    """
    if facts.database_error and code in (OK, DEGRADED):
        return None  # nothing is known of the sources now: neither trouble nor recovery
    troubles = sorted(_troubles(facts, code))
    sent = last(here)
    if troubles == sent.troubles:
        if not troubles or now - datetime.fromisoformat(sent.at) < REMINDER:
            return None
        kind = Kind.REMINDER
    else:
        kind = Kind.TROUBLE if troubles else Kind.RECOVERED
    return Message(kind, _title(kind, facts, code), _body(kind, here, facts, code, error, sent))


def last(here: Settings) -> Sent:
    """The record of the last message; an empty one before the first."""
    return msgspec.convert(state.read(here, NAME).get("message", {}), Sent)


def record(here: Settings, facts: Facts, code: int, now: datetime) -> None:
    """Note what was said, once it was delivered; what was not is due again after the next night."""
    sent = Sent(sorted(_troubles(facts, code)), now.isoformat(timespec="seconds"))
    state.replace(here, NAME, message=msgspec.to_builtins(sent))


def _troubles(facts: Facts, code: int) -> Iterable[str]:
    """What is wrong, in terms that stay the same while it is: no numbers and no times."""
    if code not in (OK, DEGRADED):
        yield f"night failed {code}"
    for source in facts.sources:
        if source.state not in ("fresh", "unknown"):
            yield f"source {source.name} {source.state}"
    for table in facts.held:
        yield f"table {table.name} held"
    for name in facts.failed:
        yield f"model {name} failed"


def _title(kind: Kind, facts: Facts, code: int) -> str:
    if kind is Kind.RECOVERED:
        return "Pipeline: all is well again"
    if code not in (OK, DEGRADED):
        return f"Pipeline: the night failed (code {code})"
    prefix = "Pipeline, still: " if kind is Kind.REMINDER else "Pipeline: "
    return prefix + report_facts.summary(facts).rstrip(".")


def _body(kind: Kind, here: Settings, facts: Facts, code: int, error: str, sent: Sent) -> str:
    paragraphs = []
    if error:
        paragraphs.append(_line(f"The night ended with code {code} ({meaning(code)}): {error}"))
    if facts.sources or not error:  # else the night did not begin
        paragraphs.append(report_facts.summary(facts))
    if causes := list(_causes(facts)):
        paragraphs.append("\n".join(f"- {cause}" for cause in causes))
    if kind is Kind.RECOVERED:
        paragraphs.append(f"Until now: {', '.join(sent.troubles)}.")
    elif stale := [table.name for table in facts.tables if table.state not in ("fresh", "missing")]:
        paragraphs.append(f"Readers see older rows in: {', '.join(stale)}.")
    paragraphs.append(
        f"More: {here.data_dir / 'report' / 'index.html'}, or ./run_pipeline.sh status"
    )
    return "\n\n".join(paragraphs)


def _causes(facts: Facts) -> Iterable[str]:
    """One line per cause, with all sources or tables that share it."""
    stale = [source for source in facts.sources if source.state not in ("fresh", "unknown")]
    for (kept, reason), sources in _grouped(stale).items():
        names = ", ".join(source.name for source in sources)
        yield _line(f"{names}: {kept}" + (f", {reason}" if reason else ""))
    for table in facts.held:
        yield _line(f"table {table.name}: held, {table.reason}")
    for name, reason in facts.failed.items():
        yield _line(f"{name}: failed, {reason}")


def _grouped(sources: list[Source]) -> dict[tuple[str, str], list[Source]]:
    groups: dict[tuple[str, str], list[Source]] = {}
    for source in sources:
        groups.setdefault((source.state, source.reason), []).append(source)
    return groups


def _line(text: str) -> str:
    """A text of others as one line that no channel takes for markup of its own."""
    return escaped(text, LONGEST_LINE)


def test_message() -> Message:
    """What `notify --test` sends."""
    now = datetime.now(UTC)
    return Message(
        Kind.TROUBLE,
        "Pipeline: test message",
        f"This is a test of NOTIFY_URLS, sent {now:%Y-%m-%d %H:%M} UTC. Nothing is wrong.",
    )
