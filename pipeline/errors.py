"""The errors that users see, and their exit codes.

An error says what happened, where, what was kept and what to do. It is printed as one line; a
traceback is for errors in this code and goes to the log.
"""

import signal

OK = 0
FAILED = 1
DEGRADED = 2
ENDS_RUN = 3  # only between a script and its run: the failure affects all sources
USAGE = 64
BUSY = 75
SETUP = 78


class PipelineError(Exception):
    """A failure that a user can understand and act on.

    Parameters
    ----------
    what:   one sentence: what happened and where (file, line, row, URL without secrets).
    remedy: what to do about it; empty when the next night will do.
    """

    exit_code = FAILED

    def __init__(self, what: str, remedy: str = ""):
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what} - {self.remedy}" if self.remedy else self.what


class SourceError(PipelineError):
    """One source fails tonight and keeps its last good data; all others continue."""

    exit_code = DEGRADED
    kept = ""  # the folder in which the rejected files are kept for inspection


class DeclarationError(SourceError, ValueError):
    """A source's own files declare something invalid; it keeps its last good data."""

    exit_code = SETUP


class Transient(SourceError):
    """A failure for which a retry may help; `wait` is the seconds that the publisher asked for."""

    def __init__(self, what: str, wait: float | None = None):
        super().__init__(what)
        self.wait = wait


class Throttled(Transient):
    """The publisher received too many requests (429): only waiting helps."""


class SetupError(PipelineError):
    """A wrong setting, a missing permission or program stops the night before it begins."""

    exit_code = SETUP


class SettingError(SetupError):
    """A setting points to something that belongs to others, or is unusable.

    It ends the run with its own exit code in any stage.
    """


class BusyError(PipelineError):
    """Another run is in progress; this one did nothing."""

    exit_code = BUSY


def unless_meant(source: str) -> str:
    """The remedy for a rejection that `accept` can overrule."""
    return f"if the publisher means it, ./run_pipeline.sh accept {source} accepts it"


def meaning(code: int) -> str:
    """An exit code in a few words."""
    return {
        OK: "all is well",
        DEGRADED: "degraded: some data is stale",
        FAILED: "nothing could be published",
        BUSY: "another run was in progress",
        SETUP: "a setting, a permission or a program was missing",
        128 + signal.SIGHUP: "stopped by a signal",
        128 + signal.SIGINT: "stopped by a signal",
        128 + signal.SIGTERM: "stopped by a signal",
    }.get(code, "see above")
