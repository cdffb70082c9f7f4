"""How fast and how lean a legible CSV becomes a table: `.venv/bin/python bench/load.py`.

Starts an embedded PostgreSQL of its own in a temporary folder (four times the larger file must be
free there) and prints a table. One MB is a million bytes; times are wall clock, the median of
runs that alternate. "transaction" is our load from its first statement to its commit: TRUNCATE,
COPY, sha256 and count of the file, ledger; it is held against a whole psql that does the same
TRUNCATE and `\\copy … freeze` in one transaction. "process" is our load with the start of Python
and the connection; it is held against a whole dlt (`--with-dlt`, installed by pip into a virtual
environment of its own), which reads the file as Arrow tables and loads it by COPY. The memory is
the peak of the resident set of one process that makes a CSV legible and loads it.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import venv
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import lifeline  # noqa: E402

from pipeline import embedded, settings, state  # noqa: E402
from pipeline.schema import declaration  # noqa: E402
from pipeline.stages import load, preprocess  # noqa: E402

SOURCE = "bench"
PSQL = r"psql \copy"
COLUMNS = ["id", "name", "city", "state", "latitude", "longitude", "date", "code"]
MEGABYTES_OF_THE_LARGE = 1000
MEMORY_MB = 300
CHILD = """
import sys; sys.path[:0] = [{root!r}, {root!r} + "/bench"]
from load import as_child; as_child({work!r}, {folder!r})
"""
BY_DLT = """
import sys, dlt, pyarrow.csv as csv
read = csv.ConvertOptions(column_types={{name: "string" for name in {columns!r}}})
def tables():
    for batch in csv.open_csv({file!r}, convert_options=read):
        yield batch
# It asks for a password, which the server does not.
to = dlt.destinations.postgres(dict(
    drivername="postgresql", database="dev", username="postgres", password="none", port=5432,
    host={host!r}))
pipeline = dlt.pipeline("bench", destination=to, dataset_name="by_dlt", pipelines_dir={folder!r})
pipeline.run(dlt.resource(tables, name="bench"), write_disposition="replace",
    loader_file_format="csv")
"""


def main() -> int:
    """Measure and print; exit code 1 when something is slower or larger than it may be."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=75, help="size of the CSV to load (75)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each (5)")
    parser.add_argument("--with-dlt", action="store_true", help="install dlt and measure it too")
    asked = parser.parse_args()
    table = Table(title=f"Load: a CSV of {asked.megabytes} MB to a table, all columns text")
    for column in ("what", "seconds", "MB/s", "x psql", "goal", "reached"):
        table.add_column(column, justify="left" if column == "what" else "right")
    with lifeline.folder("bench-load-") as folder:
        here = _here(folder)
        try:
            url = embedded.ensure_running(here)
            reached = [*_speed(table, folder, url, asked), _memory(table, folder)]
        finally:
            embedded.stop(here)
    Console().print(table)
    return 0 if all(reached) else 1


def as_child(work: str, folder: str) -> None:
    """What a measured process does: `load`, or `legible and load`; prints its facts as JSON."""
    here = _here(Path(folder))
    declaration.path = lambda source: Path(folder) / "bench.sql"
    if work == "legible and load":
        _make_legible(here, Path(folder))
    facts = load.run(here, SOURCE, force=True)
    print(json.dumps(facts | {"peak": _peak_bytes()}))


def _here(folder: Path) -> settings.Settings:
    given = {"DATA_DIR": str(folder / "data"), "DATABASE_URL": "", "STASH": "off"}
    os.environ |= given
    settings.load.cache_clear()
    here = settings.load()
    for path in (here.preprocessed, here.state):
        path.mkdir(parents=True, exist_ok=True)
    return here


def _speed(table: Table, folder: Path, url: str, asked: argparse.Namespace) -> list[bool]:
    """Measure our load beside psql's, and dlt's where asked; whether each goal was reached."""
    size = _write_csv(folder, asked.megabytes)
    _make_legible(_here(folder), folder)
    python = _python_with_dlt(folder) if asked.with_dlt else None
    seconds: dict[str, list[float]] = {}
    for _ in range(asked.runs):
        process, facts = _seconds(lambda: _child("load", folder))
        seconds.setdefault("ours, process", []).append(process)
        seconds.setdefault("ours, transaction", []).append(facts["seconds"])
        seconds.setdefault(PSQL, []).append(_seconds(lambda: _psql(folder, url))[0])
        if python:
            seconds.setdefault("dlt", []).append(_seconds(lambda: _dlt(python, folder, url))[0])
    middle = {name: statistics.median(found) for name, found in seconds.items()}
    goals = {"ours, transaction": (PSQL, 0.9), "ours, process": ("dlt", 5.0)}
    reached = []
    for name, found in middle.items():
        other, least = goals.get(name, ("", 0))
        words = ["", ""]
        if other in middle:
            times = middle[other] / found
            reached.append(times >= least)
            words = [f"{least:g} x {other}", f"{times:.2f} x {'yes' if reached[-1] else 'NO'}"]
        beside_psql = f"{middle[PSQL] / found:.2f}"
        table.add_row(name, f"{found:.2f}", f"{size / 1e6 / found:.0f}", beside_psql, *words)
    return reached


