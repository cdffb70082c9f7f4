"""The stash in git: branch `raw-data`, one commit per changed snapshot, the data in Git LFS.

The branch shares no history with the code. It is written with git's plumbing and an index of its
own, so that the user's work tree, index, current branch and hooks are never touched.
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline import durable, settings
from pipeline.errors import PipelineError
from pipeline.raw import git, lfs
from pipeline.raw.snapshot import DESCRIPTOR, SUMS, Snapshot

BRANCH = "raw-data"
REF = f"refs/heads/{BRANCH}"
PUSHED_REF = f"refs/remotes/origin/{BRANCH}"
NETWORK_SECONDS = 900  # limit of a push or a fetch; objects transferred by then stay
LOCKED_SECONDS = 1.0  # a running git command may lock the branch for so long
MOVES = 5  # attempts when somebody else moves the branch at the same time
RAW = "data/raw"  # in the branch, whatever DATA_DIR is
TEXT = (DESCRIPTOR, SUMS)
# Nothing may rewrite line ends: SHA256SUMS must match a checkout of the branch too.
ATTRIBUTES = b"""\
# Raw snapshots: the data by Git LFS, the manifests as text.
/data/raw/** filter=lfs diff=lfs merge=lfs -text
/data/raw/*/SHA256SUMS !filter !diff !merge -text
/data/raw/*/datapackage.json !filter !diff !merge -text
"""


@dataclass(frozen=True)
class Checkout:
    """The folders of this clone; a linked worktree shares them with its main worktree."""

    root: Path
    folder: Path  # .git
    lfs: Path  # the objects of Git LFS
    keep_open: tuple[int, ...] = ()  # the descriptor of the lock, while it is held

    def git(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Return what git prints, in the fixed environment and with the stash's own index."""
        index, keep_open = self.own / "index", self.keep_open
        return git.output(self.root, *arguments, stdin=stdin, index=index, keep_open=keep_open)

    @property
    def own(self) -> Path:
        """The stash's own folder inside .git: lock, index, unfinished work."""
        return self.folder / "raw-data-stash"


def store(snapshot: Snapshot, message: str) -> str:
    """Commit a verified snapshot to the branch; returns the branch and commit.

    Raises PipelineError or OSError when that fails; the branch is unchanged then.
    """
    here = _checkout()
    _refuse_without_lfs()
    with _locked(here) as checkout:
        _refuse_checked_out(checkout)
        blobs = _blobs_of(checkout, snapshot)
        top = {".gitattributes": git.write_blob(checkout.git, ATTRIBUTES)}
        folder = f"{RAW}/{snapshot.source}"
        for _ in range(MOVES):
            branch, pushed = _tips(checkout)
            parent = branch or pushed  # a fresh clone continues what origin has
            (checkout.own / "index").unlink(missing_ok=True)
            tree = git.replace_folder(checkout.git, parent, folder, blobs, top)
            if parent and tree == git.object_name(checkout.git, "rev-parse", f"{parent}^{{tree}}"):
                return f"{BRANCH} {parent[:7]}, unchanged"
            if git.read_folder(checkout.git, tree, folder, TEXT).keys() != blobs.keys():
                raise PipelineError(f"{snapshot.source}: git would store other files")
            commit = _commit(checkout, tree, parent, message)
            if _moved(checkout, commit, branch, snapshot.source):
                return f"{BRANCH} {commit[:7]}"
    raise PipelineError(f"branch {BRANCH} was moved by somebody else {MOVES} times")


def push() -> str:
    """Push the objects of Git LFS, then the branch, never forced; returns what origin has.

    Raises PipelineError with the number of waiting commits when a push fails.
    """
    checkout = _checkout()
    branch, _ = _tips(checkout)
    waiting = _waiting(checkout)
    if not waiting:
        return "nothing to push"
    deadline = time.monotonic() + NETWORK_SECONDS
    refspec = f"{branch}:{REF}"  # this commit, whose objects are pushed before it
    try:
        _refuse_without_lfs()
        for command in (
            ("lfs", "push", "origin", BRANCH),
            ("push", "--no-verify", "--no-signed", "--no-follow-tags", "origin", refspec),
        ):
            git.over_network(checkout.root, *command, seconds=deadline - time.monotonic())
    except PipelineError as error:
        raise PipelineError(
            f"{waiting} waiting to be pushed: {error.what}", error.remedy or "docs/stash.md, Push"
        ) from None
    # A clone of a single branch does not itself record what origin has.
    checkout.git("update-ref", PUSHED_REF, branch)
    return f"origin {BRANCH} {branch[:7]}"


def restore(source: str, into: Path, network: bool) -> bool:
    """Write the branch's last snapshot of a source into an existing folder.

    Returns False and writes nothing when the branch has none, or when an object is missing here
    and, with `network`, on the remote. Raises PipelineError when git fails.
    """
    checkout = _checkout()
    tip = next(filter(None, _tips(checkout)), "")
    contents = git.read_folder(checkout.git, tip, f"{RAW}/{source}", TEXT) if tip else {}
    data = {name: pointer for name, pointer in contents.items() if name not in TEXT}
    if network and not all(lfs.find(checkout.lfs, pointer) for pointer in data.values()):
        include = f"--include={RAW}/{source}"
        command = ("lfs", "fetch", include, "--exclude=", "origin", tip)
        git.over_network(checkout.root, *command, seconds=NETWORK_SECONDS)
    files = {name: lfs.find(checkout.lfs, pointer) for name, pointer in data.items()}
    if not all(files.values()):
        return False
    for name, content in contents.items():
        if content and (file := files.get(name)):
            durable.copy(file, into / name)
        else:
            with durable.create(into / name) as made:
                made.write(content)
    return bool(contents)


def problems(pushes: bool) -> list[str]:
    """Return why `store` would fail and, if it `pushes`, what waits, each with a remedy."""
    try:
        checkout = _checkout()
    except PipelineError as error:
        return [str(error)]
    found = []
    for check in (_refuse_without_lfs, lambda: _refuse_checked_out(checkout)):
        try:
            check()
        except PipelineError as error:
            found.append(str(error))
    found += _stale_lock(checkout)
    if pushes and not git.setting(checkout.root, "remote.origin.url"):
        found.append("STASH=git+push without a remote - git remote add origin URL, or STASH=git")
    elif pushes and (waiting := _waiting(checkout)):
        found.append(f"{waiting} waiting to be pushed - docs/stash.md, Push")
    return found


def lacking(folders: Iterable[Path]) -> list[str]:
    """Return the names of the folders whose snapshot is not the last one in the branch.

    folders: snapshots on disk, each named like its source.

    Raises PipelineError when git fails.
    """
    checkout = _checkout()
    tip = next(filter(None, _tips(checkout)), "")
    listed = checkout.git("ls-tree", "-r", "-z", tip, "--", RAW).split(b"\0")[:-1] if tip else []
    stashed = {
        os.fsdecode(path): entry.split()[2] for entry, path in (e.split(b"\t") for e in listed)
    }
    on_disk = [folder for folder in folders if (folder / SUMS).is_file()]
    paths = "".join(f"{folder / SUMS}\n" for folder in on_disk).encode()
    blobs = checkout.git("hash-object", "--no-filters", "--stdin-paths", stdin=paths).split()
    pairs = zip(on_disk, blobs, strict=True)
    return [
        folder.name for folder, blob in pairs if stashed.get(f"{RAW}/{folder.name}/{SUMS}") != blob
    ]


def _stale_lock(checkout: Checkout) -> list[str]:
    """Return the problem of a lock that a killed git command left on the branch.

    A running git command holds the lock for an instant only.
    """
    path = checkout.folder / f"{REF}.lock"
    deadline = time.monotonic() + LOCKED_SECONDS
    while os.path.lexists(path):
        if time.monotonic() > deadline:
            return [
                f"no snapshot enters the stash: {path} was left by a git that was killed - rm it"
            ]
        time.sleep(0.05)
    return []


def _checkout() -> Checkout:
    root = settings.ROOT.resolve()
    printed = git.output(root, "rev-parse", "--show-toplevel", "--git-common-dir")
    folder = root / os.fsdecode(printed).split("\n")[1]
    return Checkout(root, folder, folder / (git.setting(root, "lfs.storage") or "lfs"))


def _refuse_without_lfs() -> None:
    if not shutil.which("git-lfs"):
        raise PipelineError(
            "git-lfs is not installed: snapshots stay on disk only",
            "apt-get install git-lfs (or put it on PATH), or set STASH=off",
        )


def _refuse_checked_out(checkout: Checkout) -> None:
    """Refuse to move a branch that is checked out: the next commit there would undo the move."""
    folder = ""
    for line in os.fsdecode(checkout.git("worktree", "list", "--porcelain")).split("\n"):
        if line.startswith("worktree "):
            folder = line.removeprefix("worktree ")
        elif line == f"branch {REF}" and Path(folder).exists():
            raise PipelineError(
                f"branch {BRANCH} is checked out in {folder}: snapshots stay on disk only",
                "git switch --detach there",
            )


@contextlib.contextmanager
def _locked(checkout: Checkout) -> Generator[Checkout]:
    """Allow one writer at a time in this clone, and tidy up after a killed one.

    The git commands of a writer inherit the lock. So its holder knows that no command of a dead
    writer still runs, and if that writer was just moving the branch, git's own lock on the branch
    can be removed.
    """
    checkout.own.mkdir(exist_ok=True)
    with os.fdopen(durable.open_own(checkout.own / "lock", os.O_WRONLY), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (checkout.own / "moving").exists():
            (checkout.folder / f"{REF}.lock").unlink(missing_ok=True)
        for leftover in ("moving", "index", "index.lock"):
            (checkout.own / leftover).unlink(missing_ok=True)
        lfs.tidy(checkout.lfs)
        yield Checkout(checkout.root, checkout.folder, checkout.lfs, (lock.fileno(),))
        (checkout.own / "index").unlink(missing_ok=True)


def _blobs_of(checkout: Checkout, snapshot: Snapshot) -> dict[str, str]:
    """Return name -> blob: the text files themselves; pointers for data that is now in Git LFS."""
    contents = {name: (snapshot.folder / name).read_bytes() for name in TEXT}
    for file in snapshot.files:
        oid = snapshot.resources[file.name].sha256
        contents[file.name] = lfs.add(checkout.lfs, file, oid)
    return {name: git.write_blob(checkout.git, text) for name, text in contents.items()}


def _tips(checkout: Checkout) -> tuple[str, str]:
    """Return the commits of the branch and of origin's branch; empty where there is none."""
    arguments = ("for-each-ref", "--format=%(refname) %(objectname)", REF, PUSHED_REF)
    tips = dict(line.split() for line in checkout.git(*arguments).decode().splitlines())
    return tips.get(REF, ""), tips.get(PUSHED_REF, "")


def _waiting(checkout: Checkout) -> str:
    """Return the commits that origin lacks, as "3 commits of raw-data"; empty without any."""
    branch, pushed = _tips(checkout)
    if not branch:
        return ""
    excluded = ["--not", pushed] if pushed else []
    count = int(checkout.git("rev-list", "--count", branch, *excluded))
    return f"{count} commit{'s' * (count > 1)} of {BRANCH}" if count else ""


def _commit(checkout: Checkout, tree: str, parent: str, message: str) -> str:
    ancestry = ["-p", parent] if parent else []
    text = message.replace("\0", "").encode("utf-8", "replace")
    return git.object_name(checkout.git, "commit-tree", tree, *ancestry, "-F", "-", stdin=text)


def _moved(checkout: Checkout, commit: str, branch: str, source: str) -> bool:
    """Move the branch to a commit; False when somebody else moved it since it was read."""
    moving = checkout.own / "moving"
    durable.create(moving).close()
    # After git has ended, a lock on the branch is not ours. If it never ends, the next call tidies.
    arguments = ("update-ref", "--create-reflog", "-m", f"stash: {source}", REF, commit, branch)
    done = git.run(checkout.root, *arguments, keep_open=checkout.keep_open)
    moving.unlink()
    if done.returncode and _tips(checkout)[0] == branch:
        raise git.trouble("git update-ref", done.stderr, done.returncode)
    return not done.returncode
