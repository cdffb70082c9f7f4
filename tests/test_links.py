"""Symbolic links that another user put into the data folder: nothing is written through one."""

import ast
import os
from pathlib import Path

import pytest
from publisher import Answer
from test_fetch import OLD, SOURCE, here, night, on_disk  # noqa: F401 - fixtures

from pipeline import compressed, durable, folders, state
from pipeline.cli import console
from pipeline.errors import SetupError
from pipeline.formats import delimited, fix
from pipeline.http import rate_limit, resume
from pipeline.raw import snapshot
from pipeline.settings import ROOT, Settings
from pipeline.stages import lock, script

PRECIOUS = b"precious\n"
PID = "PID"  # in a name: the number of this process, which differs between test processes


@pytest.fixture
def victim(tmp_path) -> Path:
    """A folder of another user, with a file in it."""
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "file").write_bytes(PRECIOUS)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if not path.is_dir())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def plant(here: Settings, name: str, target: Path) -> None:  # noqa: F811
    link = here.data_dir / name.replace(PID, str(os.getpid()))
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)


# Every file with a predictable name that the run of one source writes beside its data.
FILES = [
    "raw/.incoming/alpha",
    "raw/.incoming/alpha.old",
    "raw/.begun/alpha",
    "raw/.begun/alpha/.finished.json",
    "raw/.begun/alpha/file.csv",
    "raw/.begun/alpha/.file.csv.begun",
    "state/alpha.json",
    f"state/.alpha.json.{PID}",
    f"state/.network.json.{PID}",
    "preprocessed/.alpha.csv.new",
    "preprocessed/alpha.csv",
]


@pytest.mark.parametrize("to", ["file", "new", "."])
@pytest.mark.parametrize("name", FILES)
def test_no_file_is_written_through_a_link(here, publisher, victim, name, to, monkeypatch):  # noqa: F811
    plant(here, name, victim / to)
    monkeypatch.setenv("PIPELINE_RUN", "a run")  # so that the result of the probe is stored
    publisher.answers["/file.csv"] = [Answer(OLD, headers={"ETag": '"1"'})]
    assert night()["outcome"] == "new"
    publisher.answers["/file.csv"] = [Answer(b"no", 404)]
    assert night()["outcome"] == "kept"
    output = here.preprocessed / ".alpha.csv.new"
    here.preprocessed.mkdir(exist_ok=True)
    delimited.write_csv(here.raw / "alpha" / "file.csv", output)
    durable.replace_file(output, here.preprocessed / "alpha.csv")
    assert contents(victim) == {"file": PRECIOUS}
    assert on_disk(here)["file.csv"] == OLD
    assert state.read(here, "alpha")["api"]["outcome"] == "kept"
    assert (here.preprocessed / "alpha.csv").read_bytes() == OLD
    assert not (here.preprocessed / "alpha.csv").is_symlink()


WRITERS = {
    "create": lambda path: durable.create(path).close(),
    "write": lambda path: durable.write(path, b"x"),
    "copy": lambda path: durable.copy(ROOT / "LICENSE", path),
    "legible": lambda path: delimited.write_csv(
        ROOT / "tests/example/data/bundled/stations/stations.csv", path
    ),
    "repaired": lambda path: fix.lines(
        ROOT / "LICENSE", path, name="n", expected=0, pattern=b"\0", replacement=None
    ),
}


@pytest.mark.parametrize("to", ["file", "new"])
@pytest.mark.parametrize("writer", WRITERS)
def test_every_writer_puts_a_file_of_its_own_there(here, victim, writer, to):  # noqa: F811
    plant(here, "output", victim / to)
    WRITERS[writer](here.data_dir / "output")
    assert contents(victim) == {"file": PRECIOUS}
    assert (here.data_dir / "output").is_file()
    assert not (here.data_dir / "output").is_symlink()


def test_a_folder_or_a_device_in_its_place_stays(here, tmp_path):  # noqa: F811
    """When run as root, a writer must not remove a device that a link points to."""
    os.mkfifo(tmp_path / "device")
    (tmp_path / "folder" / "kept").mkdir(parents=True)
    for name in ("device", "folder"):
        with pytest.raises(FileExistsError):
            durable.create(tmp_path / name)
    assert (tmp_path / "device").is_fifo()
    assert (tmp_path / "folder" / "kept").is_dir()


def test_a_member_of_a_zip_is_not_written_through_a_link(here, victim):  # noqa: F811
    import zipfile

    plant(here, "output", victim / "file")
    with zipfile.ZipFile(here.data_dir / "x.zip", "w") as packed:
        packed.writestr("a.csv", OLD)
    compressed.unzip(here.data_dir / "x.zip", "a.csv", here.data_dir / "output")
    assert contents(victim) == {"file": PRECIOUS}


OWN = [pattern.replace("*", "alpha") for pattern in folders._OWN]


