"""The stash in git, tried in temporary clones, under the most hostile configuration of a user."""

import hashlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from patience import Stopwatch, end_of, eventually
from snapshots import described

from pipeline import settings
from pipeline.errors import PipelineError
from pipeline.raw import git as fixed_git
from pipeline.raw import git_stash, lfs, snapshot, stash

pytestmark = pytest.mark.skipif(
    not shutil.which("git") or not shutil.which("git-lfs"), reason="needs git and git-lfs"
)
PROJECT = Path(__file__).resolve().parent.parent
HOOKS = ("pre-commit", "post-commit", "reference-transaction", "pre-push", "post-index-change",
         "post-checkout")  # fmt: skip
# What a person at the same clone has: Git LFS set up, and nothing that gets in the way.
PERSON = """[user]
name = A person
email = person@example.org
[init]
defaultBranch = main
[core]
autocrlf = true
[filter "lfs"]
clean = git-lfs clean -- %f
smudge = git-lfs smudge -- %f
required = true
"""


def git(folder, *words, status=0, **environment):
    """git as a person runs it, with a configuration of the test's own."""
    done = subprocess.run(
        ["git", *words],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": os.environ["PERSON"],
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_EDITOR": "true",
            **environment,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stderr
    return done.stdout.strip()


def quietly(folder, *words, **environment):
    """git as a person runs it, without the hooks planted in the clone."""
    return git(folder, "-c", "core.hooksPath=/dev/null", *words, **environment)


def plant_hooks(folder, marker):
    folder.mkdir(parents=True, exist_ok=True)
    for name in HOOKS:
        (folder / name).write_text(f"#!/bin/sh\necho {name} >> '{marker}'\nexit 1\n")
        (folder / name).chmod(0o755)


@pytest.fixture(autouse=True)
def obstruction(tmp_path, monkeypatch):
    """A user's configuration that would run, sign or rewrite things; none of it may take effect."""
    marker, home, person = tmp_path / "marker", tmp_path / "home", tmp_path / "person"
    plant_hooks(home / "hooks", marker)
    monitor = home / "monitor"
    monitor.write_text(f"#!/bin/sh\necho monitor >> '{marker}'\n")
    monitor.chmod(0o755)
    (home / ".gitconfig").write_text(
        f"[core]\nautocrlf = true\nfsmonitor = {monitor}\nhooksPath = {home}/hooks\n"
        "splitIndex = true\n[commit]\ngpgsign = true\n[gpg]\nprogram = false\n"
        f'[lfs "extension.x"]\nclean = {monitor}\n[push]\ngpgSign = if-asked\n'
    )
    person.mkdir()
    (person / ".gitconfig").write_text(PERSON)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PERSON", str(person))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "another repository"))
    yield
    assert not marker.exists(), f"ran: {marker.read_text()}"


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone with a space in its path and one commit of code, and a bare origin."""
    git(tmp_path, "init", "-q", "--bare", "origin.git")
    folder = tmp_path / "a clone"
    git(tmp_path, "clone", "-q", (tmp_path / "origin.git").as_uri(), str(folder))
    (folder / ".gitignore").write_text("/data/\n")
    (folder / "code.py").write_text("pass\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "Code")
    git(folder, "push", "-q", "origin", "main")
    plant_hooks(folder / ".git" / "hooks", tmp_path / "marker")
    monkeypatch.setattr(settings, "ROOT", folder)
    return folder


def here(clone, store="git"):
    return replace(settings.load(), data_dir=clone / "data", stash=store)


def put(clone, source, **files):
    """Write a complete snapshot of a source."""
    return write(clone / "data" / "raw" / source, {f"{k}.csv": v for k, v in files.items()})


def write(folder, files):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    resources = []
    for name, content in files.items():
        (folder / name).write_bytes(content)
        sha = hashlib.sha256(content).hexdigest()
        resources.append({"path": name, "bytes": len(content), "hash": f"sha256:{sha}"})
    snapshot.write_manifest(folder, described(resources, "c", name=folder.name))
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def tip(clone, ref="raw-data"):
    return git(clone, "rev-parse", ref)


def state_of(clone):
    """All of a user's clone that the stash must leave as it is."""
    folder = clone / ".git"
    kept = [folder / name for name in ("HEAD", "index", "config")] + [*folder.glob("hooks/*")]
    return (
        {path: path.read_bytes() for path in kept if path.exists()},
        quietly(clone, "status", "--porcelain"),
    )


def assert_sound(clone):
    assert git(clone, "fsck", "--strict", "--no-dangling") == ""
    lfs_folder = clone / ".git" / "lfs" / "objects"
    for path in lfs_folder.rglob("*"):
        if path.is_file():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


# What is stored


def test_a_snapshot_becomes_one_commit_of_pointers_and_text(clone):
    folder = put(clone, "alpha", data=b"a,b\r\n1,2\n")
    before = state_of(clone)
    stored = stash.store(here(clone), "alpha", "alpha: live")
    assert stored == stash.Stored(True, f"raw-data {tip(clone)[:7]}")
    assert state_of(clone) == before
    assert git(clone, "log", "--format=%s|%P", "raw-data") == "alpha: live|"
    assert git(clone, "ls-tree", "-r", "--name-only", "raw-data").splitlines() == [
        ".gitattributes",
        "data/raw/alpha/SHA256SUMS",
        "data/raw/alpha/data.csv",
        "data/raw/alpha/datapackage.json",
    ]
    pointer = git(clone, "show", "raw-data:data/raw/alpha/data.csv")
    assert pointer == git(clone, "lfs", "pointer", f"--file={folder}/data.csv")
    sums = git(clone, "show", "raw-data:data/raw/alpha/SHA256SUMS")
    assert sums == (folder / "SHA256SUMS").read_text().strip()
    assert "OK" in git(clone, "lfs", "fsck", "raw-data")
    assert_sound(clone)


def test_the_same_snapshot_again_makes_no_commit(clone):
    put(clone, "alpha", data=b"1\n")
    stash.store(here(clone), "alpha", "first")
    first = tip(clone)
    again = stash.store(here(clone), "alpha", "again")
    assert again == stash.Stored(True, f"raw-data {first[:7]}, unchanged")
    assert tip(clone) == first


def test_a_commit_replaces_the_folder_of_one_source_only(clone):
    put(clone, "alpha", old=b"1\n", kept=b"2\n")
    put(clone, "alpha_two", data=b"3\n")
    stash.store(here(clone), "alpha", "one")
    stash.store(here(clone), "alpha_two", "two")
    put(clone, "alpha", new=b"4\n", kept=b"2\n")
    stash.store(here(clone), "alpha", "three")
    assert git(clone, "log", "--format=%s", "raw-data").splitlines() == ["three", "two", "one"]
    changed = git(
        clone, "diff", "--no-renames", "--name-status", "raw-data~", "raw-data", "--", "*.csv"
    )
    assert changed.split() == ["A", "data/raw/alpha/new.csv", "D", "data/raw/alpha/old.csv"]


def test_names_with_spaces_unicode_and_percent_and_an_empty_file(clone, tmp_path):
    files = {"a b.csv": b"1\n", "ñandú ☃.csv": b"2\n", "100%25.csv": b"3\n", "empty.csv": b""}
    folder = write(clone / "data/raw/alpha", files)
    assert stash.store(here(clone), "alpha", "names").done
    quietly(clone, "worktree", "add", "-q", "--detach", str(tmp_path / "out"), "raw-data")
    assert contents(tmp_path / "out/data/raw/alpha") == contents(folder)


def test_a_message_of_any_text_is_kept_whole(clone):
    put(clone, "alpha", data=b"1\n")
    assert stash.store(here(clone), "alpha", "# not a comment\n\n-F ñ\0").done
    assert git(clone, "log", "-1", "--format=%B", "raw-data") == "# not a comment\n\n-F ñ"


@pytest.mark.parametrize("name", [".gitattributes", ".gitmodules", ".GIT"])
def test_a_file_that_would_steer_git_is_refused(clone, name):
    write(clone / "data/raw/alpha", {name: b"* -filter\n"})
    with pytest.raises(PipelineError, match="steer git"):
        stash.store(here(clone), "alpha", "refused")
    git(clone, "rev-parse", "--verify", "-q", "raw-data", status=1)


def test_links_outside_names_and_damage_are_refused(clone):
    folder = put(clone, "alpha", data=b"1\n")
    (folder / "data.csv").write_bytes(b"2\n")
    with pytest.raises(PipelineError, match=r"data\.csv does not have the SHA-256"):
        stash.store(here(clone), "alpha", "changed by a byte")
    (folder / "data.csv").unlink()
    (folder / "data.csv").symlink_to(clone / "code.py")
    with pytest.raises(PipelineError, match="not a regular file"):
        stash.store(here(clone), "alpha", "a link")
    for source in ("../alpha", "/etc", ".."):
        with pytest.raises(PipelineError, match="not the name of a source"):
            stash.store(here(clone), source, "outside")
    git(clone, "rev-parse", "--verify", "-q", "raw-data", status=1)


def test_data_instead_of_a_pointer_never_reaches_the_branch(clone, monkeypatch):
    put(clone, "alpha", data=b"1\n")
    stash.store(here(clone), "alpha", "first")
    first = tip(clone)
    for content, sign in (
        (b"plain\n", "data instead of a Git LFS pointer"),
        (b"x" * 5000, "data.csv in the stash is data"),  # not even read
    ):
        put(clone, "alpha", data=content)
        monkeypatch.setattr(lfs, "add", lambda store, file, oid: file.read_bytes())
        stored = stash.store(here(clone), "alpha", "plain data")
        assert not stored.done and sign in stored.note
        assert tip(clone) == first


def test_a_file_that_changes_while_it_is_added_is_not_stored(clone, monkeypatch):
    folder = put(clone, "alpha", data=b"1\n")
    taken = snapshot.read(folder, "alpha")
    (folder / "data.csv").write_bytes(b"2\n")
    monkeypatch.setattr(snapshot, "read", lambda *_: taken)
    stored = stash.store(here(clone), "alpha", "torn")
    assert not stored.done and "SHA-256" in stored.note


# Where the user is


def switch(clone):
    git(clone, "switch", "-q", "-c", "other", "-f")


def detach(clone):
    git(clone, "switch", "-q", "--detach")


def rebase(clone):
    git(clone, "rebase", "-q", "--root", "--exec", "false", status=1)
    assert (clone / ".git/rebase-merge").exists()


def stage(clone):
    (clone / "code.py").write_text("staged\n")
    git(clone, "add", "code.py")
    (clone / "code.py").write_text("and changed\n")


def lock_index(clone):
    (clone / ".git/index.lock").touch()


def test_configuration_planted_in_the_clone_starts_nothing(clone, tmp_path):
    monitor = tmp_path / "home/monitor"
    folder = put(clone, "alpha", data=b"1\n")
    planted = ("core.fsmonitor", "lfs.extension.x.clean", "filter.lfs.clean", "gpg.program")
    for name in (*planted, "core.sshCommand", "diff.external", "core.pager"):
        git(clone, "config", name, str(monitor))
    git(clone, "config", "core.hooksPath", str(tmp_path / "home/hooks"))
    git(clone, "config", "commit.gpgSign", "true")
    git(clone, "config", "alias.lfs", f"!{monitor}")
    (clone / ".git/info/attributes").write_text("* filter=lfs ident\n")
    assert stash.store(here(clone), "alpha", "first").done
    shown = git(clone, "cat-file", "blob", "raw-data:data/raw/alpha/SHA256SUMS")
    assert shown == (folder / "SHA256SUMS").read_text().strip()


@pytest.mark.parametrize("situation", [switch, detach, rebase, stage, lock_index])
def test_it_does_not_matter_where_the_user_is(clone, situation):
    hooks = clone / ".git/hooks"
    hooks.rename(clone / ".git/hooks aside")
    situation(clone)
    (clone / ".git/hooks aside").rename(hooks)
    put(clone, "alpha", data=b"1\n")
    before = state_of(clone)
    assert stash.store(here(clone), "alpha", "anywhere").done
    assert state_of(clone) == before
    assert git(clone, "show", "raw-data:data/raw/alpha/data.csv").startswith("version")


def test_a_linked_worktree_shares_the_branch(clone, tmp_path, monkeypatch):
    shutil.rmtree(clone / ".git/hooks")
    git(clone, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    monkeypatch.setattr(settings, "ROOT", tmp_path / "linked")
    put(tmp_path / "linked", "alpha", data=b"1\n")
    assert stash.store(here(tmp_path / "linked"), "alpha", "linked").done
    assert git(clone, "log", "--format=%s", "raw-data") == "linked"
    assert "OK" in git(clone, "lfs", "fsck", "raw-data")


def test_a_lock_that_a_killed_git_left_is_reported_with_the_missing_snapshots(clone, monkeypatch):
    monkeypatch.setattr(stash.git_stash, "LOCKED_SECONDS", 0.1)
    put(clone, "alpha", data=b"1\n")
    put(clone, "beta", data=b"1\n")
    sources = ["alpha", "beta", "never_fetched"]
    (said,) = stash.gap(here(clone), sources)
    assert said.startswith("not in the stash yet: alpha, beta - ")
    assert stash.store(here(clone), "alpha", "first").done
    assert "yet: beta - " in stash.gap(here(clone), sources)[0]
    assert stash.store(here(clone), "beta", "first").done
    assert stash.gap(here(clone), sources) == []
    lock = clone / ".git/refs/heads/raw-data.lock"
    lock.touch()
    put(clone, "alpha", data=b"2\n")
    assert not stash.store(here(clone), "alpha", "second").done
    (said,) = stash.problems(here(clone))
    assert said == f"no snapshot enters the stash: {lock} was left by a git that was killed - rm it"
    assert "yet: alpha - " in stash.gap(here(clone), sources)[0]
    lock.unlink()
    assert stash.problems(here(clone)) == []
    assert stash.store(here(clone), "alpha", "second").done
    assert stash.gap(here(clone), sources) == []


def test_the_branch_is_not_moved_under_a_checkout_of_it(clone, tmp_path):
    put(clone, "alpha", data=b"1\n")
    stash.store(here(clone), "alpha", "first")
    shutil.rmtree(clone / ".git/hooks")
    git(clone, "worktree", "add", "-q", str(tmp_path / "out"), "raw-data")
    put(clone, "alpha", data=b"2\n")
    stored = stash.store(here(clone), "alpha", "second")
    assert not stored.done and str(tmp_path / "out") in stored.note
    assert "switch --detach" in stored.note
    assert stash.problems(here(clone)) == [stored.note]
    git(tmp_path / "out", "switch", "-q", "--detach")
    assert stash.store(here(clone), "alpha", "second").done
    assert stash.problems(here(clone)) == []


def test_an_unborn_checkout_of_the_branch_counts_too(clone):
    git(clone, "symbolic-ref", "HEAD", "refs/heads/raw-data")
    put(clone, "alpha", data=b"1\n")
    stored = stash.store(here(clone), "alpha", "first")
    assert not stored.done and "is checked out in" in stored.note


def test_an_object_store_of_the_users_choice_is_used(clone, tmp_path):
    git(clone, "config", "lfs.storage", str(tmp_path / "big disk"))
    put(clone, "alpha", data=b"1\n")
    assert stash.store(here(clone), "alpha", "elsewhere").done
    assert "OK" in git(clone, "lfs", "fsck", "raw-data")
    assert not (clone / ".git/lfs").exists()


# A problem is reported in one line


def assert_only_reported(clone, *signs):
    stored = stash.store(here(clone), "alpha", "a message")
    assert not stored.done and stored.where == "not stashed"
    assert "\n" not in stored.note
    for sign in signs:
        assert sign in stored.note
    return stored.note


def path_without(tmp_path, *programs):
    """A PATH with git and without the named programs."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in {"git", "sh"} - set(programs):
        (folder / name).symlink_to(shutil.which(name))
    return str(folder)


def test_without_git_lfs_nothing_enters_git(clone, tmp_path, monkeypatch):
    put(clone, "alpha", data=b"x" * 100_000)
    objects = git(clone, "count-objects")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", path_without(tmp_path))
        note = assert_only_reported(clone, "git-lfs is not installed", "apt-get install git-lfs")
        assert stash.problems(here(clone)) == [note]
    git(clone, "rev-parse", "--verify", "-q", "raw-data", status=1)
    assert git(clone, "count-objects") == objects


def test_without_git(clone, tmp_path, monkeypatch):
    put(clone, "alpha", data=b"1\n")
    monkeypatch.setenv("PATH", path_without(tmp_path, "git"))
    assert_only_reported(clone, "git is not installed")
    assert "git is not installed" in stash.problems(here(clone))[0]


def test_a_project_outside_a_checkout(clone, tmp_path):
    put(clone, "alpha", data=b"1\n")
    shutil.rmtree(clone / ".git")
    note = assert_only_reported(clone, "not in a git checkout", "STASH=off")
    assert stash.problems(here(clone)) == [note]
    assert not stash.restore(here(clone), "alpha", tmp_path)


def test_somebody_elses_repository_around_the_project_is_left_alone(clone):
    put(clone, "alpha", data=b"1\n")
    shutil.rmtree(clone / ".git")
    git(clone.parent, "init", "-q")
    assert_only_reported(clone, "not in a git checkout")
    assert git(clone.parent, "for-each-ref") == ""


def test_a_bare_repository(clone, monkeypatch):
    git(clone, "config", "core.bare", "true")
    put(clone, "alpha", data=b"1\n")
    assert_only_reported(clone, "bare repository")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a folder away")
def test_a_repository_of_another_owner(clone):
    put(clone, "alpha", data=b"1\n")
    for path in (clone, clone / ".git"):
        os.chown(path, 65534, 65534)
    assert_only_reported(clone, "belongs to another user", "chown")


def test_a_full_disk(clone):
    put(clone, "beta", data=b"1\n")
    stash.store(here(clone), "beta", "before")
    first = tip(clone)
    put(clone, "alpha", data=b"x" * 1_000_000)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
        assert_only_reported(clone, "cannot be written", "File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert tip(clone) == first
    assert stash.store(here(clone), "alpha", "after").done
    assert_sound(clone)


def test_a_folder_git_that_cannot_be_written(clone):
    put(clone, "alpha", data=b"1\n")
    (clone / ".git/raw-data-stash").write_text("a file in the way")
    assert_only_reported(clone, "the stash cannot be written")


def test_off_stores_pushes_restores_and_reports_nothing(clone, tmp_path):
    put(clone, "alpha", data=b"1\n")
    off = here(clone, "off")
    assert stash.store(off, "alpha", "off") == stash.Stored(False, "not stashed")
    assert stash.push(off) == stash.Stored(False, "not pushed")
    assert stash.restore(off, "alpha", tmp_path) is False
    assert stash.problems(off) == []
    assert not (clone / ".git/raw-data-stash").exists()


# Others at the same time, and sudden ends

STORE_LOOP = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path[:0] = [{project!r}, {project!r} + "/tests"]
from pipeline import settings
from pipeline.raw import snapshot, stash
from tests.test_stash import put
settings.ROOT = clone = Path({clone!r})
here = replace(settings.load(), data_dir=clone / "data", stash="git")
for number in range({times}):
    put(clone, {source!r}, data=str(number).encode() * 100_000, same=b"1\\n")
    stored = stash.store(here, {source!r}, f"night {{number}}")
    assert stored.done and not stored.note, stored
"""


def start_storing(clone, source, times):
    code = STORE_LOOP.format(project=str(PROJECT), clone=str(clone), source=source, times=times)
    return subprocess.Popen([sys.executable, "-c", code], start_new_session=True)


def newest_commit(clone) -> str:
    return git(clone, "for-each-ref", "refs/heads/raw-data")


def test_six_processes_store_six_sources(clone):
    processes = [start_storing(clone, f"source_{number}", 2) for number in range(6)]
    for process in processes:
        end_of(process)
    assert [process.returncode for process in processes] == [0] * 6
    assert git(clone, "rev-list", "--count", "raw-data") == "12"
    assert len(git(clone, "ls-tree", "raw-data:data/raw").splitlines()) == 6
    assert_sound(clone)


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_commit(clone):
    for number in range(8):
        before = newest_commit(clone)
        process = start_storing(clone, "alpha", 1000)
        while newest_commit(clone) == before:  # however long Python takes to start
            assert process.poll() is None
        time.sleep(0.037 * number)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        put(clone, "beta", data=f"{number}\n".encode())
        stored = stash.store(here(clone), "beta", "after the kill")
        assert stored.done and stored.note == ""
        assert [path.name for path in (clone / ".git/raw-data-stash").iterdir()] == ["lock"]
        assert not (clone / ".git/lfs/tmp/raw-data-stash").exists()
    assert_sound(clone)
    assert int(git(clone, "rev-list", "--count", "raw-data")) >= 2 * 8
    assert "OK" in git(clone, "lfs", "fsck", "raw-data")


def test_a_lock_on_the_branch_left_by_a_killed_writer_is_removed(clone):
    put(clone, "alpha", data=b"1\n")
    stash.store(here(clone), "alpha", "first")
    (clone / ".git/refs/heads/raw-data.lock").touch()
    (clone / ".git/raw-data-stash/moving").touch()
    put(clone, "alpha", data=b"2\n")
    assert stash.store(here(clone), "alpha", "second").done


def test_a_lock_on_the_branch_of_somebody_else_is_left_alone(clone, monkeypatch):
    monkeypatch.setitem(fixed_git.FIXED, "core.filesRefLockTimeout", "100")
    put(clone, "alpha", data=b"1\n")
    stash.store(here(clone), "alpha", "first")
    lock = clone / ".git/refs/heads/raw-data.lock"
    lock.touch()
    put(clone, "alpha", data=b"2\n")
    assert_only_reported(clone, "raw-data.lock")
    assert lock.exists()
    lock.unlink()
    assert stash.store(here(clone), "alpha", "second").done


def test_a_branch_that_somebody_else_moves_is_continued(clone, monkeypatch):
    put(clone, "alpha", data=b"1\n")
    stash.store(here(clone), "alpha", "first")
    commit, moves = git_stash._commit, []

    def commit_late(*arguments):
        made = commit(*arguments)
        if not moves:
            tree = git(clone, "rev-parse", "raw-data^{tree}")
            moves.append(git(clone, "commit-tree", tree, "-p", "raw-data", "-m", "by hand"))
            git(
                clone,
                "-c",
                "core.hooksPath=/dev/null",
                "update-ref",
                "refs/heads/raw-data",
                moves[0],
            )
        return made

    monkeypatch.setattr(git_stash, "_commit", commit_late)
    put(clone, "alpha", data=b"2\n")
    assert stash.store(here(clone), "alpha", "second").done
    assert tip(clone, "raw-data~") == moves[0]


# Push


@pytest.fixture
def no_hooks_at_origin():
    """The receiving end of a file:// remote is a git of its own, with the user's configuration."""
    (Path(os.environ["HOME"]) / "hooks/reference-transaction").unlink()


@pytest.mark.usefixtures("no_hooks_at_origin")
def test_a_push_gives_a_fresh_clone_the_whole_data(clone, tmp_path):
    pushing = here(clone, "git+push")
    folder = put(clone, "alpha", data=b"a,b\r\n1,2\n")
    stash.store(pushing, "alpha", "first")
    before = {path: path.read_bytes() for path in (clone / ".git/hooks").iterdir()}
    assert "1 commit of raw-data waiting" in stash.problems(pushing)[0]
    assert stash.push(pushing) == stash.Stored(True, f"origin raw-data {tip(clone)[:7]}")
    assert stash.push(pushing) == stash.Stored(True, "nothing to push")
    assert stash.problems(pushing) == []
    assert {path: path.read_bytes() for path in (clone / ".git/hooks").iterdir()} == before
    fresh = tmp_path / "fresh"
    git(tmp_path, "clone", "-q", "-b", "raw-data", (tmp_path / "origin.git").as_uri(), str(fresh))
    assert contents(fresh / "data/raw/alpha") == contents(folder)
    assert "OK" in git(fresh, "lfs", "fsck")
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=fresh / "data/raw/alpha")
    assert done.returncode == 0


@pytest.mark.usefixtures("no_hooks_at_origin")
@pytest.mark.parametrize("how", [[], ["--single-branch"]])
def test_a_fresh_clone_gets_the_objects_as_documented(clone, tmp_path, how):
    put(clone, "alpha", data=b"a\n1\n")
    stash.store(replace(here(clone), stash="git+push"), "alpha", "first")
    stash.push(replace(here(clone), stash="git+push"))
    fresh = tmp_path / "fresh"
    git(tmp_path, "clone", "-q", *how, (tmp_path / "origin.git").as_uri(), str(fresh))
    page = (PROJECT / "docs" / "stash.md").read_text()
    (commands,) = re.findall(r"^`(git fetch[^`]*git lfs fetch[^`]*)`", page, re.MULTILINE)
    for command in commands.split(" && "):
        git(fresh, *command.split()[1:])
    assert any((fresh / ".git" / "lfs" / "objects").rglob("?" * 64))


@pytest.mark.usefixtures("no_hooks_at_origin")
def test_a_fresh_clone_continues_the_history_of_origin(clone, tmp_path, monkeypatch):
    put(clone, "alpha", data=b"1\n")
    stash.store(here(clone), "alpha", "first")
    assert stash.push(here(clone, "git+push")).done
    fresh = tmp_path / "fresh"
    git(tmp_path, "clone", "-q", (tmp_path / "origin.git").as_uri(), str(fresh))
    monkeypatch.setattr(settings, "ROOT", fresh)
    put(fresh, "beta", data=b"2\n")
    assert stash.store(here(fresh), "beta", "second").done
    assert git(fresh, "log", "--format=%s", "raw-data").splitlines() == ["second", "first"]
    assert stash.push(here(fresh, "git+push")).done


@pytest.mark.usefixtures("no_hooks_at_origin")
def test_a_refused_push_is_a_backlog(clone, tmp_path):
    pushing = here(clone, "git+push")
    put(clone, "alpha", data=b"1\n")
    stash.store(pushing, "alpha", "first")
    other = git(clone, "commit-tree", "main^{tree}", "-m", "another history")
    quietly(clone, "push", "-q", "origin", f"{other}:refs/heads/raw-data")
    quietly(clone, "update-ref", "-d", "refs/remotes/origin/raw-data")
    pushed = stash.push(pushing)
    assert not pushed.done and "\n" not in pushed.note
    assert pushed.note.startswith("1 commit of raw-data waiting to be pushed")
    assert "rejected" in pushed.note and "docs/stash.md" in pushed.note
    assert git(tmp_path / "origin.git", "rev-parse", "raw-data") == other


def test_a_push_without_a_remote_is_a_backlog(clone):
    pushing = here(clone, "git+push")
    git(clone, "config", "--remove-section", "remote.origin")
    put(clone, "alpha", data=b"1\n")
    assert stash.store(pushing, "alpha", "first").done
    put(clone, "alpha", data=b"2\n")
    assert stash.store(pushing, "alpha", "second").done
    pushed = stash.push(pushing)
    assert not pushed.done and "2 commits of raw-data waiting" in pushed.note
    assert "git remote add origin" in stash.problems(pushing)[0]


def test_a_push_to_a_silent_remote_is_stopped_with_its_processes(clone, monkeypatch, tmp_path):
    pids = tmp_path / "pids"
    ssh = tmp_path / "slow ssh"
    ssh.write_text(f"#!/bin/sh\necho $$ >> '{pids}'\nexec sleep 600\n")
    ssh.chmod(0o755)
    git(clone, "remote", "set-url", "origin", "ssh://git@example.invalid/x.git")
    monkeypatch.setenv("GIT_SSH_COMMAND", f"'{ssh}'")
    monkeypatch.setattr(git_stash, "NETWORK_SECONDS", 1)
    put(clone, "alpha", data=b"1\n")
    stash.store(here(clone), "alpha", "first")
    watch = Stopwatch()
    pushed = stash.push(here(clone, "git+push"))
    assert watch.seconds() < 10
    assert not pushed.done and "was stopped after" in pushed.note
    started = [int(pid) for pid in pids.read_text().split()]
    assert started
    eventually(lambda: not any(is_running(pid) for pid in started), "the end of all it started")


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_push_does_not_prompt_and_shows_no_password(clone):
    git(clone, "remote", "set-url", "origin", "http://user:s3cret@127.0.0.1:9/x.git")
    put(clone, "alpha", data=b"1\n")
    stash.store(here(clone), "alpha", "first")
    pushed = stash.push(here(clone, "git+push"))
    assert not pushed.done and "127.0.0.1:9" in pushed.note and "s3cret" not in pushed.note
    told = fixed_git.trouble(
        "git push", b"fatal: no 'https://user:s3cret@host/x'\x1b[2J\nhint: y\n", 1
    )
    assert str(told) == r"git push: fatal: no 'https://***@host/x'\x1b[2J"


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        (b"", -9, "it was killed by signal SIGKILL"),
        (b"hint: wait\n", -15, "it was killed by signal SIGTERM"),
        (b"", 3, "it ended with code 3 and printed nothing"),
        (b"fatal: no\n", 128, "fatal: no"),
    ],
)
def test_a_silent_failure_of_git_is_reported_by_its_exit_code(said, code, words):
    assert str(fixed_git.trouble("git push", said, code)) == f"git push: {words}"


