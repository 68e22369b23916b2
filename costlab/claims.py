"""The ledger: every number that the source articles give, recomputed from the catalog, with a verdict.

What an article says stands in catalog/claims.toml; how it is settled stands here, one short function per claim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from costlab import arch, cache, catalog, hybrid, moe, prices
from costlab.catalog import ClaimRecord

Verdict = Literal["holds", "holds with a condition", "does not follow", "wrong", "cannot be checked"]
Settled = tuple[Verdict, str, str]
Values = Mapping[str, float]


@dataclass(frozen=True)
class Finding:
    """A claim with what costlab computes for it, the verdict, and why in a sentence."""

    key: str
    claim: ClaimRecord
    verdict: Verdict
    computed: str
    why: str


_SETTLERS: dict[str, Callable[[Values], Settled]] = {}


def settle(key: str) -> Finding:
    """Recompute one claim.

    Args:
        key: e.g. "moe-params".

    Raises:
        ValueError: a claim that is unknown or that no function settles.

    Chapter: moe
    """
    claim = catalog.pick(catalog.load().claims, key, "claim")
    verdict, computed, why = catalog.pick(_SETTLERS, key, "settled claim")(claim.values)
    return Finding(key, claim, verdict, computed, why)


def ledger(prefix: str = "") -> tuple[Finding, ...]:
    """Recompute every claim whose key starts with a prefix, in the catalog's order.

    Raises:
        ValueError: a prefix that no claim has.

    Chapter: moe
    """
    keys = [key for key in catalog.load().claims if key.startswith(prefix)]
    if not keys:
        raise ValueError(catalog.unknown("prefix of claims", prefix, catalog.load().claims))
    return tuple(settle(key) for key in keys)


def rows(prefix: str = "") -> list[dict[str, str]]:
    """Return the ledger as rows for a table: claim and article, verdict, what was computed and why.

    Raises:
        ValueError: a prefix that no claim has.

    Chapter: moe
    """
    return [
        {
            "claim (article)": f"{found.claim.says} ({', '.join(found.claim.articles)})",
            "verdict": found.verdict,
            "computed": f"{found.computed}. {found.why}",
        }
        for found in ledger(prefix)
    ]


def _settles(key: str) -> Callable[[Callable[[Values], Settled]], Callable[[Values], Settled]]:
    def register(settler: Callable[[Values], Settled]) -> Callable[[Values], Settled]:
        _SETTLERS[key] = settler
        return settler

    return register


def _near(claimed: float, computed: float, share: float) -> bool:
    """Whether two figures agree to a share of the computed one."""
    return abs(claimed - computed) <= share * abs(computed)


# --- mixture of experts ----------------------------------------------------------------------------------------


@_settles("moe-params")
def _params(claimed: Values) -> Settled:
    counts = arch.load("deepseek-v4-pro").params
    total = counts.total + counts.mtp
    agrees = _near(claimed["total"], total, 0.01) and all(
        _near(claimed[a], counts.active, 0.02) for a in ("active_a", "active_e")
    )
    sizes = f"{total / 1e9:,.1f}B with the prediction module, {counts.total / 1e9:,.1f}B without"
    computed = f"{sizes}; {counts.active / 1e9:.2f}B active"
    return "holds" if agrees else "wrong", computed, "The published dimensions give the published totals."


@_settles("moe-one-thirtieth")
def _one_thirtieth(claimed: Values) -> Settled:
    counts = arch.load("deepseek-v4-pro").params
    times = counts.total / counts.active
    holds = _near(claimed["times"], times, 0.1)
    return (
        "holds" if holds else "wrong",
        f"1/{times:.1f}",
        "Total over active parameters; attention to the context not counted.",
    )


@_settles("moe-256-experts")
def _experts(claimed: Values) -> Settled:
    model = arch.load("deepseek-v4-pro")
    layer = moe.moe_layer(model)
    one = layer.expert_params(model.record.hidden)
    share = layer.top_k / layer.experts
    same = (layer.experts, layer.top_k) == (claimed["experts"], claimed["top_k"]) and _near(
        claimed["expert_params"], one, 0.1
    )
    experts = f"{layer.experts} routed and {layer.shared} shared experts in each of {len(model.layers)} layers"
    computed = f"{experts}, {one / 1e6:.1f}M each; {layer.top_k} visited: {share:.2%}"
    return (
        "holds" if same else "wrong",
        computed,
        "256 and 8 are V3's; 6.25B is 1600B / 256, as if experts spanned all layers.",
    )


@_settles("moe-5-percent")
def _five_percent(claimed: Values) -> Settled:
    contexts = {
        text: moe.compute_share("deepseek-v4-pro", n).share
        for text, n in (("4K", 4096), ("128K", 131_072), ("1M", 1_048_576))
    }
    inside = [claimed["low"] * 0.9 <= share <= claimed["high"] * 1.1 for share in contexts.values()]
    verdict: Verdict = "holds" if all(inside) else "holds with a condition" if any(inside) else "wrong"
    computed = ", ".join(f"{share:.1%} at {text}" for text, share in contexts.items())
    return (
        verdict,
        computed,
        "Three per cent for short contexts; attention, which both models pay, lifts the share at long ones.",
    )


@_settles("moe-mixtral")
def _mixtral(claimed: Values) -> Settled:
    model = arch.load("mixtral-8x7b")
    layer = moe.moe_layer(model)
    same = (layer.experts, layer.top_k) == (claimed["experts"], claimed["top_k"])
    share, active = layer.top_k / layer.experts, model.params.active / model.params.total
    holds = same and _near(claimed["share"], share, 0.01)
    return (
        "holds" if holds else "wrong",
        f"{share:.0%} of the experts, {active:.1%} of the parameters",
        "Attention is not routed.",
    )


@_settles("moe-capacity-factor")
def _capacity(claimed: Values) -> Settled:
    layer = moe.moe_layer("deepseek-v4-pro")
    tokens = 384 * 64
    rows = moe.article_capacity(tokens, layer.experts, claimed["factor"])
    even = np.full(layer.experts, tokens * layer.top_k // layer.experts)
    lost = moe.dropped_share(even, rows)
    computed = f"by E's formula {lost:.0%} of assignments would be dropped at perfect balance"
    why = "The formula forgets top-k; and V3 drops no token, training or serving (arXiv 2412.19437 sec. 2.1.2)."
    return "wrong", computed, why


@_settles("moe-balance-loss")
def _variance(claimed: Values) -> Settled:
    even, collapsed = np.ones(256), np.eye(256)[0] * 256
    loss = moe.article_variance(collapsed)
    computed = f"at collapse: text {loss.text:.3f}, code {loss.code:g}; at balance: {moe.article_variance(even).text:g}"
    works = loss.code > 0
    why = "The code reads two counters that nothing ever updates, so it returns 0; and counts carry no gradient."
    return "holds" if works else "wrong", computed, why


@_settles("moe-balance-kl")
def _kl(claimed: Values) -> Settled:
    even, collapsed = np.ones(256), np.eye(256)[0] * 256
    at_collapse, at_balance = moe.article_kl(collapsed).code, moe.article_kl(even).code
    right_sign = abs(at_balance) < 1e-3 < at_collapse
    computed = f"{at_balance:.1g} at balance, {at_collapse:,.0f} at collapse (256 log 256)"
    why = "A right measure of imbalance, inflated by the number of experts; made of counts, it trains nothing."
    return "holds with a condition" if right_sign else "wrong", computed, why


@_settles("moe-qwen")
def _qwen(claimed: Values) -> Settled:
    share, visited = claimed["active"] / claimed["total"], claimed["top_k"] / claimed["experts"]
    consistent = _near(claimed["compute"], share, 0.1)
    computed = f"72/720 = {share:.0%} of the parameters, 2/16 = {visited:.1%} of the experts"
    why = "No configuration of Qwen-Plus is published; 10% active parameters cannot need 20% of the matrix work."
    return "cannot be checked" if consistent else "does not follow", computed, why


@_settles("moe-efficiency-score")
def _score(claimed: Values) -> Settled:
    def score(who: str) -> float:
        return claimed[f"{who}_active"] / claimed[f"{who}_total"] * claimed[f"{who}_top_k"] / claimed[f"{who}_experts"]

    sparse, dense = score("deepseek"), score("qwen")
    computed = f"{sparse:.5f} for DeepSeek, {dense:.4f} for Qwen, 1 for any dense model"
    why = "Two measures of the same sparsity multiplied: the sparser the model, the lower its 'efficiency'."
    return "does not follow" if sparse < dense else "holds", computed, why


# --- attention -------------------------------------------------------------------------------------------------


@_settles("kv-fills-gpu")
def _fills(claimed: Values) -> Settled:
    memory = catalog.chip("h800").memory_bytes
    sizes = {key: float(arch.load(key).kv_bytes(claimed["tokens"]).total) for key in ("deepseek-v3", "llama-3.1-70b")}
    full = [size > 0.9 * memory for size in sizes.values()]
    computed = ", ".join(f"{arch.load(key).name} {size / 1e9:.0f} GB" for key, size in sizes.items())
    verdict: Verdict = "holds" if all(full) else "wrong"
    return verdict, f"{computed}, on a chip of {memory / 1e9:.0f} GB", "In BF16; the weights need room besides."


@_settles("kv-131k-tens-gb")
def _tens(claimed: Values) -> Settled:
    sizes = {m.name: float(m.kv_bytes(claimed["tokens"]).total) for m in arch.models().values()}
    large = [name for name, size in sizes.items() if size >= claimed["low_bytes"]]
    verdict: Verdict = "holds" if len(large) == len(sizes) else "holds with a condition" if large else "wrong"
    computed = f"{len(large)} of {len(sizes)} models: {', '.join(large)}"
    v4 = sizes["DeepSeek-V4-Pro"] / 1e9
    return (
        verdict,
        computed,
        f"True of grouped queries in every layer. V4-Pro, the article's subject, keeps {v4:.2f} GB.",
    )


@_settles("kv-10-percent")
def _tenth(claimed: Values) -> Settled:
    old, new = (float(arch.load(key).kv_bytes(claimed["tokens"]).total) for key in ("deepseek-v3.2", "deepseek-v4-pro"))
    computed = f"{new / 1e9:.2f} of {old / 1e9:.1f} GB: {new / old:.1%}"
    holds = _near(claimed["share"], new / old, 0.05)
    return (
        "holds" if holds else "wrong",
        computed,
        "With the storage of DeepSeek's kernels, and V3.2's index keys counted.",
    )


@_settles("flops-27-percent")
def _flops(claimed: Values) -> Settled:
    def shares(tokens: float) -> tuple[float, float]:
        old, new = (arch.load(key).decode_flops(tokens) for key in ("deepseek-v3.2", "deepseek-v4-pro"))
        return float(new.total / old.total), float(new.weighted() / old.weighted())

    (raw, weighted), (_, short) = shares(claimed["tokens"]), shares(4096)
    everywhere = _near(claimed["share"], short, 0.02)
    verdict: Verdict = "holds" if everywhere else "holds with a condition"
    computed = f"{raw:.1%} raw, {weighted:.1%} in FP8-equivalents; {short:.0%} at 4K"
    if not _near(claimed["share"], weighted, 0.02):
        verdict = "wrong"
    return verdict, computed, "A statement about a million tokens, with FP4 index scores counted as half."


@_settles("csa-4-topk")
def _csa(claimed: Values) -> Settled:
    layer = _layer("deepseek-v4-pro", arch.CSA)
    computed = f"blocks of {layer.block}, the best {layer.top_k:,} entries read, and a window of {layer.window} tokens"
    why = "Each entry also draws on the block before it, so it sees 8 tokens."
    return "holds" if layer.block == claimed["block"] else "wrong", computed, why


@_settles("hca-128-dense")
def _hca(claimed: Values) -> Settled:
    layer = _layer("deepseek-v4-pro", arch.HCA)
    dense = all(read.entries.cap in (None, layer.window) for read in layer.reads("decode"))
    computed = f"blocks of {layer.block}, all entries read, and a window of {layer.window} tokens"
    holds = layer.block == claimed["block"] and dense
    return "holds" if holds else "wrong", computed, "At 1M tokens that is 8,192 entries."


@_settles("csa-article-27")
def _article_csa(claimed: Values) -> Settled:
    important, shrink = claimed["important"], claimed["compression"]
    compute = important + (1 - important) / shrink
    kept = 1 + 1 / shrink  # its code keeps every full key and value, and the compressed ones besides
    computed = f"{compute:.1%} of the operations and {kept:.1%} of the cache"
    agrees = _near(claimed["compute"], compute, 0.02) and _near(claimed["kept"], kept, 0.02)
    why = "10% in full plus 90% at an eighth is 21%, not 27%; and full keys stay cached, since every query reads them."
    return "holds" if agrees else "does not follow", computed, why


@_settles("csa-article-code")
def _article_code(claimed: Values) -> Settled:
    width, tokens = int(claimed["head_dim"]), 20
    query, compressed = np.zeros((1, width)), np.zeros((tokens, int(width // claimed["compression"])))
    try:
        query @ compressed.T
    except ValueError:
        computed = f"it stops: a query of {width} dims meets keys of {compressed.shape[1]}"
        why = "It also compresses channels, not tokens, ranks each token by its own query, and looks ahead."
        return "wrong", computed, why
    return "holds", "it runs", ""


L = TypeVar("L", bound=arch.Attention)


def _layer(model: str, kind: type[L]) -> L:
    """Return a model's first attention layer of exactly a kind."""
    return next(attention for attention, _ in arch.load(model).layers if type(attention) is kind)


