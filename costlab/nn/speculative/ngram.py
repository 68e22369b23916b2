"""A table of n-grams counted from text: the cheapest draft, and the yardstick that a trained model has to beat.

The law of the next byte backs off by Witten and Bell: after a context that was seen n times, followed by t different
bytes, the counts get the weight n / (n + t) and the law of the context one byte shorter gets the rest.

>>> table = NGrams(b"to be or not to be", order=3)
>>> bytes([table.next_byte(b"or not to b")])
b'e'
>>> float(table.law(b"or not to b").sum().round(12))
1.0
"""

from __future__ import annotations

import numpy as np

from costlab.arrays import Floats, Ints

BYTES = 256


class NGrams:
    """How often each byte followed each context of up to order - 1 bytes.

    Args:
        text: to count.
        order: bytes of an n-gram, the predicted one included, 1 to 7.

    Raises:
        ValueError: an order out of range, or a text that is shorter.

    Source: Witten and Bell 1991, method C, IEEE Transactions on Information Theory 37 (4).
    """

    def __init__(self, text: bytes, order: int = 5) -> None:
        if not 1 <= order <= 7:
            raise ValueError(f"order = {order} should be 1 to 7: an n-gram is kept in 64 bits")
        if len(text) < order:
            raise ValueError(f"a text of {len(text)} bytes holds no {order}-gram")
        self.order = order
        self._levels = _levels(text, order)  # by bytes of context
        unigram = self._followers(0, b"")
        self._shortest = self._mixed(*unigram, np.full(BYTES, 1 / BYTES)) if unigram else np.full(BYTES, 1 / BYTES)

    def __repr__(self) -> str:
        return f"NGrams(order {self.order}: {len(self._levels[-1][2]):,} n-grams)"

    def law(self, context: bytes) -> Floats:
        """Return the probability of each next byte, shape (256,); each is above 0.

        Args:
            context: what came before; only its last order - 1 bytes count.
        """
        law = self._shortest
        for length in range(1, self.order):
            found = self._followers(length, context[-length:]) if length <= len(context) else None
            if found is None:  # a context that never occurred, so no longer one did
                return law
            law = self._mixed(*found, law)
        return law

    def next_byte(self, context: bytes) -> int:
        """Return the byte that most often followed the longest part of the context that occurred, the lower in a tie.

        Args:
            context: what came before.
        """
        for length in range(min(self.order - 1, len(context)), -1, -1):
            if found := self._followers(length, context[len(context) - length :]):
                return int(found[0][found[1].argmax()])
        raise AssertionError("no byte was counted")  # a text has at least one

    def guess(self, context: bytes, length: int) -> bytes:
        """Return the most frequent continuation, each byte guessed from those before it.

        Args:
            context: what came before.
            length: bytes to guess.
        """
        text = bytearray(context[-self.order :])
        for _ in range(length):
            text.append(self.next_byte(bytes(text[-self.order :])))
        return bytes(text[len(text) - length :])

    def bits(self, text: bytes) -> Floats:
        """Return the bits that the law needs for each byte of a text, shape (bytes,)."""
        contexts = (text[max(0, i - self.order + 1) : i] for i in range(len(text)))
        return -np.log2([self.law(context)[byte] for context, byte in zip(contexts, text, strict=True)])

    def _followers(self, length: int, context: bytes) -> tuple[Ints, Ints] | None:
        """Return the bytes that followed a context, rising, and how often each did; None if the context is unknown."""
        contexts, edges, nexts, counts = self._levels[length]
        key = int.from_bytes(context, "big")
        at = int(contexts.searchsorted(key))
        if at == len(contexts) or contexts[at] != key:
            return None
        chosen = slice(edges[at], edges[at + 1])
        return nexts[chosen], counts[chosen]

    @staticmethod
    def _mixed(nexts: Ints, counts: Ints, shorter: Floats) -> Floats:
        total = counts.sum() + len(nexts)
        law = shorter * (len(nexts) / total)
        law[nexts] += counts / total
        return law


def _levels(text: bytes, order: int) -> list[tuple[Ints, Ints, Ints, Ints]]:
    """Return, by bytes of context: the contexts as numbers, where each one's followers begin, followers, counts."""
    data = np.frombuffer(text, np.uint8)
    grams = np.zeros(len(data) - order + 1, np.int64)
    for offset in range(order):
        grams = grams << 8 | data[offset : offset + len(grams)]
    keys, counts = np.unique(grams, return_counts=True)
    levels = []
    for length in range(order - 1, -1, -1):
        contexts, starts = np.unique(keys >> 8, return_index=True)
        levels.append((contexts, np.append(starts, len(keys)), keys & 0xFF, counts))
        keys, counts = _summed(keys & ((1 << 8 * length) - 1), counts)  # without the first byte
    return levels[::-1]


def _summed(keys: Ints, counts: Ints) -> tuple[Ints, Ints]:
    unique, where = np.unique(keys, return_inverse=True)
    return unique, np.bincount(where, counts).astype(np.int64)
