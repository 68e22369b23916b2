"""The time of a step from a few running sums, in a microsecond: what a simulator asks millions of times.

`Deployment.batch_step` counts a step exactly, in a tenth of a millisecond a piece. `step_cost` compiles the same into
coefficients, of which `StepCost` makes seconds; a measured table enters as the same type.

>>> from costlab import roofline
>>> from costlab.roofline import mixed
>>> node = roofline.deployment("llama-3.1-70b", "h100-sxm", 4, tensor_parallel=4)
>>> cost = mixed.step_cost(node)
>>> load = cost.load()
>>> for context in (1000, 2000, 3000):
...     load.add(context)
>>> exact = node.batch_step([roofline.Piece.decode(c) for c in (1000, 2000, 3000)] + [roofline.Piece(512, 256)])
>>> abs(cost.seconds(load, [(512, 256)]) / exact.seconds - 1) < 1e-12
True
>>> lines = cost.lines(load)  # of decode steps from here on
>>> abs(lines.total(100) / sum(lines.at(step) for step in range(100)) - 1) < 1e-12
True
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from costlab.checks import count
from costlab.roofline.decoding import DecodeLoad, StepLines
from costlab.roofline.deployments import Deployment
from costlab.roofline.layers import entries_between

#: A piece of a prompt: (tokens that the step reads, tokens before them that are cached or were read in earlier steps).
Chunk = tuple[int, int]


@dataclass(frozen=True)
class Coefficients:
    """One of the three times of a step (compute, memory, link) as a sum over what a replica does, in seconds."""

    step_s: float = 0.0  # of every step
    prompts_s: float = 0.0  # of a step that reads prompts
    decode_s: float = 0.0  # of a step that decodes
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

    def decode(self, load: DecodeLoad) -> float:
        """Return the seconds that the decoding sequences add."""
        total = load.sequences * self.sequence_s + load.context_tokens * self.context_s
        for (token_s, sequence_s), bend in zip(self.below, load.bends, strict=True):
            total += bend.tokens * token_s + bend.sequences * sequence_s
        return total

    def slope(self, load: DecodeLoad) -> float:
        """Return the seconds by which the next decode step takes longer."""
        slope = load.sequences * self.context_s
        for (token_s, _), bend in zip(self.below, load.bends, strict=True):
            slope += bend.sequences * token_s
        return slope

    def prompt(self, new: int, prefix: int) -> float:
        """Return the seconds that a piece of a prompt adds."""
        total = self.prompt_s + new * self.token_s + prefix * self.prefix_s
        for each_s, stride, cap in self.pairs:
            total += each_s * entries_between(prefix, new, stride, cap)
        for each_s, stride, cap in self.held:
            entries = (prefix + new) // stride
            total += each_s * (entries if cap is None or entries < cap else cap)
        return total


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
class StepCost:
    """Seconds of a step, from what the step does. All counts are those of one replica.

    What it takes for a step: a `DecodeLoad`, the running sums of the sequences that decode, and the pieces of prompts.
    """

    compute: Coefficients  # seconds of arithmetic
    memory: Coefficients = Coefficients()  # seconds of reading memory, without experts
    link: Coefficients = Coefficients()  # seconds of sending between chips
    experts: Experts | None = None  # that memory reads; None for a model without, or a table
    fixed_s: float = 0.0  # seconds of each step that hide behind nothing
    overlap: bool = True  # whether the three hide behind one another
    bends: tuple[int, ...] = ()  # contexts in tokens from which on some layers' decode reads grow no more
    rows: int = 1  # tokens of a decoding sequence that a step computes, more than one where drafts are verified
    # (decoding sequences, cost): from so many on that cost holds; rising
    larger: tuple[tuple[int, StepCost], ...] = ()

    # --- constructors ------------------------------------------------------------------------------------------

    @classmethod
    def fixed(cls, prefill_s: float, decode_s: float) -> StepCost:
        """Return constant times: of a step that reads prompts, and of one that decodes; one that does both takes both.

        Raises:
            ValueError: a time that is negative or not finite.
        """
        return cls.linear(prompts_s=prefill_s, decode_s=decode_s)

    @classmethod
    def linear(
        cls,
        step_s: float = 0.0,
        *,
        prompts_s: float = 0.0,
        decode_s: float = 0.0,
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
            prompts_s: of a step that reads prompts.
            decode_s: of a step that decodes.
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
        pairs = ((given.pop("pair_s"), 1, None),) if pair_s else ()
        given.pop("pair_s", None)
        return cls(Coefficients(**given, pairs=pairs))

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
        return self.seconds_of([(load, chunks)])

    def seconds_of(self, ranks: Sequence[tuple[DecodeLoad, Sequence[Chunk]]]) -> float:
        """Return the seconds of a step of several replicas at once, those of the slowest.

        Args:
            ranks: what each replica does, as `seconds` takes it.
        """
        sequences = max(load.sequences for load, _ in ranks)
        cost = self._at(sequences)
        everyone = sum(self.rows * load.sequences + sum(new for new, _ in chunks) for load, chunks in ranks)
        shared = cost._shared(everyone)
        return cost.fixed_s + max(cost._replica_s(load, chunks, shared) for load, chunks in ranks)

    def lines(self, *loads: DecodeLoad) -> StepLines:
        """Return the seconds of the coming steps that only decode, up to the next bend of any load.

        Args:
            loads: of each replica.
        """
        cost = self._at(max(load.sequences for load in loads))
        shared = cost._shared(self.rows * sum(load.sequences for load in loads))
        return StepLines(tuple(line for load in loads for line in cost._replica_lines(load, shared)))

    def _at(self, sequences: int) -> StepCost:
        """The cost that holds for so many decoding sequences."""
        found = self
        for least, cost in self.larger:
            if sequences >= least:
                found = cost
        return found

    @property
    def _terms(self) -> tuple[Coefficients, Coefficients, Coefficients]:
        return self.compute, self.memory, self.link

    def _shared(self, tokens: float) -> tuple[float, float, float]:
        """Seconds of the three terms that all replicas have alike in a step of so many tokens together."""
        read_s = self.experts.seconds(tokens) if self.experts else 0.0
        return (
            self.compute.step_s + self.compute.everyone_s * tokens,
            self.memory.step_s + read_s,
            self.link.step_s + self.link.everyone_s * tokens,
        )

    def _replica_s(self, load: DecodeLoad, chunks: Sequence[Chunk], shared: tuple[float, float, float]) -> float:
        times = []
        for term, base in zip(self._terms, shared, strict=True):
            total = base
            if load.sequences:
                total += term.decode_s + term.decode(load)
            if chunks:
                total += term.prompts_s
                for new, prefix in chunks:
                    total += term.prompt(new, prefix)
            times.append(total)
        return max(times) if self.overlap else sum(times)

    def _replica_lines(self, load: DecodeLoad, shared: tuple[float, float, float]) -> list[tuple[float, float]]:
        lines = [
            (base + term.decode_s + term.decode(load), term.slope(load))
            for term, base in zip(self._terms, shared, strict=True)
        ]
        if not self.overlap:
            lines = [(sum(base for base, _ in lines), sum(slope for _, slope in lines))]
        return [(self.fixed_s + base, slope) for base, slope in lines]


# --- compiled from a deployment ----------------------------------------------------------------------------------


def step_cost(deployment: Deployment, rows: int = 1) -> StepCost:
    """Return the coefficients of a deployment's steps.

    Seconds are those of `Deployment.batch_step` up to rounding, but for decode reads of compressed entries: there the
    last, open block is counted by its mean, half a block, so that reads grow steadily from step to step.

    Args:
        deployment: of which one replica, or several at once, takes steps.
        rows: tokens of each decoding sequence that a step computes: 1, or a draft's length + 1 to verify it.

    Raises:
        ValueError: rows below 1.
    """
    rows = count(rows, "rows")
    reads = _Reads(rows)
    compute = _compute(deployment, rows, reads)
    memory = _memory(deployment, reads)
    bends = tuple(sorted(reads.bends))
    nothing = ((0.0, 0.0),) * len(bends)
    link = Coefficients(token_s=deployment.sent_s, sequence_s=rows * deployment.sent_s, below=nothing)
    return StepCost(
        reads.into(compute, "compute", bends),
        reads.into(memory, "memory", bends),
        link,
        experts=_experts(deployment),
        fixed_s=deployment.fixed_s,
        overlap=deployment.overlap,
        bends=bends,
        rows=rows,
    )


class _Reads:
    """What decode reads cost, gathered into a part that grows for ever and parts that stop at a bend."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.bends: set[int] = set()
        self.sequence_s: defaultdict[str, float] = defaultdict(float)
        self.context_s: defaultdict[str, float] = defaultdict(float)
        self.below: defaultdict[tuple[str, int], list[float]] = defaultdict(lambda: [0.0, 0.0])

    def add(self, term: str, each_s: float, stride: int, most: int | None, ahead: float, times: int) -> None:
        """Add `times` queries whose middle is `ahead` tokens beyond the context, each reading up to `most` entries."""
        token_s = each_s * times / stride
        start_s = token_s * (ahead - (stride - 1) / 2)  # an open block is half full in the mean
        if most is None:
            self.context_s[term] += token_s
            self.sequence_s[term] += start_s
            return
        bend = math.ceil(most * stride - ahead)
        full_s = each_s * times * most
        self.bends.add(bend)
        self.sequence_s[term] += full_s
        self.below[term, bend][0] += token_s
        self.below[term, bend][1] += start_s - full_s

    def into(self, term: Coefficients, name: str, bends: Sequence[int]) -> Coefficients:
        """Return a term with its decode reads."""
        below = tuple((token_s, sequence_s) for token_s, sequence_s in (self.below[name, bend] for bend in bends))
        sequence_s = term.sequence_s + self.sequence_s[name]
        return dataclasses.replace(term, sequence_s=sequence_s, context_s=self.context_s[name], below=below)