# --- hybrid stacks ---------------------------------------------------------------------------------------------


@_settles("swa-1-to-7")
def _one_to_seven(claimed: Values) -> Settled:
    order, ratio = hybrid.pattern("mimo-v2.5-pro"), claimed["sliding"] / claimed["full"]
    whole, among_all = order.sliding / order.full, len(order.kinds) / order.full
    usual = order.gaps.count(int(ratio))
    condition = usual > 0 or among_all == ratio
    verdict: Verdict = "holds" if whole == ratio else "holds with a condition" if condition else "wrong"
    counts = f"{order.full} full and {order.sliding} sliding layers are 1:{whole:g}; full to all is 1:{among_all:g}"
    computed = f"{counts}; {ratio:g} sliding layers stand in {usual} of the {len(order.gaps)} gaps between full ones"
    why = f"1:7 is the usual block and the share of all layers; full to sliding 1:7 would save {ratio + 1:g}-fold."
    return verdict, computed, why


@_settles("swa-60-layers")
def _sixty(claimed: Values) -> Settled:
    order = hybrid.pattern("mimo-v2.5-pro")
    window = _layer("mimo-v2.5-pro", arch.SlidingWindow).window
    same = (order.sliding, len(order.kinds)) == (claimed["sliding"], claimed["layers"])
    computed = f"{order.sliding} of {len(order.kinds)} layers, each with a window of {window} tokens"
    where = ", ".join(map(str, order.full_at))
    return "holds" if same else "wrong", computed, f"The others, number {where}, see the whole context."


