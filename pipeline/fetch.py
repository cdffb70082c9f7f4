"""Stage `api`: a source's script fetches into a candidate, which becomes the snapshot or nothing.

The ladder when a publisher cannot be read: the last good snapshot, the stash's copy of it, the
bundled capture, an empty table. Each rung is said by its name and none is called fresh.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline import content, durable, script, snapshot, stash, state
from pipeline.download import Client, shown
from pipeline.errors import SourceError
from pipeline.settings import Settings
from pipeline.snapshot import Snapshot

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,150}")


@dataclass(frozen=True)
class Source:
    """What a publisher says of a data set; it goes into the manifest of every snapshot."""

    title: str
    publisher: str
    page: str
    licence: str
    licence_page: str
    kind: str  # json, csv or tsv: what an answer must look like
    encoding: str = "utf-8"
    volatile: tuple[
        str, ...
    ] = ()  # JSON members that differ in every answer, as "metadata.generated"
    as_of: str = ""  # date of the data, for a data set that no longer changes


class Candidate:
    """A snapshot being gathered, file by file, beside the current one."""

    def __init__(self, settings: Settings, source: Source, name: str, current: Snapshot | None):
        self.source, self.name = source, name
        self.current = current if current and current.origin == "live" else None
        self.folder = snapshot.open_candidate(settings, name)
        self.client = Client(settings)
        self.resources: list[dict] = []
        self.extra: dict[
            str, object
        ] = {}  # further members of the descriptor, such as completeness
        self._known = state.read(settings, name).get("validators", {})
        self.validators: dict[str, dict[str, str]] = {}

    def download(
        self, url: str, name: str = "", check: Callable[[Path], object] | None = None
    ) -> Path:
        """Fetch one file of the snapshot; unchanged by its validators, it is carried over.

        Parameters
        ----------
        url:   address of the file.
        name:  its name in the snapshot; the last part of the address when left out.
        check: raises SourceError when the file is not what was asked for, beyond its kind.
        """
        name = name or urlsplit(url).path.rpartition("/")[2]
        if not FILE_NAME.fullmatch(name):
            raise SourceError(f"{shown(url)} gives no usable file name")
        path = self.folder / name

        def looks_right(path: Path) -> None:
            content.check(path, self.source.kind, shown(url))
            if check:
                check(path)

        known = self._known.get(url, {}) if self._has(name, url) else {}
        conditional = {
            header: known[validator]
            for validator, header in (
                ("ETag", "If-None-Match"),
                ("Last-Modified", "If-Modified-Since"),
            )
            if validator in known
        }
        received = self.client.get(url, path, headers=conditional, check=looks_right)
        if received.status == 304:
            self.carry_over(name)
            self.validators[url] = known
            return path
        if received.status == 204:
            path.write_bytes(b"")
            looks_right(path)
        self.validators[url] = received.validators
        self._add(path, url, received.sha256, received.size, received.media_type)
        return path

    def ask(self, url: str) -> bytes:
        """A small answer that is not kept, such as a count."""
        path = self.folder / ".answer"
        self.client.get(url, path)
        answer = path.read_bytes()
        path.unlink()
        return answer

    def carry_over(self, name: str) -> None:
        """Keep a file of the current snapshot as it is."""
        self.resources.append(self.current.resource(name))
        snapshot.carry_over(self.current.folder / name, self.folder)

    def forget(self, name: str) -> None:
        """Take a file out again, to read it anew."""
        self.resources = [entry for entry in self.resources if entry["path"] != name]
        (self.folder / name).unlink()
        self._known = {}

    def has(self, name: str) -> bool:
        """Whether the current snapshot, fetched live, holds a file of this name."""
        return bool(self.current and self.current.resource(name))

    def _has(self, name: str, url: str) -> bool:
        return self.has(name) and self.current.resource(name)["url"] == shown(url)

    def _add(self, path: Path, url: str, sha256: str, size: int, media_type: str) -> None:
        self.resources.append(resource(path, shown(url), sha256, size, media_type, self.source))


def resource(path: Path, url: str, sha256: str, size: int, media_type: str, source: Source) -> dict:
    """The manifest's entry of one file, in the words of datapackage.org."""
    entry = {
        "name": re.sub(r"[^-a-z0-9._]", "-", path.stem.lower()),
        "path": path.name,
        "format": path.suffix.lstrip(".") or source.kind,
        "bytes": size,
        "hash": f"sha256:{sha256}",
        "mediatype": media_type,
        "encoding": source.encoding,
        "url": url,
    }
    return entry | {
        "content": content.fingerprint(path, source.volatile) if source.volatile else sha256
    }


def descriptor(source: Source, name: str, origin: str, resources: list[dict], **extra) -> dict:
    """The Data Package descriptor of a snapshot, without its own hash."""
    described = {
        "name": name,
        "title": source.title,
        "homepage": source.page,
        "created": script.now(),
        "sources": [{"title": source.publisher, "path": source.page}],
        "licenses": [{"title": source.licence, "path": source.licence_page}],
        "origin": origin,
    }
    if source.as_of:
        described["as_of"] = source.as_of
    described |= extra
    described["fingerprints"] = {
        "bytes": snapshot.fingerprint_of({r["path"]: r["hash"] for r in resources}),
        "content": snapshot.fingerprint_of({r["path"]: r["content"] for r in resources}),
    }
    return described | {"resources": resources}


