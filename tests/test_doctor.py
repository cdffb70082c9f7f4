"""`doctor`: what would stop tonight's run, each with its remedy; `cron`: lines for any path."""

import os
import re
import shutil
import subprocess

import pytest

from pipeline import database, doctor, errors, settings, stash
from pipeline.settings import ROOT, Settings


@pytest.fixture
def on(here, database_url, monkeypatch):
    """Put settings in force: an empty database, and whatever else a test changes."""

    def use(**changes) -> Settings:
        for name, value in ({"DATABASE_URL": database_url} | changes).items():
            monkeypatch.setenv(name, str(value))
        settings.load.cache_clear()
        return settings.load()

    return use


def check(capsys) -> tuple[int, str]:
    code = doctor.check()
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
    monkeypatch.setattr(database, "PATIENCE", 0)
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
    monkeypatch.setattr(database, "PATIENCE", 0)
    on(DATABASE_URL="postgresql://me@127.0.0.1:9/dev")
    code, said = check(capsys)
    assert code == errors.SETUP
    assert "stops tonight's run: the database cannot be reached" in said
    assert "see that the server runs" in said


def test_a_missing_part_of_a_source_stops_the_run(on, capsys, monkeypatch):
    on()
    known = settings.sources()
    monkeypatch.setattr(settings, "sources", lambda: [*known, "half_made"])
    code, said = check(capsys)
    assert code == errors.SETUP
    for part in doctor.PARTS:
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
        os.write(writing, str(doctor._folders(given)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    said = os.read(reading, 10_000).decode()
    assert f"{open_folder}/closed cannot be written by this user: chown it, or set DATA_DIR" in said


def test_little_room_and_a_missing_git_are_notes(on, capsys, monkeypatch):
    on()
    monkeypatch.setattr(doctor, "LITTLE_ROOM", 1 << 80)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(stash, "problems", lambda here: ["the stash is behind"])
    monkeypatch.setattr(settings, "exposed", lambda: ".env can be read by others")
    code, said = check(capsys)
    assert code == errors.OK
    assert re.search(r"note: only \d+\.\d GB free", said)
    assert "note: git is not installed" in said
    assert "note: the stash is behind" in said
    assert "note: .env can be read by others" in said


# cron


@pytest.mark.parametrize("name", ["plain", "a space", "it's", 'q"uote', "100%", "$HOME `x` \\ ;&"])
def test_crontab_lines_work_in_any_path(on, capsys, monkeypatch, tmp_path, name):
    root = tmp_path / name
    root.mkdir()
    shutil.copy(ROOT / "crontab", root / "crontab")
    program = root / "run_pipeline.sh"
    program.write_text('#!/bin/sh\necho "ran in $PWD with $FETCH_PATIENCE $*"\n')
    program.chmod(0o755)
    monkeypatch.setattr(doctor, "ROOT", root)
    given = on(DATA_DIR=root / "data")
    assert doctor.print_crontab() == errors.OK
    lines = [
        line for line in capsys.readouterr().out.splitlines() if line and not line.startswith("#")
    ]
    assert len(lines) == 2
    nightly, reboot = lines
    assert re.match(r"17 4 \* \* \* ", nightly)
    assert reboot.startswith("@reboot sleep 120; ")
    for command in (nightly.split(" ", 5)[5], reboot.removeprefix("@reboot sleep 120; ")):
        done = subprocess.run(
            ["/bin/sh", "-c", as_cron_reads(command)],
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    said = (given.logs / "cron.log").read_text().splitlines()
    assert said == [f"ran in {root} with 600 ", f"ran in {root} with 600 --if-missed"]


def as_cron_reads(command: str) -> str:
    """What cron gives to the shell: up to a bare `%`, each `\\%` a `%` (crontab(5))."""
    bare = re.search(r"(?<!\\)%", command)
    return (command[: bare.start()] if bare else command).replace(r"\%", "%")


def test_the_template_explains_itself():
    text = (ROOT / "crontab").read_text()
    assert text.startswith("#")
    assert "@ROOT@" in text
    assert not re.search(r"^\S+ 0?[1-3] ", text, re.MULTILINE), "not when clocks are changed"
