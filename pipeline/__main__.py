"""The command line behind `./run_pipeline.sh`."""

import argparse
import itertools
import os
import sys

from pipeline import errors, settings
from pipeline.errors import PipelineError
from pipeline.stages import load, script, transform

USAGE = """
  ./run_pipeline.sh                     run the whole night
  ./run_pipeline.sh STAGE [SOURCE …]    run one stage, for all or some sources
      stages: {stages}
  ./run_pipeline.sh status              show what readers have, how old it is,
                                        and what needs attention
  ./run_pipeline.sh doctor              find what would stop tonight's run
                                        (--offline: without the publishers)
  ./run_pipeline.sh accept SOURCE       accept a rejected snapshot: few rows,
                                        other columns, a shorter last row
                                        (--header)
  ./run_pipeline.sh load SOURCE --allow-older
                                        load an older or bundled snapshot
                                        over newer rows
  ./run_pipeline.sh transform --accept-contract MODEL
                                        let the columns of a published table
                                        change, once
  ./run_pipeline.sh transform --accept-rows MODEL
                                        let a published table lose most of
                                        its rows, once
  ./run_pipeline.sh publish --list      list the dumps of the published tables
  ./run_pipeline.sh publish --rollback [GENERATION]
                                        restore a dump in prod and pin prod
                                        to it
  ./run_pipeline.sh publish --resume    update a pinned prod again
  ./run_pipeline.sh publish --dry-run   show what publish would change
  ./run_pipeline.sh publish --audit     check what the public may do in prod
  ./run_pipeline.sh publish --take-over make prod the copy of this dev database
  ./run_pipeline.sh drill [SOURCE …]    rehearse with a server that misbehaves
                                        (--keep)
  ./run_pipeline.sh db url|psql|start|stop
                                        use the dev database, or prod (--prod):
                                        db psql -- -c 'select 1'
  ./run_pipeline.sh sync                pass descriptions on to dbt, after a
                                        change in load/ or of a mart's columns
  ./run_pipeline.sh cron                print the crontab lines
  .venv/bin/python api/SOURCE.py        run one script
"""
EXITS = """
exit codes:
  0   everything is fresh and published
  1   failed
  2   finished, but a source is kept, bundled or missing, a table is held, or
      prod is behind
  64  wrong usage
  75  another run is in progress
  78  a setting, permission or program is missing
  129, 130, 143  stopped by a signal
"""


