"""`doctor`: what would stop tonight's run, with remedies; `cron`: lines for any path."""

import os
import re
import shlex
import shutil
import socket
import subprocess

import pytest

from pipeline import database, declaration_checks, errors, settings
from pipeline.cli import cron, doctor, last_night, night, preflight, publishers
from pipeline.raw import snapshot, stash
from pipeline.settings import ROOT, Settings
from pipeline.stages import lock


@pytest.fixture
def on(here, database_url, monkeypatch):
    """Apply settings: an empty database, and what a test changes."""

    def use(**changes) -> Settings:
        for name, value in ({"DATABASE_URL": database_url} | changes).items():
            monkeypatch.setenv(name, str(value))
        settings.load.cache_clear()
        return settings.load()

    return use


def check(capsys) -> tuple[int, str]:
    code = doctor.check(offline=True)
    return code, capsys.readouterr().out


def test_all_is_well(on, capsys):
    on()
    code, said = check(capsys)
    assert code == errors.OK
    assert "nothing stops tonight's run" in said
    assert re.search(r"version +PostgreSQL 18\.", said)
    assert all(name in said for name in settings.DEFAULTS)


def test_it_says_where_the_embedded_server_stands(on, server_settings, capsys):
    on(DATABASE_URL="", DATA_DIR=server_settings.data_dir)
    code, said = check(capsys)
    assert code == errors.OK
    assert re.search(rf"embedded cluster +{server_settings.postgres}/cluster", said)
    assert re.search(r"embedded server +ready, process \d+", said)


def test_passwords_are_masked(on, capsys, monkeypatch):
    monkeypatch.setattr("pipeline.database.connection.PATIENCE", 0)
    on(DATABASE_URL="postgresql://me:s3cr3t@127.0.0.1:9/dev")
    assert "postgresql://me:***@127.0.0.1:9/dev" in check(capsys)[1]


@pytest.mark.parametrize("sign", "#?[]&=%: ")
@pytest.mark.parametrize("name", ["DATABASE_URL", "PROD_DATABASE_URL"])
def test_no_part_of_a_password_is_printed(on, capsys, monkeypatch, name, sign):
    monkeypatch.setattr(database, "GLANCE", 0)
    password = f"front7k{sign}middle3q{sign}back9z"
    spelled = password.replace("%", "%25").replace(" ", "%20")
    on(**{name: f"postgresql://me:{spelled}@127.0.0.1:9/dev?sslpassword=other5j"})
    said = check(capsys)[1]
    assert "postgresql://me:***@127.0.0.1:9/dev?sslpassword=***" in said
    assert not re.search("front7k|middle3q|back9z|other5j", said)


@pytest.mark.parametrize(
    ("line", "is_secret"),
    [
        ("DATABASE_URL=postgresql://me:s3cr3t@127.0.0.1:9/dev", True),
        ("PROD_DATABASE_URL=postgresql://127.0.0.1:9/dev?password=s3cr3t", True),
        ("MIRRORS=data.gov=https://me:s3cr3t@mirror.org", True),
        ("KEY_EIA=s3cr3t-of-some-length", True),
        ("SOCRATA_APP_TOKEN=s3cr3t", True),
        ("APP_PASSWORD=s3cr3t", True),
        ("DATABASE_URL=postgresql://me@127.0.0.1:9/dev", False),
        ("KEY_EIA=", False),
        ("STASH=off", False),
    ],
)
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604])
def test_secrets_that_others_can_read_are_a_note(tmp_path, monkeypatch, line, is_secret, mode):
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    (tmp_path / ".env").write_text(f"CONTACT=me\n{line}\n")
    (tmp_path / ".env").chmod(mode)
    said = settings.exposed()
    assert bool(said) == (is_secret and mode != 0o600)
    if said:
        assert line.partition("=")[0] in said
        assert said.endswith(f"chmod 600 {tmp_path}/.env")
        assert "s3cr3t" not in said


def test_an_unreachable_database_stops_the_run(on, capsys, monkeypatch):
    monkeypatch.setattr("pipeline.database.connection.PATIENCE", 0)
    on(DATABASE_URL="postgresql://me@127.0.0.1:9/dev")
    code, said = check(capsys)
    assert code == errors.SETUP
    assert "stops tonight's run: the database cannot be reached" in said
    assert "check that the server runs" in said