@_settles("swa-10-layer-prefill")
def _like_ten(claimed: Values) -> Settled:
    contexts = {"8K": 8192, "64K": 65_536, "1M": 1_048_576}
    ratios = {text: hybrid.prefill_ratio("mimo-v2.5-pro", tokens) for text, tokens in contexts.items()}
    attention = [float(r.attention_only) for r in ratios.values()]
    everything = [float(r.with_matrices) for r in ratios.values()]
    order = hybrid.pattern("mimo-v2.5-pro")
    near = [_near(1.0, times, 0.2) for times in (*attention, *everything)]
    counts = (len(order.kinds), order.full) == (claimed["layers"], claimed["like"])
    verdict: Verdict = "wrong" if not (counts and any(near)) else "holds" if all(near) else "holds with a condition"
    lengths = ", ".join(contexts)
    times = f"{', '.join(f'{t:.2f}' for t in attention)} times the attention of {order.full} layers at {lengths}"
    computed = f"{times}; with the matrix work {', '.join(f'{t:.2f}' for t in everything)} times"
    equal = hybrid.equal_keys("mimo-v2.5-pro")
    why = f"True of attention. The matrices of all layers weigh more until a query reads {equal / 1e3:.1f}K keys."
    return verdict, computed, why


# --- tiered caches ---------------------------------------------------------------------------------------------

