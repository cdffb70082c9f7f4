"""One published table as a CSV, Parquet or GeoJSON file, in bounded memory.

PostgreSQL writes the CSV; the other files are made of it, with the types of the database.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from pipeline import durable
from pipeline.database.queries import trusted
from pipeline.exports.tables import Table, arrow_type

FORMATS = ("csv", "parquet", "geojson")
BLOCK = 16 << 20  # bytes of CSV that are converted at a time; no row may be longer
_NUMBER = re.compile(r"[-+.0-9eE]+")


def write_csv(connection: psycopg.Connection, table: Table, path: Path) -> None:
    """Write a table as CSV: UTF-8, a header, null as nothing and the empty text as `""`."""
    statement = trusted(f"copy ({table.query}) to stdout (format csv, header)")
    with (
        connection.cursor() as cursor,
        durable.create(path) as file,
        cursor.copy(statement) as rows,
    ):
        for block in rows:
            file.write(block)


def write_parquet(table: Table, csv: Path, path: Path) -> None:
    """Write the rows of a CSV as Parquet; as GeoParquet where the table has a geometry."""
    import pyarrow
    from pyarrow import parquet

    schema = _schema(table)
    if table.geometry:
        metadata = {"geo": json.dumps(_geo_metadata(table))}
        schema = schema.append(pyarrow.field("geometry", pyarrow.binary())).with_metadata(metadata)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in _batches(table, csv):
            if table.geometry:
                shapes = pyarrow.array(_as_wkb(table, batch), pyarrow.binary())
                batch = pyarrow.RecordBatch.from_arrays([*batch.columns, shapes], schema=schema)
            writer.write_batch(batch)


def write_geojson(table: Table, csv: Path, path: Path) -> None:
    """Write the rows of a CSV as a GeoJSON FeatureCollection (RFC 7946), one line per row."""
    import msgspec

    encode = msgspec.json.Encoder(decimal_format="number").encode
    left_out = {"longitude", "latitude"} if table.geometry == "point" else {table.polygon_column}
    with durable.create(path) as file:
        file.write(b'{"type":"FeatureCollection","features":[')
        separator = b"\n"
        for batch in _batches(table, csv):
            for row in batch.to_pylist():
                shape = _as_geojson(table, row)
                properties = {name: value for name, value in row.items() if name not in left_out}
                feature = {"type": "Feature", "geometry": shape, "properties": properties}
                file.write(separator + encode(feature))
                separator = b",\n"
        file.write(b"\n]}\n")


def _schema(table: Table) -> Any:
    import pyarrow

    return pyarrow.schema(
        [
            pyarrow.field(column.name, arrow_type(column.type), metadata=_described(column))
            for column in table.columns
        ]
    )


def _described(column) -> dict[str, str]:
    return {"description": column.description} if column.description else {}


def _batches(table: Table, path: Path) -> Iterator[Any]:
    """The rows of a CSV of ours, block by block, in the types of the table."""
    from pyarrow import csv

    schema = _schema(table)
    reader = csv.open_csv(
        path,
        read_options=csv.ReadOptions(block_size=BLOCK, use_threads=False),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=schema,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["true"],
            false_values=["false"],
        ),
    )
    with reader:
        for batch in reader:
            yield batch.cast(schema)


def _geo_metadata(table: Table) -> dict:
    """The metadata of GeoParquet 1.1; without `crs` it is longitude and latitude of WGS 84."""
    kind = "Point" if table.geometry == "point" else "Polygon"
    column = {"encoding": "WKB", "geometry_types": [kind]}
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _as_wkb(table: Table, batch) -> list[bytes | None]:
    import numpy
    import shapely

    if table.geometry == "point":
        across, down = (
            batch.column(name).to_numpy(zero_copy_only=False) for name in ("longitude", "latitude")
        )
        shapes = shapely.points(across, down)
        is_there = ~(numpy.isnan(across) | numpy.isnan(down))
    else:
        rings = batch.column(table.polygon_column).to_pylist()
        shapes = [shapely.Polygon(_ring(text)) if text else None for text in rings]
        is_there = [bool(text) for text in rings]
    return [
        shape.wkb if shape is not None and there else None
        for shape, there in zip(shapes, is_there, strict=True)
    ]


def _as_geojson(table: Table, row: dict) -> dict | None:
    if table.geometry == "point":
        if row["longitude"] is None or row["latitude"] is None:
            return None
        return {"type": "Point", "coordinates": [row["longitude"], row["latitude"]]}
    if row[table.polygon_column] is None:
        return None
    return {"type": "Polygon", "coordinates": [_ring(row[table.polygon_column])]}


def _ring(text: str) -> list[tuple[float, float]]:
    """The closed ring of a polygon, from PostgreSQL's text `((x,y),…)`."""
    numbers = [float(number) for number in _NUMBER.findall(text)]
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    return points if points[0] == points[-1] and len(points) > 3 else [*points, points[0]]
