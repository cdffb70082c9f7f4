"""Stage `api`: a source's script fetches into a candidate, which becomes the snapshot or nothing.

The ladder when a publisher cannot be read: the last good snapshot, the stash's copy of it, the
bundled capture, an empty table. Each rung is said by its name and none is called fresh.
"""

import contextlib
import signal
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import msgspec

from pipeline import declaration_checks, durable, state
from pipeline.errors import DeclarationError, SourceError
from pipeline.http import keys
from pipeline.http.client import NoNetwork
from pipeline.raw import checks, order, refetch, snapshot, stash
from pipeline.raw.candidate import Candidate
from pipeline.raw.descriptor import Descriptor
from pipeline.raw.refetch import Rejected
from pipeline.raw.snapshot import Snapshot
from pipeline.raw.source import Source
from pipeline.settings import Settings
from pipeline.stages import script
from pipeline.state import Outcome

KEEP_LOST = 5  # of the snapshots that never entered the stash, the newest
FETCH_SHARE = 0.9  # of SOURCE_TIMEOUT; the rest is left to fall back in good order


def run(source: Source, fetch: Callable[[Candidate], None]) -> None:
    """The main program of a script in `api/`: fetch, compare, keep or replace, stash, tell."""
    main = sys.modules["__main__"]
    name = Path(main.__file__ or "").stem
    script.run(
        "api",
        name,
        main.__doc__ or "",
        lambda here, options: work(here, options, source, name, fetch),
    )


def work(here: Settings, options, source: Source, name: str, fetch) -> dict:
    """Bring a source's snapshot up to date as far as its publisher lets us.

    Parameters
    ----------
    options: has the flags `offline` and `force`.
    fetch:   gathers the files into a Candidate; whatever it raises, the ladder is gone down.

    Returns what is noted of the stage: `outcome` (new, unchanged, kept, bundled or missing),
    `reason`, `remedy`, `origin`, `content`, `fetched_at`, `checked_at`, `stash_note`, ….
    """
    declaration_checks.check_kind(source.kind, checks.KINDS, f"api/{name}.py")
    declaration_checks.check_keys(source.keys, f"api/{name}.py")
    damage = trouble = SourceError("")
    note = rejected = None
    network = not options.offline
    try:
        current = snapshot.current(here, name)
    except SourceError as error:
        current, damage = _set_damaged_aside(here, name, network), error
        damage.what += "; restored from the stash" if current else ""
    try:
        if options.offline:
            raise SourceError("not asked: --offline")
        rejected = refetch.due(here, name, current)
        taken, outcome, note = _fetch(here, source, name, fetch, current, options.force, rejected)
    except DeclarationError:
        raise  # nobody's but the script's
    except Exception as error:  # noqa: BLE001 - whatever ails a publisher or its script
        trouble = script.understood(error)
        taken, outcome = _fall_back(here, name, current, network)
    told = facts(here, name, taken, outcome, note)
    if taken and rejected and outcome in state.CHECKED:
        told |= rejected.facts(taken.content)
    told |= {"may_shrink": source.may_shrink, "may_be_empty": source.may_be_empty}
    told["reason"] = "; ".join(filter(None, [damage.what, trouble.what, told["reason"]]))
    if outcome in state.DEGRADED_OUTCOMES:
        remedy = trouble.remedy or damage.remedy or _waiting(source, trouble, options)
        told["remedy"] = f"{remedy}; what came is in {trouble.kept}" if trouble.kept else remedy
    return told


def _waiting(source: Source, trouble: SourceError, options) -> str:
    """What to do where there is nothing to do but wait, so far."""
    if options.offline:
        return ""
    if isinstance(trouble, NoNetwork):  # the same words for all sources: they are said once
        return "the next night asks again"
    return f"the next night asks again; if it lasts, see {source.page}"


def _set_damaged_aside(here: Settings, name: str, network: bool) -> Snapshot | None:
    """Keep a damaged snapshot for inspection and take the stash's copy in its place."""
    snapshot.refuse(here, name, here.raw / name)
    return _from_stash(here, name, network)


def _from_stash(here: Settings, name: str, network: bool) -> Snapshot | None:
    """The stash's copy of the last live snapshot, made the current one; None without it."""
    folder = snapshot.open_candidate(here, name)
    try:
        is_there = stash.restore(here, name, folder, network)
        if is_there and snapshot.read(folder, name).origin == "live":
            durable.replace_folder(folder, here.raw / name)
            return snapshot.current(here, name)
    except SourceError as error:
        print(f"{name}: the copy in the stash is unusable: {error}", file=sys.stderr)
    snapshot.discard(folder)
    return None


