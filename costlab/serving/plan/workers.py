"""One kind of worker of a plan: model, chips and settings, and the seconds of its steps."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from costlab.arch import Drafter
from costlab.checks import whole
from costlab.roofline import Deployment, KVRoom, StepCost, kv_room, speculative_cost, step_cost
from costlab.roofline.coefficients import Chunk
from costlab.serving.plan.sizing import largest
from costlab.speculative.theory import expected_tokens

#: Sequences on one rank that a planner considers at most.
MOST_RUNNING = 4096
#: Drafted tokens of a round that a planner considers at most.
MOST_DRAFTED = 64


@dataclass(frozen=True)
class Drafting:
    """Speculative decoding as a planner sees it: what drafts, how many tokens, and how likely each is accepted.

    Raises:
        ValueError: a length that is not from 1 to `MOST_DRAFTED`.
    """

    drafter: Drafter  # what proposes tokens
    length: int  # drafted tokens of a round
    acceptance: tuple[float, ...]  # of each drafted position, given that those before it were accepted

    def __post_init__(self) -> None:
        if not 1 <= whole(self.length, "length") <= MOST_DRAFTED:
            raise ValueError(f"length = {self.length} should be from 1 to {MOST_DRAFTED} drafted tokens")


@dataclass(frozen=True, eq=False)
class WorkerKind:
    """One worker of a pool: an engine on some chips, and how it is set.

    A rank is a data-parallel replica: it holds whole sequences, has a step budget and a batch of its own, and takes its
    steps together with the other ranks of the worker.
    """

    chip: str  # key of its chip in the catalog
    deployment: Deployment  # model, chips of one worker, how they are split, efficiencies
    step_tokens: int = 8192  # most tokens that a rank computes in a step
    most_running: int = MOST_RUNNING  # most sequences of a rank
    drafting: Drafting | None = None  # speculative decoding, or None
    measured: StepCost | None = None  # seconds of its steps, of a rank; None: as the deployment's roofline has them

    @property
    def name(self) -> str:
        """The worker in a few words: its chips, and how many tokens it drafts."""
        drafting = f" drafting {self.drafting.length}" if self.drafting else ""
        return f"{self.deployment.chips} {self.chip}{drafting}"

    @property
    def ranks(self) -> int:
        """Data-parallel replicas of the worker."""
        return self.deployment.replicas

    @functools.cached_property
    def held(self) -> Deployment:
        """The deployment with all that lies in its memory, a drafter included."""
        return dataclasses.replace(self.deployment, drafter=self.drafting.drafter) if self.drafting else self.deployment

    @property
    def rows(self) -> int:
        """Tokens that a step computes for a sequence that decodes: the drafted ones and one more."""
        return 1 if self.drafting is None else self.drafting.length + 1

    @functools.cached_property
    def cost(self) -> StepCost:
        """Seconds of a step; with speculation a round's are shared among the tokens that it yields in the mean."""
        if self.measured is not None:
            return self.measured
        if self.drafting is None:
            return step_cost(self.deployment)
        length, acceptance = self.drafting.length, self.drafting.acceptance
        return speculative_cost(self.held, length, expected_tokens(acceptance, length))

    @functools.cached_property
    def room(self) -> KVRoom:
        """The memory that a rank has for caches."""
        return kv_room(self.held)

    def step_s(self, running: float, context: float, chunks: Sequence[tuple[float, float]] = ()) -> float:
        """Return the seconds of a step in which each rank decodes so many sequences and reads these pieces."""
        return self._alike.seconds(self.cost.mean_load(running, context), cast("Sequence[Chunk]", chunks))

    def chunk_step_s(self, running: float, context: float, chunk: float, before: float, busy: float) -> float:
        """Return the seconds of a step in which all ranks decode and `busy` of them read a chunk, of the slowest one.

        Args:
            running: sequences of each rank.
            context: tokens of each.
            chunk: tokens that a busy rank reads.
            before: tokens before them.
            busy: ranks that read.
        """
        decoding = self.rows * running
        own = decoding + chunk  # tokens of the slowest rank; all ranks together have so many times as many:
        times = (self.ranks * decoding + busy * chunk) / own
        chunks = cast("Sequence[Chunk]", [(chunk, before)])
        return self._like(times).seconds(self.cost.mean_load(running, context), chunks)

    def _like(self, times: float) -> StepCost:
        """The cost in which each token counts for so many, to within 1%."""
        place = round(50 * math.log(times))
        if place not in self._likes:
            self._likes[place] = self.cost.alike(math.exp(place / 50))
        return self._likes[place]

    @functools.cached_property
    def _likes(self) -> dict[int, StepCost]:
        return {}

    @functools.cached_property
    def _alike(self) -> StepCost:
        """The seconds of a step of which all ranks do the same, from what one of them does."""
        return self.cost.alike(self.ranks)

    def running_limit(self, mean_bytes: float, deviation_bytes: float, reserve: float) -> int:
        """Return how many sequences a rank may run so that their caches leave a reserve of the room free.

        n x mean + 3 deviations x sqrt(n) <= (1 - reserve) x room: 1 in 700 instants has more, if sequences are
        independent.

        Args:
            mean_bytes: of a running sequence on each chip of its rank, over its life.
            deviation_bytes: how they differ.
            reserve: share of the room that stays free.
        """
        room = self.room.free_bytes * (1 - reserve)
        return largest(lambda n: n * mean_bytes + 3 * deviation_bytes * math.sqrt(n) <= room, self.most_running)
