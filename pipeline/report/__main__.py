"""`python -m pipeline.report`: write the report page."""

import sys

from pipeline import report

if __name__ == "__main__":
    sys.exit(report.main())
