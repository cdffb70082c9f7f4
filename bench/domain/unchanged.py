"""How long a night without news takes: `.venv/bin/python bench/domain/unchanged.py`.

All twelve publishers on loopback, in a process of their own, each answer late by the same time, as
over a real network. After a first night that fetches everything, nothing changes any more: each
source is asked alone (its script, a whole process), then all of them by `./run_pipeline.sh api`.
The stage may take twice the slowest single source, and a second. Times are wall clock, medians.
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/domain")]

import lifeline  # noqa: E402
from twelve import twelve  # noqa: E402

from pipeline import settings, state  # noqa: E402

FACTOR, ALLOWANCE = 2, 1.0  # seconds


def main() -> int:
    """Measure and print; 1 when the stage takes longer than it may."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.partition("\n")[0])
    parser.add_argument("--latency", type=float, default=0.3, help="seconds an answer (0.3)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each (3)")
    asked = parser.parse_args()
    sources = settings.sources()
    with _serving(asked.latency) as count_requests:
        first = _seconds(["./run_pipeline.sh", "api"])
        _expect("new", sources)
        alone, requests = {}, {}
        for source in sources:
            count_requests()
            script = [sys.executable, f"api/{source}.py"]
            alone[source] = statistics.median(_seconds(script) for _ in range(asked.runs))
            requests[source] = count_requests() // asked.runs
        stage = statistics.median(_seconds(["./run_pipeline.sh", "api"]) for _ in range(asked.runs))
        _expect("unchanged", sources)
    slowest = max(alone.values())
    allowed = FACTOR * slowest + ALLOWANCE
    _print(asked.latency, requests, alone)
    verdict = "yes" if stage <= allowed else "no"
    print(f"first night        {first:6.2f} s, the api stage that fetches everything")
    print(f"slowest alone      {slowest:6.2f} s")
    print(f"all of them        {sum(alone.values()):6.2f} s, one after the other")
    print(f"whole stage        {stage:6.2f} s of {allowed:.2f} s allowed; reached: {verdict}")
    return 0 if stage <= allowed else 1


def _print(latency: float, requests: dict[str, int], alone: dict[str, float]) -> None:
    table = Table(title=f"Twelve sources unchanged, {latency:g} s an answer")
    for column in ("source", "requests", "alone, s"):
        table.add_column(column, justify="left" if column == "source" else "right")
    for source, seconds in alone.items():
        table.add_row(source, str(requests[source]), f"{seconds:.2f}")
    Console(width=110).print(table)


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - started


def _expect(outcome: str, sources: list[str]) -> None:
    here = settings.load()
    others = [name for name in sources if state.read(here, name)["api"]["outcome"] != outcome]
    if others:
        raise SystemExit(f"not {outcome}: {', '.join(others)}")


@contextmanager
def _serving(latency: float) -> Iterator[Callable[[], int]]:
    """The publishers, and settings that lead to them; gives how many requests came since."""
    context = multiprocessing.get_context("spawn")
    mine, its = context.Pipe()

    def count_requests() -> int:
        mine.send("count")
        return mine.recv()

    with lifeline.folder("bench-unchanged-") as folder:
        server = context.Process(target=_serve, args=(its, latency))
        server.start()
        given = {"MIRRORS": mine.recv(), "DATA_DIR": str(folder / "data")}
        os.environ.update(given, STASH="off", FETCH_PATIENCE="0")
        settings.load.cache_clear()
        try:
            yield count_requests
        finally:
            mine.send("end")
            server.join()


def _serve(pipe, latency: float) -> None:
    with twelve() as known:
        answers = known.publisher.answers
        for path, honest in answers.items():
            answers[path] = _late(honest, latency)
        pipe.send(known.mirrors)
        while pipe.recv() == "count":
            pipe.send(len(known.publisher.requests))
            known.publisher.requests.clear()


def _late(honest, latency: float) -> Callable:
    def handler(request):
        return replace(honest(request) if callable(honest) else honest[0], hang=latency)

    return handler


if __name__ == "__main__":
    sys.exit(main())
