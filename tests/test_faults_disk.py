"""Full and read-only disks: nothing is half written, and there is room again the next night."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from small_clone import SOURCES, Small, readers

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a file system")
LARGE = 200_000  # bytes that a night needs and a full disk has not


@contextmanager
def small_disk(folder: Path, size: str = "8m") -> Iterator[None]:
    """A small file system in the place of a folder, with what is in it; the folder comes back."""
    aside = folder.with_name(f"{folder.name} aside")
    shutil.copytree(folder, aside)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(folder)]
    try:
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("this root cannot mount a file system")
        try:
            shutil.copytree(aside, folder, dirs_exist_ok=True)
            yield
        finally:
            subprocess.run(["umount", folder], check=True)
    finally:
        shutil.rmtree(aside)


def fill(folder: Path, leave: int = 0) -> None:
    """Take all room of a file system but some bytes."""
    room = os.statvfs(folder)
    with (folder / "filler").open("wb") as file:
        file.write(b"x" * max(0, room.f_bavail * room.f_frsize - leave))


def larger(small: Small) -> None:
    """Something new, with fields so long that a full disk cannot take it."""
    night = small.something_new()
    rows = small.body(night).splitlines(keepends=True)
    wide = b"".join(row.replace(b",", b"0" * (LARGE // len(rows)) + b",") for row in rows[1:])
    for name in SOURCES:
        small.give_out(name, rows[0] + wide)


def snapshots_are_whole(folder: Path) -> None:
    for name in SOURCES:
        checked = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder / name)
        assert checked.returncode == 0


@pytest.mark.parametrize("part", ["raw", "preprocessed"])
def test_a_full_disk_ends_the_night_and_old_data_stay(small, part):
    old = small.newest
    folder = small.folder / "data" / part
    with readers(small.url()), small_disk(folder):
        fill(folder, leave=20_000)
        larger(small)
        done = small.run()
        assert done.returncode == 1, done.stdout
        assert "the disk is full" in done.stdout
        assert "Traceback" not in done.stdout + done.stderr
        if part == "raw":
            snapshots_are_whole(folder)
        assert small.published() == {old}
    small.well_again()


@pytest.mark.long
def test_a_full_disk_of_the_state_ends_the_night(small):
    old = small.newest
    folder = small.folder / "data" / "state"
    with small_disk(folder):
        fill(folder)
        small.something_new()
        done = small.run()
        assert done.returncode == 1, done.stdout
        assert "disk is full" in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert small.published() == {old}
    small.still_well()


def test_a_full_disk_under_log_and_report_ends_nothing(small):
    folder = small.folder / "data" / "logs"
    with small_disk(folder):
        fill(folder)
        small.well_again()


@pytest.mark.long
def test_standard_output_on_a_full_disk_ends_nothing(small):
    night = small.something_new()
    command = f"exec '{small.folder}/run_pipeline.sh' > /dev/full"
    done = subprocess.run(
        ["bash", "-c", command],
        env=small.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert small.published() == {night}


def test_a_full_disk_of_the_database_while_dbt_builds(small, open_folder):
    old = small.newest
    tight = open_folder / "tight"
    tight.mkdir()
    address = small.url()
    with psycopg.connect(address, autocommit=True) as owner:
        user = Path(f"/proc/{small.postmaster()}").stat()
        with small_disk(tight, "256k"):
            os.chown(tight, user.st_uid, user.st_gid)
            owner.execute(f"create tablespace tight location '{tight}'")
            fill(tight, leave=8_192)
            # What dbt makes goes there; what was made before stays where it is.
            owner.execute("alter database dev set default_tablespace = tight")
            try:
                with readers(address):
                    small.something_new()
                    done = small.run()
                    assert done.returncode == 1, done.stdout
                    assert "the database's disk is full" in done.stdout
                    assert small.published() == {old}
            finally:
                owner.execute("alter database dev reset default_tablespace")
                owner.execute("drop schema if exists transformed_next cascade")
                owner.execute("drop tablespace tight")
    small.well_again()


@pytest.mark.parametrize(
    "part", ["raw", *(pytest.param(n, marks=pytest.mark.long) for n in ("state", "logs"))]
)
def test_a_folder_that_can_only_be_read_is_78_before_anything_is_asked(small, part):
    small.something_new()
    asked = len(small.publisher.requests)
    folder = small.folder / "data" / part
    with small_disk(folder):
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        done = small.run()
    assert done.returncode == 78, done.stdout + done.stderr
    assert f"data/{part}" in done.stderr
    assert len(small.publisher.requests) == asked
    small.still_well()
