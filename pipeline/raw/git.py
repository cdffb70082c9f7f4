"""git as the stash runs it: local commands in a fixed environment, network commands in the user's.

In the fixed environment nothing that the user, the machine or a planted file configures can run or
change a result: no hook, no monitor, no network, no configuration except the repository's own (and
nothing in it that starts a program). Git itself refuses a repository of another owner.
A folder of a tree is read and replaced by plumbing commands, without a work tree.
"""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from pipeline import signals
from pipeline.errors import PipelineError
from pipeline.raw import lfs
from pipeline.text import escaped

# Runs a git command with the stash's own index: arguments, and bytes for stdin; returns its output.
Git = Callable[..., bytes]
LOCAL_SECONDS = 120  # limit of one local command; it takes milliseconds unless the disk hangs
FIXED = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.splitIndex": "false",
    "core.fsync": "all",
    "core.filesRefLockTimeout": "3000",
    "i18n.commitEncoding": "UTF-8",
    "protocol.allow": "never",
}
_NETWORK_CONFIG = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "protocol.ext.allow": "never",
}
_IDENTITY = ("raw-data stash", "stash@pipeline.invalid")
# Variables that a surrounding git sets for its own repository (git rev-parse --local-env-vars).
_OF_ANOTHER_REPOSITORY = {
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT", "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE",
}  # fmt: skip
_PASSWORD = re.compile(r"//[^/@\s]+@")  # in a remote's URL
_TROUBLES = {
    "not a git repository": (
        "the project is not in a git checkout of its own: snapshots stay on disk only",
        "clone the project with git, or set STASH=off",
    ),
    "must be run in a work tree": (
        "the project is in a bare repository: snapshots stay on disk only",
        "clone the project with git, or set STASH=off",
    ),
    "dubious ownership": (
        "the git checkout belongs to another user: snapshots stay on disk only",
        "run as its owner, give it to this user (chown -R), or set STASH=off",
    ),
}


def run(
    root: Path,
    *arguments: str,
    stdin: bytes = b"",
    index: Path | None = None,
    keep_open: tuple[int, ...] = (),
) -> subprocess.CompletedProcess[bytes]:
    """Run a local git command in the fixed environment, whatever its exit code.

    Parameters
    ----------
    index:     the index file to use instead of the user's.
    keep_open: descriptors that the command inherits, so that a lock lives as long as it does.

    Raises PipelineError when git is missing or does not end within LOCAL_SECONDS.
    """
    environment = _fixed_environment(root) | ({"GIT_INDEX_FILE": str(index)} if index else {})
    command = [*_options(FIXED), *arguments]
    return _run(root, command, environment, input=stdin, pass_fds=keep_open)


def output(root: Path, *arguments: str, **options) -> bytes:
    """Return what a local git command prints; parameters as in `run`.

    Raises PipelineError with git's own message, or with a remedy for a known problem.
    """
    done = run(root, *arguments, **options)
    if done.returncode:
        raise trouble(f"git {arguments[0]}", done.stderr, done.returncode)
    return done.stdout


def setting(root: Path, name: str) -> str:
    """Return a value of the user's whole configuration; empty when it is not set."""
    environment = _user_environment(root)
    done = _run(root, ["config", "--get", name], environment, stdin=subprocess.DEVNULL)
    return os.fsdecode(done.stdout).removesuffix("\n")


def over_network(root: Path, *arguments: str, seconds: float) -> None:
    """Run a git command that talks to a remote, with the user's keys and helpers, but no prompts.

    Raises PipelineError with git's own message when it fails or takes longer than `seconds`; all
    processes that it started are ended then.
    """
    environment = _user_environment(root)
    if not setting(root, "core.sshCommand") and "GIT_SSH" not in environment:
        environment.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(
            ["git", *_options(_NETWORK_CONFIG), *arguments],
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=messages,
            process_group=0,
        )
        try:
            status = process.wait(timeout=max(seconds, 0))
        except subprocess.TimeoutExpired:
            raise PipelineError(f"git {arguments[0]} was stopped after {seconds:.0f} s") from None
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if status:
            messages.seek(0)
            raise trouble(f"git {arguments[0]}", messages.read(), status)


def trouble(command: str, messages: bytes, code: int) -> PipelineError:
    """Return the error for a git command that failed: one line that is safe to print."""
    text = messages.decode("utf-8", "replace")
    for sign, (what, remedy) in _TROUBLES.items():
        if sign in text:
            return PipelineError(what, remedy)
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("To ", "hint:"))]
    line = signals.reason("; ".join(lines[:3]), code)
    return PipelineError(f"{command}: {escaped(_PASSWORD.sub('//***@', line), 300)}")


