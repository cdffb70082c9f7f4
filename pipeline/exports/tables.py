"""The published tables as the database's catalogue describes them, and the types of their files."""

import re
from dataclasses import dataclass

import psycopg

from pipeline.database import ledger


@dataclass(frozen=True)
class Column:
    """A column of a published table."""

    name: str
    type: str  # as PostgreSQL writes it, such as numeric(5,2)
    description: str
    is_nullable: bool

    @property
    def expression(self) -> str:
        """The SQL of the column's value in a file: ISO 8601 in UTC, true and false, JSON lists."""
        name = quoted(self.name)
        if self.type == "timestamp with time zone":
            utc = f"{name} at time zone 'UTC'"
            return f"""to_char({utc}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as {name}"""
        if self.type == "boolean":
            return f"{name}::text as {name}"
        if self.type.endswith("[]"):
            return f"to_json({name})::text as {name}"
        return name


@dataclass(frozen=True)
class Table:
    """A published table, and the generation of its rows."""

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    generation: int
    sources: tuple[str, ...]

    @property
    def geometry(self) -> str:
        """`point`, `polygon`, or empty when the table has no place on a map."""
        types = {column.name: column.type for column in self.columns}
        if types.get("longitude") == types.get("latitude") == "double precision":
            return "point"
        return "polygon" if self.polygon_column else ""

    @property
    def polygon_column(self) -> str:
        """The name of the first column of PostgreSQL's type polygon; empty when there is none."""
        return next((column.name for column in self.columns if column.type == "polygon"), "")

    @property
    def query(self) -> str:
        """All rows, in the order of the key, so that two exports of the same rows are equal."""
        columns = ", ".join(column.expression for column in self.columns)
        order = ", ".join(map(quoted, self.key)) or ", ".join(
            quoted(column.name) for column in self.columns if column.type != "polygon"
        )
        return f"select {columns} from transformed.{quoted(self.name)} order by {order}"  # noqa: S608 - names of the catalogue


def published(connection: psycopg.Connection) -> list[Table]:
    """The tables that readers have, by name; none before the first publication."""
    if not ledger.is_there(connection):
        return []
    steps = ledger.published(connection)
    built = ledger.last_build(connection)
    sources = (built["facts"].get("sources") or {}) if built else {}
    columns = _columns(connection)
    keys = _keys(connection)
    rows = connection.execute(
        """select relname, coalesce(obj_description(oid, 'pg_class'), '') from pg_class
        where relnamespace = to_regnamespace('transformed') and relkind = 'r' order by relname"""
    )
    return [
        Table(
            name=name,
            description=" ".join(description.split()),
            columns=tuple(columns[name]),
            key=keys.get(name, ()),
            generation=steps[name]["facts"]["generation"],
            sources=tuple(sorted(sources.get(name, ()))),
        )
        for name, description in rows
        if name in steps
    ]


def quoted(name: str) -> str:
    """An identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


def _columns(connection: psycopg.Connection) -> dict[str, list[Column]]:
    rows = connection.execute(
        """select relname, attname, format_type(atttypid, atttypmod),
            coalesce(col_description(attrelid, attnum), ''), not attnotnull
        from pg_attribute join pg_class on pg_class.oid = attrelid
        where relnamespace = to_regnamespace('transformed') and relkind = 'r'
            and attnum > 0 and not attisdropped
        order by relname, attnum"""
    )
    found: dict[str, list[Column]] = {}
    for table, name, type_, description, is_nullable in rows:
        column = Column(name, type_, " ".join(description.split()), is_nullable)
        found.setdefault(table, []).append(column)
    return found


def _keys(connection: psycopg.Connection) -> dict[str, tuple[str, ...]]:
    rows = connection.execute(
        """select relname, array_agg(attname::text order by ordinality)
        from pg_constraint join pg_class on pg_class.oid = conrelid,
            unnest(conkey) with ordinality as keys (number, ordinality)
            join pg_attribute on attnum = number
        where contype = 'p' and attrelid = conrelid
            and relnamespace = to_regnamespace('transformed')
        group by relname"""
    )
    return {table: tuple(columns) for table, columns in rows}


def arrow_type(type_: str):
    """The Arrow type of a PostgreSQL type; text for one that Arrow has no equal of."""
    import pyarrow

    if number := re.fullmatch(r"numeric\((\d+),(\d+)\)", type_):
        precision, scale = map(int, number.groups())
        return pyarrow.decimal128(precision, scale) if precision <= 38 else pyarrow.string()
    return {
        "boolean": pyarrow.bool_(),
        "smallint": pyarrow.int16(),
        "integer": pyarrow.int32(),
        "bigint": pyarrow.int64(),
        "real": pyarrow.float32(),
        "double precision": pyarrow.float64(),
        "date": pyarrow.date32(),
        "timestamp with time zone": pyarrow.timestamp("us", "UTC"),
        "timestamp without time zone": pyarrow.timestamp("us"),
    }.get(type_, pyarrow.string())
