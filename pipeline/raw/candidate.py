"""A snapshot being gathered: what a source is, its files one by one, its descriptor.

The descriptor is a Data Package, https://datapackage.org/standard/data-package/.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pipeline import state
from pipeline.errors import SourceError
from pipeline.http.client import Client, Received
from pipeline.http.network import joined
from pipeline.http.resume import Finished, Journal
from pipeline.raw import checks, snapshot
from pipeline.raw.fingerprints import content_of
from pipeline.raw.snapshot import Snapshot
from pipeline.settings import Settings
from pipeline.text import escaped, shown

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,150}")
PROFILE = "https://datapackage.org/profiles/2.0/datapackage.json"
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+")
_MEDIA_TYPES = {
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "csv.gz": "application/gzip",
    "tsv.gz": "application/gzip",
    "zip": "application/zip",
}
_CONDITIONS = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}
Check = Callable[[Path, bool], None]  # of a file that came, and whether its end is proven
_REQUESTS = 3  # for a file of which nothing proves that it came whole


@dataclass(frozen=True)
class Source:
    """What a publisher says of a data set; it goes into the manifest of every snapshot."""

    title: str
    publisher: str
    page: str
    licence: str
    licence_page: str
    kind: str  # what an answer must look like: one of content.KINDS
    encoding: str = "utf-8"
    final_newline: bool = True  # whether the last line of a CSV or TSV has its end
    # JSON members that differ in every answer, as "metadata.generated".
    volatile: tuple[str, ...] = ()
    volatile_columns: tuple[str, ...] = ()  # columns of a CSV or TSV that move by themselves
    as_of: str = ""  # date of the data, for a data set that no longer changes
    # What the volume guard lets pass: no row at all, far fewer or more rows than before.
    may_be_empty: bool = False
    may_shrink: bool = False
    # The host that a key is for, by the key's name: {"EIA": "api.eia.gov"} for KEY_EIA.
    keys: Mapping[str, str] = field(default_factory=dict, hash=False)


class Candidate:
    """A snapshot being gathered, file by file, beside the current one."""

    def __init__(self, settings: Settings, source: Source, name: str, current: Snapshot | None):
        self.source, self.name = source, name
        self.current = current if current and current.origin == "live" else None
        self.folder = snapshot.open_candidate(settings, name)
        self.client = Client(settings, source.keys, lambda: snapshot.addresses(settings))
        self.journal = Journal(settings, name, self.folder)
        self.resources: list[dict] = []
        # Further members of the descriptor, such as completeness.
        self.extra: dict[str, object] = {}
        self.validators: dict[str, dict] = {}  # by URL, for the next night
        # File name -> the part of the snapshot that it belongs to, where its name is not that of
        # the part: the volume guard holds each part against what it was before.
        self.parts: dict[str, str] = {}
        self._known = state.read(settings, name).get("validators", {})

    def download(
        self,
        url: str,
        name: str = "",
        check: Callable[[Path], object] | None = None,
        may_be_nothing: bool = False,
        headers: Mapping[str, str] | None = None,
        part: str = "",
    ) -> Path | None:
        """Fetch one file of the snapshot; unchanged by its validators, it is carried over.

        A file that came without a length and without chunks, and whose kind does not prove its
        end either, is requested again until two responses are the same.

        Parameters
        ----------
        url:   address of the file.
        name:  its name in the snapshot; the last part of the address when left out.
        check: raises SourceError when the file is not what was asked for, beyond its kind.
        may_be_nothing: the protocol says by 204 that there is nothing: no file, and None.
        headers: sent to the host of `url` alone, such as one with a key.
        part: what the file is a part of, as a month or a year, where its name differs from night
              to night or several files are one (pages); its name when left out.
        """
        name = name or urlsplit(joined(url, "")).path.rpartition("/")[2]
        if not FILE_NAME.fullmatch(name) or self.has(name):
            raise SourceError(
                f"{shown(url)}: {escaped(name)!r} is not a valid file name, or is duplicated"
            )
        if part:
            self.parts[name] = part
        path = self.folder / name

        def looks_right(path: Path, is_delimited: bool) -> None:
            checks.check(
                path,
                self.source.kind,
                shown(url),
                is_delimited=is_delimited,
                final_newline=self.source.final_newline,
                encoding=self.source.encoding,
            )
            if check:
                check(path)

        finished = self.journal.finished(shown(url), name)
        known = finished.validators if finished else self._usable_validators(name, url)
        if not finished:
            self.journal.recover(name)  # it may have been begun
        given = dict(headers or {})
        given |= {_CONDITIONS[header]: known[header] for header in _CONDITIONS if header in known}
        received = self.client.get(
            url, path, headers=given, check=looks_right, may_be_nothing=may_be_nothing
        )
        if not received.is_delimited and not checks.proves_its_end(self.source.kind):
            received = self._confirm(url, path, received, looks_right, headers)
        if received.status == 204:
            return None
        if received.status != 304:
            finished = Finished(received.sha256, received.media_type, received.validators)
        elif finished:
            self.journal.recover(name)
            looks_right(path, True)
        else:
            self.carry_over(name)
            self.validators[shown(url)] = known
            return path
        self.journal.record(shown(url), name, finished)
        size = path.stat().st_size
        entry = self._entry(path, shown(url), finished.sha256, size, finished.media_type)
        self.resources.append(entry)
        self.validators[shown(url)] = finished.validators | {"content": entry["content"]}
        return path

    def _confirm(
        self, url: str, path: Path, got: Received, check: Check, headers: Mapping[str, str] | None
    ) -> Received:
        """Request a file again until two responses are the same, or one has its length.

        Returns the last one, which is the file on disk. What the script declares as volatile may
        differ. Raises SourceError when no two of them are the same.
        """
        earlier: list[str] = []
        while not got.is_delimited:
            fingerprint = content_of(path, self.source) or got.sha256
            if fingerprint in earlier:
                break
            earlier.append(fingerprint)
            if len(earlier) == _REQUESTS:
                raise SourceError(
                    f"{shown(url)}: the response names no length, and {_REQUESTS} requests gave "
                    f"{_REQUESTS} different files: nothing shows which of them is complete",
                    "the next night asks again; if a column differs in every response, name it "
                    f"in volatile_columns of api/{self.name}.py",
                )
            got = self.client.get(url, path, headers=dict(headers or {}), check=check)
        return got

    def ask(
        self,
        url: str,
        check: Check = lambda path, is_delimited: None,
        may_be_nothing: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """A small answer that is not kept, such as a count; the rest as in `Client.get`.

        Nothing, where the protocol may say by 204 that there is nothing, is `b""`.
        """
        path, given = self.folder / ".answer", dict(headers or {})
        received = self.client.get(
            url, path, headers=given, check=check, may_be_nothing=may_be_nothing
        )
        if received.status == 204:
            return b""
        answer = path.read_bytes()
        path.unlink()
        return answer

    def name_parts(self) -> None:
        """Say of each file gathered which part of the snapshot it is."""
        for entry in self.resources:
            known = entry.get("part", entry["path"])
            entry["part"] = self.parts.get(entry["path"], known)

    def has(self, name: str) -> bool:
        """Whether a file is gathered already."""
        return any(entry["path"] == name for entry in self.resources)

    @property
    def kept(self) -> Snapshot:
        """The current snapshot, to carry files over from; LookupError where there is none."""
        if self.current is None:
            raise LookupError(f"{self.name} has no snapshot to carry files over from")
        return self.current

    def carry_over(self, name: str) -> None:
        """Keep a file of the current snapshot as it is."""
        self.resources.append(dict(self.kept.resources[name]))
        snapshot.carry_over(self.kept.folder / name, self.folder)

    def carry_over_all(self) -> None:
        """Keep the current snapshot as it is: its publisher has nothing newer."""
        known = self.kept.descriptor
        for entry in known["resources"]:
            self.carry_over(entry["path"])
        self.extra |= {"completeness": known["completeness"], "content": self.kept.content}
        self.validators = dict(self._known)

    def note_pages(self, asked: str, version: str, fingerprint: str) -> None:
        """Tell that the files are pages of one table, and what its content is.

        Parameters
        ----------
        asked:       the address of the first page, without secrets.
        version:     the publisher's of the table; empty when it tells none. It is noted for the
                     next night beside the validators of files: where it moves without the content,
                     the snapshot and its manifest stay as they are.
        fingerprint: of the rows, the same however they were cut into pages.
        """
        self.extra["content"] = fingerprint
        self.validators = {asked: {"version": version, "content": fingerprint}} if version else {}

    def known(self, asked: str) -> dict:
        """The validators that were noted of an address on an earlier night; empty without any."""
        return self._known.get(asked, {})

    def is_of_version(self, asked: str, version: str) -> bool:
        """Whether the current snapshot is the answer to the same question in this version."""
        if not self.current or self.current.descriptor.get("asked") != asked:
            return False
        known = self.known(asked)
        seen = known.get("version") if known.get("content") == self.current.content else None
        return version in (seen, self.current.descriptor.get("publisher_version"))

    def forget_all(self) -> None:
        """Take all files out again, to read them anew."""
        for entry in list(self.resources):
            self.forget(entry["path"])

    def forget(self, name: str) -> None:
        """Take a file out again, to read it anew."""
        self.resources = [entry for entry in self.resources if entry["path"] != name]
        (self.folder / name).unlink()
        self._known = {}

    def _usable_validators(self, name: str, url: str) -> dict[str, str]:
        """The validators of the last answer, if its content is what the file on disk has."""
        entry = self.current.resources.get(name) if self.current else None
        known = self.known(shown(url))
        if entry and (entry["url"], entry["content"]) == (shown(url), known.get("content")):
            return known
        return {}

    def _entry(self, path: Path, url: str, sha256: str, size: int, media_type: str) -> dict:
        entry = resource(path, url, sha256, size, media_type, self.source)
        if any(other["name"] == entry["name"] for other in self.resources):
            entry["name"] = _resource_name(path.name)
        return entry


def resource(
    path: Path,
    url: str,
    sha256: str,
    size: int,
    media_type: str,
    source: Source,
    content_fingerprint: str = "",
) -> dict:
    """The descriptor's entry of one file.

    A media type that the publisher left out or garbled is the one of the source's kind. The
    content fingerprint is made as the source declares when it is left out.
    """
    if not _MEDIA_TYPE.fullmatch(media_type):
        media_type = _MEDIA_TYPES.get(source.kind, "application/json")
    return {
        "name": _resource_name(path.stem),
        "path": path.name,
        "format": path.suffix.lstrip(".").lower() or source.kind,
        "bytes": size,
        "hash": f"sha256:{sha256}",
        "mediatype": media_type,
        "encoding": source.encoding,
        "url": url,
        "content": content_fingerprint or content_of(path, source) or sha256,
    }


def _resource_name(text: str) -> str:
    return re.sub(r"[^-a-z0-9._]", "-", text.lower())


def descriptor(source: Source, name: str, origin: str, resources: list[dict], **extra) -> dict:
    """The Data Package descriptor of a snapshot, `origin` being `live` or `bundled`.

    `extra` are members beside the standard's own, such as `completeness`; its `content` is the
    content fingerprint of pages of one table, which is otherwise made of the files' own.
    """
    fingerprint = extra.pop("content", "") or snapshot.fingerprint_of(
        {entry["path"]: entry["content"] for entry in resources}
    )
    described: dict = {
        "$schema": PROFILE,
        "name": name,
        "title": source.title,
        "homepage": source.page,
        "created": state.now(),
        "sources": [{"title": source.publisher, "path": source.page}],
        "licenses": [{"title": source.licence, "path": source.licence_page}],
        "origin": origin,
    }
    if source.as_of:
        described["as_of"] = source.as_of
    if resources and all("rows" in entry for entry in resources):
        described["rows"] = sum(entry["rows"] for entry in resources)
    described |= extra
    described["fingerprints"] = {
        "bytes": snapshot.fingerprint_of({r["path"]: r["hash"] for r in resources}),
        "content": fingerprint,
    }
    return described | {"resources": resources}
