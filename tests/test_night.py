"""The night as its users meet it: the real `./run_pipeline.sh` in a clone of its own."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from clone import Clone, make_clone
from patience import Stopwatch, end_of, eventually
from publisher import Answer, Publisher, held
from upstream.twelve import twelve

from pipeline import settings
from pipeline.settings import BUNDLED

CDN = "/cdn.jsdelivr.net/npm"
SOURCES = {
    "bls_unemployment": f"{CDN}/vega-datasets@3.2.1/data/unemployment.tsv",
    "census_counties": f"{CDN}/us-atlas@3.0.1/counties-10m.json",
    "faa_airports": f"{CDN}/vega-datasets@3.2.1/data/airports.csv",
    "faa_wildlife_strikes": f"{CDN}/vega-datasets@3.2.1/data/birdstrikes.csv",
}
EVENTS = "/earthquake.usgs.gov/fdsnws/event/1"
ALL = len(settings.sources())


def bundled_bytes(source: str) -> bytes:
    (path,) = (
        p for p in (BUNDLED / source).iterdir() if not p.name.isupper() and p.stem != "datapackage"
    )
    return path.read_bytes()


def feature(begin: str) -> dict:
    """An event with all the members the bundled feed has, at the beginning of a window."""
    whole = json.loads(bundled_bytes("usgs_earthquakes"))["features"][0]
    return whole | {"id": f"test{begin[:7]}", "properties": whole["properties"] | {"place": begin}}


def serve_all(publisher: Publisher) -> None:
    """Let every publisher answer honestly, with one earthquake a month."""
    publisher.answers.clear()
    publisher.answers.update(publisher.honest)

    def query(request):
        begin = re.search(r"starttime=(\d{4}-\d{2})", request.path)[1]
        body = {
            "type": "FeatureCollection",
            "metadata": {"generated": time.time_ns()},
            "features": [feature(begin)],
        }
        return Answer(json.dumps(body).encode(), headers={"Content-Type": "application/json"})

    publisher.answers[f"{EVENTS}/query"] = query
    publisher.answers[f"{EVENTS}/count"] = [Answer(b'{"count":1,"maxAllowed":20000}')]


def mirrors(publisher: Publisher) -> str:
    return publisher.mirrors


@pytest.fixture(scope="module")
def world() -> Iterator[Publisher]:
    """The publishers of all sources, for the whole module, on one port."""
    with twelve() as known:
        publisher = known.publisher
        publisher.mirrors = known.mirrors
        publisher.honest = dict(publisher.answers)
        yield publisher


@pytest.fixture
def night(clone: Clone, world: Publisher):
    """Run a command of the clone against the local publishers."""

    def run(*words: str, **variables: str) -> subprocess.CompletedProcess:
        given = {"MIRRORS": mirrors(world), "FETCH_PATIENCE": "0"} | variables
        return clone.run(*words, **given)

    serve_all(world)
    world.requests.clear()
    return run


def generation(clone: Clone) -> int:
    statement = (
        "select max((facts->>'generation')::int) from pipeline.steps where stage='transform'"
    )
    return int(clone.query(statement)[0][0] or 0)


def counted(clone: Clone, table: str) -> int:
    return int(clone.query(f"select count(*) from {table}")[0][0])


def test_an_offline_first_night_uses_the_bundled_captures(clone, night):
    done = night("--offline", STASH="git")
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout.count("bundled") >= 5
    assert counted(clone, "transformed.county_hazard_profile") > 3000
    guam = "select county_fips from transformed.airports where airport_id = 'GUM'"
    assert clone.query(guam) == [["66010"]]
    placed = "select sum(earthquake_count) > 0 from transformed.county_hazard_profile"
    assert clone.query(placed) == [["t"]]
    for source in (*SOURCES, "usgs_earthquakes"):
        folder = clone.folder / "data" / "raw" / source
        assert (
            subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder).returncode == 0
        )


def test_the_stash_holds_the_snapshots_as_lfs_objects(clone):
    def git(*words):
        return subprocess.run(
            ["git", *words], cwd=clone.folder, capture_output=True, text=True
        ).stdout

    if subprocess.run(["git", "lfs", "version"], capture_output=True).returncode:
        pytest.skip("git-lfs is not installed")
    pointer = git("show", "raw-data:data/raw/faa_airports/airports.csv")
    assert pointer.startswith("version https://git-lfs.github.com/spec/v1")
    assert git("status", "--porcelain") == ""
    assert git("branch", "--show-current").strip() == "main"
    assert len(git("log", "--format=%h", "raw-data").split()) == 5


def test_a_second_night_changes_nothing_and_starts_no_dbt(clone, night):
    before = (
        generation(clone),
        clone.query("select max(step_id) from pipeline.steps where stage='load'"),
    )
    done = night("--offline", STASH="git")
    assert done.returncode == 2
    assert "transform all models: unchanged" in done.stdout
    log = (clone.folder / done.stdout.rpartition("log: ")[2].strip()).read_text()
    assert "dbt" not in log
    after = (
        generation(clone),
        clone.query("select max(step_id) from pipeline.steps where stage='load'"),
    )
    assert after == before


def test_a_live_night_is_new_then_unchanged_then_kept(clone, night, world):
    done = night()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"api \w+: new", done.stdout)) == ALL
    assert counted(clone, "source.usgs_earthquakes") == 24
    generation_of_new = generation(clone)

    world.requests.clear()
    done = night()
    assert done.returncode == 0, done.stdout
    assert len(re.findall(r"api \w+: unchanged", done.stdout)) == ALL
    assert generation(clone) == generation_of_new
    asked = [path for path in world.paths() if path.startswith(f"{EVENTS}/query")]
    months_read = [path for path in asked if "updatedafter" not in path]
    assert len(months_read) == 2, "only the newest two months are read again"

    world.answers.clear()
    done = night()
    assert done.returncode == 2
    assert len(re.findall(r"api \w+: kept", done.stdout)) == ALL
    assert "answered 404" in done.stdout
    assert counted(clone, "source.usgs_earthquakes") == 24


def test_status_says_the_same_from_the_ledger(clone, night):
    night()
    done = clone.run("status")
    assert done.returncode == 0, done.stdout
    assert "transformed.county_hazard_profile" in done.stdout
    assert "usgs_earthquakes" in done.stdout


def test_every_stage_and_every_script_can_be_run_by_itself(clone, night):
    night()
    for stage in ("api", "preprocess", "load", "transform"):
        assert night(stage).returncode == 0, stage
    assert night("load", "faa_airports", "--force").returncode == 0
    for stage in ("api", "preprocess"):
        done = subprocess.run(
            [clone.folder / ".venv/bin/python", f"{stage}/faa_airports.py", "--offline"],
            cwd=clone.folder,
            env=clone.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == (2 if stage == "api" else 0), done.stderr
        assert done.stdout.startswith("faa_airports: ")


def test_an_empty_database_is_filled_again_offline(clone, night):
    night()
    clone.query("drop schema source cascade")
    clone.query("drop schema pipeline cascade")
    done = night("--offline")
    assert done.returncode == 2, done.stdout + done.stderr
    assert counted(clone, "source.faa_airports") == 3376
    assert counted(clone, "transformed.county_hazard_profile") > 3000


@pytest.fixture(scope="module")
def brought_in() -> set[str]:
    """The sources whose tables have what their publishers have, after an honest night."""
    return set()


def bring_in(night, source: str) -> None:
    """Take one source from its publisher to its table."""
    for stage in ("api", "preprocess", "load"):
        done = night(stage, source)
        assert done.returncode == 0, done.stdout


# Each defect: what is done to airports.csv, and words the error must have.
AIRPORTS = bundled_bytes("faa_airports")
HEADER, FIRST, REST = AIRPORTS.split(b"\n", 2)
DEFECTS = {
    "cut in the last row": (AIRPORTS[:-7], "airports.csv"),
    "a bare quote in a field": (AIRPORTS.replace(b"Thigpen", b'6" pipe'), "line 2"),
    "text after a closing quote": (AIRPORTS.replace(b"Thigpen", b'"Thig"pen'), "line 2"),
    "a line of backslash and dot": (HEADER + b"\n" + FIRST + b"\n\\.\n" + REST, "line 3"),
    "a short row": (AIRPORTS.replace(b"Thigpen,", b""), "line 2"),
    "a byte that is not UTF-8": (AIRPORTS.replace(b"Thigpen", b"Thig\xe9n"), "line 2"),
    "a NUL": (AIRPORTS.replace(b"Thigpen", b"Thig\0n"), "line 2"),
    "two columns of one name": (AIRPORTS.replace(b"name,city", b"city,city"), "city"),
    "nothing at all": (b"", "empty"),
    "a header only": (HEADER + b"\n", "airports.csv"),
    "a column missing": (re.sub(rb"(?m),[^,\n]*$", b"", AIRPORTS), "longitude"),
    "a web page": (b"<!DOCTYPE html><title>Maintenance</title>", "web page"),
    "a code that comes twice": (AIRPORTS.replace(b"00R,", b"00M,"), "test_codes"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_bad_bytes_are_refused_by_name_and_place_and_the_table_stays(
    clone, night, world, brought_in, defect
):
    if "faa_airports" not in brought_in:
        bring_in(night, "faa_airports")
    body, place = DEFECTS[defect]
    world.answers[SOURCES["faa_airports"]] = [Answer(body)]
    ends = [night(stage, "faa_airports") for stage in ("api", "preprocess", "load")]
    said = "".join(done.stdout for done in ends)
    assert 2 in [done.returncode for done in ends], said
    assert re.search(rf"faa_airports: (failed|kept).*{place}", said), said
    assert counted(clone, "source.faa_airports") == 3376
    serve_all(world)
    bring_in(night, "faa_airports")
    brought_in.add("faa_airports")


def test_a_bad_source_leaves_the_others_their_night(clone, night, world):
    night()
    changed = bundled_bytes("bls_unemployment").replace(b"1001\t.097", b"1001\t.098")
    world.answers[SOURCES["bls_unemployment"]] = [Answer(changed)]
    world.answers[SOURCES["faa_airports"]] = [Answer(DEFECTS["a short row"][0])]
    before = generation(clone)
    done = night()
    assert done.returncode == 2, done.stdout
    assert generation(clone) == before + 1
    rate = "select unemployment_rate_pct from transformed.county_unemployment"
    assert clone.query(f"{rate} where county_fips = '01001'") == [["9.80"]]
    assert counted(clone, "transformed.airports") == 3376
    serve_all(world)
    assert night().returncode == 0


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"type":"FeatureCollection","features":[]}', "no features|0 events"),
        (b"<html>down</html>", "web page"),
        (b'{"type":"FeatureCollection","features":[{]}', "GeoJSON|JSON"),
    ],
)
def test_bad_geojson_is_refused(clone, night, world, body, place):
    world.answers[f"{EVENTS}/query"] = [Answer(body)]
    done = night("api", "usgs_earthquakes")
    assert done.returncode == 2
    assert re.search(place, done.stdout), done.stdout


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "SHA256SUMS").unlink(), "SHA256SUMS is missing"),
        (lambda folder: flip(folder / "airports.csv"), "airports.csv does not have the SHA-256"),
        (
            lambda folder: (folder / "airports.csv").write_text(
                "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
            ),
            "git lfs pull",
        ),
    ],
)
def test_a_damaged_snapshot_is_not_made_legible(clone, night, damage, words):
    bring_in(night, "faa_airports")
    damage(clone.folder / "data" / "raw" / "faa_airports")
    done = night("preprocess", "faa_airports", "--force")
    assert done.returncode == 2
    assert words in done.stdout
    assert counted(clone, "source.faa_airports") == 3376
    done = night()
    assert done.returncode == 0, done.stdout


def flip(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[100] ^= 1
    path.write_bytes(body)


def test_an_unreachable_database_is_one_clear_line_and_code_1(clone, night):
    address = "postgresql://nobody:marker-of-a-secret@127.0.0.1:1/none"
    done = night(DATABASE_URL=address)
    assert done.returncode == 1, done.stdout
    assert re.search(r"failed: the database cannot be reached.*127\.0\.0\.1", done.stdout)
    assert "Traceback" not in done.stdout
    assert "data/logs/" in done.stdout
    assert "marker-of-a-secret" not in done.stdout + done.stderr


def test_a_dbt_project_that_does_not_parse_is_code_1_and_publishes_nothing(clone, night):
    night()
    before = generation(clone)
    model = clone.folder / "transform" / "models" / "marts" / "counties.sql"
    text = model.read_text()
    try:
        model.write_text("select {{ nonsense(")
        done = night()
        assert done.returncode == 1, done.stdout
        assert "the dbt project does not parse" in done.stdout
        assert generation(clone) == before
        assert counted(clone, "transformed.counties") > 3000
    finally:
        model.write_text(text)
    assert night().returncode == 0


def test_a_failing_dbt_test_publishes_nothing(clone, night):
    night()
    before = generation(clone)
    failing = clone.folder / "transform" / "tests" / "never_true.sql"
    failing.write_text("select county_fips from {{ ref('counties') }}")
    try:
        done = night()
        assert done.returncode == 2, done.stdout
        assert "never_true" in done.stdout
        assert generation(clone) == before
        assert clone.run("status").returncode == 2
    finally:
        failing.unlink()
    assert night().returncode == 0


ROGUES = {
    "hangs": ("import time; time.sleep(600)", "SOURCE_TIMEOUT"),
    "crashes": ("raise RuntimeError('out of luck')", "out of luck"),
    "dies": ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    "eats": ("x = bytearray(3_000_000_000)", "MemoryError"),
    "says_nothing": ("print('all is fine')", "without saying what it did"),
}


@pytest.fixture
def rogues(clone: Clone) -> Iterator[None]:
    """Sources whose scripts go wrong in every way."""
    made = []
    for name, (code, _) in ROGUES.items():
        made.append(clone.folder / "api" / f"rogue_{name}.py")
        made[-1].write_text(code)
    yield
    for path in made:
        path.unlink()


def test_a_rogue_script_takes_nothing_else_with_it(clone, night, rogues):
    done = night("api", SOURCE_TIMEOUT="4", SOURCE_MEMORY_MB="1000")
    assert done.returncode == 2
    for name, (_, words) in ROGUES.items():
        assert re.search(rf"rogue_{name}: failed.*{words}", done.stdout), done.stdout
    assert len(re.findall(r"api [a-z]+_[a-z_]+: (?:new|unchanged)", done.stdout)) == ALL


def start(clone: Clone, world: Publisher, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [clone.folder / "run_pipeline.sh", *words],
        env=clone.environment | {"MIRRORS": mirrors(world), "FETCH_PATIENCE": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def hang(world: Publisher) -> Event:
    """Let one source's publisher accept and stay silent until told; the others' work."""
    world.answers[SOURCES["faa_airports"]], going_on = held(Answer(AIRPORTS))
    return going_on


def wait_for_request(world: Publisher, path: str) -> None:
    eventually(lambda: path in world.paths(), f"the request for {path}")


def scripts_running(clone: Clone) -> list[str]:
    """Command lines of processes that work in the clone, the database server apart."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if str(clone.folder).encode() == bytes((entry / "cwd").readlink()):
                found.append(b" ".join(words).decode())
        except OSError:
            continue
    return [line for line in found if "postgres" not in line]


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_run_cleanly(clone, night, world, number):
    hang(world)
    process = start(clone, world)
    wait_for_request(world, SOURCES["faa_airports"])
    watch = Stopwatch()
    process.send_signal(number)
    said, _ = end_of(process)
    assert process.returncode == 128 + number, said
    assert f"stopped by {number.name}" in said
    assert watch.seconds() < 10
    assert scripts_running(clone) == []
    serve_all(world)
    assert night().returncode == 0


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_nothing_outlives_a_run_that_was_killed(clone, night, world):
    hang(world)
    process = start(clone, world)
    wait_for_request(world, SOURCES["faa_airports"])
    process.kill()
    process.wait()
    eventually(lambda: scripts_running(clone) == [], "the end of what a killed run started")
    serve_all(world)
    assert night().returncode == 0


