"""The ledger: every number that the source articles give, recomputed from the catalog, with a verdict.

What an article says stands in catalog/claims.toml; how it is settled stands here, one short function per claim. A
settler gets every number of the claim's entry by name; its verdict and its text follow from these and from costlab.

>>> from costlab import claims
>>> claims.settle("moe-one-thirtieth").verdict, claims.settle("moe-one-thirtieth", times=40).verdict
('holds', 'wrong')
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from costlab import arch, cache, catalog, hybrid, moe, prices
from costlab.arrays import ArrayLike, Floats, Ints
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


def settle(key: str, /, **instead: float) -> Finding:
    """Recompute one claim, as its entry in the catalog has it or with other numbers.

    Args:
        key: e.g. "moe-params".
        instead: numbers in place of the entry's, by its names, to see what the verdict hangs on: `times=40`.

    Raises:
        ValueError: a claim that is unknown or that no function settles; a number that the claim does not have.

    Chapter: moe
    """
    claim = catalog.pick(catalog.load().claims, key, "claim")
    for name in instead:
        catalog.pick(claim.numbers, name, f"number of {key}")
    verdict, computed, why = catalog.pick(_SETTLERS, key, "settled claim")({**claim.numbers, **instead})
    return Finding(key, claim, verdict, computed, f"{why.rstrip('.')} ({claim.source})." if claim.source else why)


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
    """Whether two figures agree to a share of the computed one, which is finite."""
    return abs(claimed - computed) <= share * abs(computed) < math.inf


def _graded(parts: Iterable[bool], none: Verdict = "wrong") -> Verdict:
    """Return the verdict on a claim of several parts: all, some or none of them true."""
    found = list(parts)
    return "holds" if all(found) else "holds with a condition" if any(found) else none


def _ratio(above: float, below: float) -> float:
    """Return a quotient of claimed figures, infinite where nothing is below."""
    return above / below if below else math.inf


def _off(claimed: float, computed: float) -> str:
    return f"{abs(claimed / computed - 1):.1%}"


def _k(tokens: float) -> str:
    """Write a context as people do, in powers of 1024: 4K, 128K, 1M."""
    return f"{tokens / 1024**2:g}M" if tokens >= 1024**2 else f"{tokens / 1024:g}K" if tokens >= 1024 else f"{tokens:g}"


_V4, _PRO = "deepseek-v4-pro", "mimo-v2.5-pro"
_SHORT, _LONG, _LONGEST = 4096, 131_072, 1_048_576  # contexts at which claims that name none are looked at


# --- mixture of experts ----------------------------------------------------------------------------------------


@_settles("moe-params")
def _params(given: Values) -> Settled:
    counts = arch.load(_V4).params
    total, active = counts.total + counts.mtp, counts.active
    claims = [(given["total"], total, 0.01), (given["active_a"], active, 0.02), (given["active_e"], active, 0.02)]
    sizes = f"{total / 1e9:,.1f}B with the prediction module, {counts.total / 1e9:,.1f}B without"
    computed = f"{sizes}; {active / 1e9:.2f}B active"
    off = [_off(claimed, ours) for claimed, ours, _ in claims]
    why = f"By the published dimensions the total is {off[0]} off, A's active count {off[1]}, E's {off[2]}."
    return "holds" if all(_near(*claim) for claim in claims) else "wrong", computed, why


@_settles("moe-one-thirtieth")
def _one_thirtieth(given: Values) -> Settled:
    counts = arch.load(_V4).params
    times = counts.total / counts.active
    holds = _near(given["times"], times, 0.1)
    why = "Total over active parameters; attention to the context not counted."
    return "holds" if holds else "wrong", f"1/{times:.1f}", why


@_settles("moe-256-experts")
def _experts(given: Values) -> Settled:
    model = arch.load(_V4)
    layer, counts = moe.moe_layer(model), model.params
    one, share = layer.expert_params(model.record.hidden), layer.top_k / layer.experts
    same = _routing(model) == (given["experts"], given["top_k"]) and _near(given["share"], share, 0.01)
    sized = _near(given["expert_params"], one, 0.1) and _near(given["total"], counts.total + counts.mtp, 0.01)
    experts = f"{layer.experts} routed and {layer.shared} shared experts in each of {len(model.layers)} layers"
    computed = f"{experts}, {one / 1e6:.1f}M each; {layer.top_k} visited: {share:.2%}"
    owners = [m.name for m in arch.models().values() if _routing(m) == (given["experts"], given["top_k"])]
    why = f"{given['experts']:g} and {given['top_k']:g} are the numbers of {', '.join(owners) or 'no model here'}"
    if _near(given["expert_params"], _ratio(given["total"], given["experts"]), 0.01):
        division = f"{given['total'] / 1e9:g}B / {given['experts']:g}"
        why += f"; {given['expert_params'] / 1e9:g}B is {division}, as if experts spanned all layers"
    return "holds" if same and sized else "wrong", computed, f"{why}."


def _routing(model: arch.Model) -> tuple[int, int]:
    """Experts per layer and per token, of a model's last layer that has some; none in a dense model."""
    sizes = ((ffn.experts, ffn.top_k) for _, ffn in reversed(model.layers) if isinstance(ffn, arch.MoE))
    return next(sizes, (0, 0))