def _memory(table: Table, folder: Path) -> bool:
    """Measure the peak memory of a large CSV made legible and loaded; whether it is small."""
    size = _write_csv(folder, MEGABYTES_OF_THE_LARGE)
    seconds, facts = _seconds(lambda: _child("legible and load", folder))
    peak = facts["peak"] / 1e6
    words = f"{peak:.0f} MB {'yes' if peak < MEMORY_MB else 'NO'}"
    name = f"{size / 1e6:.0f} MB through preprocess and load"
    row = (f"{seconds:.2f}", f"{size / 1e6 / seconds:.0f}", "", f"under {MEMORY_MB} MB", words)
    table.add_row(name, *row)
    return peak < MEMORY_MB


def _write_csv(folder: Path, megabytes: int) -> int:
    """A raw CSV in the folder; returns its bytes."""
    block = b"".join(
        b"%07d,Thigpen %d,Bay Springs,MS,31.95376472,-89.23450472,2018-02-07T00:59:06Z,%05d\n"
        % (number, number % 97, number % 56045)
        for number in range(10_000)
    )
    names = [f'"{name}" text' for name in COLUMNS]
    declared = f"create table if not exists source.{SOURCE} ({', '.join(names)})"
    (folder / "bench.sql").write_text(declared)
    with (folder / "raw.csv").open("wb") as file:
        file.write(",".join(COLUMNS).encode() + b"\n")
        while file.tell() < megabytes * 1_000_000:
            file.write(block)
        return file.tell()


def _make_legible(here: settings.Settings, folder: Path) -> None:
    from pipeline.formats import delimited

    legible = delimited.write_csv(folder / "raw.csv", preprocess.output_of(here, SOURCE))
    facts = {"sha256": legible.sha256, "rows": legible.rows, "bytes": legible.bytes}
    state.update(here, SOURCE, "preprocess", outcome="new", columns=legible.columns, **facts)


def _child(work: str, folder: Path) -> dict:
    program = CHILD.format(root=str(ROOT), work=work, folder=str(folder))
    return json.loads(_run(sys.executable, "-c", program).splitlines()[-1])


def _psql(folder: Path, url: str) -> None:
    file = preprocess.output_of(_here(folder), SOURCE)
    quiet = [str(embedded.binaries() / "psql"), "-qX", "-v", "ON_ERROR_STOP=1", url]
    steps = ["begin", f"truncate source.{SOURCE}"]
    steps += [rf"\copy source.{SOURCE} from '{file}' (format csv, header match, freeze)", "commit"]
    _run(*quiet, *(word for step in steps for word in ("-c", step)))


def _python_with_dlt(folder: Path) -> str:
    venv.create(folder / "dlt", with_pip=True)
    python = str(folder / "dlt" / "bin" / "python")
    _run(python, "-m", "pip", "install", "-q", "dlt[postgres]", "pyarrow")
    return python


def _dlt(python: str, folder: Path, url: str) -> None:
    host = conninfo_to_dict(url)["host"]
    file = str(preprocess.output_of(_here(folder), SOURCE))
    home = folder / "dlt home"
    shutil.rmtree(home, ignore_errors=True)
    given = {"columns": COLUMNS, "file": file, "host": quote(host, safe=""), "folder": str(home)}
    _run(python, "-c", BY_DLT.format(**given))
    with psycopg.connect(url) as connection:
        loaded = [
            connection.execute(f"select count(*) from {table}").fetchone()  # noqa: S608
            for table in ("by_dlt.bench", f"source.{SOURCE}")
        ]
    assert loaded[0] == loaded[1], f"dlt loaded {loaded[0]} rows of {loaded[1]}"


def _run(*command: str) -> str:
    environment = os.environ | {"RUNTIME__DLTHUB_TELEMETRY": "false"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{command[0]} ended with code {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def _seconds(work) -> tuple[float, object]:
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def _peak_bytes() -> int:
    """The peak of this process's resident set since it was started."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except FileNotFoundError:  # macOS, which counts in bytes
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