def main() -> int:
    """Run the command and return the exit code."""
    stages = os.environ.get("STAGES", "").split()
    parser = _parser(stages)
    arguments, passed_on = _split(sys.argv[1:])
    options = script.parse_with(parser, arguments)
    if options.command in arguments:
        arguments.remove(options.command)
    sys.argv[1:] = [options.command, *arguments]  # the ledger records it: a night or another run
    try:
        return _command(parser, stages, options, passed_on)
    except PipelineError as error:
        return _report(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _report(script.ends_run(error))


def _report(error: PipelineError) -> int:
    print(f"run_pipeline.sh: {error}", file=sys.stderr)
    return error.exit_code


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Separate our arguments from those after `--`, which belong to another program.

    The generation after `--rollback` is optional: an argument that is not a number is a name.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    own = arguments[:end]
    for index, (argument, following) in enumerate(itertools.pairwise(own)):
        if argument == "--rollback" and not following.isdecimal():
            own[index] = f"{argument}=0"
    return own, arguments[end + 1 :]


def _parser(stages: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run_pipeline.sh",
        usage=USAGE.format(stages=", ".join(stages)),
        epilog=EXITS,
        allow_abbrev=False,  # `--roll` must not mean `--rollback`
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", default="night", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", help=argparse.SUPPRESS)
    script.add_options(parser)
    parser.add_argument(
        "--if-missed",
        action="store_true",
        help="run only if no night ended within the last 24 hours",
    )
    parser.add_argument(
        "--header",
        action="store_true",
        help="for `accept`: the first line of the file is its header, although it looks like a row",
    )
    parser.add_argument("--keep", action="store_true", help="for `drill`: keep the scratch folder")
    parser.add_argument("--prod", action="store_true", help="for `db`: use the database prod")
    parser.add_argument(
        "--unless-stopped",
        action="store_true",
        help="for `db start`: do nothing after `db stop` (for cron)",
    )
    load.add_options(parser)
    transform.add_options(parser)
    _add_options_of_publish(parser)
    return parser


def _add_options_of_publish(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("options of stage publish").add_mutually_exclusive_group()
    group.add_argument("--list", action="store_true", help="list the dumps that prod can return to")
    group.add_argument(
        "--rollback",
        metavar="GENERATION",
        nargs="?",
        type=int,
        const=0,
        help="restore a dump in prod (default: the one before the current) and pin prod to it",
    )
    group.add_argument("--resume", action="store_true", help="update a pinned prod again")
    group.add_argument(
        "--take-over",
        action="store_true",
        help="make prod the copy of this dev database, not of another one",
    )
    group.add_argument("--dry-run", action="store_true", help="show what publish would change")
    group.add_argument("--audit", action="store_true", help="check what the public may do in prod")


def _command(parser, stages: list[str], options, passed_on: list[str]) -> int:
    command, names = options.command, options.names
    _refuse_misplaced(parser, options)
    if command in ("night", "accept", "drill", *stages):
        return _of_sources(parser, stages, options)
    if command == "db" and len(names) == 1:
        from pipeline.cli import db

        if names[0] in db.ACTIONS:
            return db.run(names[0], passed_on, options.prod, options.unless_stopped)
    if command in ("status", "doctor", "cron", "sync") and not names:
        if command == "status":
            from pipeline.cli import status

            return status.show()
        if command == "sync":
            from pipeline.cli import sync

            return sync.run()
        from pipeline.cli import cron, doctor

        return doctor.check(options.offline) if command == "doctor" else cron.show()
    parser.error(f"there is no command {' '.join([command, *names])}")
    return errors.USAGE


def _refuse_misplaced(parser: argparse.ArgumentParser, options) -> None:
    """Refuse options of other commands; they would be silently ignored."""
    allowed = {"keep": ("drill",), "prod": ("db",), "accept_contract": ("night", "transform")}
    allowed |= {"allow_older": ("night", "load"), "header": ("accept",)}
    allowed["accept_rows"] = allowed["accept_contract"]
    of_publish = ("list", "rollback", "resume", "take_over", "dry_run", "audit")
    allowed |= dict.fromkeys(of_publish, ("publish",))
    for name, commands in allowed.items():
        value = getattr(options, name)
        is_given = value is not None and value is not False and value != []
        if is_given and options.command not in commands:
            parser.error(f"--{name.replace('_', '-')} is an option of {' or '.join(commands)}")
    if options.unless_stopped and [options.command, *options.names] != ["db", "start"]:
        parser.error("--unless-stopped is an option of db start")
    if options.command == "publish" and options.names:
        parser.error("publish takes no source names: it copies all published tables")


def _of_sources(parser, stages: list[str], options) -> int:
    """Run a command that takes source names."""
    command, names, known = options.command, options.names, settings.sources()
    if unknown := [name for name in names if name not in known]:
        there = f"the sources are {', '.join(known)}" if known else settings.NO_SOURCES
        parser.error(f"there is no source {unknown[0]}; {there}")
    if command == "accept":
        if not names:
            parser.error("accept needs the name of a source")
        from pipeline.cli import accept

        return accept.run(names, options.header)
    if command == "drill":
        from pipeline.drill import command as drill

        return drill.run(names or known, keep=options.keep, offline=options.offline)
    for model in (*options.accept_contract, *options.accept_rows):
        if not transform.has_model(model):
            parser.error(f"there is no model {model}")
    if command == "publish":
        from pipeline.cli import prod

        if special := prod.chosen(options):
            return special()
    from pipeline.cli import last_night, night

    if options.if_missed and not last_night.was_missed():
        print("no night was missed: the last one ended within 24 hours")
        return errors.OK
    return night.run(stages if command == "night" else [command], names or known, options)


if __name__ == "__main__":
    if sys.stdout is None:  # the parent process closed it
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - stays open until the process ends
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader is gone: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = errors.OK
    sys.exit(code)