@_settles("moe-5-percent")
def _five_percent(given: Values) -> Settled:
    contexts = (_SHORT, _LONG, _LONGEST)
    shares = [moe.compute_share(_V4, n).share for n in contexts]
    inside = [given["low"] * 0.9 <= share <= given["high"] * 1.1 for share in shares]
    computed = ", ".join(f"{share:.1%} at {_k(n)}" for n, share in zip(contexts, shares, strict=True))

    def attention(tokens: int) -> str:
        flops = arch.load(_V4).decode_flops(tokens)
        return f"{1 - float(flops.grouped()['linear'] / flops.total):.0%} at {_k(tokens)}"

    why = f"Attention, which both models pay, is {attention(_SHORT)} and {attention(_LONGEST)} of V4-Pro's work."
    return _graded(inside), computed, why


@_settles("moe-mixtral")
def _mixtral(given: Values) -> Settled:
    model = arch.load("mixtral-8x7b")
    layer, counts = moe.moe_layer(model), model.params
    same = (layer.experts, layer.top_k) == (given["experts"], given["top_k"])
    share, active = layer.top_k / layer.experts, counts.active / counts.total
    computed = f"{share:.0%} of the experts, {active:.1%} of the parameters"
    rest = 1 - counts.by_component["experts"] / counts.total
    why = f"The {rest:.1%} of the parameters that lie outside the experts are not routed."
    return "holds" if same and _near(given["share"], share, 0.01) else "wrong", computed, why


@_settles("moe-capacity-factor")
def _capacity(given: Values) -> Settled:
    layer = moe.moe_layer(_V4)
    tokens = 64 * layer.experts
    fair = tokens * layer.top_k / layer.experts
    rows = moe.article_capacity(tokens, layer.experts, given["factor"])
    even, same = np.full(layer.experts, fair), np.where(np.arange(layer.experts) < layer.top_k, tokens, 0)
    lost = [moe.dropped_share(loads, rows) for loads in (even, same)]
    computed = (
        f"by E's formula {lost[0]:.0%} of assignments would be dropped at perfect balance, {lost[1]:.0%} if all tokens "
        "chose alike"
    )
    shares = f"for {layer.top_k} choices a token it gives an expert {rows / fair:.2f} of its fair share"
    why = f"{shares}, where {given['factor']:g} is meant; DeepSeek reports {given['dropped']:.0%} dropped"
    matches = [abs(share - given["dropped"]) < 0.01 for share in lost]
    return _graded(matches) if matches[0] else "wrong", computed, why[0].upper() + why[1:]


@_settles("moe-balance-loss")
def _variance(given: Values) -> Settled:
    even, collapsed = _loads(given)
    loss, router = moe.article_variance(collapsed), moe.ArticleRouter(len(collapsed))
    router.route(collapsed)
    at_balance = moe.article_variance(even)
    verdict, slopes = _trains(lambda loads: moe.article_variance(loads).code, given)
    computed = f"at collapse: text {loss.text:.3f}, code {loss.code:g}; at balance: {at_balance.text:g}"
    counted = (
        f"Of {router.load_count.sum():g} assignments the counters that the loss reads hold {router.total_routes:g}"
    )
    return verdict, computed, f"{counted}; {slopes}."


