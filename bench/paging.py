"""How much proof costs when a data set is read page by page: `.venv/bin/python bench/paging.py`.

A local server speaks OpenFEMA and ArcGIS over 100,000 rows and makes every page when it is asked
for it, as a publisher does. Our fetch (hashes, checks, counts, keys, files flushed) is held against
the bare requests: `requests.get` of the very same addresses, one after the other, thrown away. The
two alternate; times are wall clock, medians. "without the server" is the same with pages that the
server had ready, where nothing but the two clients takes time; it has no goal.
"""

import argparse
import multiprocessing
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import requests
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import lifeline  # noqa: E402
from publisher import Answer  # noqa: E402
from upstream import arcgis as arcgis_server  # noqa: E402
from upstream import openfema as openfema_server  # noqa: E402
from upstream.world import world  # noqa: E402

from pipeline import settings  # noqa: E402
from pipeline.connectors import arcgis, openfema  # noqa: E402
from pipeline.raw import snapshot  # noqa: E402
from pipeline.raw.candidate import Candidate  # noqa: E402
from pipeline.raw.source import Source  # noqa: E402

GOAL = 1.15
FEMA, FIRES = "www.fema.gov", "services3.arcgis.com"
LAYER = "/x/arcgis/rest/services/Fires/FeatureServer/0"
# What a declaration of 28 columns looks like, in bytes.
DECLARATION = (
    "FM-{n}-OR,{n},OR,FM,2024-08-09T00:00:00.000Z,2024,Fire,LEE FALLS FIRE,0,0,1,1,"
    "2024-08-08T00:00:00.000Z,,,0,41,067,99067,Washington (County),24122,,2024081001,10,R,"
    "2024-08-27T18:22:14.800Z,ae87cf3c6ed795015b714af7166c7c295b2b67c7,09e3f81a-5e16-{n:016x}"
)


def main() -> int:
    """Measure and print; exit code 1 when the proof costs more than it may."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000, help="rows to page through (100,000)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each (5)")
    asked = parser.parse_args()
    table = Table(title=f"Paging through {asked.rows:,} rows")
    for column in ("what", "requests", "MB", "bare s", "ours s", "ours / bare", "goal", "reached"):
        table.add_column(column, justify="left" if column == "what" else "right")
    reached = True
    for ready in (False, True):
        with _serving(asked.rows, ready):
            for name, fetch in (("OpenFEMA", _openfema), ("ArcGIS", _arcgis)):
                size, addresses, bare, ours = _measure(fetch, asked.runs)
                ratio = ours / bare
                reached &= ready or ratio <= GOAL
                words = ["-", "-"] if ready else [f"{GOAL:g}", "yes" if ratio <= GOAL else "no"]
                numbers = f"{addresses:,}", f"{size / 1e6:.0f}", f"{bare:.2f}", f"{ours:.2f}"
                what = f"{name}, without the server" if ready else name
                table.add_row(what, *numbers, f"{ratio:.2f}", *words)
    Console(width=110).print(table)
    return 0 if reached else 1


def _measure(fetch: Callable[[Candidate], None], runs: int) -> tuple[int, int, float, float]:
    """Bytes and requests of one reading; the median seconds of the bare requests and of ours."""
    addresses = _asked_by(fetch)
    bare, ours = [], []
    for _ in range(runs):
        _forget()
        started = time.perf_counter()
        size = sum(len(requests.get(address, timeout=60).content) for address in addresses)
        bare.append(time.perf_counter() - started)
        started = time.perf_counter()
        _ours(fetch)
        ours.append(time.perf_counter() - started)
    return size, len(addresses), statistics.median(bare), statistics.median(ours)


def _forget() -> None:
    """So that it is a first night again."""
    shutil.rmtree(settings.load().data_dir, ignore_errors=True)


def _ours(fetch: Callable[[Candidate], None]) -> None:
    """A first night of one source, up to the snapshot on disk."""
    here = settings.load()
    source = Source("T", "P", "https://e.gov/", "L", "https://l.gov/", **_DECLARED[fetch])
    gathered = Candidate(here, source, "paged", None)
    fetch(gathered)
    snapshot.commit(here, "paged", gathered.folder, gathered.describe())


def _asked_by(fetch: Callable[[Candidate], None]) -> list[str]:
    """The addresses that a reading asks for, as the server is really asked."""
    _forget()
    asked, get = [], requests.Session.get

    def noted(session, url, **words):
        asked.append(url)
        return get(session, url, **words)

    requests.Session.get = noted
    try:
        _ours(fetch)
    finally:
        requests.Session.get = get
    return asked


def _openfema(candidate: Candidate) -> None:
    base = f"https://{FEMA}/api/open"
    openfema.fetch(candidate, base, "Declarations", version=2, order="id", unique_key="id")


def _arcgis(candidate: Candidate) -> None:
    arcgis.fetch(candidate, f"https://{FIRES}{LAYER}")


# As the sources of these protocols have it: the fingerprint of rows whose ids move costs most.
_DECLARED = {
    _openfema: {"kind": "csv", "volatile_columns": ("id",)},
    _arcgis: {"kind": "geojson"},
}


@contextmanager
def _serving(rows: int, ready: bool) -> Iterator[None]:
    """The server in a process of its own, and settings that lead to it."""
    context = multiprocessing.get_context("spawn")
    mine, its = context.Pipe()
    with lifeline.folder("bench-paging-") as folder:
        server = context.Process(target=_serve, args=(its, rows, ready))
        server.start()
        try:
            given = {"MIRRORS": mine.recv(), "DATA_DIR": str(folder / "data"), "STASH": "off"}
            os.environ.update(given)
            settings.load.cache_clear()
            yield
        finally:
            mine.send("end")
            server.join()


def _serve(pipe, rows: int, ready: bool) -> None:
    header = [f"column{n}" for n in range(27)] + ["id"]
    records = [DECLARATION.format(n=n).split(",") for n in range(rows)]
    data = openfema_server.DataSet("Declarations", header, records, version=2)
    # Its rows are in order already, and all of them are asked for.
    data._found = lambda asked: data.rows
    layer = arcgis_server.FeatureLayer(arcgis_server.points(rows))
    with world() as known:
        data.register(known.publisher, f"/{FEMA}")
        layer.register(known.publisher, known.place(FIRES, LAYER))
        known.hosts.add(FEMA)
        if ready:
            for path, answer in known.publisher.answers.items():
                known.publisher.answers[path] = _made_once(answer)
        pipe.send(known.mirrors)
        pipe.recv()


def _made_once(answer: Callable[..., Answer]) -> Callable[..., Answer]:
    """An answer that is made the first time it is asked for."""
    made = cache(lambda path: answer(type("Request", (), {"path": path, "headers": {}})))
    return lambda request: made(request.path)


if __name__ == "__main__":
    sys.exit(main())
