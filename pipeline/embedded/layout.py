"""The folders of the embedded server, and the user it runs as.

Everything is in `data/postgres`, with two exceptions. For each, a file there contains the path of a
folder elsewhere:

moved_to       PostgreSQL refuses to run as root, so root's server runs as a system user. If that
               user cannot reach `data/postgres`, the cluster is under /var/lib.
socket_folder  The path of a Unix socket is limited (107 bytes on Linux, 103 on macOS).

Such a folder names its `data/postgres` in turn, in the file `belongs_to`. It is used only if both
files agree, so neither a copy of a clone nor a new clone at an old path takes over another's data.
"""

import contextlib
import hashlib
import itertools
import os
import pwd
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline import durable
from pipeline.embedded import os_user
from pipeline.errors import SetupError
from pipeline.settings import Settings

ELSEWHERE = Path("/var/lib")
# Both survive the night: the server touches its socket every hour, so that nothing cleans it up.
SHORT_FOLDERS = (Path("/var/tmp"), Path("/tmp"))  # noqa: S108 - mkdtemp, 0700, owner checked
PREFIX = "open-data-pipeline-"  # of our folders there
FORMER_PREFIX = "county-hazards-"  # of those that earlier versions made
PORT = 5432
SOCKET = f".s.PGSQL.{PORT}"  # the name that libpq expects
SOCKET_PATH_LIMIT = 100


@dataclass(frozen=True)
class Folders:
    """The folders of one embedded server, and the user it runs as."""

    root: Path  # data/postgres: the log, and the files that lead elsewhere
    home: Path  # the same, or a folder under /var/lib
    socket: Path  # the folder of the socket: the user's own, closed to everybody else
    user: pwd.struct_passwd

    @property
    def cluster(self) -> Path:
        """PGDATA."""
        return self.home / "cluster"

    @property
    def socket_file(self) -> Path:
        """The socket."""
        return self.socket / SOCKET

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.root / "server.log"


def find(settings: Settings) -> Folders | None:
    """The folders of the existing cluster, whether it runs or not; None if there is no cluster.

    Raises SetupError when the cluster belongs to a user this process cannot become.
    """
    root = _root(settings)
    home = _elsewhere(root, "moved_to") or root
    if not (home / "cluster").is_dir():
        return None
    user = os_user.of_cluster(home / "cluster")
    socket = home / "socket"
    if not _fits(socket):
        socket = _elsewhere(root, "socket_folder") or socket
    return Folders(root, home, socket, user)


def prepare(settings: Settings, say: Callable[[str], None]) -> Folders:
    """The folders of the server; creates those that are missing. Call it under the lock.

    Raises SetupError when a folder is open to others, or the user or PostgreSQL's programs cannot
    use it.
    """
    root = _root(settings)
    home = _elsewhere(root, "moved_to") or _of_moved_clone(root) or root
    user = os_user.of_cluster(home / "cluster")
    if home == root and not _is_writable(user, root):
        if (home / "cluster").exists():
            raise SetupError(
                f"user {user.pw_name}, who owns the cluster in {root}, cannot reach it any more",
                "let that user pass through the folders above it",
            )
        home = _create_elsewhere(root, user, say)
    check_path(home)
    socket = home / "socket"
    if not _fits(socket):
        socket = _elsewhere(root, "socket_folder") or _create_short_folder(root, user)
    elif not socket.exists():
        socket.mkdir(mode=0o700)
        os_user.give(socket, user)
    if not os_user.is_private(socket, user):
        raise SetupError(
            f"{socket} must be a folder of user {user.pw_name}, closed to everybody else",
            "remove it; the next run creates it again",
        )
    return Folders(root, home, socket, user)


def create_root(settings: Settings) -> Path:
    """Create `data/postgres` if it is missing, closed to others; root's system user may enter."""
    root = _root(settings)
    root.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # from an earlier run, or one that began just now
        root.mkdir()
        root.chmod(0o711 if os.geteuid() == 0 else 0o700)
    return root


