"""A publisher's key is sent only to the host that its source's script declares, and kept nowhere.

The host is declared in the script (`keys={"EIA": "api.eia.gov"}` of its Source), the key is a
setting (`KEY_EIA`). Every request is checked before it is sent, each hop of a redirect included: a
key for another host in its address or headers, in whatever encoding, stops it.
"""

import json
import mmap
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pipeline import redaction
from pipeline.errors import SourceError
from pipeline.settings import NAMED_KEYS, Settings
from pipeline.text import escaped


def sent(
    settings: Settings,
    declared: Mapping[str, str],
    url: str,
    first: str,
    headers: Mapping[str, str],
) -> set[str]:
    """The names of the keys in a request.

    Parameters
    ----------
    declared: the host of each key by the key's name, as declared in the source's script.
    url:      the address on the publisher's own host, although a mirror may serve it.
    first:    the address that the script requested, before redirects.

    Raises SourceError, before anything is sent, when one of them is not for this host.
    """
    text = "\n".join([url, *(f"{name}: {value}" for name, value in headers.items())])
    found = {name for name, key in settings.keys.items() if redaction.finds(key, text)}
    for name in sorted(found):
        # A Socrata token is valid for all sites of Socrata; the script says which one it asks.
        site = urlsplit(first).netloc if name == "SOCRATA_APP_TOKEN" else ""
        _refuse_stray(name, site or declared.get(name, ""), url)
    return found


def _refuse_stray(name: str, declared: str, url: str) -> None:
    setting = name if name in NAMED_KEYS else f"KEY_{name}"
    parts = urlsplit(url)
    host = escaped(parts.hostname or "", 100)
    if not declared:
        raise SourceError(
            f"{setting} is declared for no host and was not sent to {host}",
            f'declare it in the source\'s script: Source(…, keys={{"{name}": "{host}"}})',
        )
    # The whole netloc is compared, since programs differ on which part of `a\\@b` is the host.
    if parts.netloc.lower().removesuffix(":443") != declared.lower().removesuffix(":443"):
        raise SourceError(f"{setting} is declared for {declared} alone and was not sent to {host}")
    if parts.scheme != "https":
        raise SourceError(f"{setting} was not sent: the address of {host} is not https")


def refuse_echo(settings: Settings, names: set[str], folder: Path, described: object) -> None:
    """Raise SourceError when a publisher's response repeats a key that was sent.

    Parameters
    ----------
    names:     the keys that were sent.
    folder:    the files received; one with a key in it is deleted.
    described: the description of these files that would be stored, as JSON values.

    A snapshot is kept byte for byte and goes into the stash, which others may read: a key could
    not be removed from it later.
    """
    remedy = "send the key in a header, if the publisher accepts that"
    if files := purge(settings, names, folder):
        what = f"{files[0]} contains the key that was sent in its request; the file was deleted"
        raise SourceError(what, remedy)
    text = json.dumps(described, ensure_ascii=False)
    for name in names:
        if redaction.finds(settings.keys[name], text):
            raise SourceError(f"the response contains the key {name} outside of the data", remedy)


def purge(settings: Settings, names: set[str], folder: Path) -> list[str]:
    """Delete the files in a folder that contain one of these keys; return their names."""
    files = [path for path in folder.glob("*") if path.is_file() and not path.is_symlink()]
    found = [path for path in files if any(_contains(settings.keys[name], path) for name in names)]
    for path in found:
        path.unlink()
    return sorted(path.name for path in found)


def _contains(key: str, path: Path) -> bool:
    if not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return redaction.holds(key, data)
