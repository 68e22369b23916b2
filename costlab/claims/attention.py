"""Claims about attention and its cache, settled."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from costlab import arch, catalog
from costlab.arrays import Floats
from costlab.claims.ledger import LONGEST, SHORT, V4_PRO, Settled, Values, layer_of, settles
from costlab.claims.parts import literal, part
from costlab.text import tokens_text

_PRO, _OLD = 'arch.load("deepseek-v4-pro")', 'arch.load("deepseek-v3.2")'


@settles("kv-fills-gpu", "attention#why-there-is-a-cache")
def _kv_fills_gpu(given: Values) -> Settled:
    chip, tokens = catalog.chip("h800"), literal(given["tokens"])
    models = [arch.load(key) for key in ("llama-3.1-70b", "deepseek-v3")]
    parts = [
        part(f"cache of {model.name} over the memory of a chip", "times", given["full"],
             f'arch.load("{model.key}").kv_bytes({tokens}).total / catalog.chip("h800").memory_bytes', 0.0,
             relation="at least", number="full")
        for model in models
    ]  # fmt: skip
    sizes = ", ".join(f"{model.name} {_kv(model, given['tokens']) / 1e9:.0f} GB" for model in models)
    kept = (getattr(attention, "entry", ()) for model in models for attention, _ in model.layers)
    formats = sorted({dtype for entry in kept for _, dtype in entry})
    why = (
        f"The cache of one request takes {sizes} in {', '.join(formats).upper()}, on a chip of "
        f"{chip.memory_bytes / 1e9:.0f} GB. The weights need room besides, so that even the smaller one leaves none."
    )
    return Settled(parts, why)


@settles("kv-131k-tens-gb", "attention#why-there-is-a-cache")
def _kv_131k_tens_gb(given: Values) -> Settled:
    tokens = literal(given["tokens"])
    full = [model for model in arch.models().values() if is_full(model)]
    others = [model for model in arch.models().values() if not is_full(model)]
    subject = arch.load(V4_PRO)
    parts = [
        part("cache of Llama-3.1-70B", "bytes", given["low_bytes"],
             f'arch.load("llama-3.1-70b").kv_bytes({tokens}).total', 0.0, relation="at least", number="low_bytes"),
        part("least cache of a model with full attention in every layer", "bytes", given["low_bytes"],
             f"claims.attention.least_cache({tokens}, full=True)", 0.0, relation="at least", number="low_bytes"),
        part(f"cache of {subject.name}, the article's subject", "bytes", given["low_bytes"],
             f"{_PRO}.kv_bytes({tokens}).total", 0.0, relation="at least", beyond=True, number="low_bytes"),
    ]  # fmt: skip
    large = [sum(_kv(model, given["tokens"]) >= given["low_bytes"] for model in each) for each in (full, others)]
    why = (
        f"At this length {sum(large)} of {len(full) + len(others)} models of the catalog keep that much: {large[0]} of "
        f"the {len(full)} with full attention in every layer, {large[1]} of the other {len(others)}. {subject.name}, "
        f"the article's subject, keeps {_kv(subject, given['tokens']) / 1e9:.2f} GB."
    )
    return Settled(parts, why, "full attention in every layer, keys and values in sixteen bits")


def is_full(model: arch.Model) -> bool:
    """Say whether every layer of a model has full attention."""
    return all(type(attention) is arch.FullAttention for attention, _ in model.layers)


def least_cache(tokens: float, *, full: bool) -> float:
    """Return the least bytes that a model of the catalog keeps of so many tokens, of those with full attention or not.

    Raises:
        ValueError: no such model, or fewer than one token.
    """
    return min(_kv(model, tokens) for model in arch.models().values() if is_full(model) == full)


def _kv(model: arch.Model, tokens: float) -> float:
    return float(model.kv_bytes(tokens).total)


@settles("kv-10-percent", "attention#is-it-10")
def _kv_10_percent(given: Values) -> Settled:
    tokens = literal(given["tokens"])
    kept = f"{_PRO}.kv_bytes({tokens}).total / {_OLD}.kv_bytes({tokens}).total"
    found = part("cache of V4-Pro over that of V3.2", "share", given["share"], kept, 0.05, number="share")
    old, new = (_kv(arch.load(key), given["tokens"]) for key in ("deepseek-v3.2", V4_PRO))
    why = (
        f"V4-Pro keeps {new / 1e9:.2f} GB of {tokens_text(given['tokens'])} tokens and V3.2 {old / 1e9:.1f} GB, which "
        f"is {new / old:.1%}. Both are counted as DeepSeek's kernels store them, with V3.2's index keys."
    )
    return Settled([found], why)


@settles("flops-27-percent", "attention#is-it-27")
def _flops_27_percent(given: Values) -> Settled:
    indexer, tokens = arch.load(V4_PRO).record.math["indexer"], literal(given["tokens"])
    plain = f'{{**arch.FP8_EQUIVALENTS, "{indexer}": 1.0}}'

    def share(how: str, at: str = tokens) -> str:
        return f"{_PRO}.decode_flops({at}).{how} / {_OLD}.decode_flops({at}).{how}"

    ways = (
        ("in FP8-equivalents", share("weighted()"), False),
        (f"if {indexer.upper()} runs no faster than FP8", share(f"weighted({plain})"), True),
        ("in raw operations", share("total"), True),
    )
    parts = [
        part(f"operations of V4-Pro over those of V3.2, {name}", "share", given["share"], formula, 0.02, beyond=beyond,
             number="share")
        for name, formula, beyond in ways
    ]  # fmt: skip
    weighted, slow, raw = (each.computed or 0.0 for each in parts)
    short = float(arch.load(V4_PRO).decode_flops(SHORT).weighted() / arch.load("deepseek-v3.2").decode_flops(SHORT)
                  .weighted())  # fmt: skip
    why = (
        f"At {tokens_text(given['tokens'])} it is {weighted:.1%} in FP8-equivalents, {raw:.1%} raw, and {slow:.1%} if "
        f"{indexer.upper()} runs no faster than FP8. V4-Pro's index scores count "
        f"{arch.FP8_EQUIVALENTS[indexer]:g} each only where a chip runs {indexer.upper()} at twice the speed of FP8. "
        f"At {tokens_text(SHORT)} the share is {short:.0%}."
    )
    return Settled(parts, why, f"operations are weighed by a chip that runs {indexer.upper()} at twice the FP8 rate")


@settles("csa-4-topk", "attention#csa-one-entry-for-four-tokens")
def _csa_4_topk(given: Values) -> Settled:
    layer = layer_of(V4_PRO, arch.CSA)
    parts = (
        part("tokens of a block", "tokens", given["block"], 'claims.layer_of("deepseek-v4-pro", arch.CSA).block', 0.0,
             number="block"),
        part(f"entries that a query reads, of those kept at {tokens_text(LONGEST)}", "share", given["most"],
             f'claims.attention.share_read("deepseek-v4-pro", arch.CSA, {LONGEST})', 0.0, relation="at most",
             number="most"),
    )  # fmt: skip
    why = (
        f"The published layers have blocks of {layer.block}; the best {layer.top_k:,} entries are read, and a window "
        f"of {layer.window} tokens besides. Each entry draws on {layer.series} blocks: "
        f"{layer.series * layer.block} tokens."
    )
    return Settled(parts, why)


@settles("hca-128-dense", "attention#hca-one-entry-for-128-tokens")
def _hca_128_dense(given: Values) -> Settled:
    layer = layer_of(V4_PRO, arch.HCA)
    parts = (
        part("tokens of a block", "tokens", given["block"], 'claims.layer_of("deepseek-v4-pro", arch.HCA).block', 0.0,
             number="block"),
        part(f"entries that a query reads, of those kept at {tokens_text(LONGEST)}", "share", given["read"],
             f'claims.attention.share_read("deepseek-v4-pro", arch.HCA, {LONGEST})', 0.0, number="read"),
    )  # fmt: skip
    why = (
        f"The published layers have blocks of {layer.block}, of which every query reads all, and a window of "
        f"{layer.window} tokens besides. At {tokens_text(LONGEST)} tokens that is {LONGEST // layer.block:,} entries."
    )
    return Settled(parts, why)


def share_read(model: str, kind: type[arch.CSA] | type[arch.HCA], tokens: int) -> float:
    """Return which share of a compressed layer's entries a query at the end of so many tokens reads.

    Args:
        model: with such a layer.
        kind: of the layer.
        tokens: of context.
    """
    layer = layer_of(model, kind)
    caps = [read.entries.cap for read in layer.reads("decode") if read.entries.stride == layer.block]
    kept = tokens // layer.block
    return min(1.0 if cap is None else min(1.0, cap / kept) for cap in caps)


# --- the article's own compression -----------------------------------------------------------------------------


@settles("csa-article-27", "attention#a-compressor-that-runs")
def _csa_article_27(given: Values) -> Settled:
    important, shrink = given["important"], given["compression"]
    parts = (
        part("operations over those of full attention, by E's rule", "share", given["compute"],
             f"claims.attention.article_compute({literal(important)}, {literal(shrink)})", 0.02, number="compute"),
        part("cache over that of full attention, by E's code", "share", given["kept"],
             f"claims.attention.article_kept({literal(shrink)})", 0.02, number="kept"),
    )  # fmt: skip
    compute, kept = (each.computed or 0.0 for each in parts)
    why = (
        f"By E's own rule {important:.0%} of the tokens in full and {1 - important:.0%} at 1/{shrink:g} make "
        f"{compute:.1%} of the operations, where {given['compute']:.0%} is claimed. Full keys stay cached beside the "
        f"compressed ones, since important queries read them all: that is {kept:.1%} of the cache, where "
        f"{given['kept']:.0%} is claimed. V4-Pro's real figures are another claim."
    )
    return Settled(parts, why)


def article_compute(important: float, compression: float) -> float:
    """Return the operations of E's attention over those of full attention: some tokens in full, the others compressed.

    Args:
        important: share of the tokens that attend in full.
        compression: by which the dimensions of the others are divided.
    """
    return important + (1 - important) / compression if compression else math.inf


def article_kept(compression: float) -> float:
    """Return the cache of E's attention over that of full attention: all full entries, and the compressed besides."""
    return 1 + 1 / compression if compression else math.inf


