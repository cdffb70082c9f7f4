"""The public copy of the published tables; `connection` is where to begin."""
