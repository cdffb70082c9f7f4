"""The settings of this clone: environment variables first, then `.env`, then the defaults.

`.env.example` lists all of them with their defaults; `tests/test_tree.py` compares the two.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pipeline import dsn, env_file, redaction
from pipeline import setting_checks as checks
from pipeline.errors import SetupError, SourceError

ROOT = Path(__file__).resolve().parent.parent
BUNDLED = ROOT / "data" / "bundled"
_PYPROJECT = ROOT / "pyproject.toml"
SOURCE_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
NO_SOURCES = "there are no sources yet: docs/make_it_yours.md says how to add the first"
EXPORTS = ("csv", "parquet", "geojson")
STASHES = ("git", "git+push", "off")


class Project(NamedTuple):
    """What `pyproject.toml` says about this project, which a team names there and nowhere else."""

    name: str
    version: str
    address: str  # the first of its urls


@dataclass(frozen=True)
class Settings:
    """The settings of this run. Paths are absolute, times are in seconds."""

    data_dir: Path
    database_url: str = field(repr=False)  # empty: embedded PostgreSQL
    stash: str
    mirrors: dict[str, str] = field(hash=False, repr=False)  # host -> base URL
    fetch_patience: float
    source_timeout: float
    source_memory_mb: int
    publish_patience: float
    contact: str  # empty: the project's address
    socrata_app_token: str = field(default="", repr=False)
    prod_database_url: str = field(default="", repr=False)  # empty: `prod` on the dev server
    keep_dumps: int = 7
    app_role: str = "app_read"
    app_password: str = field(default="", repr=False)  # empty: generated into a file
    notify_urls: str = field(default="", repr=False)  # as Apprise takes them
    heartbeat_url: str = field(default="", repr=False)
    exports: tuple[str, ...] = ()  # formats of the downloads
    # The keys of publishers that are set, by name: `EIA` for KEY_EIA, NAMED_KEYS by their own.
    keys: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    @property
    def user_agent(self) -> str:
        """How requests introduce themselves to a publisher."""
        name, version, address = project()
        return f"{name}/{version} (+{self.contact or address})"

    @property
    def raw(self) -> Path:
        """Folder of the raw snapshots, with one folder per source."""
        return self.data_dir / "raw"

    @property
    def preprocessed(self) -> Path:
        """Folder of the legible files, one CSV per source."""
        return self.data_dir / "preprocessed"

    @property
    def state(self) -> Path:
        """Folder of the state that the pipeline keeps between nights."""
        return self.data_dir / "state"

    @property
    def quarantine(self) -> Path:
        """Folder of rejected files."""
        return self.data_dir / "quarantine"

    @property
    def logs(self) -> Path:
        """Folder of the logs."""
        return self.data_dir / "logs"

    @property
    def dumps(self) -> Path:
        """Folder of the dumps of published tables."""
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
    "CONTACT": "",
    "SOCRATA_APP_TOKEN": "",
    "CENSUS_API_KEY": "",
    "NOTIFY_URLS": "",
    "HEARTBEAT_URL": "",
    "EXPORTS": "csv,parquet",
}
# Settings that are never printed completely: URLs without the password, keys not at all.
NAMED_KEYS = ("SOCRATA_APP_TOKEN", "CENSUS_API_KEY")  # keys with names of their own
KEYS = (*NAMED_KEYS, "APP_PASSWORD")
URLS = ("DATABASE_URL", "PROD_DATABASE_URL")
CHANNELS = ("NOTIFY_URLS", "HEARTBEAT_URL")  # whoever knows them can write to people
KEY = re.compile(r"KEY_([A-Z][A-Z0-9_]{0,58})")  # the name of all other keys of publishers


def values() -> dict[str, str]:
    """All settings by name: from the environment, else from `.env`, else the default.

    They include the keys of publishers (`KEY_EIA`) that are set.
    """
    return _values(_from_file())


def _values(from_file: Mapping[str, str]) -> dict[str, str]:
    names = dict.fromkeys(sorted(filter(KEY.fullmatch, {*os.environ, *from_file})), "")
    return {
        name: os.environ.get(name, from_file.get(name, default)) or default
        for name, default in (DEFAULTS | names).items()
    }


@cache
def load() -> Settings:
    """Read and check the settings of this process.

    Raises SetupError with the name of a setting whose value is invalid.
    """
    from_file = _from_file()
    _refuse_unknown(from_file)
    given = _values(from_file)
    checks.refuse_undecodable(given)
    checks.proxies(os.environ)
    return Settings(
        data_dir=checks.folder("DATA_DIR", given["DATA_DIR"], ROOT),
        database_url=checks.database_url("DATABASE_URL", given),
        prod_database_url=checks.database_url("PROD_DATABASE_URL", given),
        stash=checks.one_of("STASH", given["STASH"], STASHES),
        mirrors=dsn.mirrors(given["MIRRORS"]),
        fetch_patience=checks.seconds("FETCH_PATIENCE", given),
        source_timeout=checks.seconds("SOURCE_TIMEOUT", given),
        source_memory_mb=int(checks.seconds("SOURCE_MEMORY_MB", given)),
        publish_patience=checks.seconds("PUBLISH_PATIENCE", given),
        keep_dumps=checks.whole("KEEP_DUMPS", given),
        app_role=checks.role("APP_ROLE", given["APP_ROLE"]),
        app_password=checks.one_line("APP_PASSWORD", given["APP_PASSWORD"]),
        contact=checks.header("CONTACT", checks.one_line("CONTACT", given["CONTACT"])),
        socrata_app_token=checks.key("SOCRATA_APP_TOKEN", given["SOCRATA_APP_TOKEN"]),
        notify_urls=checks.channels("NOTIFY_URLS", given["NOTIFY_URLS"]),
        exports=checks.several_of("EXPORTS", given["EXPORTS"], EXPORTS),
        heartbeat_url=checks.web_address("HEARTBEAT_URL", given["HEARTBEAT_URL"]),
        keys={_key_name(name): checks.key(name, given[name]) for name in given if _key_name(name)},
    )


@cache
def project() -> Project:
    """The project's name, version and address. Raises SetupError if pyproject.toml lacks one."""
    import tomllib

    try:
        declared = tomllib.loads(_PYPROJECT.read_text("utf-8"))["project"]
        found = Project(
            declared["name"], declared["version"], next(iter(declared["urls"].values()))
        )
    except (OSError, ValueError, KeyError, StopIteration) as error:
        raise SetupError(
            f"pyproject.toml lacks the name, version or address of the project: {error!r}",
            "write name and version under [project], an address under [project.urls]",
        ) from None
    for value in found:
        checks.header("pyproject.toml", checks.one_line("pyproject.toml", value))
    return found


