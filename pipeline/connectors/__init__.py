"""Reading publishers' services: one module per protocol."""
