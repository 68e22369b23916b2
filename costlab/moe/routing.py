"""Routing: from gate logits to chosen experts and their weights, from parts that every model composes its own way.

A router does three things. It turns logits into scores (softmax, sigmoid or the root of softplus); it chooses
`top_k` experts per token (the best ones, the best ones of the best groups, with a bias that steers the choice, or
by a frozen table of token ids); it weights the chosen experts by their unbiased scores, normalised to a scale.

Ties: of equal scores the lower expert index wins, in groups as in experts, so a routing is a function of its input.

>>> import numpy as np
>>> from costlab import moe
>>> routes = moe.router("mixtral-8x7b").route(np.array([[0.0, 2.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]]))
>>> routes.experts.tolist(), routes.weights.round(3).tolist()
([[1, 3]], [[0.731, 0.269]])

Chapter: moe
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from costlab import arch
from costlab.arch.experts import check_routing
from costlab.arrays import ArrayLike, Floats, Ints
from costlab.catalog import Routing
from costlab.checks import indices, whole

#: DeepSeek's guard against a sum of zero; it changes no weight that a double can tell apart.
_TINY = 1e-20


def softmax(logits: ArrayLike) -> Floats:
    """Return positive scores that sum to 1 over the experts."""
    x = np.asarray(logits, dtype=np.float64)
    e = np.exp(x - x.max(axis=-1, keepdims=True, initial=-np.inf))
    return np.asarray(e / e.sum(axis=-1, keepdims=True), dtype=np.float64)


def sigmoid(logits: ArrayLike) -> Floats:
    """Return scores between 0 and 1, each of its own logit alone (DeepSeek-V3, arXiv 2412.19437 eq. 15)."""
    x = np.asarray(logits, dtype=np.float64)
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)), dtype=np.float64)  # tanh overflows nowhere


def sqrt_softplus(logits: ArrayLike) -> Floats:
    """Return positive scores without upper bound: the root of log(1 + e^x) (DeepSeek-V4, arXiv 2606.19348 sec. 2.1)."""
    return np.asarray(np.sqrt(np.logaddexp(0.0, np.asarray(logits, dtype=np.float64))), dtype=np.float64)


#: Score functions by the catalog's word.
SCORES: Mapping[str, Callable[[ArrayLike], Floats]] = {
    "softmax": softmax,
    "sigmoid": sigmoid,
    "sqrt-softplus": sqrt_softplus,
}


def top_k(scores: ArrayLike, k: int) -> Ints:
    """Return the indices of the k best scores of each row, best first; of equal scores the lower index wins.

    Args:
        scores: numbers, [..., experts]; -inf rules an expert out.
        k: how many to choose.

    Raises:
        ValueError: k outside 1 … experts, or a score that is not a number.
    """
    values, k = np.asarray(scores, dtype=np.float64), whole(k, "top_k")
    if not values.ndim:
        raise ValueError(f"scores = {scores!r} should be an array, [..., experts]")
    if not 1 <= k <= values.shape[-1]:
        raise ValueError(f"top_k = {k} should lie between 1 and the number of experts, {values.shape[-1]}")
    if np.isnan(values).any():
        where = np.argwhere(np.isnan(values))[0].tolist()
        raise ValueError(f"score at {where} (row, expert) is NaN; top-k needs numbers that can be compared")
    falling = -values
    order = np.sort(np.argpartition(falling, k - 1, axis=-1)[..., :k], axis=-1)  # a quarter of a whole sort's time
    chosen = np.take_along_axis(falling, order, -1)
    if np.count_nonzero(falling <= chosen.max(-1, keepdims=True)) > chosen.size:
        order, chosen = np.broadcast_to(np.arange(values.shape[-1]), values.shape), falling  # a tie at the border
    best = np.argsort(chosen, axis=-1, kind="stable")[..., :k]  # stable: equal scores keep the order of their index
    return np.asarray(np.take_along_axis(order, best, -1), dtype=np.int64)


def limit_groups(scores: ArrayLike, groups: int, kept: int) -> Floats:
    """Rule out all experts but those of the `kept` best groups; a group is as good as the sum of its two best.

    Args:
        scores: what the choice goes by (bias included), [tokens, experts]; consecutive experts form a group.
        groups: number of groups.
        kept: groups a token may visit.

    Returns:
        The scores, with -inf in the groups not kept.

    Raises:
        ValueError: groups that don't divide the experts, or kept outside 1 … groups.

    Source: arXiv 2412.19437 sec. 2.1.2 (node-limited routing).
    """
    values, groups, kept = np.asarray(scores, dtype=np.float64), whole(groups, "groups"), whole(kept, "groups kept")
    if values.ndim != 2:
        raise ValueError(f"scores of shape {values.shape} should be (tokens, experts)")
    tokens, experts = values.shape
    if groups < 1 or experts % groups:
        raise ValueError(f"{experts} experts don't divide into groups = {groups}")
    if not 1 <= kept <= groups:
        raise ValueError(f"groups kept = {kept} should lie between 1 and groups = {groups}")
    grouped = values.reshape(tokens, groups, experts // groups)  # [tokens, groups, experts of a group]
    group_scores = np.sort(grouped, axis=-1)[..., -2:].sum(axis=-1)  # [tokens, groups]
    allowed = np.zeros((tokens, groups), dtype=bool)
    np.put_along_axis(allowed, top_k(group_scores, kept), True, axis=-1)
    return np.where(allowed[..., None], grouped, -np.inf).reshape(tokens, experts)


@dataclass(frozen=True)
class Routes:
    """The experts that each token visits, and their weights."""

    experts: Ints  # chosen experts, [tokens, top_k]
    weights: Floats  # their weights, [tokens, top_k]
    scores: Floats  # scores of all experts without bias, [tokens, experts]

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return len(self.experts)

    @property
    def loads(self) -> Ints:
        """Assignments per expert; they sum to tokens x top_k."""
        return count_loads(self.experts, self.scores.shape[-1])

    def check(self, scale: float = 1.0) -> None:
        """Raise unless each token visits distinct experts and its weights sum to the scale.

        Raises:
            AssertionError: the rule that is broken.
        """
        chosen = np.sort(self.experts, axis=-1)
        assert (chosen[:, 1:] > chosen[:, :-1]).all(), "a token visits an expert twice"
        assert np.allclose(self.weights.sum(axis=-1), scale), f"weights don't sum to the scale {scale}"
        assert self.loads.sum() == self.experts.size, "loads don't sum to the assignments"


def count_loads(experts: ArrayLike, total: int) -> Ints:
    """Return how many assignments each of `total` experts received.

    Args:
        experts: chosen experts, any shape.
        total: number of experts.

    Raises:
        ValueError: an expert outside 0 … total - 1, or no whole number.
    """
    chosen, total = indices(experts, "experts").ravel(), whole(total, "total")
    if chosen.size and not (chosen.min() >= 0 and chosen.max() < total):
        wrong = chosen[(chosen < 0) | (chosen >= total)][0]
        raise ValueError(f"expert {wrong} should lie between 0 and {total - 1}")
    return np.bincount(chosen, minlength=total).astype(np.int64)


@dataclass(frozen=True)
class Router:
    """The routing rule of one layer: which scores, which choice, which scale."""

    experts: int  # to choose from
    top_k: int  # experts that a token visits
    routing: Routing  # score function, groups, bias and scale, as in the catalog

    def __post_init__(self) -> None:
        whole(self.experts, "experts")
        whole(self.top_k, "top_k")
        check_routing(self.experts, self.top_k, self.routing)

    def route(
        self,
        logits: ArrayLike,
        bias: ArrayLike | None = None,
        token_ids: ArrayLike | None = None,
        table: ArrayLike | None = None,
    ) -> Routes:
        """Choose and weight the experts of each token.

        Args:
            logits: the gate's output, [tokens, experts]; no tokens give empty routes.
            bias: one number per expert, added for the choice and not for the weight (routers with a bias only).
            token_ids: [tokens], for routers that choose by token id.
            table: frozen experts of each token id, [vocabulary, top_k], for the same routers.

        Raises:
            ValueError: a shape that doesn't fit, a NaN logit, or a bias or table that this router does not use.
        """
        scores = SCORES[self.routing.score](self._checked(logits))
        if self.routing.select == "token-table":
            if bias is not None:
                raise ValueError("a router by token table takes no bias: the table has chosen already")
            chosen = look_up(table, token_ids, self.experts, self.top_k, len(scores))
        else:
            if table is not None or token_ids is not None:
                raise ValueError("a router by score takes no token table or token ids")
            chosen = self._choose(scores, bias)
        return Routes(chosen, self._weights(scores, chosen), scores)

    def _checked(self, logits: ArrayLike) -> Floats:
        x = np.asarray(logits, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != self.experts:
            raise ValueError(f"logits of shape {x.shape} should be (tokens, {self.experts})")
        if not np.isfinite(x).all():
            token, expert = np.argwhere(~np.isfinite(x))[0].tolist()
            raise ValueError(f"logit of token {token}, expert {expert} is {x[token, expert]}, not a finite number")
        return x

    def _choose(self, scores: Floats, bias: ArrayLike | None) -> Ints:
        steered = scores if bias is None else scores + self._checked_bias(bias)
        if self.routing.groups > 1:
            steered = limit_groups(steered, self.routing.groups, self.routing.groups_kept)
        return top_k(steered, self.top_k)

    def _checked_bias(self, bias: ArrayLike) -> Floats:
        b = np.asarray(bias, dtype=np.float64)
        if not self.routing.bias:
            raise ValueError("this router has no selection bias; leave bias out")
        if b.shape != (self.experts,) or not np.isfinite(b).all():
            raise ValueError(f"bias of shape {b.shape} should hold {self.experts} finite numbers")
        return b

    def _weights(self, scores: Floats, chosen: Ints) -> Floats:
        picked = np.take_along_axis(scores, chosen, axis=-1)
        return np.asarray(self.routing.scale * picked / (picked.sum(axis=-1, keepdims=True) + _TINY), dtype=np.float64)


def look_up(table: ArrayLike | None, token_ids: ArrayLike | None, experts: int, k: int, tokens: int) -> Ints:
    """Return the frozen experts of each token id (DeepSeek-V4's first layers, arXiv 2606.19348 sec. 2.1).

    Args:
        table: [vocabulary, k] expert indices.
        token_ids: [tokens] rows of the table.
        experts: number of experts.
        k: experts per token.
        tokens: how many tokens the logits hold.

    Raises:
        ValueError: a table or ids that are missing or don't fit.
    """
    if table is None or token_ids is None:
        raise ValueError("a router by token table needs table and token_ids")
    rows, ids = indices(table, "token table"), indices(token_ids, "token ids")
    if rows.ndim != 2 or rows.shape[1] != k:
        raise ValueError(f"token table of shape {rows.shape} should be (vocabulary, {k})")
    if ids.shape != (tokens,):
        raise ValueError(f"token ids of shape {ids.shape} should be ({tokens},), one per row of logits")
    if ids.size and not (ids.min() >= 0 and ids.max() < len(rows)):
        wrong = ids[(ids < 0) | (ids >= len(rows))][0]
        raise ValueError(f"token id {wrong} should lie between 0 and {len(rows) - 1}")
    chosen = rows[ids].reshape(tokens, k)
    count_loads(chosen, experts)  # raises where the table names an expert that does not exist
    return chosen


def token_table(vocabulary: int, experts: int, k: int, rng: np.random.Generator) -> Ints:
    """Return a random frozen table: each token id gets k distinct experts, uniformly.

    DeepSeek's own table ships inside its checkpoint; for loads and costs only its uniformity matters.

    Raises:
        ValueError: k outside 1 … experts.
    """
    return top_k(rng.random((whole(vocabulary, "vocabulary"), whole(experts, "experts"))), k)


def moe_layer(model: arch.Model | str, layer: int = -1) -> arch.MoE:
    """Return the experts of one layer of a model.

    Args:
        model: a model or its key in the catalog.
        layer: index as in a list; the last layer routes by score in every model of the catalog.

    Raises:
        ValueError: an unknown model; a layer that does not exist or has no experts.
    """
    loaded = arch.load(model)
    count, layer = len(loaded.layers), whole(layer, "layer")
    if not -count <= layer < count:
        raise ValueError(f"layer {layer} of {loaded.key}: should lie between 0 and {count - 1}")
    ffn = loaded.layers[layer][1]
    if not isinstance(ffn, arch.MoE):
        sparse = [i for i, (_, f) in enumerate(loaded.layers) if isinstance(f, arch.MoE)]
        if not sparse:
            raise ValueError(f"{loaded.key} has no layer with experts")
        raise ValueError(f"layer {layer} of {loaded.key} has no experts; layers {sparse[0]} to {sparse[-1]} have some")
    return ffn


def router(model: arch.Model | str, layer: int = -1) -> Router:
    """Return the routing rule of one layer of a model of the catalog, e.g. `router("deepseek-v4-pro", 0)`.

    Args:
        model: a model or its key in the catalog.
        layer: index as in a list; V4's layers 0 to 2 route by token id.

    Raises:
        ValueError: an unknown model; a layer that does not exist or has no experts.
    """
    ffn = moe_layer(model, layer)
    return Router(ffn.experts, ffn.top_k, ffn.routing)
