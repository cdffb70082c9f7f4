"""Raw snapshots: their files, their manifest, their history."""
