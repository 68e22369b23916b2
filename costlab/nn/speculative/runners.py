"""Models that decode: rows in, logits out, and what was read can be taken back.

A runner is a model together with what it has read of each sequence of a batch. It is all that a decoding loop knows of
a model: lengths, a pass over new rows, and which of those rows stay. `ByteRunner` reads a whole batch in one pass,
whatever the lengths of its sequences; `DecoderRunner` runs any model of the catalog, one cache a sequence.

>>> import torch
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
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from costlab.arrays import Floats
from costlab.nn.decoder import Decoder, DecoderCache
from costlab.nn.speculative.cache import RaggedCache
from costlab.nn.speculative.model import VOCABULARY, ByteModel

Rows = Sequence[Sequence[int]]  # per sequence of a batch: new tokens, or numbers of rows


@dataclass(frozen=True)
class Vocabulary:
    """What each token stands for; two models decode together only where all of it is the same."""

    names: tuple[bytes, ...]  # of the tokens, by number

    def __len__(self) -> int:
        return len(self.names)

    @property
    def is_bytes(self) -> bool:
        """Whether each token is the byte of its number."""
        return self == BYTES

    def encode(self, text: str | bytes) -> list[int]:
        """Return a text's tokens; only a vocabulary of bytes can tell.

        Raises:
            ValueError: another vocabulary.
        """
        if not self.is_bytes:
            raise ValueError(f"{text!r} should be token numbers: only a model over bytes reads text")
        return list(text.encode() if isinstance(text, str) else text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text that tokens stand for; bytes that are no UTF-8 show as the replacement character."""
        return b"".join(self.names[token] for token in tokens).decode(errors="replace")

    def check_same(self, other: Vocabulary, whose: str) -> None:
        """Refuse another vocabulary, also one of equal size.

        Args:
            other: of a draft.
            whose: the word for it in the message.

        Raises:
            ValueError: naming the first token that differs.
        """
        if len(self) != len(other):
            raise ValueError(f"{whose} has {len(other):,} tokens, the target {len(self):,}: their numbers mean different things")
        for token, (mine, its) in enumerate(zip(self.names, other.names, strict=True)):
            if mine != its:
                raise ValueError(f"token {token} is {its!r} for {whose} and {mine!r} for the target")


BYTES = Vocabulary(tuple(bytes([value]) for value in range(VOCABULARY)))


class Runner(Protocol):
    """A model and what it has read of each sequence of a batch."""

    vocabulary: Vocabulary  # what its tokens stand for
    context: int  # tokens of a sequence that it can read

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens that each sequence has read."""

    def start(self, batch: int, capacity: int) -> None:
        """Forget everything and make room.

        Args:
            batch: sequences.
            capacity: tokens that each will hold at most, the rows of a pass included.
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
        """Take back each sequence's last tokens, so that these lengths remain."""

    def keep(self, rows: Rows) -> None:
        """Keep of the last pass's rows those with these numbers, rising, and take back the others."""

    def only(self, sequences: Sequence[int]) -> None:
        """Go on with these sequences of the batch, in this order."""


class ByteRunner:
    """A byte model that reads sequences of unlike lengths in one pass, and token trees.

    Args:
        model: the weights.
        vocabulary: what its tokens stand for; bytes, unless a test says otherwise.
    """

    cache: RaggedCache
    hidden: Tensor  # what the last pass's rows give to further heads, shape (batch, rows, width)

    def __init__(self, model: ByteModel, vocabulary: Vocabulary = BYTES) -> None:
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

    @torch.inference_mode()
    def read(self, rows: Rows, parents: Rows | None = None) -> Floats:
        """Read new rows of each sequence and return logits; arguments and result as `Runner.read`'s."""
        tokens, counts = padded(rows)
        trees = None if parents is None else padded(parents)[0].tolist()
        self.hidden = self.model.read(tokens, self.cache, counts, trees)
        return self.model.logits(self.hidden).numpy()

    def rewind(self, lengths: Sequence[int]) -> None:
        """Take back each sequence's last tokens, so that these lengths remain."""
        self.cache.rewind(lengths)

    def keep(self, rows: Rows) -> None:
        """Keep of the last pass's rows those with these numbers, rising, and take back the others."""
        self.cache.keep(rows)

    def only(self, sequences: Sequence[int]) -> None:
        """Go on with these sequences of the batch, in this order."""
        self.cache.only(sequences)


class DecoderRunner:
    """A model of the catalog, one cache a sequence: attention of any kind takes its rows back exactly.

    Each sequence is a pass of its own, so a batch saves nothing here.

    Args:
        model: the weights.
        vocabulary: what its tokens stand for; None: numbered by the model's key, so that only its own kind fits.
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
        self.capacity = capacity
        self.caches = [self.model.new_cache(1, capacity) for _ in range(batch)]
        self.open: list[ExitStack] = [ExitStack() for _ in range(batch)]  # where what was read can be taken back

    @torch.inference_mode()
    def read(self, rows: Rows, parents: Rows | None = None) -> Floats:
        """Read new rows of each sequence and return logits; arguments and result as `Runner.read`'s.

        Raises:
            ValueError: a token tree, whose rows would have to see some of one another only.
        """
        if parents is not None:
            raise ValueError("a model of the catalog reads rows one after another, not a token tree; draft a chain")
        logits = np.zeros((len(rows), max(map(len, rows)), len(self.vocabulary)), dtype=_floats_of(self.model))
        for sequence, tokens in enumerate(rows):
            if tokens:
                self._let_back(sequence)
                read = self.model(torch.tensor([tokens]), self.caches[sequence])  # (1, rows, vocabulary)
                logits[sequence, : len(tokens)] = read[0].numpy()
        return logits
