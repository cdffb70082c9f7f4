"""The volume guard: far fewer rows than before, far more, or none, is not taken for the truth.

A snapshot with less than half of the median rows of the last seven accepted ones, or more than ten
times as many, is kept in the quarantine until `./run_pipeline.sh accept SOURCE` lets it in, unless
the source's script declares that it may shrink (what does may grow as fast), or be empty.
"""

import statistics
from pathlib import Path

import msgspec

from pipeline import archive, durable, lenient_json, snapshot, state
from pipeline.candidate import Source
from pipeline.errors import SourceError
from pipeline.printable import escaped
from pipeline.settings import Settings
from pipeline.snapshot import Snapshot

REMEMBERED = 7  # accepted snapshots
SHARE = 0.5  # of their median
TIMES = 10


class _Features(msgspec.Struct):
    features: list[msgspec.Raw]


class _Layer(msgspec.Struct):
    geometries: list[msgspec.Raw] = []


class _Topology(msgspec.Struct):
    objects: dict[str, _Layer]


_DOCUMENTS = {"geojson": _Features, "topojson": _Topology}


def rows(path: Path, kind: str, layer: str = "") -> int | None:
    """The rows of a raw file of one of content.KINDS; None where that is for its script to know.

    Of a TopoJSON those of one object are counted, its `layer`; of all of them when left out.
    Records of a CSV are counted by the parity of quotes, its header is none of them. One that ends
    inside quotes cannot be counted; stage `preprocess` names the place.
    """
    if kind.startswith(("csv", "tsv")):
        records = _records(path, b'"' if kind.startswith("csv") else None)
        return None if records is None else records - 1
    if kind not in _DOCUMENTS:
        return None
    try:
        document = lenient_json.decode(path.read_bytes(), type=_DOCUMENTS[kind])
    except (msgspec.DecodeError, RecursionError) as error:
        raise SourceError(f"{path.name}: the {kind} cannot be counted: {error}") from None
    if isinstance(document, _Features):
        return len(document.features)
    objects = document.objects
    if layer and layer not in objects:
        known = escaped(", ".join(objects))
        raise SourceError(f"{path.name}: no object {layer} in it, but {known or 'none'}")
    return sum(len(objects[name].geometries) for name in ([layer] if layer else objects))


def _records(path: Path, quote: bytes | None) -> int | None:
    """The line ends outside of quotes; a last line without one is a record, a blank one none.

    Of an empty file the header is counted too.
    """
    from pipeline import bitmask  # numpy is slow to start: not if nothing is new

    records, is_inside, begun = 0, False, b""
    for block in archive.blocks(path):
        ends = bitmask.equal(block, b"\n")
        if quote and (is_inside or quote in block):
            inside = bitmask.inside(bitmask.equal(block, quote), is_inside)
            is_inside = bitmask.at(inside, len(block) - 1)
            ends &= ~inside
        records += len(bitmask.positions(ends))
        begun = (begun + block)[-4:]
    if is_inside:
        return None
    last = begun.replace(b"\r", b"")
    return records + (last[-1:] != b"\n") - (last[-2:] == b"\n\n")


def check(source: Source, name: str, described: dict, accepted: list[int]) -> None:
    """Hold the rows of a new snapshot against those of the ones accepted before.

    Parameters
    ----------
    described: descriptor of the new one; without `rows` nobody can tell.
    accepted: rows of the snapshots accepted before, the oldest first.

    Raises SourceError with the numbers when they are too few or too many.
    """
    count = described.get("rows")
    if count is None:
        return
    # Of a paged source the last page may be empty; its completeness is proven in another way.
    files = [] if "completeness" in described else described["resources"]
    empty = [entry["url"] for entry in files if entry.get("rows") == 0]
    urls = [entry["url"] for entry in described["resources"]]
    where = urls[0] if len(urls) == 1 else f"{name}, {len(urls)} files"
    remedy = f"look at data/quarantine/{name}/; ./run_pipeline.sh accept {name} lets it in"
    if count == 0 and not source.may_be_empty:
        raise SourceError(f"{where}: refused, there is no row in it", remedy)
    if empty and not source.may_be_empty:
        raise SourceError(f"{empty[0]}: refused, there is no row in this file", remedy)
    usual = statistics.median(accepted[-REMEMBERED:] or [0])
    may_vary = source.may_shrink or count == 0  # which was refused above unless it may be so
    is_odd = count < SHARE * usual or (usual and count > TIMES * usual)
    if is_odd and not may_vary:
        raise SourceError(
            f"{where}: refused, {count:,} rows came where {usual:,.0f} are usual (the median of "
            f"the last {len(accepted[-REMEMBERED:])})",
            remedy,
        )


def accepted_rows(here: Settings, name: str, current: Snapshot | None) -> list[int]:
    """The rows of the snapshots accepted so far, the oldest first; at least of the current one."""
    remembered = [entry["rows"] for entry in state.read(here, name).get("history", [])]
    if remembered or current is None or current.origin != "live":
        return remembered
    return [count for count in [current.descriptor.get("rows")] if count is not None]


def remember(
    here: Settings, name: str, taken: Snapshot, validators: dict, *, is_normal: bool = False
) -> None:
    """Note a snapshot that was accepted, with its validators for the next night.

    `is_normal`: an operator said that these rows are right, so those before count no longer.
    """
    remembered = state.read(here, name)
    history = [] if is_normal else remembered.get("history", [])
    rows = taken.descriptor.get("rows")
    last = {"fetched_at": taken.fetched_at, "content": taken.content, "rows": rows}
    if rows is not None and last not in history:
        history = [*history, last][-REMEMBERED:]
    remembered.pop("refused", None)
    remembered |= {"validators": validators, "history": history}
    durable.write_json(here.state / f"{name}.json", remembered)


def set_aside(here: Settings, name: str, folder: Path, described: dict, validators: dict) -> None:
    """Keep a refused snapshot, whole and with its manifest, for `accept`; one a source."""
    snapshot.write_manifest(folder, described)
    kept = snapshot.refuse(here, name, folder, most=archive.MAX_BYTES)
    remembered = state.read(here, name)
    if before := remembered.pop("refused", None):
        snapshot.discard(here.quarantine / name / before["folder"])
    if kept:
        remembered["refused"] = {"folder": kept.name, "validators": validators}
    durable.write_json(here.state / f"{name}.json", remembered)
