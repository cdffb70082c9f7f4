"""The command line behind `./run_pipeline.sh`."""

import argparse
import itertools
import os
import sys

from pipeline import errors, settings
from pipeline.errors import PipelineError
from pipeline.stages import load, script, transform
from pipeline.text import wrapped

USAGE = """\
  ./run_pipeline.sh                     run the whole night
  ./run_pipeline.sh STAGE [SOURCE …]    run one stage, for all or some sources
      stages: {stages}
  ./run_pipeline.sh status              show what readers have, how old it is,
                                        and what needs attention
  ./run_pipeline.sh doctor              find what would stop tonight's run
                                        (--offline: contact no publisher)
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
  ./run_pipeline.sh drill [SOURCE …]    rehearse a bad night in a scratch
                                        folder (--keep keeps the folder)
  ./run_pipeline.sh db url|psql|start|stop
                                        use the dev database, or prod (--prod):
                                        db psql -- -c 'select 1'
  ./run_pipeline.sh report              write the report page and the downloads
  ./run_pipeline.sh notify --test       try NOTIFY_URLS and HEARTBEAT_URL
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

# Options without a value: the command that takes each, and what it does there.
FLAGS = {
    "--if-missed": ("night", "run only if no night ended within the last 24 hours"),
    "--header": ("accept", "the first line of the file is its header, although it looks like data"),
    "--keep": ("drill", "keep the scratch folder"),
    "--prod": ("db", "use database prod instead of dev"),
    "--unless-stopped": ("db", "start does nothing after `db stop` (for cron)"),
    "--test": ("notify", "send a test message"),
    "--list": ("publish", "list the dumps that prod can return to"),
    "--resume": ("publish", "update a pinned prod again"),
    "--take-over": ("publish", "make prod the copy of this dev database instead of another one"),
    "--dry-run": ("publish", "show what publish would change, and change nothing"),
    "--audit": ("publish", "check what the public may do in prod"),
}


SIMPLE = ("status", "doctor", "cron", "report", "sync", "notify")  # they take no names


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
    for line in wrapped(f"run_pipeline.sh: {error}", sys.stderr.isatty()):
        print(line, file=sys.stderr)
    return error.exit_code


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Separate our arguments from those after `--`, which belong to psql.

    The generation after `--rollback` is optional: an argument that is not a number is not one.
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
        usage="./run_pipeline.sh [COMMAND] [NAME …] [OPTION …]; --help lists them all",
        description=USAGE.format(stages=", ".join(stages)),
        epilog=EXITS,
        allow_abbrev=False,  # `--roll` must not mean `--rollback`
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", default="night", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", help=argparse.SUPPRESS)
    script.add_options(parser)
    load.add_options(parser)
    transform.add_options(parser)
    publish = parser.add_mutually_exclusive_group()
    publish.add_argument(
        "--rollback",
        metavar="GENERATION",
        nargs="?",
        type=int,
        const=0,
        help="for `publish`: restore a dump (by default the one before the current) and pin prod "
        "to it",
    )
    for flag, (command, text) in FLAGS.items():
        group = publish if command == "publish" else parser
        group.add_argument(flag, action="store_true", help=f"for `{command}`: {text}")
    return parser


def _command(parser, stages: list[str], options, passed_on: list[str]) -> int:
    command, names = options.command, options.names
    _refuse_misplaced(parser, options)
    if command in ("night", "accept", "drill", *stages):
        return _of_sources(parser, stages, options)
    if command == "db" and len(names) == 1:
        from pipeline.cli import db

        if names[0] in db.ACTIONS:
            return db.run(names[0], passed_on, options.prod, options.unless_stopped)
    if command in SIMPLE and not names:
        return _simple(parser, command, options)
    parser.error(f"there is no command {' '.join([command, *names])}")
    return errors.USAGE


def _simple(parser: argparse.ArgumentParser, command: str, options) -> int:
    """Run a command that takes no names; each imports only what it needs."""
    if command == "status":
        from pipeline.cli import status

        return status.show()
    if command == "doctor":
        from pipeline.cli import doctor

        return doctor.check(options.offline)
    if command == "cron":
        from pipeline.cli import cron

        return cron.show()
    if command == "report":
        from pipeline.cli import aftermath

        return aftermath.show()
    if command == "sync":
        from pipeline.cli import sync

        return sync.run()
    from pipeline.cli import notify

    return notify.test() if options.test else parser.error("notify needs --test")


def _refuse_misplaced(parser: argparse.ArgumentParser, options) -> None:
    """Refuse options of other commands, which would be silently ignored."""
    allowed = {flag: (command,) for flag, (command, _) in FLAGS.items() if command != "night"}
    allowed |= {"--allow-older": ("night", "load"), "--rollback": ("publish",)}
    allowed |= dict.fromkeys(("--accept-contract", "--accept-rows"), ("night", "transform"))
    for flag, commands in allowed.items():
        value = getattr(options, flag.removeprefix("--").replace("-", "_"))
        is_given = value is not None and value is not False and value != []
        if is_given and options.command not in commands:
            parser.error(f"{flag} is an option of {' or '.join(commands)}")
    if options.unless_stopped and [options.command, *options.names] != ["db", "start"]:
        parser.error("--unless-stopped is an option of db start")
    if options.command == "publish" and options.names:
        parser.error("publish takes no source names: it copies all published tables")


def _of_sources(parser, stages: list[str], options) -> int:
    """Run a command that takes source names."""
    command, names, sources = options.command, options.names, settings.sources()
    if unknown := [name for name in names if name not in sources]:
        known = f"the sources are {', '.join(sources)}" if sources else settings.NO_SOURCES
        parser.error(f"there is no source {unknown[0]}; {known}")
    if command == "accept":
        if not names:
            parser.error("accept needs the name of a source")
        from pipeline.cli import accept

        return accept.run(names, options.header)
    if command == "drill":
        from pipeline.drill import command as drill

        return drill.run(names or sources, keep=options.keep, offline=options.offline)
    return _of_stages(parser, stages, options, names or sources)


def _of_stages(parser, stages: list[str], options, names: list[str]) -> int:
    """Run a night, or one stage."""
    for model in (*options.accept_contract, *options.accept_rows):
        if not transform.has_model(model):
            parser.error(f"there is no model {model}")
    if options.command == "publish":
        from pipeline.cli import prod

        if (code := prod.run(options)) is not None:
            return code
    from pipeline.cli import aftermath, last_night, night

    if options.if_missed and not last_night.was_missed():
        print("no night was missed: the last one ended within 24 hours")
        return errors.OK
    if options.command == "night":
        return aftermath.of_night(lambda: night.run(stages, names, options))
    return night.run([options.command], names, options)


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
