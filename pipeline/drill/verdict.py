"""What the pipeline did with a fault, and whether it may."""

from dataclasses import dataclass

from pipeline import errors
from pipeline.drill.readers import Seen


@dataclass(frozen=True)
class Night:
    """What can be seen of a night with a fault after it ended."""

    code: int  # the worst of its stages
    reason: str
    is_met: bool  # whether the source asked for what the fault was in
    is_same_raw: bool  # whether the snapshot is the honest one
    is_same_published: bool


@dataclass(frozen=True)
class Verdict:
    """What the pipeline did in a word, and each rule it broke in a sentence."""

    did: str
    violations: list[str]


def verdict(night: Night, seen: Seen, may_take: bool) -> Verdict:
    """Judge a night.

    Permitted are the honest data with code 0 (recovered), and the last good data with a named
    reason and code 2: kept when nothing else was let in, refused when a later stage did it.

    may_take: the answer may be right for this source, so it may be let in too (taken).
    """
    did, violations = _what(night), []
    if did == "failed":
        violations.append(f"ended with code {night.code}")
    if did == "taken" and not may_take:
        violations.append("a bad answer was taken for data")
    if did in ("kept", "refused") and not night.reason:
        violations.append("nothing says why")
    if not night.is_same_published and (night.is_same_raw or not may_take):
        violations.append("what is published changed")
    if not night.is_met:
        violations.append("the source never asked for what the fault was in")
    violations += [f"a reader met {trouble}" for trouble in seen.troubles]
    if not seen.reads:
        violations.append("nothing was read meanwhile")
    return Verdict(did, violations)


def _what(night: Night) -> str:
    if night.code not in (errors.OK, errors.DEGRADED):
        return "failed"
    if night.is_same_raw:
        return "recovered" if night.code == errors.OK else "kept"
    return "taken" if night.code == errors.OK else "refused"


def worst(codes: list[int]) -> int:
    """The exit code of several stages together."""
    return max(codes, key=lambda code: (code not in (errors.OK, errors.DEGRADED), code))
