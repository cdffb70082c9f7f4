"""A publisher's key goes to the one host that its source's script declares, and into no file.

The host is declared in the script (`keys={"EIA": "api.eia.gov"}` of its Source), the key is a
setting (`KEY_EIA`). Every request is looked at before it is sent, each hop of a redirect too: a key
in its address or headers, in whatever spelling, for another host stops it.
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
    here: Settings, declared: Mapping[str, str], url: str, first: str, headers: Mapping[str, str]
) -> set[str]:
    """The names of the keys in a request.

    Parameters
    ----------
    declared: the host of each key by its name, as the source's script has it.
    url:      the address on the publisher's own host; a mirror of MIRRORS stands for it.
    first:    the address that the script asked for, before redirects.

    Raises SourceError, before anything is sent, when one of them is not for this host.
    """
    text = "\n".join([url, *(f"{name}: {value}" for name, value in headers.items())])
    found = {name for name, key in here.keys.items() if redaction.finds(key, text)}
    for name in sorted(found):
        # A token of Socrata's is for each of its sites, and its protocol knows which one it asks.
        of_site = urlsplit(first).netloc if name == "SOCRATA_APP_TOKEN" else ""
        _refuse_stray(name, of_site or declared.get(name, ""), url)
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
    # All of it, since programs differ in what they take for the host in `a\\@b`.
    if parts.netloc.lower().removesuffix(":443") != declared.lower().removesuffix(":443"):
        raise SourceError(f"{setting} is declared for {declared} alone and was not sent to {host}")
    if parts.scheme != "https":
        raise SourceError(f"{setting} was not sent: the address of {host} is not https")


def refuse_echo(here: Settings, names: set[str], folder: Path, described: object) -> None:
    """Raise SourceError when a publisher repeats a key in what would be kept.

    Parameters
    ----------
    names:     the keys that were sent.
    folder:    the files that came; one with a key in it is deleted.
    described: what would be noted of them, as JSON has it.

    A snapshot is kept byte for byte and goes into the stash, which others may read: a key could
    not be taken out of it again.
    """
    remedy = "send it in a header, if the publisher takes it there"
    if files := purge(here, names, folder):
        what = f"{files[0]} has the key in it that was sent for it; it was deleted"
        raise SourceError(what, remedy)
    text = json.dumps(described, ensure_ascii=False)
    for name in names:
        if redaction.finds(here.keys[name], text):
            raise SourceError(f"the publisher repeats the key {name} beside its data", remedy)


def purge(here: Settings, names: set[str], folder: Path) -> list[str]:
    """Delete the files of a folder that have one of these keys in them; returns their names."""
    files = [path for path in folder.glob("*") if path.is_file() and not path.is_symlink()]
    found = [path for path in files if any(_holds(here.keys[name], path) for name in names)]
    for path in found:
        path.unlink()
    return sorted(path.name for path in found)


def _holds(key: str, path: Path) -> bool:
    if not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return redaction.holds(key, data)