@_settles("moe-balance-kl")
def _kl(given: Values) -> Settled:
    even, collapsed = _loads(given)
    at_balance, at_collapse = moe.article_kl(even).code, moe.article_kl(collapsed).code
    verdict, slopes = _trains(lambda loads: moe.article_kl(loads).code, given)
    computed = f"{at_balance:.1g} at balance, {at_collapse:,.0f} at collapse"
    times = at_collapse / np.log(len(collapsed))
    return verdict, computed, f"{times:,.0f} times the divergence from an even load; {slopes}."


def _loads(given: Values) -> tuple[Floats, Floats]:
    """As many assignments as experts: spread evenly, and all on one expert."""
    experts = int(given["experts"])
    return np.ones(experts), np.eye(1, experts)[0] * experts


def _trains(loss: Callable[[ArrayLike], float], given: Values) -> tuple[Verdict, str]:
    """Judge a loss of loads by two things: collapse costs more than balance, and moving a gate's score moves it."""
    even, collapsed = _loads(given)
    experts = len(even)
    slope = _slope(lambda _, chosen: loss(moe.count_loads(chosen, experts)), given)
    other = _slope(moe.switch_loss, given)
    measures = loss(collapsed) > loss(even) + 1e-3
    effect = "" if slope else ", so it trains nothing"
    text = f"per unit of a gate's score it changes by {slope:g}{effect}; the Switch loss by {other:.1g}"
    return _graded((measures, slope > 0)), text


def _slope(loss: Callable[[Floats, Ints], float], given: Values) -> float:
    """Return the change of a loss per change of one expert's scores, where no choice changes."""
    scores, step = np.random.default_rng(0).random((64, int(given["experts"]))), 1e-7
    moved = scores + step * np.eye(1, scores.shape[1])[0]
    before, after = (loss(s, np.argsort(-s)[:, : int(given["top_k"])]) for s in (scores, moved))
    return abs(after - before) / step


@_settles("moe-qwen")
def _qwen(given: Values) -> Settled:
    active, total, top_k, experts = (given[name] for name in ("active", "total", "top_k", "experts"))
    share, visited = _ratio(active, total), _ratio(top_k, experts)
    consistent = _near(given["share"], share, 0.01) and _near(given["compute"], share, 0.1) and visited <= share
    computed = (
        f"{active / 1e9:g}/{total / 1e9:g} = {share:.0%} of the parameters, "
        f"{top_k:g}/{experts:g} = {visited:.1%} of the experts"
    )
    why = (
        f"{share:.0%} active parameters are {share:.0%} of the matrix work, where {given['compute']:.0%} is claimed; "
        f"and who visits {visited:.1%} of the experts activates at least {visited:.1%} of the parameters"
    )
    published = catalog.load().models.get("qwen-plus")
    verdict: Verdict = "does not follow"
    if consistent and published is None:
        verdict = "cannot be checked"
    elif consistent:
        counts = arch.load("qwen-plus").params
        verdict = "holds" if _near(total, counts.total, 0.01) and _near(active, counts.active, 0.02) else "wrong"
    return verdict, computed, f"{why}. Qwen-Plus has {'a' if published else 'no'} published configuration."


@_settles("moe-efficiency-score")
def _score(given: Values) -> Settled:
    names = ("active", "total", "top_k", "experts")
    makers = [[given[f"{who}_{name}"] for name in names] for who in ("deepseek", "qwen")]
    sides = [*makers, [1.0, 1.0, 1.0, 1.0]]  # the last is dense: all active, its one expert visited
    ranked = sorted((_ratio(side[0], side[1]), _article_score(*side)) for side in sides)  # most sparse first
    pairs = [left[1] > right[1] for left, right in itertools.combinations(ranked, 2)]
    sparse, other, dense = (_article_score(*side) for side in sides)
    computed = f"{sparse:.5f} for DeepSeek, {other:.4f} for Qwen, {dense:g} for any dense model"
    found = f"in {sum(pairs)} of {len(pairs)} pairs the sparser scores higher"
    why = f"Sparsity multiplied by sparsity: {found}."
    return _graded(pairs, none="does not follow"), computed, why


def _article_score(active: float, total: float, top_k: float, experts: float) -> float:
    """E's efficiency score: the share of active parameters times the share of visited experts."""
    return _ratio(active, total) * _ratio(top_k, experts)


# --- attention -------------------------------------------------------------------------------------------------


