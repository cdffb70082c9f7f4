"""Bit masks over a block of bytes: bit i of a mask (64 per word, lowest first) describes byte i.

The idea to find what is inside quotes by a prefix exclusive or over a mask is from Langdale and
Lemire, Parsing Gigabytes of JSON per Second (2019). Here the masks are numpy arrays, so a question
about 8 MiB of text takes a few operations on 1 MiB.
"""

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint64]
_ONE = np.uint64(1)
_TOP = np.uint64(63)


def equal(data: bytes, byte: bytes) -> Mask:
    """The mask of the bytes equal to one byte."""
    packed = np.packbits(np.frombuffer(data, np.uint8) == byte[0], bitorder="little")
    words = np.zeros(-(-len(packed) // 8) * 8, np.uint8)
    words[: len(packed)] = packed
    return words.view("<u8")


def inside(quotes: Mask, begins_inside: bool) -> Mask:
    """The mask of the bytes from an odd quote up to the next even one, which is not included."""
    mask = quotes.copy()
    for step in (1, 2, 4, 8, 16, 32):
        mask ^= mask << np.uint64(step)
    odd_words = mask >> _TOP
    flipped = np.bitwise_xor.accumulate(odd_words) ^ odd_words ^ np.uint64(begins_inside)
    return mask ^ (np.uint64(0) - flipped)  # minus one is sixty-four set bits


def after(mask: Mask) -> Mask:
    """The mask of the bytes after those of a mask; the block's first byte is always included."""
    shifted = mask << _ONE
    shifted[1:] |= mask[:-1] >> _TOP
    shifted[0] |= _ONE
    return shifted


def before(mask: Mask) -> Mask:
    """The mask of the bytes before those of a mask."""
    shifted = mask >> _ONE
    shifted[:-1] |= mask[1:] << _TOP
    return shifted


def first(mask: Mask) -> int | None:
    """The offset of the first set bit; None without one."""
    words = np.flatnonzero(mask)
    if not len(words):
        return None
    word = int(mask[words[0]])
    return int(words[0]) * 64 + (word & -word).bit_length() - 1


def positions(mask: Mask) -> NDArray[np.int64]:
    """The offsets of all set bits, ascending."""
    return np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little").view(bool))


def rank(mask: Mask, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each offset, the number of bits set before it."""
    before_word = np.zeros(len(mask) + 1, np.int64)
    np.cumsum(np.bitwise_count(mask), out=before_word[1:])
    word = offsets >> 6
    lower = (_ONE << (offsets & 63).astype(np.uint64)) - _ONE
    return before_word[word] + np.bitwise_count(mask[word] & lower)


def at(mask: Mask, offset: int) -> bool:
    """Whether the bit at an offset is set."""
    return bool(int(mask[offset >> 6]) >> (offset & 63) & 1)
