"""What follows a night: the report page, a message to people, the heartbeat.

It runs in a process of its own with a time limit, so that nothing in it changes how a night ended.
`python -m pipeline.cli.aftermath CODE` prints what could not be done, one sentence per line. With
`--not-begun` it only tells people: the night stopped before it touched anything.
"""

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from pipeline import database, exports, report, settings
from pipeline.cli import last_night
from pipeline.errors import FAILED, OK, BusyError, PipelineError
from pipeline.notify import heartbeat, message, send
from pipeline.report import page
from pipeline.report.facts import Facts
from pipeline.settings import Settings

STOPPED = 128  # exit codes from here on are those of signals
NOT_BEGUN = "--not-begun"
SECONDS = 120  # for all of it; the charts of new data take most


def of_night(night: Callable[[], int]) -> int:
    """Run a night between two heartbeats, and tell people how it ended; returns its exit code.

    A night that did not begin because another run is in progress is not reported: that one will
    be. One that was stopped by a signal ends at once.
    """
    begin()
    try:
        code = night()
    except BusyError:
        raise
    except PipelineError as error:
        follow(error.exit_code, has_begun=False)
        raise
    if code < STOPPED:
        follow(code)
    return code


def begin() -> None:
    """Send the heartbeat of the start, without waiting for the response."""
    try:
        here = settings.load()
    except PipelineError:  # the night is about to say so
        return
    threading.Thread(target=heartbeat.ping, args=(here, "start"), daemon=True).start()


def follow(code: int, has_begun: bool = True) -> None:
    """Write the page and tell people, in a process of its own; print what could not be done."""
    command = [sys.executable, "-m", "pipeline.cli.aftermath", str(code)]
    command += [] if has_begun else [NOT_BEGUN]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS
        )
        lines = done.stdout.splitlines()
        if done.returncode:
            said = done.stderr.splitlines() or [f"it ended with code {done.returncode}"]
            lines.append(f"the report page and the messages failed: {said[-1]}")
    except subprocess.TimeoutExpired:
        lines = [f"the report page and the messages took more than {SECONDS} seconds"]
    except OSError as error:
        lines = [f"the report page cannot be written: {error.strerror}"]
    for line in lines:
        print(f"after the night: {settings.redact(line)}", file=sys.stderr)


def main(here: Settings, code: int, has_begun: bool = True) -> list[str]:
    """Write the page and the downloads, and tell people; returns what could not be done.

    has_begun: False leaves the page, the downloads and the database alone.
    """
    facts, failures = write(here) if has_begun else (Facts(datetime.now(UTC)), [])
    if facts is None:
        return failures + _ping(here, code, "")
    nights = last_night.newest(here)
    error = nights[0].reason if nights else ""
    with ThreadPoolExecutor() as together:  # the slower of the two sets the time
        messages = together.submit(_tell, here, facts, code, error)
        pinged = together.submit(_ping, here, code, report.facts.summary(facts))
        return failures + messages.result() + pinged.result()


def write(here: Settings) -> tuple[Facts | None, list[str]]:
    """Write the report page and the downloads; returns what the page shows, and what failed.

    Whatever goes wrong with one of them, the others are done.
    """
    failures: list[str] = []
    facts = None
    try:
        facts, drawings = report.collect(here)
        report.write(here, facts, drawings)
    except Exception as error:  # noqa: BLE001 - whatever it is
        failures.append(f"the report page cannot be written: {_reason(error)}")
    if facts and not facts.database_error:
        try:
            with database.connect(here, patience=database.GLANCE) as connection:
                exports.write(here, connection)
        except Exception as error:  # noqa: BLE001 - whatever it is
            failures.append(f"the downloads are unchanged: {_reason(error)}")
    return facts, failures


def show() -> int:
    """`./run_pipeline.sh report`: write the page and the downloads, print where they are."""
    here = settings.load()
    facts, failures = write(here)
    if facts:
        print(page.path(here))
    if (here.data_dir / exports.folder.NAME).is_dir():
        print(here.data_dir / exports.folder.NAME)
    for sentence in failures:
        print(sentence, file=sys.stderr)
    return FAILED if failures else OK


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {database.one_line(error)}"


def _tell(here: Settings, facts: Facts, code: int, error: str) -> list[str]:
    now = datetime.now(UTC)
    due = message.due(here, facts, code, error, now)
    if due is None:
        return []
    delivery = send.deliver(here, due)
    if delivery.delivered or not here.notify_urls:  # one dead channel must not repeat the others
        message.record(here, facts, code, now)
    return delivery.failures


def _ping(here: Settings, code: int, summary: str) -> list[str]:
    failure = heartbeat.ping(here, heartbeat.of_code(code), summary)
    return [failure] if failure else []


if __name__ == "__main__":
    for sentence in main(settings.load(), int(sys.argv[1]), NOT_BEGUN not in sys.argv):
        print(sentence)
