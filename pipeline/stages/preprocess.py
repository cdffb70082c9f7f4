"""Stage `preprocess`: raw bytes become one legible CSV per source, tested before it is accepted.

`data/preprocessed/<source>.csv` is replaced only when the new file is complete and its data tests
pass. A rejected file is kept in `data/quarantine/` for inspection.
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

MakeLegible = Callable[[Snapshot, Path], Legible]


def run(make_legible: MakeLegible) -> None:
    """Run a script in `preprocess/`.

    `make_legible(snapshot, output)` writes the legible file and returns its receipt. The snapshot
    is verified. The output replaces the old file only when all guards accept it and the data tests
    pass. The tests do not run on a file without rows; the volume guard decides about it.
    """
    script.run_main(
        "preprocess", lambda here, options, name: work(here, options, name, make_legible)
    )


def output_of(here: Settings, source: str) -> Path:
    """Return the path of the legible file of a source."""
    return here.preprocessed / f"{source}.csv"


def is_current(here: Settings, source: str) -> bool:
    """Return whether the legible file is what the snapshot and the code would make now.

    The file is not read: its size and time stamp are compared. Stage `load` compares its hash.
    """
    recorded, content = state.preprocessed(here, source), state.fetched(here, source).content
    if content is None:
        return recorded.outcome in ("", Outcome.MISSING, *state.CHECKED)
    return (
        recorded.outcome in state.CHECKED
        and recorded.input == content
        and recorded.code == code_fingerprint(source)
        and recorded.stamp == _stamp(output_of(here, source))
    )


def code_fingerprint(source: str) -> str:
    """Return the SHA-256 of the code that makes and tests the legible file of a source.

    Only our own code counts: libraries change with the lock file, which is a decision of its own.
    """
    names = (f"{source}.py", f"test_{source}.py", "conftest.py")
    return fingerprint_of(closure.parts(ROOT, [ROOT / "preprocess" / name for name in names]))


def work(here: Settings, options, source: str, make_legible: MakeLegible) -> dict:
    """Make the legible file of a source, unless it is current; returns the facts of the step.

    Raises what `make_legible`, the guards and the data tests raise; the old file stays then.
    """
    current = snapshot.current(here, source)
    if current is None:
        return {"outcome": Outcome.MISSING, "reason": "there is no raw snapshot"}
    is_made = state.preprocessed(here, source).input == current.content
    if not options.force and is_made and is_current(here, source):
        return {"outcome": Outcome.UNCHANGED}
    output = output_of(here, source)
    output.parent.mkdir(parents=True, exist_ok=True)
    aside = output.with_name(f".{source}.csv.new")
    try:
        legible = make_legible(current, aside)
        accepted = guards.check(here, source, current, legible, aside, output)
        if legible.rows:
            _run_data_tests(source, aside)
    except BaseException as error:
        snapshot.refuse(here, source, aside)
        if isinstance(error, SourceError) and not isinstance(error, DeclarationError):
            guards.reject(here, source, current, error)
        raise
    durable.replace_file(aside, output)
    guards.record(here, source, accepted)
    # The file may be the same as before; `forced_at` makes stage load load it again.
    forced = {"forced_at": datetime.now(UTC).isoformat()} if options.force else {}
    return forced | {
        "outcome": Outcome.NEW,
        "input": current.content,
        "snapshot": msgspec.to_builtins(order.of_snapshot(here, source, current)),
        "code": code_fingerprint(source),
        "sha256": legible.sha256,
        "rows": legible.rows,
        "bytes": legible.bytes,
        "columns": legible.columns,
        "absent": drift.absent(here, source, legible),
        "notes": legible.notes,
        "stamp": _stamp(output),
    }


def _stamp(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _run_data_tests(source: str, legible: Path) -> None:
    """Run `preprocess/test_<source>.py` on the new file."""
    tests = ROOT / "preprocess" / f"test_{source}.py"
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=line", "--no-header"]
    command += ["-p", "no:cacheprovider", f"--rootdir={ROOT}", str(tests)]
    # A person's own options for pytest (PYTEST_ADDOPTS) must not select other tests.
    environment = {n: value for n, value in os.environ.items() if not n.startswith("PYTEST_")}
    # COLUMNS: pytest cuts its messages to the width of the terminal.
    environment |= {"PIPELINE_LEGIBLE": str(legible), "COLUMNS": "300"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, errors="replace"
    )
    if done.returncode or not re.search(r"\b\d+ passed", done.stdout):
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        what = data_tests.reasons(done.stdout, tests) or f"pytest ended with code {done.returncode}"
        raise SourceError(
            f"{source}: the data tests fail: {what}",
            f"see preprocess/test_{source}.py and data/quarantine/{source}/; the old table stays",
        )
