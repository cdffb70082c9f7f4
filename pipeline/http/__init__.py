"""HTTP: a whole response or none."""
