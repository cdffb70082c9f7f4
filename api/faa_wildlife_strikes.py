"""Collisions of aircraft with wildlife, a sample of 10,000 reports from 1990 to 2002.

Publisher  Federal Aviation Administration, Wildlife Strike Database
Rhythm     static: this version of the file never changes
Corrections  never: a corrected version would have another address
One row is one reported strike.
"""

from pipeline.stages.api import Candidate, Source, run

SOURCE = Source(
    title="Wildlife strikes of aircraft",
    publisher="Federal Aviation Administration",
    page="https://wildlife.faa.gov/",
    licence="U.S. government work",
    licence_page="https://www.usa.gov/government-works",
    kind="csv",
    final_newline=False,
    as_of="2002-07-25",
)
URL = "https://cdn.jsdelivr.net/npm/vega-datasets@3.2.1/data/birdstrikes.csv"


def fetch(candidate: Candidate) -> None:
    """Download the one file."""
    candidate.download(URL)


if __name__ == "__main__":
    run(SOURCE, fetch)
