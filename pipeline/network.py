"""Is there a network at all? Asked once, so that an offline night does not sit in retries.

The hosts asked are those this clone already has snapshots of (bundled ones included), through
MIRRORS where that is set; no other address is ever tried.
"""

import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from urllib.parse import urlsplit

from pipeline import durable
from pipeline.settings import BUNDLED, Settings
from pipeline.snapshot import DESCRIPTOR

PROBE_SECONDS = 4.0


def is_down(settings: Settings) -> bool:
    """True when no known host can be connected to. One answer serves all scripts of a run."""
    run = os.environ.get("PIPELINE_RUN", "")
    noted = settings.state / "network.json"
    if run:
        try:
            answer = json.loads(noted.read_bytes())
            if answer["run"] == run:
                return answer["is_down"]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # nothing noted for this run yet
    answer = _probe(settings)
    if run:
        durable.write_json(noted, {"run": run, "is_down": answer})
    return answer


@cache
def _probe(settings: Settings) -> bool:
    addresses = {_address(settings, url) for url in _known_urls(settings)}
    # Name resolution cannot be given a time limit: what has not answered by then is left alone.
    pool = ThreadPoolExecutor(max_workers=16)
    probes = [pool.submit(_answers, host, port) for host, port in addresses]
    try:
        return not any(_result(probe) for probe in probes)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _result(probe) -> bool:
    try:
        return probe.result(timeout=PROBE_SECONDS)
    except TimeoutError:
        return False


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=PROBE_SECONDS):
            return True
    except OSError:
        return False


def _known_urls(settings: Settings) -> list[str]:
    urls = []
    for folder in (BUNDLED, settings.raw):
        for path in folder.glob(f"*/{DESCRIPTOR}"):
            try:
                urls += [r["url"] for r in json.loads(path.read_bytes())["resources"]]
            except (OSError, ValueError, KeyError, TypeError):
                continue  # a damaged manifest is named by the source's own script
    return urls


def _address(settings: Settings, url: str) -> tuple[str, int]:
    parts = urlsplit(settings.mirrors.get(urlsplit(url).hostname or "", url))
    return parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)
