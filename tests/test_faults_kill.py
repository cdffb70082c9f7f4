"""kill -9 and SIGTERM at any moment of a night, of whatever takes part in it.

After each: readers met nothing they may not meet, nothing committed was lost, and the next night is
well without help. One random moment for each kind of process; with --long, three hundred.
"""

import itertools
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import psycopg
import pytest
from patience import Stopwatch, end_of, eventually
from small_clone import SOURCES, Small, kill, readers, whole_nights

pytestmark = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
SEED = 5
LONG = 300
# Of each victim: words in its command line; the runner and the server are found otherwise.
VICTIMS = {
    "runner": "",
    "script": "pipeline.cli.child",
    "dbt": "pipeline.stages.transform",
    "backend": "",
    "postmaster": "",
    "client": "pg_dump",
}
SHORT = [kind for kind in VICTIMS if kind != "dbt"]  # which the last test of this file kills
OF_PYTHON = ("runner", "script", "dbt")  # who is killed must be what a user starts, not a fork
COLD = 2.0  # times a night takes whose interpreters import all that they need
KILLED_OR_TOLD = {-signal.SIGKILL, 0, 1, 2}  # how the run may end when something in it was killed


def victims(small: Small, run: subprocess.Popen, kind: str) -> list[int]:
    """The processes of a kind that live now."""
    if kind == "runner":
        return [run.pid]
    if kind == "postmaster":
        return [small.postmaster()]
    if kind == "backend":
        return small.backends()
    return [process for process, words in small.processes().items() if VICTIMS[kind] in words]


def kill_one(small: Small, run: subprocess.Popen, kind: str, chance: random.Random) -> bool:
    """Kill one of a kind as soon as there is one; False when the night ended without."""
    while run.poll() is None:
        for process in chance.sample(found := sorted(victims(small, run, kind)), len(found)):
            return kill(process)
        time.sleep(0.01)
    return False


def nothing_is_lost(small: Small, before: int) -> None:
    """Raw snapshots, loaded and published rows are whole, of the night before or of this one."""
    allowed = {before, small.newest}
    for name in SOURCES:
        folder = small.folder / "data" / "raw" / name
        checked = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder)
        assert checked.returncode == 0
    with psycopg.connect(small.url()) as connection:
        assert whole_nights(connection) <= allowed, "a source that was killed keeps its rows"
        for name in SOURCES:
            statement = f"select night::int, count(*) from source.{name} group by 1"
            ((night, count),) = connection.execute(statement).fetchall()
            assert night in allowed
            assert count == len(small.body(1).splitlines()) - 1


def no_process_is_left(small: Small) -> None:
    eventually(lambda: small.processes() == {}, "the end of all processes of the run")


def test_killed_at_any_moment_the_next_night_is_well(small, is_long, capsys):
    chance = random.Random(SEED)
    began = time.monotonic()
    small.well_again()
    whole = time.monotonic() - began
    kills = 0
    rounds = LONG if is_long else len(SHORT)
    for kind in itertools.islice(itertools.cycle(VICTIMS if is_long else SHORT), rounds):
        before = small.newest
        with readers(small.url()) as known:
            small.something_new()
            is_cold = kind in OF_PYTHON or not small.warmth
            run = small.start(**({} if is_cold else small.warmth))
            time.sleep(chance.uniform(0, whole * (COLD if is_cold and small.warmth else 1)))
            kills += kill_one(small, run, kind, chance)
            said, _ = end_of(run)
            assert run.returncode in KILLED_OR_TOLD, said
            assert "Traceback" not in said
            no_process_is_left(small)
            nothing_is_lost(small, before)
            small.well_again()
        lost = [reader.lost for reader in known]
        assert kind in ("backend", "postmaster") or lost == [[]] * len(known), (kind, lost)
    with capsys.disabled():
        print(f" {kills} kills in {rounds} nights, 0 violations", end=" ")
    assert kills > rounds / 3


# SIGTERM in each stage: a word of the log by which the stage is known to work.
STAGES = {
    "api": "api left: started",
    "preprocess": "preprocess left: started",
    "load": "load left: started",
    "transform": "transform all models: started",
    "publish": "publish database prod: started",
}
SHORT_FORM = ("transform",)  # tests/test_night.py has stage api