@_settles("kv-fills-gpu")
def _fills(given: Values) -> Settled:
    memory = catalog.chip("h800").memory_bytes
    models = [arch.load(key) for key in ("deepseek-v3", "llama-3.1-70b")]
    sizes = {model.name: _kv(model, given["tokens"]) for model in models}
    computed = ", ".join(f"{name} {size / 1e9:.0f} GB" for name, size in sizes.items())
    formats = sorted({dtype for model in models for attention, _ in model.layers for _, dtype in attention.entry})
    why = f"In {', '.join(formats).upper()}; the weights need room besides."
    full = [size > 0.9 * memory for size in sizes.values()]
    return _graded(full), f"{computed}, on a chip of {memory / 1e9:.0f} GB", why


@_settles("kv-131k-tens-gb")
def _tens(given: Values) -> Settled:
    models = arch.models().values()
    large = [model for model in models if _kv(model, given["tokens"]) >= given["low_bytes"]]
    computed = f"{len(large)} of {len(models)} models: {', '.join(model.name for model in large)}"
    full = [model for model in models if all(type(a) is arch.FullAttention for a, _ in model.layers)]
    also = sum(model in large for model in full)
    rest = f"{len(large) - also} of the other {len(models) - len(full)}"
    kinds = f"{also} of the {len(full)} with full attention in every layer, {rest}"
    subject = arch.load(_V4)
    why = f"{kinds}. {subject.name}, the article's subject, keeps {_kv(subject, given['tokens']) / 1e9:.2f} GB."
    return _graded(model in large for model in models), computed, why


def _kv(model: arch.Model, tokens: float) -> float:
    return float(model.kv_bytes(tokens).total)


@_settles("kv-10-percent")
def _tenth(given: Values) -> Settled:
    old, new = (_kv(arch.load(key), given["tokens"]) for key in ("deepseek-v3.2", _V4))
    computed = f"{new / 1e9:.2f} of {old / 1e9:.1f} GB: {new / old:.1%}"
    why = "With the storage of DeepSeek's kernels, and V3.2's index keys counted."
    return "holds" if _near(given["share"], new / old, 0.05) else "wrong", computed, why


@_settles("flops-27-percent")
def _flops(given: Values) -> Settled:
    def shares(tokens: float) -> tuple[float, float]:
        old, new = (arch.load(key).decode_flops(tokens) for key in ("deepseek-v3.2", _V4))
        return float(new.total / old.total), float(new.weighted() / old.weighted())

    (raw, weighted), (_, short) = shares(given["tokens"]), shares(_SHORT)
    there, everywhere = (_near(given["share"], share, 0.02) for share in (weighted, short))
    computed = f"{raw:.1%} raw, {weighted:.1%} in FP8-equivalents at {_k(given['tokens'])}; {short:.0%} at {_k(_SHORT)}"
    indexer = arch.load(_V4).record.math["indexer"]
    why = f"FP8-equivalents count V4-Pro's {indexer.upper()} index scores as {arch.FP8_EQUIVALENTS[indexer]:g}."
    return _graded((there, everywhere)) if there else "wrong", computed, why


@_settles("csa-4-topk")
def _csa(given: Values) -> Settled:
    layer = _layer(_V4, arch.CSA)
    chosen = any(
        read.entries.cap == layer.top_k and read.entries.stride == layer.block for read in layer.reads("decode")
    )
    entries = f"{'the best' if chosen else 'not the best'} {layer.top_k:,} entries read"
    computed = f"blocks of {layer.block}, {entries}, and a window of {layer.window} tokens"
    why = f"Each entry draws on {layer.series} blocks: {layer.series * layer.block} tokens."
    return "holds" if layer.block == given["block"] and chosen else "wrong", computed, why


@_settles("hca-128-dense")
def _hca(given: Values) -> Settled:
    layer = _layer(_V4, arch.HCA)
    dense = all(read.entries.cap in (None, layer.window) for read in layer.reads("decode"))
    entries = "all entries read" if dense else "not all entries read"
    computed = f"blocks of {layer.block}, {entries}, and a window of {layer.window} tokens"
    why = f"At {_k(_LONGEST)} tokens that is {_LONGEST // layer.block:,} entries."
    return "holds" if layer.block == given["block"] and dense else "wrong", computed, why