def _fetch(here, source, name, fetch, current, force, rejected) -> tuple[Snapshot, Outcome, str]:
    """The snapshot, what came of it, and what its publisher says that an operator should know.

    Without `current` no reader can ask for changes alone: nothing of a rejected snapshot is reused.
    """
    candidate = Candidate(here, source, name, None if force or rejected else current)
    if force:
        candidate.journal.end()
    try:
        try:
            with _within(here.source_timeout * FETCH_SHARE):
                fetch(candidate)
            _refuse_keys(here, candidate)
        finally:
            candidate.journal.end()
        if not candidate.resources:
            raise SourceError(f"{name}: its script fetched no file")
    except OSError:  # what lies there may be what filled the disk
        snapshot.discard(candidate.folder)
        raise
    except BaseException as error:
        keys.purge(here, candidate.client.keys_sent, candidate.folder)
        if snapshot.refuse(here, name, candidate.folder) and isinstance(error, SourceError):
            error.kept = f"data/quarantine/{name}/"
        raise
    described = candidate.describe()
    if current and _is_the_same(described, current, rejected):
        snapshot.discard(candidate.folder)
        taken, outcome = current, Outcome.UNCHANGED
    else:
        content = described.fingerprints.content
        described.replaces = order.replaced(here, name, current, content)
        taken, outcome = snapshot.commit(here, name, candidate.folder, described), Outcome.NEW
    state.replace(here, name, validators=candidate.validators)
    return taken, outcome, described.note


def _is_the_same(described: Descriptor, current: Snapshot, rejected: Rejected | None) -> bool:
    """Whether the current snapshot has the content of a candidate already."""
    ours, theirs = described.fingerprints, current.descriptor.fingerprints
    if rejected:
        return rejected.is_the_same(ours, theirs)
    return current.origin == "live" and ours.content == theirs.content


def _refuse_keys(here: Settings, candidate: Candidate) -> None:
    """A key in what a publisher answers would go into the manifest, the state and the stash."""
    described = msgspec.to_builtins((candidate.resources, candidate.extra, candidate.validators))
    keys.refuse_echo(here, candidate.client.keys_sent, candidate.folder, described)


class _TimeIsUp(BaseException):
    """The time of a fetch is over."""


@contextlib.contextmanager
def _within(seconds: float) -> Generator[None]:
    """Bound the time of a fetch as a whole: a byte now and then keeps every other limit away.

    Raises SourceError when the time is up; 0 is no limit. Until then it is another exception, so
    that nothing in the midst of the fetch takes it for an error of one response and goes on.
    """

    def stop(number, frame):
        raise _TimeIsUp

    handler = signal.signal(signal.SIGALRM, stop)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _TimeIsUp:
        what = f"the publisher took longer than {seconds:g} s"
        raise SourceError(what, "see SOURCE_TIMEOUT") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def _fall_back(
    here: Settings, name: str, current: Snapshot | None, network: bool
) -> tuple[Snapshot | None, Outcome]:
    """The next rung below a live answer."""
    taken = current or _from_stash(here, name, network)
    if taken and taken.origin == "live":
        return taken, Outcome.KEPT
    if state.read(here, name).get("api", {}).get("was_live"):
        return None, Outcome.KEPT  # older data must not replace newer rows in the database
    capture = snapshot.bundled(name)
    if capture and (taken is None or taken.content != capture.content):
        taken = snapshot.install_bundled(here, capture)
    return taken, Outcome.BUNDLED if taken else Outcome.MISSING


def facts(
    here: Settings, name: str, taken: Snapshot | None, outcome: Outcome, note: str | None = None
) -> dict:
    """What is noted of the stage when a snapshot is the current one; it is stashed on the way.

    `note` is what the publisher says beside the data; None where it could not be asked.
    """
    remembered = state.read(here, name).get("api", {})
    facts = {"note": remembered.get("note", "") if note is None else note}
    facts |= {"outcome": outcome, "reason": "", "remedy": "", "content": None, "fetched_at": None}
    facts["was_live"] = bool(remembered.get("was_live")) or bool(taken and taken.origin == "live")
    if outcome in state.CHECKED:
        facts["checked_at"] = state.now()
    if not taken:
        if outcome == Outcome.KEPT:
            facts["reason"] = "no copy on disk or in the stash; the database keeps its rows"
        return facts
    facts |= {
        "content": taken.content,
        "replaces": taken.descriptor.replaces,
        "line": order.line(taken, remembered),
        "origin": taken.origin,
        "bytes": taken.size,
        "rows": taken.descriptor.rows,
        "fetched_at": taken.fetched_at,
        "as_of": taken.descriptor.as_of,
    }
    return facts | _stashed(here, name, taken, remembered)


def _stashed(here: Settings, name: str, taken: Snapshot, remembered: dict) -> dict:
    """Stash a snapshot that is not stashed yet; what hinders it is a note, not a failure.

    A snapshot that was replaced before it could be stashed is a gap in the history: it is kept in
    mind when it was fetched (`stash.LOST`), for `doctor`.
    """
    identity = f"{here.stash} {taken.content} {taken.fetched_at}"
    if here.stash == "off" or remembered.get("stashed") == identity:
        return {"stashed": remembered.get("stashed"), "stash_note": "", "unstashed": None}
    what = f"fetched {taken.fetched_at}" if taken.origin == "live" else "the bundled capture"
    stored = stash.store(here, name, f"{name}: {what}")
    waiting, lost = remembered.get("unstashed"), remembered.get(stash.LOST, [])
    if waiting and waiting != identity:
        lost = [*lost, waiting.rpartition(" ")[2]][-KEEP_LOST:]
    return {
        "stashed": identity if stored.done else None,
        "stash_note": stored.note,
        "unstashed": None if stored.done else identity,
        stash.LOST: lost,
    }
