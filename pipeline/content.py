"""What an answer must look like before it may become a snapshot, and what of it counts.

These are the checks that need no knowledge of the data set; stage `preprocess` reads every byte.
"""

import hashlib
import json
from pathlib import Path

from pipeline.download import Transient, escaped
from pipeline.errors import SourceError

_WHITE = b" \t\r\n"


def check(path: Path, kind: str, where: str) -> None:
    """Refuse what is plainly not a whole document of its kind.

    Parameters
    ----------
    kind:  `json` (an object or list, with its closing bracket), `csv` or `tsv`.
    where: the address to name in an error.

    Raises Transient when the end is missing, SourceError when it is another kind of document.
    """
    with path.open("rb") as file:
        begin = file.read(4096)
        file.seek(max(0, path.stat().st_size - 4096))
        end = file.read().rstrip(_WHITE)
    start = begin.removeprefix(b"\xef\xbb\xbf").lstrip(_WHITE)
    if not start:
        raise Transient(f"{where}: the answer is empty")
    shown = escaped(start[:400].decode("utf-8", "replace"))
    if start[:1] == b"<":
        raise SourceError(f"{where}: a web page came instead of {kind}: {shown}")
    if kind == "json":
        if start[:1] not in b"{[":
            raise SourceError(f"{where}: not JSON: {shown}")
        if end[-1:] != (b"}" if start[:1] == b"{" else b"]"):
            raise Transient(f"{where}: the JSON has no end")
    elif start[:1] in b"{[":
        raise SourceError(f"{where}: JSON came instead of {kind}: {shown}")


def fingerprint(path: Path, volatile: tuple[str, ...]) -> str:
    """SHA-256 of a JSON document without the members that differ in every answer.

    `volatile` names them by their path, as `metadata.generated`. Numbers keep their digits.
    """
    try:
        document = json.loads(path.read_bytes(), parse_float=str, parse_int=str)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path.name}: not JSON: {error}") from None
    for member in volatile:
        holder = document
        *parents, last = member.split(".")
        for parent in parents:
            holder = holder.get(parent, {}) if isinstance(holder, dict) else {}
        if isinstance(holder, dict):
            holder.pop(last, None)
    compact = json.dumps(document, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(compact.encode()).hexdigest()
