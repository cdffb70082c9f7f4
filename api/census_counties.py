"""Boundaries of the counties of the United States and its territories, generalised to 1:10 million.

Publisher  U.S. Census Bureau, cartographic boundary files, edition of 2017, as TopoJSON by us-atlas
Rhythm     static: this version of the file never changes
Corrections  never: a corrected version would have another address
One row is one county or county equivalent.
"""

from pipeline.stages.api import Candidate, Source, run

SOURCE = Source(
    title="County boundaries, 2017",
    publisher="U.S. Census Bureau",
    page="https://www.census.gov/geographies/mapping-files/time-series/geo/carto-boundary-file.html",
    licence="U.S. government work; TopoJSON by us-atlas 3.0.1 (ISC)",
    licence_page="https://github.com/topojson/us-atlas/blob/v3.0.1/LICENSE",
    kind="topojson",
    as_of="2017-01-01",
)
URL = "https://cdn.jsdelivr.net/npm/us-atlas@3.0.1/counties-10m.json"


def fetch(candidate: Candidate) -> None:
    """Download the one file."""
    candidate.download(URL)


if __name__ == "__main__":
    run(SOURCE, fetch)
