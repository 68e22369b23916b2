"""The time of a step from a few running sums, in two microseconds: what a simulator asks millions of times."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from costlab.checks import count
from costlab.roofline.decoding import DecodeLoad, Line, StepLines
from costlab.roofline.layers import entries_between

#: A piece of a prompt: (tokens that the step reads, tokens before them that are cached or were read in earlier steps).
Chunk = tuple[int, int]
#: What a replica does in a step: its decoding sequences, and the pieces of prompts that it reads.
Rank = tuple[DecodeLoad, Sequence[Chunk]]


@dataclass(frozen=True)
class Experts:
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
    # (seconds, stride, cap) per key that the tokens of a piece read
    pairs: tuple[tuple[float, int, int | None], ...] = ()
    # (seconds, stride, cap) per entry that a prompt has after its piece
    held: tuple[tuple[float, int, int | None], ...] = ()
    sequence_s: float = 0.0  # per decoding sequence
    context_s: float = 0.0  # per token of context of the decoding sequences
    # of each bend: seconds per token and per sequence, of the sequences whose context is below it
    below: tuple[tuple[float, float], ...] = ()
    everyone_s: float = 0.0  # per token, those of all replicas together: the experts'
    experts: Experts | None = None  # that are read; None where none are

    def seconds(self, load: DecodeLoad, chunks: Sequence[Chunk], tokens: float) -> float:
        """Return the seconds of a step of a replica, where all replicas together compute so many tokens."""
        total = self.step_s + self.everyone_s * tokens
        if self.experts is not None:
            total += self.experts.seconds(tokens)
        if load.sequences:
            total += self.decode_step_s + load.sequences * self.sequence_s + load.context_tokens * self.context_s
            if self.below:
                for (token_s, sequence_s), bend in zip(self.below, load.bends, strict=True):
                    total += bend.tokens * token_s + bend.sequences * sequence_s
        if chunks:
            total += self.prefill_step_s
            for new, prefix in chunks:
                total += self.prompt_s + new * self.token_s + prefix * self.prefix_s
                for each_s, stride, cap in self.pairs:
                    total += each_s * entries_between(prefix, new, stride, cap)
                for each_s, stride, cap in self.held:
                    entries = (prefix + new) // stride
                    total += each_s * (entries if cap is None or entries < cap else cap)
        return total

    def line(self, load: DecodeLoad, tokens: float) -> Line:
        """Return the same for a step that only decodes, and by how much each later one takes longer."""
        slope = load.sequences * self.context_s
        if self.below:
            for (token_s, _), bend in zip(self.below, load.bends, strict=True):
                slope += bend.sequences * token_s
        return self.seconds(load, (), tokens), slope

    def over(self, replicas: int) -> Coefficients:
        """Return the same for a replica's share of what all replicas do."""
        shared = ("prompt_s", "token_s", "prefix_s", "sequence_s", "context_s")
        return dataclasses.replace(
            self,
            **{name: getattr(self, name) / replicas for name in shared},
            pairs=tuple((each_s / replicas, stride, cap) for each_s, stride, cap in self.pairs),
            held=tuple((each_s / replicas, stride, cap) for each_s, stride, cap in self.held),
            below=tuple((token_s / replicas, sequence_s / replicas) for token_s, sequence_s in self.below),
        )


#: A term that takes no time.
NOTHING = Coefficients()


