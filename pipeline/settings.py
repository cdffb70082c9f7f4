"""The settings of this clone: environment variables first, then `.env`, then the defaults.

Every setting stands with its default in `.env.example`; `tests/test_tree.py` holds the two
together.
"""

import os
import re
from base64 import b64encode, urlsafe_b64encode
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote, urlsplit

from pipeline.errors import SetupError

ROOT = Path(__file__).resolve().parent.parent
BUNDLED = ROOT / "data" / "bundled"
_BASE64 = (b64encode, urlsafe_b64encode)
SOURCE_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
HTTP = ("http", "https")
RESERVED_ROLES = ("postgres", "public", "none", "prod_owner", "prod_publish", "prod_read")
STASHES = ("git", "git+push", "off")


@dataclass(frozen=True)
class Settings:
    """What this run works with. Paths are absolute, times are in seconds."""

    data_dir: Path
    database_url: str  # empty: embedded PostgreSQL
    stash: str
    mirrors: dict[str, str] = field(hash=False)  # host -> base URL
    fetch_patience: float
    source_timeout: float
    source_memory_mb: int
    publish_patience: float
    contact: str
    socrata_app_token: str = field(default="", repr=False)
    prod_database_url: str = field(default="", repr=False)  # empty: `prod` on the dev server
    keep_dumps: int = 7
    app_role: str = "app_read"
    app_password: str = field(default="", repr=False)  # empty: generated into a file

    @property
    def raw(self) -> Path:
        """Folder of the raw snapshots, one folder a source."""
        return self.data_dir / "raw"

    @property
    def preprocessed(self) -> Path:
        """Folder of the legible files, one CSV a source."""
        return self.data_dir / "preprocessed"

    @property
    def state(self) -> Path:
        """Folder of what the pipeline remembers between nights."""
        return self.data_dir / "state"

    @property
    def quarantine(self) -> Path:
        """Folder of what was refused."""
        return self.data_dir / "quarantine"

    @property
    def logs(self) -> Path:
        """Folder of the logs."""
        return self.data_dir / "logs"

    @property
    def dumps(self) -> Path:
        """Folder of the dumps of what was published."""
        return self.data_dir / "dumps"

    @property
    def postgres(self) -> Path:
        """Folder of the embedded server."""
        return self.data_dir / "postgres"


DEFAULTS = {
    "DATABASE_URL": "",
    "PROD_DATABASE_URL": "",
    "DATA_DIR": "data",
    "STASH": "git",
    "MIRRORS": "",
    "FETCH_PATIENCE": "20",
    "SOURCE_TIMEOUT": "1800",
    "SOURCE_MEMORY_MB": "4096",
    "PUBLISH_PATIENCE": "300",
    "KEEP_DUMPS": "7",
    "APP_ROLE": "app_read",
    "APP_PASSWORD": "",
    "CONTACT": "https://github.com/county-hazards/county-hazards-pipeline",
    "SOCRATA_APP_TOKEN": "",
}
# Settings whose value is never printed whole: of a URL the password, of a key all of it.
KEYS = ("SOCRATA_APP_TOKEN", "APP_PASSWORD")
URLS = ("DATABASE_URL", "PROD_DATABASE_URL")
SECRETS = (*URLS, *KEYS)


def values() -> dict[str, str]:
    """Every setting by name: the environment, else `.env`, else the default."""
    from_file = _from_file()
    return {
        name: os.environ.get(name, from_file.get(name, default)) or default
        for name, default in DEFAULTS.items()
    }


@cache
def load() -> Settings:
    """Read and check the settings of this process.

    Raises SetupError naming the setting when a value cannot be understood.
    """
    _refuse_unknown(_from_file())
    given = values()
    return Settings(
        data_dir=(ROOT / Path(given["DATA_DIR"]).expanduser()).absolute(),
        database_url=_database_url("DATABASE_URL", given),
        prod_database_url=_database_url("PROD_DATABASE_URL", given),
        stash=_one_of("STASH", given["STASH"], STASHES),
        mirrors=_mirrors(given["MIRRORS"]),
        fetch_patience=_seconds("FETCH_PATIENCE", given),
        source_timeout=_seconds("SOURCE_TIMEOUT", given),
        source_memory_mb=int(_seconds("SOURCE_MEMORY_MB", given)),
        publish_patience=_seconds("PUBLISH_PATIENCE", given),
        keep_dumps=_whole("KEEP_DUMPS", given),
        app_role=_role("APP_ROLE", given["APP_ROLE"]),
        app_password=_one_line("APP_PASSWORD", given["APP_PASSWORD"]),
        contact=_one_line("CONTACT", given["CONTACT"]),
        socrata_app_token=_key("SOCRATA_APP_TOKEN", given["SOCRATA_APP_TOKEN"]),
    )


