"""The parts of which a step's time is made: seconds by cause, shares of the peaks reached, experts visited.

Chapter: roofline
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

from costlab.arch import Flops, Model, MoE
from costlab.arrays import Floats
from costlab.checks import count

#: Bytes sent per activation element: FP8 to the experts, BF16 back (arXiv 2412.19437 sec. 3.2.2), BF16 in all-reduces.
DISPATCH_BYTES, COMBINE_BYTES, REDUCE_BYTES = 1.0, 2.0, 2.0

Number = TypeVar("Number", float, Floats)
Term = Literal["compute", "memory", "link"]


def share_of_experts_touched(experts: int, top_k: int, tokens: Number) -> Number:
    """Return the expected share of a layer's experts that so many tokens visit, each choosing evenly.

    Args:
        experts: E, routed experts of the layer.
        top_k: k, experts that a token visits.
        tokens: B, a number or an array of any shape.

    Source: 1 - (1 - k/E)^B; a token misses an expert with chance 1 - k/E, and tokens choose independently.
    """
    missed: Number = (1.0 - top_k / experts) ** tokens
    return 1.0 - missed


@dataclass(frozen=True)
class Efficiency:
    """The share of each peak that a real system reaches, each above 0 and at most 1; 1 is the roofline itself."""

    compute: float = 1.0  # share of the peak FLOP/s
    memory: float = 1.0  # share of the memory bandwidth
    link: float = 1.0  # share of the link and network bandwidth

    def __post_init__(self) -> None:
        for name in ("compute", "memory", "link"):
            share = getattr(self, name)
            if not 0 < share <= 1:
                raise ValueError(f"{name} efficiency should be above 0 and at most 1, got {share}")


@dataclass(frozen=True)
class Step:
    """Seconds of one step by cause, and the tokens it yields."""

    compute_s: float  # seconds of arithmetic
    memory_s: float  # seconds of reading weights and cache
    link_s: float  # seconds of sending between chips
    tokens: float  # that the step yields, on all chips
    overlap: bool = True  # whether the three hide behind one another
    fixed_s: float = 0.0  # seconds that hide behind none of the three: launches, scheduling, sampling
    cache_bytes: float = 0.0  # of its sequences on the fullest chip, which has to hold them beside the weights

    @property
    def terms(self) -> dict[Term, float]:
        """Seconds of each of the three parts."""
        return {"compute": self.compute_s, "memory": self.memory_s, "link": self.link_s}

    @property
    def seconds(self) -> float:
        """The longest part if they overlap, else the sum; and what is fixed."""
        return self.fixed_s + (max(self.terms.values()) if self.overlap else sum(self.terms.values()))

    @property
    def bound(self) -> Term:
        """The part that takes longest."""
        terms = self.terms
        return max(terms, key=lambda term: terms[term])

    @property
    def tokens_per_s(self) -> float:
        """Tokens of the whole deployment per second."""
        return self.tokens / self.seconds


@dataclass(frozen=True)
class Piece:
    """The part that some sequences have in a step: so many tokens of each, after others that are cached.

    A piece of a prompt attends in the form of prefill, and its output head runs once, for the last token. A piece that
    decodes attends in the form of decode, and its output head runs for each token: one, or several to be verified.
    """

    new: int  # tokens of each sequence that the step computes
    prefix: int = 0  # tokens of each before them, which are cached
    decoding: bool = False  # whether they are decoded (or verified), not read as a prompt
    sequences: int = 1  # how many sequences do the same

    @classmethod
    def decode(cls, context: int, sequences: int = 1, rows: int = 1) -> Piece:
        """Return a decode token of each sequence, or `rows` of them to be verified; the first one makes `context`.

        Raises:
            ValueError: a context, a number of sequences or of rows below 1.
        """
        return cls(count(rows, "rows"), count(context, "context") - 1, True, count(sequences, "sequences"))


class Work(NamedTuple):
    """What each of `batch` sequences does in a step: compute `new` tokens, move and keep cache on each chip."""

    batch: int  # sequences, in the whole deployment or on one replica
    new: int  # tokens of each that the step computes
    flops: Flops  # of a sequence
    moved_bytes: float  # of a sequence's cache, read or written on each chip of its replica
    kept_bytes: float  # of a sequence on each chip of its replica, when the step is done


def exchange_bytes(model: Model) -> float:
    """Return the bytes that a token sends to all experts that it visits and gets back from them."""
    hidden = model.record.hidden
    elements = sum(ffn.top_k * ffn.expert_width(hidden) for _, ffn in model.layers if isinstance(ffn, MoE))
    return elements * (DISPATCH_BYTES + COMBINE_BYTES)


def reduce_bytes(model: Model, group: int) -> float:
    """Return the bytes that a chip sends in the all-reduces of one token of each chip of a tensor-parallel group.

    A ring all-reduce sends 2 (T-1)/T of the data, after attention and after the feed-forward layer, where there are
    both, and after the embedding, whose vocabulary is split.
    """
    parts = sum(part.kind != "none" for layer in model.layers for part in layer)
    per_token = (parts + 1) * model.record.hidden * REDUCE_BYTES
    return per_token * 2 * (group - 1) / group * group