@_settles("csa-article-27")
def _article_csa(given: Values) -> Settled:
    important, shrink = given["important"], given["compression"]
    compute = important + _ratio(1 - important, shrink)
    kept = 1 + _ratio(1, shrink)  # its code keeps every full key and value, and the compressed ones besides
    computed = f"{compute:.1%} of the operations and {kept:.1%} of the cache"
    why = (
        f"{important:.0%} in full and {1 - important:.0%} at 1/{shrink:g} make {compute:.1%}, where "
        f"{given['compute']:.0%} is claimed; full keys stay cached beside the compressed ones, since important queries "
        f"read them all: {kept:.1%}, where {given['kept']:.0%} is claimed."
    )
    agrees = _near(given["compute"], compute, 0.02) and _near(given["kept"], kept, 0.02)
    return "holds" if agrees else "does not follow", computed, why


@_settles("csa-article-code")
def _article_code(given: Values) -> Settled:
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


L = TypeVar("L", bound=arch.Attention)


def _layer(model: str, kind: type[L]) -> L:
    """Return a model's first attention layer of exactly a kind."""
    return next(attention for attention, _ in arch.load(model).layers if type(attention) is kind)


# --- hybrid stacks ---------------------------------------------------------------------------------------------


@_settles("swa-1-to-7")
def _one_to_seven(given: Values) -> Settled:
    order, ratio = hybrid.pattern(_PRO), _ratio(given["sliding"], given["full"])
    whole, among_all = order.sliding / order.full, len(order.kinds) / order.full
    usual = sum(gap == ratio for gap in order.gaps)
    counts = f"{order.full} full and {order.sliding} sliding layers are 1:{whole:g}; full to all is 1:{among_all:g}"
    computed = f"{counts}; {ratio:g} sliding layers stand in {usual} of the {len(order.gaps)} gaps between full ones"
    why = (
        f"In the long run the cache falls {among_all:g}-fold; full to sliding 1:{ratio:g} would make it {ratio + 1:g}."
    )
    verdict: Verdict = "holds with a condition" if usual > 0 or among_all == ratio else "wrong"
    return "holds" if whole == ratio else verdict, computed, why


@_settles("swa-60-layers")
def _sixty(given: Values) -> Settled:
    order = hybrid.pattern(_PRO)
    window = _layer(_PRO, arch.SlidingWindow).window
    same = (order.sliding, len(order.kinds)) == (given["sliding"], given["layers"])
    computed = f"{order.sliding} of {len(order.kinds)} layers, each with a window of {window} tokens"
    where = ", ".join(map(str, order.full_at))
    return "holds" if same else "wrong", computed, f"The others, number {where}, see the whole context."


@_settles("swa-10-layer-prefill")
def _like_ten(given: Values) -> Settled:
    contexts, share = (8192, 65_536, _LONGEST), 0.2
    ratios = [hybrid.prefill_ratio(_PRO, tokens) for tokens in contexts]
    attention, everything = [float(r.attention_only) for r in ratios], [float(r.with_matrices) for r in ratios]
    order = hybrid.pattern(_PRO)
    near = [[_near(1.0, times, share) for times in side] for side in (attention, everything)]
    lengths = ", ".join(map(_k, contexts))
    times = f"{', '.join(f'{t:.2f}' for t in attention)} times the attention of {order.full} layers at {lengths}"
    computed = f"{times}; with the matrix work {', '.join(f'{t:.2f}' for t in everything)} times"
    found = [f"{sum(side)} of {len(side)}" for side in near]
    why = (
        f"Within {share:.0%} at {found[0]} lengths for attention, {found[1]} with the matrices of all layers, which "
        f"weigh more until a query reads {hybrid.equal_keys(_PRO) / 1e3:.1f}K keys."
    )
    counts = (len(order.kinds), order.full) == (given["layers"], given["like"])
    return _graded([*near[0], *near[1]]) if counts else "wrong", computed, why


# --- tiered caches ---------------------------------------------------------------------------------------------


@_settles("cache-transfer-1-7")
def _seventh(given: Values) -> Settled:
    contexts, share = (1024, 8192, _LONG), 0.05
    saving = hybrid.kv_saving(_PRO, contexts)
    first, *others = zip(saving.fraction.tolist(), map(_k, contexts), strict=True)
    moved = ", ".join([f"{first[0]:.4f} of the all-full bytes at {first[1]}", *(f"{f:.4f} at {n}" for f, n in others)])
    why = f"Within {share:.0%} of {saving.limit:.4f} from {saving.close_from(share):,.0f} tokens on"
    right = _near(given["share"], saving.limit, 1e-3)
    everywhere = all(_near(given["share"], fraction, share) for fraction in saving.fraction)
    verdict: Verdict = "holds" if everywhere else "holds with a condition"
    computed = f"{moved} (claimed: {given['share']:.4f})"
    return verdict if right else "wrong", computed, f"{why}, if before all layers moved every token."