@pytest.mark.parametrize("own", ["", "environment", "configuration"])
def test_ssh_must_not_prompt_unless_the_user_chose_the_command(clone, tmp_path, monkeypatch, own):
    said = tmp_path / "said"
    for name in ("ssh", "my-ssh"):
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(
            f"#!/bin/sh\necho {name} $HOME $GIT_TERMINAL_PROMPT $* >> '{said}'\nexit 255\n"
        )
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    if own == "environment":
        monkeypatch.setenv("GIT_SSH_COMMAND", "my-ssh")
    if own == "configuration":
        git(clone, "config", "core.sshCommand", "my-ssh")
    git(clone, "remote", "set-url", "origin", "ssh://git@example.invalid/x.git")
    put(clone, "alpha", data=b"1\n")
    stash.store(here(clone), "alpha", "first")
    assert not stash.push(here(clone, "git+push")).done
    begin = (
        f"my-ssh {os.environ['HOME']} 0 " if own else f"ssh {os.environ['HOME']} 0 -o BatchMode=yes"
    )
    assert said.read_text().startswith(begin)


# Restore


def test_what_was_stored_is_restored(clone, tmp_path):
    files = {"a b.csv": b"1\r\n", "empty.csv": b"", "ñ.csv": b"x" * 100_000}
    folder = write(clone / "data/raw/alpha", files)
    stash.store(here(clone), "alpha", "first")
    stored = contents(folder)
    shutil.rmtree(folder)
    into = tmp_path / "into"
    into.mkdir()
    assert stash.restore(here(clone), "alpha", into) is True
    assert contents(into) == stored
    assert stash.restore(here(clone), "beta", tmp_path) is False


