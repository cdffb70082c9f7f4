"""A candidate: the files of a new snapshot, gathered one by one beside the current snapshot."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from pipeline import state
from pipeline.errors import SourceError
from pipeline.http.client import Client, Received
from pipeline.http.network import joined
from pipeline.http.resume import Finished, Journal
from pipeline.raw import checks, descriptor, snapshot
from pipeline.raw.descriptor import Descriptor, Resource
from pipeline.raw.fingerprints import content_of
from pipeline.raw.snapshot import Snapshot
from pipeline.raw.source import Source
from pipeline.settings import Settings
from pipeline.text import escaped, shown

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,150}")
_CONDITIONS = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}
Check = Callable[[Path, bool], None]  # of a received file, and whether its end is proven
_REQUESTS = 3  # for a file whose completeness nothing proves


class Candidate:
    """The files of a new snapshot, and what is recorded about them."""

    def __init__(self, settings: Settings, source: Source, name: str, current: Snapshot | None):
        self.source, self.name = source, name
        self.current = current if current and current.origin == "live" else None
        self.folder = snapshot.open_candidate(settings, name)
        self.client = Client(settings, source.keys, lambda: snapshot.addresses(settings))
        self.journal = Journal(settings, name, self.folder)
        self.resources: list[Resource] = []
        # Further members of the descriptor, such as `completeness`, by their names.
        self.extra: dict[str, Any] = {}
        self.content = ""  # the content fingerprint of pages of one table
        self.validators: dict[str, dict] = {}  # by URL, for the next night
        # File name -> the part of the snapshot that the file belongs to, where that is not the
        # file's name. The volume guard compares each part with its earlier numbers of rows.
        self.parts: dict[str, str] = {}
        self._validators_before = state.read(settings, name).get("validators", {})

    def download(
        self,
        url: str,
        name: str = "",
        check: Callable[[Path], object] | None = None,
        may_be_nothing: bool = False,
        headers: Mapping[str, str] | None = None,
        part: str = "",
    ) -> Path | None:
        """Fetch one file of the snapshot, or carry it over when it is unchanged.

        A file is unchanged when the publisher confirms its validators (status 304). A file that
        came without a length and without chunks, and whose kind does not prove its end either, is
        requested again until two responses are the same.

        Parameters
        ----------
        url:   address of the file.
        name:  its name in the snapshot; by default the last part of the address.
        check: raises SourceError when the file is not the expected one; its kind is checked anyway.
        may_be_nothing: status 204 means that there is no data: no file is written, and the result
               is None.
        headers: sent to the host of `url` only, for example a header with a key.
        part: what the file is a part of, such as a month or a year, if its name differs from night
              to night or several files belong together (pages); by default its name.
        """
        name = name or urlsplit(joined(url, "")).path.rpartition("/")[2]
        if not FILE_NAME.fullmatch(name) or self.has(name):
            raise SourceError(
                f"{shown(url)}: {escaped(name)!r} is not a valid file name, or is duplicated"
            )
        path, given = self.folder / name, dict(headers or {})

        def check_file(path: Path, is_delimited: bool) -> None:
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
        validators = finished.validators if finished else self._usable_validators(name, url)
        if not finished:
            self.journal.recover(name)  # a killed fetch may have left a part of it
        conditions = {_CONDITIONS[h]: validators[h] for h in _CONDITIONS if h in validators}
        received = self.client.get(
            url, path, headers=given | conditions, check=check_file, may_be_nothing=may_be_nothing
        )
        if not received.is_delimited and not checks.proves_its_end(self.source.kind):
            received = self._confirm(url, path, received, check_file, given)
        if part:
            self.parts[name] = part
        if received.status == 204:
            return None
        if received.status != 304:
            finished = Finished(received.sha256, received.media_type, received.validators)
        elif finished:
            self.journal.recover(name)
            check_file(path, True)
        else:
            self.carry_over(name)
            self.validators[shown(url)] = validators
            return path
        self.journal.record(shown(url), name, finished)
        entry = self.add(path, shown(url), finished)
        self.validators[shown(url)] = finished.validators | {"content": entry.content}
        return path

    def _confirm(
        self, url: str, path: Path, received: Received, check: Check, headers: dict[str, str]
    ) -> Received:
        """Request a file again until two responses are the same, or one has its length.

        Returns the last response, which is the file on disk. What the source declares as volatile
        may differ. Raises SourceError when no two responses are the same.
        """
        earlier: list[str] = []
        while not received.is_delimited:
            fingerprint = content_of(path, self.source) or received.sha256
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
            received = self.client.get(url, path, headers=headers, check=check)
        return received

    def ask(
        self,
        url: str,
        check: Check = lambda path, is_delimited: None,
        may_be_nothing: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Return a small response that does not become a file, such as a count.

        The parameters are those of `Client.get`. A permitted 204 returns `b""`.
        """
        path = self.folder / ".answer"
        received = self.client.get(
            url, path, headers=dict(headers or {}), check=check, may_be_nothing=may_be_nothing
        )
        if received.status == 204:
            return b""
        body = path.read_bytes()
        path.unlink()
        return body

    def add(
        self,
        path: Path,
        url: str,
        received: Received | Finished,
        *,
        rows: int | None = None,
        part: str = "",
        content: str = "",
    ) -> Resource:
        """Add a file that was fetched; the rest as in `describe_file` and `download`."""
        entry = descriptor.describe_file(
            path, url, received.sha256, received.media_type, self.source, content
        )
        if any(other.name == entry.name for other in self.resources):
            entry.name = descriptor.resource_name(path.name)
        entry.rows = rows
        if part:
            self.parts[path.name] = part
        self.resources.append(entry)
        return entry

    def describe(self) -> Descriptor:
        """Return the descriptor of the files gathered."""
        for entry in self.resources:
            entry.part = self.parts.get(entry.path, entry.part or entry.path)
        return descriptor.describe(
            self.source, self.name, self.resources, self.content, **self.extra
        )

    def has(self, name: str) -> bool:
        """Return whether a file was gathered already."""
        return any(entry.path == name for entry in self.resources)

    @property
    def kept(self) -> Snapshot:
        """The current snapshot, from which files are carried over; LookupError without one."""
        if self.current is None:
            raise LookupError(f"{self.name} has no snapshot to carry files over from")
        return self.current

    def carry_over(self, name: str) -> None:
        """Keep a file of the current snapshot."""
        self.resources.append(msgspec.structs.replace(self.kept.resources[name]))
        snapshot.carry_over(self.kept.folder / name, self.folder)

    def carry_over_all(self) -> None:
        """Keep all files of the current snapshot: the publisher has nothing newer."""
        before = self.kept.descriptor
        for entry in before.resources:
            self.carry_over(entry.path)
        self.extra["completeness"] = before.completeness
        self.content = self.kept.content
        self.validators = dict(self._validators_before)

    def record_pages(self, asked: str, version: str, content: str) -> None:
        """Record that the files are pages of one table, and its content.

        Parameters
        ----------
        asked:   the address of the first page, without secrets.
        version: the publisher's version of the table; empty without one. It is stored with the
                 validators: when only the version changes, the snapshot and its manifest stay.
        content: the fingerprint of the rows, which does not depend on the size of the pages.
        """
        self.content = content
        self.validators = {asked: {"version": version, "content": content}} if version else {}

    def previous_validators(self, url: str) -> dict:
        """Return what an earlier night recorded of an address; empty without a record."""
        return self._validators_before.get(url, {})

    def is_of_version(self, asked: str, version: str) -> bool:
        """Return whether the current snapshot is the response to `asked` in this version."""
        if not self.current or self.current.descriptor.asked != asked:
            return False
        before = self.previous_validators(asked)
        seen = before.get("version") if before.get("content") == self.current.content else None
        return version in (seen, self.current.descriptor.publisher_version)

    def remove_all(self) -> None:
        """Remove all files, so that they can be read again."""
        for entry in list(self.resources):
            self.remove(entry.path)

    def remove(self, name: str) -> None:
        """Remove a file, so that it can be read again."""
        self.resources = [entry for entry in self.resources if entry.path != name]
        (self.folder / name).unlink()
        self._validators_before = {}

    def _usable_validators(self, name: str, url: str) -> dict[str, str]:
        """Return the validators of the file on disk, if they belong to its content."""
        entry = self.current.resources.get(name) if self.current else None
        before = self.previous_validators(shown(url))
        if entry and (entry.url, entry.content) == (shown(url), before.get("content")):
            return before
        return {}