@_settles("cache-tokens-5x")
def _five_times(given: Values) -> Settled:
    feet = cache.footprint(_PRO)
    most, times = feet.multiplier(0), given["times"]
    saved = 1 - _ratio(1, times)
    saves = f"{times:g} times as many save {saved:.1%}, and {given['saved']:.1%} is claimed"
    why = f"{saves}; {most:g} times would save {1 - 1 / most:.1%}"
    if not 0 < times < most or not _near(given["saved"], saved, 1e-9):
        return "does not follow", f"{most:g} times if no window is kept", f"{why}."
    computed = f"{most:g} times if no window is kept; {times:g} times with one per {feet.spacing(times):,.0f} tokens"
    return "holds with a condition", computed, f"{why}. The spacing was not published."


@_settles("cache-read-overlap")
def _overlap(given: Values) -> Settled:
    prefix, new, rate, flops = (given[name] for name in ("prefix", "new", "bytes_s", "flops_s"))
    streamed, serial = (
        cache.prefill_behind(_PRO, int(prefix), int(new), rate, loading=mode, flops_per_s=flops)
        for mode in ("streamed", "serial")
    )
    where = f"{new:,.0f} tokens behind {_k(prefix)} cached, at {rate / 1e9:g} GB/s and {flops / 1e12:g} TFLOP/s"
    computed = f"{where}: {streamed.finish_s * 1e3:.0f} ms instead of {serial.finish_s * 1e3:.0f} one after the other"
    hidden = streamed.hidden_share
    first = streamed.events[0]
    waits = (first.load_end_s - first.load_start_s) / streamed.load_s
    why = f"{hidden:.0%} of the load hides; nothing hides the first layer's, {waits:.0%} of it."
    verdict: Verdict = "holds" if hidden > 0.99 else "holds with a condition" if hidden > 0.5 else "wrong"
    return verdict, computed, why


@_settles("cache-tiers")
def _tiers(given: Values) -> Settled:
    chip, media = catalog.chip("a100-80g"), catalog.load().media
    prefix, share = 32_768, 0.1
    dram, ssd = media["dram"], media["ssd"]
    rates = {"hbm": chip.memory_bandwidth_bytes_s, "dram": dram.read_bytes_s, "ssd": ssd.read_bytes_s}
    moved = cache.prefix_bytes(cache.footprint(_PRO), prefix)
    read = {tier: _ratio(moved, given[f"{tier}_bytes_s"]) for tier in rates}
    right = {f"{tier}_bytes_s": _near(given[f"{tier}_bytes_s"], rate, share) for tier, rate in rates.items()}
    right |= {f"{tier}_answer_s": _near(given[f"{tier}_answer_s"], seconds, share) for tier, seconds in read.items()}
    right["hbm_bytes"] = _near(given["hbm_bytes"], chip.memory_bytes, share)
    right["ssd_latency_s"] = _near(given["ssd_latency_s"], ssd.latency_s, share)
    memory = all(right[name] for name in ("hbm_bytes", "hbm_bytes_s", "dram_bytes_s"))
    speeds = f"{rates['hbm'] / 1e9:,.0f} GB/s, host memory {rates['dram'] / 1e9:.1f}, an SSD {rates['ssd'] / 1e9:g}"
    agree = f"{sum(right.values())} of {len(right)} figures agree to {share:.0%}"
    computed = f"{chip.name}: {speeds} GB/s after {ssd.latency_s * 1e6:.0f} us: {agree}"
    charged = f"The code charges {given['dram_answer_s'] * 1e6:g} us for any DRAM hit"
    takes = f"a {_k(prefix)} prefix takes {read['dram'] * 1e3:.0f} ms at its {given['dram_bytes_s'] / 1e9:g} GB/s"
    dollars = ", ".join(f"{given[f'{tier}_usd_gb']:g}" for tier in rates)
    verdict = _graded(right.values()) if memory else "wrong"
    return verdict, computed, f"{charged}; {takes}. Its dollars per GB ({dollars}) have no source."


