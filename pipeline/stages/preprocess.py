"""Stage `preprocess`: raw bytes become one legible CSV a source, tested before it takes its place.

`data/preprocessed/<source>.csv` changes only when the new file is whole and its data tests pass;
a refused one is kept in `data/quarantine/` for inspection.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from pipeline import durable, state
from pipeline.errors import DeclarationError, SourceError
from pipeline.formats.legible import Legible
from pipeline.raw import order, snapshot
from pipeline.raw.fingerprints import fingerprint_of
from pipeline.raw.snapshot import Snapshot
from pipeline.schema import drift
from pipeline.settings import ROOT, Settings
from pipeline.stages import closure, data_tests, guards, script
from pipeline.state import Outcome

TESTS_PASSED = 0


def run(make_legible: Callable[[Snapshot, Path], Legible]) -> None:
    """The main program of a script in `preprocess/`.

    `make_legible(snapshot, output)` writes the legible file and tells what it wrote; the
    snapshot is verified, and `output` takes its place only when no guard objects and the data
    tests pass. They are not run on a file without rows: the volume guard asked whether it may.
    """
    main = sys.modules["__main__"]
    name = Path(main.__file__ or "").stem
    script.run(
        "preprocess",
        name,
        main.__doc__ or "",
        lambda here, options: _work(here, options, name, make_legible),
    )


def output_of(here: Settings, source: str) -> Path:
    """Where the legible file of a source stands."""
    return here.preprocessed / f"{source}.csv"


def is_current(here: Settings, source: str) -> bool:
    """Whether the legible file on disk is what this snapshot and this code would make.

    Reads no data: the file's size and time stamp stand for its bytes, which `load` hashes.
    """
    remembered = state.read(here, source)
    noted, fetched = remembered.get("preprocess", {}), remembered.get("api", {}).get("content")
    if fetched is None:
        return not noted or noted["outcome"] in (Outcome.MISSING, *state.CHECKED)
    return (
        noted.get("outcome") in state.CHECKED
        and noted.get("input") == fetched
        and noted.get("code") == code_fingerprint(source)
        and noted.get("stamp") == _stamp(output_of(here, source))
    )


def code_fingerprint(source: str) -> str:
    """SHA-256 over the code that makes and tests the legible file of a source, and no other.

    Only our own counts: libraries change with the lock file, which is a decision of its own.
    """
    names = (f"{source}.py", f"test_{source}.py", "conftest.py")
    return fingerprint_of(closure.parts(ROOT, [ROOT / "preprocess" / name for name in names]))


def _stamp(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _work(here: Settings, options, source: str, make_legible) -> dict:
    taken = snapshot.current(here, source)
    if taken is None:
        return {"outcome": Outcome.MISSING, "reason": "there is no raw snapshot"}
    noted = state.read(here, source).get("preprocess", {})
    if not options.force and noted.get("input") == taken.content and is_current(here, source):
        return noted | {"outcome": Outcome.UNCHANGED, "reason": "", "remedy": ""}
    output = output_of(here, source)
    output.parent.mkdir(parents=True, exist_ok=True)
    aside = output.with_name(f".{source}.csv.new")
    try:
        legible = make_legible(taken, aside)
        remembered = guards.check(here, source, taken, legible, aside, output)
        if legible.rows:
            _run_data_tests(source, aside)
    except BaseException as error:
        snapshot.refuse(here, source, aside)
        if isinstance(error, SourceError) and not isinstance(error, DeclarationError):
            guards.reject(here, source, taken, error)
        raise
    durable.replace_file(aside, output)
    guards.remember(here, source, remembered)
    # Stage load takes it from here, though the file may be the same as before.
    forced = {"forced_at": datetime.now(UTC).isoformat()} if options.force else {}
    return forced | {
        "outcome": Outcome.NEW,
        "input": taken.content,
        "snapshot": msgspec.to_builtins(order.of_snapshot(here, source, taken)),
        "code": code_fingerprint(source),
        "sha256": legible.sha256,
        "rows": legible.rows,
        "bytes": legible.bytes,
        "columns": legible.columns,
        "absent": drift.absent(here, source, legible),
        "notes": legible.notes,
        "stamp": _stamp(output),
    }


def _run_data_tests(source: str, legible: Path) -> None:
    """Run `preprocess/test_<source>.py` on the file about to be loaded."""
    tests = ROOT / "preprocess" / f"test_{source}.py"
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=line", "--no-header"]
    command += ["-p", "no:cacheprovider", f"--rootdir={ROOT}", str(tests)]
    # COLUMNS: pytest cuts what it says of a failure to the width of the terminal.
    environment = os.environ | {"PIPELINE_LEGIBLE": str(legible), "COLUMNS": "300"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, errors="replace"
    )
    if done.returncode != TESTS_PASSED or not re.search(r"\b\d+ passed", done.stdout):
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        what = data_tests.reasons(done.stdout, tests) or f"pytest ended with code {done.returncode}"
        raise SourceError(
            f"{source}: the data tests fail: {what}",
            f"see preprocess/test_{source}.py and data/quarantine/{source}/; the old table stays",
        )
