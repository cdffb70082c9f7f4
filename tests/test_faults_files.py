"""Damaged, locked and mistaken files: found by name, and mended by the next night."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest
from publisher import Answer
from small_clone import HOST, SOURCES, Small, whole_nights


def flip(path: Path) -> None:
    """Alter one bit."""
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


DAMAGED = {
    "data/raw/left/left.csv": "left.csv does not have the SHA-256",
    "data/raw/left/datapackage.json": "datapackage.json does not have the SHA-256",
    "data/raw/left/SHA256SUMS": "SHA256SUMS|does not have the SHA-256|is missing",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_bit_flipped_in_a_snapshot_is_named_and_the_tables_stay(small, name):
    old = small.newest
    flip(small.folder / name)
    small.publisher.answers[f"/{HOST}/left.csv"] = [Answer(b"down", 503)]
    done = small.run()
    assert done.returncode == 2, done.stdout
    assert re.search(DAMAGED[name], done.stdout), done.stdout
    assert small.published() == {old}
    small.give_out("left", small.body(old))
    small.still_well()


@pytest.mark.parametrize("name", DAMAGED)
def test_a_bit_flipped_in_a_snapshot_is_mended_by_the_publisher(small, name):
    old = small.newest
    flip(small.folder / name)
    done = small.run()
    assert done.returncode == 0, done.stdout
    checked = subprocess.run(
        ["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=small.folder / "data/raw/left"
    )
    assert checked.returncode == 0
    assert small.published() == {old}


def test_a_bit_flipped_in_a_legible_file_is_never_loaded(small):
    old = small.newest
    flip(small.folder / "data/preprocessed/left.csv")
    done = small.run("load", "left", "--force")
    assert done.returncode == 2, done.stdout
    assert "is not what preprocess wrote" in done.stdout
    assert small.published() == {old}
    small.still_well()


@pytest.mark.parametrize("rubbish", [b"", b'{"api": 7}', b"\xff\x00"])
def test_a_damaged_memory_is_no_memory(small, rubbish):
    (small.folder / "data/state/left.json").write_bytes(rubbish)
    done = small.run()
    assert done.returncode == 0, done.stdout
    assert small.published() == {small.newest}


def test_a_build_that_could_not_be_noted_in_the_end_is_not_called_old(small):
    memory = small.folder / "data/state/all models.json"
    noted = json.loads(memory.read_bytes())  # of the build before the one that is published next
    small.well_again()
    noted["transform"] |= {"outcome": "failed", "reason": "the disk is full"}
    memory.write_text(json.dumps(noted))
    for _ in range(2):
        small.still_well()
        with psycopg.connect(small.url()) as connection:
            told = connection.execute("select name, state, reason from transformed.data_status")
            assert {row[1:] for row in told} == {("fresh", None)}
            outcomes = connection.execute(
                "select outcome from pipeline.steps where name = 'all models' order by step_id"
            ).fetchall()
            assert outcomes[-2:] == [("published",), ("unchanged",)], "dbt did not run again"


def test_gits_index_is_locked_by_somebody_else(small):
    if subprocess.run(["git", "lfs", "version"], capture_output=True).returncode:
        pytest.skip("git-lfs is not installed")
    lock = small.folder / ".git" / "index.lock"
    lock.touch()
    try:
        small.well_again(STASH="git")
        assert lock.exists(), "it is somebody else's"
    finally:
        lock.unlink()
    log = ["git", "log", "--format=%s", "raw-data"]
    said = subprocess.run(log, cwd=small.folder, capture_output=True, text=True, check=True).stdout
    assert len(said.split("\n")) > len(SOURCES)
    subprocess.run(["git", "fsck", "--strict"], cwd=small.folder, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("FETCH_PATIANCE=3", "FETCH_PATIANCE is not a setting - did you mean FETCH_PATIENCE"),
        ("data_dir=x", "data_dir is not a setting - did you mean DATA_DIR"),
        ("SOURCE_TIMEOUT=long", "SOURCE_TIMEOUT='long' is not a number"),
        ("DATABASE_URL=mysql://h/d", "DATABASE_URL does not begin with postgresql://"),
    ],
)
def test_a_setting_that_is_none_is_78_before_anything_is_touched(small, line, words):
    asked = len(small.publisher.requests)
    (small.folder / ".env").write_text(f"CONTACT=me\n{line}\n")
    try:
        for command in ([], ["doctor"], ["api", "left"]):
            done = small.run(*command)
            assert done.returncode == 78, done.stdout
            assert words in done.stderr
    finally:
        (small.folder / ".env").unlink()
    assert len(small.publisher.requests) == asked


def test_a_missing_declaration_of_a_table_is_78_before_anything_is_touched(small, tmp_path):
    asked = len(small.publisher.requests)
    file = small.folder / "load/left.sql"
    shutil.move(file, tmp_path / "left.sql")
    try:
        for command in ([], ["load"], ["load", "left"]):
            done = small.run(*command)
            assert done.returncode == 78, done.stdout
            assert done.stderr.strip() == (
                "run_pipeline.sh: source left has no load/left.sql - see docs/adding_a_source.md"
            )
        assert small.run("load", "right").returncode == 0
    finally:
        shutil.move(tmp_path / "left.sql", file)
    assert len(small.publisher.requests) == asked
    small.still_well()


def test_a_kind_that_there_is_not_leaves_its_source_alone(small):
    old, file = small.newest, small.folder / "api/left.py"
    text = file.read_text()
    small.something_new()
    try:
        file.write_text(re.sub(r"""(["'])csv\1""", '"xlsx"', text))
        done = small.run("api", "left")
        assert done.returncode == 78, done.stdout
        assert (done.stdout + done.stderr).count("declares kind='xlsx'") == 1
        assert "Traceback" not in done.stdout + done.stderr
        done = small.run()
        assert done.returncode == 2, done.stdout
        assert re.search("api right: new.*load right: new", done.stdout, re.S)
    finally:
        file.write_text(text)
    assert small.published() >= {old}
    small.well_again()


