"""The three counts of a model, each by part: parameters, bytes of a cache, FLOPs.

Chapter: attention
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from costlab import checks
from costlab.arrays import Floats
from costlab.catalog import FrozenDict

#: FLOPs of one operation in units of an FP8 operation, by the precision it runs in. The reasoning: a tensor core's
#: rate halves with each doubling of width (data sheets in catalog/chips.toml), FP4 weights times FP8 activations run
#: at FP8's rate on today's chips (arXiv 2606.19348 sec. 1), and FP32 is counted as two BF16.
FP8_EQUIVALENTS: Mapping[str, float] = FrozenDict(
    {
        "fp4": 0.5,
        "fp4xfp8": 1.0,
        "fp8": 1.0,
        "int8": 1.0,
        "bf16": 2.0,
        "fp32": 4.0,
    }
)


@dataclass(frozen=True)
class Params:
    """Parameter counts by component: all of them, and those one token multiplies."""

    by_component: Mapping[str, int]  # all parameters
    active_by_component: Mapping[str, int]  # those that one token multiplies
    mtp: int = 0  # parameters of the multi-token-prediction module, in neither of the two
    lookup: int = 0  # parameters of look-up tables beside the embedding, which multiply nothing; in neither of the two
    # those that a prompt's tokens multiply, without the head; None: `active_by_component` without it
    prefill_by_component: Mapping[str, int] | None = None

    @property
    def total(self) -> int:
        """Parameters of the backbone: embedding, layers, head; without multi-token-prediction and look-up tables."""
        return sum(self.by_component.values())

    @property
    def active(self) -> int:
        """Parameters one token multiplies: everything but the embedding table and the experts it does not visit."""
        return sum(self.active_by_component.values())

    @property
    def prefill_active(self) -> int:
        """Parameters that each token of a prompt multiplies: the layers that prefill runs, without the output head."""
        return sum(self.prefill.values())

    @property
    def prefill(self) -> Mapping[str, int]:
        """Parameters that each token of a prompt multiplies by component; the head runs for the last token only."""
        if self.prefill_by_component is not None:
            return self.prefill_by_component
        return {name: n for name, n in self.active_by_component.items() if name != "head"}

    def active_counting(self, tables: str) -> int:
        """Return the active parameters as a maker counts them: "layers", "head" (= `active`) or "head+embedding".

        Raises:
            ValueError: another word.
        """
        head, embedding = self.active_by_component["head"], self.by_component["embedding"]
        extra = {"layers": -head, "head": 0, "head+embedding": embedding}
        return self.active + checks.pick(extra, tables, "way of counting")


@dataclass(frozen=True)
class KVBytes:
    """Bytes that one sequence keeps, by part; each an array shaped like the contexts asked for."""

    main: Floats  # keys and values, latents or compressed entries; bytes that grow with the context
    index: Floats  # the indexer's keys; bytes that grow with the context
    window: Floats  # raw entries of sliding windows; bytes that stop growing
    state: Floats  # FP32 tails of open blocks; bytes of a running request that no prefix cache keeps
    recurrent: Floats  # states of recurrent layers and their convolutions; bytes that do not depend on the context

    @property
    def growing(self) -> Floats:
        """The part proportional to the context: main + index."""
        return self.main + self.index

    @property
    def fixed(self) -> Floats:
        """The part that stops growing: windows and recurrent states."""
        return self.window + self.recurrent

    @property
    def total(self) -> Floats:
        """The KV cache: growing + fixed."""
        return self.growing + self.fixed

    @property
    def resident(self) -> Floats:
        """What a running request occupies: the cache and the open blocks' state."""
        return self.total + self.state


@dataclass(frozen=True)
class Flops:
    """FLOPs by component, with the precision each runs in."""

    by_component: Mapping[str, Floats]  # FLOPs, each an array shaped like the contexts asked for
    precision: Mapping[str, str]  # of each component's multiplications

    @property
    def total(self) -> Floats:
        """The raw count: a multiply-add is two FLOPs, whatever its precision."""
        return np.asarray(sum(self.by_component.values()), dtype=np.float64)

    def weighted(self, weights: Mapping[str, float] = FP8_EQUIVALENTS) -> Floats:
        """Return FP8-equivalent FLOPs: each component times the weight of its precision.

        Raises:
            ValueError: a precision without weight, named.
        """
        parts = (checks.pick(weights, self.precision[c], "precision") * f for c, f in self.by_component.items())
        return np.asarray(sum(parts), dtype=np.float64)

    def grouped(self) -> Mapping[str, Floats]:
        """Return three sums: "linear" (matrices), "indexer" (index scores), "core" (attention to keys)."""
        attention = {name: self.by_component[name] for name in ("indexer", "core")}
        return {"linear": self.total - sum(attention.values()), **attention}
