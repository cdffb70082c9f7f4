"""Checks of the values of settings; each raises SetupError with the name of the setting."""

import re
from collections.abc import Mapping
from pathlib import Path

from pipeline import dsn
from pipeline.errors import SetupError

PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_SHORTEST_KEY = 6
_ROLE = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_RESERVED_ROLES = ("postgres", "public", "none", "prod_owner", "prod_publish", "prod_read")


def seconds(name: str, given: dict[str, str]) -> float:
    """A number of seconds (or another unit) that is not negative."""
    try:
        number = float(given[name])
    except ValueError:
        raise SetupError(f"{name}={given[name]!r} is not a number") from None
    if not 0 <= number < 10_000_000:
        raise SetupError(f"{name}={given[name]} is out of range")
    return number


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """One of the allowed values."""
    if value not in allowed:
        raise SetupError(f"{name}={value!r} is not one of {', '.join(allowed)}")
    return value


def several_of(name: str, value: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Some of a few words, separated by commas; `none` for none of them."""
    words = [word.strip() for word in value.lower().split(",") if word.strip()]
    if words == ["none"]:
        return ()
    for word in words:
        if word not in allowed:
            raise SetupError(f"{name} has {word!r}", f"write some of {', '.join(allowed)}, or none")
    return tuple(dict.fromkeys(words))


def one_line(name: str, value: str) -> str:
    """A text without line breaks and other control characters."""
    if any(ord(character) < 32 for character in value):
        raise SetupError(f"{name} contains a control character")
    return value


def header(name: str, value: str) -> str:
    """A text that is valid in a header (RFC 9110, 5.5)."""
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise SetupError(f"{name} contains a character that HTTP headers cannot have") from None
    return value


def web_address(name: str, value: str) -> str:
    """An address of http or https, or empty; an error shows nothing of it."""
    if value and not re.fullmatch(r"https?://[^/\s@]+(/\S*)?", value):
        raise SetupError(f"{name} is not a web address", "write it as https://host/path")
    return value


def channels(name: str, value: str) -> str:
    """Addresses of messages, as Apprise takes them; an error shows nothing of them."""
    one_line(name, value)
    if value.strip() and not re.match(r"\s*[a-z][a-z0-9]*://", value, re.IGNORECASE):
        raise SetupError(
            f"{name} does not begin with a scheme such as mailtos:// or slack://",
            "https://appriseit.com/services/ lists how to write each service",
        )
    return value.strip()


def refuse_undecodable(given: Mapping[str, str]) -> None:
    """Refuse bytes that are not UTF-8, except in paths."""
    for name in given.keys() - {"DATA_DIR"}:
        try:
            given[name].encode()
        except UnicodeEncodeError:
            raise SetupError(f"{name} is not UTF-8 in the environment") from None


def key(name: str, value: str) -> str:
    """A key that is valid in a header. An error does not show it."""
    if not re.fullmatch(r"[\x21-\x7e]{0,4096}", value):
        raise SetupError(f"{name} contains a space or a character that is not valid in a key")
    if name.startswith("KEY_") and 0 < len(value) < _SHORTEST_KEY:
        # Otherwise it would be found, and hidden, inside of other words.
        raise SetupError(f"{name} is too short for a key: at least {_SHORTEST_KEY} characters")
    return value


def whole(name: str, given: dict[str, str]) -> int:
    """A positive whole number."""
    number = seconds(name, given)
    if number != int(number) or number < 1:
        raise SetupError(f"{name}={given[name]} is not a positive whole number")
    return int(number)


def role(name: str, value: str) -> str:
    """The name of a role; names that PostgreSQL or this pipeline reserves are refused."""
    if not _ROLE.fullmatch(value) or value.startswith("pg_") or value in _RESERVED_ROLES:
        raise SetupError(
            f"{name}={value!r} is not a valid name for a role: use lower-case letters, digits and _"
        )
    return value


def database_url(name: str, given: dict[str, str]) -> str:
    """A connection string that is not ambiguous. An error shows nothing of it."""
    value = given[name]
    if value and value.partition("://")[0] not in dsn.SCHEMES:
        raise SetupError(f"{name} does not begin with postgresql://")
    if value:
        dsn.check(name, value)
    return value


def proxies(given: Mapping[str, str]) -> None:
    """Check the addresses of proxies in the environment. An error shows nothing of them."""
    for name, value in given.items():
        if name.lower() in PROXIES and value and not dsn.is_proxy(value):
            raise SetupError(
                f"{name} is not the address of a proxy", "write it as http://host:port"
            )


def folder(name: str, value: str, root: Path) -> Path:
    """An absolute path; a relative one starts from `root`."""
    try:
        return (root / Path(value).expanduser()).absolute()
    except RuntimeError:  # `~somebody/data`, and there is no such user
        what = f"{name}={value!r} begins with ~ and the name of a user who does not exist"
        raise SetupError(what) from None
