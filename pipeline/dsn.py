"""Connection strings of PostgreSQL and base URLs of mirrors: parsed, checked, and shown safely.

Only libpq decides what a connection string means
(https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING). If a URL has an
unencoded `/` or `@` in the password, libpq reads another URL than its author meant: the rest of the
password becomes a host, a port or a database, which errors print. Such a URL is refused, and
nothing of it is shown.
"""

import re
from urllib.parse import parse_qsl, unquote, urlsplit

from pipeline.errors import SetupError

SCHEMES = ("postgres", "postgresql")
HTTP = ("http", "https")
# The parameters whose values libpq hides (PQconninfoOption, dispchar `*`), and two others that
# allow a login.
SECRET = ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
_URL = re.compile(
    r"(?P<scheme>\w+://)(?P<person>[^@/]*@)?(?P<hosts>[^/?]*)(?:/(?P<name>[^?]*))?(?P<query>\?.*)?",
    re.DOTALL,
)
_SHORTEST_TOKEN = 6  # characters; a shorter piece of an address is no secret
_PORTS = re.compile(r"[0-9]{0,5}(,[0-9]{0,5})*")
_REMEDY = (
    "write it as postgresql://user:password@host:port/database?parameter=value, with each special "
    "character of the password percent-encoded: / as %2F, @ as %40, # as %23, ? as %3F, : as %3A, "
    "[ as %5B, % as %25, a space as %20; see .env.example"
)
_MIRRORS = "percent-encode special characters of a user or password: a comma as %2C, / as %2F"
_SENDABLE = (
    "the user must not contain a colon, neither may contain a control character, and one is needed"
)


def check(setting: str, address: str) -> None:
    """Raise SetupError, which shows nothing of the address, if it is invalid or ambiguous."""
    if parameters(address) is None:
        raise SetupError(f"{setting} is not a valid connection string", _REMEDY)
    if not is_clear(address):
        raise SetupError(f"{setting} is ambiguous: it can be read in two ways", _REMEDY)


def parameters(address: str) -> dict[str, str] | None:
    """The parameters as libpq reads them (`host`, `password`, …); None if it cannot."""
    import psycopg  # slow to import, and most scripts do not need it
    from psycopg.conninfo import conninfo_to_dict

    if "\0" in address:
        return None
    try:
        return {name: str(value) for name, value in conninfo_to_dict(address).items()}
    except (psycopg.Error, UnicodeError):
        return None


def is_clear(address: str) -> bool:
    """Whether libpq reads a connection string as its author meant it.

    That is so if every port is a number, and there is no white space, and no `@` except the one
    after user and password and those in a secret parameter.
    """
    read = parameters(address)
    if read is None or not _PORTS.fullmatch(read.get("port", "")):
        return False
    parts = _URL.fullmatch(address)
    if not parts:
        return "://" not in address  # `host=… password=…`, where every value has a name
    user = (parts["person"] or "").partition(":")[0]
    rest = f"{parts['hosts']}/{parts['name'] or ''}"
    given = _parameters(parts["query"])
    if parts["query"] and not all(name for name, _ in given):  # an `&` in the password
        return False
    others = [value for name, value in given if name not in SECRET]
    is_plain = not re.search(r"\s", address) and "@" not in rest + "".join(others)
    return is_plain and not re.search(r"[?#/\[\]=]", user)


def secrets(address: str) -> set[str]:
    """The secrets in a connection string.

    If it is ambiguous, they include everything that looks like a password.
    """
    read = parameters(address) or {}
    found = {read[name] for name in SECRET if read.get(name)}
    if not is_clear(address):
        found |= _guessed(address)
    return found


def outline(address: str) -> str:
    """User and host of an ambiguous connection string, without what may be a password.

    If it has parameters, nothing is shown.
    """
    found = re.fullmatch(r"(\w+://[^:@/?#]*:)[^?=]*(@[\w.,:\[\]-]*(/[\w%-]*)?)", address)
    return f"{found[1]}***{found[2]}" if found else "***"


def with_database(address: str, name: str) -> str:
    """The same connection string for another database on that server.

    `name` is an identifier that needs no encoding.
    """
    from psycopg.conninfo import make_conninfo

    parts = _URL.fullmatch(address)
    if parts and not any(given == "dbname" for given, _ in _parameters(parts["query"])):
        before = f"{parts['scheme']}{parts['person'] or ''}{parts['hosts']}"
        return f"{before}/{name}{parts['query'] or ''}"
    return make_conninfo(address, dbname=name)


