"""Claims about attention and its cache, settled."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from costlab import arch, catalog
from costlab.arrays import Floats
from costlab.claims.ledger import (
    LONGEST,
    SHORT,
    V4_PRO,
    Settled,
    Values,
    Verdict,
    agrees,
    graded,
    layer_of,
    ratio,
    settles,
)
from costlab.text import tokens_text


@settles("kv-fills-gpu")
def _kv_fills_gpu(given: Values) -> Settled:
    memory = catalog.chip("h800").memory_bytes
    models = [arch.load(key) for key in ("deepseek-v3", "llama-3.1-70b")]
    sizes = {model.name: _kv(model, given["tokens"]) for model in models}
    computed = ", ".join(f"{name} {size / 1e9:.0f} GB" for name, size in sizes.items())
    kept = (getattr(attention, "entry", ()) for model in models for attention, _ in model.layers)
    formats = sorted({dtype for entry in kept for _, dtype in entry})
    why = f"In {', '.join(formats).upper()}; the weights need room besides."
    full = [size > 0.9 * memory for size in sizes.values()]
    return graded(full), f"{computed}, on a chip of {memory / 1e9:.0f} GB", why


@settles("kv-131k-tens-gb")
def _kv_131k_tens_gb(given: Values) -> Settled:
    models = arch.models().values()
    large = [model for model in models if _kv(model, given["tokens"]) >= given["low_bytes"]]
    computed = f"{len(large)} of {len(models)} models: {', '.join(model.name for model in large)}"
    full = [model for model in models if all(type(a) is arch.FullAttention for a, _ in model.layers)]
    also = sum(model in large for model in full)
    rest = f"{len(large) - also} of the other {len(models) - len(full)}"
    kinds = f"{also} of the {len(full)} with full attention in every layer, {rest}"
    subject = arch.load(V4_PRO)
    why = f"{kinds}. {subject.name}, the article's subject, keeps {_kv(subject, given['tokens']) / 1e9:.2f} GB."
    return graded(model in large for model in models), computed, why


def _kv(model: arch.Model, tokens: float) -> float:
    return float(model.kv_bytes(tokens).total)


@settles("kv-10-percent")
def _kv_10_percent(given: Values) -> Settled:
    old, new = (_kv(arch.load(key), given["tokens"]) for key in ("deepseek-v3.2", V4_PRO))
    computed = f"{new / 1e9:.2f} of {old / 1e9:.1f} GB: {new / old:.1%}"
    why = "With the storage of DeepSeek's kernels, and V3.2's index keys counted."
    return "holds" if agrees(given["share"], new / old, 0.05) else "wrong", computed, why


@settles("flops-27-percent")
def _flops_27_percent(given: Values) -> Settled:
    indexer = arch.load(V4_PRO).record.math["indexer"]
    without = {**arch.FP8_EQUIVALENTS, indexer: 1.0}  # a chip that runs the index scores no faster than FP8

    def shares(tokens: float) -> tuple[float, float, float]:
        old, new = (arch.load(key).decode_flops(tokens) for key in ("deepseek-v3.2", V4_PRO))
        pairs = (
            (new.total, old.total),
            (new.weighted(), old.weighted()),
            (new.weighted(without), old.weighted(without)),
        )
        raw, weighted, plain = (float(ours / theirs) for ours, theirs in pairs)
        return raw, weighted, plain

    raw, weighted, plain = shares(given["tokens"])
    there, anyway = (agrees(given["share"], share, 0.02) for share in (weighted, plain))
    computed = (
        f"{raw:.1%} raw, {weighted:.1%} in FP8-equivalents at {tokens_text(given['tokens'])}, {plain:.1%} if "
        f"{indexer.upper()} runs no faster than FP8; {shares(SHORT)[1]:.0%} at {tokens_text(SHORT)}"
    )
    why = (
        f"The condition: a chip that runs {indexer.upper()} twice as fast as FP8, since V4-Pro's index scores count "
        f"{arch.FP8_EQUIVALENTS[indexer]:g}."
    )
    return graded((there, anyway)) if there else "wrong", computed, why


@settles("csa-4-topk")
def _csa_4_topk(given: Values) -> Settled:
    layer = layer_of(V4_PRO, arch.CSA)
    chosen = any(
        read.entries.cap == layer.top_k and read.entries.stride == layer.block for read in layer.reads("decode")
    )
    entries = f"{'the best' if chosen else 'not the best'} {layer.top_k:,} entries read"
    computed = f"blocks of {layer.block}, {entries}, and a window of {layer.window} tokens"
    why = f"Each entry draws on {layer.series} blocks: {layer.series * layer.block} tokens."
    return "holds" if layer.block == given["block"] and chosen else "wrong", computed, why


@settles("hca-128-dense")
def _hca_128_dense(given: Values) -> Settled:
    layer = layer_of(V4_PRO, arch.HCA)
    dense = all(read.entries.cap in (None, layer.window) for read in layer.reads("decode"))
    entries = "all entries read" if dense else "not all entries read"
    computed = f"blocks of {layer.block}, {entries}, and a window of {layer.window} tokens"
    why = f"At {tokens_text(LONGEST)} tokens that is {LONGEST // layer.block:,} entries."
    return "holds" if layer.block == given["block"] and dense else "wrong", computed, why


@settles("csa-article-27")
def _csa_article_27(given: Values) -> Settled:
    important, shrink = given["important"], given["compression"]
    compute = important + ratio(1 - important, shrink)
    kept = 1 + ratio(1, shrink)  # its code keeps every full key and value, and the compressed ones besides
    computed = f"{compute:.1%} of the operations and {kept:.1%} of the cache"
    why = (
        f"{important:.0%} in full and {1 - important:.0%} at 1/{shrink:g} make {compute:.1%}, where "
        f"{given['compute']:.0%} is claimed; full keys stay cached beside the compressed ones, since important queries "
        f"read them all: {kept:.1%}, where {given['kept']:.0%} is claimed."
    )
    right = agrees(given["compute"], compute, 0.02) and agrees(given["kept"], kept, 0.02)
    return "holds" if right else "does not follow", computed, why


@settles("csa-article-code")
def _csa_article_code(given: Values) -> Settled:
    tokens, width = 20, int(given["head_dim"])
    code = _ArticleCSA(width, max(int(given["compression"]), 1))
    rng = np.random.default_rng(0)
    query, key, value = rng.normal(size=(3, tokens, width))
    small = code.compress(key)
    try:
        code.attend(query, key, value, given["important"])
        runs, computed = True, "it runs"
    except ValueError:
        runs, computed = False, f"it stops: a query of {width} dims meets keys of {small.shape[1]}"
    later = key + np.eye(tokens)[-1][:, None]  # another last key
    first = [code.attend(query, keys, value, 1.0)[0] for keys in (key, later)]  # 1.0: no token meets compressed keys
    causal = bool(np.allclose(*first))
    sees = "no later key" if causal else "later keys"
    why = (
        f"It makes {len(small)} entries of {tokens} tokens, {small.shape[1]} of {width} dims wide; a token sees {sees}."
    )
    verdict: Verdict = "holds" if causal and len(small) < tokens else "does not follow"
    return verdict if runs else "wrong", computed, why


@dataclass(frozen=True)
class _ArticleCSA:
    """E's compressed sparse attention, rule by rule, its matrix of compression drawn at random as the listing does."""

    width: int
    compression: int

    def compress(self, rows: Floats) -> Floats:
        """Return the compressed keys or values that the listing makes of `rows` [tokens, width]."""
        shape = (self.width, self.width // self.compression)
        matrix = np.random.default_rng(1).normal(size=shape) / math.sqrt(self.width)
        return np.asarray(rows @ matrix)

    def attend(self, query: Floats, key: Floats, value: Floats, important: float) -> Floats:
        """Return [tokens, width]: the share of important tokens attends to full keys, the others to compressed ones."""
        rank = np.argsort(np.abs((query * key).sum(axis=-1)))
        best = rank[-max(1, int(len(rank) * important)) :]
        small = self.compress(key), self.compress(value)
        out = np.zeros_like(query)
        for i, row in enumerate(query):
            keys, values = (key, value) if i in best else small
            scores = row @ keys.T / math.sqrt(keys.shape[1])
            weights = np.exp(scores - scores.max())
            out[i] = weights @ values / weights.sum()
        return out
