"""Checks of the declarations in a source's files. A mistake affects only its own source.

A missing file stops a run before it begins; `doctor` names it. What a script declares is known
only when it runs: then its source keeps its last good data, and the script ends with 78.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from pipeline.errors import DeclarationError
from pipeline.settings import ROOT

PARTS_OF = {
    "api": ("api/{}.py",),
    "preprocess": ("preprocess/{}.py", "preprocess/test_{}.py"),
    "load": ("load/{}.sql",),
}
PARTS = tuple(part for parts in PARTS_OF.values() for part in parts)
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+", re.IGNORECASE)


def missing_parts(names: Iterable[str], stages: Iterable[str] = PARTS_OF) -> list[str]:
    """The files that sources lack for the given stages, each as a sentence."""
    return [
        f"source {name} has no {part.format(name)}"
        for name in names
        for stage in stages
        for part in PARTS_OF.get(stage, ())
        if not (ROOT / part.format(name)).is_file()
    ]


def check_kind(kind: str, kinds: Sequence[str], script: str) -> None:
    """Raise DeclarationError unless a kind is one of `kinds`."""
    if kind not in kinds:
        raise DeclarationError(
            f"{script} declares kind={kind!r}: {kind} is not one of {', '.join(kinds)}"
        )


def check_keys(keys: Mapping[str, str], script: str) -> None:
    """Raise DeclarationError unless each key of a publisher is declared for the name of a host."""
    for name, host in keys.items():
        if not (isinstance(host, str) and _HOST.fullmatch(host)):
            what = f"{script} declares the key {name} for {host!r}, which is not the name of a host"
            raise DeclarationError(what, "such as api.eia.gov: no https://, no path")


def check_encodings(encodings: Sequence[str], script: str) -> None:
    """Raise DeclarationError unless Python supports each encoding."""
    if not encodings:
        raise DeclarationError(f"{script} declares no encoding")
    for encoding in encodings:
        try:
            "".encode(encoding)
        except (LookupError, TypeError, ValueError):
            what = f"{script} declares encoding={encoding!r}, which Python does not support"
            raise DeclarationError(
                what, "docs.python.org/3/library/codecs.html lists them"
            ) from None


def check_dialect(delimiter: str, quote: str | None, script: str) -> None:
    """Raise DeclarationError unless delimiter and quote are one ASCII character each."""
    for name, sign in (("delimiter", delimiter), ("quote", quote)):
        if name == "quote" and sign is None:
            continue
        if not (isinstance(sign, str) and re.fullmatch(r"[\x00-\x7f]", sign)) or sign in "\r\n":
            what = f"{script} declares {name}={sign!r}, which cannot be a delimiter or a quote"
            raise DeclarationError(
                f"{what}: each is one ASCII character",
                'a tab is "\\t"; quote=None if there are no quotes',
            )
    if delimiter == quote:
        raise DeclarationError(f"{script} declares {delimiter!r} as both delimiter and quote")
