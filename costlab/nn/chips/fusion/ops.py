"""Fused operators as torch's custom operators `costlab_fused::…`, each with a plain kernel that says what it computes.

A kernel computes in float32 at least, whatever its tensors are, and rounds once at the end, as the operators of CANN
do. It writes its output alone: what lies between never reaches memory that a graph sees.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from costlab.nn.moe.layer import SCORES, limit_groups

#: The namespace of the operators below.
NAMESPACE = "costlab_fused"


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _shaped(made: Tensor, *shape: int) -> Tensor:
    """Return a result, which has the shape that a trace was told of: no other tensor is larger than the first.

    Raises:
        ValueError: another shape.
    """
    if tuple(made.shape) != shape:
        raise ValueError(f"makes {list(made.shape)} in place of {list(shape)}")
    return made.contiguous()


@torch.library.custom_op(f"{NAMESPACE}::rms_norm", mutates_args=())
def fused_rms_norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """Return x / sqrt(mean(x^2) + eps) * weight over the last axis, in x's type.

    Args:
        x: shape (…, width).
        weight: shape (width,); None: 1.
        eps: added to the mean of squares.
    """
    wide = _wide(x)
    normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    scaled = normed if weight is None else normed * _wide(weight)
    return _shaped(scaled.to(x.dtype), *x.shape)


@fused_rms_norm.register_fake
def _(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


@torch.library.custom_op(f"{NAMESPACE}::add_rms_norm", mutates_args=())
def fused_add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
    """Return x + residual and its RMSNorm, both written in one pass.

    Args:
        x: shape (…, width).
        residual: of the same shape.
        weight: shape (width,); None: 1.
        eps: added to the mean of squares.
    """
    total = (x + residual).contiguous()
    return total, fused_rms_norm(total, weight, eps)


@fused_add_rms_norm.register_fake
def _(x: Tensor, residual: Tensor, weight: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
    made = torch.empty(
        torch.broadcast_shapes(x.shape, residual.shape),
        dtype=torch.promote_types(x.dtype, residual.dtype),
        device=x.device,
    )
    return made, torch.empty_like(made)


@torch.library.custom_op(f"{NAMESPACE}::rotary", mutates_args=())
def fused_rotary(x: Tensor, cos: Tensor, sin: Tensor, pairing: str) -> Tensor:
    """Turn pairs of channels by angles.

    Args:
        x: shape (…, width).
        cos: of the angles, one for each pair, (…, width/2), or one for each channel, (…, width); broadcast over x.
        sin: of the same shape.
        pairing: "halves" pairs channel i with i + width/2; "interleaved" pairs neighbours; "regrouped" reads
            neighbours and writes halves.
    """
    a, b = _pair(_wide(x), pairing != "halves")
    cos_a, cos_b = _of_pairs(_wide(cos), x.shape[-1], pairing)
    sin_a, sin_b = _of_pairs(_wide(sin), x.shape[-1], pairing)
    turned = (a * cos_a - b * sin_a, b * cos_b + a * sin_b)
    joined = torch.stack(turned, -1).flatten(-2) if pairing == "interleaved" else torch.cat(turned, -1)
    return _shaped(joined.to(x.dtype), *x.shape)


def _pair(x: Tensor, neighbours: bool) -> tuple[Tensor, Tensor]:
    """Return the first and the second of each pair."""
    if neighbours:
        return x[..., 0::2], x[..., 1::2]
    first, second = x.chunk(2, -1)
    return first, second


def _of_pairs(table: Tensor, width: int, pairing: str) -> tuple[Tensor, Tensor]:
    return _pair(table, pairing != "halves") if table.shape[-1] == width else (table, table)


@fused_rotary.register_fake
def _(x: Tensor, cos: Tensor, sin: Tensor, pairing: str) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


@torch.library.custom_op(f"{NAMESPACE}::swiglu", mutates_args=())
def fused_swiglu(gate: Tensor, up: Tensor, limit: float | None = None) -> Tensor:
    """Return silu(gate) * up.

    Args:
        gate: any shape.
        up: of the same shape.
        limit: gate <= limit and -limit <= up <= limit before (DeepSeek-V4); None: no limit.
    """
    wide, factor = _wide(gate), _wide(up)
    if limit is not None:
        wide, factor = wide.clamp(max=limit), factor.clamp(-limit, limit)
    return _shaped((F.silu(wide) * factor).to(gate.dtype), *gate.shape)


@fused_swiglu.register_fake
def _(gate: Tensor, up: Tensor, limit: float | None = None) -> Tensor:
    return torch.empty(gate.shape, dtype=gate.dtype, device=gate.device)


@torch.library.custom_op(f"{NAMESPACE}::attention", mutates_args=())
def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, sink: Tensor | None, scale: float
) -> Tensor:
    """Return softmax(query key^T * scale + mask) value; heads of a group share a key.

    Args:
        query: shape (batch, heads, queries, width).
        key: shape (batch, key heads, keys, width); the query heads are a multiple of the key heads.
        value: shape (batch, key heads, keys, value width).
        mask: broadcast over (batch, heads, queries, keys); bool: True where a key is seen, and a query that sees none
            gets 0; float: added to the scores.
        sink: one score per head, shape (heads,), that takes weight and gives no value.
        scale: factor on the dot products.
    """
    group = query.shape[1] // key.shape[1]
    keys, values = (_wide(each).repeat_interleave(group, 1) for each in (key, value))
    weights = _weights(_wide(query) @ keys.mT * scale, mask, sink)
    return _shaped((weights @ values).to(query.dtype), *query.shape[:-1], value.shape[-1])


def _weights(scores: Tensor, mask: Tensor | None, sink: Tensor | None) -> Tensor:
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, -torch.inf)
    elif mask is not None:
        scores = scores + mask
    keys = scores.shape[-1]
    if sink is not None:
        scores = torch.cat([scores, sink.to(scores.dtype)[:, None, None].expand(*scores.shape[:-1], 1)], -1)
    blind = (scores == -torch.inf).all(-1, keepdim=True)
    return scores.softmax(-1).masked_fill(blind, 0.0)[..., :keys]


@fused_attention.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, sink: Tensor | None, scale: float) -> Tensor:
    return torch.empty((*query.shape[:-1], value.shape[-1]), dtype=query.dtype, device=query.device)


@torch.library.custom_op(f"{NAMESPACE}::gating", mutates_args=())
def fused_gating(
    logits: Tensor,
    bias: Tensor | None,
    top_k: int,
    score: str,
    normalise: str,
    eps: float = 0.0,
    scale: float = 1.0,
    groups: int = 1,
    kept: int = 1,
    ordered: bool = True,
    wide: bool = True,
) -> tuple[Tensor, Tensor]:
    """Choose experts, and return their weights and numbers, (tokens, top_k) each.

    Args:
        logits: shape (tokens, experts).
        bias: added to the scores for the choice alone, shape (experts,); None: 0.
        top_k: experts of a token.
        score: "softmax", "sigmoid", "sqrt-softplus", or "none".
        normalise: what becomes of the chosen scores: "sum" divides by their sum plus eps, "softmax" takes theirs,
            "none" leaves them.
        eps: guard against a sum of 0.
        scale: factor on the weights.
        groups: of experts; those of the `kept` groups whose two best scores sum highest compete.
        kept: groups that a token may visit.
        ordered: best expert first; otherwise in any order.
        wide: weights in float32 at least, whatever the logits' type.
    """
    scores = _wide(logits) if score == "none" else SCORES[score](_wide(logits))
    steered = scores if bias is None else scores + _wide(bias)
    if groups > 1:
        steered = limit_groups(steered, groups, kept)
    chosen = steered.topk(top_k, -1, True, ordered).indices
    picked = scores.gather(-1, chosen)
    if normalise == "sum":
        picked = picked / (picked.sum(-1, keepdim=True) + eps)
    elif normalise == "softmax":
        picked = picked.softmax(-1)
    return (picked * scale).to(picked.dtype if wide else logits.dtype), chosen


@fused_gating.register_fake
def _(
    logits: Tensor,
    bias: Tensor | None,
    top_k: int,
    score: str,
    normalise: str,
    eps: float = 0.0,
    scale: float = 1.0,
    groups: int = 1,
    kept: int = 1,
    ordered: bool = True,
    wide: bool = True,
) -> tuple[Tensor, Tensor]:
    shape = (*logits.shape[:-1], top_k)
    dtype = torch.promote_types(logits.dtype, torch.float32) if wide else logits.dtype
    return logits.new_empty(shape, dtype=dtype), logits.new_empty(shape, dtype=torch.int64)
