"""Population estimates of the counties and states, newest vintage.

Publisher  U.S. Census Bureau, Population Estimates Program. Each vintage has a folder with a file:
           https://www2.census.gov/programs-surveys/popest/datasets/; the columns of vintage 2024:
           https://www2.census.gov/programs-surveys/popest/technical-documentation/file-layouts/2020-2024/CO-EST2024-ALLDATA.pdf
Rhythm     one vintage a year, in March. It revises every year since the last census. Its folder may
           exist months before the county file does; until then the previous vintage is the newest
Corrections  come with the next vintage, for all its years, or as a new file with the same name: the
           next night. Older vintages are not in the table
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
    # Some vintages (2023) lack the last line end. The encoding is declared in preprocess/.
    final_newline=False,
)
FOLDER = "https://www2.census.gov/programs-surveys/popest/datasets/"
FILE = r"(?P<first>\d{4})-(?P<last>\d{4})/counties/totals/co-est(?P<vintage>\d{4})-alldata\.csv"


def fetch(candidate: Candidate) -> None:
    """Download the file of the newest vintage that has one."""
    for address in listing.newest(candidate, FOLDER, FILE):
        candidate.download(address)


if __name__ == "__main__":
    run(SOURCE, fetch)
