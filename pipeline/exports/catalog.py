"""The catalogue of the downloads: a Data Package (datapackage.org) and a data dictionary."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path

from pipeline.exports.tables import Column, Table
from pipeline.marts import credits

TEMPLATE = Path(__file__).with_name("dictionary.html")
PROFILE = "https://datapackage.org/profiles/2.0/datapackage.json"
MEDIA_TYPES = {
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "geojson": "application/geo+json",
}
_FIELD_TYPES = {
    "boolean": "boolean",
    "smallint": "integer",
    "integer": "integer",
    "bigint": "integer",
    "real": "number",
    "double precision": "number",
    "date": "date",
    "timestamp with time zone": "datetime",
    "timestamp without time zone": "datetime",
}


@dataclass(frozen=True)
class File:
    """One file of the downloads."""

    table: Table
    format: str
    path: str
    bytes: int
    hash: str  # SHA-256, hexadecimal


@dataclass(frozen=True)
class Origin:
    """Whose data a table shows: one source's publisher and licence."""

    title: str
    publisher: str
    page: str
    licence: str
    licence_page: str


def origins(sources: Iterable[str]) -> list[Origin]:
    """The publishers and licences of some sources."""
    names = [field.name for field in fields(Origin)]
    known = map(credits.facts_of, sources)
    return [Origin(**{name: facts.get(name, "") for name in names}) for facts in known]


def datapackage(
    files: list[File], origins_of: Mapping[str, list[Origin]], made_at: datetime
) -> dict:
    """The descriptor of all files; `origins_of` gives the origins of each table by its name."""
    return {
        "$schema": PROFILE,
        "name": "exports",
        "created": made_at.isoformat(timespec="seconds"),
        "resources": [_resource(file, origins_of[file.table.name]) for file in files],
    }


def dictionary(files: list[File], origins_of: Mapping[str, list[Origin]], made_at: datetime) -> str:
    """The data dictionary as one HTML page: grain, columns, licence and files of every table."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    tables = {file.table.name: file.table for file in files}
    return environment.from_string(TEMPLATE.read_text("utf-8")).render(
        tables=tables.values(),
        files_of={name: [file for file in files if file.table.name == name] for name in tables},
        origins_of=origins_of,
        made_at=made_at,
    )


def _resource(file: File, origins: list[Origin]) -> dict:
    table = file.table
    schema: dict = {"fields": [_field(column) for column in table.columns]}
    if table.key:
        schema["primaryKey"] = list(table.key)
    return {
        "name": f"{table.name}-{file.format}".replace("_", "-"),
        "path": file.path,
        "description": table.description,
        "format": file.format,
        "mediatype": MEDIA_TYPES[file.format],
        "encoding": "utf-8",
        "bytes": file.bytes,
        "hash": f"sha256:{file.hash}",
        "generation": table.generation,
        "schema": schema,
        "sources": [{"title": o.publisher, "path": o.page} for o in origins],
        "licenses": [{"title": o.licence, "path": o.licence_page} for o in origins],
    }


def _field(column: Column) -> dict:
    kind = (
        "number" if column.type.startswith("numeric") else _FIELD_TYPES.get(column.type, "string")
    )
    field: dict = {"name": column.name, "type": kind, "description": column.description}
    if column.type.endswith("[]"):
        field["type"] = "array"
    if not column.is_nullable:
        field["constraints"] = {"required": True}
    return field