@dataclass(frozen=True)
class StepCost:
    """Seconds of a step, from what the step does. All counts are those of one replica.

    What it takes for a step: a `DecodeLoad`, the running sums of the sequences that decode, and the pieces of prompts.
    Each step gives every decoding sequence one token. With speculation a round gives several, in the mean; a step is
    then that share of a round: times per token are right in the mean, the bursts of a round are not seen.
    """

    compute: Coefficients  # seconds of arithmetic
    memory: Coefficients = NOTHING  # seconds of reading memory
    link: Coefficients = NOTHING  # seconds of sending between chips
    fixed_s: float = 0.0  # seconds of each pass that hide behind nothing
    overlap: bool = True  # whether the three hide behind one another
    bends: tuple[int, ...] = ()  # contexts in tokens from which on some layers' decode reads grow no more
    rows: int = 1  # tokens of a decoding sequence that a pass computes, more than one where drafts are verified
    drafts: tuple[StepCost, ...] = ()  # passes of the drafter before each pass that verifies
    round_tokens: float = 1.0  # that a decoding sequence gains by a pass, in the mean; from 1 to rows
    # (decoding sequences, cost): from so many on that cost holds; rising
    larger: tuple[tuple[int, StepCost], ...] = ()

    # --- constructors ------------------------------------------------------------------------------------------

    @classmethod
    def fixed(cls, prefill_s: float, decode_s: float) -> StepCost:
        """Return constant times: of a step that reads prompts, and of one that decodes; one that does both takes both.

        Raises:
            ValueError: a time that is negative or not finite.
        """
        return cls.linear(prefill_step_s=prefill_s, decode_step_s=decode_s)

    @classmethod
    def linear(
        cls,
        step_s: float = 0.0,
        *,
        prefill_step_s: float = 0.0,
        decode_step_s: float = 0.0,
        token_s: float = 0.0,
        pair_s: float = 0.0,
        prefix_s: float = 0.0,
        prompt_s: float = 0.0,
        sequence_s: float = 0.0,
        context_s: float = 0.0,
    ) -> StepCost:
        """Return a measured table: seconds of a step as a sum.

        Args:
            step_s: of every step.
            prefill_step_s: of a step that reads prompts.
            decode_step_s: of a step that decodes.
            token_s: per token read of a prompt.
            pair_s: per query of a prompt and key that it reads, itself among them: n tokens have n(n+1)/2.
            prefix_s: per token before a piece of a prompt.
            prompt_s: per piece of a prompt.
            sequence_s: per decoding sequence.
            context_s: per token of context of the decoding sequences.

        Raises:
            ValueError: a time that is negative or not finite.
        """
        given = {name: value for name, value in locals().items() if name.endswith("_s")}
        for name, value in given.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} = {value!r} should be a finite number of at least 0")
        pair = given.pop("pair_s")
        return cls(Coefficients(**given, pairs=((pair, 1, None),) if pair else ()))

    def over(self, replicas: int) -> StepCost:
        """Return the cost of so many replicas taken as one, on which all work lies in equal parts.

        The best that a balancer can do: no replica waits for another. A prompt too counts as spread over all replicas,
        so at least as many prompts as replicas should be read at once, or the time is too short.

        Raises:
            ValueError: replicas below 1.
        """
        count(replicas, "replicas")
        return dataclasses.replace(
            self,
            compute=self.compute.over(replicas),
            memory=self.memory.over(replicas),
            link=self.link.over(replicas),
            drafts=tuple(draft.over(replicas) for draft in self.drafts),
            larger=tuple((least, cost.over(replicas)) for least, cost in self.larger),
        )

    # --- a step ------------------------------------------------------------------------------------------------

    def load(self) -> DecodeLoad:
        """Return the running sums of a replica that decodes nothing yet."""
        return DecodeLoad(self.bends)

    def seconds(self, load: DecodeLoad, chunks: Sequence[Chunk] = ()) -> float:
        """Return the seconds of a step of one replica: one token of each decoding sequence, and pieces of prompts.

        Args:
            load: the sequences that decode.
            chunks: (new tokens, tokens before them) of each prompt of which a piece is read.
        """
        return self.seconds_of(((load, chunks),))

    def seconds_of(self, ranks: Sequence[Rank]) -> float:
        """Return the seconds of a step of several replicas at once, those of the slowest.

        Args:
            ranks: what each replica does, as `seconds` takes it.
        """
        cost = self._at(max(load.sequences for load, _ in ranks)) if self.larger else self
        if cost.rows == 1:
            return cost._pass_s(ranks)
        alone: list[Rank] = [(load, ()) for load, _ in ranks]
        if not any(load.sequences for load, _ in ranks):
            return cost._pass_s(ranks)
        verify_s = cost._pass_s(alone)
        drafts_s = sum(draft._pass_s(alone) for draft in cost.drafts)
        return (verify_s + drafts_s) / cost.round_tokens + cost._pass_s(ranks) - verify_s

    def lines(self, *loads: DecodeLoad) -> StepLines:
        """Return the seconds of the coming steps that only decode, up to the next bend of any load.

        Args:
            loads: of each replica.
        """
        cost = self._at(max(load.sequences for load in loads)) if self.larger else self
        if cost.rows == 1:
            return StepLines((cost._pass_lines(loads),))
        passes = [draft._pass_lines(loads) for draft in (*cost.drafts, cost)]
        share = 1 / cost.round_tokens
        return StepLines(tuple(tuple((base * share, slope * share) for base, slope in each) for each in passes))

    def _at(self, sequences: int) -> StepCost:
        """The cost that holds for so many decoding sequences."""
        found = self
        for least, cost in self.larger:
            if sequences >= least:
                found = cost
        return found

    @functools.cached_property
    def _terms(self) -> tuple[Coefficients, ...]:
        """Those of the three that take any time."""
        terms = (self.compute, self.memory, self.link)
        return tuple(term for term in terms if any(each for each in dataclasses.astuple(term))) or terms[:1]

    def _pass_s(self, ranks: Sequence[Rank]) -> float:
        tokens = 0
        for load, chunks in ranks:
            tokens += self.rows * load.sequences
            for new, _ in chunks:
                tokens += new
        slowest = 0.0
        for load, chunks in ranks:
            if self.overlap:
                for term in self._terms:
                    taken = term.seconds(load, chunks, tokens)
                    if taken > slowest:
                        slowest = taken
            else:
                slowest = max(slowest, sum(term.seconds(load, chunks, tokens) for term in self._terms))
        return self.fixed_s + slowest

    def _pass_lines(self, loads: Sequence[DecodeLoad]) -> tuple[Line, ...]:
        tokens = self.rows * sum([load.sequences for load in loads])
        found: list[Line] = []
        for load in loads:
            lines = [term.line(load, tokens) for term in self._terms]
            if not self.overlap:
                lines = [(sum(base for base, _ in lines), sum(slope for _, slope in lines))]
            found += lines
        return tuple([(self.fixed_s + base, slope) for base, slope in found])


__all__ = ["Chunk", "Coefficients", "Experts", "Rank", "StepCost"]
