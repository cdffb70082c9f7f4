"""The frame of every script of a stage: options, lock, log line, exit code.

    ./run_pipeline.sh api stations        the runner starts api/stations.py
    .venv/bin/python api/stations.py      the same by hand

A script records its result in `data/state/<source>.json`, under its stage. The runner reads the
result there, and not from what the script prints.
"""

import argparse
import errno
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from pipeline import errors, runs, settings, state
from pipeline.errors import PipelineError, SettingError, SourceError
from pipeline.stages import lock
from pipeline.state import Outcome
from pipeline.text import escaped, wrapped

LONGEST_LINE = 1000


def parse(description: str, add_more: Callable | None = None) -> argparse.Namespace:
    """Parse the options that every script has, `force` and `offline`, and those of `add_more`."""
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # `--roll` does not mean `--rollback`
    )
    add_options(parser)
    if add_more:
        add_more(parser)
    return parse_with(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command has."""
    parser.add_argument("--force", action="store_true", help="run even if nothing changed")
    parser.add_argument("--offline", action="store_true", help="do not use the network")


def parse_with(parser: argparse.ArgumentParser, arguments: list[str] | None = None):
    """Parse a command line with names and options in any order.

    Wrong usage ends the process with code 64 (sysexits.h).
    """
    parser.error = lambda message: _wrong_usage(parser, message)
    return parser.parse_intermixed_args(arguments)


def _wrong_usage(parser: argparse.ArgumentParser, message: str):
    parser.print_usage(sys.stderr)
    text = f"{parser.prog}: {message}"
    print("\n".join(wrapped(text, sys.stderr.isatty())), file=sys.stderr)
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
    stage, source: where the result is recorded.
    description:   the text of `--help`.
    work:          `work(settings, options)` returns the facts to record, with `outcome`.
    add_more:      adds the options that only this stage has.
    """
    options = parse(description, add_more)
    try:
        with lock.held_by_this_run(settings.load()):
            facts, code = _attempt(stage, source, work, options)
    except PipelineError as error:
        print(f"{source}: {error}", file=sys.stderr)
        # Python ends with 1 after a crash, too: an error that ends the run needs a code of its own.
        is_of_run = runs.parent_id() and not isinstance(error, SettingError)
        sys.exit(errors.ENDS_RUN if is_of_run else error.exit_code)
    print("\n".join(wrapped(line(source, facts), sys.stdout.isatty())), flush=True)
    sys.exit(code)


def run_main(stage: str, work: Callable[..., dict]) -> None:
    """Run the main program, a script named after its source; work also gets the source's name."""
    main = sys.modules["__main__"]
    name = Path(main.__file__ or "").stem
    run(stage, name, main.__doc__ or "", lambda here, options: work(here, options, name))


def _attempt(stage: str, source: str, work: Callable[..., dict], options) -> tuple[dict, int]:
    """Do the work and record its result; returns the recorded facts and the exit code."""
    here, code = settings.load(), None
    started, clock = state.now(), time.monotonic()
    try:
        facts = work(here, options)
    except Exception as error:  # noqa: BLE001 - one script's fault must not end the night
        trouble = as_source_error(error)
        code = trouble.exit_code
        facts = {"outcome": Outcome.FAILED, "reason": trouble.what, "remedy": trouble.remedy}
    if code is None:
        code = errors.DEGRADED if facts["outcome"] in state.DEGRADED_OUTCOMES else errors.OK
    seconds = round(time.monotonic() - clock, 3)
    return _record(stage, source, started, seconds, facts), code


def _record(stage: str, source: str, started: str, seconds: float, facts: dict) -> dict:
    """Record the result of a step; returns the whole record of the stage."""
    run_id = runs.current_id()
    facts = {"reason": "", "remedy": ""} | facts
    facts |= {name: settings.redact(facts[name] or "") for name in ("reason", "remedy")}
    facts |= {"run": run_id, "started_at": started, "seconds": seconds}
    if facts["outcome"] == Outcome.FAILED:  # because of the source itself, not of the run
        facts["rejected_in"] = run_id
    try:
        return state.update(settings.load(), source, stage, **facts)
    except OSError as error:
        raise as_source_error(error) from None


def as_source_error(error: Exception) -> SourceError:
    """Return any error as one that a person can act on.

    An unexpected error leaves its traceback in the log. A full disk, and every other error that
    ends the whole run, is raised instead.
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
    """Return the error that ends the run, for an error of the file system in the run itself."""
    try:
        return PipelineError(as_source_error(error).what)
    except PipelineError as raised:
        return raised


def line(source: str, facts: dict) -> str:
    """Return the result of a step on one line."""
    parts = [f"{source}: {facts['outcome']}"]
    parts += [
        f"{facts[name]:,} {name}" for name in ("rows", "bytes") if facts.get(name) is not None
    ]
    parts += [facts[name] for name in ("reason", "remedy") if facts.get(name)]
    return escaped(", ".join(parts), LONGEST_LINE)