def test_a_missing_part_of_a_source_stops_the_run(on, capsys, monkeypatch):
    on()
    known = settings.sources()
    monkeypatch.setattr(settings, "sources", lambda: [*known, "half_made"])
    code, said = check(capsys)
    assert code == errors.SETUP
    for part in declaration_checks.PARTS:
        assert f"source half_made has no {part.format('half_made')}" in said


def test_a_folder_that_cannot_be_written_stops_the_run(on, capsys, open_folder):
    given = on(DATA_DIR=open_folder / "closed" / "data")
    given.data_dir.parent.mkdir(mode=0o555)
    words = f"stops tonight's run: {open_folder}/closed cannot be written by this user"
    if os.geteuid() != 0:
        code, said = check(capsys)
        assert code == errors.SETUP
        assert words in said
        return
    assert words not in check(capsys)[1]  # no mode stops root
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.setuid(65534)
        os.write(writing, "; ".join(map(str, preflight.problems(given, []))).encode())
        os._exit(0)
    os.waitpid(child, 0)
    said = os.read(reading, 10_000).decode()
    assert (
        f"{open_folder}/closed cannot be written by this user - chown it, or set DATA_DIR" in said
    )


def test_little_room_and_a_missing_git_are_notes(on, capsys, monkeypatch):
    on()
    monkeypatch.setattr(doctor, "LITTLE_SPACE", 1 << 80)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(stash, "problems", lambda here: ["the stash is behind"])
    monkeypatch.setattr(settings, "unsafe_env", lambda: [".env can be read by others"])
    code, said = check(capsys)
    assert code == errors.OK
    assert re.search(r"note: only \d+\.\d GB free", said)
    assert "note: git is not installed" in said
    assert "note: the stash is behind" in said
    assert "note: .env can be read by others" in said


# cron


@pytest.mark.parametrize("is_elsewhere", [True, False])
@pytest.mark.parametrize("name", ["plain", "a space", "it's", 'q"uote', "100%", "$HOME `x` \\ ;&"])
def test_crontab_lines_work_in_any_path(here, capsys, monkeypatch, tmp_path, name, is_elsewhere):
    root = tmp_path / name
    root.mkdir()
    shutil.copy(ROOT / "crontab", root / "crontab")
    (root / "pipeline").mkdir()
    shutil.copy(ROOT / "pipeline" / "cron_log.py", root / "pipeline")
    program = root / "run_pipeline.sh"
    program.write_text('#!/bin/sh\necho "ran in $PWD with $FETCH_PATIENCE $*"\n')
    program.chmod(0o755)
    monkeypatch.setattr(cron, "ROOT", root)
    monkeypatch.setenv("DATA_DIR", str(root / "data"))
    monkeypatch.setenv("DATABASE_URL", "postgresql://me@127.0.0.1:9/dev" if is_elsewhere else "")
    settings.load.cache_clear()
    given = settings.load()
    assert cron.show() == errors.OK
    lines = [
        line for line in capsys.readouterr().out.splitlines() if line and not line.startswith("#")
    ]
    assert len(lines) == (2 if is_elsewhere else 3)
    nightly, reboot, *kept_up = lines
    assert re.match(r"17 4 \* \* \* ", nightly)
    assert reboot.startswith("@reboot sleep 120; ")
    commands = [nightly.split(" ", 5)[5], reboot.removeprefix("@reboot sleep 120; ")]
    assert all(line.startswith("*/5 * * * * ") for line in kept_up)
    commands += [line.split(" ", 5)[5] for line in kept_up * 2]
    for number, command in enumerate(commands):
        if number == 3:  # until then there is no server that could be started
            given.postgres.mkdir()
            program.write_text('#!/bin/sh\necho nobody reads this; echo "said $*" >&2\n')
        done = subprocess.run(
            ["/bin/sh", "-c", as_cron_reads(command)],
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    said = (given.logs / "cron.log").read_text().splitlines()
    said = [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "", line) for line in said]
    nightly = [f"ran in {root} with 600 ", f"ran in {root} with 600 --if-missed"]
    assert said == nightly + ["said db start --unless-stopped"] * len(kept_up)


