"""The folder `data/exports/`: all files of one generation, replaced together.

A file whose table did not change since it was written is kept, as a hard link in the new folder.
"""

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from pipeline import durable, state
from pipeline.exports import catalog, files, tables
from pipeline.exports.catalog import File
from pipeline.exports.tables import Table
from pipeline.raw import manifest
from pipeline.settings import Settings

NAME = "exports"  # of the folder below data/, and of its record in data/state
SUMS, PACKAGE, DICTIONARY = "SHA256SUMS", "datapackage.json", "index.html"


def write(here: Settings, connection: psycopg.Connection) -> int:
    """Write the files of all published tables in the formats of EXPORTS.

    Returns the number of files that were rewritten; 0 when nothing changed. All files are of one
    snapshot of the database. Raises OSError and psycopg.Error; the folder is the old one then.
    """
    folder, aside = here.data_dir / NAME, here.data_dir / f".{NAME}.new"
    durable.repair_folder(aside, folder)
    with connection.transaction(force_rollback=True):
        connection.execute("set transaction isolation level repeatable read, read only")
        wanted = _wanted(here, tables.published(connection))
        made_before = state.read(here, NAME).get("made", {})
        made = {name: _made_of(table) for name, (table, _) in wanted.items()}
        if made == made_before and all((folder / name).is_file() for name in [*made, SUMS]):
            return 0
        if not wanted:
            durable.remove(folder)
            state.replace(here, NAME, made=made)
            return 0
        aside.mkdir(parents=True)
        kept = {name for name in made if made[name] == made_before.get(name)}
        kept = {name for name in kept if _keep(folder / name, aside / name)}
        for table in dict.fromkeys(table for table, _ in wanted.values()):
            formats = [f for name, (t, f) in wanted.items() if t == table and name not in kept]
            _write_table(connection, table, formats, aside)
    _describe(wanted, aside)
    durable.replace_folder(aside, folder)
    state.replace(here, NAME, made=made)
    return len(wanted.keys() - kept)


def _wanted(here: Settings, published: list[Table]) -> dict[str, tuple[Table, str]]:
    """The files there are to be, by name; GeoJSON only of tables that have a geometry."""
    return {
        f"{table.name}.{format_}": (table, format_)
        for table in published
        for format_ in here.exports
        if format_ != "geojson" or table.geometry
    }


def _made_of(table: Table) -> str:
    """What the files of a table depend on: its rows and columns, and the code that writes them."""
    code = [Path(module.__file__).read_bytes() for module in (tables, files)]
    return hashlib.sha256(b"\n".join([repr(table).encode(), *code])).hexdigest()


def _keep(old: Path, new: Path) -> bool:
    """Link a file into the new folder; False when there is none."""
    try:
        os.link(old, new)
    except OSError:
        return False
    return True


def _write_table(connection, table: Table, formats: list[str], folder: Path) -> None:
    if not formats:
        return
    csv = folder / f"{table.name}.csv"
    is_kept = csv.exists()
    if not is_kept:
        files.write_csv(connection, table, csv)
    if "parquet" in formats:
        files.write_parquet(table, csv, csv.with_suffix(".parquet"))
    if "geojson" in formats:
        files.write_geojson(table, csv, csv.with_suffix(".geojson"))
    if not is_kept and "csv" not in formats:
        csv.unlink()


def _describe(wanted: dict[str, tuple[Table, str]], folder: Path) -> None:
    """Write the checksums, the descriptor and the dictionary of the files in a folder."""
    found = []
    for name, (table, format_) in wanted.items():
        path = folder / name
        found.append(File(table, format_, name, path.stat().st_size, _hash(path)))
    origins_of = {f.table.name: catalog.origins(f.table.sources) for f in found}
    made_at = datetime.now(UTC)
    durable.write_json(folder / PACKAGE, catalog.datapackage(found, origins_of, made_at))
    page = catalog.dictionary(found, origins_of, made_at)
    durable.write(folder / DICTIONARY, page.encode())
    others = {name: _hash(folder / name) for name in (PACKAGE, DICTIONARY)}
    manifest.write(folder, {file.path: file.hash for file in found} | others)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
