"""The five stages, by the names of their folders."""