_PRO = "mimo-v2.5-pro"


@_settles("cache-transfer-1-7")
def _seventh(claimed: Values) -> Settled:
    saving = hybrid.kv_saving(_PRO, [1024, 8192, 131_072])
    at_1k, at_8k, at_128k = saving.fraction.tolist()
    computed = f"{at_1k:.3f} of the all-full bytes at 1K, {at_8k:.3f} at 8K, {at_128k:.4f} at 128K (1/7 = 0.1429)"
    why = f"Within 5% of 1/7 from {saving.close_from():,.0f} tokens on, if before all layers moved every token."
    return "holds with a condition" if _near(claimed["share"], saving.limit, 1e-3) else "wrong", computed, why


@_settles("cache-tokens-5x")
def _five_times(claimed: Values) -> Settled:
    feet = cache.footprint(_PRO)
    most, times = feet.multiplier(0), claimed["times"]
    if times >= most or not _near(claimed["saved"], 1 - 1 / times, 1e-9):
        return "does not follow", f"{most:g} times at most", "Saved is one less one over the multiple."
    computed = f"{most:g} times if no window is kept; {times:g} times with one per {feet.spacing(times):,.0f} tokens"
    why = f"80% is 1 - 1/5; the spacing was not published, and {most:g} times would save {1 - 1 / most:.1%}."
    return "holds with a condition", computed, why


