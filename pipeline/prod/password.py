"""The password of the application's login on prod: given by setting, or made once and kept.

<DATA_DIR>/state/app_password        the generated one, for the application's configuration
<DATA_DIR>/state/app_password.scram  what the server is told in its place: it cannot be turned back

Both are readable by their owner alone. The second stays as long as the password does, since a
pooler that passes SCRAM on must hold the very same.
"""

import hashlib
import hmac
import os
import re
import secrets
import unicodedata
from base64 import b64decode, b64encode
from pathlib import Path

import psycopg

from pipeline import durable
from pipeline.settings import Settings

_SCRAM = re.compile(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):[A-Za-z0-9+/=]+")


def files(here: Settings) -> tuple[Path, Path]:
    """Where the generated password stands, and where what the server is told."""
    return here.state / "app_password", here.state / "app_password.scram"


def read(here: Settings) -> str:
    """The password as text; empty when none was given or made yet."""
    return here.app_password or _text(files(here)[0])


def make(here: Settings) -> str:
    """The password as text, made and written where there is none."""
    if not read(here):
        _write(files(here)[0], secrets.token_urlsafe(24))
    return read(here)


def verifier(connection: psycopg.Connection, here: Settings) -> str:
    """What the server keeps of the password (RFC 5803), computed on this side.

    So the password itself reaches neither the server's log nor pg_stat_activity.
    """
    password, kept = make(here), files(here)[1]
    if not is_of(_text(kept), password):
        words = password.encode(), here.app_role.encode(), b"scram-sha-256"
        _write(kept, connection.pgconn.encrypt_password(*words).decode())
    for file in files(here):
        if file.exists() and not file.is_symlink():  # what a link leads to is somebody else's
            file.chmod(0o600)
    return _text(kept)


def is_of(kept: str, password: str) -> bool:
    """Whether a verifier is this password's: its StoredKey, as RFC 5802 computes it."""
    found = _SCRAM.fullmatch(kept)
    if not found:
        return False
    normal = unicodedata.normalize("NFKC", password).encode()
    salted = hashlib.pbkdf2_hmac("sha256", normal, b64decode(found[2]), int(found[1]))
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    return b64encode(stored).decode() == found[3]


def _text(file: Path) -> str:
    return file.read_text("utf-8").strip() if file.exists() else ""


def _write(file: Path, text: str) -> None:
    """Replace a file that nobody else may read, not for an instant."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:  # noqa: PTH123
        opened.write(f"{text}\n")
    durable.replace_file(aside, file)
