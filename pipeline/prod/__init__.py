"""The public copy of the published tables."""

from pipeline.prod.connection import (
    connect,
    generations,
    greatest_generation,
    is_of_server,
    others,
    take_turn,
    traces,
    url,
)

__all__ = [
    "connect",
    "generations",
    "greatest_generation",
    "is_of_server",
    "others",
    "take_turn",
    "traces",
    "url",
]
