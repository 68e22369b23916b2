"""One of a step's times as a sum over what a replica does: so many seconds a token, a prompt, a sequence."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from costlab.roofline.layers import Reads, entries_between, entries_there

#: A piece of a prompt: (tokens that the step reads, tokens before them that are cached or were read in earlier steps).
Chunk = tuple[int, int]


@dataclass(frozen=True)
class ExpertReads:
    """Seconds of reading the routed experts that a step visits, at least one a chip."""

    held: int  # experts of each layer on a chip
    missed: float  # chance that a token does not visit an expert
    each_s: float  # seconds of one expert of every layer

    def seconds(self, tokens: float) -> float:
        """Return the seconds for so many tokens of all replicas together."""
        return max(1.0, self.held * (1.0 - math.pow(self.missed, tokens))) * self.each_s


@dataclass(frozen=True)
class Coefficients:
    """One of the three times of a step (compute, memory, link) as a sum over what a replica does, in seconds."""

    step_s: float = 0.0  # of every step
    prefill_step_s: float = 0.0  # of a step that reads prompts
    decode_step_s: float = 0.0  # of a step that decodes
    prompt_s: float = 0.0  # of each prompt of which a piece is read
    token_s: float = 0.0  # per token read of prompts
    prefix_s: float = 0.0  # per token before a piece
    pairs: Reads = ()  # per key that the tokens of a piece read
    held: Reads = ()  # per entry that a prompt has after its piece
    sequence_s: float = 0.0  # per decoding sequence
    context_s: float = 0.0  # per token of context of the decoding sequences
    # of each bend: seconds per token and per sequence, of the sequences whose context is below it
    below: tuple[tuple[float, float], ...] = ()
    everyone_s: float = 0.0  # per token, those of all replicas together: the experts'
    skipped: float = 0.0  # share of `everyone_s` that only the last token of a prompt's piece takes, 0 to 1
    experts: ExpertReads | None = None  # that are read; None where none are

    def uneven_s(self, chunks: Sequence[Chunk]) -> float:
        """Return the seconds that pieces of prompts add by reads that are capped or strided."""
        total = 0.0
        for new, prefix in chunks:
            for each_s, stride, cap, restarts in self.pairs:
                if stride > 1 or cap is not None:
                    total += each_s * entries_between(prefix, new, stride, cap, restarts)
            for each_s, stride, cap, restarts in self.held:
                if stride > 1 or cap is not None:
                    total += each_s * entries_there(prefix + new, stride, cap, restarts)
        return total

    @property
    def even(self) -> bool:
        """Whether equal pieces of a prompt, one after the other, take evenly longer: nothing is capped or strided."""
        return all(kind == [1, None, False] for _, *kind in (*self.pairs, *self.held))

    def over(self, replicas: int) -> Coefficients:
        """Return the same for a replica's share of what all replicas do."""
        return self._times(1 / replicas, ("prompt_s", "token_s", "prefix_s", "sequence_s", "context_s"))

    def alike(self, replicas: float) -> Coefficients:
        """Return the same with each token counted for as many as there are replicas, where those of all count."""
        experts = self.experts and dataclasses.replace(self.experts, missed=self.experts.missed**replicas)
        return dataclasses.replace(self, everyone_s=self.everyone_s * replicas, experts=experts)

    def scaled(self, factor: float) -> Coefficients:
        """Return the same with all times longer by a factor."""
        experts = self.experts and dataclasses.replace(self.experts, each_s=self.experts.each_s * factor)
        names = [each.name for each in dataclasses.fields(self) if each.name.endswith("_s")]
        return dataclasses.replace(self._times(factor, names), experts=experts)

    def _times(self, factor: float, names: Iterable[str]) -> Coefficients:
        return dataclasses.replace(
            self,
            **{name: getattr(self, name) * factor for name in names},
            pairs=_longer(self.pairs, factor),
            held=_longer(self.held, factor),
            below=tuple((token_s * factor, sequence_s * factor) for token_s, sequence_s in self.below),
        )


def _longer(reads: Reads, factor: float) -> Reads:
    return tuple((each_s * factor, stride, cap, restarts) for each_s, stride, cap, restarts in reads)


#: A term that takes no time.
NO_TIME = Coefficients()
