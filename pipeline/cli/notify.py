"""`./run_pipeline.sh notify --test`: whether messages and heartbeats arrive."""

from pipeline import settings
from pipeline.errors import FAILED, OK
from pipeline.notify import heartbeat, message, send


def test() -> int:
    """Send a test message and a heartbeat; print what failed. Returns the exit code."""
    here = settings.load()
    failures = send.deliver(here, message.test_message()).failures
    if here.notify_urls and not failures:
        print("NOTIFY_URLS: the test message was delivered")
    failure = heartbeat.ping(here, "success", "test")
    if here.heartbeat_url and not failure:
        print("HEARTBEAT_URL: the ping was accepted")
    if not (here.notify_urls or here.heartbeat_url):
        print(
            "NOTIFY_URLS and HEARTBEAT_URL are empty, so nobody is notified; see docs/settings.md"
        )
    for sentence in [*failures, *([failure] if failure else [])]:
        print(sentence)
    return FAILED if failures or failure else OK
