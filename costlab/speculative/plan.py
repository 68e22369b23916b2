"""What speculative decoding gains on a deployment: the time of a round, by the roofline, and the tokens that it yields.

>>> from costlab import arch, roofline
>>> from costlab.speculative import plan
>>> node = roofline.deployment("deepseek-v3", "h800", 32)
>>> found = plan.speculate(node, arch.drafter("mtp", node.model), 0.85, length=1, batch=512, context=4096)
>>> round(found.tokens_per_round, 2), round(found.round_cost, 2), round(found.speedup, 2)
(1.85, 1.06, 1.74)

Chapter: speculative
"""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass

import numpy as np

from costlab.arch import Drafter
from costlab.arrays import ArrayLike
from costlab.checks import count, whole
from costlab.roofline import Deployment, Step
from costlab.speculative.theory import by_position, expected_tokens

#: Longest draft that `Speculation.best_length` looks at, in tokens.
LONGEST_DRAFT = 16

#: Between two batches that `Speculation.losing_batch` looks at first.
_STRIDE = 1.1


@dataclass(frozen=True)
class Speculation:
    """A round of speculative decoding on a deployment, beside the plain decode steps that it replaces.

    Each of `batch` sequences drafts `length` tokens one after another, then one pass of the target checks them all. The
    parts of a round follow one another; within each, compute, memory and link overlap as in any step.
    """

    deployment: Deployment  # the target's, with the drafter
    acceptance: tuple[float, ...] | float  # conditional, of every drafted position or of each
    length: int  # drafted tokens of a sequence in a round
    batch: int  # sequences in the whole deployment
    context: int  # tokens each has, the last one known included
    plain: Step  # a decode step without drafter, in memory and in time
    drafts: tuple[Step, ...]  # the drafter's steps, one for each drafted token
    verify: Step  # the target's pass over length + 1 tokens of each sequence

    @property
    def tokens_per_round(self) -> float:
        """Mean tokens that a sequence gains in a round, 1 to length + 1."""
        return expected_tokens(self.acceptance, self.length)

    @property
    def round_s(self) -> float:
        """Seconds of a round: all drafts and the pass that checks them."""
        return sum(step.seconds for step in self.drafts) + self.verify.seconds

    @property
    def round_cost(self) -> float:
        """The time of a round in plain decode steps."""
        return self.round_s / self.plain.seconds

    @property
    def speedup(self) -> float:
        """Tokens per second by those of plain decoding at the same batch."""
        return self.tokens_per_round / self.round_cost

    @property
    def tokens_per_s(self) -> float:
        """Tokens of the whole deployment per second."""
        return self.batch * self.tokens_per_round / self.round_s

    def usd_per_million(self, usd_per_chip_hour: float) -> float:
        """Return dollars per million output tokens with speculation, at a rent per chip and hour.

        Raises:
            ValueError: a rent that is negative or no finite number; weights and caches, the drafter's among them, that
                memory does not hold.
        """
        usd_per_s = self.deployment.usd_per_s(usd_per_chip_hour)
        self.deployment.require_fit(self.verify.cache_bytes)
        return usd_per_s / self.tokens_per_s * 1e6

    def plain_usd_per_million(self, usd_per_chip_hour: float) -> float:
        """Return dollars per million output tokens without speculation and without the drafter in memory.

        Raises:
            ValueError: as `usd_per_million`.
        """
        return _without_drafter(self.deployment).usd_per_million(self.plain, usd_per_chip_hour)

    @property
    def max_batch(self) -> int:
        """Sequences of this context that fit on all replicas together, a round's drafts and the drafter beside them.

        Of length 0, without the drafter.
        """
        return self._held.max_batch(self.context + self.length)

    @property
    def weight_bytes_per_chip(self) -> float:
        """Weights on each chip, the drafter's own among them; of length 0, without the drafter."""
        return self._held.weight_bytes_per_chip

    @property
    def _held(self) -> Deployment:
        return self.deployment if self.length else _without_drafter(self.deployment)

    def with_length(self, length: int) -> Speculation:
        """Return the same with drafts of another length.

        Raises:
            ValueError: as `speculate`.
        """
        return self._at(length=length)

    @functools.cached_property
    def best_length(self) -> int:
        """The draft length with the largest speed-up at this batch and context; 0 where no draft pays.

        Looked for up to `LONGEST_DRAFT`, or up to the positions whose acceptance is given.
        """
        reach = min([LONGEST_DRAFT, *([len(self.acceptance)] if isinstance(self.acceptance, tuple) else [])])
        return max(range(reach + 1), key=lambda length: self._at(length=length).speedup)

    @functools.cached_property
    def losing_batch(self) -> int | None:
        """The batch from which on a round of this length is slower than plain decoding, at every larger one that fits.

        Batches that fill all replicas alike are looked at. None where the largest batch that memory holds still gains;
        1 where none gains. A smaller batch may lose too: where most reads are experts', a batch of one does.

        Raises:
            ValueError: not one sequence fits on each replica.
        """
        node = self.deployment
        node.check_room(node.replicas, self.context + self.length)
        most = node.max_batch(self.context + self.length) // node.replicas
        tried = np.geomspace(1, most, 2 + int(math.log(most, _STRIDE))).round().astype(int).tolist()
        gaining = next((each for each in reversed(tried) if self._gains(each)), 0)
        losing = min((each for each in tried if each > gaining), default=None)
        if losing is None:
            return None
        while losing - gaining > 1:
            middle = (gaining + losing) // 2
            gaining, losing = (middle, losing) if self._gains(middle) else (gaining, middle)
        return losing * node.replicas if gaining else 1

    def efficiency_ratio(self, measured_round_cost: float) -> float:
        """Return the efficiency of a round's steps by that of plain steps which a measured round cost implies.

        The roofline takes both for equal. Below 1: kernels over several rows, the drafter's short steps, sampling and
        the gaps between them reach a smaller share of the peaks than a plain step does.

        Args:
            measured_round_cost: the time of a round in plain decode steps, at this batch, context and length.

        Raises:
            ValueError: a cost that is not above 0.
        """
        if not 0 < measured_round_cost < math.inf:
            raise ValueError(f"measured_round_cost = {measured_round_cost!r} should be above 0 and finite")
        return self.round_cost / measured_round_cost

    @property
    def note(self) -> str:
        """What the times rest on, in a sentence."""
        eff = self.deployment.efficiency
        return (
            f"a round and a plain step at the same efficiency ({eff.compute:g} compute, {eff.memory:g} memory, "
            f"{eff.link:g} link); launches, sampling and gaps between a round's steps are left out, so a real round "
            "costs more plain steps"
        )

    def _gains(self, on_each: int) -> bool:
        """Whether a round is faster than plain decoding with so many sequences on each replica."""
        return self._at(batch=on_each * self.deployment.replicas).speedup >= 1

    def _at(self, **changes: int) -> Speculation:
        now = {"length": self.length, "batch": self.batch, "context": self.context} | changes
        return _round(self.deployment, self.acceptance, **now)


