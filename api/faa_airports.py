"""Airports of the United States and its territories.

Publisher  Federal Aviation Administration
Rhythm     static: this version of the file never changes
Corrections  never: a corrected version would have another address
One row is one airport.
"""

from pipeline.stages.api import Candidate, Source, run

SOURCE = Source(
    title="Airports",
    publisher="Federal Aviation Administration",
    page="https://catalog.data.gov/dataset/airports-5e97a",
    licence="U.S. government work",
    licence_page="https://www.usa.gov/government-works",
    kind="csv",
    as_of="2008-12-31",
)
URL = "https://cdn.jsdelivr.net/npm/vega-datasets@3.2.1/data/airports.csv"


def fetch(candidate: Candidate) -> None:
    """Download the one file."""
    candidate.download(URL)


if __name__ == "__main__":
    run(SOURCE, fetch)
