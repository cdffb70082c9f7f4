"""A misbehaving world to try sources against."""
