"""The trials of a drill: each fault as one source meets it, and the judgement of what it did."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf

from pipeline import errors
from pipeline.drill import faults
from pipeline.drill.faults import Fault, Reply
from pipeline.drill.proxy import LOGIN, MOVED
from pipeline.drill.readers import Seen
from pipeline.http import network

ONE_RETRY = "2.5"  # seconds of patience: enough for one retry
TWO_RETRIES = "8"  # enough for a correct third reply
SHORT = {"FETCH_PATIENCE": "0", "SOURCE_TIMEOUT": "6"}  # seconds, for faults that never end
HANG = 60  # seconds
ERROR = b'{"error": {"code": 400, "message": "Unable to complete operation."}}'


@dataclass(frozen=True)
class Trial:
    """One fault: where it is, what it does, and with which settings the pipeline meets it."""

    name: str
    fault: Callable[[str], Fault] | None = None  # made for the requested URL
    times: float = inf  # how many replies are faulty, the first ones
    route: str = "server"  # where MIRRORS redirect the source to
    settings: dict[str, str] | None = None
    allowed_by: str = ""  # the declaration (`may_shrink`, …) of a source that may accept the reply
    is_of_rows: bool = False


class Outcome(StrEnum):
    """What the pipeline did with a fault."""

    RECOVERED = "recovered"  # it has the correct data
    KEPT = "kept"  # stage `api` kept the last good snapshot
    REJECTED = "rejected"  # a later stage rejected a new snapshot
    ACCEPTED = "accepted"  # a new snapshot is published
    FAILED = "failed"  # anything else


@dataclass(frozen=True)
class Night:
    """What can be seen of a night with a fault after it ended."""

    code: int  # the worst of its stages
    reason: str
    is_met: bool  # whether the source requested something that had the fault
    is_same_raw: bool  # whether the snapshot is the correct one
    is_same_published: bool


@dataclass(frozen=True)
class Verdict:
    """What the pipeline did, and each rule that it broke in a sentence."""

    outcome: Outcome
    violations: list[str]


def verdict(night: Night, seen: Seen, may_accept: bool) -> Verdict:
    """Judge a night.

    It may recover with code 0, or keep the last good data with a reason and code 2. The source may
    also accept the reply if that can be correct for it (`may_accept`).
    """
    outcome, violations = _outcome(night), []
    if outcome == Outcome.FAILED:
        violations.append(f"ended with code {night.code}")
    if outcome == Outcome.ACCEPTED and not may_accept:
        violations.append("a faulty reply was accepted as data")
    if outcome in (Outcome.KEPT, Outcome.REJECTED) and not night.reason:
        violations.append("no reason was given")
    if not night.is_same_published and (night.is_same_raw or not may_accept):
        violations.append("the published tables changed")
    if not night.is_met:
        violations.append("the source never requested what had the fault")
    violations += [f"a reader met {trouble}" for trouble in seen.troubles]
    if not seen.reads:
        violations.append("no table was read meanwhile")
    return Verdict(outcome, violations)


def worst(codes: list[int]) -> int:
    """The exit code of several stages together."""
    return max(codes, key=lambda code: (code not in (errors.OK, errors.DEGRADED), code))


def why_not(trial: Trial, replies: list[Reply]) -> str:
    """Why a trial makes no sense for a source with these replies; empty if it does."""
    if trial.route == "tls" and not shutil.which("openssl"):
        return "openssl is not installed"
    fault = trial.fault("") if trial.is_of_rows and trial.fault else None
    if fault and all(fault(reply).body == reply.body for reply in replies):
        return "no rows are recognised in its replies"
    return ""


def _outcome(night: Night) -> Outcome:
    if night.code not in (errors.OK, errors.DEGRADED):
        return Outcome.FAILED
    if night.is_same_raw:
        return Outcome.RECOVERED if night.code == errors.OK else Outcome.KEPT
    return Outcome.ACCEPTED if night.code == errors.OK else Outcome.REJECTED


def _always(fault: Fault) -> Callable[[str], Fault]:
    return lambda url: fault


def _moved(url: str) -> Fault:
    return faults.redirect(f"https://{MOVED}/{network.below(url)}")


def _longer(reply: Reply) -> Reply:
    return replace(reply, length=str(len(reply.body) + 10), cut=len(reply.body))


def _shorter(reply: Reply) -> Reply:
    return replace(reply, length=str(len(reply.body) // 3), cut=len(reply.body))


TRIALS = (
    Trial("none"),
    Trial("connection refused", route="nobody", settings={"FETCH_PATIENCE": ONE_RETRY}),
    Trial("no network at all", route="offline"),
    Trial("a self-signed certificate", route="tls"),
    Trial("no response", _always(faults.slow(HANG)), settings=SHORT),
    Trial("a few bytes at a time", _always(faults.drip(0.2)), settings=SHORT),
    Trial("500 permanently", _always(faults.status(500))),
    Trial(
        "500 twice", _always(faults.status(500)), times=2, settings={"FETCH_PATIENCE": TWO_RETRIES}
    ),
    Trial("429, wait an hour", _always(faults.status(429, retry_after="3600"))),
    Trial("503 once, wait 1 s", _always(faults.status(503, retry_after="1")), times=1),
    Trial("body cut", _always(faults.cut(0.4))),
    Trial("body cut, no length", _always(faults.cut(0.4, announced=False))),
    Trial("length too small", _always(_shorter)),
    Trial("length too large", _always(_longer)),
    Trial("two lengths", _always(faults.doubled_length(-7))),
    Trial("chunks without an end", _always(faults.chunked(ends=False))),
    Trial("a web page with 200", _always(faults.html())),
    Trial("an error with 200", _always(faults.error_in_200(ERROR))),
    Trial("an empty response", _always(faults.changed(lambda body: b""))),
    Trial("moved to another host", _moved),
    Trial("a login page", _always(faults.redirect(f"https://{LOGIN}/"))),
    Trial("a gzip bomb", _always(faults.gzip_bomb(64))),
    Trial("a renamed column", _always(faults.renamed_column), is_of_rows=True),
    Trial(
        "a third of the rows",
        _always(faults.fewer_rows(1 / 3)),
        allowed_by="may_shrink",
        is_of_rows=True,
    ),
    Trial("no rows", _always(faults.fewer_rows(0)), allowed_by="may_be_empty", is_of_rows=True),
)
