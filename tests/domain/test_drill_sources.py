"""The whole drill of shipped sources, with publishers of ours."""

import os
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from clone import Clone, shrink
from patience import end_of
from twelve import twelve

from pipeline.drill import proxy
from pipeline.drill.trials import TRIALS

DRILLED = ("bls_unemployment", "nws_alerts", "cdc_places", "fema_disasters", "faa_airports")
TABLES = ", ".join(f"{{name: {name}}}" for name in DRILLED)
MART = """{{{{ config(contract={{'enforced': false}}) }}}}
select * from {{{{ source('source', '{0}') }}}}"""
# A drill compares published tables, whatever they are made of.
MODELS = {
    "sources.yml": f"""version: 2
sources: [{{name: source, schema: source, tables: [{TABLES}]}}]""",
} | {f"marts/{name}_rows.sql": MART.format(name) for name in DRILLED}


@pytest.fixture(scope="module")
def clone(clone: Clone, is_long: bool) -> Clone:
    """With a small dbt project; with `--long` as it is."""
    if not is_long:
        shrink(clone, DRILLED, MODELS)
    return clone


@pytest.fixture(scope="module")
def world():
    with twelve() as known:
        yield known


@pytest.fixture
def temporary(open_folder) -> Path:
    """The system's temporary folder as the drill sees it."""
    folder = open_folder / "temporary"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    return folder


def seen_of(folder: Path) -> dict:
    """What a folder of a user's clone looks like."""
    out = (".venv", "__pycache__")
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns) if path.is_file() else 0
        for path in folder.rglob("*")
        if not set(out) & set(path.relative_to(folder).parts)
    }


def processes_of(folder: Path) -> list[str]:
    """The processes that have a folder in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in text:
            found.append(text.decode("utf-8", "replace"))
    return found


# Trials of the short form: every route and every outcome.
SOME = ("none", "no network at all", "500 twice", "no rows", "a renamed column")
FEW = """
from pipeline.drill import command as drill, trials as drill_trials
chosen = %r
drill.TRIALS = [trial for trial in drill_trials.TRIALS if trial.name in chosen]
raise SystemExit(drill.run(%r))
"""


def test_a_file_and_a_feed_meet_every_fault_as_permitted(clone, world, temporary, is_long):
    before = seen_of(clone.folder)
    names = ["bls_unemployment", "nws_alerts"]
    chosen = [trial.name for trial in TRIALS if is_long or trial.name in SOME]
    given = {"MIRRORS": world.mirrors, "TMPDIR": str(temporary), "STASH": "git"}
    if is_long:
        done = clone.run("drill", *names, **given)
    else:
        done = clone.run("-c", FEW % (chosen, names), program=".venv/bin/python", **given)
    assert done.returncode == 0, done.stdout + done.stderr
    table = done.stdout[done.stdout.index("Source ") :].splitlines()
    rows = [re.split(r" {2,}", line.strip()) for line in table if line.startswith(tuple(names))]
    assert Counter(row[0] for row in rows) == dict.fromkeys(names, len(chosen))
    assert {row[1] for row in rows} == set(chosen)
    assert len({line.index(row[2]) for line, row in zip(table[2:], rows, strict=False)}) == 1
    for source, trial, did, code, _, reads, readers_met, *reason in rows:
        assert int(reads.replace(",", "")) > 0
        assert readers_met == "nothing"
        assert code == ("0" if did in ("recovered", "accepted") else "2"), (source, trial)
        assert reason if code == "2" else not reason
    did = {(row[0], row[1]): row[2] for row in rows}
    unread = {"no network at all", "a web page with 200"}
    well = {"none", "500 twice", "503 once, wait 1 s", "moved to another host"}
    for source in names:
        assert {did[source, trial] for trial in well.intersection(chosen)} == {"recovered"}
        assert {did[source, trial] for trial in unread.intersection(chosen)} == {"kept"}
    assert did["nws_alerts", "no rows"] == "accepted"
    assert did["bls_unemployment", "no rows"] == "rejected"
    assert did["bls_unemployment", "a renamed column"] == "rejected"
    assert seen_of(clone.folder) == before
    branches = subprocess.run(["git", "branch"], cwd=clone.folder, capture_output=True, text=True)
    assert branches.stdout.split() == ["*", "main"]
    assert list(temporary.iterdir()) == []
    assert processes_of(temporary) == []


def test_a_pipeline_that_accepts_too_much_is_detected(clone, world, temporary):
    guard = clone.folder / "pipeline" / "raw" / "volume.py"
    honest = guard.read_text()
    guard.write_text(honest.replace("SHARE = 0.5", "SHARE = 0.1"))
    assert guard.read_text() != honest
    try:
        with clone.warm(bool(clone.warmth)):  # a process that knows the guard as it is now
            done = clone.run(
                "-c",
                FEW % (["none", "a third of the rows"], ["cdc_places", "fema_disasters"]),
                program=".venv/bin/python",
                MIRRORS=re.sub(r"(data.cdc.gov=[^,]+)", r"\1/gone", world.mirrors),
                TMPDIR=str(temporary),
            )
    finally:
        guard.write_text(honest)
    assert done.returncode == 1, done.stdout + done.stderr
    assert (
        "violated: fema_disasters, a third of the rows: a faulty reply was accepted" in done.stdout
    )
    assert re.search(r"^left out: cdc_places: .*404", done.stdout, re.MULTILINE)
    assert "2 trials of 1 sources, 1 with violations" in done.stdout


def test_an_unknown_source_is_wrong_usage(clone):
    done = clone.run("drill", "faa_aeroplanes")
    assert done.returncode == 64
    assert "there is no source faa_aeroplanes" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--offline"], "reads its sources once from their publishers"),
        ([], "no publisher can be reached"),
    ],
)
def test_without_a_network_nothing_can_be_recorded(clone, temporary, words, says):
    with proxy.nobody() as gone:
        done = clone.run(
            "drill", "faa_airports", *words, MIRRORS=f"*={gone}", TMPDIR=str(temporary)
        )
    assert done.returncode == 78, done.stdout + done.stderr
    assert says in done.stderr
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "after"), [(signal.SIGTERM, "drill in "), (signal.SIGINT, "none: recovered")]
)
def test_a_signal_ends_it_and_leaves_nothing(clone, world, temporary, number, after):
    given = {"MIRRORS": world.mirrors, "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        [clone.folder / "run_pipeline.sh", "drill", "faa_airports"],
        env=clone.environment | clone.warmth | given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert any(after in line for line in process.stdout)
    time.sleep(0.5)  # in the midst of the next step
    process.send_signal(number)
    rest, _ = end_of(process)
    assert process.returncode == 128 + number, rest
    assert f"stopped by {number.name}" in rest
    assert "Traceback" not in rest
    assert list(temporary.iterdir()) == []
    assert processes_of(temporary) == []
