"""Why workers cannot serve a load, in words with numbers: memory, TTFT, TPOT, link, ratio or load."""

from __future__ import annotations

import math
from collections.abc import Sequence

from costlab.serving.plan.candidates import PlannedPool, Reason
from costlab.serving.plan.estimate import ClosedForm
from costlab.serving.plan.pools import Answers, Prompts
from costlab.serving.plan.workers import WorkerKind
from costlab.serving.plan.workload import Demand

#: Workers of a pool that a search considers at most.
MOST_WORKERS = 4096
#: Share of a link's bandwidth that transfers may use at the peak rate; above it they queue.
LINK_SHARE = 0.7


class Reasons:
    """What keeps workers from serving a load. Each question has a reason for an answer, or None where nothing does.

    Args:
        form: of the space, the load and the objective.
    """

    def __init__(self, form: ClosedForm) -> None:
        self.form, self.space, self.demand, self.objective = form, form.space, form.demand, form.objective

    @property
    def decode_share(self) -> float:
        """Share of the requests that decode alone should serve well: a third of the misses may be for want of it."""
        return (2 + self.objective.share) / 3

    def memory(self, kind: WorkerKind) -> Reason | None:
        """Return why a kind of worker does not hold the weights and the longest request."""
        node = kind.held
        if not node.fits():
            return Reason(
                "memory",
                f"{node.weight_bytes_per_chip / 1e9:.3g} GB of weights on each chip, "
                f"{node.usable_bytes_per_chip / 1e9:.3g} GB usable",
            )
        longest = max(mix.last_context for mix in self.demand.mixes)
        needs, room = kind.room.kept_bytes(longest), kind.room.free_bytes * (1 - self.space.reserve)
        if needs <= room:
            return None
        return Reason(
            "memory",
            f"a request of {longest:,} tokens keeps {needs / 1e9:.3g} GB on each chip, "
            f"{room / 1e9:.3g} GB are free beside the weights and a reserve of {self.space.reserve:.0%}",
        )

    def two_prompts(self, kind: WorkerKind, load: Demand) -> Reason | None:
        """Return why a rank of a prefill worker cannot hold a prompt that is read and one that is sent."""
        longest = max(mix.input_tokens for mix in load.mixes)
        needs, room = 2 * kind.room.kept_bytes(longest), kind.room.free_bytes * (1 - self.space.reserve)
        if needs <= room:
            return None
        both = f"two prompts of {longest:,} tokens, one read and one sent, keep {needs / 1e9:.3g} GB on each chip"
        return Reason("memory", f"{both}, {room / 1e9:.3g} GB are free beside the weights and the reserve")

    def one_by_one(self, answers: Answers) -> Reason | None:
        """Return why workers of a kind cannot decode this load one by one."""
        kind = answers.worker
        if answers.memory_running < 1:
            return Reason(
                "memory", f"no sequence of {answers.context:,.0f} tokens fits beside the weights and the reserve"
            )
        if answers.tpot_running < 1:
            alone = kind.step_s(1, answers.context)
            return Reason("TPOT", f"one sequence alone takes {_ms(alone)} a token, above {_ms(self.objective.tpot_s)}")
        return None

    def link(
        self, kind: WorkerKind, prefillers: int, answers: Answers, decoders: int, chip_bytes_s: float,
        loads: Sequence[Demand],
    ) -> Reason | None:  # fmt: skip
        """Return why a link is too slow: egress of prefill and ingress of decode, per chip (arXiv 2506.05508)."""
        sent = self.form.sent(answers.worker)
        bytes_s = sum(load.peak_per_s * load.mean(lambda mix: sent(mix.input_tokens)) for load in loads)
        for side, workers, node in (
            ("egress of a prefill chip", prefillers, kind.deployment),
            ("ingress of a decode chip", decoders, answers.worker.deployment),
        ):
            each = bytes_s / (workers * node.chips)
            if each > LINK_SHARE * chip_bytes_s:
                words = f"{side} {each / 1e9:.3g} GB/s, above {LINK_SHARE:.0%} of {chip_bytes_s / 1e9:.3g} GB/s"
                return Reason("link", words)
        return None

    def unmet(
        self,
        answers: Answers,
        queues: Sequence[Prompts] | None,
        workers: int,
        delays: Sequence[float] | None = None,
    ) -> Reason:
        """Return the constraint that even very many workers do not meet.

        Args:
            answers: the pool that decodes.
            queues: the pools that read prompts; None: whoever reads them, decode does not meet it.
            workers: of the pool that decodes.
            delays: seconds of moving each shape's cache.
        """
        batch = answers.at(workers)
        if batch is None:
            most = answers.most_running
            ranks = f"{MOST_WORKERS:,} workers of {answers.worker.ranks} x {most:,} sequences"
            return Reason("load", f"{ranks} do not keep up with {self.demand.peak_per_s:,.4g} requests/s")
        objective, share = self.objective, self.objective.share if queues is not None else self.decode_share
        ttft_s = 0.0 if queues is None else self.form.ttft_s(batch, [(queue, MOST_WORKERS) for queue in queues])
        if ttft_s > objective.ttft_s:
            words = f"{share:.0%} of requests alone take up to {_s(ttft_s)} to the first token"
            return Reason("TTFT", f"{words}, above {_s(objective.ttft_s)}; more workers do not shorten a prefill")
        slow = max(delays) if delays else 0.0
        tpot_s = self.form.tpot_s(answers, batch, queues or (), delays or (), share)
        if delays and tpot_s > objective.tpot_s and batch.token_s <= objective.tpot_s:
            return Reason("link", f"moving a cache takes up to {_s(slow)}, which its answer's tokens have to bear")
        if tpot_s <= objective.tpot_s:
            slots = f"{workers:,} workers of {answers.worker.ranks} x {answers.most_running:,} sequences"
            return Reason("load", f"{batch.no_slot:.0%} of the requests find no place among {slots} at once")
        words = f"{share:.0%} of requests take up to {_ms(tpot_s)} a token, prompts read between them included"
        return Reason("TPOT", f"{words}, against {_ms(objective.tpot_s)}")

    def alone(self, least_ttft_s: float, least_tpot_s: float) -> Reason | None:
        """Return why nothing can serve if a single request alone misses the objective.

        Args:
            least_ttft_s: its time to first token at best; infinite: not known.
            least_tpot_s: its time per output token at best; infinite: not known.
        """
        if self.objective.tpot_s < least_tpot_s < math.inf:
            words_tpot = f"one sequence alone takes {_ms(least_tpot_s)} a token at best"
            return Reason("TPOT", f"{words_tpot}, above {_ms(self.objective.tpot_s)}: no number of workers shortens it")
        if self.objective.ttft_s < least_ttft_s < math.inf:
            share = self.objective.share
            alone = f"the prefill of one request alone takes {_s(least_ttft_s)} at best for {share:.0%} of requests"
            return Reason("TTFT", f"{alone}, above {_s(self.objective.ttft_s)}: no number of workers shortens it")
        return None


def too_many_chips(pools: Sequence[PlannedPool], most: int) -> Reason:
    """Return why pools have more chips than there are: whole workers round their ratio, or the load is too large."""
    chips, exact = sum(pool.chips for pool in pools), sum(pool.chips * pool.busy for pool in pools)
    shares = ", ".join(f"{pool.name} {pool.busy:.0%} busy" for pool in pools)
    if len(pools) > 1 and exact <= most:
        ratio = ":".join(str(pool.workers) for pool in pools)
        return Reason("ratio", f"whole workers make {ratio}, which is {chips} chips ({shares}); there are {most}")
    return Reason("load", f"{chips} chips are needed at the peak ({shares}); there are {most}")


def _s(seconds: float) -> str:
    return f"{seconds:.3g} s"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"
