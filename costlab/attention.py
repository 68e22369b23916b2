"""The sparse and compressed attention kinds in NumPy, as short as their formulas: one sequence, one query at a time.

`costlab.nn.attention` computes the same in torch, with caches and for speed; tests hold the two together. Weights come
as a mapping from that layer's parameter names to arrays, matrices as (outputs, inputs):

>>> import numpy as np
>>> compress(np.eye(4), np.eye(4), np.zeros((4, 4)), np.zeros((2, 4)), np.ones(4), block=2, series=1).round(2)
array([[1.41, 1.41, 0.  , 0.  ],
       [0.  , 0.  , 1.41, 1.41]])

Chapter: attention
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from costlab import arch
from costlab.arrays import ArrayLike, Floats

#: Places of chosen keys.
Places = np.ndarray[tuple[Any, ...], np.dtype[np.intp]]
Weights = Mapping[str, Floats]
_EPS = 1e-6


def rms_norm(x: Floats, weight: ArrayLike = 1.0) -> Floats:
    """Return x, shape (…, width), divided by its root mean square and scaled.

    Source: arXiv 1910.07467 eq. 4.
    """
    return np.asarray(x / np.sqrt(np.mean(x * x, -1, keepdims=True) + _EPS) * np.asarray(weight))


def softmax(x: Floats, axis: int = -1) -> Floats:
    """Return exp(x) normalised to sum 1 along an axis."""
    e = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(e / e.sum(axis, keepdims=True))


def heads(x: Floats, count: int) -> Floats:
    """Return x, shape (n, count*width), cut into heads, shape (n, count, width)."""
    return x.reshape(len(x), count, -1)  # (n, count, width)


def frequencies(width: int, theta: float = 10_000.0) -> Floats:
    """Return the radians per position of each rotary pair, shape (width/2,).

    Source: arXiv 2104.09864 eq. 15.
    """
    return theta ** -(np.arange(0, width, 2) / width)


def rotate(x: Floats, positions: ArrayLike, freq: Floats, interleaved: bool = True, last: bool = True) -> Floats:
    """Turn pairs of channels by position times frequency.

    Args:
        x: shape (n, width) or (n, heads, width).
        positions: shape (n,); negative ones turn back.
        freq: radians per position, shape (pairs,).
        interleaved: pair neighbours; otherwise channel i with i + pairs.
        last: turn the last 2*pairs channels; otherwise the first.
    """
    angle = np.multiply.outer(np.asarray(positions), freq)  # (n, pairs)
    turn = np.exp(1j * angle).reshape(len(x), *[1] * (x.ndim - 2), -1)  # (n, 1, pairs) for heads
    y, start = x.copy(), x.shape[-1] - 2 * len(freq) if last else 0
    part = y[..., start : start + 2 * len(freq)]
    a, b = (np.s_[..., 0::2], np.s_[..., 1::2]) if interleaved else (np.s_[..., : len(freq)], np.s_[..., len(freq) :])
    z = (part[a] + 1j * part[b]) * turn
    part[a], part[b] = z.real, z.imag
    return y


def compress(h: Floats, content: Floats, gate: Floats, bias: Floats, norm: Floats, block: int, series: int) -> Floats:
    """Return one entry per whole block: contents averaged by a softmax of gates, channel by channel.

    Args:
        h: layer input, shape (n, hidden).
        content: matrix, shape (series*width, hidden).
        gate: matrix of the same shape.
        bias: added to the gates by place in the block, shape (block, series*width).
        norm: scale of the final RMSNorm, shape (width,).
        block: tokens per entry.
        series: 2 adds the tokens of the block before; its channels stand first.

    Returns:
        shape (n // block, width).

    Source: arXiv 2606.19348 eq. 9-12 (two series), 20-23 (one).
    """
    entries, width = [], len(norm)
    for i in range(len(h) // block):
        own = h[i * block : (i + 1) * block]
        c, z = (own @ content.T)[:, -width:], (own @ gate.T + bias)[:, -width:]
        if series == 2 and i:
            before = h[(i - 1) * block : i * block]
            c = np.concatenate([(before @ content.T)[:, :width], c])  # (2*block, width)
            z = np.concatenate([(before @ gate.T + bias)[:, :width], z])  # (2*block, width)
        entries.append((softmax(z, 0) * c).sum(0))
    return rms_norm(np.reshape(entries, (-1, width)), norm)  # (n // block, width)


def index_scores(q: Floats, weights: Floats, keys: Floats) -> Floats:
    """Return one score per key: heads' ReLU products, weighted.

    Args:
        q: one query's index heads, shape (heads, width).
        weights: of the heads, shape (heads,).
        keys: shape (n, width).

    Source: arXiv 2606.19348 eq. 16.
    """
    return np.asarray(weights @ np.maximum(q @ keys.T, 0) / np.sqrt(q.size))


def top_k(scores: Floats, k: int) -> Places:
    """Return the places of the k best scores, best first, the earlier of equals first; all if there are fewer."""
    return np.argsort(-scores, kind="stable")[:k]


def attend(q: Floats, keys: Floats, values: Floats, scale: float, sink: Floats | None = None) -> Floats:
    """Return softmax-weighted values, shape (heads, values' width); a sink takes weight and gives nothing.

    Args:
        q: one query's heads, shape (heads, width).
        keys: shape (n, width).
        values: shape (n, values' width).
        scale: factor on the dot products.
        sink: one logit per head, shape (heads,).

    Source: arXiv 2606.19348 eq. 26-27.
    """
    logits = scale * q @ keys.T  # (heads, n)
    if sink is None:
        return softmax(logits) @ values
    return softmax(np.concatenate([logits, sink[:, None]], 1))[:, :-1] @ values


def attend_window(q: Floats, keys: Floats, values: Floats, window: int, sinks: Floats | None = None) -> Floats:
    """Return a sliding layer's outputs, token by token: each reads itself and the `window - 1` tokens before it.

    Args:
        q: shape (heads, n, width).
        keys: shape (kv_heads, n, width); neighbouring heads share one.
        values: shape (kv_heads, n, values' width).
        window: tokens that a query reads, at least 1.
        sinks: one logit per head, shape (heads,).

    Returns:
        shape (heads, n, values' width).
    """
    shared, (count, n, width) = len(q) // len(keys), q.shape
    out = np.empty((count, n, values.shape[2]))
    for head in range(count):
        sink = None if sinks is None else sinks[head : head + 1]
        for t in range(n):
            near = slice(max(t + 1 - window, 0), t + 1)
            group = keys[head // shared, near], values[head // shared, near]
            out[head, t] = attend(q[head, t : t + 1], *group, width**-0.5, sink)[0]
    return out


def csa_choice(h: Floats, latent: Floats, w: Weights, dims: arch.CSA, freq: Floats) -> list[Places]:
    """Return, query by query, the places of the compressed entries that CSA's indexer picks.

    Args:
        h: layer input, shape (n, hidden).
        latent: query latents, shape (n, q_rank).
        w: weights of `costlab.nn.attention.CSA`.
        dims: its dimensions.
        freq: rotary frequencies, shape (rope_dim/2,).

    Source: arXiv 2606.19348 eq. 13-17.
    """
    at = np.arange(len(h))
    keys = _compressed(h, w, "index_compressor", dims.block, 2)
    keys = rotate(keys, at[: len(keys)] * dims.block, freq)
    q = heads(latent @ w["index.query.weight"].T, dims.index_heads)  # (n, heads, index_dim)
    q, weights = rotate(q, at, freq), h @ w["index.weights.weight"].T
    return [top_k(index_scores(q[t], weights[t], keys[: (t + 1) // dims.block]), dims.top_k) for t in at]


def shared_kv(h: Floats, w: Weights, dims: arch.SharedWindow, theta: float = 10_000.0) -> Floats:
    """Return the output of DeepSeek-V4's attention: window alone, HCA or CSA, by the class of `dims`.

    Args:
        h: layer input, shape (n, hidden).
        w: weights of `costlab.nn.attention.SharedWindow`, `HCA` or `CSA`.
        dims: dimensions of the layer.
        theta: base of the rotary frequencies.

    Returns:
        shape (n, hidden).

    Source: arXiv 2606.19348 sec. 2.3.
    """
    at, freq = np.arange(len(h)), frequencies(dims.rope_dim, theta)
    latent = rms_norm(h @ w["query_down.weight"].T, w["query_norm.weight"])
    q = heads(latent @ w["query_up.weight"].T, dims.heads)  # (n, heads, head_dim)
    q = rotate(rms_norm(q), at, freq)
    raw = rotate(rms_norm(h @ w["window.weight"].T, w["window_norm.weight"]), at, freq)
    entries, choice = _entries_and_choice(h, latent, w, dims, freq)
    out = np.empty_like(q)
    for t in at:
        read = np.concatenate([raw[max(0, t + 1 - dims.window) : t + 1], entries[choice[t]]])  # (keys, head_dim)
        out[t] = attend(q[t], read, read, dims.head_dim**-0.5, w["sink"])
    out = rotate(out, -at, freq)  # values carried their position's turn: take the query's back
    groups = out.reshape(len(h), dims.groups, -1)  # (n, groups, heads*head_dim/groups)
    mixed = np.einsum("ngi,goi->ngo", groups, w["output.down"]).reshape(len(h), -1)
    return np.asarray(mixed @ w["output.up.weight"].T)


def dsa(h: Floats, w: Weights, dims: arch.DSA, theta: float = 10_000.0) -> Floats:
    """Return the output of DeepSeek sparse attention, keys and values expanded head by head.

    Args:
        h: layer input, shape (n, hidden).
        w: weights of `costlab.nn.attention.DSA`.
        dims: dimensions of the layer.
        theta: base of the rotary frequencies.

    Returns:
        shape (n, hidden).

    Source: DeepSeek-V3.2-Exp report sec. 1; arXiv 2412.19437 sec. 2.1.1.
    """
    at, freq, n = np.arange(len(h)), frequencies(dims.rope_dim, theta), len(h)
    latent = rms_norm(h @ w["mla.query_down.weight"].T, w["mla.query_norm.weight"])
    q = rotate(heads(latent @ w["mla.query_up.weight"].T, dims.heads), at, freq)  # (n, heads, nope + rope)
    down = h @ w["mla.latent_down.weight"].T
    c, k_rope = rms_norm(down[:, : dims.kv_rank], w["mla.latent_norm.weight"]), down[:, dims.kv_rank :]
    up = heads(c @ w["mla.latent_up.weight"].T, dims.heads)  # (n, heads, nope + v)
    shared = np.repeat(rotate(k_rope, at, freq)[:, None], dims.heads, 1)
    keys = np.concatenate([up[..., : dims.nope_dim], shared], -1)  # (n, heads, nope + rope)
    values, chosen = up[..., dims.nope_dim :], dsa_choice(h, latent, w, dims, freq)
    scale = float(keys.shape[-1] ** -0.5)
    each = range(dims.heads)
    out = [[attend(q[t, i, None], keys[s, i], values[s, i], scale) for i in each] for t, s in enumerate(chosen)]
    return np.reshape(out, (n, -1)) @ w["mla.output.weight"].T


def dsa_choice(h: Floats, latent: Floats, w: Weights, dims: arch.DSA, freq: Floats) -> list[Places]:
    """Return, query by query, the places of the tokens that DSA's indexer picks.

    Args:
        h: layer input, shape (n, hidden).
        latent: query latents, shape (n, q_rank).
        w: weights of `costlab.nn.attention.DSA`.
        dims: its dimensions.
        freq: rotary frequencies, shape (rope_dim/2,).

    Source: DeepSeek-V3.2-Exp report eq. 1.
    """
    at, raw = np.arange(len(h)), h @ w["index_key.weight"].T
    normed = (raw - raw.mean(-1, keepdims=True)) / np.sqrt(raw.var(-1, keepdims=True) + _EPS)  # LayerNorm
    k = rotate(normed * w["index_norm.weight"] + w["index_norm.bias"], at, freq, interleaved=False, last=False)
    q = heads(latent @ w["index.query.weight"].T, dims.index_heads)  # (n, heads, index_dim)
    q, weights = rotate(q, at, freq, interleaved=False, last=False), h @ w["index.weights.weight"].T
    return [top_k(index_scores(q[t], weights[t], k[: t + 1]), dims.top_k) for t in at]


def _compressed(h: Floats, w: Weights, name: str, block: int, series: int) -> Floats:
    parts = (w[f"{name}.{part}"] for part in ("content.weight", "gate.weight", "bias", "norm.weight"))
    content, gate, bias, norm = parts
    return compress(h, content, gate, bias, norm, block, series)


def _entries_and_choice(
    h: Floats, latent: Floats, w: Weights, dims: arch.SharedWindow, freq: Floats
) -> tuple[Floats, list[Places]]:
    """Return compressed entries, shape (blocks, head_dim), and which of them each query reads."""
    if not isinstance(dims, arch.HCA):
        return np.zeros((0, dims.head_dim)), [np.arange(0)] * len(h)
    entries = _compressed(h, w, "compressor", dims.block, dims.series)
    entries = rotate(entries, np.arange(len(entries)) * dims.block, freq)
    if isinstance(dims, arch.CSA):
        return entries, csa_choice(h, latent, w, dims, freq)
    return entries, [np.arange((t + 1) // dims.block) for t in range(len(h))]