def test_a_damaged_object_is_not_restored_and_the_next_store_repairs_it(clone, tmp_path):
    put(clone, "alpha", data=b"first\n")
    stash.store(here(clone), "alpha", "first")
    (kept,) = [path for path in (clone / ".git/lfs/objects").rglob("*") if path.is_file()]
    kept.chmod(0o644)
    kept.write_bytes(b"fIrst\n")
    into = tmp_path / "into"
    into.mkdir()
    assert stash.restore(here(clone), "alpha", into) is False
    assert contents(into) == {}
    assert "unchanged" in stash.store(here(clone), "alpha", "again").where
    assert stash.restore(here(clone), "alpha", into) is True


@pytest.mark.usefixtures("no_hooks_at_origin")
def test_objects_of_another_machine_are_fetched_only_when_allowed(clone, tmp_path, monkeypatch):
    folder = put(clone, "alpha", data=b"1\n")
    put(clone, "beta", data=b"2\n")
    for source in ("alpha", "beta"):
        stash.store(here(clone), source, source)
    assert stash.push(here(clone, "git+push")).done
    fresh, into = tmp_path / "fresh", tmp_path / "into"
    git(tmp_path, "clone", "-q", (tmp_path / "origin.git").as_uri(), str(fresh))
    plant_hooks(fresh / ".git/hooks", tmp_path / "marker")
    into.mkdir()
    monkeypatch.setattr(settings, "ROOT", fresh)
    assert stash.restore(here(fresh), "alpha", into) is False
    assert contents(into) == {}
    assert stash.restore(here(fresh), "alpha", into, network=True) is True
    assert contents(into) == contents(folder)
    kept = [path for path in (fresh / ".git/lfs/objects").rglob("*") if path.is_file()]
    assert len(kept) == 1  # beta's stays where it is


