"""Where the embedded server stands, and as which user it runs.

Everything stands in `data/postgres`, with two exceptions, each noted there in a file that holds
the path of a folder elsewhere:

moved_to       PostgreSQL refuses to run as root, so root's server runs as a system user; where
               that user cannot reach `data/postgres`, the cluster stands under /var/lib.
socket_folder  the path of a Unix socket is limited (107 bytes on Linux, 103 on macOS).

Such a folder names its `data/postgres` in turn, in the file `belongs_to`. Only a pair that agrees
is used, so neither a copy of a clone nor a new clone at an old path takes over another's data.
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

ELSEWHERE = (Path("/var/lib"), Path("/var/db"))  # the second is macOS's
# Both outlive the night; the server touches its socket every hour, which keeps reapers away.
SHORT_FOLDERS = (Path("/var/tmp"), Path("/tmp"))  # noqa: S108 - mkdtemp, 0700, owner checked
PORT = 5432
SOCKET_PATH_LIMIT = 100


@dataclass(frozen=True)
class Place:
    """The folders of one embedded server, and the system's user it runs as."""

    notes: Path  # data/postgres: the notes and the log
    home: Path  # the same, or a folder under /var/lib
    socket: Path  # the folder of the socket: the user's own, closed to everybody else
    user: pwd.struct_passwd

    @property
    def cluster(self) -> Path:
        """PGDATA."""
        return self.home / "cluster"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.notes / "server.log"


def find(settings: Settings) -> Place | None:
    """The place of the cluster that is there, whether it runs or not; None without one.

    Raises SetupError when the cluster belongs to a user this process cannot become.
    """
    notes = _notes(settings)
    home = _noted(notes, "moved_to") or notes
    if not (home / "cluster").is_dir():
        return None
    user = os_user.of_cluster(home / "cluster")
    socket = home / "socket"
    if not _fits(socket):
        socket = _noted(notes, "socket_folder") or socket
    return Place(notes, home, socket, user)


def prepare(settings: Settings, say: Callable[[str], None]) -> Place:
    """The place of the server, its folders made where they were not; run it under the lock.

    Raises SetupError when a folder is open to others, or out of the user's or the programs' reach.
    """
    notes = _notes(settings)
    home = _noted(notes, "moved_to") or _of_moved_clone(notes) or notes
    user = os_user.of_cluster(home / "cluster")
    if home == notes and not _reaches(user, notes):
        if (home / "cluster").exists():
            raise SetupError(
                f"user {user.pw_name}, whose cluster stands in {notes}, cannot reach it any more",
                "let that user pass through the folders above it",
            )
        home = _move_out(notes, user, say)
    check_path(home)
    socket = home / "socket"
    if _fits(socket):
        if not socket.exists():
            make_folder(socket, user)
    else:
        socket = _noted(notes, "socket_folder") or _short_folder(notes, user)
    if not os_user.is_private(socket, user):
        raise SetupError(
            f"{socket} must be a folder of user {user.pw_name}, closed to everybody else",
            "remove it; the next run makes it anew",
        )
    return Place(notes, home, socket, user)


def make_notes_folder(settings: Settings) -> Path:
    """Make `data/postgres` where it is not: closed to others, but root's system user passes."""
    notes = _notes(settings)
    notes.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # of an earlier run, or one that began just now
        notes.mkdir()
        notes.chmod(0o711 if os.geteuid() == 0 else 0o700)
    return notes


def make_folder(folder: Path, user: pwd.struct_passwd) -> None:
    """Make a folder that is the user's alone, whatever the umask."""
    folder.mkdir(mode=0o700)
    os_user.give(folder, user)


def check_path(path: Path) -> None:
    """Raise SetupError for a path that initdb and pg_ctl would put unquoted before a shell.

    They write it between double quotes and nothing more (find_other_exec, pg_ctl's -D).
    """
    if set(str(path)) & set('"$`\\\n'):
        raise SetupError(
            f"{str(path)!r}: PostgreSQL's programs do not work in a path with a double quote, "
            "a dollar sign, a backtick, a backslash or a line break",
            "move the clone",
        )


def leftovers(settings: Settings) -> list[Path]:
    """Folders of former clones at this path under /var/lib, which nothing uses any more."""
    notes = _notes(settings)
    used = _noted(notes, "moved_to")
    found = [folder for base in ELSEWHERE for folder in base.glob(f"{_name(notes)}*")]
    return sorted(folder for folder in found if folder != used)


def _notes(settings: Settings) -> Path:
    notes = Path(os.path.realpath(settings.postgres))
    if os.path.lexists(notes) and not os.access(notes, os.X_OK):
        raise SetupError(
            f"{notes} is closed to this user",
            "run the pipeline as the user it belongs to, or set DATA_DIR to another folder",
        )
    return notes


def _noted(notes: Path, name: str) -> Path | None:
    """The folder a note names, if that folder is there and belongs to these notes."""
    try:
        folder = Path((notes / name).read_text().strip())
        owner = (folder / "belongs_to").read_text().strip()
    except OSError:
        return None
    return folder if owner == str(notes) else None


def _of_moved_clone(notes: Path) -> Path | None:
    """The folder under /var/lib of a clone that was moved; a copy leaves it to the original."""
    try:
        folder = Path((notes / "moved_to").read_text().strip())
        owner = (folder / "belongs_to").read_text().strip()
    except OSError:
        return None
    if _noted(Path(owner), "moved_to") == folder:
        return None
    durable.write(folder / "belongs_to", f"{notes}\n".encode())
    return folder


def _reaches(user: pwd.struct_passwd, folder: Path) -> bool:
    """Whether the user can write in a folder of its own in there: tried, not computed."""
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


def _name(notes: Path) -> str:
    return f"county-hazards-{hashlib.sha256(os.fsencode(notes)).hexdigest()[:12]}"


def _move_out(notes: Path, user: pwd.struct_passwd, say: Callable[[str], None]) -> Path:
    """Make the folder under /var/lib; the note comes first, so a killed run leaves no orphan."""
    base = next((folder for folder in ELSEWHERE if folder.is_dir()), ELSEWHERE[0])
    noted = notes / "moved_to"
    folder = Path(noted.read_text().strip()) if noted.exists() else base
    if folder.parent != base or folder.exists():
        names = (base / f"{_name(notes)}-{number}" for number in itertools.count(1))
        folder = next(name for name in names if not name.exists())
        durable.write(noted, f"{folder}\n".encode())
    say(f"User {user.pw_name} cannot reach {notes}: the database stands in {folder}.")
    folder.mkdir(mode=0o700)
    durable.write(folder / "belongs_to", f"{notes}\n".encode())
    folder.chmod(0o711)
    return folder


def _fits(socket: Path) -> bool:
    """Whether libpq and the server take this folder: short, and not a list by its comma."""
    path = os.fsencode(socket / f".s.PGSQL.{PORT}")
    return len(path) <= SOCKET_PATH_LIMIT and not set(b',"') & set(path)


def _short_folder(notes: Path, user: pwd.struct_passwd) -> Path:
    base = next((folder for folder in SHORT_FOLDERS if os.access(folder, os.W_OK)), None)
    folder = Path(tempfile.mkdtemp(prefix="county-hazards-", dir=base))
    durable.write(folder / "belongs_to", f"{notes}\n".encode())
    os_user.give(folder, user)
    durable.write(notes / "socket_folder", f"{folder}\n".encode())
    return folder
