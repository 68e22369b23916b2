"""Models that decode: rows in, logits out, and what was read can be taken back.

A runner is a model together with what it has read of each sequence of a batch. It is all that a decoding loop knows of
a model: lengths, a pass over new rows, and which of those rows stay. `ByteRunner` reads a whole batch in one pass,
whatever the lengths of its sequences; `DecoderRunner` runs any model of the catalog, one cache a sequence.

>>> from costlab.nn.speculative.model import ByteModel, ByteSize
>>> runner = ByteRunner(ByteModel(ByteSize(layers=2, hidden=32, heads=4, inner=64)))
>>> runner.start(batch=2, capacity=100)
>>> runner.read([runner.vocabulary.encode("cost"), runner.vocabulary.encode("lab")]).shape
(2, 4, 256)
>>> runner.rewind([2, 3])
>>> runner.lengths
[2, 3]
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from costlab.arrays import Floats
from costlab.nn.decoder import Decoder, DecoderCache
from costlab.nn.speculative.cache import RaggedCache
from costlab.nn.speculative.model import VOCABULARY, ByteModel

#: Of each sequence of a batch: new tokens, or numbers of rows.
Rows = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Vocabulary:
    """What each token stands for; two models decode together only where all of it is the same."""

    names: tuple[bytes, ...]  # of the tokens, by number

    def __len__(self) -> int:
        return len(self.names)

    def encode(self, text: str | bytes) -> list[int]:
        """Return a text's tokens, which only a vocabulary of bytes can tell.

        Raises:
            ValueError: another vocabulary.
        """
        if self != BYTE_VOCABULARY:
            raise ValueError(f"prompt {text!r} should be token numbers: only a model over bytes reads text")
        return list(text.encode() if isinstance(text, str) else text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text that tokens stand for; bytes that are no UTF-8 show as the replacement character."""
        return b"".join(self.names[token] for token in tokens).decode(errors="replace")


BYTE_VOCABULARY = Vocabulary(tuple(bytes([value]) for value in range(VOCABULARY)))


class Runner(Protocol):
    """A model and what it has read of each sequence of a batch."""

    vocabulary: Vocabulary
    context: int

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens that each sequence has read."""

    def start(self, batch: int, capacity: int) -> None:
        """Forget everything and make room.

        Args:
            batch: sequences.
            capacity: tokens that each will hold at most, all rows of a pass included.
        """

    def read(self, rows: Rows, parents: Rows | None = None) -> Floats:
        """Read new rows of each sequence in one pass and return the logits of the token after each row.

        Args:
            rows: tokens by sequence, none for a sequence that sits out.
            parents: the row above each row of a token tree, -1 for what was read before; None: one after another.

        Returns:
            shape (batch, most rows, vocabulary); rows beyond a sequence's own mean nothing.
        """

    def rewind(self, lengths: Sequence[int]) -> None:
        """Take back each sequence's last tokens, so that these lengths remain; none is shorter than at the last call.

        Args:
            lengths: tokens by sequence.
        """

    def keep(self, rows: Rows) -> None:
        """Keep of the last pass's rows those with these numbers, rising, and take back the others."""

    def only(self, sequences: Sequence[int]) -> None:
        """Go on with these sequences of the batch, in this order."""


class ByteRunner:
    """A byte model that reads sequences of unlike lengths in one pass, and token trees.

    Args:
        model: the weights.
        vocabulary: what its tokens stand for.
    """

    cache: RaggedCache
    hidden: Tensor  # of the last pass's rows, what MTP modules read, shape (batch, rows, hidden)

    def __init__(self, model: ByteModel, vocabulary: Vocabulary = BYTE_VOCABULARY) -> None:
        self.model = model.eval()
        self.vocabulary = vocabulary
        self.context = model.size.context

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens that each sequence has read."""
        return self.cache.lengths

    def start(self, batch: int, capacity: int) -> None:
        """Forget everything and make room; arguments as `Runner.start`'s."""
        self.cache = self.model.new_cache(batch, min(capacity, self.context))
        self.hidden = self.model.head.weight.new_zeros(batch, 0, self.model.size.hidden)

    @torch.inference_mode()
    def read(self, rows: Rows, parents: Rows | None = None) -> Floats:
        """Read new rows of each sequence and return logits; arguments and result as `Runner.read`'s."""
        tokens, counts = padded(rows)
        trees = None if parents is None else padded(parents, -1)[0].tolist()
        self.hidden = self.model.read(tokens, self.cache, counts, trees)
        logits: Floats = self.model.logits(self.hidden).numpy()
        return logits

    def rewind(self, lengths: Sequence[int]) -> None:
        """Take back each sequence's last tokens, so that these lengths remain."""
        self.cache.rewind(lengths)

    @torch.inference_mode()
    def keep(self, rows: Rows) -> None:
        """Keep of the last pass's rows those with these numbers, rising, and take back the others."""
        self.cache.keep(rows)
        for sequence, kept in enumerate(rows):
            if list(kept) != list(range(len(kept))):
                self.hidden[sequence, : len(kept)] = self.hidden[sequence, list(kept)]

    def only(self, sequences: Sequence[int]) -> None:
        """Go on with these sequences of the batch, in this order."""
        self.cache.only(sequences)
        self.hidden = self.hidden[list(sequences)]