@pytest.mark.parametrize(
    "mode, name, content",
    [("100644", "data.csv", "data\n"), ("120000", "SHA256SUMS", "/etc/passwd")],
)
def test_a_folder_that_is_not_a_snapshot_is_not_restored(clone, tmp_path, mode, name, content):
    (tmp_path / "content").write_text(content)
    quiet = {"GIT_INDEX_FILE": str(tmp_path / "index")}
    blob = git(clone, "hash-object", "-w", str(tmp_path / "content"))
    entry = f"{mode},{blob},data/raw/alpha/{name}"
    quietly(clone, "update-index", "--add", "--cacheinfo", entry, **quiet)
    tree = quietly(clone, "write-tree", **quiet)
    commit = git(clone, "commit-tree", tree, "-m", "by hand")
    quietly(clone, "update-ref", "refs/heads/raw-data", commit)
    into = tmp_path / "into"
    into.mkdir()
    assert stash.restore(here(clone), "alpha", into) is False
    assert contents(into) == {}


def test_one_file_of_one_night_can_be_restored_as_documented(clone):
    for content in (b"first\n", b"second\n"):
        put(clone, "alpha", data=content)
        stash.store(here(clone), "alpha", "night")
    shutil.rmtree(clone / ".git/hooks")
    page = (PROJECT / "docs/stash.md").read_text()
    (line,) = [line.strip() for line in page.splitlines() if "git lfs smudge >" in line]
    line = line.replace("1a2b3c4", tip(clone, "raw-data~"))
    line = line.replace("bls_unemployment", "alpha").replace("unemployment.tsv", "data.csv")
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["PERSON"]}
    subprocess.run(line, shell=True, cwd=clone, env=environment, check=True)
    assert (clone / "data.csv").read_bytes() == b"first\n"
