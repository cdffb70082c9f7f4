"""What the pipeline remembers of a source between nights: `data/state/<source>.json`.

Facts that change without the content changing stand here (validators of conditional requests,
when a source was last checked, what its stages did last), so that the manifest of a snapshot
changes only when its content does, and `api/` and `preprocess/` need no database.
"""

import json
import os
from datetime import UTC, datetime
from enum import StrEnum

from pipeline import durable
from pipeline.settings import Settings

# What a stage tells beside its outcome. It is of the night in which it was told: a stage that fails
# later, of whatever cause, tells nothing of it.
NOTES = ("note", "stash_note", "notes", "revoked", "not_checked")
SOURCE_STAGES = ("api", "preprocess", "load")  # those that have a script or a file a source
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


def now() -> str:
    """This instant in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def run_id() -> str:
    """The id of the run that this process is part of; what is started by hand is its own run."""
    return os.environ.get("PIPELINE_RUN") or f"{now()} by hand {os.getpid()}"


def read(settings: Settings, source: str) -> dict:
    """What is remembered of a source, by stage; an unreadable file counts as nothing known."""
    try:
        remembered = json.loads((settings.state / f"{source}.json").read_bytes())
    except (FileNotFoundError, IsADirectoryError, ValueError):
        return {}
    if not isinstance(remembered, dict):
        return {}
    wrong = [stage for stage in _MEMBERS if not isinstance(remembered.get(stage, {}), dict)]
    return {name: known for name, known in remembered.items() if name not in wrong}


def update(settings: Settings, source: str, stage: str, **facts: object) -> dict:
    """Add facts to what is remembered of a stage of a source; returns all of that stage.

    A failure leaves what is remembered of the last good data, and none of NOTES.
    """
    remembered = read(settings, source)
    before = remembered.get(stage, {})
    if facts.get("outcome") == Outcome.FAILED:
        before = {name: value for name, value in before.items() if name not in NOTES}
    remembered[stage] = {**before, **facts}
    durable.write_json(settings.state / f"{source}.json", remembered)
    return remembered[stage]


def replace(settings: Settings, source: str, **members: object) -> None:
    """Put members in the place of those of the same names; None leaves one out.

    Nothing is written when nothing changes.
    """
    before = read(settings, source)
    remembered = {**before, **members}
    remembered = {name: value for name, value in remembered.items() if value is not None}
    if remembered != before:
        durable.write_json(settings.state / f"{source}.json", remembered)
