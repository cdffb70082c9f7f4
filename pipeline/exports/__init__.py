"""Downloads: every published table as files in `data/exports/`, with checksums and a catalogue."""

from pipeline.exports.folder import write

__all__ = ["write"]