def test_the_table_of_a_source_that_was_deleted_stays(small, tmp_path):
    old = small.newest
    parts = ["api/right.py", "preprocess/right.py", "preprocess/test_right.py", "load/right.sql"]
    for part in parts:
        (tmp_path / part).parent.mkdir(exist_ok=True)
        shutil.move(small.folder / part, tmp_path / part)
    try:
        done = small.run()
        assert done.returncode == 2, done.stdout
        assert re.search(r"^- .*right.*", done.stdout, re.MULTILINE), "the report names it"
        assert small.published() == {old}
    finally:
        for part in parts:
            shutil.move(tmp_path / part, small.folder / part)
    small.still_well()


@pytest.mark.long
def test_the_script_of_one_source_does_not_run(small):
    """The other's rows are published; the next night has both."""
    path = small.folder / "api" / "right.py"
    text = path.read_text()
    small.something_new()
    try:
        path.write_text("import nonsense")
        done = small.run()
        assert done.returncode == 2, done.stdout
        assert re.search("api right: failed.*- right: .*nonsense", done.stdout, re.S)
        assert small.published_of("left") == small.newest
        assert small.published_of("right") == small.newest - 1
    finally:
        path.write_text(text)
    small.well_again()


def by_hand(small: Small, *statements: str) -> None:
    with psycopg.connect(small.url(), autocommit=True) as somebody:
        for statement in statements:
            somebody.execute(statement)
        somebody.execute("select pg_stat_force_next_flush()")


def in_prod(small: Small) -> set[int]:
    with psycopg.connect(small.run("db", "url", "--prod").stdout.strip()) as connection:
        return whole_nights(connection)


def test_what_somebody_changed_in_dev_is_mended_and_never_reaches_prod(small: Small):
    by_hand(
        small,
        "delete from source.left where id::integer % 2 = 0",
        "update transformed.right_rows set night = 0 where id < 9",
    )
    done = small.run()
    assert done.returncode == 0, done.stdout
    assert (
        "somebody had changed source.left, it has 150 rows, and was written with 300" in done.stdout
    )
    assert small.published() == in_prod(small) == {small.newest}
    done = small.run()
    assert re.search("load left: unchanged.*transform all models: unchanged", done.stdout, re.S)


def test_the_documented_recovery_makes_everything_of_a_source_again(small: Small):
    by_hand(small, "update source.left set night = '0'", "select pg_stat_reset()")
    for words, said in (
        (["preprocess", "left", "--force"], "preprocess left: new"),
        (["load"], "load left: new"),
        (["transform"], "transform all models: published"),
        (["publish"], "publish database prod: published"),
    ):
        done = small.run(*words)
        assert (done.returncode, said in done.stdout) == (0, True), done.stdout
    assert small.published() == in_prod(small) == {small.newest}
    assert small.query("select distinct night from source.left") == [[str(small.newest)]]


def test_a_dbt_project_that_does_not_parse(small: Small):
    old, path = small.newest, small.folder / "transform/models/marts/left_rows.sql"
    text = path.read_text()
    small.something_new()
    try:
        path.write_text("select {{ nonsense(")
        done = small.run()
        assert done.returncode == 1, done.stdout
        said = "the dbt project does not parse: Compilation Error in model left_rows"
        assert (done.stdout + done.stderr).count(said) == 1, done.stdout + done.stderr
        assert small.run("status").stdout.count(said) == 1
        assert "ended with code 3" not in done.stdout
        assert small.published() == {old}
    finally:
        path.write_text(text)
    small.still_well()
