"""Weather alerts: the features of the answer, one row each; lists as their JSON text.

One row is one message.
"""

from pathlib import Path

from pipeline.formats import geojson
from pipeline.formats.legible import Legible
from pipeline.raw.snapshot import Snapshot
from pipeline.stages.preprocess import run

# What a message can have: hardly one has all, and there may be no message.
PROPERTIES = """
@id @type id areaDesc geocode affectedZones references sent effective onset expires ends status
messageType category severity certainty urgency event sender senderName headline description
instruction response note parameters scope code language web eventCode replacedBy replacedAt
expiredReferences
""".split()  # noqa: SIM905 - a name a line is no easier to read

# What only some messages have, or none for weeks.
SOMETIMES = """
instruction response note scope code language web eventCode replacedBy replacedAt expiredReferences
""".split()  # noqa: SIM905 - a name a line is no easier to read


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """Flatten the features of all pages into rows; no feature at all is an answer."""
    return geojson.write_csv(snapshot.files, output, properties=PROPERTIES, optional=SOMETIMES)


if __name__ == "__main__":
    run(make_legible)
