"""Stage `preprocess`: raw bytes become one legible CSV a source, tested before it takes its place.

`data/preprocessed/<source>.csv` changes only when the new file is whole and its data tests pass;
a refused one is kept in `data/quarantine/` for inspection.
"""

import mmap
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline import closure, data_tests, drift, durable, order, script, snapshot, state
from pipeline.errors import SourceError
from pipeline.legible import Legible
from pipeline.printable import escaped
from pipeline.settings import ROOT, Settings
from pipeline.snapshot import Snapshot

TESTS_PASSED = 0
LONGEST_LAST_LINE = 1024 * 1024


def run(make_legible: Callable[[Snapshot, Path], Legible]) -> None:
    """The main program of a script in `preprocess/`.

    `make_legible(snapshot, output)` writes the legible file and tells what it wrote; the
    snapshot is verified, and `output` takes its place only when the data tests pass. A file
    without rows is right when the snapshot has none: the volume guard asked whether it may.
    """
    main = sys.modules["__main__"]
    name = Path(main.__file__).stem
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
        return not noted or noted["outcome"] in ("missing", "unchanged", "new")
    return (
        noted.get("outcome") in ("new", "unchanged")
        and noted.get("input") == fetched
        and noted.get("code") == code_fingerprint(source)
        and noted.get("stamp") == _stamp(output_of(here, source))
    )


def code_fingerprint(source: str) -> str:
    """SHA-256 over the code that makes and tests the legible file of a source, and no other.

    Only our own counts: libraries change with the lock file, which is a decision of its own.
    """
    names = (f"{source}.py", f"test_{source}.py", "conftest.py")
    return snapshot.fingerprint_of(
        closure.parts(ROOT, [ROOT / "preprocess" / name for name in names])
    )


def _stamp(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _work(here: Settings, options, source: str, make_legible) -> dict:
    taken = snapshot.current(here, source)
    if taken is None:
        return {"outcome": "missing", "reason": "there is no raw snapshot"}
    noted = state.read(here, source).get("preprocess", {})
    if not options.force and noted.get("input") == taken.content and is_current(here, source):
        return noted | {"outcome": "unchanged", "reason": "", "remedy": ""}
    output = output_of(here, source)
    output.parent.mkdir(parents=True, exist_ok=True)
    aside = output.with_name(f".{source}.csv.new")
    try:
        legible = make_legible(taken, aside)
        _refuse_cut_end(source, aside, output)
        gone = drift.vanished(here, source, legible, output)
        columns = [name for name in legible.columns if name not in gone]
        drift.check(here, source, aside, columns, output, is_ordered=_is_ordered(taken))
        if legible.rows:
            _run_data_tests(source, aside)
        elif taken.descriptor.get("rows") != 0:  # what the volume guard let in, or somebody
            raise SourceError(f"{source}: there is no row in it", f"see preprocess/{source}.py")
    except BaseException:
        snapshot.refuse(here, source, aside)
        raise
    durable.replace_file(aside, output)
    return {
        "outcome": "new",
        "input": taken.content,
        "snapshot": order.of_snapshot(here, source, taken),
        "code": code_fingerprint(source),
        "sha256": legible.sha256,
        "rows": legible.rows,
        "bytes": legible.bytes,
        "columns": legible.columns,
        "absent": drift.absent(here, source, legible),
        "notes": legible.notes,
        "stamp": _stamp(output),
    }


def _is_ordered(taken: Snapshot) -> bool:
    """Whether the order of columns is the publisher's: members of a JSON object have none."""
    return not any(
        resource["format"].endswith("json") for resource in taken.descriptor["resources"]
    )


def _refuse_cut_end(source: str, aside: Path, output: Path) -> None:
    """Refuse a file whose last row is the beginning of a row known from before.

    Only a file without a line end at its end can be cut inside its last field unnoticed; what is
    known is the last good file, or the bundled capture.
    """
    last = _last_line(aside)
    if last.endswith(b"\n"):
        return
    capture = snapshot.bundled(source)
    for known in [output] if output.exists() else capture.files if capture else []:
        with known.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            at = text.find(b"\n" + last)
            follows = text[at + 1 + len(last) : at + 2 + len(last)]
        if at >= 0 and follows not in (b"", b"\r", b"\n"):
            raise SourceError(
                f"{source}: the file is cut inside its last row: {escaped(last.decode())}",
                "the old table stays; the next night fetches it again",
            )


def _last_line(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LONGEST_LAST_LINE))
        return file.read().splitlines(keepends=True)[-1]


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
