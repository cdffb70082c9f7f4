"""The errors a person meets, and the exit codes they lead to.

An error says what happened, where, what was kept and what to do. The frame around the scripts
prints it as one line; a traceback is for faults of our own and goes to the log.
"""

import signal

OK = 0
FAILED = 1
DEGRADED = 2
ENDS_RUN = 3  # between a script and its run only: this failure is not of one source
USAGE = 64
BUSY = 75
SETUP = 78


class PipelineError(Exception):
    """Something went wrong that a person can understand and act on.

    Parameters
    ----------
    what:   one sentence: what happened and where (file, line, row, URL without secrets).
    remedy: what to do about it; empty when waiting for the next night is the right thing.
    """

    exit_code = FAILED

    def __init__(self, what: str, remedy: str = ""):
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what} - {self.remedy}" if self.remedy else self.what


class SourceError(PipelineError):
    """One source cannot go on tonight; its last good data stays, everything else goes on."""

    exit_code = DEGRADED
    kept = ""  # the folder in which what came instead is kept for inspection


class DeclarationError(SourceError, ValueError):
    """A source's own files declare what there is not; its last good data stays."""

    exit_code = SETUP


class Transient(SourceError):
    """A failure that asking again may mend; `wait` is the seconds that were asked of us."""

    def __init__(self, what: str, wait: float | None = None):
        super().__init__(what)
        self.wait = wait


class Throttled(Transient):
    """The publisher says that we ask too much (429): waiting helps, and asking more does not."""


class SetupError(PipelineError):
    """A setting, a permission or a missing program stops the night before it begins."""

    exit_code = SETUP


class SettingError(SetupError):
    """A setting leads to something that is not ours, or that cannot be used.

    It ends the run with its own exit code in whichever stage it is met.
    """


class BusyError(PipelineError):
    """Another run is in progress; nothing was done."""

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
