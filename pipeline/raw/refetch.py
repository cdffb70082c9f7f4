"""A snapshot that stage `preprocess` rejected does not count as fetched.

As long as the publisher's version mark stays the same (an ETag, a time of the last refresh or edit,
months that were fetched already), nothing would be requested, and data that was only damaged on its
way would stay. So the snapshot is fetched again in full: once for each run in which it was
rejected, which is once a night.
"""

from typing import NamedTuple

from pipeline import state
from pipeline.raw.descriptor import Fingerprints
from pipeline.raw.snapshot import Snapshot
from pipeline.settings import Settings
from pipeline.state import Outcome


class Rejected(NamedTuple):
    """A rejected snapshot that has to be fetched again."""

    run: str  # in which it was rejected
    content: str  # its content fingerprint
    is_first: bool  # it was not fetched again before

    def is_the_same(self, fingerprints: Fingerprints, current: Fingerprints) -> bool:
        """Return whether the rejected snapshot was received again.

        The first time the bytes are compared, because a volatile value may be what is wrong. Later
        only the content is compared: a publisher whose responses all differ would otherwise get a
        new snapshot every night.
        """
        if self.is_first:
            return fingerprints.bytes == current.bytes
        return fingerprints.content == current.content

    def facts(self, content: str) -> dict[str, str]:
        """Return the facts that stage `api` records after it received this content."""
        came = "the publisher still sends the same" if content == self.content else "it changed"
        reason = f"fetched again in full, since stage preprocess rejected the last snapshot; {came}"
        return {"refetched_for": self.run, "refetched": self.content, "reason": reason}


def due(here: Settings, source: str, current: Snapshot | None) -> Rejected | None:
    """Return the current snapshot, if it was rejected and not fetched again since.

    Failures that the snapshot did not cause (a full disk, a stopped run) do not count.
    """
    if current is None or current.origin != "live":
        return None
    preprocessed, fetched = state.preprocessed(here, source), state.fetched(here, source)
    run = preprocessed.run
    if preprocessed.outcome != Outcome.FAILED or not run or preprocessed.rejected_in != run:
        return None
    if run == fetched.refetched_for:
        return None
    return Rejected(run, current.content, fetched.refetched != current.content)
