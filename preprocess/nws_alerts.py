"""Weather alerts: the features of the response, one row each; lists as JSON text.

One row is one message.
"""

from pathlib import Path

from pipeline.formats import geojson
from pipeline.formats.legible import Legible
from pipeline.raw.snapshot import Snapshot
from pipeline.stages.preprocess import run

# All properties a message can have. Few messages have all of them; there may be no message.
PROPERTIES = """
@id @type id areaDesc geocode affectedZones references sent effective onset expires ends status
messageType category severity certainty urgency event sender senderName headline description
instruction response note parameters scope code language web eventCode replacedBy replacedAt
expiredReferences
""".split()  # noqa: SIM905 - one name per line would not be easier to read

# Properties that only some messages have, or none for weeks.
SOMETIMES = """
instruction response note scope code language web eventCode replacedBy replacedAt expiredReferences
""".split()  # noqa: SIM905 - one name per line would not be easier to read


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """Flatten the features of all pages into rows; there may be no feature at all."""
    return geojson.write_csv(snapshot.files, output, properties=PROPERTIES, optional=SOMETIMES)


if __name__ == "__main__":
    run(make_legible)
