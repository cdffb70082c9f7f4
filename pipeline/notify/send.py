"""Delivery of messages by Apprise, in a process of its own that ends after a few seconds.

`python -m pipeline.notify.send` reads a message as JSON. It writes one JSON list per line: first
the kinds of the channels, then the number of each one that is done, and why it failed (or "").
"""

import json
import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from pipeline import settings
from pipeline.notify.message import Message
from pipeline.settings import Settings

SECONDS = 8


class Delivery(NamedTuple):
    """How many channels took a message, and why the others did not, one sentence each."""

    delivered: int
    failures: list[str]


def deliver(here: Settings, message: Message) -> Delivery:
    """Send a message to all of NOTIFY_URLS side by side; a silent one does not delay the others."""
    if not here.notify_urls:
        return Delivery(0, [])
    text = json.dumps({"title": message.title, "body": settings.redact(message.body)})
    command = [sys.executable, "-m", "pipeline.notify.send"]
    reason = f"no response within {SECONDS} seconds"
    try:
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=SECONDS)
        output = done.stdout
        if done.returncode:
            reason = (done.stderr.decode("utf-8", "replace").strip().splitlines() or [reason])[-1]
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
    lines = [json.loads(line) for line in output.splitlines(keepends=True) if line[-1:] == b"\n"]
    if not lines:
        return Delivery(0, [settings.redact(f"NOTIFY_URLS: {reason}")])
    kinds, *results = lines
    reasons = dict(results)
    # Only the kind of a channel is named: the rest of its address is a secret.
    failures = [
        settings.redact(f"NOTIFY_URLS, number {number} ({kind}): {reasons.get(number, reason)}")
        for number, kind in enumerate(kinds, 1)
        if reasons.get(number, reason)
    ]
    return Delivery(len(kinds) - len(failures), failures)


def main() -> int:
    """Send the message on standard input to all channels; report each as it is done."""
    import apprise
    from apprise.utils.parse import parse_urls

    message = json.load(sys.stdin)
    warnings: dict[int, str] = {}  # the last one of each thread
    printing = threading.Lock()

    class Remember(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warnings[threading.get_ident()] = record.getMessage()

    logger = logging.getLogger("apprise")
    logger.addHandler(Remember(logging.WARNING))
    logger.propagate = False

    def report(line: list) -> None:
        with printing:
            print(json.dumps(line), flush=True)

    def send(number: int, url: str) -> None:
        warnings.pop(threading.get_ident(), None)
        channel = apprise.Apprise()
        is_delivered = channel.add(url) and channel.notify(
            title=message["title"], body=message["body"], body_format=apprise.NotifyFormat.TEXT
        )
        reason = warnings.get(threading.get_ident(), "it was not delivered")
        report([number, "" if is_delivered else reason])

    urls = parse_urls(settings.load().notify_urls)
    report([url.partition(":")[0] for url in urls])
    with ThreadPoolExecutor(len(urls) or 1) as together:
        for number, url in enumerate(urls, 1):
            together.submit(send, number, url)
    return 0


if __name__ == "__main__":
    sys.exit(main())