@settles("csa-article-code", "attention#a-compressor-that-runs")
def _csa_article_code(given: Values) -> Settled:
    stated, compression = catalog.tables().claims["csa-article-code"].numbers, literal(given["compression"])
    width, tokens = literal(stated["head_dim"]), literal(stated["tokens"])
    parts = (
        part("dimensions of a compressed key, which must be those of a query", "dimensions", given["head_dim"],
             f"claims.attention.compressed({width}, {compression}, {tokens})[1]", 0.0, number="head_dim"),
        part(f"entries that {tokens} tokens become", "entries", given["entries"],
             f"claims.attention.compressed({width}, {compression}, {tokens})[0]", 0.0, relation="at most",
             number="entries"),
        part("change of the first token's output by another last key", "times", given["later"],
             f"claims.attention.looks_ahead({width}, {compression}, {tokens})", 0.0, relation="at most",
             number="later"),
    )  # fmt: skip
    dims, entries, later = (each.computed or 0.0 for each in parts)
    why = (
        f"{'It runs' if dims == stated['head_dim'] else 'It stops'}: a query of {width} dimensions meets keys of "
        f"{dims:g}. Of {tokens} tokens it makes {entries:g} entries, where the text has several tokens become one. A "
        f"token sees {'later keys' if later else 'no later key'}, and in a model that writes one token after another "
        "none may."
    )
    return Settled(parts, why)


def compressed(width: int, compression: int, tokens: int) -> tuple[int, int]:
    """Return how many entries E's code makes of some keys, and of how many dimensions.

    Args:
        width: dimensions of a key.
        compression: by which it divides.
        tokens: keys that it is given.
    """
    found = _ArticleCSA(width, max(compression, 1)).compress(np.zeros((tokens, width)))
    return found.shape[0], found.shape[1]


def looks_ahead(width: int, compression: int, tokens: int) -> float:
    """Return the change of the first token's output over its size if the last key is another one; 0 in causal code.

    Args:
        width: dimensions of a key.
        compression: by which the code divides.
        tokens: keys that it is given.
    """
    code = _ArticleCSA(width, max(compression, 1))
    query, key, value = np.random.default_rng(0).normal(size=(3, tokens, width))
    later = key + np.eye(tokens)[-1][:, None]
    first, other = (code.attend(query, keys, value, 1.0)[0] for keys in (key, later))  # 1.0: none meets compressed keys
    return float(np.abs(other - first).max() / np.abs(first).max())


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
