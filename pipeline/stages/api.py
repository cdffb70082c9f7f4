"""Stage `api`: a source's script fetches files into a candidate, which becomes the new snapshot.

When a publisher cannot be read, the source uses, in this order: the last good snapshot, its copy in
the stash, the bundled snapshot, an empty table. Each has an outcome of its own, and none counts as
fresh.
"""

import contextlib
import signal
import sys
from collections.abc import Callable, Generator
from typing import NamedTuple

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
from pipeline.state import Fetched, Outcome

KEEP_LOST = 5  # recorded snapshots that never entered the stash, the newest ones
FETCH_SHARE = 0.9  # of SOURCE_TIMEOUT; the rest is left for the fallback
Fetch = Callable[[Candidate], None]


class Result(NamedTuple):
    """The snapshot that a source has after the stage."""

    current: Snapshot | None
    outcome: Outcome
    note: str | None = None  # what the publisher says beside the data; None if it was not asked


def run(source: Source, fetch: Fetch) -> None:
    """Run a script in `api/`: fetch, compare, keep or replace the snapshot, stash it."""
    script.run_main("api", lambda here, options, name: work(here, options, source, name, fetch))


def work(here: Settings, options, source: Source, name: str, fetch: Fetch) -> dict:
    """Bring a source's snapshot up to date; returns the facts of the step.

    Parameters
    ----------
    options: has the flags `offline` and `force`.
    fetch:   gathers the files into a Candidate; whatever it raises leads to the fallback.
    """
    declaration_checks.check_kind(source.kind, checks.KINDS, f"api/{name}.py")
    declaration_checks.check_keys(source.keys, f"api/{name}.py")
    damage = trouble = SourceError("")
    rejected = None
    network = not options.offline
    try:
        current = snapshot.current(here, name)
    except SourceError as error:
        snapshot.refuse(here, name, here.raw / name)
        current, damage = _restore_from_stash(here, name, network), error
        damage.what += "; restored from the stash" if current else ""
    try:
        if options.offline:
            raise SourceError("not asked: --offline")
        rejected = refetch.due(here, name, current)
        result = _fetch(here, source, name, fetch, current, options.force, rejected)
    except DeclarationError:
        raise  # the script itself is wrong
    except Exception as error:  # noqa: BLE001 - any fault of a publisher or its script
        trouble = script.as_source_error(error)
        result = _fall_back(here, name, current, network)
    facts = _facts(here, name, result)
    if result.current and rejected and result.outcome in state.CHECKED:
        facts |= rejected.facts(result.current.content)
    facts |= {"may_shrink": source.may_shrink, "may_be_empty": source.may_be_empty}
    facts["reason"] = "; ".join(filter(None, [damage.what, trouble.what, facts["reason"]]))
    if result.outcome in state.DEGRADED_OUTCOMES:
        remedy = trouble.remedy or damage.remedy or _default_remedy(source, trouble, options)
        received = f"; what came is in {trouble.kept}" if trouble.kept else ""
        facts["remedy"] = f"{remedy}{received}"
    return facts


def _default_remedy(source: Source, trouble: SourceError, options) -> str:
    if options.offline:
        return ""
    if isinstance(trouble, NoNetwork):  # the same text for all sources is reported once
        return "the next night asks again"
    return f"the next night asks again; if it lasts, see {source.page}"


