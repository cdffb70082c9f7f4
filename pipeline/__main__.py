"""The command line behind `./run_pipeline.sh`."""

import argparse
import itertools
import os
import sys

from pipeline import errors, settings
from pipeline.errors import PipelineError
from pipeline.stages import load, script, transform

USAGE = """
  ./run_pipeline.sh                          the whole night
  ./run_pipeline.sh STAGE [SOURCE …]         one stage ({stages}), every source or those named
  ./run_pipeline.sh status                   what readers have now, how old, and what is not well
  ./run_pipeline.sh doctor                   what would stop tonight's run, with the remedy
                                             (--offline: without asking the publishers)
  ./run_pipeline.sh accept SOURCE            accept a rejected snapshot: few rows,
                                             other columns, a shorter last row (--header)
  ./run_pipeline.sh load SOURCE --allow-older
                                             load an older or bundled snapshot over newer rows
  ./run_pipeline.sh transform --accept-contract MODEL
                                             let the columns of a published table change, once
  ./run_pipeline.sh transform --accept-rows MODEL
                                             let a published table lose most of its rows, once
  ./run_pipeline.sh publish --list | --rollback [GENERATION] | --resume | --dry-run | --audit
                            | --take-over    prod: go back to a dump, follow again, look, try it,
                                             make it the copy of this dev database
  ./run_pipeline.sh drill [SOURCE …]         try sources against a world that misbehaves (--keep)
  ./run_pipeline.sh db url|psql|start|stop   the dev database: `db psql -- -c 'select 1'`; with
                                             `--prod` the public one
  ./run_pipeline.sh cron                     the crontab lines for this machine
  .venv/bin/python api/SOURCE.py             one script by hand
"""
EXITS = """
exit codes: 0 all is fresh and published; 2 finished, but a source is kept, bundled or missing, a
table is held, or prod is behind; 1 failed; 64 wrong usage; 75 another run is in progress; 78 a
setting, permission or program is missing; 129, 130, 143 stopped by a signal
"""


def main() -> int:
    """Do what the command line says; returns the exit code."""
    stages = os.environ.get("STAGES", "").split()
    parser = _parser(stages)
    words, passed_on = _split(sys.argv[1:])
    options = script.parse_with(parser, words)
    if options.command in words:
        words.remove(options.command)
    sys.argv[1:] = [options.command, *words]  # as the ledger tells nights from other runs
    try:
        return _command(parser, stages, options, passed_on)
    except PipelineError as error:
        return _told(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _told(script.ends_run(error))


def _told(error: PipelineError) -> int:
    print(f"run_pipeline.sh: {error}", file=sys.stderr)
    return error.exit_code


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """What stands after `--` belongs to another program.

    A generation is optional after `--rollback`: what is no number there is a name.
    """
    at = words.index("--") if "--" in words else len(words)
    own = words[:at]
    for number, (word, following) in enumerate(itertools.pairwise(own)):
        if word == "--rollback" and not following.isdecimal():
            own[number] = f"{word}=0"
    return own, words[at + 1 :]


def _parser(stages: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run_pipeline.sh",
        usage=USAGE.format(stages=", ".join(stages)),
        epilog=EXITS,
        allow_abbrev=False,  # `--roll` is no `--rollback`
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", default="night", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", help=argparse.SUPPRESS)
    script.add_options(parser)
    parser.add_argument(
        "--if-missed", action="store_true", help="only if no night ended within 24 hours"
    )
    parser.add_argument(
        "--header",
        action="store_true",
        help="of `accept`: the first line of the file is its header, though it looks like a row",
    )
    parser.add_argument("--keep", action="store_true", help="keep what a drill leaves behind")
    parser.add_argument("--prod", action="store_true", help="of `db`: the database prod")
    parser.add_argument(
        "--unless-stopped",
        action="store_true",
        help="of `db start`, for cron: not after `db stop`, until somebody starts it",
    )
    load.add_options(parser)
    transform.add_options(parser)
    _add_options_of_publish(parser)
    return parser


def _add_options_of_publish(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("of stage publish").add_mutually_exclusive_group()
    group.add_argument("--list", action="store_true", help="the dumps that prod can go back to")
    group.add_argument(
        "--rollback",
        metavar="GENERATION",
        nargs="?",
        type=int,
        const=0,
        help="put a dump back, the one before prod's or the one named, and pin prod to it",
    )
    group.add_argument("--resume", action="store_true", help="let a pinned prod follow again")
    group.add_argument(
        "--take-over",
        action="store_true",
        help="replace a prod that is the copy of another dev database, from now on",
    )
    group.add_argument("--dry-run", action="store_true", help="what publish would change")
    group.add_argument("--audit", action="store_true", help="try what the public may do in prod")


def _command(parser, stages: list[str], options, passed_on: list[str]) -> int:
    command, names = options.command, options.names
    _refuse_misplaced(parser, options)
    if command in ("night", "accept", "drill", *stages):
        return _of_sources(parser, stages, options)
    if command == "db" and len(names) == 1:
        from pipeline.cli import db

        if names[0] in db.ACTIONS:
            return db.run(names[0], passed_on, options.prod, options.unless_stopped)
    if command in ("status", "doctor", "cron") and not names:
        if command == "status":
            from pipeline.cli import status

            return status.show()
        from pipeline.cli import cron, doctor

        return doctor.check(options.offline) if command == "doctor" else cron.show()
    parser.error(f"no such command: {' '.join([command, *names])}")
    return errors.USAGE


def _refuse_misplaced(parser: argparse.ArgumentParser, options) -> None:
    """An option that a command does not know would be passed over in silence."""
    places = {"keep": ("drill",), "prod": ("db",), "accept_contract": ("night", "transform")}
    places |= {"allow_older": ("night", "load"), "header": ("accept",)}
    places["accept_rows"] = places["accept_contract"]
    of_publish = ("list", "rollback", "resume", "take_over", "dry_run", "audit")
    places |= dict.fromkeys(of_publish, ("publish",))
    for name, commands in places.items():
        value = getattr(options, name)
        is_given = value is not None and value is not False and value != []
        if is_given and options.command not in commands:
            parser.error(f"--{name.replace('_', '-')} belongs to {' or '.join(commands)}")
    if options.unless_stopped and [options.command, *options.names] != ["db", "start"]:
        parser.error("--unless-stopped belongs to db start")
    if options.command == "publish" and options.names:
        parser.error("publish takes no names of sources: it brings over all that is published")


def _of_sources(parser, stages: list[str], options) -> int:
    """The commands that take names of sources."""
    command, names, known = options.command, options.names, settings.sources()
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no source is called {unknown[0]}; there are {', '.join(known)}")
    if command == "accept":
        if not names:
            parser.error("accept what? name the source")
        from pipeline.cli import accept

        return accept.run(names, options.header)
    if command == "drill":
        from pipeline.drill import command as drill

        return drill.run(names or known, keep=options.keep, offline=options.offline)
    for model in (*options.accept_contract, *options.accept_rows):
        if not transform.has_model(model):
            parser.error(f"{model}: stage transform has no such model")
    if command == "publish":
        from pipeline.cli import prod

        if special := prod.chosen(options):
            return special()
    from pipeline.cli import last_night, night

    if options.if_missed and not last_night.was_missed():
        print("nothing was missed: a night ended within the last 24 hours")
        return errors.OK
    return night.run(stages if command == "night" else [command], names or known, options)


if __name__ == "__main__":
    if sys.stdout is None:  # closed by whoever started this
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - held until the process ends
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads on: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = errors.OK
    sys.exit(code)
