"""Clocks that lie: set back, set forward, and the nights in which an hour comes twice or never."""

import math
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from small_clone import Small

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler (cc)")
# The clock on the wall is wrong by some seconds; waiting, by the monotonic clock, is as it was.
LIAR = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long wrong_by(void) {
    const char *seconds = getenv("WALL_CLOCK_WRONG_BY");
    return seconds ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += wrong_by();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *kept) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    return kept ? (*kept = precise.tv_sec) : precise.tv_sec;
}
"""


@pytest.fixture(scope="module")
def liar(open_folder: Path) -> str:
    """A library that lies to a program about the time."""
    source, library = open_folder / "liar.c", open_folder / "liar.so"
    source.write_text(LIAR)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    return str(library)


def at(liar: str, offset: timedelta, **variables: str) -> dict[str, str]:
    """The environment of a run whose clock is wrong by so much, in whole seconds, not less."""
    seconds = math.ceil(offset.total_seconds())
    return {"LD_PRELOAD": liar, "WALL_CLOCK_WRONG_BY": str(seconds)} | variables


def told(small: Small, statement: str) -> list[tuple]:
    with psycopg.connect(small.url()) as connection:
        return connection.execute(statement).fetchall()


def newest_run(small: Small) -> datetime:
    ((started,),) = told(small, "select started_at from pipeline.runs order by ctid desc limit 1")
    return started


def generation(small: Small) -> int:
    query = "select max((facts->>'generation')::int) from pipeline.steps where outcome='published'"
    ((number,),) = told(small, query)
    return number


LONG = pytest.mark.long


@pytest.mark.parametrize("days", [pytest.param(-1, marks=LONG), 365])
def test_a_clock_that_jumps_changes_no_order_and_nothing_expires(small, liar, days):
    before = generation(small)
    small.well_again(**at(liar, timedelta(days=days)))
    assert generation(small) > before
    small.well_again()
    assert generation(small) > before + 1
    due = "select max(expected_next_at) < now() + interval '2 days' from transformed.data_status"
    assert told(small, due) == [(True,)], "a clock that was ahead does not silence the alarm"
    overdue = "select bool_or(is_overdue) from transformed.data_status"
    assert told(small, overdue) == [(False,)]
    done = small.run("status")
    assert done.returncode == 0, done.stdout


# Germany's clocks: half past two comes twice on the one night, and never on the other.
NIGHTS = [
    "2026-10-25T01:30:00",
    pytest.param("2026-10-25T00:30:00", marks=LONG),
    pytest.param("2027-03-28T01:10:00", marks=LONG),
    pytest.param("2028-02-29T02:00:00", marks=LONG),
]


@pytest.mark.parametrize("instant", NIGHTS)
def test_a_night_in_which_the_clocks_change_is_one_night(small, liar, instant):
    wanted = datetime.fromisoformat(instant).replace(tzinfo=UTC)
    before = generation(small)
    small.well_again(**at(liar, wanted - datetime.now(UTC), TZ="Europe/Berlin"))
    assert generation(small) == before + 1
    assert timedelta(0) <= newest_run(small) - wanted < timedelta(minutes=5)
