"""What an ArcGIS server answers: a layer's description, counts, object ids, pages, errors in 200.

Layer: https://developers.arcgis.com/rest/services-reference/enterprise/layer-feature-service/
Query: https://developers.arcgis.com/rest/services-reference/enterprise/query-feature-service-layer/
"""

import functools
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from pipeline.errors import SourceError, Throttled, Transient
from pipeline.formats import lenient_json
from pipeline.text import escaped, start_of

DEFAULT_CAP = 1000  # features a page, where a layer does not tell its maxRecordCount
CREDENTIALS = (401, 403, 498, 499)  # 498: the token is invalid, 499: a token is required
OBJECT_ID = "esriFieldTypeOID"


@dataclass(frozen=True)
class Layer:
    """What must be known of a layer before it is read."""

    key: str  # the field of the object id
    cap: int  # features the server gives at once
    can_page: bool  # by resultOffset, in an order
    can_order: bool
    version: str  # when it was last edited, as the publisher says; empty when it does not


@dataclass(frozen=True)
class Page:
    """The object ids of one page, in its order. `is_cut`: the server says that it left some out."""

    name: str
    ids: list[int]
    is_cut: bool


class _Field(msgspec.Struct):
    name: str
    type: str = ""


class _Abilities(msgspec.Struct):
    supportsPagination: bool | None = None
    supportsOrderBy: bool | None = None


class _Editing(msgspec.Struct):
    lastEditDate: int | None = None


class _Layer(msgspec.Struct):
    capabilities: str | None = None
    objectIdField: str | None = None
    fields: list[_Field] | None = None
    maxRecordCount: int | None = None
    supportedQueryFormats: str | None = None
    geometryType: str | None = None
    advancedQueryCapabilities: _Abilities | None = None
    editingInfo: _Editing | None = None


class _Error(msgspec.Struct):
    error: Any = None  # {"code": 400, "message": "", "details": []}
    status: Any = None  # or the whole is {"status": "error", "code": 500, "messages": []}
    code: Any = None
    messages: Any = None


class _Count(msgspec.Struct):
    count: int


class _Ids(msgspec.Struct):
    objectIds: list[int] | None


class _RawFeatures(msgspec.Struct):
    features: list[msgspec.Raw]


class _More(msgspec.Struct):
    exceededTransferLimit: bool | None = None


def raise_for_error(body: bytes, where: str) -> None:
    """Raise when a body is an error although the status was 200.

    Raises Throttled for 429, Transient for 5xx, SourceError for every other code.
    """
    try:
        answer = lenient_json.decode(body, type=_Error)
    except (msgspec.DecodeError, RecursionError):
        return  # what it is instead, the reader of the answer says
    if answer.error is None and answer.status != "error":
        return
    error = answer.error if isinstance(answer.error, dict) else {"code": answer.code}
    text = start_of(body)
    what = f"{where}: an error came with status 200: {text}"
    try:
        code = int(error["code"])
    except (KeyError, TypeError, ValueError):
        code = 0
    if code == 429:
        raise Throttled(what)
    if 500 <= code < 600:
        raise Transient(what)
    remedy = "a credential is missing or was refused" if code in CREDENTIALS else ""
    raise SourceError(what, remedy)


def layer(body: bytes, where: str) -> Layer:
    """The description of a layer (`?f=json`).

    Raises SourceError when it is none, cannot be queried as GeoJSON or has no unique key.
    """
    found = _decode(body, _Layer, where, "a description of a layer")
    # Where a layer does not tell its abilities, only what is told to be missing is missing.
    if "query" not in (found.capabilities or "query").lower():
        raise SourceError(f"{where}: cannot be queried; it offers {escaped(found.capabilities)}")
    if "geojson" not in (found.supportedQueryFormats or "geojson").lower():
        formats = escaped(found.supportedQueryFormats)
        raise SourceError(f"{where}: gives no GeoJSON, only {formats}")
    keys = [field.name for field in found.fields or [] if field.type == OBJECT_ID]
    key = found.objectIdField or (keys[0] if len(keys) == 1 else "")
    if not key:
        raise SourceError(
            f"{where}: the layer has no object id: nothing proves that its pages are whole",
            "ask the publisher for a layer with an object id, or for a file",
        )
    abilities = found.advancedQueryCapabilities or _Abilities()
    can_order = abilities.supportsOrderBy is not False
    edited = found.editingInfo.lastEditDate if found.editingInfo else None
    return Layer(
        key=key,
        cap=max(1, found.maxRecordCount or DEFAULT_CAP),
        can_page=bool(abilities.supportsPagination) and can_order,
        can_order=can_order,
        version="" if edited is None else str(edited),
    )


def count(body: bytes, where: str) -> int:
    """The answer to `returnCountOnly`."""
    return _decode(body, _Count, where, "a count").count


def fingerprint(pages: Iterable[bytes]) -> str:
    """SHA-256 of the features of pages in their order, however they were cut into pages."""
    digest = hashlib.sha256()
    for body in pages:
        features = lenient_json.decode(body, type=_RawFeatures).features
        digest.update(b"\0".join([b"", *features]))
    return digest.hexdigest()


def ids(body: bytes, where: str) -> list[int]:
    """The answer to `returnIdsOnly`; the list has no length limit by the documentation."""
    return _decode(body, _Ids, where, "a list of object ids").objectIds or []


def page(body: bytes, key: str, name: str, where: str) -> Page:
    """One page of features. A feature has its object id as a property, as `id`, or as both."""
    found = _decode(body, _features(key), where, "a page of features with their object ids")
    if found.error is not None or found.status == "error":
        raise_for_error(body, where)
    numbers = [
        one.id if one.properties is None or one.properties.key is None else one.properties.key
        for one in found.features
    ]
    if None in numbers:
        raise SourceError(f"{where}: feature {numbers.index(None) + 1} has no {escaped(key)}")
    more = [found.exceededTransferLimit, getattr(found.properties, "exceededTransferLimit", None)]
    return Page(name, numbers, True in more)


@functools.cache
def _features(key: str) -> type[msgspec.Struct]:
    """The type of a page: whole JSON, a FeatureCollection; of a feature, only its object id."""
    properties = msgspec.defstruct("Properties", [("key", int | None, None)], rename={"key": key})
    feature = msgspec.defstruct(
        "Feature", [("id", int | None, None), ("properties", properties | None, None)]
    )
    return msgspec.defstruct(
        "Features",
        [
            ("type", Literal["FeatureCollection"]),
            ("features", list[feature]),
            ("error", Any, None),
            ("status", Any, None),
            ("exceededTransferLimit", bool | None, None),
            ("properties", _More | None, None),
        ],
    )


def _decode(body: bytes, kind: type, where: str, expected: str):
    try:
        return lenient_json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SourceError(f"{where}: not {expected} ({error}): {start_of(body)}") from None
