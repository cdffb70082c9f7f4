"""`./run_pipeline.sh db …`: the dev database for a person's own use."""

import os
import sys

from psycopg import conninfo

from pipeline import database, embedded, errors, settings
from pipeline.embedded.programs import program
from pipeline.errors import SetupError
from pipeline.prod import connection as prod

ACTIONS = ("url", "psql", "start", "stop")
_EMBEDDED_ONLY = "the database is the server of DATABASE_URL; its administrator starts and stops it"


def run(
    action: str, arguments: list[str], of_prod: bool = False, unless_stopped: bool = False
) -> int:
    """Do one of ACTIONS; `arguments` are those of psql. Returns the exit code, except for psql.

    unless_stopped: `start` does nothing after `stop`, until somebody starts the server.
    """
    here = settings.load()
    if action in ("url", "psql"):
        url = prod.url(here) if of_prod else database.url(here, _say)
        if action == "url":
            print(url)
        else:
            _become_psql(url, arguments)
    elif here.database_url:
        raise SetupError(_EMBEDDED_ONLY)
    elif action == "start" and unless_stopped:
        url = embedded.keep_up(here, _say)
        print(f"running: {url}" if url else "stopped, and cron does not start it")
    elif action == "start":
        print(f"running: {database.url(here, _say)}")
    else:
        print("stopped" if embedded.stop(here) else "it was not running")
        _say("It stays down until ./run_pipeline.sh db start or the next run.")
    return errors.OK


def _become_psql(url: str, arguments: list[str]) -> None:
    psql = program("psql")
    sys.stdout.flush()
    environment = database.environment(conninfo.conninfo_to_dict(url))
    os.execve(psql, ["psql", *arguments], environment)  # noqa: S606 - no shell is needed


def _say(text: str) -> None:
    print(text, file=sys.stderr)
