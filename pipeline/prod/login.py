"""The application's login on prod: its sessions, and its password, set by a person or generated.

<DATA_DIR>/state/app_password        the generated password, for the application's configuration
<DATA_DIR>/state/app_password.scram  what the server gets instead of it, from which it cannot be
                                     computed

Only their owner can read the files. The second one stays as long as the password does, because a
pooler that passes SCRAM on must have exactly the same.
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
from psycopg import conninfo

from pipeline import durable
from pipeline.database.queries import scalar
from pipeline.settings import Settings

_SCRAM = re.compile(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):[A-Za-z0-9+/=]+")
_OF_REPLICATOR = ("user", "password", "passfile", "sslcert", "sslkey", "options")


def connect(here: Settings, connection: psycopg.Connection, database: str) -> psycopg.Connection:
    """A session of the application, on the server of a connection of the replicating role."""
    info = connection.info
    parameters = {k: v for k, v in info.get_parameters().items() if k not in _OF_REPLICATOR}
    parameters |= {"host": info.host or info.hostaddr, "port": str(info.port), "dbname": database}
    parameters |= {"user": here.app_role, "password": password(here)}
    parameters |= {"application_name": "pipeline audit", "connect_timeout": "5"}
    return psycopg.connect(conninfo.make_conninfo(**parameters))


def is_full(here: Settings, connection: psycopg.Connection) -> bool:
    """Whether the application has as many sessions as it may have."""
    return scalar(
        connection,
        """select coalesce(count(*) >= max(rolconnlimit) and max(rolconnlimit) >= 0, false)
        from pg_stat_activity join pg_roles on pg_roles.oid = usesysid where rolname = %s""",
        [here.app_role],
    )


def password_files(here: Settings) -> tuple[Path, Path]:
    """The files of the generated password, and of what the server gets."""
    return here.state / "app_password", here.state / "app_password.scram"


def password(here: Settings) -> str:
    """The password as text; empty if none was set or generated yet."""
    return here.app_password or _text(password_files(here)[0])


def make_password(here: Settings) -> str:
    """The password as text, generated if there is none."""
    if not password(here):
        _write(password_files(here)[0], secrets.token_urlsafe(24))
    return password(here)


def verifier(connection: psycopg.Connection, here: Settings) -> str:
    """What the server keeps of the password (RFC 5803), computed by the client.

    So the password itself reaches neither the server's log nor pg_stat_activity.
    """
    text, file = make_password(here), password_files(here)[1]
    if not is_of(_text(file), text):
        parameters = text.encode(), here.app_role.encode(), b"scram-sha-256"
        _write(file, connection.pgconn.encrypt_password(*parameters).decode())
    for own in password_files(here):
        if own.exists() and not own.is_symlink():  # the target of a link belongs to others
            own.chmod(0o600)
    return _text(file)


def is_of(verifier: str, password: str) -> bool:
    """Whether a verifier belongs to a password: by its StoredKey, computed as in RFC 5802."""
    parts = _SCRAM.fullmatch(verifier)
    if not parts:
        return False
    normal = unicodedata.normalize("NFKC", password).encode()
    salted = hashlib.pbkdf2_hmac("sha256", normal, b64decode(parts[2]), int(parts[1]))
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    return b64encode(stored).decode() == parts[3]


def _text(file: Path) -> str:
    return file.read_text("utf-8").strip() if file.exists() else ""


def _write(file: Path, text: str) -> None:
    """Replace a file that nobody else may read at any moment."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:  # noqa: PTH123
        opened.write(f"{text}\n")
    durable.replace_file(aside, file)
