"""Where drafted tokens come from: a smaller model, MTP modules, the text itself, a counted table, or a token tree.

Each draft says with which law it drew its tokens, for the rule that accepts them depends on it: a token that was chosen
without chance (an argmax, a copy) has a one-hot law, whatever scores it was chosen by. What a draft has read it compares
with the text before each round, and forgets what was rejected; so it makes no difference whether a round accepted all,
some or none of its tokens, or drafted nothing at all.

Chapter: speculative
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.random import Generator

from costlab.arrays import Floats
from costlab.nn.speculative.model import MTP
from costlab.nn.speculative.runners import ByteRunner, Runner, padded

#: From logits (…, vocabulary) to the law that a token is drawn from.
Law = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Proposal:
    """What was drafted for one sequence."""

    tokens: Sequence[int]  # in order, or of a tree's nodes, parents first
    laws: Floats | None = None  # that each token was drawn from, (tokens, vocabulary); None: chosen without chance
    parents: Sequence[int] | None = None  # the node above each node of a tree, -1 for the root; None: a chain


NOTHING = Proposal(())


@dataclass
class Line:
    """What a draft sees of one sequence of the batch."""

    text: list[int]  # the prompt and what has been emitted
    room: int  # most tokens to draft in this round
    drawing: Generator  # the sequence's own stream of random numbers for drafts


class Draft(Protocol):
    """What proposes tokens."""

    rows: int  # of the target's pass beside that of the last token, at most
    steps: int  # passes of the draft's model so far

    def start(self, target: Runner, batch: int, capacity: int, law: Law | None) -> None:
        """Forget everything.

        Args:
            target: whose tokens are drafted.
            batch: sequences.
            capacity: tokens that each text can reach.
            law: how tokens are drawn from logits; None: the likeliest is taken.
        """

    def propose(self, lines: Sequence[Line]) -> list[Proposal]:
        """Return what each sequence should try next, at most `room` tokens deep."""

    def only(self, sequences: Sequence[int]) -> None:
        """Go on with these sequences of the batch, in this order."""


def drawn(laws: Floats, uniforms: Sequence[float]) -> list[int]:
    """Return one token from each law, shape (laws, vocabulary), by one uniform number in [0, 1) each."""
    sums = laws.cumsum(-1)
    found: list[int] = (sums <= np.asarray(uniforms)[:, None] * sums[:, -1:]).sum(-1).tolist()
    return found


def matching(drafted: Sequence[int], text: Sequence[int], start: int) -> int:
    """Return how many of the drafted tokens, from the first on, stand in the text from a place on."""
    count = 0
    for token, real in zip(drafted, text[start:], strict=False):
        if token != real:
            break
        count += 1
    return count
