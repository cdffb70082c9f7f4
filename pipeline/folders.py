"""The pipeline's own folders in DATA_DIR: none of them may be a symbolic link.

Whoever may write into the data folder could lead the pipeline to write, or to tidy up, elsewhere.
DATA_DIR itself may be a link: it is the user's word.
"""

from pathlib import Path

from pipeline import durable
from pipeline.settings import Settings

# With `/*`: and the folders in it, which are named for the sources.
_OWN = ("raw", "raw/.incoming", "raw/.begun", "preprocessed", "preprocessed/.repaired/*")
_OWN += ("state", "state/hosts", "state/dbt", "quarantine/*", "dumps", "logs", "logs/dbt")
NAMES = tuple(pattern.removesuffix("/*") for pattern in _OWN)


def refuse_links(settings: Settings) -> None:
    """Raise SetupError that names the first of the folders that is a link, and how to remove it."""
    for pattern in _OWN:
        folder = durable.unlinked(settings.data_dir / pattern.removesuffix("/*"))
        for path in sorted(folder.iterdir()) if pattern.endswith("/*") and folder.is_dir() else ():
            durable.unlinked(path)


def remove_links(folder: Path) -> None:
    """Remove the links in a folder that another program is to write into."""
    for path in folder.rglob("*"):
        if path.is_symlink():
            path.unlink()
