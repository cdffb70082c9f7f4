"""How fast and how lean a large file is fetched: `.venv/bin/python bench/fetch.py`.

A server on loopback (a process of its own) sends one file. Ours is a whole process: the request,
the bytes to disk, their hash on the way, flushed. It is held against `curl`, then `sha256sum`,
then a flush, as whole processes too. Runs alternate; times are wall clock, the median of them. One
MB is a million bytes. The memory is the peak of the resident set of our process.
Three times the file must be free in the temporary folder.
"""

import argparse
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import lifeline  # noqa: E402

BLOCK = os.urandom(1 << 20)
HOST = "data.example.gov"
SHARE = 0.9  # of the speed of curl and sha256sum
MEMORY_MB = 100
CHILD = """
import json, resource, sys
from pathlib import Path
from pipeline import durable, settings
from pipeline.http.client import Client
path = Path(sys.argv[1])
received = Client(settings.load()).get("https://data.example.gov/file.bin", path)
durable.flush(path)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"sha256": received.sha256, "size": received.size, "peak_kb": peak}))
"""


def serve(listener: socket.socket, file: str) -> None:
    """Send a file to everybody who asks, by sendfile."""
    size = Path(file).stat().st_size
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n".encode()
    while True:
        connection, _ = listener.accept()
        with connection, Path(file).open("rb") as body:
            if connection.recv(65536):
                connection.sendall(head)
                connection.sendfile(body)


def ours(url: str, folder: Path) -> tuple[float, dict]:
    """Seconds of our fetch, and what it told."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "MIRRORS": f"{HOST}={url}",
        "DATA_DIR": str(folder / "data"),
        "FETCH_PATIENCE": "0",
    }
    path = folder / "ours"
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - started
    path.unlink()
    return seconds, json.loads(done.stdout)


def by_curl(url: str, folder: Path) -> tuple[float, dict]:
    """Seconds of curl, sha256sum and a flush, and what they told."""
    path = folder / "curl"
    started = time.perf_counter()
    subprocess.run(["curl", "-sSf", "-o", path, f"{url}/file.bin"], check=True)
    done = subprocess.run(["sha256sum", path], check=True, capture_output=True, text=True)
    subprocess.run(["sync", path], check=True)
    seconds = time.perf_counter() - started
    told = {"sha256": done.stdout.split()[0].lstrip("\\"), "size": path.stat().st_size}
    path.unlink()
    return seconds, told


def measure(megabytes: int, runs: int, folder: Path) -> tuple[list[float], list[float], int]:
    """Seconds of curl and of ours, run for run, and our peak memory in bytes."""
    file = folder / "file.bin"
    with file.open("wb") as out:
        for _ in range(megabytes):
            out.write(BLOCK[:1_000_000])
    listener = socket.create_server(("127.0.0.1", 0))
    context = multiprocessing.get_context("spawn")
    server = context.Process(target=serve, args=(listener, str(file)), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        curl_seconds, our_seconds, peak = [], [], 0
        for _ in range(runs):
            seconds, theirs = by_curl(url, folder)
            curl_seconds.append(seconds)
            seconds, told = ours(url, folder)
            our_seconds.append(seconds)
            peak = max(peak, told.pop("peak_kb") * 1024)
            if told != theirs:
                raise SystemExit(f"another file came: {told} is not {theirs}")
    finally:
        server.kill()
        server.join()
        listener.close()
    return curl_seconds, our_seconds, peak


def main() -> int:
    """Print the table; 1 when a bound is not held."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    table = Table("MB", "curl + sha256sum, s", "ours, s", "share of its speed", "peak, MB")
    with lifeline.folder("bench-fetch-") as temporary:
        small = max(1, given.megabytes // 10)
        for megabytes in (small, given.megabytes):
            theirs, our, peak = measure(megabytes, given.runs, temporary)
            share = statistics.median(theirs) / statistics.median(our)
            table.add_row(
                str(megabytes),
                f"{statistics.median(theirs):.2f}",
                f"{statistics.median(our):.2f}",
                f"{share:.2f}",
                f"{peak / 1e6:.0f}",
            )
    Console().print(table)
    return 0 if share >= SHARE and peak < MEMORY_MB * 1e6 else 1


if __name__ == "__main__":
    sys.exit(main())
