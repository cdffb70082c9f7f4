"""What is recorded on disk about prod: the tables we left there, and whether it is pinned."""

import msgspec

from pipeline import state
from pipeline.database import ledger
from pipeline.settings import Settings
from pipeline.state import Outcome


class Pin(msgspec.Struct):
    """Prod stays at this generation until somebody resumes."""

    generation: int
    since: str  # ISO 8601, UTC


class ProdRecord(msgspec.Struct):
    """The state of prod as the last replication or rollback left it."""

    dev_id: str | None = None  # the dev database that prod is a copy of
    generation: int | None = None
    pinned: Pin | None = None
    # Columns (types by name) of each table, to recognise changes that others made.
    tables: dict[str, dict[str, str]] | None = None


def read(here: Settings) -> ProdRecord:
    """Read the record; all of it is None before the first replication."""
    return msgspec.convert(state.read(here, ledger.PROD).get("prod", {}), ProdRecord)


def update(here: Settings, **members: object) -> None:
    """Replace some members of the record; None removes one."""
    state.update(here, ledger.PROD, "prod", **msgspec.to_builtins(members))


def held(pinned: Pin) -> dict:
    """Return the facts of stage publish while prod is pinned."""
    return {
        "outcome": Outcome.HELD,
        "reason": f"prod is pinned to generation {pinned.generation} since {pinned.since}",
        "remedy": "./run_pipeline.sh publish --resume lets it follow again",
    }
