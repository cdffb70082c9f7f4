"""The declaration of a source: what its script in `api/` says about the data set."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """A data set of a publisher; every snapshot's descriptor repeats it."""

    title: str
    publisher: str
    page: str
    licence: str
    licence_page: str
    kind: str  # the form of its files: one of checks.KINDS
    encoding: str = "utf-8"
    final_newline: bool = True  # whether the last line of a CSV or TSV has its end
    # JSON members that differ in every response, such as "metadata.generated".
    volatile: tuple[str, ...] = ()
    volatile_columns: tuple[str, ...] = ()  # columns of a CSV or TSV that differ in every response
    as_of: str = ""  # date of the data, for a data set that no longer changes
    # The volume guard accepts no row at all; far fewer or more rows than before.
    may_be_empty: bool = False
    may_shrink: bool = False
    # The host that each key is for, by the key's name: {"EIA": "api.eia.gov"} for KEY_EIA.
    keys: Mapping[str, str] = field(default_factory=dict, hash=False)
