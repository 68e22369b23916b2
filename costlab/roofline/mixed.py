"""The time of a step from a few running sums, in two microseconds: what a simulator asks millions of times.

Chapter: serving
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from costlab.checks import count
from costlab.roofline.coefficients import NO_TIME, Chunk, Coefficients
from costlab.roofline.decoding import DecodeLoad, StepLine, in_turn, lead
from costlab.roofline.layers import Reads

#: Seconds of a term in a step that decodes, per sequence, and per token of context.
_DecodeTerm = tuple[float, float, float]
#: What a replica does in a step: its decoding sequences, and the pieces of prompts that it reads.
RankWork = tuple[DecodeLoad, Sequence[Chunk]]


@dataclass(frozen=True)
class StepCost:
    """Seconds of a step, from what the step does. All counts are those of one replica.

    What it takes for a step: a `DecodeLoad`, the running sums of the sequences that decode, and the pieces of prompts.
    Each step gives every decoding sequence one token. With speculation a round gives several, in the mean; a step is
    then that share of a round: times per token are right in the mean, the bursts of a round are not seen.
    """

    compute: Coefficients  # seconds of arithmetic
    memory: Coefficients = NO_TIME  # seconds of reading memory
    link: Coefficients = NO_TIME  # seconds of sending between chips
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
        return cls(Coefficients(**given, pairs=((pair, 1, None, False),) if pair else ()))

    def over(self, replicas: int) -> StepCost:
        """Return the cost of so many replicas taken as one, on which all work lies in equal parts.

        The best that a balancer can do: no replica waits for another. A prompt too counts as spread over all replicas,
        so at least as many prompts as replicas should be read at once, or the time is too short.

        Raises:
            ValueError: replicas below 1.
        """
        count(replicas, "replicas")
        return self._each(lambda term: term.over(replicas), lambda cost: cost.over(replicas))

    def alike(self, replicas: float) -> StepCost:
        """Return the cost of a step of which all replicas do the same, from what one of them does.

        Args:
            replicas: how many; with a part of one, where the others do less or more than it.
        """
        return self._each(lambda term: term.alike(replicas), lambda cost: cost.alike(replicas))

    def scaled(self, factor: float) -> StepCost:
        """Return the same with all times longer by a factor.

        Raises:
            ValueError: a factor that is not above 0 and finite.
        """
        if not 0 < factor < math.inf:
            raise ValueError(f"factor = {factor!r} should be above 0 and finite")
        scaled = self._each(lambda term: term.scaled(factor), lambda cost: cost.scaled(factor))
        return dataclasses.replace(scaled, fixed_s=self.fixed_s * factor)

    def _each(self, term: Callable[[Coefficients], Coefficients], cost: Callable[[StepCost], StepCost]) -> StepCost:
        """The same with each of its terms, and each of the costs that it holds, changed."""
        return dataclasses.replace(
            self,
            compute=term(self.compute),
            memory=term(self.memory),
            link=term(self.link),
            drafts=tuple(cost(draft) for draft in self.drafts),
            larger=tuple((least, cost(each)) for least, each in self.larger),
        )

    # --- a step ------------------------------------------------------------------------------------------------

    def load(self) -> DecodeLoad:
        """Return the running sums of a replica that decodes nothing yet."""
        return DecodeLoad(self.bends)

    def mean_load(self, sequences: float, context: float) -> DecodeLoad:
        """Return the sums of sequences that all are at one context; both may be means, which no step changes.

        Raises:
            ValueError: a number that is negative or not finite.
        """
        load = self.load()
        for name, value in (("sequences", sequences), ("context", context)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} = {value!r} should be a finite number of at least 0")
        # counts elsewhere, means here
        load.sequences, load.context_tokens = sequences, sequences * context  # type: ignore[assignment]
        for bend in load.bends:
            if context < bend.limit:
                bend.sequences, bend.tokens = sequences, sequences * context  # type: ignore[assignment]
        return load

    def seconds(self, load: DecodeLoad, chunks: Sequence[Chunk] = ()) -> float:
        """Return the seconds of a step of one replica: one token of each decoding sequence, and pieces of prompts.

        Args:
            load: the sequences that decode.
            chunks: (new tokens, tokens before them) of each prompt of which a piece is read.
        """
        return self.seconds_of(((load, chunks),))

    def seconds_of(self, ranks: Sequence[RankWork]) -> float:
        """Return the seconds of a step of several replicas at once, those of the slowest.

        Args:
            ranks: what each replica does, as `seconds` takes it.
        """
        cost = self._at(max(load.sequences for load, _ in ranks)) if self.larger else self
        if cost.rows == 1:
            return cost._pass_s(ranks)
        alone: list[RankWork] = [(load, ()) for load, _ in ranks]
        if not any(load.sequences for load, _ in ranks):
            return cost._pass_s(ranks)
        verify_s = cost._pass_s(alone)
        drafts_s = sum(draft._pass_s(alone) for draft in cost.drafts)
        return (verify_s + drafts_s) / cost.round_tokens + cost._pass_s(ranks) - verify_s

    def lines_of(self, ranks: Sequence[RankWork]) -> list[StepLine]:
        """Return the lines of the coming steps, each of which reads the next pieces of the same prompts.

        A step takes the largest of them. They hold up to the next bend of any load; with pieces of prompts for the
        first step, and for later ones where the cost is `even`.

        Args:
            ranks: what each replica does, as `seconds_of` takes it.
        """
        cost = self._at(max([load.sequences for load, _ in ranks])) if self.larger else self
        if not cost.drafts and cost.round_tokens == 1:
            return cost._pass_lines(ranks)
        if any(chunks for _, chunks in ranks):
            return [(cost.seconds_of(ranks), 0.0)]
        return in_turn([each._pass_lines(ranks) for each in (*cost.drafts, cost)], 1 / cost.round_tokens)

    def leading(self, load: DecodeLoad, chunks: Sequence[Chunk], steps: int) -> tuple[int, float, float]:
        """Return how many of one replica's next steps lie on one line, their first seconds and their rise.

        Args:
            load: the sequences that decode.
            chunks: of prompts, of which each step reads the next.
            steps: how many at most, from 1; 1 with chunks where the cost is not `even`.
        """
        if chunks or not self._plain:
            return self._leading(load, chunks, steps)
        sequences, context = load.sequences, load.context_tokens
        (first_s, each_s, token_s), flatter = self._steepest
        ahead_s = first_s + each_s * sequences + token_s * context
        for first, each, token in flatter:
            if first + each * sequences + token * context > ahead_s:
                return self._leading(load, chunks, steps)
        return steps, ahead_s, token_s * sequences  # what leads now and rises most leads to the end

    def _leading(self, load: DecodeLoad, chunks: Sequence[Chunk], steps: int) -> tuple[int, float, float]:
        return lead(self._rank_lines(load, chunks) if self._simple else self.lines_of(((load, chunks),)), steps)

    @functools.cached_property
    def _simple(self) -> bool:
        """Whether a step of one replica takes the longest of its terms."""
        return self.overlap and not self.larger and not self.drafts and self.round_tokens == 1

    @functools.cached_property
    def _plain(self) -> bool:
        """Whether, too, the terms of a replica that decodes are plain sums of what it does."""
        return self._simple and not any(term.experts or term.below for term in self._terms)

    @functools.cached_property
    def _steepest(self) -> tuple[_DecodeTerm, list[_DecodeTerm]]:
        """Of a step that decodes, the term that grows most with the contexts, and those that may be longer yet."""
        rows = [(first, each, token) for first, each, token, *_ in self._rows[True, False]]
        steepest = max(rows, key=lambda row: (row[2], row))
        return steepest, [row for row in rows if any(mine > its for mine, its in zip(row, steepest, strict=True))]

    @functools.cached_property
    def even(self) -> bool:
        """Whether `lines_of` holds for later steps that read equal pieces of prompts."""
        costs = (self, *(cost for _, cost in self.larger))
        simple = all(not cost.drafts and cost.round_tokens == 1 for cost in costs)
        return simple and all(term.even for cost in costs for term in cost._terms)

    def _at(self, sequences: float) -> StepCost:
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
        return tuple(term for term in terms if term != NO_TIME) or terms[:1]

    def _pass_s(self, ranks: Sequence[RankWork]) -> float:
        return max([first for first, _ in self._pass_lines(ranks)])

    def _pass_lines(self, ranks: Sequence[RankWork]) -> list[StepLine]:
        """Each replica's terms, or their sum: seconds of the next step, and by how much each later one rises."""
        tokens = [self.rows * load.sequences + sum([new for new, _ in chunks]) for load, chunks in ranks]
        everyone = sum(tokens)
        spared = [sum([new - 1 for new, _ in chunks]) for _, chunks in ranks] if self._skips else None
        found: list[StepLine] = []
        for i, ((load, chunks), own) in enumerate(zip(ranks, tokens, strict=True)):
            lines = self._rank_lines(load, chunks, everyone - own, sum(spared) - spared[i] if spared else 0)
            found += lines if self.overlap else [(sum([a for a, _ in lines]), sum([b for _, b in lines]))]
        return found

    def _rank_lines(
        self, load: DecodeLoad, chunks: Sequence[Chunk], others: float = 0.0, spared: float = 0.0
    ) -> list[StepLine]:
        """Each term of a replica beside replicas that compute so many tokens together, `spared` not in every layer."""
        sequences, context, count = load.sequences, load.context_tokens, len(chunks)
        new, before, pairs, squares = _sums(chunks) if chunks else (0, 0, 0.0, 0)
        lines = [
            (a + b * sequences + c * context + d * count + e * new + f * before + g * pairs,
             c * sequences + f * new + g * squares)
            for a, b, c, d, e, f, g in self._rows[sequences > 0, count > 0]
        ]  # fmt: skip
        return self._with_rest(lines, load, chunks, others, spared) if others or self._rest else lines

    def _with_rest(
        self, lines: Sequence[StepLine], load: DecodeLoad, chunks: Sequence[Chunk], others: float, spared: float
    ) -> list[StepLine]:
        """The same terms with what is no plain sum of one replica's: others' tokens, experts, uneven reads."""
        everyone = others + self.rows * load.sequences + sum([new for new, _ in chunks])
        found = []
        for (first, rise), term in zip(lines, self._terms, strict=True):
            first += term.everyone_s * (others - term.skipped * spared) + term.uneven_s(chunks)
            if term.experts is not None:
                first += term.experts.seconds(everyone)
            for (token_s, start_s), bend in zip(term.below, load.bends, strict=False):
                first += bend.tokens * token_s + bend.sequences * start_s
                rise += bend.sequences * token_s
            found.append((first, rise))
        return found

    @functools.cached_property
    def _skips(self) -> bool:
        """Whether prompts' tokens visit the experts of some layers only."""
        return any(term.skipped for term in self._terms)

    @functools.cached_property
    def _rest(self) -> bool:
        """Whether some term is more than a plain sum of what a replica does."""
        return any(not term.even or term.experts or term.below for term in self._terms)

    @functools.cached_property
    def _rows(self) -> dict[tuple[bool, bool], list[tuple[float, ...]]]:
        """Each term's coefficients in a step, by whether it decodes and whether it reads prompts.

        Seconds of the step, per sequence, per token of context, per piece, per new token, per token before, per pair.
        """
        found: dict[tuple[bool, bool], list[tuple[float, ...]]] = {}
        for decodes, reads in itertools.product((False, True), repeat=2):
            found[decodes, reads] = [
                (
                    (self.fixed_s if self.overlap or not i else 0.0)  # in each term, or in the first of a sum
                    + term.step_s + decodes * term.decode_step_s + reads * term.prefill_step_s,
                    term.sequence_s + self.rows * term.everyone_s, term.context_s,
                    term.prompt_s + term.skipped * term.everyone_s,
                    term.token_s + (1 - term.skipped) * term.everyone_s + _uncapped(term.held),
                    term.prefix_s + _uncapped(term.held),
                    _uncapped(term.pairs),
                )
                for i, term in enumerate(self._terms)
            ]  # fmt: skip
        return found


def _uncapped(reads: Reads) -> float:
    """The seconds of those reads that are neither strided nor capped."""
    return sum([each_s for each_s, *kind in reads if kind == [1, None, False]])


def _sums(chunks: Sequence[Chunk]) -> tuple[int, int, float, int]:
    """(new tokens, tokens before them, query-key pairs, squares of the new tokens) of all pieces."""
    if len(chunks) == 1:  # as almost always
        ((new, prefix),) = chunks
        return new, prefix, new * (2 * prefix + new + 1) / 2, new * new
    tokens = before = pairs = squares = 0
    for new, prefix in chunks:
        tokens += new
        before += prefix
        pairs += new * (2 * prefix + new + 1)
        squares += new * new
    return tokens, before, pairs / 2, squares
