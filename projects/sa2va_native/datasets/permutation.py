"""A seeded order of any number of items in constant memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_ROUNDS = 8
_64_BIT = (1 << 64) - 1


class Permutation(Sequence[int]):
    """A permutation of ``0 .. length - 1``; each value is computed on access.

    A Feistel network permutes the numbers with the next even number of bits, at most four times as many. A result that
    is too large goes through it again until it fits ("cycle walking", Black and Rogaway, *Ciphers with arbitrary finite
    domains*, 2002). So every position costs the same, and a resumed run needs no history.

    Args:
        length: above 0.
        key: determines the order.
    """

    def __init__(self, length: int, key: tuple[int, ...]) -> None:
        self._length = length
        self._half = max((length - 1).bit_length() + 1, 2) // 2
        self._keys = [int(one) for one in np.random.SeedSequence(key).generate_state(_ROUNDS, np.uint64)]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, position: Any) -> Any:
        if not 0 <= position < self._length:
            raise IndexError(f"place {position} of {self._length}")
        number = self._encrypt(int(position))
        while number >= self._length:
            number = self._encrypt(number)
        return number

    def _encrypt(self, number: int) -> int:
        mask = (1 << self._half) - 1
        left, right = number >> self._half, number & mask
        for key in self._keys:
            left, right = right, left ^ (_mix(right ^ key) & mask)
        return left << self._half | right


def _mix(number: int) -> int:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): each of the 64 bits depends on all of them."""
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & _64_BIT
    number = (number ^ number >> 27) * 0x94D049BB133111EB & _64_BIT
    return number ^ number >> 31
