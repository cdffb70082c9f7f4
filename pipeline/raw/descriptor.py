"""The descriptor of a snapshot, `datapackage.json`: what its files are and where they come from.

It is a Data Package (https://datapackage.org/standard/data-package/) with some members of our own.
"""

import re
from pathlib import Path
from typing import Any, Literal

import msgspec

from pipeline import state
from pipeline.raw.fingerprints import content_of, fingerprint_of
from pipeline.raw.source import Source

PROFILE = "https://datapackage.org/profiles/2.0/datapackage.json"
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+")
_MEDIA_TYPES = {
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "csv.gz": "application/gzip",
    "tsv.gz": "application/gzip",
    "zip": "application/zip",
}


class Resource(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One data file of a snapshot."""

    name: str = ""  # unique, lower case, as the standard wants it
    path: str  # the file's name
    format: str = ""
    bytes: int
    hash: str  # "sha256:" and 64 hexadecimal digits
    mediatype: str = ""
    encoding: str = ""
    url: str = ""
    content: str = ""  # the content fingerprint
    rows: int | None = None
    # What the publisher counted before and after the file was read.
    count_before: int | None = None
    count_after: int | None = None
    part: str | None = None  # what the volume guard compares; earlier versions did not record it

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file, in hexadecimal digits."""
        return self.hash.removeprefix("sha256:")


class Fingerprints(msgspec.Struct, kw_only=True):
    """The hashes by which snapshots are compared."""

    bytes: str = ""  # of the files as they are
    content: str  # without what the source declares as volatile


class Descriptor(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a snapshot is."""

    profile: str = msgspec.field(default="", name="$schema")
    name: str = ""
    title: str = ""
    description: str = ""
    homepage: str = ""
    created: str  # ISO 8601, UTC
    sources: list[dict[str, str]] = []
    licenses: list[dict[str, str]] = []
    origin: Literal["live", "bundled"]
    as_of: str | None = None
    rows: int | None = None
    asked: str | None = None  # the address of the first page, without secrets
    publisher_version: str = ""
    completeness: dict[str, Any] | None = None  # the counts that prove that all pages are there
    window_begin: str = ""  # the oldest part that the source's script asks for
    note: str = ""  # what the publisher says beside the data
    fingerprints: Fingerprints
    resources: list[Resource]
    replaces: str | None = None  # the content fingerprint of the snapshot before it


def describe_file(
    path: Path, url: str, sha256: str, media_type: str, source: Source, content: str = ""
) -> Resource:
    """Return the entry of one file.

    A missing or invalid media type is replaced by that of the source's kind. Without `content`
    the content fingerprint is computed as the source declares.
    """
    if not _MEDIA_TYPE.fullmatch(media_type):
        media_type = _MEDIA_TYPES.get(source.kind, "application/json")
    return Resource(
        name=resource_name(path.stem),
        path=path.name,
        format=path.suffix.lstrip(".").lower() or source.kind,
        bytes=path.stat().st_size,
        hash=f"sha256:{sha256}",
        mediatype=media_type,
        encoding=source.encoding,
        url=url,
        content=content or content_of(path, source) or sha256,
    )


def resource_name(text: str) -> str:
    """Return a text with the characters that the standard allows in names."""
    return re.sub(r"[^-a-z0-9._]", "-", text.lower())


def describe(
    source: Source, name: str, resources: list[Resource], content: str = "", **members: Any
) -> Descriptor:
    """Return the descriptor of a snapshot that was just fetched.

    content: the content fingerprint of all files together, where the fingerprints of the single
             files do not give it (pages of one table).
    members: further members of Descriptor, such as `completeness`.
    """
    counts = [entry.rows for entry in resources if entry.rows is not None]
    is_counted = bool(resources) and len(counts) == len(resources)
    return Descriptor(
        profile=PROFILE,
        name=name,
        title=source.title,
        homepage=source.page,
        created=state.now(),
        sources=[{"title": source.publisher, "path": source.page}],
        licenses=[{"title": source.licence, "path": source.licence_page}],
        origin="live",
        as_of=source.as_of or None,
        rows=sum(counts) if is_counted else None,
        fingerprints=Fingerprints(
            bytes=fingerprint_of({entry.path: entry.hash for entry in resources}),
            content=content or fingerprint_of({entry.path: entry.content for entry in resources}),
        ),
        resources=resources,
        **members,
    )
