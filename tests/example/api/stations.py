"""Railway stations of an invented country.

Publisher  Example Railways
Rhythm     changes at any time
Corrections  seen the night after, since the file is fetched whole
One row is one station.
"""

from pipeline.stages.api import Candidate, Source, run

SOURCE = Source(
    title="Railway stations",
    publisher="Example Railways",
    page="https://railways.example/stations",
    licence="CC0 1.0",
    licence_page="https://creativecommons.org/publicdomain/zero/1.0/",
    kind="csv",
)
URL = "https://railways.example/stations.csv"


def fetch(candidate: Candidate) -> None:
    """Download the one file."""
    candidate.download(URL)


if __name__ == "__main__":
    run(SOURCE, fetch)