def _fetch(
    here: Settings,
    source: Source,
    name: str,
    fetch: Fetch,
    current: Snapshot | None,
    force: bool,
    rejected: Rejected | None,
) -> Result:
    """Fetch a candidate; it becomes the snapshot unless the current one has the same content.

    Nothing of a rejected snapshot is reused: the candidate gets no current snapshot, so that no
    connector can request only the changes.
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
    except OSError:  # the files may be what filled the disk
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
        result = Result(current, Outcome.UNCHANGED, described.note)
    else:
        content = described.fingerprints.content
        described.replaces = order.replaced(here, name, current, content)
        new = snapshot.commit(here, name, candidate.folder, described)
        result = Result(new, Outcome.NEW, described.note)
    state.replace(here, name, validators=candidate.validators)
    return result


def _is_the_same(described: Descriptor, current: Snapshot, rejected: Rejected | None) -> bool:
    """Return whether the current snapshot already has the content of a candidate."""
    ours, theirs = described.fingerprints, current.descriptor.fingerprints
    if rejected:
        return rejected.is_the_same(ours, theirs)
    return current.origin == "live" and ours.content == theirs.content


def _refuse_keys(here: Settings, candidate: Candidate) -> None:
    """Refuse responses that repeat a key: it would enter the manifest, the state and the stash."""
    recorded = (candidate.resources, candidate.extra, candidate.validators)
    keys.refuse_echo(
        here, candidate.client.keys_sent, candidate.folder, msgspec.to_builtins(recorded)
    )


class _TimeIsUp(BaseException):
    """The time of a fetch is over."""


@contextlib.contextmanager
def _within(seconds: float) -> Generator[None]:
    """Limit the time of a whole fetch; a byte now and then would evade every other limit.

    Raises SourceError when the time is up; 0 is no limit. Inside the fetch it is another exception,
    so that no code there treats it as an error of one response and continues.
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


def _fall_back(here: Settings, name: str, current: Snapshot | None, network: bool) -> Result:
    """Return the best snapshot without its publisher."""
    last = current or _restore_from_stash(here, name, network)
    if last and last.origin == "live":
        return Result(last, Outcome.KEPT)
    if state.fetched(here, name).was_live:
        return Result(None, Outcome.KEPT)  # older data must not replace newer rows in the database
    capture = snapshot.bundled(name)
    if capture and (last is None or last.content != capture.content):
        last = snapshot.install_bundled(here, capture)
    return Result(last, Outcome.BUNDLED if last else Outcome.MISSING)


def _restore_from_stash(here: Settings, name: str, network: bool) -> Snapshot | None:
    """Make the stash's copy of the last live snapshot the current one; None without a copy."""
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


def _facts(here: Settings, name: str, result: Result) -> dict:
    """Stash the current snapshot; returns the facts that the state records."""
    current, before = result.current, state.fetched(here, name)
    facts: dict = {"outcome": result.outcome, "reason": "", "remedy": ""}
    facts["note"] = before.note if result.note is None else result.note
    facts["was_live"] = before.was_live or bool(current and current.origin == "live")
    if result.outcome in state.CHECKED:
        facts["checked_at"] = state.now()
    if not current:
        if result.outcome == Outcome.KEPT:
            facts["reason"] = "no copy on disk or in the stash; the database keeps its rows"
        return facts | {"content": None, "fetched_at": None}
    facts |= {
        "content": current.content,
        "replaces": current.descriptor.replaces,
        "line": order.line(current, before),
        "origin": current.origin,
        "bytes": current.size,
        "rows": current.descriptor.rows,
        "fetched_at": current.fetched_at,
        "as_of": current.descriptor.as_of,
    }
    return facts | _stash(here, name, current, before)


def _stash(here: Settings, name: str, current: Snapshot, before: Fetched) -> dict:
    """Stash a snapshot that is not stashed yet; a problem is recorded as a note, not as a failure.

    A snapshot that was replaced before it could be stashed is a gap in the history. Its fetch time
    is recorded for `doctor`.
    """
    identity = f"{here.stash} {current.content} {current.fetched_at}"
    if here.stash == "off" or before.stashed == identity:
        return {"stashed": before.stashed, "stash_note": "", "unstashed": None}
    what = f"fetched {current.fetched_at}" if current.origin == "live" else "the bundled capture"
    stored = stash.store(here, name, f"{name}: {what}")
    lost = before.never_stashed
    if before.unstashed and before.unstashed != identity:
        lost = [*lost, before.unstashed.rpartition(" ")[2]][-KEEP_LOST:]
    return {
        "stashed": identity if stored.done else None,
        "stash_note": stored.note,
        "unstashed": None if stored.done else identity,
        "never_stashed": lost,
    }
