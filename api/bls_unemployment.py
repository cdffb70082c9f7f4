"""Unemployment rate by county.

Publisher  U.S. Bureau of Labor Statistics, Local Area Unemployment Statistics
Rhythm     static: this version of the file never changes
Corrections  never: a corrected version would have another address
One row is one county.
"""

from pipeline.stages.api import Candidate, Source, run

SOURCE = Source(
    title="Unemployment rate by county, 2009",
    publisher="U.S. Bureau of Labor Statistics",
    page="https://www.bls.gov/lau/",
    licence="U.S. government work",
    licence_page="https://www.usa.gov/government-works",
    kind="tsv",
    as_of="2009-08-31",
)
URL = "https://cdn.jsdelivr.net/npm/vega-datasets@3.2.1/data/unemployment.tsv"


def fetch(candidate: Candidate) -> None:
    """Download the one file."""
    candidate.download(URL)


if __name__ == "__main__":
    run(SOURCE, fetch)
