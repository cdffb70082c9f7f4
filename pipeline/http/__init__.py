"""Downloads: a complete response or none."""
