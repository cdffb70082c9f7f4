"""What a publisher says of a data set, as a script in `api/` declares it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """What a publisher says of a data set; it goes into the manifest of every snapshot."""

    title: str
    publisher: str
    page: str
    licence: str
    licence_page: str
    kind: str  # what an answer must look like: one of content.KINDS
    encoding: str = "utf-8"
    final_newline: bool = True  # whether the last line of a CSV or TSV has its end
    # JSON members that differ in every answer, as "metadata.generated".
    volatile: tuple[str, ...] = ()
    volatile_columns: tuple[str, ...] = ()  # columns of a CSV or TSV that move by themselves
    as_of: str = ""  # date of the data, for a data set that no longer changes
    # What the volume guard lets pass: no row at all, far fewer or more rows than before.
    may_be_empty: bool = False
    may_shrink: bool = False
    # The host that a key is for, by the key's name: {"EIA": "api.eia.gov"} for KEY_EIA.
    keys: Mapping[str, str] = field(default_factory=dict, hash=False)