@_settles("cache-read-overlap")
def _overlap(claimed: Values) -> Settled:
    streamed, serial = (
        cache.prefill_behind(_PRO, 65_536, 1024, 50e9, loading=mode, flops_per_s=400e12)
        for mode in ("streamed", "serial")
    )
    shares = f"{streamed.finish_s * 1e3:.0f} ms instead of {serial.finish_s * 1e3:.0f} one after the other"
    computed = f"1,024 tokens behind 64K cached, at 50 GB/s and 400 TFLOP/s: {shares}"
    why = f"{streamed.hidden_share:.0%} of the load hides; the first layer is a full one, and its load cannot."
    return "holds with a condition" if streamed.hidden_share > 0.5 else "wrong", computed, why


@_settles("cache-tiers")
def _tiers(claimed: Values) -> Settled:
    media = catalog.load().media
    a100 = catalog.chip("a100-80g").memory_bandwidth_bytes_s
    dram, ssd = media["dram"].read_bytes_s, media["ssd"].read_bytes_s
    near = [_near(claimed["hbm_bytes_s"], a100, 0.1), _near(claimed["dram_bytes_s"], dram, 0.1)]
    computed = f"A100 {a100 / 1e9:,.0f} GB/s, host memory {dram / 1e9:.1f}, a PCIe 5 SSD {ssd / 1e9:g} GB/s"
    unused = cache.hit_cost(_PRO, 32_768, bandwidth_bytes_per_s=claimed["dram_bytes_s"]).load_s
    why = f"The code charges 100 us for any DRAM hit; a 32K prefix takes {unused * 1e3:.0f} ms at its 50 GB/s."
    return "holds with a condition" if all(near) else "wrong", computed, f"{why} Prices per GB are unsourced."


@_settles("cache-block-bytes")
def _block_bytes(claimed: Values) -> Settled:
    theirs = claimed["width"] * 2 * claimed["bytes"] * claimed["layers"]
    ours = cache.footprint(_PRO).full_bytes_per_token
    computed = f"{theirs:,.0f} bytes per token against {ours:,.0f}: {theirs / ours:.0f} times too many"
    why = "No such model: 70 layers, 8 key heads, BF16. And no layer of it sees all: past 4,096 tokens nothing grows."
    return "holds" if _near(theirs, ours, 0.1) else "wrong", computed, why


@_settles("cache-table")
def _table(claimed: Values) -> Settled:
    per_token = cache.footprint(_PRO).full_bytes_per_token
    tokens = [claimed[f"{tier}_bytes"] / per_token for tier in ("hbm", "dram", "ssd")]
    hbm, dram, ssd = (f"{n / 1e6:,.1f}M" for n in tokens)
    computed = f"80 GB hold {hbm} tokens of MiMo-V2.5-Pro, 1 TB {dram}, 30 TB {ssd}"
    follows = _near(claimed["tiered"], tokens[0] + tokens[1], 0.5)
    why = "No row follows from the tiers or from the block size; and dollars per GB are no price per token."
    return "holds" if follows else "does not follow", computed, why


@_settles("cache-eviction-code")
def _eviction(claimed: Values) -> Settled:
    manager = cache.ArticleManager((2, 3, 4))
    for block in [*range(20), *range(20)]:
        manager.access(block)
    over, evicted = manager.used[2], manager.evicted
    manager.evict()  # DRAM is full
    counted, held = manager.used[0], manager.held()[0]
    sound = over <= 4 and counted == held
    computed = f"20 blocks into tiers of 2, 3 and 4: {over} in SSD's 4 places, {evicted} evictions"
    why = f"Nothing checks SSD's room or calls the eviction; that counts {counted} block in HBM and leaves {held}."
    return "holds" if sound else "wrong", computed, why


@_settles("price-miss-over-hit")
def _miss_over_hit(claimed: Values) -> Settled:
    rows = [prices.price_at(key, currency="CNY") for key in (_PRO, "mimo-v2.5")]
    pro, small = (row.miss / row.hit for row in rows if row.hit)
    computed = f"{rows[0].miss:g} / {rows[0].hit:g} = {pro:.0f} for V2.5-Pro, {small:.0f} for V2.5"
    return "holds with a condition" if _near(claimed["times"], pro, 0.01) else "wrong", computed, "True of Pro alone."
