"""Delivery of messages by Apprise, in a process of its own that ends after a few seconds.

`python -m pipeline.notify.send` reads a message as JSON and writes, for each URL, why it failed.
"""

import json
import logging
import subprocess
import sys

from pipeline import settings
from pipeline.notify.message import Message
from pipeline.settings import Settings

SECONDS = 8


def deliver(here: Settings, message: Message) -> list[str]:
    """Send a message to all of NOTIFY_URLS; returns why it failed, one sentence per failure."""
    if not here.notify_urls:
        return []
    text = json.dumps({"title": message.title, "body": settings.redact(message.body)})
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.notify.send"],
            input=text,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return [f"NOTIFY_URLS: no message could be delivered within {SECONDS} seconds"]
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
        return [settings.redact(f"NOTIFY_URLS: {lines[-1]}")]
    return json.loads(done.stdout)


def main() -> int:
    """Send the message on standard input; write the failures to standard output as JSON."""
    import apprise
    from apprise.utils.parse import parse_urls

    message = json.load(sys.stdin)
    said: list[str] = []

    class Remember(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger = logging.getLogger("apprise")
    logger.addHandler(Remember(logging.WARNING))
    logger.propagate = False
    failures = []
    for number, url in enumerate(parse_urls(settings.load().notify_urls), 1):
        said.clear()
        channel = apprise.Apprise()
        if channel.add(url) and channel.notify(
            title=message["title"], body=message["body"], body_format=apprise.NotifyFormat.TEXT
        ):
            continue
        # Only the kind of channel is named: the rest of the URL is a secret.
        kind = url.partition(":")[0]
        reason = said[-1] if said else "it was not delivered"
        failures.append(settings.redact(f"NOTIFY_URLS, number {number} ({kind}): {reason}"))
    print(json.dumps(failures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