def object_name(git: Git, *arguments: str, stdin: bytes = b"") -> str:
    """Return the name of an object, which a git command prints."""
    return git(*arguments, stdin=stdin).decode().strip()


def write_blob(git: Git, content: bytes) -> str:
    """Write bytes into the repository unchanged; returns the name of the blob."""
    return object_name(git, "hash-object", "-w", "--no-filters", "--stdin", stdin=content)


def replace_folder(
    git: Git, tree: str, folder: str, blobs: dict[str, str], top: dict[str, str]
) -> str:
    """Write a tree in which a folder has exactly these files; returns the name of the tree.

    Parameters
    ----------
    tree:   the tree or commit to start from; empty for none. The index is empty.
    folder: its path, such as "data/raw/stations".
    blobs:  the folder's files: name -> blob.
    top:    files to add or replace at the top of the tree: name -> blob.
    """
    listed = git("ls-tree", "-r", "-z", tree).split(b"\0")[:-1] if tree else []
    entries = {path: entry for entry, path in (line.split(b"\t", 1) for line in listed)}
    entries = {p: entry for p, entry in entries.items() if not p.startswith(f"{folder}/".encode())}
    paths = top | {f"{folder}/{name}": blob for name, blob in blobs.items()}
    entries |= {os.fsencode(path): f"100644 blob {blob}".encode() for path, blob in paths.items()}
    lines = (entry + b"\t" + path + b"\0" for path, entry in entries.items())
    git("update-index", "-z", "--index-info", stdin=b"".join(lines))
    return object_name(git, "write-tree")


def read_folder(git: Git, tree: str, folder: str, text: tuple[str, ...]) -> dict[str, bytes]:
    """Return the files of a folder in a tree or commit: name -> content.

    text: names of files that are stored as they are; every other file must be a Git LFS pointer.

    Raises PipelineError when a file is neither, or is a link, a folder or a program.
    """
    blobs = {}
    for line in git("ls-tree", "-z", "-l", tree, f"{folder}/").split(b"\0")[:-1]:
        entry, path = line.split(b"\t", 1)
        mode, _, blob, size = entry.split()
        name = os.fsdecode(path.rpartition(b"/")[2])
        if mode != b"100644" or name in (".", ".."):
            raise PipelineError(f"{folder}/{name} in the stash is not a plain file")
        if name not in text and int(size) > lfs.POINTER_BYTES:
            raise PipelineError(f"{folder}/{name} in the stash is data, not a Git LFS pointer")
        blobs[name] = blob
    contents = dict(zip(blobs, _contents(git, list(blobs.values())), strict=True))
    for name, content in contents.items():
        if name not in text and content:
            lfs.parse(content)
    return contents


def _contents(git: Git, blobs: list[bytes]) -> list[bytes]:
    printed = git("cat-file", "--batch", stdin=b"".join(blob + b"\n" for blob in blobs))
    contents = []
    for _ in blobs:
        head, _, printed = printed.partition(b"\n")
        size = int(head.split()[2])
        contents.append(printed[:size])
        printed = printed[size + 1 :]
    return contents


def _run(root: Path, arguments: list[str], environment: dict[str, str], **options):
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=root,
            env=environment,
            capture_output=True,
            timeout=LOCAL_SECONDS,
            check=False,
            **options,
        )
    except FileNotFoundError:
        raise PipelineError("git is not installed", "apt-get install git") from None
    except subprocess.TimeoutExpired:
        raise PipelineError(f"git did not end within {LOCAL_SECONDS} s: {arguments[-1]}") from None


def _options(config: dict[str, str]) -> list[str]:
    return [part for name, value in config.items() for part in ("-c", f"{name}={value}")]


def _fixed_environment(root: Path) -> dict[str, str]:
    name, mail = _IDENTITY
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.devnull,
        "LC_ALL": "C",
        "TZ": "UTC",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        # Unpacked inside somebody's repository, the project must not commit to that one.
        "GIT_CEILING_DIRECTORIES": str(root.resolve().parent),
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": mail,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": mail,
    }


def _user_environment(root: Path) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if k not in _OF_ANOTHER_REPOSITORY}
    return inherited | {
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "SSH_ASKPASS_REQUIRE": "never",
        "GCM_INTERACTIVE": "never",
        "GIT_CEILING_DIRECTORIES": str(root.resolve().parent),
    }
