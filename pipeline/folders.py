"""The pipeline's own folders in DATA_DIR: none of them may be a symbolic link.

Otherwise anybody who can write into the data folder could make the pipeline write, or delete,
elsewhere. DATA_DIR itself may be a link, because the user has set it.
"""

from pathlib import Path

from pipeline import durable
from pipeline.settings import Settings

# With `/*`: also the folders in it, which are named after the sources.
_OWN = ("raw", "raw/.incoming", "raw/.begun", "preprocessed", "preprocessed/.repaired/*")
_OWN += ("state", "state/hosts", "state/dbt", "quarantine/*", "dumps", "logs", "logs/dbt")
NAMES = tuple(pattern.removesuffix("/*") for pattern in _OWN)


def refuse_links(settings: Settings) -> None:
    """Raise SetupError for the first of these folders that is a link."""
    for pattern in _OWN:
        folder = durable.unlinked(settings.data_dir / pattern.removesuffix("/*"))
        for path in sorted(folder.iterdir()) if pattern.endswith("/*") and folder.is_dir() else ():
            durable.unlinked(path)


def remove_links(folder: Path) -> None:
    """Remove the links in a folder that another program will write into."""
    for path in folder.rglob("*"):
        if path.is_symlink():
            path.unlink()
