"""A snapshot that stage `preprocess` rejected does not count as fetched.

As long as the publisher's version mark stays the same (an ETag, a time of the last refresh or edit,
months that are there already), nothing would be asked for, and what was only damaged on its way
would stay. So it is fetched again in full: once for each run in which it was rejected, which is
once a night.
"""

from typing import NamedTuple

from pipeline import state
from pipeline.raw.descriptor import Fingerprints
from pipeline.raw.snapshot import Snapshot
from pipeline.settings import Settings
from pipeline.state import Outcome


class Rejected(NamedTuple):
    """A snapshot that is to be fetched again."""

    run: str  # in which it was rejected
    content: str  # its content fingerprint
    is_first: bool  # whether it was never fetched again before

    def is_the_same(self, fingerprints: Fingerprints, current: Fingerprints) -> bool:
        """Whether what came is the rejected snapshot again.

        The first time its bytes are compared: what is volatile may be what is wrong. Later its
        content: a publisher whose every answer differs would make a new snapshot every night.
        """
        if self.is_first:
            return fingerprints.bytes == current.bytes
        return fingerprints.content == current.content

    def facts(self, content: str) -> dict[str, str]:
        """What is noted of stage `api` when this content came."""
        came = "the publisher still sends the same" if content == self.content else "it changed"
        reason = f"fetched again in full, since stage preprocess rejected the last snapshot; {came}"
        return {"refetched_for": self.run, "refetched": self.content, "reason": reason}


def due(here: Settings, source: str, current: Snapshot | None) -> Rejected | None:
    """The current snapshot, if it was rejected and not fetched again since.

    Failures that are none of the snapshot's (a full disk, a run that was stopped) do not count.
    """
    if current is None or current.origin != "live":
        return None
    remembered = state.read(here, source)
    tried, fetched = remembered.get("preprocess", {}), remembered.get("api", {})
    run = tried.get("run")
    if tried.get("outcome") != Outcome.FAILED or not run or tried.get("rejected_in") != run:
        return None
    if run == fetched.get("refetched_for"):
        return None
    return Rejected(run, current.content, fetched.get("refetched") != current.content)