def as_cron_reads(command: str) -> str:
    """What cron passes to the shell: up to an unescaped `%`, with `\\%` as `%` (crontab(5))."""
    bare = re.search(r"(?<!\\)%", command)
    return (command[: bare.start()] if bare else command).replace(r"\%", "%")


def test_the_template_explains_itself():
    text = (ROOT / "crontab").read_text()
    assert text.startswith("#")
    assert "@ROOT@" in text
    assert not re.search(r"^\S+ 0?[1-3] ", text, re.MULTILINE), "not when clocks are changed"


# Whether cron has the lines


@pytest.fixture
def table(here, monkeypatch, tmp_path):
    """Give this user's crontab some lines, and let a process of some name run."""
    monkeypatch.setattr(cron, "TABLES", (tmp_path / "crontab", tmp_path / "cron.d"))
    monkeypatch.setattr(cron, "PROCESSES", tmp_path / "proc")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/17").mkdir()
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/crontab"
    program.write_text('#!/bin/sh\ncat "$0.lines"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")

    def use(*lines: str, process: str = "cron") -> tuple[dict[str, str], list[str]]:
        (tmp_path / "bin/crontab.lines").write_text("\n".join(lines))
        (tmp_path / "proc/17/comm").write_text(f"{process}\n")
        return cron.facts(settings.load())

    use.system = tmp_path / "cron.d"
    return use


def test_the_lines_that_it_prints_are_all_it_asks_for(table, capsys):
    cron.show()
    lines = capsys.readouterr().out.splitlines()
    facts, notes = table(*lines)
    assert notes == []
    assert facts["cron"] == "running"
    assert facts["the night"].startswith("17 4 * * * ")
    assert facts["the server"].startswith("*/5 * * * * ")


QUOTED = shlex.quote(str(ROOT))  # a blank in a path is no end of it


@pytest.mark.parametrize(
    ("line", "is_ours"),
    [
        (f"0 5 * * * cd {QUOTED}; ./run_pipeline.sh", True),
        (f"0 5 * * * {QUOTED}/run_pipeline.sh >/dev/null 2>&1", True),
        (f"0 5 * * * cd '{ROOT}/' && ./run_pipeline.sh --offline", True),
        (f"0 5 * * * cd {QUOTED}/docs/.. && ./run_pipeline.sh", True),
        (f"0 5 * * * root cd {QUOTED} && ./run_pipeline.sh", True),
        (f"0 5 * * * cd {QUOTED} && .venv/bin/python -m pipeline night", True),
        (f"# 0 5 * * * cd {QUOTED} && ./run_pipeline.sh", False),
        (f"@reboot cd {QUOTED} && ./run_pipeline.sh --if-missed", False),
        (f"*/5 * * * * cd {QUOTED} && ./run_pipeline.sh db start", False),
        (f"*/5 * * * * cd {QUOTED} && ./run_pipeline.sh db start --unless-stopped", False),
        (f"0 5 * * * cd {QUOTED}-copy && ./run_pipeline.sh", False),
        ("0 5 * * * cd /elsewhere && ./run_pipeline.sh", False),
        (f"0 5 * * * ls {QUOTED}", False),
        ("0 5 * * * echo 'run_pipeline.sh", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("is_of_system", [True, False])
def test_the_line_of_the_night_is_found(table, line, is_ours, is_of_system):
    table.system.mkdir()
    (table.system / "nights").write_text(line if is_of_system else "")
    facts, notes = table("" if is_of_system else line)
    missing = "no crontab line that this user can read starts the night"
    assert (facts["the night"] == line) == is_ours
    assert any(note.startswith(missing) for note in notes) != is_ours


@pytest.mark.parametrize(
    ("process", "runs"),
    [("cron", True), ("crond", True), ("acron", False), ("bash", False)],
)
def test_whether_cron_runs_is_told(table, process, runs):
    facts, notes = table(process=process)
    assert facts["cron"] == ("running" if runs else "not running")
    assert any("cron is not running" in note for note in notes) != runs


# What would stop a run: one list


def in_the_way(place, how: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if how == "file":
        place.write_text("in the way")
    elif how == "link":
        place.symlink_to(place.parent / "elsewhere")
    else:
        place.mkdir()


FOLDERS = ("raw", "raw/.incoming", "raw/.begun", "preprocessed", "state", "state/hosts", "logs")
FOLDERS += ("state/dbt", "quarantine", "dumps", "logs/dbt", "preprocessed/.repaired")
STOPPING = [(name, how) for name in FOLDERS for how in ("file", "link")]
STOPPING += [("state/run.lock", "folder"), (".", "file")]


@pytest.mark.parametrize(("name", "how"), STOPPING)
def test_the_doctor_and_the_run_find_the_same_in_the_way(here, monkeypatch, name, how):
    in_the_way(here.data_dir / name, how)
    monkeypatch.setattr(night.Night, "run", lambda *words: pytest.fail("the night began"))
    (found,) = preflight.problems(here, [])
    with pytest.raises(errors.SetupError) as caught:
        night.run(["api", "load"], [], None)
    assert str(caught.value) == str(found)
    assert str(here.data_dir / name).rstrip("/.") in str(found)


def test_what_stops_the_run_stops_it_by_the_doctor(on, capsys):
    given = on()
    in_the_way(given.raw, "file")
    code, said = check(capsys)
    assert code == errors.SETUP
    assert f"stops tonight's run: {given.raw} should be a folder" in said


def test_nothing_is_made_by_looking(here):
    assert preflight.problems(here, []) == []
    assert not here.data_dir.exists()


# The last night, the stash, the publishers


def test_the_end_of_the_last_night_is_told(on, capsys):
    given = on()
    assert re.search(r"last night +none yet", check(capsys)[1])
    last_night.begin(given, "one-1")
    assert "did not end: it was killed" in check(capsys)[1]
    last_night.end(given, 0)
    code, said = check(capsys)
    assert re.search(r"last night +ended .* with code 0 \(all is well\)", said)
    assert "note: the last night" not in said
    last_night.begin(given, "two-2")
    with lock.held_by_this_run(given):
        said = check(capsys)[1]
    assert re.search(r"last night +ended .* with code 0", said)
    assert f"a run is in progress (process {os.getpid()})" in said
    last_night.end(given, 78, "a permission is missing")
    code, said = check(capsys)
    assert code == errors.OK
    assert re.search("note: the last night ended .* with code 78 .*: a permission is missing", said)


def test_silent_publishers_are_named_with_their_sources(here, publisher, monkeypatch, tmp_path):
    monkeypatch.setattr(publishers, "ROOT", tmp_path)
    monkeypatch.setattr(snapshot, "BUNDLED", tmp_path / "bundled")
    (tmp_path / "api").mkdir()
    for name, host in {"one": "well.gov", "two": "down.gov", "three": "well.gov"}.items():
        (tmp_path / f"api/{name}.py").write_text(
            f'''"""https://docs.gov/"""
SOURCE = Source(page="https://page.gov/", licence_page="https://licence.gov/")
fetch(f"https://{host}/{{name}}.csv?key=1")
'''
        )
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        down = f"down.gov=http://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("MIRRORS", f"well.gov={publisher.url},{down}")
        settings.load.cache_clear()
        (said,) = publishers.silent(settings.load(), ["one", "two", "three"])
        assert said.startswith("down.gov does not respond (")
        assert said.endswith("two would keep the last good data")
        (said,) = publishers.silent(settings.load(), ["two"])
        assert said.startswith("no publisher responds: check the network (down.gov: ")


def test_a_publisher_that_never_answers_holds_up_nothing(here, monkeypatch, tmp_path):
    monkeypatch.setattr(publishers, "addresses", lambda here, source: ["https://slow.gov/"])
    with socket.create_server(("127.0.0.1", 0)) as slow:
        monkeypatch.setenv("MIRRORS", f"slow.gov=http://127.0.0.1:{slow.getsockname()[1]}")
        settings.load.cache_clear()
        (said,) = publishers.silent(settings.load(), ["one"], seconds=0.3)
    assert "slow.gov" in said


@pytest.mark.parametrize(
    ("mode", "said"), [(0o600, ""), (0o644, ""), (0o620, "chmod go-w"), (0o602, "chmod go-w")]
)
def test_an_env_that_others_can_change_is_named(tmp_path, monkeypatch, mode, said):
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    assert settings.unsafe_env() == []
    (tmp_path / ".env").write_text("STASH=off\n")
    (tmp_path / ".env").chmod(mode)
    found = settings.unsafe_env()
    assert bool(found) == bool(said)
    assert said in "".join(found)
