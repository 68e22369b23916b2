"""A deployment's steps, compiled into the coefficients of `StepCost`.

`Deployment.batch_step` counts a step exactly, in a tenth of a millisecond for each piece; this does so once for each
deployment.

>>> from costlab import roofline
>>> node = roofline.deployment("llama-3.1-70b", "h100-sxm", 4, tensor_parallel=4)
>>> cost = roofline.step_cost(node)
>>> load = cost.load()
>>> for context in (1000, 2000, 3000):
...     load.add(context)
>>> exact = node.batch_step([roofline.Piece.decode(c) for c in (1000, 2000, 3000)] + [roofline.Piece(512, 256)])
>>> abs(cost.seconds(load, [(512, 256)]) / exact.seconds - 1) < 1e-12
True
>>> steps, first_s, rise_s = cost.leading(load, (), 100)  # of decode steps from here on
>>> load.advance(steps - 1)
>>> abs(cost.seconds(load) / (first_s + (steps - 1) * rise_s) - 1) < 1e-12
True

Chapter: serving
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Sequence

from costlab.arch.entries import Entries, Read
from costlab.checks import count
from costlab.roofline.coefficients import Coefficients, ExpertReads
from costlab.roofline.deployments import Deployment
from costlab.roofline.layers import Reads
from costlab.roofline.mixed import StepCost

#: Seconds of each kind of entries: tokens of one, the most there are, whether they restart.
_Sums = defaultdict[tuple[int, int | None, bool], float]


def step_cost(deployment: Deployment, rows: int = 1) -> StepCost:
    """Return the coefficients of a deployment's steps.

    Seconds are those of `Deployment.batch_step` up to rounding, but for decode reads of compressed entries: there the
    last, open block is counted by its mean, half a block, so that reads grow steadily from step to step. Likewise
    attention in chunks counts half a chunk, once the first is full.

    Args:
        deployment: of which one replica, or several at once, takes steps.
        rows: tokens of each decoding sequence that a step computes: 1, or a draft's length + 1 to verify it.

    Raises:
        ValueError: rows below 1.
    """
    return _joined(_Pass(deployment, count(rows, "rows")))


def speculative_cost(deployment: Deployment, length: int, round_tokens: float) -> StepCost:
    """Return the same where each round drafts `length` tokens of a sequence and verifies them in one pass.

    Args:
        deployment: with its drafter.
        length: drafted tokens of a sequence in a round; 0 is plain decoding with the drafter in memory.
        round_tokens: that a sequence gains by a round, in the mean, e.g. `speculative.theory.expected_tokens`; 1 gives
            the seconds of whole rounds.

    Raises:
        ValueError: a deployment without drafter, a negative length, tokens that are not from 1 to `length` + 1.

    Source: the drafter's rows are those of `speculative.plan`.
    """
    rows = count(length + 1, "length + 1")
    if deployment.drafter is None:
        raise ValueError("the deployment has no drafter: give it one, e.g. drafter=arch.drafter('mtp', model)")
    if not 1 <= round_tokens <= rows:
        raise ValueError(f"round_tokens = {round_tokens} should be from 1 to length + 1 = {rows}")
    drafts = []
    if deployment.drafting is not None:
        for position in range(length):
            read = deployment.drafter.rows(position, length)
            drafts.append(_Pass(deployment.drafting, read, logits=1, first=position - read + 1))
    cost = _joined(_Pass(deployment, rows), *drafts)
    return dataclasses.replace(cost, round_tokens=round_tokens)


def _joined(verify: _Pass, *drafts: _Pass) -> StepCost:
    """The cost of a pass after those of the drafter, all with the same bends."""
    bends = tuple(sorted({bend for each in (verify, *drafts) for bend in each.bends}))
    return verify.cost(bends, tuple(draft.cost(bends) for draft in drafts))


class _Pass:
    """A deployment's pass over `rows` tokens of each decoding sequence, the first of them `first` after the context.

    Gathers what decode reads cost: a part that grows for ever, and parts that stop growing at a bend.
    """

    def __init__(self, node: Deployment, rows: int, logits: int | None = None, first: int = 0) -> None:
        self.node, self.rows, self.first = node, rows, first
        self.bends: set[int] = set()
        self.sequence_s: defaultdict[str, float] = defaultdict(float)
        self.context_s: defaultdict[str, float] = defaultdict(float)
        self.below: defaultdict[tuple[str, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.compute = self._compute(rows if logits is None else logits)
        self.memory = self._memory()
        self.link = Coefficients(token_s=node.sent_s, sequence_s=rows * node.sent_s)

    def cost(self, bends: tuple[int, ...], drafts: tuple[StepCost, ...] = ()) -> StepCost:
        """Return the pass as a cost, for loads with these bends."""
        terms = (self._with_reads(self.compute, "compute", bends), self._with_reads(self.memory, "memory", bends))
        node = self.node
        return StepCost(
            *terms, self.link, node.fixed_s, node.overlap, bends=bends, rows=self.rows, drafts=drafts
        )  # fmt: skip

    def _with_reads(self, term: Coefficients, name: str, bends: Sequence[int]) -> Coefficients:
        below = tuple((token_s, sequence_s) for token_s, sequence_s in (self.below[name, bend] for bend in bends))
        sequence_s = term.sequence_s + self.sequence_s[name]
        return dataclasses.replace(term, sequence_s=sequence_s, context_s=self.context_s[name], below=below)

    def _read(self, term: str, each_s: float, read: Read, ahead: float, times: int, rows: int = 1) -> None:
        """Add `times` queries whose middle is `ahead` tokens beyond the context, each reading for `rows` at once."""
        ahead += self.first
        stride, most = read.entries.stride, read.most(rows)
        token_s = each_s * times / stride
        start_s = token_s * (ahead - (stride - 1) / 2)  # an open block is half full in the mean
        if most is None:
            self.context_s[term] += token_s
            self.sequence_s[term] += start_s
            return
        settled = most - (most - rows) / 2 if read.entries.restarts else most  # chunks are half full in the mean
        full_s = each_s * times * settled
        self.sequence_s[term] += full_s
        if read.once:  # a state is there from the first token on
            return
        bend = math.ceil(most * stride - ahead)
        self.bends.add(bend)
        self.below[term, bend][0] += token_s
        self.below[term, bend][1] += start_s - full_s

    def _compute(self, logits: int) -> Coefficients:
        model, flop_s, rows = self.node.model, self.node.flop_s, self.rows
        each_s = {name: 2.0 * n * flop_s[name] for name, n in model.params.active_by_component.items()}
        experts_s = each_s.pop("experts", 0.0) / self.node.balance
        head_s = each_s.pop("head")
        prefill = model.params.prefill
        share = {name: prefill.get(name, 0) / n for name, n in model.params.active_by_component.items()}
        token_s = sum(each_s.values())
        prompt_s = sum(s * share[name] for name, s in each_s.items())
        prefix_s, pairs, held = self._attention_s()
        for attention, layers in model.attention_counts.items():
            for read in attention.reads("decode"):
                query_s = layers * read.flops_per_entry * flop_s[read.component]
                self._read("compute", query_s, read, (rows - 1) / 2, rows)
        return Coefficients(
            prompt_s=head_s + token_s - prompt_s,
            token_s=prompt_s,
            prefix_s=prefix_s,
            pairs=pairs,
            held=held,
            sequence_s=rows * token_s + logits * head_s,
            everyone_s=experts_s,
            skipped=1 - share.get("experts", 1.0),
        )

    def _attention_s(self) -> tuple[float, Reads, Reads]:
        """Of a prompt: seconds per token before a piece, per key that its tokens read, and that the last one reads."""
        model, flop_s = self.node.model, self.node.flop_s
        pairs: _Sums = defaultdict(float)
        last: _Sums = defaultdict(float)
        prefix_s = 0.0
        for attention, layers in model.prompt_attention.items():
            prefix_s += layers * attention.reexpansion_flops() * flop_s.get("latent_up", 0.0)
            for read in attention.reads("prefill"):
                pairs[_kind(read.entries)] += layers * read.flops_per_entry * flop_s[read.component]
        for attention, layers in model.last_attention.items():
            for read in attention.reads("decode"):
                last[_kind(read.entries)] += layers * read.flops_per_entry * flop_s[read.component]
        return prefix_s, _reads(pairs), _reads(last)

    def _memory(self) -> Coefficients:
        node = self.node
        held: _Sums = defaultdict(float)
        for attention, layers in node.model.attention_counts.items():
            share_s = layers * attention.cache_share(node.tensor_parallel) * node.byte_s
            for store in attention.stores():
                if store.part != "state":  # an open block's state stays on the chip's side of the cache
                    held[_kind(store.entries)] += share_s * store.bytes_per_entry
            for read in attention.reads("decode"):
                self._read("memory", share_s * read.bytes_per_entry, read, self.rows - 1, 1, self.rows)
        return Coefficients(step_s=node.dense_read_bytes * node.byte_s, held=_reads(held), experts=_experts(node))


def _kind(entries: Entries) -> tuple[int, int | None, bool]:
    return entries.stride, entries.cap, entries.restarts


def _reads(sums: _Sums) -> Reads:
    return tuple((s, *kind) for kind, s in sums.items())


def _experts(node: Deployment) -> ExpertReads | None:
    layer = node.moe
    if layer is None:
        return None
    return ExpertReads(node.experts_held, 1.0 - layer.top_k / layer.experts, node.expert_bytes * node.byte_s)


__all__ = ["speculative_cost", "step_cost"]