def state_folder() -> Path:
    """The folder of the pipeline's state, even when another setting is invalid."""
    try:
        given = values()
    except SetupError:  # `.env` cannot be read
        given = _values({})
    try:
        return checks.folder("DATA_DIR", given["DATA_DIR"], ROOT) / "state"
    except SetupError:
        return ROOT / DEFAULTS["DATA_DIR"] / "state"


def key(name: str) -> str:
    """A publisher's key, for a header or a parameter of a URL: `EIA` means KEY_EIA.

    It is sent only to the host that the source's script declares (`keys` of its Source).
    Raises SourceError when it is not set.
    """
    if value := load().keys.get(name):
        return value
    setting = name if name in NAMED_KEYS else f"KEY_{name}"
    raise SourceError(f"{setting} is not set", f"put the publisher's key into .env as {setting}=…")


def _key_name(setting: str) -> str:
    """The name by which scripts refer to the key in a setting; empty if it is not a key."""
    found = KEY.fullmatch(setting)
    return found[1] if found else setting if setting in NAMED_KEYS else ""


def _from_file() -> dict[str, str]:
    return env_file.read(ROOT / ".env")


def _refuse_unknown(from_file: Mapping[str, str]) -> None:
    """Refuse an unknown name in `.env`: it is a typing error and would be silently ignored."""
    for name in from_file.keys() - DEFAULTS.keys():
        if KEY.fullmatch(name):
            continue
        raise SetupError(
            f".env: {name} is not a setting",
            f"did you mean {_similar(name.upper())}? see .env.example",
        )