def padded(rows: Rows, filling: int = 0) -> tuple[Tensor, list[int]]:
    """Return rows of unlike number as one tensor, (batch, most rows), and how many of each sequence are its own.

    Args:
        rows: whole numbers by sequence.
        filling: what stands after a sequence's own.
    """
    counts = [len(each) for each in rows]
    most = max(counts)
    filled = [[*each, *[filling] * (most - len(each))] for each in rows]
    return torch.tensor(filled, dtype=torch.long).view(len(rows), most), counts


class DecoderRunner:
    """A model of the catalog, one cache a sequence: attention of any kind takes its rows back exactly.

    Each sequence is a pass of its own, so a batch saves nothing here.

    Args:
        model: the weights.
        vocabulary: what its tokens stand for; None: numbers under the model's key, which fit no other model.
        context: tokens of a sequence; None: the longest that its maker offers.

    Raises:
        ValueError: names for another number of tokens than the model has.
    """

    caches: list[DecoderCache]

    def __init__(self, model: Decoder, vocabulary: Vocabulary | None = None, context: int | None = None) -> None:
        key, record = model.model.key, model.model.record
        self.model = model.eval()
        self.vocabulary = vocabulary or Vocabulary(tuple(f"<{key} {i}>".encode() for i in range(record.vocab)))
        if len(self.vocabulary) != record.vocab:
            raise ValueError(f"{len(self.vocabulary):,} names for the {record.vocab:,} tokens of {key}")
        self.context = record.context if context is None else context

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens that each sequence has read."""
        return [cache.length for cache in self.caches]

    def start(self, batch: int, capacity: int) -> None:
        """Forget everything and make room; arguments as `Runner.start`'s."""
        self.caches = [self.model.new_cache(1, capacity) for _ in range(batch)]
        self.capacity = capacity
        self._starts: Sequence[int] = [0] * batch  # tokens that each had read before the last pass
        self._open = [ExitStack() for _ in range(batch)]  # by sequence: while it is open, rows can be taken back

    @torch.inference_mode()
    def read(self, rows: Rows, parents: Rows | None = None) -> Floats:
        """Read new rows of each sequence and return logits; arguments and result as `Runner.read`'s.

        Raises:
            ValueError: a token tree, whose rows would have to be hidden from one another.
        """
        if parents is not None:
            raise ValueError("a model of the catalog reads a chain of tokens, not a token tree: draft a chain")
        self._starts = self.lengths
        logits = torch.zeros(len(rows), max(map(len, rows)), len(self.vocabulary), dtype=self.model.head.weight.dtype)
        for sequence, (tokens, cache) in enumerate(zip(rows, self.caches, strict=True)):
            if tokens:
                if cache.layers[0].reach is None:
                    self._open[sequence].enter_context(cache.rewindable(self.capacity - cache.length))
                logits[sequence, : len(tokens)] = self.model(torch.tensor([tokens]), cache)[0]
        return np.asarray(logits.float() if logits.dtype.itemsize < 4 else logits)

    def rewind(self, lengths: Sequence[int]) -> None:
        """Take back each sequence's last tokens, so that these lengths remain."""
        for cache, stack, length in zip(self.caches, self._open, lengths, strict=True):
            if cache.length != length:
                cache.rewind(length)
            stack.close()

    def keep(self, rows: Rows) -> None:
        """Keep of the last pass's rows the first ones of each sequence.

        Raises:
            ValueError: others than the first ones.
        """
        if any(list(kept) != list(range(len(kept))) for kept in rows):
            raise ValueError(f"rows {[list(kept) for kept in rows]} to keep should be each sequence's first ones")
        self.rewind([start + len(kept) for start, kept in zip(self._starts, rows, strict=True)])

    def only(self, sequences: Sequence[int]) -> None:
        """Go on with these sequences of the batch, in this order."""
        self.caches = [self.caches[each] for each in sequences]
        self._open = [self._open[each] for each in sequences]
        self._starts = [self._starts[each] for each in sequences]
