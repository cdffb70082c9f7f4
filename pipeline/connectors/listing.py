"""Directory listings: which files a publisher has, and which of them is the newest.

The format is that of Apache's mod_autoindex, as on www.ncei.noaa.gov and www2.census.gov
(https://httpd.apache.org/docs/2.4/mod/mod_autoindex.html): the links to direct children of the
folder are its entries. Links for sorting, to the parent, and around the table are ignored.
"""

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, unquote, urljoin, urlsplit

from pipeline.errors import SourceError, Transient
from pipeline.raw.candidate import Candidate
from pipeline.text import shown

MAX_LISTING_BYTES = 32 * 1024**2


def newest(
    candidate: Candidate, folder_url: str, pattern: str, most: int | None = None
) -> list[str]:
    """The addresses of the newest files below a folder that match a pattern, oldest first.

    Parameters
    ----------
    folder_url: address of the folder's listing; it ends with `/`.
    pattern:    regular expressions for the parts of the path below the folder, separated by `/`.
                Groups are compared as numbers if they are digits, otherwise as text.
                The parts before the last `/` are folders: the newest one is used, or an older one
                if the newest has no such file yet (a vintage that is not complete).
                In the last part the last group is the version of a file, the groups before it say
                which file: the newest version of each is used. `d(\\d{4})_c(\\d{8})\\.csv` finds
                for each year the file created last. Its name without the version says which part
                of the snapshot a file is.
    most:       how many files to use; older ones leave the source without counting as lost. All
                files when left out.

    Raises SourceError naming pattern and address when nothing matches.
    """
    parts = [re.compile(part) for part in pattern.split("/")]
    if found := _below(candidate, folder_url, parts):
        wanted = found if most is None else found[-most:]
        for file in wanted:
            candidate.parts[file.name] = file.part
        if len(wanted) == most:
            candidate.extra["window_begin"] = wanted[0].part
        return [file.url for file in wanted]
    raise SourceError(
        f"{shown(folder_url)}: no listed file matches {pattern}",
        "see whether the publisher moved or renamed the files",
    )


def entries(candidate: Candidate, folder_url: str) -> list[str]:
    """The names in a folder, in the listing's order; names of folders end with `/`.

    Raises Transient when the page has no end, SourceError when it is too large.
    """

    def check(path: Path, is_delimited: bool) -> None:
        if path.stat().st_size > MAX_LISTING_BYTES:
            raise SourceError(f"{shown(folder_url)}: a listing of over {MAX_LISTING_BYTES} bytes")
        if not is_delimited and b"</html>" not in path.read_bytes()[-200:].lower():
            raise Transient(f"{shown(folder_url)}: the listing has no end")

    page = _Links()
    # Names are percent-encoded ASCII in a link, whatever the encoding of the page.
    page.feed(candidate.ask(folder_url, check=check).decode("latin-1"))
    page.close()
    names = [_child(folder_url, link) for link in page.links]
    return list(dict.fromkeys(filter(None, names)))


class _Links(HTMLParser):
    """The `href` of every anchor of a page."""

    def __init__(self):
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        """Collect the target of an anchor."""
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]


def _child(folder_url: str, link: str) -> str:
    """The name of the direct child that a link leads to; empty when it leads elsewhere."""
    try:
        folder, target = urlsplit(folder_url), urlsplit(urljoin(folder_url, link))
    except ValueError:
        return ""
    is_elsewhere = (target.scheme, target.netloc) != (folder.scheme, folder.netloc)
    if is_elsewhere or target.query or not target.path.startswith(folder.path):
        return ""
    name = unquote(target.path[len(folder.path) :])
    return "" if "/" in name[:-1] or name == "/" else name


@dataclass(frozen=True)
class _File:
    url: str
    name: str
    part: str  # its name without the version


def _below(candidate: Candidate, folder_url: str, parts: list[re.Pattern[str]]) -> list[_File]:
    part, *deeper = parts
    listed = entries(candidate, folder_url)
    names = [name.removesuffix("/") for name in listed if name.endswith("/") == bool(deeper)]
    matches = sorted(filter(None, map(part.fullmatch, names)), key=_rank)
    if deeper:
        inside = (f"{folder_url}{quote(match[0])}/" for match in reversed(matches))
        return next(filter(None, (_below(candidate, url, deeper) for url in inside)), [])
    last = {_rank(match)[:-1]: match for match in matches}
    return [_File(folder_url + quote(m[0]), m[0], _unversioned(m)) for m in last.values()]


def _unversioned(match: re.Match[str]) -> str:
    """A name without its last group."""
    begin, end = match.span(match.re.groups)
    return match[0][:begin] + match[0][end:] if match.re.groups and begin >= 0 else match[0]


def _rank(match: re.Match[str]) -> tuple[tuple[int, str], ...]:
    """The sort key of a matching name: its groups."""
    return tuple(
        (int(group), "") if re.fullmatch("[0-9]+", group) else (-1, group)
        for group in match.groups(default="")
    )