def test_a_second_run_at_the_same_time_ends_with_75(clone, night, world):
    going_on = hang(world)
    first = start(clone, world)
    wait_for_request(world, SOURCES["faa_airports"])
    second = night()
    assert second.returncode == 75
    assert "another run is in progress" in second.stderr
    going_on.set()
    end_of(first)
    assert first.returncode == 0


def test_a_data_folder_that_cannot_be_made_is_code_78(clone, night):
    done = night(DATA_DIR="/proc/nowhere")
    assert done.returncode == 78
    assert "/proc/nowhere" in done.stderr


WRONG = ["frobnicate", "load no_such_source", "--bogus", "db", "status x", "--rollback"]
WRONG += ["status --audit", "publish usgs_earthquakes", "load --accept-contract airports"]
WRONG += ["transform --accept-contract no_such_model", "publish --rollback last"]
WRONG += ["publish --rollback --dry-run", "publish --list --audit"]


@pytest.mark.parametrize("words", WRONG)
def test_wrong_usage_is_code_64(clone, words):
    done = clone.run(*words.split())
    assert done.returncode == 64
    assert "usage" in done.stderr


def test_a_setting_that_makes_no_sense_is_code_78(clone):
    done = clone.run(FETCH_PATIENCE="soon")
    assert done.returncode == 78
    assert "FETCH_PATIENCE" in done.stderr


