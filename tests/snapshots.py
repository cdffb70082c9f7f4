"""Descriptors of snapshots for tests that need no files of them."""

from typing import Any

import msgspec

from pipeline.raw.descriptor import Descriptor

ANYTHING = {"bytes": 1, "hash": ""}


def described(resources: list[dict], content: object = "", **members: Any) -> Descriptor:
    """Return a descriptor with these members; what does not matter to a test has any value."""
    return msgspec.convert(
        {
            "created": "tonight",
            "origin": "live",
            "fingerprints": {"content": str(content)},
            "resources": [ANYTHING | resource for resource in resources],
        }
        | members,
        Descriptor,
    )