@_settles("cache-block-bytes")
def _block_bytes(given: Values) -> Settled:
    model = arch.load(_PRO)
    theirs, ours = given["width"] * 2 * given["bytes"] * given["layers"], cache.footprint(_PRO).full_bytes_per_token
    context = model.record.context
    longest = theirs * min(context, given["window"]), cache.prefix_bytes(cache.footprint(_PRO), context)
    computed = f"{theirs:,.0f} bytes per token against {ours:,.0f}: {theirs / ours:.3g} times as many"
    layer = _layer(_PRO, arch.FullAttention)
    size = f"{layer.kv_heads} key heads of {layer.qk_dim} and {layer.v_dim} dims in {layer.entry[0][1].upper()}"
    mine, its = (f"{size / 1e9:.1f} GB" for size in longest)
    why = (
        f"{model.name} has {hybrid.pattern(_PRO).full} layers that see all, {size}; with E's windows of "
        f"{given['window']:,.0f} tokens in every layer {mine} are left at {_k(context)}, with its own {its}."
    )
    return _graded((_near(theirs, ours, 0.1), _near(*longest, 0.1))), computed, why


@_settles("cache-table")
def _table(given: Values) -> Settled:
    feet, tiers = cache.footprint(_PRO), _tiers_of_article()
    sizes, costs = ([tiers[f"{tier}_{what}"] for tier in ("hbm", "dram", "ssd")] for what in ("bytes", "usd_gb"))
    whole, windows = feet.all_bytes_per_token, feet.full_bytes_per_token
    tokens = {"plain": sizes[0] / whole, "tiered": sum(sizes) / whole, "windows": sum(sizes) / windows}
    mean = sum(size * cost for size, cost in zip(sizes, costs, strict=True)) / sum(sizes)
    dollars = {"plain": costs[0], "tiered": mean, "windows": mean}
    parts = [_near(given[row], count, 0.1) for row, count in tokens.items()]
    parts += [_near(given[f"{row}_usd_gb"], cost, 0.1) for row, cost in dollars.items()]
    plain, tiered, most = (f"{count / 1e6:,.2f}M" for count in tokens.values())
    computed = f"{sizes[0] / 1e9:g} GB hold {plain} tokens of MiMo-V2.5-Pro, all tiers {tiered}, with windows {most}"
    own = f"E's own ${costs[0]:g} per GB of HBM and ${mean:.2f} of all tiers"
    why = (
        f"{sum(parts)} of {len(parts)} figures follow from the tiers; {own} stand against ${given['plain_usd_gb']:g}, "
        f"${given['tiered_usd_gb']:g} and ${given['windows_usd_gb']:g}, and none of them is a price per token."
    )
    return _graded(parts, none="does not follow"), computed, why


def _tiers_of_article() -> Values:
    """Sizes and dollars of the tiers that E's table rests on."""
    return catalog.load().claims["cache-tiers"].values


@_settles("cache-eviction-code")
def _eviction(given: Values) -> Settled:
    hbm, dram, ssd, blocks = (int(given[name]) for name in ("hbm", "dram", "ssd", "blocks"))
    manager = cache.ArticleManager((hbm, dram, ssd))
    for block in [*range(blocks), *range(blocks)]:
        manager.access(block)
    over, evicted = manager.used[2], manager.evicted
    manager.evict()
    counted, held = manager.used[0], manager.held()[0]
    sound = over <= ssd and counted == held
    computed = (
        f"{blocks} blocks into tiers of {hbm}, {dram} and {ssd}: {over} in SSD's {ssd} places, {evicted} evictions"
    )
    why = f"One eviction called by hand then leaves {held} blocks in HBM and counts {counted}."
    return "holds" if sound else "wrong", computed, why


@_settles("price-miss-over-hit")
def _miss_over_hit(given: Values) -> Settled:
    rows = [prices.price_at(key, currency="CNY") for key in (_PRO, "mimo-v2.5")]
    times = {row.product: row.miss / row.hit for row in rows if row.hit}
    computed = ", ".join(f"{r.miss:g} / {r.hit:g} = {times[r.product]:.3g} for {r.product}" for r in rows if r.hit)
    true = [name for name, ratio in times.items() if _near(given["times"], ratio, 0.01)]
    verdict = _graded(name in true for name in times) if rows[0].product in true else "wrong"  # the article's example
    return verdict, computed, f"True of {', '.join(true) or 'neither'}."
