"""How `.venv` comes to be: `pipeline/environment.sh` on machines that lack this or that.

The tests give it a lock file without packages: what is tested is the making, not the packages.
"""

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from patience import end_of, eventually

from pipeline.settings import ROOT

SCRIPT = (
    "set -euo pipefail; cd {0}; . {1}; make_environment; .venv/bin/python -c 'print(\"ready\")'"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a space in its name, an empty lock file and a `bin` to put programs into."""
    made = tmp_path / "a clone"
    made.mkdir()
    (made / "requirements.txt").write_text("# no packages\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in (
        "bash",
        "cat",
        "cmp",
        "cp",
        "find",
        "id",
        "mkdir",
        "mktemp",
        "mv",
        "rm",
        "sleep",
        "tail",
    ):
        (programs / name).symlink_to(shutil.which(name))
    put_python(programs, f'exec {os.path.realpath(sys.executable)} "$@"')
    return made


def put_python(programs: Path, body: str) -> None:
    program = programs / "python3"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def command(folder: Path) -> list[str]:
    return ["bash", "-c", SCRIPT.format(f"'{folder}'", f"'{ROOT}/pipeline/environment.sh'")]


def environment(folder: Path) -> dict[str, str]:
    return {"PATH": str(folder.parent / "bin"), "TMPDIR": str(folder.parent)}


def make(folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(command(folder), env=environment(folder), capture_output=True, text=True)


def test_it_is_created_once_and_then_found(folder):
    first = make(folder)
    assert first.stdout == "ready\n", first.stderr
    assert "installing .venv" in first.stderr
    made_at = (folder / ".venv" / "root").stat().st_mtime_ns
    second = make(folder)
    assert (second.stdout, second.stderr) == ("ready\n", "")
    assert (folder / ".venv" / "root").stat().st_mtime_ns == made_at
    assert not (folder / ".venv.lock").exists()
    shown = subprocess.run(
        [folder / ".venv/bin/python", "-c", "import sys; print(sys.path)"],
        cwd="/",
        capture_output=True,
        text=True,
    ).stdout
    assert str(folder) in shown, "scripts started by hand find the package"


def test_an_incomplete_one_is_created_again(folder):
    quick(folder)
    make(folder)
    (folder / ".venv" / "requirements.txt").unlink()  # written last
    assert "installing .venv" in make(folder).stderr
    assert make(folder).stderr == ""


def test_a_new_lock_file_or_another_folder_creates_it_again(folder):
    quick(folder)
    make(folder)
    (folder / "requirements.txt").write_text("# still none\n")
    assert "installing .venv" in make(folder).stderr
    moved = folder.with_name("moved")
    folder.rename(moved)
    assert "installing .venv" in make(moved).stderr


def test_the_lock_of_a_killed_install_is_taken_over(folder):
    quick(folder)
    (folder / ".venv.lock").mkdir()
    (folder / ".venv.lock" / "pid").write_text("99999999\n")
    assert make(folder).stdout == "ready\n"


def test_two_simultaneous_first_runs_create_it_once(folder):
    quick(folder)
    both = [
        subprocess.Popen(
            command(folder),
            env=environment(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [end_of(process) for process in both]
    assert [out for out, _ in said] == ["ready\n", "ready\n"], said
    assert sum("installing .venv" in errors for _, errors in said) == 1


def test_a_python_too_old_is_one_clear_line(folder):
    body = 'case "$1" in --version) echo Python 3.9.2 ;; *) exit 1 ;; esac'
    put_python(folder.parent / "bin", body)
    done = make(folder)
    assert done.returncode == 78
    expected = "setup: Python 3.11, 3.12 or 3.13 is required; found Python 3.9.2\n"
    assert done.stderr == expected


def test_no_python_at_all_is_one_clear_line(folder):
    (folder.parent / "bin" / "python3").unlink()
    done = make(folder)
    assert done.returncode == 78
    assert done.stderr == "setup: Python 3.11, 3.12 or 3.13 is required; found none\n"


def test_a_missing_venv_module_is_named_with_its_remedy(folder):
    python = os.path.realpath(sys.executable)
    body = f'[ "$2" = venv ] && echo "No module named venv" && exit 1; exec {python} "$@"'
    put_python(folder.parent / "bin", body)
    done = make(folder)
    assert done.returncode == 78
    assert "apt-get install python3-venv" in done.stderr
    assert not (folder / ".venv.lock").exists()


def test_packages_that_cannot_be_installed_leave_nothing_incomplete(folder):
    (folder / "requirements.txt").write_text("no-such-package==1 --hash=sha256:" + "0" * 64 + "\n")
    done = subprocess.run(
        command(folder),
        env=environment(folder) | {"PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 78
    assert "could not be installed" in done.stderr
    assert not (folder / ".venv").exists()


def test_uv_is_used_if_it_is_installed(folder):
    if not shutil.which("uv"):
        pytest.skip("uv is not installed")
    (folder.parent / "bin" / "uv").symlink_to(shutil.which("uv"))
    done = make(folder)
    assert done.stdout == "ready\n", done.stderr
    assert "installing .venv with uv" in done.stderr


# An upgrade that fails, is stopped or killed


PYTHON = os.path.realpath(sys.executable)
# Creates an environment quickly; its pip fails for a package that does not exist.
QUICK = """{first}
[ "$2" = venv ] || exec {python} "$@"
{python} -m venv --without-pip "$3" || exit 1
there=$("$3"/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
mkdir "$there/pip"
echo 'import sys; sys.exit("no-such" in open("requirements.txt").read())' >"$there/pip/__main__.py"
"""
OLD, NEW = "# no packages\n", "no-such-package==1 --hash=sha256:" + "0" * 64 + "\n"


@pytest.fixture
def before(folder: Path) -> Path:
    """A folder with an environment, created quickly."""
    quick(folder)
    assert make(folder).stdout == "ready\n"
    return folder


def quick(folder: Path, first: str = "") -> None:
    put_python(folder.parent / "bin", QUICK.format(python=PYTHON, first=first))


def upgraded(folder: Path) -> subprocess.CompletedProcess:
    """A start after requirements.txt changed, without access to packages."""
    (folder / "requirements.txt").write_text(NEW)
    return make(folder)


def works_again(folder: Path) -> bool:
    """Whether the previous environment works for its requirements.txt, without an installation."""
    (folder / "requirements.txt").write_text(OLD)
    done = make(folder)
    left = {path.name for path in folder.iterdir()}
    return (done.stdout, done.stderr, left) == ("ready\n", "", {".venv", "requirements.txt"})


def fails_at(folder: Path, step: str) -> None:
    """Make one step of the installation fail."""
    programs = folder.parent / "bin"
    if step == "venv":
        quick(folder, '[ "$2" = venv ] && echo broken && exit 1')
    elif step == "half of venv":
        quick(folder, '[ "$2" = venv ] && mkdir -p .venv/bin && exit 1')
    elif step == "half of cp":
        (programs / "cp").unlink()
        (programs / "cp").write_text(
            '#!/bin/sh\n: >"$2"\necho No space left on device >&2\nexit 1\n'
        )
        (programs / "cp").chmod(0o755)
    elif step in ("cp", "mktemp"):
        (programs / step).unlink()
        (programs / step).write_text("#!/bin/sh\necho No space left on device >&2\nexit 1\n")
        (programs / step).chmod(0o755)


@pytest.mark.parametrize("step", ["packages", "venv", "half of venv", "cp", "half of cp", "mktemp"])
def test_a_failed_upgrade_keeps_the_previous_environment(before, step):
    folder = before
    inode = (folder / ".venv").stat().st_ino
    fails_at(folder, step)
    if step in ("cp", "half of cp", "mktemp"):  # there are no packages, the step after them fails
        (folder / "requirements.txt").write_text("# other\n")
        done = make(folder)
    else:
        done = upgraded(folder)
        assert done.returncode == 78, done.stderr
        assert "the previous .venv is kept" in done.stderr
    assert done.returncode != 0
    assert (folder / ".venv").stat().st_ino == inode
    assert works_again(folder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_stopped_upgrade_keeps_the_previous_environment(before, number):
    folder = before
    inode = (folder / ".venv").stat().st_ino
    waiting = folder.parent / "waiting"
    # Python prints that it waits: a shell may lose a signal between that line and its next program.
    hang = f"import pathlib, time; pathlib.Path({str(waiting)!r}).touch(); time.sleep(600)"
    quick(folder, f'[ "$2" = venv ] && mkdir -p .venv/bin && exec {PYTHON} -c "{hang}"')
    (folder / "requirements.txt").write_text(NEW)
    process = subprocess.Popen(
        command(folder),
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # Whoever starts the tests may ignore signals (nohup), and a shell cannot trap those.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else 0,
    )
    eventually(lambda: waiting.exists() or process.poll() is not None, "the half-made environment")
    os.killpg(process.pid, number)
    end_of(process)
    assert process.returncode != 0
    if number == signal.SIGKILL:
        assert (folder / ".venv.old").stat().st_ino == inode
    quick(folder)
    assert works_again(folder)
    assert (folder / ".venv").stat().st_ino == inode


@pytest.mark.parametrize("beside", ["nothing", "half of a new one", "a new one"])
def test_a_start_restores_or_deletes_an_old_environment(before, beside):
    folder = before
    (folder / ".venv").rename(folder / ".venv.old")
    if beside == "half of a new one":
        (folder / ".venv" / "bin").mkdir(parents=True)
        (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
        (folder / ".venv" / "root").write_text(f"{folder}\n")
    elif beside == "a new one":
        shutil.copytree(folder / ".venv.old", folder / ".venv", symlinks=True)
        (folder / ".venv.old" / "requirements.txt").unlink()  # it was being deleted
    assert works_again(folder)


def test_a_successful_upgrade_leaves_nothing_of_the_old_environment(before):
    folder = before
    inode = (folder / ".venv").stat().st_ino
    (folder / "requirements.txt").write_text("# other\n")
    assert make(folder).stdout == "ready\n"
    assert (folder / ".venv").stat().st_ino != inode
    assert {path.name for path in folder.iterdir()} == {".venv", "requirements.txt"}


def test_a_failed_upgrade_is_tried_again_at_the_next_start(before):
    folder = before
    for _ in range(2):
        assert upgraded(folder).returncode == 78
    (folder / "requirements.txt").write_text("# a lock that can be had\n")
    assert "installing .venv" in make(folder).stderr
    assert make(folder).stderr == ""
