"""Airports: the publisher's CSV, with the sign of five longitudes corrected.

One row is one airport.
"""

from dataclasses import replace
from pathlib import Path

from pipeline.formats import delimited, fix
from pipeline.formats.legible import Legible
from pipeline.raw.snapshot import Snapshot
from pipeline.stages.preprocess import run


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """Correct the longitudes of the airports of Guam and the Northern Mariana Islands.

    They lie 144 to 146 degrees east; the file says west.
    """
    repaired = output.parent / ".repaired" / snapshot.source / snapshot.file.name
    repaired.parent.mkdir(parents=True, exist_ok=True)
    touched = fix.lines(
        snapshot.file,
        repaired,
        name="longitude east, not west",
        expected=5,
        # State, latitude and longitude identify these lines, even if columns are added anywhere.
        pattern=rb"^(?=.*,(?:CQ|GU)(?:,|$))(?=.*,1[3-8]\.[0-9]+(?:,|$))"
        rb"(?P<before>(?:.*,)?)-(?P<longitude>14[456]\.[0-9]+)(?=,|$)",
        replacement=rb"\g<before>\g<longitude>",
    )
    legible = delimited.write_csv(repaired, output)
    return replace(legible, notes=legible.notes | {"longitudes moved from west to east": touched})


if __name__ == "__main__":
    run(make_legible)
