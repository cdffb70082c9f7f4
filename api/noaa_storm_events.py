"""Storm events of the newest three years: what each storm did, where, and what it cost.

Publisher  National Centers for Environmental Information, from reports of the National Weather
           Service. There is one file per year; its name contains the date it was created:
           https://www.ncei.noaa.gov/pub/data/swdi/stormevents/csvfiles/README; the columns:
           https://www.ncei.noaa.gov/pub/data/swdi/stormevents/csvfiles/Storm-Data-Bulk-csv-Format.pdf
Rhythm     monthly, about 75 days behind; files of older years are recreated occasionally
Corrections  come as a new file for the year, which the listing shows: the next night. A year before
           the newest three is never corrected; it is not in the table
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
    """Download the latest file of each of the newest years."""
    for address in listing.newest(candidate, FOLDER, FILE, most=YEARS):
        candidate.download(address)


if __name__ == "__main__":
    run(SOURCE, fetch)