@pytest.mark.parametrize("to", [".", "nowhere"])
@pytest.mark.parametrize("name", OWN)
def test_a_link_in_the_place_of_a_folder_is_named_with_what_to_remove(here, victim, name, to):  # noqa: F811
    plant(here, name, victim / to)
    link = here.data_dir / name
    with (
        pytest.raises(SetupError, match="is a symbolic link") as caught,
        lock.held_by_this_run(here),
    ):
        pass
    assert str(link) in caught.value.what
    assert f"rm '{link}'" in caught.value.remedy
    assert caught.value.exit_code == 78
    assert contents(victim) == {"file": PRECIOUS}
    link.unlink()
    with lock.held_by_this_run(here):
        pass


def test_a_script_of_a_run_looks_too(here, victim, monkeypatch, capsys):  # noqa: F811
    plant(here, "raw/.incoming", victim)
    monkeypatch.setenv("PIPELINE_RUN", "a run")
    monkeypatch.setattr("sys.argv", ["alpha.py"])
    with pytest.raises(SystemExit):
        script.run("api", "alpha", "", lambda *arguments: {"outcome": "new"})
    assert f"rm '{here.raw / '.incoming'}'" in capsys.readouterr().err


USERS = {
    "raw/.incoming": lambda given: snapshot.repair(given, "alpha"),
    "raw/.begun": lambda given: resume.Journal(given, "alpha", given.raw).end(),
    "quarantine/alpha": lambda given: snapshot.refuse(given, "alpha", given.data_dir / "refused"),
}


@pytest.mark.parametrize("name", USERS)
def test_a_link_that_came_meanwhile_is_found_where_it_matters(here, victim, name):  # noqa: F811
    (victim / "alpha").mkdir()
    (victim / "alpha" / "kept").write_bytes(PRECIOUS)
    plant(here, name, victim)
    (here.data_dir / "refused").write_bytes(b"x")
    with pytest.raises(SetupError, match="is a symbolic link"):
        USERS[name](here)
    assert contents(victim)["alpha/kept"] == PRECIOUS
    assert (here.data_dir / "refused").exists()


def test_the_data_folder_itself_may_be_a_link(here, publisher, tmp_path):  # noqa: F811
    (tmp_path / "disk").mkdir()
    here.data_dir.symlink_to(tmp_path / "disk")
    publisher.answers["/file.csv"] = [Answer(OLD)]
    with lock.held_by_this_run(here):
        assert night()["outcome"] == "new"
    assert (tmp_path / "disk" / "raw" / "alpha" / "file.csv").read_bytes() == OLD


def hold_lock(here: Settings) -> None:  # noqa: F811
    with lock.held_by_this_run(here):
        pass


STAYING = {
    "logs/run.log": lambda given: console.RunConsole(given.logs, "run"),
    "state/run.lock": hold_lock,
    "state/hosts/e.gov.json": lambda given: rate_limit.turn(given, "e.gov"),
}


@pytest.mark.parametrize("name", STAYING)
def test_a_file_that_stays_is_not_opened_through_a_link(here, victim, name):  # noqa: F811
    plant(here, name, victim / "file")
    with pytest.raises(SetupError, match="is a symbolic link") as caught:
        STAYING[name](here)
    assert f"rm '{here.data_dir / name}'" in caught.value.remedy
    assert contents(victim) == {"file": PRECIOUS}


# A drill writes below a private folder that it has just created (tempfile.mkdtemp); the programs
# of PostgreSQL are below a folder of root.
EXEMPT = {
    ROOT / "pipeline" / name
    for name in ("durable.py", "drill/scratch.py", "drill/proxy.py", "embedded/programs.py")
}
COPIES = {"write_bytes", "write_text", "touch", "copyfile", "copy2", "copytree"}
EXCLUSIVE = {"O_EXCL", "O_NOFOLLOW"}


def follows_links(call: ast.Call) -> bool:
    """Whether a call writes a file by name, even through a link."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name in COPIES or name != "open":
        return name in COPIES
    text = ast.unparse(call)  # slow
    if any(part in text for part in ("devnull", "'/dev/null'", "'/proc/", "open_own(")):
        return False
    if "os.O_" in text:
        return any(flag in text for flag in ("O_WRONLY", "O_RDWR", "O_CREAT")) and not any(
            flag in text for flag in EXCLUSIVE
        )
    words = [
        word.value
        for word in [*call.args, *(k.value for k in call.keywords)]
        if isinstance(word, ast.Constant)
    ]
    return any(
        isinstance(word, str) and set(word) & set("wa+") and set(word) <= set("rwab+t")
        for word in words
    )


def test_no_code_writes_in_another_way():
    found = [
        f"{path.name}:{call.lineno}: {ast.unparse(call)}"
        for folder in ("pipeline", "api", "preprocess")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path not in EXEMPT and not path.name.startswith("test_")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and follows_links(call)
    ]
    assert not found