@pytest.mark.parametrize(
    "stage", [pytest.param(s, marks=() if s in SHORT_FORM else pytest.mark.long) for s in STAGES]
)
def test_sigterm_ends_every_stage_cleanly(small, stage):
    before = small.newest
    with readers(small.url()) as known:
        small.something_new()
        run = small.start()
        wait_for_log(small, run, STAGES[stage])
        watch = Stopwatch()
        run.terminate()
        said, _ = end_of(run)
        assert watch.seconds() < 10
        assert run.returncode == 128 + signal.SIGTERM, said
        assert "stopped by SIGTERM" in said
        no_process_is_left(small)
        nothing_is_lost(small, before)
        small.well_again()
    assert [reader.lost for reader in known] == [[]] * len(known)


def wait_for_log(small: Small, run: subprocess.Popen, words: str) -> None:
    """Wait until the newest log has some words; logs that were there before do not count."""
    while run.poll() is None:
        for log in (small.folder / "data" / "logs").glob(f"*-{run.pid}.log"):
            if words in log.read_text():
                return
        time.sleep(0.005)
    pytest.fail(f"{words} was never logged")


def test_a_run_killed_at_its_start_leaves_a_status_that_turns_red_by_itself(small):
    """Nobody is there to tell readers; what the database says of itself must do."""
    run = small.start()
    time.sleep(0.05)
    run.kill()
    end_of(run)
    overdue = """select bool_or(is_overdue), bool_and(expected_next_at < now() + '2 days')
        from transformed.data_status"""
    with psycopg.connect(small.url()) as connection:
        assert connection.execute(overdue).fetchone() == (False, True)
        # Two nights later, by a clock that went on while nothing ran.
        connection.execute(
            """update transformed.data_status_facts
            set expected_next_at = expected_next_at - interval '2 days'"""
        )
        assert connection.execute(overdue).fetchone()[0] is True
        connection.rollback()
    small.still_well()


def tree_of(process: int) -> list[int]:
    """A process and all that descend from it."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *(found for child in children for found in tree_of(int(child)))]


def test_a_run_that_slept_while_another_took_over_publishes_nothing(small):
    """As on a machine that was suspended: its sessions are gone, and another run has published."""
    other = {"DATABASE_URL": small.url(), "DATA_DIR": str(small.folder / "of the other")}
    slept = small.something_new()
    run = small.start()
    wait_for_log(small, run, STAGES["transform"])
    time.sleep(1)
    asleep = tree_of(run.pid)
    for process in asleep:
        kill(process, signal.SIGSTOP)
    with psycopg.connect(other["DATABASE_URL"], autocommit=True) as owner:
        ended = owner.execute(
            """select count(pg_terminate_backend(pid)) from pg_stat_activity
            where pid <> pg_backend_pid() and datname = current_database()"""
        ).fetchone()[0]
        assert ended >= 2
    small.well_again(**other)
    taken_over = small.newest
    with readers(other["DATABASE_URL"]) as known:
        for process in asleep:
            kill(process, signal.SIGCONT)
        said, _ = end_of(run)
        time.sleep(0.5)
    assert run.returncode in (1, 2), said
    assert taken_over > slept
    looks = [each for reader in known for seen in reader.seen for each in seen]
    assert {night for _, _, night in looks} == {taken_over}
    small.well_again()


def test_a_server_killed_before_a_night_and_in_stage_transform_costs_nothing(small):
    """Readers need it before stage load does, and what was lost with it is done once more."""
    kill(small.postmaster())
    small.something_new()
    run = small.start()
    wait_for_log(small, run, STAGES["transform"])
    kill(small.postmaster())
    said, _ = end_of(run)
    assert run.returncode == 0, said
    assert said.index("Starting PostgreSQL") < said.index("api left")
    assert small.published() == {small.newest}
    done = small.run("db", "start")
    assert (done.returncode, done.stderr) == (0, ""), "it runs: nothing is said"
    kill(small.postmaster())
    done = small.run("status")
    assert done.returncode == 2
    assert "the database server was not running, so readers could not connect" in done.stdout
    assert small.run("status").returncode == 0
    kill(small.postmaster())
    assert "Starting PostgreSQL" in small.run("db", "start").stderr


def test_dbt_killed_by_the_kernel_for_its_memory_is_named(small):
    """The kernel's way: SIGKILL to the largest process of the run."""
    before = small.newest
    small.something_new()
    run = small.start()
    assert kill_one(small, run, "dbt", random.Random(SEED))
    said, _ = end_of(run)
    assert run.returncode == 2, said
    assert re.search("transform: ended by signal SIGKILL", said), said
    nothing_is_lost(small, before)
    assert small.published() == {before}
    small.still_well()
