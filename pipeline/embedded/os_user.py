"""The user that the embedded server runs as, and commands run as that user."""

import os
import pwd
import stat
import subprocess
from pathlib import Path
from typing import Any

from pipeline.errors import SetupError

SYSTEM_USERS = ("postgres", "_postgres", "daemon", "nobody")
# LC_ALL: a postmaster on macOS must not ask the system for a locale. No PG* variable is passed.
ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}


def of_cluster(cluster: Path) -> pwd.struct_passwd:
    """The owner of a cluster; if there is none yet, this process's user, or root's system user.

    Raises SetupError when this process cannot become that user, or the user has no name.
    """
    uid = os.geteuid()
    owner = cluster.stat().st_uid if cluster.exists() else None
    if uid == 0:
        return _named(owner) if owner else _system_user()
    if owner is not None and owner != uid:
        raise SetupError(
            f"{cluster} belongs to another user (id {owner})",
            "run the pipeline as that user (or as root, if root did), or move data/postgres aside",
        )
    return _named(uid)


def run(user: pwd.struct_passwd, *command: str | Path, **options) -> subprocess.CompletedProcess:
    """Run a command as the user, without this terminal's signals and environment.

    `options` are those of `subprocess.run`. Only setuid and setgroups are needed to become the
    user. Raises OSError when that is forbidden, or the user cannot run the command.
    """
    fixed: dict[str, Any] = {"env": ENVIRONMENT, "cwd": "/", "start_new_session": True}
    fixed["stdin"] = subprocess.DEVNULL
    if os.geteuid() != user.pw_uid:
        fixed |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [user.pw_gid]}
    if not options.get("capture_output"):
        fixed |= {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.run([str(part) for part in command], **(fixed | options), check=False)


def give(path: Path, user: pwd.struct_passwd) -> None:
    """Make the user the owner of something that this process created."""
    if os.geteuid() != user.pw_uid:
        os.chown(path, user.pw_uid, user.pw_gid)


def is_private(folder: Path, user: pwd.struct_passwd) -> bool:
    """Whether a path is a folder (no link) of the user's, closed to everybody else."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    is_closed = stat.S_IMODE(status.st_mode) & 0o077 == 0
    return stat.S_ISDIR(status.st_mode) and status.st_uid == user.pw_uid and is_closed


def _system_user() -> pwd.struct_passwd:
    for name in SYSTEM_USERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        try:
            run(user, "/bin/sh", "-c", ":")
        except OSError:
            break
        return user
    raise SetupError(
        "PostgreSQL refuses to run as root, and this root cannot become one of the users "
        + ", ".join(SYSTEM_USERS),
        "run the pipeline as an ordinary user, or set DATABASE_URL",
    )


def _named(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        raise SetupError(
            f"user id {uid} has no name on this machine, and PostgreSQL needs one",
            "add the user to /etc/passwd, or set DATABASE_URL",
        ) from None
