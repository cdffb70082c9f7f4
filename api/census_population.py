"""Population estimates of the counties and states, newest vintage.

Publisher  U.S. Census Bureau, Population Estimates Program; a folder a vintage, a file in it:
           https://www2.census.gov/programs-surveys/popest/datasets/; the columns of vintage 2024:
           https://www2.census.gov/programs-surveys/popest/technical-documentation/file-layouts/2020-2024/CO-EST2024-ALLDATA.pdf
Rhythm     a vintage a year, in March; it revises every year since the last census. Its folder may
           be there months before the file of the counties is: then the one before is the newest
Corrections  come with a vintage, for all its years, or as a new file of the same name: the next
           night. A vintage that is not the newest is not in the table
One row is one county or county equivalent, or one state.
"""

from pipeline.connectors import listing
from pipeline.stages.api import Candidate, Source, run

SOURCE = Source(
    title="Annual resident population estimates of the counties",
    publisher="U.S. Census Bureau, Population Estimates Program",
    page="https://www.census.gov/programs-surveys/popest.html",
    licence="U.S. government work",
    licence_page="https://www.usa.gov/government-works",
    kind="csv",
    # Some vintages (2023) leave the last line end out; preprocess notes the encoding.
    final_newline=False,
)
FOLDER = "https://www2.census.gov/programs-surveys/popest/datasets/"
FILE = r"(?P<first>\d{4})-(?P<last>\d{4})/counties/totals/co-est(?P<vintage>\d{4})-alldata\.csv"


def fetch(candidate: Candidate) -> None:
    """The file of the newest vintage that has one."""
    for address in listing.newest(candidate, FOLDER, FILE):
        candidate.download(address)


if __name__ == "__main__":
    run(SOURCE, fetch)