def mirrors(value: str) -> dict[str, str]:
    """The base URLs in the setting MIRRORS by host: `host=base-url`, comma-separated.

    Raises SetupError, which shows nothing that may be a password.
    """
    pairs = {}
    for number, pair in enumerate(_pairs(value), 1):
        host, separator, base = (part.strip() for part in pair.partition("="))
        if not (separator and host and base.partition("://")[0] in HTTP and _is_base(base)):
            named = repr(pair) if "@" not in value else f"entry {number}"
            raise SetupError(f"MIRRORS: {named} is not host=http(s)://base-url", _MIRRORS)
        if not _can_log_in(base):
            what = f"MIRRORS: user and password of entry {number} cannot be sent"
            raise SetupError(what, _SENDABLE)
        pairs[host.lower()] = base.rstrip("/")
    return pairs


def are_clear_mirrors(value: str) -> bool:
    """Whether every entry of MIRRORS is valid."""
    return all(_is_base(pair.partition("=")[2].strip()) for pair in _pairs(value))


def secrets_of_mirrors(value: str) -> set[str]:
    """The passwords in the base URLs of MIRRORS, and users without a password."""
    if not are_clear_mirrors(value):
        return _guessed(value)
    return {one for pair in _pairs(value) for one in secrets_of_url(pair.partition("=")[2].strip())}


def secrets_of_url(url: str) -> set[str]:
    """The password in an http(s) URL; a user without a password is a token.

    In an ambiguous URL it is everything that looks like a password.
    """
    url = url if "://" in url else f"http://{url}"
    if not _is_base(url):
        return _guessed(url)
    parts = urlsplit(url)
    found = parts.password or parts.username
    return {found, unquote(found)} if found else set()


def is_proxy(url: str) -> bool:
    """Whether a URL can be the address of a proxy; `http://` is optional."""
    return _is_base(url if "://" in url else f"http://{url}")


def _pairs(value: str) -> list[str]:
    return [pair for pair in (part.strip() for part in value.split(",")) if pair]


def _is_base(url: str) -> bool:
    """Whether a URL is a valid base for others, and not ambiguous."""
    try:
        parts = urlsplit(url)
        is_valid = parts.hostname and parts.port != 0
    except ValueError:  # `http://[::1`, or a `/` in a password, whose rest is not a port
        return False
    return bool(is_valid) and not re.search(r"[?#@\s]", url.replace(parts.netloc, "", 1))


def _can_log_in(url: str) -> bool:
    """Whether user and password, if any, can be sent by HTTP Basic (RFC 7617, 2)."""
    parts = urlsplit(url)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    is_valid = all(character.isprintable() for character in user + password)
    return is_valid and ":" not in user and bool(user or password or "@" not in parts.netloc)


def _parameters(query: str | None) -> list[tuple[str, str]]:
    """The parameters of a URL, still encoded; libpq separates them by `&`, not by `;`."""
    pairs = (query or "").removeprefix("?").split("&")
    return [(unquote(name), value) for name, _, value in (pair.partition("=") for pair in pairs)]


def _guessed(address: str) -> set[str]:
    """What may be a password: the text up to the last `@`, and after `password=`."""
    rest = address.partition("://")[2] or address
    user, _, password = rest.rpartition("@")[0].partition(":")
    named = re.findall(r"(?i)(?:password|secret|key)\s*=\s*(.+)", address)
    return {form for one in [password or user, *named] if one for form in (one, unquote(one))}


def secrets_of_channels(text: str) -> set[str]:
    """What in the addresses of messages and heartbeats gives access: all of it but the server.

    Services without a server of their own, such as `slack://token/token`, have a token there.
    """
    found = set()
    for url in re.split(r"[,\s]+", text):
        try:
            parts = urlsplit(url)
        except ValueError:
            continue
        host = parts.netloc.rpartition("@")[2].partition(":")[0]
        pieces = {parts.username, parts.password, *parts.path.split("/")}
        pieces |= {value for _, value in parse_qsl(parts.query)}
        pieces |= {host} if "." not in host and host != "localhost" else set()
        found |= {piece for piece in pieces if piece and len(piece) >= _SHORTEST_TOKEN}
    return found | ({text} if text else set())
