"""The order of snapshots: which of two is the newer one, and which must not replace which.

Several machines may load into one database, and a clone may have nothing but the capture that came
with the project. So each manifest names the content that its snapshot replaced, the ledger records
of every load what it was made of, and an older snapshot does not replace a newer one's rows.
Clocks differ and jump: they decide only where the names do not.
"""

import os
from datetime import UTC, datetime

from pipeline import state
from pipeline.raw.snapshot import Snapshot
from pipeline.settings import Settings
from pipeline.state import Outcome

LONGEST_LINE = 10  # contents of a machine that are remembered


def of_snapshot(here: Settings, source: str, taken: Snapshot) -> dict:
    """What the order of a snapshot is judged by.

    `line` has the contents before it on this machine, the newest first, also those that never
    came as far as the database.
    """
    fetched, replaces = state.read(here, source).get("api", {}), taken.descriptor.replaces
    known = fetched.get("line") if fetched.get("content") == taken.content else None
    return {
        "content": taken.content,
        "replaces": replaces,
        "line": known or [replaces] * bool(replaces),
        "origin": taken.origin,
        "fetched_at": taken.fetched_at,
    }


def line(taken: Snapshot, fetched: dict) -> list[str]:
    """The contents before a snapshot, from what stage `api` noted the last time."""
    known = fetched.get("line") or []
    replaces = taken.descriptor.replaces
    if fetched.get("content") == taken.content or not replaces:
        return known
    return [replaces, *known][:LONGEST_LINE]


def replaced(here: Settings, source: str, current: Snapshot | None, content: str) -> str | None:
    """The content that a new snapshot replaces: of the current one, or of the last one known.

    A snapshot of the same content (its files were damaged, say) replaces what that one replaced.
    """
    if current:
        before, earlier = current.content, current.descriptor.replaces
    else:
        fetched = state.read(here, source).get("api", {})
        before, earlier = fetched.get("content"), fetched.get("replaces")
    return before if before != content else earlier


def of_legible(here: Settings, source: str) -> dict:
    """The same of the snapshot that the legible file of a source was made of.

    `checked_at` is when its publisher last said that it is the newest, `is_confirmed` whether that
    was in this very run.
    """
    remembered = state.read(here, source)
    made, fetched = remembered.get("preprocess", {}), remembered.get("api", {})
    known = made.get("snapshot") or {"content": made.get("input")}
    if known["content"] is None or fetched.get("content") != known["content"]:
        return known | {"is_confirmed": False}
    was_checked = fetched.get("outcome") in state.CHECKED
    is_of_this_run = fetched.get("run") == os.environ.get("PIPELINE_RUN", "")
    known = {name: fetched.get(name) for name in ("origin", "fetched_at")} | known
    known["checked_at"] = fetched.get("checked_at")
    return known | {"is_confirmed": was_checked and is_of_this_run}


def kept(source: str, ours: dict, loads: list[dict]) -> dict:
    """The facts of stage `load` where the loaded rows are of a newer snapshot; empty elsewhere.

    ours, loads: as for `refusal`.
    """
    reason = refusal(ours, loads)
    if not reason:
        return {}
    return {
        "outcome": Outcome.KEPT,
        "reason": f"not loaded: {reason}",
        "remedy": f"the rows stay; ./run_pipeline.sh load {source} --allow-older replaces them",
        "rows": loads[0]["rows"],
        "kept": loads[0],
    }


def refusal(ours: dict, loads: list[dict]) -> str:
    """Why a snapshot must not replace the rows that are loaded; empty where it may.

    Parameters
    ----------
    ours:  of the snapshot about to be loaded, as `of_legible` tells.
    loads: of those loaded before, the newest first, as `ledger.loads` tells.
    """
    may_follow = _follows(ours, loads[0]) if loads else True
    loads = _in_order(loads)
    theirs = loads[0] if loads else {}
    if may_follow or not ours.get("content") or not theirs.get("content"):
        return ""
    if ours["content"] == theirs["content"] or theirs.get("origin") == "bundled":
        return ""  # of the latter, whatever comes is newer, another capture too
    if ours.get("origin") == "bundled":
        return f"the bundled capture is older than the rows that are loaded, {_dated(theirs)}"
    is_successor = theirs["content"] in _before(ours)
    # A publisher may go back to what it had: then both hold, and neither proves anything.
    was_replaced = ours["content"] in _replaced_contents(loads)
    if is_successor != was_replaced:
        older = was_replaced
        why = ", and they replaced it"
    else:
        older, why = not ours.get("is_confirmed") and _is_earlier(ours, theirs), ""
    if not older:
        return ""
    newer = f"the rows that are loaded, {_dated(theirs)}"
    return f"its snapshot, {_dated(ours)}, is older than {newer}{why}"


def _follows(ours: dict, newest: dict) -> bool:
    """Whether a snapshot is what is loaded, or comes after what somebody let in all the same."""
    is_next = bool(newest.get("is_overruled")) and newest.get("content") in _before(ours)
    return is_next or ours.get("content") == newest.get("content")


def _in_order(loads: list[dict]) -> list[dict]:
    """The loads that followed each other; what was let in once all the same is none of them."""
    return [load for load in loads if not load.get("is_overruled")]


def _replaced_contents(loads: list[dict]) -> set[str | None]:
    """The contents that were loaded before the newest, or that one of them replaced."""
    found = {load.get("content") for load in loads[1:]}
    return found.union(*map(_before, loads))


def _before(known: dict) -> set[str | None]:
    """The contents that a snapshot's own machine had before it."""
    return {known.get("replaces"), *known.get("line", ())}


def _is_earlier(ours: dict, theirs: dict) -> bool:
    """Whether our publisher said so before theirs did; unknown times are not earlier."""
    one, other = _instant(ours), _instant(theirs)
    return one is not None and other is not None and one < other


def _instant(known: dict) -> datetime | None:
    """When the publisher last said that this is the newest."""
    try:
        instant = datetime.fromisoformat(known.get("checked_at") or known["fetched_at"])
    except (KeyError, TypeError, ValueError):
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _dated(known: dict) -> str:
    return f"fetched {known.get('fetched_at') or 'at an unknown time'}"
