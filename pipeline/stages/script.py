"""What every script of a stage does first and last: options, lock, log line, exit code.

    ./run_pipeline.sh api faa_airports        the runner starts api/faa_airports.py
    .venv/bin/python api/faa_airports.py      the same by hand

A script tells what came of it in `data/state/<source>.json`, under its stage; the runner reads
that, so that it need not believe what a script prints.
"""

import argparse
import errno
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from pipeline import errors, settings, state
from pipeline.errors import PipelineError, SettingError, SourceError
from pipeline.stages import lock
from pipeline.state import Outcome
from pipeline.text import escaped

LONGEST_LINE = 1000


def parse(description: str, add_more: Callable | None = None) -> argparse.Namespace:
    """The options every script has, `force` and `offline`, and those that `add_more` adds."""
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # `--roll` is no `--rollback`
    )
    add_options(parser)
    if add_more:
        add_more(parser)
    return parse_with(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options that stand everywhere."""
    parser.add_argument("--force", action="store_true", help="run even if nothing changed")
    parser.add_argument("--offline", action="store_true", help="use no network")


def parse_with(parser: argparse.ArgumentParser, words: list[str] | None = None):
    """Parse a command line, names and options in any order.

    Wrong usage ends with code 64 (sysexits.h).
    """
    parser.error = lambda message: _wrong_usage(parser, message)
    return parser.parse_intermixed_args(words)


def _wrong_usage(parser: argparse.ArgumentParser, message: str):
    parser.print_usage(sys.stderr)
    print(f"{parser.prog}: {message}", file=sys.stderr)
    sys.exit(errors.USAGE)


def run(
    stage: str,
    source: str,
    description: str,
    work: Callable[..., dict],
    add_more: Callable[[argparse.ArgumentParser], None] | None = None,
) -> None:
    """Do the work of one script and end the process with its exit code.

    Parameters
    ----------
    stage, source: whose outcome is noted.
    description:   the text of `--help`.
    work:          `work(settings, options)` returns the facts to note, `outcome` among them.
    add_more:      gives the parser the options of this stage alone.
    """
    options = parse(description, add_more)
    try:
        with lock.held_by_this_run(settings.load()):
            facts, code = _attempt(stage, source, work, options)
    except PipelineError as error:
        print(f"{source}: {error}", file=sys.stderr)
        # A crash of Python ends with 1 too: the run is told apart what ends all of it.
        is_of_run = os.environ.get("PIPELINE_RUN") and not isinstance(error, SettingError)
        sys.exit(errors.ENDS_RUN if is_of_run else error.exit_code)
    print(line(source, facts), flush=True)
    sys.exit(code)


def _attempt(stage: str, source: str, work: Callable[..., dict], options) -> tuple[dict, int]:
    """Do the work and note what came of it; returns the facts and the exit code."""
    here, code = settings.load(), None
    started, clock = state.now(), time.monotonic()
    try:
        facts = work(here, options)
    except Exception as error:  # noqa: BLE001 - one script's fault must not end the night
        trouble = understood(error)
        code = trouble.exit_code
        facts = {"outcome": Outcome.FAILED, "reason": trouble.what, "remedy": trouble.remedy}
    if code is None:
        code = errors.DEGRADED if facts["outcome"] in state.DEGRADED_OUTCOMES else errors.OK
    return _tell(stage, source, started, round(time.monotonic() - clock, 3), facts), code


def _tell(stage: str, source: str, started: str, seconds: float, facts: dict) -> dict:
    """Note what came of a step, in the name of the run or of this script's own."""
    run_id = state.run_id()
    # A failure leaves rows and hash of the last good file as they are noted.
    told = {"reason": "", "remedy": ""} | facts
    told |= {name: settings.redact(told[name] or "") for name in ("reason", "remedy")}
    told |= {"run": run_id, "started_at": started, "seconds": seconds}
    if told.get("outcome") == Outcome.FAILED:  # by the source itself, not with the run
        told["rejected_in"] = run_id
    try:
        return state.update(settings.load(), source, stage, **told)
    except OSError as error:
        raise understood(error) from None


def understood(error: Exception) -> SourceError:
    """Any error as one a person can act on.

    One nobody foresaw leaves its traceback in the log. Re-raised as it is: a full disk and
    whatever else ends the whole run.
    """
    if isinstance(error, SourceError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise PipelineError(
            f"the disk is full: {error.filename or settings.load().data_dir}",
            "make room; what was finished stays, the next run does the rest",
        ) from None
    if isinstance(error, PipelineError):
        raise error
    if isinstance(error, OSError) and error.errno == errno.EIO:
        return SourceError(
            f"the disk cannot be read or written (input/output error): {error.filename or ''}",
            "see the system's log and the disk; the next run does the rest",
        )
    print(settings.redact(traceback.format_exc()), file=sys.stderr)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name} line {frame.lineno}"
    what = f"{type(error).__name__}: {escaped(settings.redact(str(error)))} ({where})"
    return SourceError(what, "the traceback is in the log")


def ends_run(error: OSError) -> PipelineError:
    """An error of the file system that met the run itself, as what ends it."""
    try:
        return PipelineError(understood(error).what)
    except PipelineError as told:
        return told


def line(source: str, facts: dict) -> str:
    """One plain line on what came of a step."""
    parts = [f"{source}: {facts['outcome']}"]
    if facts.get("rows") is not None:
        parts.append(f"{facts['rows']:,} rows")
    if facts.get("bytes") is not None:
        parts.append(f"{facts['bytes']:,} bytes")
    if facts.get("reason"):
        parts.append(facts["reason"])
    if facts.get("remedy"):
        parts.append(facts["remedy"])
    return escaped(", ".join(parts), LONGEST_LINE)
