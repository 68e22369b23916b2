"""What a model of a lower activation would cost: each token multiplies a smaller share of the parameters.

Three ways lead there. `fewer`: a token visits fewer experts of the same size. `finer`: experts are cut into parts and
a token visits fewer of them, which is the same arithmetic with more, smaller matrices. `wider`: experts are added and a
token visits as many as before. The first two cut FLOPs; the third leaves them and adds parameters that must be held.
All thin out the tokens of each expert, so that weights are shared by fewer of them and only larger batches are bound by
arithmetic. Nothing here says how good such a model would be.

>>> from costlab import limits
>>> half = limits.fewer("deepseek-v4-pro", 3)
>>> round(limits.activated_share("deepseek-v4-pro"), 4), round(limits.activated_share(half), 4)
(0.0311, 0.0234)

Chapter: limits
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from costlab import arch, checks
from costlab.arch import Model, MoE
from costlab.arch.experts import FeedForward
from costlab.catalog import FrozenDict
from costlab.limits.floors import always_multiplied
from costlab.roofline import Deployment
from costlab.text import Table, digits_text


def activated_share(model: str | Model) -> float:
    """Return the share of a model's parameters that a token multiplies.

    Raises:
        ValueError: an unknown model.
    """
    built = arch.load(model)
    return built.params.active / built.params.total


def least_activation(model: str | Model) -> float:
    """Return the share that is left where a token visits no routed expert at all.

    Raises:
        ValueError: an unknown model.
    """
    return sum(always_multiplied(model).values()) / arch.load(model).params.total


def visits_at(model: str | Model, share: float) -> float:
    """Return how many of its experts a token may visit for an activation; negative where no number of them does it.

    Args:
        model: key in the catalog, or a model.
        share: of the parameters, above 0 and at most 1.

    Raises:
        ValueError: a share out of range; a model without experts.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share = {share!r} should be above 0 and at most 1")
    built, layer = arch.load(model), _layer(model)
    each = built.params.active_by_component["experts"] / layer.top_k
    return (share * built.params.total - sum(always_multiplied(built).values())) / each


def experts_at(model: str | Model, share: float) -> float:
    """Return how many experts a layer must have for an activation, a token visiting as many as before; inf if none do.

    Raises:
        ValueError: as `visits_at`.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share = {share!r} should be above 0 and at most 1")
    built, layer = arch.load(model), _layer(model)
    held, chosen = (built.params.by_component[name] for name in ("experts", "router"))  # both grow with experts
    each, line = held / layer.experts, chosen / layer.experts
    if share * (each + line) <= line:
        return math.inf  # each further expert's line of the router is a larger share than that
    rest = built.params.total - held - chosen
    return (built.params.active - chosen - share * rest) / (share * (each + line) - line)


def _layer(model: str | Model) -> MoE:
    """The experts of a model's layers."""
    built = arch.load(model)
    found = next((ffn for _, ffn in built.layers if isinstance(ffn, MoE)), None)
    if found is None:
        raise ValueError(f"{built.name} has no experts: its activation is that of a dense model")
    return found


def fewer(model: str | Model, top_k: int) -> Model:
    """Return a model whose tokens visit `top_k` experts of each layer.

    Raises:
        ValueError: a number that the model's experts do not allow; a model without experts.
    """
    visits = checks.count(top_k, "top_k")
    return _changed(model, lambda ffn: dataclasses.replace(ffn, top_k=visits))


def finer(model: str | Model, parts: int, top_k: int) -> Model:
    """Return a model whose experts are cut into parts, of which a token visits `top_k`.

    Args:
        model: key in the catalog, or a model.
        parts: of each routed expert; divides its width. Shared experts stay.
        top_k: parts that a token visits.

    Raises:
        ValueError: parts that do not divide an expert's width; a number that the experts do not allow.
    """
    each, visits = checks.count(parts, "parts"), checks.count(top_k, "top_k")

    def cut(ffn: MoE) -> MoE:
        if ffn.inner % each:
            raise ValueError(f"parts = {parts} should divide the {ffn.inner} wide experts")
        shared = (ffn.shared_inner or ffn.inner) if ffn.shared else None
        return dataclasses.replace(
            ffn, experts=ffn.experts * each, inner=ffn.inner // each, top_k=visits, shared_inner=shared
        )

    return _changed(model, cut)


def wider(model: str | Model, experts: int) -> Model:
    """Return a model with so many experts in each layer, of which a token visits as many as before.

    Raises:
        ValueError: fewer than a token visits; a model without experts.
    """
    held = checks.count(experts, "experts")
    return _changed(model, lambda ffn: dataclasses.replace(ffn, experts=held))