def run(source: Source, fetch: Callable[[Candidate], None]) -> None:
    """The main program of a script in `api/`: fetch, compare, keep or replace, stash, tell."""
    main = sys.modules["__main__"]
    name = Path(main.__file__).stem
    script.run(
        "api",
        name,
        main.__doc__ or "",
        lambda here, options: _work(here, options, source, name, fetch),
    )


def _work(here: Settings, options, source: Source, name: str, fetch) -> dict:
    damage = ""
    try:
        current = snapshot.current(here, name)
    except SourceError as error:
        current, damage = _set_damaged_aside(here, name), error.what
    try:
        if options.offline:
            raise SourceError("not asked: --offline")
        taken, outcome = _fetch(here, source, name, fetch, current, options.force)
        trouble = SourceError("")
    except Exception as error:  # noqa: BLE001 - whatever ails a publisher or its script
        trouble = script.understood(error)
        taken, outcome = _fall_back(here, name, current)
    facts = _facts(here, name, source, taken, outcome)
    facts["reason"] = "; ".join(filter(None, [damage, trouble.what, facts["reason"]]))
    facts["remedy"] = facts["remedy"] or trouble.remedy
    return facts


def _set_damaged_aside(here: Settings, name: str) -> Snapshot | None:
    """Keep a damaged snapshot for inspection and take the stash's copy in its place."""
    snapshot.refuse(here, name, here.raw / name)
    return _from_stash(here, name)


def _from_stash(here: Settings, name: str) -> Snapshot | None:
    folder = snapshot.open_candidate(here, name)
    try:
        if stash.restore(here, name, folder):
            snapshot.read(folder, name)
            durable.replace_folder(folder, here.raw / name)
            return snapshot.current(here, name)
    except SourceError as error:
        print(f"{name}: the copy in the stash is of no use: {error}", file=sys.stderr)
    snapshot.discard(folder)
    return None


def _fetch(here, source, name, fetch, current, force) -> tuple[Snapshot, str]:
    candidate = Candidate(here, source, name, None if force else current)
    try:
        fetch(candidate)
    except BaseException:
        snapshot.refuse(here, name, candidate.folder)
        raise
    described = descriptor(source, name, "live", candidate.resources, **candidate.extra)
    remembered = state.read(here, name)
    remembered["validators"] = candidate.validators
    durable.write_json(here.state / f"{name}.json", remembered)
    if (
        current
        and current.origin == "live"
        and described["fingerprints"]["content"] == current.content
    ):
        snapshot.discard(candidate.folder)
        return current, "unchanged"
    return snapshot.commit(here, name, candidate.folder, described), "new"


def _fall_back(here: Settings, name: str, current: Snapshot | None) -> tuple[Snapshot | None, str]:
    """The next rung below a live answer."""
    was_live = state.read(here, name).get("api", {}).get("was_live")
    taken = current or (_from_stash(here, name) if was_live else None)
    if taken:
        return taken, "bundled" if taken.origin == "bundled" else "kept"
    if was_live:  # older data must not take the place of newer rows in the database
        return None, "kept"
    capture = snapshot.bundled(name)
    return (snapshot.install_bundled(here, capture), "bundled") if capture else (None, "missing")


def _facts(here: Settings, name: str, source: Source, taken: Snapshot | None, outcome: str) -> dict:
    remembered = state.read(here, name).get("api", {})
    facts = {"outcome": outcome, "reason": "", "remedy": "", "content": None, "fetched_at": None}
    facts["was_live"] = bool(remembered.get("was_live")) or outcome in ("new", "unchanged")
    if outcome in ("new", "unchanged"):
        facts["checked_at"] = script.now()
    if not taken:
        if outcome == "kept":
            facts["reason"] = "no copy on disk or in the stash; the database keeps its rows"
        return facts
    facts |= {
        "content": taken.content,
        "origin": taken.origin,
        "bytes": taken.size,
        "rows": taken.descriptor.get("rows"),
        "fetched_at": taken.fetched_at,
        "as_of": taken.descriptor.get("as_of"),
    }
    return facts | _stashed(here, name, taken, remembered)


def _stashed(here: Settings, name: str, taken: Snapshot, remembered: dict) -> dict:
    """Stash a snapshot that is not stashed yet; what hinders it is a note, not a failure."""
    identity = f"{here.stash} {taken.content} {taken.fetched_at}"
    if here.stash == "off" or remembered.get("stashed") == identity:
        return {"stashed": remembered.get("stashed"), "stash_note": ""}
    stored = stash.store(here, name, f"{name}: {taken.origin}, fetched {taken.fetched_at}")
    return {"stashed": identity if stored.done else None, "stash_note": stored.note}