def check_path(path: Path) -> None:
    """Raise SetupError for a path that initdb and pg_ctl cannot pass to a shell.

    They put it between double quotes and escape nothing (find_other_exec, pg_ctl's -D).
    """
    if set(str(path)) & set('"$`\\\n'):
        raise SetupError(
            f"{str(path)!r}: PostgreSQL's programs do not work in a path with a double quote, "
            "a dollar sign, a backtick, a backslash or a line break",
            "move the clone",
        )


def leftovers(settings: Settings) -> list[Path]:
    """Folders under /var/lib of former clones at this path, which nothing uses any more."""
    root = _root(settings)
    used = _elsewhere(root, "moved_to")
    names = [f"{prefix}{_hash(root)}*" for prefix in (PREFIX, FORMER_PREFIX)]
    return sorted(found for name in names for found in ELSEWHERE.glob(name) if found != used)


def _root(settings: Settings) -> Path:
    root = Path(os.path.realpath(settings.postgres))
    if os.path.lexists(root) and not os.access(root, os.X_OK):
        raise SetupError(
            f"{root} is closed to this user",
            "run the pipeline as the user it belongs to, or set DATA_DIR to another folder",
        )
    return root


def _read(root: Path, name: str) -> tuple[Path, str] | None:
    """The folder that a file of the root leads to, and the root which that folder belongs to."""
    try:
        folder = Path((root / name).read_text().strip())
        return folder, (folder / "belongs_to").read_text().strip()
    except OSError:
        return None


def _elsewhere(root: Path, name: str) -> Path | None:
    """The folder that a file of the root leads to, if that exists and belongs to this root."""
    folder, owner = _read(root, name) or (None, None)
    return folder if owner == str(root) else None


def _of_moved_clone(root: Path) -> Path | None:
    """The folder under /var/lib of a clone that was moved; a copy leaves it to the original."""
    folder, owner = _read(root, "moved_to") or (None, None)
    if folder is None or owner is None or _elsewhere(Path(owner), "moved_to") == folder:
        return None
    durable.write(folder / "belongs_to", f"{root}\n".encode())
    return folder


def _is_writable(user: pwd.struct_passwd, folder: Path) -> bool:
    """Whether the user can write to a folder of its own in there: tried, not computed."""
    if os.geteuid() == user.pw_uid:
        return True
    trial = Path(tempfile.mkdtemp(prefix="tried-", dir=folder))
    try:
        os_user.give(trial, user)
        script = 'cd "$1" && : > "$1/file" && rm "$1/file"'
        return os_user.run(user, "/bin/sh", "-c", script, "sh", trial).returncode == 0
    except OSError:  # a file system without owners
        return False
    finally:
        shutil.rmtree(trial)


def _hash(root: Path) -> str:
    return hashlib.sha256(os.fsencode(root)).hexdigest()[:12]


def _create_elsewhere(root: Path, user: pwd.struct_passwd, say: Callable[[str], None]) -> Path:
    """Create a folder under /var/lib; `moved_to` comes first, so a killed run leaves no orphan."""
    moved_to = root / "moved_to"
    folder = Path(moved_to.read_text().strip()) if moved_to.exists() else ELSEWHERE
    if folder.parent != ELSEWHERE or folder.exists():
        names = (ELSEWHERE / f"{PREFIX}{_hash(root)}-{number}" for number in itertools.count(1))
        folder = next(name for name in names if not name.exists())
        durable.write(moved_to, f"{folder}\n".encode())
    say(f"User {user.pw_name} cannot reach {root}, so the database is in {folder}.")
    folder.mkdir(mode=0o700)
    durable.write(folder / "belongs_to", f"{root}\n".encode())
    folder.chmod(0o711)
    return folder


def _fits(socket: Path) -> bool:
    """Whether libpq and the server accept this folder: short, and no comma, which separates two."""
    path = os.fsencode(socket / SOCKET)
    return len(path) <= SOCKET_PATH_LIMIT and not set(b',"') & set(path)


def _create_short_folder(root: Path, user: pwd.struct_passwd) -> Path:
    base = next((folder for folder in SHORT_FOLDERS if os.access(folder, os.W_OK)), None)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    durable.write(folder / "belongs_to", f"{root}\n".encode())
    os_user.give(folder, user)
    durable.write(root / "socket_folder", f"{folder}\n".encode())
    return folder
