"""The declared columns of a source."""
