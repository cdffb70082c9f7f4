"""`./run_pipeline.sh db …`: the dev database for a person's own use."""

import os
import sys

from psycopg import conninfo

from pipeline import database, embedded, errors, prod, settings
from pipeline.embedded.programs import program
from pipeline.errors import SetupError

ACTIONS = ("url", "psql", "start", "stop")
_EMBEDDED_ONLY = "the database is the server of DATABASE_URL; whoever runs it starts and stops it"


def run(action: str, words: list[str], of_prod: bool = False, unless_stopped: bool = False) -> int:
    """Do one of ACTIONS; `words` are psql's own. Returns the exit code; psql does not return.

    unless_stopped: `start` is to do nothing after `stop`, until somebody starts the server.
    """
    here = settings.load()
    if action in ("url", "psql"):
        address = prod.url(here) if of_prod else database.url(here, _say)
        if action == "url":
            print(address)
        else:
            _become_psql(address, words)
    elif here.database_url:
        raise SetupError(_EMBEDDED_ONLY)
    elif action == "start" and unless_stopped:
        address = embedded.keep_up(here, _say)
        print(f"running: {address}" if address else "stopped, and cron does not start it")
    elif action == "start":
        print(f"running: {database.url(here, _say)}")
    else:
        print("stopped" if embedded.stop(here) else "it was not running")
        _say("It stays down until ./run_pipeline.sh db start or the next run.")
    return errors.OK


def _become_psql(address: str, words: list[str]) -> None:
    given = conninfo.conninfo_to_dict(address)
    psql = program("psql")
    sys.stdout.flush()
    environment = database.environment(given)
    os.execve(psql, ["psql", *words], environment)  # noqa: S606 - no shell stands between


def _say(text: str) -> None:
    print(text, file=sys.stderr)
