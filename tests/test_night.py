"""The night as its users meet it: the real `./run_pipeline.sh` in a clone of its own."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import psycopg
import pytest
from patience import Stopwatch, end_of, eventually
from publisher import serving
from small_clone import Small, make_small

needs_proc = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")


def script(small: Small, stage: str, source: str, *words: str) -> subprocess.CompletedProcess:
    """Run one script by hand, as docs/operations.md has it."""
    return subprocess.run(
        [small.folder / ".venv/bin/python", f"{stage}/{source}.py", *words],
        cwd=small.folder,
        env=small.environment,
        capture_output=True,
        text=True,
    )


def log_of(done: subprocess.CompletedProcess) -> str:
    return Path(done.stdout.rpartition("log: ")[2].partition("\n")[0]).read_text()


def test_every_stage_and_every_script_can_be_run_by_itself(small):
    small.something_new()
    for stage in ("api", "preprocess", "load", "transform"):
        assert small.run(stage).returncode == 0, stage
    assert small.published() == {small.newest}
    assert small.run("load", "left", "--force").returncode == 0
    for stage, code in (("api", 2), ("preprocess", 0)):
        done = script(small, stage, "left", "--offline")
        assert done.returncode == code, done.stderr
        assert done.stdout.startswith("left: ")


def test_status_says_the_same_from_the_ledger(small):
    small.still_well()
    done = small.run("status")
    assert done.returncode == 0, done.stdout
    assert "transformed.left_rows" in done.stdout
    assert "right" in done.stdout


def test_an_empty_database_is_filled_again_offline(small):
    """From disk; of a source whose newest file is bad, from the last good one."""
    old = small.newest
    small.give_out("left", small.body(old + 1).replace(b"\n7,", b'\n7",', 1))
    assert small.run().returncode == 2
    with psycopg.connect(small.url()) as connection:
        for schema in ("source", "pipeline", "transformed"):
            connection.execute(f"drop schema {schema} cascade")
    done = small.run("--offline")
    assert done.returncode == 2, done.stdout + done.stderr
    assert small.published() == {old}
    small.give_out("left", small.body(old))
    small.still_well()


# Each defect: what is done to a file of the publisher's, and words the error must have.
DEFECTS = {
    "cut in the last row": (lambda body: body[:-4], "left.csv"),
    "a bare quote in a field": (lambda body: body.replace(b"\n1,", b'\n1" pipe,', 1), "line 2"),
    "text after a closing quote": (lambda body: body.replace(b"\n1,", b'\n"1"g,', 1), "line 2"),
    "a line of backslash and dot": (lambda body: body.replace(b"\n2,", b"\n\\.\n2,", 1), "line 3"),
    "a short row": (lambda body: re.sub(rb"\n1,\d+", b"\n1", body, count=1), "line 2"),
    "a byte that is not UTF-8": (lambda body: body.replace(b"\n1,", b"\n1\xe9n,", 1), "line 2"),
    "a NUL": (lambda body: body.replace(b"\n1,", b"\n1\0,", 1), "line 2"),
    "two columns of one name": (lambda body: body.replace(b"id,night", b"id,id", 1), "id"),
    "nothing at all": (lambda body: b"", "empty"),
    "a header only": (lambda body: b"id,night\n", "left.csv"),
    "a column missing": (lambda body: re.sub(rb"(?m),[^,\n]*$", b"", body), "night"),
    "a web page": (lambda body: b"<!DOCTYPE html><title>Maintenance</title>", "web page"),
    "a code that comes twice": (lambda body: body.replace(b"\n2,", b"\n1,", 1), "test_ids"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_bad_bytes_are_refused_by_name_and_place_and_the_table_stays(small, defect):
    spoil, place = DEFECTS[defect]
    small.give_out("left", spoil(small.body(small.newest + 1)))
    ends = []
    for stage in ("api", "preprocess", "load"):  # a stage that refused leaves the next no work
        ends.append(small.run(stage, "left"))
        if ends[-1].returncode:
            break
    said = "".join(done.stdout for done in ends)
    assert [done.returncode for done in ends if done.returncode] == [2], said
    assert re.search(rf"left: (failed|kept).*{place}", said), said
    assert small.published_of("left") == small.newest
    small.give_out("left", small.body(small.newest))


def test_the_night_after_all_of_them_is_well(small):
    small.well_again()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "SHA256SUMS").unlink(), "SHA256SUMS is missing"),
        (
            lambda folder: (folder / "left.csv").write_text("id,night\n1,1\n"),
            "left.csv does not have the SHA-256",
        ),
        (
            lambda folder: (folder / "left.csv").write_text(
                "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
            ),
            "git lfs pull",
        ),
    ],
)
def test_a_damaged_snapshot_is_not_made_legible(small, damage, words):
    damage(small.folder / "data" / "raw" / "left")
    done = small.run("preprocess", "left", "--force")
    assert done.returncode == 2
    assert words in done.stdout
    assert small.published() == {small.newest}
    small.still_well()


def test_an_unreachable_database_is_one_clear_line_and_code_1(small):
    address = "postgresql://nobody:marker-of-a-secret@127.0.0.1:1/none"
    done = small.run(DATABASE_URL=address)
    assert done.returncode == 1, done.stdout
    assert re.search(r"failed: the database cannot be reached.*127\.0\.0\.1", done.stdout)
    assert "Traceback" not in done.stdout
    assert "data/logs/" in done.stdout
    assert "marker-of-a-secret" not in done.stdout + done.stderr


def test_a_failing_dbt_test_publishes_nothing_and_a_mended_one_is_no_longer_reported(small):
    small.still_well()
    legible = small.folder / "data" / "preprocessed" / "left.csv"
    legible.write_bytes(legible.read_bytes().replace(b"\n7,", b"\n8,", 1))
    done = small.run("load", "left", "--force")
    assert done.returncode == 2
    assert re.search(r"left +kept +300", done.stdout), "the table has all its rows"
    failing = small.folder / "transform" / "tests" / "never_true.sql"
    failing.parent.mkdir(exist_ok=True)
    failing.write_text("select id from {{ ref('left_rows') }}")
    old, _ = small.newest, small.something_new()
    done = small.run()
    assert done.returncode == 2, done.stdout
    assert "never_true" in done.stdout
    assert "not what preprocess wrote" not in done.stdout
    assert small.published_of("left") == old
    assert small.run("status").returncode == 2
    failing.unlink()
    small.still_well()
    assert "never_true" not in small.run("status").stdout
    assert small.run("status").returncode == 0


ROGUES = {
    "hangs": ("import time; time.sleep(600)", "SOURCE_TIMEOUT"),
    "crashes": ("raise RuntimeError('out of luck')", "out of luck"),
    "dies": ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    "eats": ("x = bytearray(3_000_000_000)", "MemoryError"),
    "says_nothing": ("print('all is fine')", "ended with code 0 and recorded no outcome"),
    "forges": ("raise RuntimeError('boom \\x1b[31m red\\n- left: fine')", "left: fine"),
}


@pytest.fixture
def rogues(small: Small) -> Iterator[None]:
    """Sources whose scripts go wrong in every way."""
    made = []
    for name, (code, _) in ROGUES.items():
        made.append(small.folder / "api" / f"rogue_{name}.py")
        made[-1].write_text(code)
    yield
    for path in made:
        path.unlink()


def test_a_rogue_script_takes_nothing_else_with_it(small, rogues):
    done = small.run("api", SOURCE_TIMEOUT="4", SOURCE_MEMORY_MB="1000")
    assert done.returncode == 2
    for name, (_, words) in ROGUES.items():
        assert re.search(rf"rogue_{name}: missing.*{words}", done.stdout), done.stdout
    assert len(re.findall(r"api (?:left|right): (?:new|unchanged)", done.stdout)) == 2
    assert "\x1b" not in done.stdout, "no words of an exception forge the report"
    assert "\n- left: fine" not in done.stdout


def start_and_hang(small: Small) -> tuple[subprocess.Popen, Event]:
    """A run whose publisher accepts and stays silent until the event is set."""
    before = len(small.publisher.requests)
    going_on = small.hold_back("left", small.body(small.newest))
    process = small.start()

    def is_asked() -> bool:
        return any(path.endswith("left.csv") for path in small.publisher.paths()[before:])

    eventually(is_asked, "the request for left.csv")
    return process, going_on


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_run_cleanly(small, number):
    process, going_on = start_and_hang(small)
    watch = Stopwatch()
    process.send_signal(number)
    said, _ = end_of(process)
    assert process.returncode == 128 + number, said
    assert f"stopped by {number.name}" in said
    assert watch.seconds() < 10
    assert small.processes() == {}
    going_on.set()
    small.still_well()


@needs_proc
def test_nothing_outlives_a_run_that_was_killed(small):
    process, going_on = start_and_hang(small)
    process.kill()
    process.wait()
    eventually(lambda: small.processes() == {}, "the end of what a killed run started")
    going_on.set()
    small.still_well()


def test_a_data_folder_that_cannot_be_made_is_code_78(small):
    done = small.run(DATA_DIR="/proc/nowhere")
    assert done.returncode == 78
    assert "/proc/nowhere" in done.stderr


WRONG = ["frobnicate", "load no_such_source", "--bogus", "db", "status x", "--rollback"]
WRONG += ["status --audit", "publish left", "load --accept-contract left_rows"]
WRONG += ["transform --accept-contract no_such_model", "publish --rollback last"]
WRONG += ["publish --rollback --dry-run", "publish --list --audit"]


@pytest.mark.parametrize("words", WRONG)
def test_wrong_usage_is_code_64(small, words):
    done = small.run(*words.split())
    assert done.returncode == 64
    assert "usage" in done.stderr


def test_a_setting_that_makes_no_sense_is_code_78(small):
    done = small.run(FETCH_PATIENCE="soon")
    assert done.returncode == 78
    assert "FETCH_PATIENCE" in done.stderr


def test_crons_bare_environment_gives_the_same_result(small):
    small.still_well()
    given = {name: small.environment[name] for name in ("STASH", "FETCH_PATIENCE", "MIRRORS")}
    variables = ["PATH=/usr/bin:/bin", *(f"{name}={value}" for name, value in given.items())]
    program = small.folder / "run_pipeline.sh"
    done = subprocess.run(
        [*["sh", "-c"], 'umask 077; cd /; exec env -i "$@"', "-", *variables, program],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "transform all models: unchanged" in done.stdout


def test_a_missed_night_is_caught_up_once(small):
    small.still_well()
    done = small.run("--if-missed")
    assert done.returncode == 0
    assert "no night was missed" in done.stdout
    (small.folder / "data" / "state" / "night.json").unlink()
    assert "transform" in small.run("--if-missed").stdout


def test_a_terminal_shows_progress_and_the_same_report(small):
    import pty

    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [small.folder / "run_pipeline.sh", "api"],
        env=small.environment | {"TERM": "xterm-256color"},
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            block = os.read(leader, 65536)
        except OSError:
            break
        if not block:
            break
        shown += block
    os.close(leader)
    assert process.wait() == 0
    assert b"right" in shown
    assert b"Traceback" not in shown


def test_a_reader_of_the_output_that_leaves_does_not_stop_the_run(small):
    command = f"'{small.folder}/run_pipeline.sh' api | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], env=small.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_standard_output_stops_nothing(small):
    command = f"exec '{small.folder}/run_pipeline.sh' api --offline >&-"
    done = subprocess.run(["bash", "-c", command], env=small.environment, stderr=subprocess.PIPE)
    assert done.returncode == 2, done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_an_ordinary_user_gets_the_same_night(open_folder):
    user = {"user": 65534, "group": 65534, "extra_groups": []}
    python = ""
    if subprocess.run(["test", "-x", os.path.realpath(sys.executable)], **user).returncode:
        python = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
        if not Path(python).exists():
            pytest.skip(f"an ordinary user can enter neither {sys.executable} nor {python}")
    with serving() as publisher:
        made = make_small(open_folder / "of an ordinary user", publisher)
        made.something_new()
        if python:
            (made.folder / ".venv/bin/python").unlink()
            (made.folder / ".venv/bin/python").symlink_to(python)
        for path in [made.folder, *made.folder.rglob("*")]:
            if ".venv" not in path.relative_to(made.folder).parts:
                os.chown(path, 65534, 65534, follow_symlinks=False)

        def run(*words):
            return subprocess.run(
                [made.folder / "run_pipeline.sh", *words],
                cwd="/",
                env=made.environment | {"HOME": "/nonexistent"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                **user,
            )

        try:
            done = run()
            assert done.returncode == 0, done.stdout + done.stderr
            rows = "select count(*) from transformed.left_rows"
            assert run("db", "psql", "--", "-XAtqc", rows).stdout.strip() == "300"
        finally:
            run("db", "stop")
            shutil.rmtree(made.folder)
