"""One folder of a git tree, read and replaced by plumbing: no work tree, no user's index.

`git` is a function that runs a git command (words, and bytes for its stdin) and returns what it
prints, with an index file of its own in its environment.
"""

import os
from collections.abc import Callable

from pipeline.errors import PipelineError
from pipeline.raw import lfs

Git = Callable[..., bytes]


def word(git: Git, *words: str, stdin: bytes = b"") -> str:
    """What a git command prints, as one word: the name of an object."""
    return git(*words, stdin=stdin).decode().strip()


def write_blob(git: Git, content: bytes) -> str:
    """Put bytes into the repository as they are; returns the blob's name."""
    return word(git, "hash-object", "-w", "--no-filters", "--stdin", stdin=content)


def replace(git: Git, tree: str, folder: str, blobs: dict[str, str], top: dict[str, str]) -> str:
    """Make a tree in which a folder holds exactly these files; returns the new tree's name.

    Parameters
    ----------
    tree:   the tree or commit to start from; empty for none. The index is empty.
    folder: its path, as "data/raw/usgs_earthquakes".
    blobs:  name to blob, of the folder's files.
    top:    name to blob, of files that stand at the top beside everything else there.
    """
    listed = git("ls-tree", "-r", "-z", tree).split(b"\0")[:-1] if tree else []
    entries = {path: entry for entry, path in (line.split(b"\t", 1) for line in listed)}
    entries = {p: entry for p, entry in entries.items() if not p.startswith(f"{folder}/".encode())}
    paths = top | {f"{folder}/{name}": blob for name, blob in blobs.items()}
    entries |= {os.fsencode(path): f"100644 blob {blob}".encode() for path, blob in paths.items()}
    lines = (entry + b"\t" + path + b"\0" for path, entry in entries.items())
    git("update-index", "-z", "--index-info", stdin=b"".join(lines))
    return word(git, "write-tree")


def read(git: Git, tree: str, folder: str, text: tuple[str, ...]) -> dict[str, bytes]:
    """Name to content of a folder's files in a tree or commit; empty when it has none.

    Parameters
    ----------
    text: names that stand as they are; every other file must be a Git LFS pointer.

    Raises PipelineError when one is not, or is a link, a folder or a program.
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
    answer = git("cat-file", "--batch", stdin=b"".join(blob + b"\n" for blob in blobs))
    contents = []
    for _ in blobs:
        head, _, answer = answer.partition(b"\n")
        size = int(head.split()[2])
        contents.append(answer[:size])
        answer = answer[size + 1 :]
    return contents
