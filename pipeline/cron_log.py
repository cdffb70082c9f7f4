"""Run a command for cron: its output goes into a log with dates, and to cron only if it matters.

    python3 pipeline/cron_log.py LOG COMMAND [ARGUMENT …]

Cron mails what a job prints. A command that ends with 0 prints nothing; another one prints its
summary: what follows the line "Needs attention", or its last lines. The log is rotated. Needs
nothing but Python, so that it also tells of an environment that cannot be made.
"""

import logging
import signal
import subprocess
import sys
from logging.handlers import RotatingFileHandler

LARGEST_LOG = 1_000_000  # bytes
KEPT_LOGS = 5
SUMMARY_STARTS = "Needs attention"
LAST_LINES = 20  # of the output, where it has no summary
LONGEST_SUMMARY = 200  # lines


def main(log: str, command: list[str]) -> int:
    """Run the command; returns its exit code, or 128 and the number of the signal that ended it."""
    logger = logging.getLogger("cron")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.raiseExceptions = False  # a full disk must not stop the night
    try:
        handler: logging.Handler = RotatingFileHandler(
            log, maxBytes=LARGEST_LOG, backupCount=KEPT_LOGS, encoding="utf-8"
        )
    except OSError as error:
        print(f"{log} cannot be written ({error.strerror}); the command runs without it")
        handler = logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logger.addHandler(handler)
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: running.send_signal(received))
    assert running.stdout
    lines = []
    for line in running.stdout:
        logger.info("%s", line.rstrip("\n"))
        lines.append(line)
        del lines[: -10 * LONGEST_SUMMARY]
    code = running.wait()
    if code:
        print("".join(summary(lines)), end="")
    return code if code >= 0 else 128 - code


def summary(lines: list[str]) -> list[str]:
    """The lines from "Needs attention" on, or the last ones."""
    starts = [index for index, line in enumerate(lines) if line.strip() == SUMMARY_STARTS]
    return (lines[starts[-1] :] if starts else lines[-LAST_LINES:])[:LONGEST_SUMMARY]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
