"""What the pipeline records of a source between nights: `data/state/<source>.json`.

It has the facts that change while the content stays the same (validators of conditional requests,
when a source was last checked, what its stages did last). So the manifest of a snapshot changes
only with its content, and `api/` and `preprocess/` need no database.
"""

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from pipeline import durable
from pipeline.settings import Settings

T = TypeVar("T")

# Facts that hold for one night only: they are removed when the stage fails later.
NOTES = ("note", "stash_note", "notes", "revoked", "not_checked")
SOURCE_STAGES = ("api", "preprocess", "load")  # they have a script or a file per source
# The members that are objects.
_MEMBERS = (*SOURCE_STAGES, "transform", "validators", "drift", "rejected", "headerless")
_MEMBERS += ("lacking",)


class Outcome(StrEnum):
    """How a step of a stage ended, as the state files and the ledger record it."""

    NEW = "new"  # new data was fetched, converted or loaded
    UNCHANGED = "unchanged"  # there was nothing to do
    PUBLISHED = "published"  # new tables replaced the old ones
    KEPT = "kept"  # the last good data stays, because what came was not accepted
    BUNDLED = "bundled"  # the snapshot that comes with the project is used
    MISSING = "missing"  # there is no data yet
    HELD = "held"  # new tables were built and are not published
    FAILED = "failed"  # the step could not be finished


CHECKED = (Outcome.NEW, Outcome.UNCHANGED)  # stage `api`: the publisher confirmed the snapshot
# These leave a source without tonight's data; the night then ends with code 2.
DEGRADED_OUTCOMES = frozenset(
    {Outcome.KEPT, Outcome.HELD, Outcome.BUNDLED, Outcome.MISSING, Outcome.FAILED}
)


class Fetched(msgspec.Struct):
    """What stage `api` recorded of a source, as far as other steps need it."""

    outcome: str = ""
    run: str = ""
    content: str | None = None  # the content fingerprint of the current snapshot
    replaces: str | None = None  # the content that the snapshot replaced
    line: list[str] = []  # the contents before it, newest first
    origin: str | None = None
    fetched_at: str | None = None
    checked_at: str | None = None  # when the publisher last confirmed the content
    note: str = ""
    was_live: bool = False  # whether a snapshot was ever fetched
    may_shrink: bool = False
    may_be_empty: bool = False
    stashed: str | None = None  # the snapshot that the stash has
    unstashed: str | None = None  # the snapshot that it does not have yet
    never_stashed: list[str] = []  # fetch times of snapshots that it will never have
    refetched: str = ""  # the content of the rejected snapshot that was fetched again
    refetched_for: str = ""  # the run that had rejected it


class Preprocessed(msgspec.Struct):
    """What stage `preprocess` recorded of a source: its last good legible file."""

    outcome: str = ""
    run: str = ""
    rejected_in: str = ""  # the run in which the source itself made the stage fail
    input: str | None = None  # the content fingerprint of the snapshot
    snapshot: dict[str, Any] = {}  # the same as an `order.Version`
    code: str = ""  # fingerprint of the code that made the file
    forced_at: str = ""  # when somebody last had it made again
    stamp: list[int] | None = None  # size and modification time of the file
    sha256: str = ""
    rows: int = 0
    bytes: int = 0
    columns: list[str] = []
    absent: list[str] | None = None  # declared properties that no feature had


def now() -> str:
    """Return the current time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read(settings: Settings, source: str) -> dict:
    """Return what is recorded of a source, by stage; nothing if the file cannot be read."""
    try:
        recorded = json.loads((settings.state / f"{source}.json").read_bytes())
    except (FileNotFoundError, IsADirectoryError, ValueError):
        return {}
    if not isinstance(recorded, dict):
        return {}
    wrong = [stage for stage in _MEMBERS if not isinstance(recorded.get(stage, {}), dict)]
    return {name: member for name, member in recorded.items() if name not in wrong}


def fetched(settings: Settings, source: str) -> Fetched:
    """Return what stage `api` recorded of a source."""
    return _convert(read(settings, source).get("api", {}), Fetched)


def preprocessed(settings: Settings, source: str) -> Preprocessed:
    """Return what stage `preprocess` recorded of a source."""
    return _convert(read(settings, source).get("preprocess", {}), Preprocessed)


def _convert(recorded: dict, kind: type[T]) -> T:
    """Return a stage's record; one of another form counts as none, like an unreadable file."""
    present = {name: value for name, value in recorded.items() if value is not None}
    try:
        return msgspec.convert(present, kind)
    except msgspec.ValidationError:
        return kind()


def update(settings: Settings, source: str, stage: str, **facts: object) -> dict:
    """Add facts to the record of a stage of a source; returns the whole record.

    A failure keeps the record of the last good data, except NOTES.
    """
    recorded = read(settings, source)
    before = recorded.get(stage, {})
    if facts.get("outcome") == Outcome.FAILED:
        before = {name: value for name, value in before.items() if name not in NOTES}
    recorded[stage] = {**before, **facts}
    durable.write_json(settings.state / f"{source}.json", recorded)
    return recorded[stage]


def replace(settings: Settings, source: str, **members: object) -> None:
    """Replace members of what is recorded of a source; None removes one.

    Nothing is written when nothing changes.
    """
    before = read(settings, source)
    recorded = {**before, **members}
    recorded = {name: value for name, value in recorded.items() if value is not None}
    if recorded != before:
        durable.write_json(settings.state / f"{source}.json", recorded)
