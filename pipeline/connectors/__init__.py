"""One module a protocol of publishers."""