def _similar(name: str) -> str:
    """The setting most similar to a wrong name; for `EIA_API_KEY` it is KEY_EIA."""
    if near := get_close_matches(name, DEFAULTS, n=1, cutoff=0.8):
        return near[0]
    found = re.fullmatch(r"(?:KEY_)?(\w+?)(?:_API)?(?:_KEY|_TOKEN)?", name)
    if found and re.search(r"^KEY_|_KEY$|_TOKEN$", name) and KEY.fullmatch(f"KEY_{found[1]}"):
        return f"KEY_{found[1]}"
    return get_close_matches(name, DEFAULTS, n=1, cutoff=0)[0]


def masked(name: str, value: str) -> str:
    """The value of a setting for printing, with `***` instead of secrets."""
    if value and name in URLS and not dsn.is_clear(value):
        return redact(dsn.outline(value))
    if value and name in CHANNELS:
        return redaction.HIDDEN
    if name == "MIRRORS" and not dsn.are_clear_mirrors(value):
        return redaction.HIDDEN
    return redact(value)


def redact(text: str, is_cut: bool = False) -> str:
    """The text without the passwords and keys in the settings, in any encoding.

    is_cut: whether the text may end within one; then its beginning is removed too.
    """
    return redaction.redact(text, secrets(), is_cut)


def secrets() -> frozenset[str]:
    """All passwords and keys of this process, from settings and other environment variables."""
    try:
        given = values()
    except SetupError:  # `.env` cannot be read, which is reported elsewhere
        given = _values({})
    found = set().union(*_secrets_by_setting(given).values())
    for name, value in os.environ.items():
        if name == "PGPASSWORD":
            found.add(value)
        elif name.lower() in checks.PROXIES:
            found |= dsn.secrets_of_url(value)
    return frozenset(found)


def exposed() -> str:
    """A sentence with the remedy if other users can read secrets in `.env`; empty if not."""
    file = ROOT / ".env"
    found = _secrets_by_setting(env_file.read(file))
    return env_file.exposed(file, [name for name, values in found.items() if values])


def unsafe_env() -> list[str]:
    """What is wrong with `.env`: others can read its secrets, or change it."""
    return list(filter(None, (exposed(), env_file.changeable(ROOT / ".env"))))


def _secrets_by_setting(given: Mapping[str, str]) -> dict[str, set[str]]:
    """The secrets in the values of settings, by the name of the setting."""
    found = {name: {value} for name, value in given.items() if name in KEYS or KEY.fullmatch(name)}
    found |= {name: dsn.secrets(given[name]) for name in URLS if given.get(name)}
    found |= {name: dsn.secrets_of_channels(given.get(name, "")) for name in CHANNELS}
    found["MIRRORS"] = dsn.secrets_of_mirrors(given.get("MIRRORS", ""))
    return {name: values - {""} for name, values in found.items()}


def sources() -> list[str]:
    """The names of all sources: the stems of the scripts in `api/`.

    Raises SetupError when a stem is not a valid table name.
    """
    names = sorted(path.stem for path in (ROOT / "api").glob("*.py") if path.stem != "conftest")
    for name in names:
        if not SOURCE_NAME.fullmatch(name):
            raise SetupError(f"api/{name}.py: the name of a source may have only a-z, 0-9 and _")
    return names