def speculate(
    deployment: Deployment,
    drafter: Drafter,
    acceptance: ArrayLike,
    length: int,
    batch: int,
    context: int,
) -> Speculation:
    """Return what a drafter gains on a deployment, at a stated acceptance: times, tokens, prices.

    Times, also where memory would not hold the drafter or the batch: prices refuse that.

    Args:
        deployment: of the target; a drafter that it has already is replaced.
        drafter: what proposes tokens, e.g. `arch.drafter("mtp", model)`; a token's state and the cache of the prompt
            are taken to be there, as after a prefill with the drafter.
        acceptance: conditional, one number for all positions or one for each: how likely a drafted token is accepted,
            given that those before it were.
        length: drafted tokens of a sequence in a round; 0 is plain decoding with the drafter in memory.
        batch: sequences in the whole deployment.
        context: tokens each has, the last one known included.

    Raises:
        ValueError: an acceptance outside 0 to 1, or for fewer positions than `length`; a batch or context below 1; a
            drafter that cannot be split over `tensor_parallel` chips.
    """
    given = np.asarray(acceptance, dtype=np.float64)
    known = tuple(given.tolist()) if given.ndim else float(given)
    return _round(dataclasses.replace(deployment, drafter=drafter), known, length, batch, context)


def _round(
    node: Deployment, acceptance: tuple[float, ...] | float, length: int, batch: int, context: int
) -> Speculation:
    drafted, tokens = whole(length, "length"), count(context, "context")
    by_position(acceptance, drafted)  # refuses what is no acceptance before any time is computed
    rows = [node.drafter.rows(position, drafted) if node.drafter else 1 for position in range(drafted)]
    drafts = tuple(node.draft(batch, tokens + i, min(n, tokens + i)) for i, n in enumerate(rows))
    plain, verify = _without_drafter(node).decode(batch, tokens), node.verify(batch, tokens, drafted)
    return Speculation(node, acceptance, drafted, batch, tokens, plain, drafts, verify)


def _without_drafter(node: Deployment) -> Deployment:
    return dataclasses.replace(node, drafter=None)
