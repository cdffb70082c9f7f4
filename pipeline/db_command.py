"""`./run_pipeline.sh db …`: the dev database for a person's own use."""

import os
import shutil
import sys

from pipeline import database, errors, settings
from pipeline.errors import SetupError
from pipeline.settings import Settings

ACTIONS = ("url", "psql", "start", "stop")
_EMBEDDED_ONLY = "the database is the server of DATABASE_URL; whoever runs it starts and stops it"
# libpq's words by the variables psql reads them from: a password has no place on a command line.
_VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "channel_binding": "PGCHANNELBINDING",
    "options": "PGOPTIONS",
}


def run(action: str, words: list[str]) -> int:
    """Do one of ACTIONS; `words` are psql's own. Returns the exit code; psql does not return."""
    here = settings.load()
    if action == "url":
        print(database.url(here, _say))
    elif action == "psql":
        _become_psql(here, words)
    elif here.database_url:
        raise SetupError(_EMBEDDED_ONLY)
    elif action == "start":
        print(f"running: {database.url(here, _say)}")
    else:
        from pipeline import postgres

        print("stopped" if postgres.stop(here) else "it was not running")
    return errors.OK


def _become_psql(here: Settings, words: list[str]) -> None:
    given = database.parts(here, _say)
    environment = os.environ | {_VARIABLES[w]: v for w, v in given.items() if w in _VARIABLES}
    program = _psql()
    sys.stdout.flush()
    os.execve(program, ["psql", *words], environment)  # noqa: S606 - no shell stands between


def _psql() -> str:
    from pipeline import postgres

    try:
        return str(postgres.binaries() / "psql")
    except SetupError:
        found = shutil.which("psql")
        if not found:
            raise
        return found


def _say(text: str) -> None:
    print(text, file=sys.stderr)
