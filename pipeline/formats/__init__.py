"""Conversion of raw bytes to one legible CSV; no network, no database."""