def _changed(model: str | Model, change: Callable[[MoE], MoE]) -> Model:
    """The model with all its layers of experts changed, those of its drafting module too."""
    built = arch.load(model)
    _layer(built)

    def each(ffn: FeedForward) -> FeedForward:
        return change(ffn) if isinstance(ffn, MoE) else ffn

    kinds = {ffn: each(ffn) for ffn in {f for _, f in built.layers}}  # one object a kind, as layers are counted by it
    mtp = built.mtp_layer and (built.mtp_layer[0], each(built.mtp_layer[1]))
    return dataclasses.replace(built, layers=tuple((a, kinds[f]) for a, f in built.layers), mtp_layer=mtp)


@dataclass(frozen=True)
class SparseStep:
    """A decode step of a model at a batch: what sparsity does to it."""

    batch: int  # sequences, in the whole deployment
    tokens_per_expert: float  # that each expert of a layer gets in the mean
    touched: float  # share of a layer's experts that get any
    chip_s: float  # chip-seconds of a token, arithmetic and memory
    bound: str  # "compute" or "memory"


def sparse_step(deployment: Deployment, batch: int, context: int) -> SparseStep:
    """Return a decode step, arithmetic and memory alone: how experts are reached is another choice.

    Args:
        deployment: a model with experts on its chips.
        batch: sequences, in the whole deployment.
        context: tokens of each.

    Raises:
        ValueError: a model without experts; a batch that memory does not hold.
    """
    deployment.check_room(batch, context)
    layer, step = _layer(deployment.model), deployment.decode(batch, context)
    found = {"compute": step.compute_s, "memory": step.memory_s}
    bound = max(found, key=lambda name: found[name])
    seconds = found[bound] * deployment.chips / batch
    touched = deployment.experts_touched(batch)
    return SparseStep(batch, batch * layer.top_k / layer.experts, touched, seconds, bound)


def compute_binds_at(deployment: Deployment, context: int) -> int | None:
    """Return the smallest batch, in whole sequences for each replica, at which a decode step is bound by arithmetic.

    None where memory holds no such batch.

    Raises:
        ValueError: a context below 1; weights that do not fit.
    """
    deployment.require_fit()
    most = deployment.max_batch(context) // deployment.replicas

    def by_compute(each: int) -> bool:
        step = deployment.decode(each * deployment.replicas, context)
        return step.compute_s >= step.memory_s

    if not most or not by_compute(most):
        return None
    low, high = 1, most
    while low < high:  # arithmetic grows in proportion, memory has a part that is shared: it crosses once
        middle = (low + high) // 2
        low, high = (low, middle) if by_compute(middle) else (middle + 1, high)
    return low * deployment.replicas


def relatives(model: str | Model) -> Mapping[str, Model]:
    """Return a model and its sparser relatives by name: half and a third of the visits, finer and more experts.

    Raises:
        ValueError: a model without experts, or one whose experts cannot be halved.
    """
    built, layer = arch.load(model), _layer(model)
    k, held = layer.top_k, layer.experts
    return FrozenDict(
        {
            f"{k} of {held}": built,
            f"{k // 2} of {held}": fewer(built, k // 2),
            f"1 of {held}": fewer(built, 1),
            f"{k} of {2 * held} halves": finer(built, 2, k),
            f"{k} of {2 * held}": wider(built, 2 * held),
        }
    )  # fmt: skip


def activation_table(deployment: Deployment, context: int, batches: Sequence[int]) -> Table:
    """Return the deployment's model and its relatives: activation, where arithmetic binds, and cost at each batch.

    Costs are chip-microseconds of an output token, arithmetic and memory alone; – where memory does not hold the batch.

    Args:
        deployment: the model on its chips.
        context: tokens of each sequence.
        batches: sequences in the whole deployment.

    Raises:
        ValueError: as `relatives`; a batch below 1.
    """
    rows = []
    for name, model in relatives(deployment.model).items():
        node = dataclasses.replace(deployment, model=model)
        room = node.max_batch(context) if node.fits() else 0
        binds = compute_binds_at(node, context) if node.fits() else None
        costs = {f"batch {batch:,}": _microseconds(node, batch, context) if batch <= room else "–" for batch in batches}
        rows.append(
            {
                "experts": name,
                "parameters": f"{model.params.total / 1e12:.2f} T",
                "activation": f"{activated_share(model):.2%}",
                "compute binds at": f"{binds:,}" if binds else "–",
                "most": f"{room:,}",
                **costs,
            }
        )
    return Table(rows, "activation", stacked=True)


def _microseconds(node: Deployment, batch: int, context: int) -> str:
    return digits_text(sparse_step(node, batch, context).chip_s * 1e6)


__all__ = [
    "SparseStep",
    "activated_share",
    "activation_table",
    "compute_binds_at",
    "experts_at",
    "fewer",
    "finer",
    "least_activation",
    "relatives",
    "sparse_step",
    "visits_at",
    "wider",
]  # fmt: skip