def _compute(node: Deployment, rows: int, reads: _Reads) -> Coefficients:
    model, flop_s = node.model, node.flop_s
    each_s = {name: 2.0 * n * flop_s[name] for name, n in model.params.active_by_component.items()}
    experts_s = each_s.pop("experts", 0.0) / node.balance
    head_s = each_s.pop("head")
    pairs: defaultdict[tuple[int, int | None], float] = defaultdict(float)
    prefix_s = 0.0
    for attention, layers in model.attention_counts.items():
        prefix_s += layers * attention.reexpansion_flops() * flop_s.get("latent_up", 0.0)
        for read in attention.reads("prefill"):
            entries = read.entries
            pairs[entries.stride, entries.cap] += layers * read.flops_per_entry * flop_s[read.component]
        for read in attention.reads("decode"):
            query_s = layers * read.flops_per_entry * flop_s[read.component]
            reads.add("compute", query_s, read.entries.stride, read.entries.cap, (rows - 1) / 2, rows)
    token_s = sum(each_s.values())
    return Coefficients(
        prompt_s=head_s,
        token_s=token_s,
        prefix_s=prefix_s,
        pairs=tuple((s, *kind) for kind, s in pairs.items()),
        sequence_s=rows * (token_s + head_s),
        everyone_s=experts_s,
    )


def _memory(node: Deployment, reads: _Reads) -> Coefficients:
    held: defaultdict[tuple[int, int | None], float] = defaultdict(float)
    rows = reads.rows
    for attention, layers in node.model.attention_counts.items():
        share_s = layers * attention.cache_share(node.tensor_parallel) * node.byte_s
        for store in attention.stores():
            if store.part != "state":
                held[store.entries.stride, store.entries.cap] += share_s * store.bytes_per_entry
        for read in attention.reads("decode"):
            most = read.most(rows)
            reads.add("memory", share_s * read.bytes_per_entry, read.entries.stride, most, rows - 1, 1)
    return Coefficients(step_s=node.dense_read_bytes * node.byte_s, held=tuple((s, *kind) for kind, s in held.items()))


def _experts(node: Deployment) -> Experts | None:
    layer = node.moe
    if layer is None:
        return None
    return Experts(node.experts_held, 1.0 - layer.top_k / layer.experts, node.expert_bytes * node.byte_s)


__all__ = ["Chunk", "Coefficients", "Experts", "StepCost", "step_cost"]
