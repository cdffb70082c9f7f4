"""The public copy of the published tables."""
