"""What an error of PostgreSQL means for the run, for one source, or for a setting."""

import re

import psycopg

from pipeline.errors import PipelineError, SetupError, SourceError
from pipeline.settings import redact
from pipeline.text import printable

# How libpq rejects a value before it connects, and a server a role that may not log in. Waiting
# does not help, and no server is down.
_UNUSABLE = re.compile(
    r"invalid (\"?\w+\"? value|integer value|port number|SCRAM \w+ key)|could not match \d+ "
    r"|file \"[^\"]*\" does not exist|could not (open|read|load) [^:]*(certificate|key) file"
    r"|no pg_hba\.conf entry|not permitted to log in"
)


def explain(error: psycopg.Error, what: str) -> PipelineError:
    """An error of the database as one line that a person can act on; `what` says what failed.

    A SourceError when it is about the data or the SQL of one source, else an error that ends the
    run.
    """
    message = f"{what}: {one_line(error)}"
    if isinstance(error, psycopg.errors.DiskFull):
        return PipelineError(f"{message} (the database's disk is full)", "make room")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return SetupError(message, "grant it to the role of DATABASE_URL")
    # Classes 40 (a deadlock), 54 (such as a row that is too wide) and 55 (a lock) are
    # OperationalErrors too.
    of_server = isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
    if of_server and (error.sqlstate or "")[:2] not in ("40", "54", "55"):
        return PipelineError(message, "check that the server runs and has room")
    return SourceError(message, "the old rows stay")


def explain_refusal(error: psycopg.OperationalError, setting: str) -> PipelineError | None:
    """The error to raise when a connection failed because of a setting; None when it did not."""
    text = one_line(error)
    if _UNUSABLE.search(text):
        what = f"{setting} cannot be used: {text}"
        return SetupError(what, f"correct it in {setting}; see .env.example")
    if re.search(r'(database|role) "[^"]*" does not exist', text):
        remedy = f"create it, or correct it in {setting}"
        return PipelineError(f"the database cannot be reached: {text}", remedy)
    if "permission denied for database" in text:
        return SetupError(text, f"grant connect on that database to the role of {setting}")
    if "password authentication failed" in text:
        remedy = f"correct it in {setting}; special characters in it are percent-encoded"
        return SetupError(f"the password in {setting} is wrong: {text}", remedy)
    if "no password supplied" in text:
        remedy = f"write it into {setting}, as postgresql://user:password@host/database"
        return SetupError(f"{setting} has no password, and the server asks for one", remedy)
    return None


def is_lost(error: psycopg.Error) -> bool:
    """Whether the connection or the server went away, so that another attempt may succeed."""
    if isinstance(error, psycopg.OperationalError):
        return (error.sqlstate or "08")[:2] in ("08", "57")
    return isinstance(error, psycopg.InterfaceError)


def one_line(error: Exception | str) -> str:
    """A server's message without line breaks, passwords and control characters."""
    text = redact(" ".join(str(error).split()))
    return printable(text)[:1000]
