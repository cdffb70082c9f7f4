"""git as the stash runs it: in a fixed environment, and for the network in the user's own.

In the fixed environment nothing the user, the machine or a planted file configures runs or
changes a result: no hook, no monitor, no configuration but the repository's own (and of that
nothing that starts a program), no network. Git itself refuses a repository of another owner.
"""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

from pipeline import signals
from pipeline.errors import PipelineError
from pipeline.text import escaped

LOCAL_SECONDS = 120  # one local command; it takes milliseconds unless the disk hangs
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
# What a surrounding git sets for its own repository and hooks (git rev-parse --local-env-vars).
_OF_ANOTHER_REPOSITORY = {
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT", "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE",
}  # fmt: skip
_PASSWORD = re.compile(r"//[^/@\s]+@")  # in a remote's URL
_TROUBLES = {
    "not a git repository": (
        "the project stands in no git checkout of its own: snapshots stay on disk only",
        "clone the project with git, or set STASH=off",
    ),
    "must be run in a work tree": (
        "the project stands in a bare repository: snapshots stay on disk only",
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
    """Run a local git command in the fixed environment, whatever it answers.

    Parameters
    ----------
    index:     the index file to use in place of the user's.
    keep_open: descriptors the command inherits, so that a lock lives as long as it does.

    Raises PipelineError when git is missing or gives no answer in LOCAL_SECONDS.
    """
    environment = _fixed(root) | ({"GIT_INDEX_FILE": str(index)} if index else {})
    words = [*_options(FIXED), *arguments]
    return _finished(root, words, environment, input=stdin, pass_fds=keep_open)


def answer(root: Path, *arguments: str, **how) -> bytes:
    """What a local git command prints; parameters as in `run`.

    Raises PipelineError with git's own line, or with a remedy where the trouble is a known one.
    """
    done = run(root, *arguments, **how)
    if done.returncode:
        raise trouble(f"git {arguments[0]}", done.stderr, done.returncode)
    return done.stdout


def setting(root: Path, name: str) -> str:
    """A value of the user's whole configuration, empty when it is not set."""
    words = ["config", "--get", name]
    done = _finished(root, words, _of_the_user(root), stdin=subprocess.DEVNULL)
    return os.fsdecode(done.stdout).removesuffix("\n")


def over_network(root: Path, *arguments: str, seconds: float) -> None:
    """Run a git command that talks to a remote: the user's keys and helpers, never a question.

    Raises PipelineError with git's own line when it fails or takes longer than `seconds`; then
    everything it started is ended.
    """
    environment = _of_the_user(root)
    if not setting(root, "core.sshCommand") and "GIT_SSH" not in environment:
        environment.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            ["git", *_options(_NETWORK_CONFIG), *arguments],
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
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
            said.seek(0)
            raise trouble(f"git {arguments[0]}", said.read(), status)


def trouble(command: str, said: bytes, code: int) -> PipelineError:
    """The error for what a git command said on its way out, or how it ended: one line, safe to
    print.
    """
    text = said.decode("utf-8", "replace")
    for sign, (what, remedy) in _TROUBLES.items():
        if sign in text:
            return PipelineError(what, remedy)
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("To ", "hint:"))]
    line = signals.reason("; ".join(lines[:3]), code)
    return PipelineError(f"{command}: {escaped(_PASSWORD.sub('//***@', line), 300)}")


def _finished(root: Path, words: list[str], environment: dict[str, str], **how):
    try:
        return subprocess.run(
            ["git", *words],
            cwd=root,
            env=environment,
            capture_output=True,
            timeout=LOCAL_SECONDS,
            check=False,
            **how,
        )
    except FileNotFoundError:
        raise PipelineError("git is not installed", "apt-get install git") from None
    except subprocess.TimeoutExpired:
        raise PipelineError(f"git gave no answer in {LOCAL_SECONDS} s: {words[-1]}") from None


def _options(config: dict[str, str]) -> list[str]:
    return [word for name, value in config.items() for word in ("-c", f"{name}={value}")]


def _fixed(root: Path) -> dict[str, str]:
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


def _of_the_user(root: Path) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if k not in _OF_ANOTHER_REPOSITORY}
    return inherited | {
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "SSH_ASKPASS_REQUIRE": "never",
        "GCM_INTERACTIVE": "never",
        "GIT_CEILING_DIRECTORIES": str(root.resolve().parent),
    }
