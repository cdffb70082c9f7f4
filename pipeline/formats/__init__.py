"""Bytes become one legible CSV: no network, no database."""