def test_crons_bare_environment_gives_the_same_result(clone, night, world):
    night()
    variables = ["PATH=/usr/bin:/bin", "STASH=off", "FETCH_PATIENCE=0", f"MIRRORS={mirrors(world)}"]
    program = clone.folder / "run_pipeline.sh"
    done = subprocess.run(
        [*["sh", "-c"], 'umask 077; cd /; exec env -i "$@"', "-", *variables, program],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "transform all models: unchanged" in done.stdout


def test_a_missed_night_is_caught_up_once(clone, night):
    night()
    done = night("--if-missed")
    assert done.returncode == 0
    assert "nothing was missed" in done.stdout
    (clone.folder / "data" / "state" / "night.json").unlink()
    assert "transform" in night("--if-missed").stdout


def test_a_terminal_shows_progress_and_the_same_report(clone, night, world):
    import pty

    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [clone.folder / "run_pipeline.sh", "api"],
        env=clone.environment | {"MIRRORS": mirrors(world), "TERM": "xterm-256color"},
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
    assert b"faa_airports" in shown
    assert b"Traceback" not in shown


def test_a_reader_of_the_output_that_leaves_does_not_stop_the_run(clone, night, world):
    command = f"'{clone.folder}/run_pipeline.sh' api | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        env=clone.environment | {"MIRRORS": mirrors(world)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_an_ordinary_user_gets_the_same_night(open_folder, world):
    made = make_clone(open_folder / "of an ordinary user")
    serve_all(world)
    user = {"user": 65534, "group": 65534, "extra_groups": []}
    if subprocess.run(["test", "-x", os.path.realpath(sys.executable)], **user).returncode:
        system_python = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
        if not Path(system_python).exists():
            pytest.skip(f"an ordinary user can enter neither {sys.executable} nor {system_python}")
        (made.folder / ".venv/bin/python").unlink()
        (made.folder / ".venv/bin/python").symlink_to(system_python)
    for path in [made.folder, *made.folder.rglob("*")]:
        if ".venv" not in path.relative_to(made.folder).parts:
            os.chown(path, 65534, 65534, follow_symlinks=False)

    def run(*words):
        return subprocess.run(
            [made.folder / "run_pipeline.sh", *words],
            cwd="/",
            env=made.environment | {"MIRRORS": mirrors(world), "HOME": "/nonexistent"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            **user,
        )

    try:
        done = run()
        assert done.returncode == 0, done.stdout + done.stderr
        profile = "select count(*) > 3000 from transformed.county_hazard_profile"
        assert run("db", "psql", "--", "-XAtqc", profile).stdout.strip() == "t"
    finally:
        run("db", "stop")
        shutil.rmtree(made.folder)


def test_a_bad_file_and_a_lost_database_still_publish(clone, night, world):
    bring_in(night, "faa_wildlife_strikes")
    spoilt = bundled_bytes("faa_wildlife_strikes").replace(b"Night", b"N\xffght", 1)
    world.answers[SOURCES["faa_wildlife_strikes"]] = [Answer(spoilt)]
    assert night().returncode == 2
    for schema in ("source", "pipeline", "transformed"):
        clone.query(f"drop schema {schema} cascade")
    done = night()
    assert done.returncode == 2, done.stdout
    assert counted(clone, "source.faa_wildlife_strikes") == 10_000
    assert counted(clone, "transformed.county_hazard_profile") > 3000
    serve_all(world)
    assert night().returncode == 0


def test_a_file_without_a_final_line_end_is_not_cut_unnoticed(clone, night, world):
    bring_in(night, "faa_wildlife_strikes")
    cut = bundled_bytes("faa_wildlife_strikes")[:-2]
    world.answers[SOURCES["faa_wildlife_strikes"]] = [Answer(cut)]
    night("api", "faa_wildlife_strikes")
    done = night("preprocess", "faa_wildlife_strikes")
    assert done.returncode == 2
    assert "cut inside its last row" in done.stdout
    serve_all(world)
    bring_in(night, "faa_wildlife_strikes")


def test_a_failure_that_was_mended_is_no_longer_reported(clone, night):
    night()
    legible = clone.folder / "data" / "preprocessed" / "faa_airports.csv"
    legible.write_bytes(legible.read_bytes().replace(b"Thigpen", b"Thigpin"))
    done = night("load", "faa_airports", "--force")
    assert done.returncode == 2
    assert "faa_airports  kept" in done.stdout, "the table has all its rows"
    done = night()
    assert done.returncode == 0, done.stdout
    assert "not what preprocess wrote" not in done.stdout
    failing = clone.folder / "transform" / "tests" / "never_true.sql"
    failing.write_text("select county_fips from {{ ref('counties') }}")
    assert night().returncode == 2
    failing.unlink()
    done = night()
    assert done.returncode == 0
    assert "never_true" not in done.stdout
    assert clone.run("status").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small file system")
def test_a_full_disk_is_one_clear_line_and_the_next_night_is_well(clone, night, open_folder):
    small = open_folder / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small])
    if mounted.returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        small.chmod(0o755)
        address = clone.run("db", "url").stdout.strip()
        done = night("--offline", DATA_DIR=str(small / "data"), DATABASE_URL=address)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "the disk is full" in done.stdout
        assert "ended with code 1" in done.stdout
        assert "Traceback" not in done.stdout + done.stderr
    finally:
        subprocess.run(["umount", small], check=True)
    assert night().returncode == 0


def test_a_closed_standard_output_stops_nothing(clone, night):
    command = f"exec '{clone.folder}/run_pipeline.sh' api --offline >&-"
    done = subprocess.run(["bash", "-c", command], env=clone.environment, stderr=subprocess.PIPE)
    assert done.returncode == 2, done.stderr
    assert b"Traceback" not in done.stderr


def test_an_exceptions_text_cannot_forge_the_report(clone, night):
    rogue = clone.folder / "api" / "rogue_forger.py"
    rogue.write_text("raise RuntimeError('boom \\x1b[31m red\\n- faa_airports: fine')")
    try:
        done = night("api", "rogue_forger")
        assert done.returncode == 2
        assert "\x1b" not in done.stdout
        assert "\n- faa_airports: fine" not in done.stdout
    finally:
        rogue.unlink()
