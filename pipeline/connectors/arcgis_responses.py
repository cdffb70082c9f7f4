"""Responses of an ArcGIS server: a layer's description, counts, object ids and pages.

Layer: https://developers.arcgis.com/rest/services-reference/enterprise/layer-feature-service/
Query: https://developers.arcgis.com/rest/services-reference/enterprise/query-feature-service-layer/
"""

import functools
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from pipeline.connectors.paging import Page
from pipeline.errors import SourceError
from pipeline.formats import lenient_json
from pipeline.http.responses import ErrorBody
from pipeline.text import escaped

DEFAULT_CAP = 1000  # features per page, if a layer has no maxRecordCount
OBJECT_ID = "esriFieldTypeOID"


@dataclass(frozen=True)
class Layer:
    """The facts about a layer that are needed to read it."""

    key: str  # the field of the object id
    cap: int  # the most features that the server sends at once
    can_page: bool  # by resultOffset, in a stable order
    can_order: bool
    version: str  # when it was last edited, according to the publisher; empty if unknown


class _Field(msgspec.Struct):
    name: str
    type: str = ""


class _Abilities(msgspec.Struct):
    supportsPagination: bool | None = None
    supportsOrderBy: bool | None = None


class _Editing(msgspec.Struct):
    lastEditDate: int | None = None


class Description(msgspec.Struct):
    """The response to `?f=json` at the address of a layer."""

    capabilities: str | None = None
    objectIdField: str | None = None
    fields: list[_Field] | None = None
    maxRecordCount: int | None = None
    supportedQueryFormats: str | None = None
    advancedQueryCapabilities: _Abilities | None = None
    editingInfo: _Editing | None = None


class Count(msgspec.Struct):
    """The response to `returnCountOnly`."""

    count: int


class ObjectIds(msgspec.Struct):
    """The response to `returnIdsOnly`; according to the documentation its length is unlimited."""

    objectIds: list[int] | None


class _RawFeatures(msgspec.Struct):
    features: list[msgspec.Raw]


class _More(msgspec.Struct):
    exceededTransferLimit: bool | None = None


def layer(description: Description, where: str) -> Layer:
    """The layer with this description.

    Raises SourceError when it cannot be queried as GeoJSON or has no unique key.
    """
    # Where a layer does not list its abilities, only those it declares as missing are missing.
    if "query" not in (description.capabilities or "query").lower():
        offered = escaped(description.capabilities or "")
        raise SourceError(f"{where}: cannot be queried; it offers {offered}")
    if "geojson" not in (description.supportedQueryFormats or "geojson").lower():
        formats = escaped(description.supportedQueryFormats or "")
        raise SourceError(f"{where}: gives no GeoJSON, only {formats}")
    keys = [field.name for field in description.fields or [] if field.type == OBJECT_ID]
    key = description.objectIdField or (keys[0] if len(keys) == 1 else "")
    if not key:
        raise SourceError(
            f"{where}: the layer has no object id: nothing proves that its pages are complete",
            "ask the publisher for a layer with an object id, or for a file",
        )
    abilities = description.advancedQueryCapabilities or _Abilities()
    can_order = abilities.supportsOrderBy is not False
    edited = description.editingInfo.lastEditDate if description.editingInfo else None
    return Layer(
        key=key,
        cap=max(1, description.maxRecordCount or DEFAULT_CAP),
        can_page=bool(abilities.supportsPagination) and can_order,
        can_order=can_order,
        version="" if edited is None else str(edited),
    )


def fingerprint(pages: Iterable[Path]) -> str:
    """SHA-256 of the features in files, in their order, however they were cut into pages."""
    digest = hashlib.sha256()
    for path in pages:
        features = lenient_json.decode(path.read_bytes(), type=_RawFeatures).features
        digest.update(b"\0".join([b"", *features]))
    return digest.hexdigest()


def page(body: bytes, key: str, where: str) -> Page:
    """One page of features. A feature has its object id as a property, as `id`, or as both."""
    expected = "a page of features with their object ids"
    found: Any = lenient_json.read(body, _features(key), where, expected)
    found.refuse(body, where, is_data=True)
    numbers = [
        one.id if one.properties is None or one.properties.key is None else one.properties.key
        for one in found.features
    ]
    if None in numbers:
        raise SourceError(f"{where}: feature {numbers.index(None) + 1} has no {escaped(key)}")
    more = [found.exceededTransferLimit, getattr(found.properties, "exceededTransferLimit", None)]
    return Page(numbers, is_cut=True in more)


@functools.cache
def _features(key: str) -> type[msgspec.Struct]:
    """The type of a page: a complete FeatureCollection; of a feature, only its object id."""
    properties = msgspec.defstruct("Properties", [("key", int | None, None)], rename={"key": key})
    feature = msgspec.defstruct(
        "Feature", [("id", int | None, None), ("properties", properties | None, None)]
    )
    return msgspec.defstruct(
        "Features",
        [
            ("type", Literal["FeatureCollection"]),
            ("features", list[feature]),
            ("exceededTransferLimit", bool | None, None),
            ("properties", _More | None, None),
        ],
        bases=(ErrorBody,),
        kw_only=True,
    )
