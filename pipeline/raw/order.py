"""The order of snapshots: which of two is newer, and which must not replace which.

Several machines may load into one database, and a clone may have only the bundled snapshot. So
each manifest names the content that its snapshot replaced, the ledger records the snapshot of each
load, and an older snapshot does not replace the rows of a newer one. Clocks differ and jump: they
decide only where the recorded contents do not.
"""

from datetime import UTC, datetime

import msgspec

from pipeline import runs, state
from pipeline.raw.snapshot import Snapshot
from pipeline.settings import Settings
from pipeline.state import Fetched, Outcome

LONGEST_LINE = 10  # earlier contents that are recorded


class Version(msgspec.Struct, frozen=True, omit_defaults=True):
    """What decides the order of a snapshot; members that are not recorded have their default."""

    content: str | None = None  # the content fingerprint
    replaces: str | None = None  # the content that it replaced
    # The contents before it on its own machine, newest first, also those that were never loaded.
    line: list[str] = []
    origin: str | None = None  # live or bundled
    fetched_at: str | None = None
    checked_at: str | None = None  # when its publisher last confirmed it as the newest
    is_confirmed: bool = False  # its publisher did so in this run
    is_overruled: bool = False  # it was loaded although the loaded rows were newer
    rows: int | None = None  # loaded from it


def of_snapshot(here: Settings, source: str, current: Snapshot) -> Version:
    """Return the version of the snapshot on disk."""
    fetched, replaces = state.fetched(here, source), current.descriptor.replaces
    earlier = fetched.line if fetched.content == current.content else []
    return Version(
        content=current.content,
        replaces=replaces,
        line=earlier or ([replaces] if replaces else []),
        origin=current.origin,
        fetched_at=current.fetched_at,
    )


def of_legible(here: Settings, source: str) -> Version:
    """Return the version of the snapshot that the legible file of a source was made of."""
    made, fetched = state.preprocessed(here, source), state.fetched(here, source)
    ours = msgspec.convert(made.snapshot or {"content": made.input}, Version)
    if ours.content is None or fetched.content != ours.content:
        return ours
    is_of_this_run = fetched.run == runs.parent_id()
    return msgspec.structs.replace(
        ours,
        origin=ours.origin or fetched.origin,
        fetched_at=ours.fetched_at or fetched.fetched_at,
        checked_at=fetched.checked_at,
        is_confirmed=is_of_this_run and fetched.outcome in state.CHECKED,
    )


def line(current: Snapshot, fetched: Fetched) -> list[str]:
    """Return the contents before a snapshot; fetched: what stage `api` recorded last."""
    replaces = current.descriptor.replaces
    if fetched.content == current.content or not replaces:
        return fetched.line
    return [replaces, *fetched.line][:LONGEST_LINE]


def replaced(here: Settings, source: str, current: Snapshot | None, content: str) -> str | None:
    """Return the content that a new snapshot replaces: the current one, or the last recorded one.

    A new snapshot of the same content (after its files were damaged, say) replaces what that one
    replaced.
    """
    if current:
        before, earlier = current.content, current.descriptor.replaces
    else:
        fetched = state.fetched(here, source)
        before, earlier = fetched.content, fetched.replaces
    return before if before != content else earlier


def kept(source: str, ours: Version, loads: list[Version]) -> dict:
    """Return the facts of stage `load` when the loaded rows are newer; empty if they are not.

    ours, loads: as for `refusal`.
    """
    reason = refusal(ours, loads)
    if not reason:
        return {}
    return {
        "outcome": Outcome.KEPT,
        "reason": f"not loaded: {reason}",
        "remedy": f"the rows stay; ./run_pipeline.sh load {source} --allow-older replaces them",
        "rows": loads[0].rows,
        "kept": msgspec.to_builtins(loads[0]),
    }


def refusal(ours: Version, loads: list[Version]) -> str:
    """Return why a snapshot must not replace the loaded rows; empty if it may.

    Parameters
    ----------
    ours:  the snapshot about to be loaded.
    loads: the snapshots loaded before, newest first.
    """
    if not loads or _follows(ours, loads[0]):
        return ""
    loads = [load for load in loads if not load.is_overruled]
    theirs = loads[0] if loads else Version()
    if not ours.content or not theirs.content or ours.content == theirs.content:
        return ""
    if theirs.origin == "bundled":  # everything is newer, also another bundled snapshot
        return ""
    if ours.origin == "bundled":
        return f"the bundled capture is older than the rows that are loaded, {_dated(theirs)}"
    is_successor = theirs.content in _before(ours)
    was_replaced = ours.content in _replaced_contents(loads)
    newer = f"the rows that are loaded, {_dated(theirs)}"
    older = f"its snapshot, {_dated(ours)}, is older than {newer}"
    # If its publisher went back to an earlier content, both hold, and neither proves anything.
    if is_successor != was_replaced:
        return f"{older}, and they replaced it" if was_replaced else ""
    return older if not ours.is_confirmed and _is_earlier(ours, theirs) else ""


def _follows(ours: Version, newest: Version) -> bool:
    """Return whether a snapshot is loaded, or follows one that was loaded by --allow-older."""
    is_next = newest.is_overruled and newest.content in _before(ours)
    return is_next or ours.content == newest.content


def _replaced_contents(loads: list[Version]) -> set[str | None]:
    """Return the contents that were loaded before the newest, or that one of them replaced."""
    return {load.content for load in loads[1:]}.union(*map(_before, loads))


def _before(snapshot: Version) -> set[str | None]:
    """Return the contents that a snapshot's own machine had before it."""
    return {snapshot.replaces, *snapshot.line}


def _is_earlier(ours: Version, theirs: Version) -> bool:
    """Return whether our publisher confirmed ours before theirs; an unknown time is not earlier."""
    one, other = _instant(ours), _instant(theirs)
    return one is not None and other is not None and one < other


def _instant(snapshot: Version) -> datetime | None:
    try:
        instant = datetime.fromisoformat(snapshot.checked_at or snapshot.fetched_at or "")
    except ValueError:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _dated(snapshot: Version) -> str:
    return f"fetched {snapshot.fetched_at or 'at an unknown time'}"
