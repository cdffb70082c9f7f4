"""The pipeline's own folders in DATA_DIR: which there are, and that none is a symbolic link.

Whoever may write into the data folder could make the pipeline write, or delete, elsewhere. DATA_DIR
itself may be a link: the user chose it.
"""

from pathlib import Path

from pipeline import durable
from pipeline.errors import SetupError
from pipeline.settings import Settings

# With `/*`: and the folders in it, which are named after the sources.
_OWN = ("raw", "raw/.incoming", "raw/.begun", "preprocessed", "preprocessed/.repaired/*")
_OWN += ("state", "state/hosts", "state/dbt", "quarantine/*", "dumps", "logs", "logs/dbt")
NAMES = tuple(pattern.removesuffix("/*") for pattern in _OWN)


def make(settings: Settings) -> None:
    """Create the folders that every run works in. Raises SetupError if one cannot be created."""
    for name in NAMES:
        folder = settings.data_dir / name
        try:
            if "/" not in name:  # the others are created when there is something to put there
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            what = f"{folder} cannot be created: {error.strerror}"
            raise SetupError(what, "set DATA_DIR") from None


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