def _from_file() -> dict[str, str]:
    if not (ROOT / ".env").is_file():
        return {}
    from dotenv import dotenv_values

    return {k: v for k, v in dotenv_values(ROOT / ".env").items() if v is not None}


def _refuse_unknown(from_file: dict[str, str]) -> None:
    """A name in `.env` that is no setting is a slip of the pen, and would change nothing."""
    for name in from_file.keys() - DEFAULTS.keys():
        (nearest,) = get_close_matches(name.upper(), DEFAULTS, n=1, cutoff=0)
        raise SetupError(f".env: {name} is no setting", f"is {nearest} meant? see .env.example")


def masked(name: str, value: str) -> str:
    """The value as it may be printed: passwords replaced by `***`."""
    if name in SECRETS and value:
        return redact(value)
    return value


def redact(text: str) -> str:
    """The text without the passwords and keys of the settings, wherever they stand in it.

    They are found by their value: as they are, URL-encoded, and in base64 alone or within more.
    """
    given = values()
    secrets = {urlsplit(given[name]).password for name in URLS} | {given[name] for name in KEYS}
    forms = {form for secret in filter(None, secrets) for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, "***")
    return text


def _forms(secret: str) -> set[str]:
    """The spellings under which a secret may stand in a text."""
    plain = {secret, unquote(secret)}
    forms = plain | {quote(form, safe="") for form in plain} | {quote_plus(form) for form in plain}
    for form in plain:
        for before in range(3) if len(form) > 5 else ():  # what stands before it shifts its bits
            data = bytes(before) + form.encode()
            # Only characters that no neighbour has a part in.
            begin, end = -(-before * 8 // 6), len(data) * 8 // 6
            forms |= {encode(data).decode()[begin:end] for encode in _BASE64}
    return forms


def sources() -> list[str]:
    """The names of all sources: the stems of the scripts in `api/`.

    Raises SetupError when a stem cannot be the name of a table.
    """
    names = sorted(path.stem for path in (ROOT / "api").glob("*.py") if path.stem != "conftest")
    for name in names:
        if not SOURCE_NAME.fullmatch(name):
            raise SetupError(f"api/{name}.py: a source is named in lower case, digits and _")
    return names


def _seconds(name: str, given: dict[str, str]) -> float:
    try:
        number = float(given[name])
    except ValueError:
        raise SetupError(f"{name}={given[name]!r} is not a number") from None
    if not 0 <= number < 10_000_000:
        raise SetupError(f"{name}={given[name]} is out of range")
    return number


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise SetupError(f"{name}={value!r} is not one of {', '.join(allowed)}")
    return value


def _one_line(name: str, value: str) -> str:
    if any(ord(character) < 32 for character in value):
        raise SetupError(f"{name} has a control character in it")
    return value


def _key(name: str, value: str) -> str:
    """A key that can stand in a header. An error does not show it."""
    if not re.fullmatch(r"[\x21-\x7e]{0,500}", value):
        raise SetupError(f"{name} has a blank or a character in it that no key has")
    return value


def _database_url(name: str, given: dict[str, str]) -> str:
    value = given[name]
    if value and urlsplit(value).scheme not in ("postgres", "postgresql"):
        raise SetupError(f"{name} does not begin with postgresql://")
    return value


def _whole(name: str, given: dict[str, str]) -> int:
    number = _seconds(name, given)
    if number != int(number) or number < 1:
        raise SetupError(f"{name}={given[name]} is not a whole number from 1 on")
    return int(number)


def _role(name: str, value: str) -> str:
    """The name of a role of ours: nothing PostgreSQL keeps for itself."""
    if not SOURCE_NAME.fullmatch(value) or value.startswith("pg_") or value in RESERVED_ROLES:
        raise SetupError(f"{name}={value!r} is no name for a role: lower case, digits and _")
    return value


def _mirrors(value: str) -> dict[str, str]:
    pairs = {}
    for pair in filter(None, (part.strip() for part in value.split(","))):
        host, separator, base = pair.partition("=")
        parts = urlsplit(base)
        if not (separator and host.strip() and parts.hostname and parts.scheme in HTTP):
            raise SetupError(f"MIRRORS: {pair!r} is not host=http(s)://base-url")
        pairs[host.strip().lower()] = base.strip().rstrip("/")
    return pairs
