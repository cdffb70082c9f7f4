"""Storm events of the newest three years: what a storm did, where, and what it cost.

Publisher  National Centers for Environmental Information, from the reports of the National Weather
           Service; a file a year, its name says when it was made:
           https://www.ncei.noaa.gov/pub/data/swdi/stormevents/csvfiles/README; the columns:
           https://www.ncei.noaa.gov/pub/data/swdi/stormevents/csvfiles/Storm-Data-Bulk-csv-Format.pdf
Rhythm     monthly, about 75 days behind; older years are made anew now and then
Corrections  come with a new file of the year, which the listing names: the next night. Those of a
           year before the newest three never come: nor is it in the table
One row is one event in one county or forecast zone.
"""

from pipeline.connectors import listing
from pipeline.stages.api import Candidate, Source, run

SOURCE = Source(
    title="Storm Events Database, details",
    publisher="NOAA National Centers for Environmental Information",
    page="https://www.ncei.noaa.gov/stormevents/",
    licence="U.S. government work",
    licence_page="https://www.usa.gov/government-works",
    kind="csv.gz",
)
FOLDER = "https://www.ncei.noaa.gov/pub/data/swdi/stormevents/csvfiles/"
FILE = r"StormEvents_details-ftp_v1\.0_d(?P<year>\d{4})_c(?P<created>\d{8})\.csv\.gz"
YEARS = 3


def fetch(candidate: Candidate) -> None:
    """The file made last of each of the newest years."""
    for address in listing.newest(candidate, FOLDER, FILE, most=YEARS):
        candidate.download(address)


if __name__ == "__main__":
    run(SOURCE, fetch)
