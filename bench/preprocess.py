"""How fast raw bytes become legible: `.venv/bin/python bench/preprocess.py [--megabytes N]`.

Makes its inputs in a temporary folder (three times their size must be free there) and prints a
table. One MB is a million bytes of input; the time is wall clock and covers reading, the strict
scan, writing and hashing. Every line is the best of alternating runs, since a disk that is still
writing the run before only ever adds time. "goal" is what the project holds itself to on a
machine of two cores, "reached" how many times over this run met it. pyogrio reads the same
GeoJSON into a frame and writes it with `to_csv`, in the same process and in turn with ours.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import lifeline  # noqa: E402

from pipeline.formats import delimited, geojson  # noqa: E402

HEADER = b"id,name,city,state,latitude,longitude,date,code\n"
ROWS = [
    (b"%07d" % n, b"Thigpen %d" % (n % 97), b"Bay Springs", b"MS", b"31.95376472", b"-89.23450472",
     b"2018-02-07T00:59:06Z", b"%05d" % (n % 56045))
    for n in range(10_000)
]  # fmt: skip
# A feature with as many properties, of the kinds and lengths that catalogues of events have.
FEATURE = (
    b'{"type":"Feature","properties":{"size":%d.%d,"place":"%dkm W of Bay Springs, MS",'
    b'"time":15179667%05d40,"updated":15179669%05d03,"offset":-480,"url":"https://events.example/'
    b'events/eventpage/%08d","detail":"https://events.example/feed/v1.0/detail/%08d.geojson",'
    b'"felt":null,"intensity":null,"alert":null,"status":"automatic","flag":0,"weight":62,'
    b'"network":"ci","code":"%08d","ids":",ci%08d,","sources":",ci,","types":",geoserve,nearby,'
    b'origin,phase-data,link,","stations":7,"distance":0.04214,"rms":0.35,"gap":174,"method":"ml",'
    b'"type":"event","title":"M 2.0 - 4km W of Bay Springs, MS"},"geometry":{"type":"Point",'
    b'"coordinates":[-118.66%05d,34.%05d,26.49]},"id":"ci%08d"}'
)


def main() -> int:
    """Measure and print; exit code 1 when something is slower than it has to be."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=300, help="size of a CSV (300)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each (3)")
    asked = parser.parse_args()
    table = Table(title="Preprocess: raw bytes to a legible CSV")
    for column in ("input", "MB", "seconds", "MB/s", "goal", "reached"):
        table.add_column(column, justify="left" if column == "input" else "right")
    with lifeline.folder("bench-preprocess-") as folder:
        reached = [
            _csv(table, folder, "CSV, unquoted", b"%b", 300, asked),
            _csv(table, folder, "CSV, every field quoted", b'"%b"', 150, asked),
            _geojson(table, folder, asked),
        ]
    Console().print(table)
    return 0 if all(reached) else 1


def _csv(table: Table, folder: Path, name: str, form: bytes, floor: int, asked) -> bool:
    """Measure one CSV, add its line to the table; return whether it reached its floor (MB/s)."""
    raw, output = folder / "raw.csv", folder / "legible.csv"
    block = b"".join(b",".join(form % value for value in row) + b"\n" for row in ROWS)
    with raw.open("wb") as file:
        file.write(HEADER)
        for _ in range(max(1, asked.megabytes * 1_000_000 // len(block))):
            file.write(block)
    seconds = min(_seconds(lambda: delimited.write_csv(raw, output)) for _ in range(asked.runs))
    speed = raw.stat().st_size / 1e6 / seconds
    return _add(table, name, raw, seconds, f"at least {floor} MB/s", speed / floor)


def _geojson(table: Table, folder: Path, asked) -> bool:
    """Measure a GeoJSON against pyogrio; return whether ours is at least 1.5 times as fast."""
    raw, output = folder / "raw.geojson", folder / "legible.csv"
    features = b",".join(FEATURE % (n % 7, n % 10, *[n] * 10) for n in range(2000))
    times = max(1, asked.megabytes * 200_000 // len(features))
    start = b'{"type":"FeatureCollection","features":['
    raw.write_bytes(start + b",".join([features] * times) + b"]}")

    def by_pyogrio() -> None:
        import pyogrio

        pyogrio.read_dataframe(raw).to_csv(output, index=False)

    ours, theirs = [], []
    for _ in range(asked.runs):
        ours.append(_seconds(lambda: geojson.write_csv(raw, output)))
        theirs.append(_seconds(by_pyogrio))
    table.add_row("GeoJSON by pyogrio", *_figures(raw, min(theirs)), "", "")
    return _add(
        table, "GeoJSON", raw, min(ours), "at least 1.5 x pyogrio", min(theirs) / min(ours) / 1.5
    )


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _figures(raw: Path, seconds: float) -> tuple[str, str, str]:
    size = raw.stat().st_size / 1e6
    return f"{size:.0f}", f"{seconds:.2f}", f"{size / seconds:.0f}"


def _add(table: Table, name: str, raw: Path, seconds: float, goal: str, share: float) -> bool:
    """Add a line; `share` is how many times the goal was reached. Return whether it was."""
    verdict = f"{share:.2f} x" if share >= 1 else f"{share:.2f} x: NO"
    table.add_row(name, *_figures(raw, seconds), goal, verdict)
    return share >= 1


if __name__ == "__main__":
    sys.exit(main())
