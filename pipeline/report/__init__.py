"""The report page `data/report/index.html`: what readers have, how the nights went, and charts."""

from pathlib import Path

import psycopg

from pipeline import database, settings
from pipeline.errors import OK, PipelineError
from pipeline.report import charts, facts, page
from pipeline.settings import Settings


def write(here: Settings) -> Path:
    """Write the page from what the database and the disk tell now; returns its path.

    Without a database the page says so, and shows what the disk tells. Raises OSError.
    """
    names = settings.sources()
    try:
        with database.connect(here, patience=database.GLANCE) as connection:
            found = facts.read(here, connection, names)
            generations = {table.name: table.generation for table in found.tables}
            drawings = charts.drawings(here, connection, generations)
    except (psycopg.Error, PipelineError) as error:
        found, drawings = facts.without_database(here, names, str(error).rstrip(".")), []
    return page.write(here, found, drawings)


def main() -> int:
    """Write the page and print where it is."""
    print(write(settings.load()))
    return OK
