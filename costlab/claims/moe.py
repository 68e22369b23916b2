"""Claims about mixtures of experts, settled."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from costlab import arch, catalog, moe
from costlab.arrays import ArrayLike, Floats, Ints
from costlab.claims import articles
from costlab.claims.ledger import (
    LONG,
    LONGEST,
    SHORT,
    V4_PRO,
    Settled,
    Values,
    Verdict,
    agrees,
    graded,
    off_by,
    ratio,
    settles,
)
from costlab.text import tokens_text


@settles("moe-params")
def _moe_params(given: Values) -> Settled:
    counts = arch.load(V4_PRO).params
    total, active = counts.total + counts.mtp, counts.active
    claims = [(given["total"], total, 0.01), (given["active_a"], active, 0.02), (given["active_e"], active, 0.02)]
    sizes = f"{total / 1e9:,.1f}B with the prediction module, {counts.total / 1e9:,.1f}B without"
    computed = f"{sizes}; {active / 1e9:.2f}B active"
    off = [off_by(claimed, ours) for claimed, ours, _ in claims]
    why = f"By the published dimensions the total is {off[0]} off, A's active count {off[1]}, E's {off[2]}."
    return "holds" if all(agrees(*claim) for claim in claims) else "wrong", computed, why


@settles("moe-one-thirtieth")
def _moe_one_thirtieth(given: Values) -> Settled:
    counts = arch.load(V4_PRO).params
    times = counts.total / counts.active
    holds = agrees(given["times"], times, 0.1)
    why = "Total over active parameters; attention to the context not counted."
    return "holds" if holds else "wrong", f"1/{times:.1f}", why


@settles("moe-256-experts")
def _moe_256_experts(given: Values) -> Settled:
    model = arch.load(V4_PRO)
    layer, counts = moe.moe_layer(model), model.params
    one, share = layer.expert_params(model.record.hidden), layer.top_k / layer.experts
    same = _routing(model) == (given["experts"], given["top_k"]) and agrees(given["share"], share, 0.01)
    sized = agrees(given["expert_params"], one, 0.1) and agrees(given["total"], counts.total + counts.mtp, 0.01)
    experts = f"{layer.experts} routed and {layer.shared} shared experts in each of {len(model.layers)} layers"
    computed = f"{experts}, {one / 1e6:.1f}M each; {layer.top_k} visited: {share:.2%}"
    owners = [m.name for m in arch.models().values() if _routing(m) == (given["experts"], given["top_k"])]
    why = f"{given['experts']:g} and {given['top_k']:g} are the numbers of {', '.join(owners) or 'no model here'}"
    if agrees(given["expert_params"], ratio(given["total"], given["experts"]), 0.01):
        division = f"{given['total'] / 1e9:g}B / {given['experts']:g}"
        why += f"; {given['expert_params'] / 1e9:g}B is {division}, as if experts spanned all layers"
    return "holds" if same and sized else "wrong", computed, f"{why}."


def _routing(model: arch.Model) -> tuple[int, int]:
    """Experts per layer and per token, of a model's last layer that has some; none in a dense model."""
    sizes = ((ffn.experts, ffn.top_k) for _, ffn in reversed(model.layers) if isinstance(ffn, arch.MoE))
    return next(sizes, (0, 0))


@settles("moe-5-percent")
def _moe_5_percent(given: Values) -> Settled:
    contexts = (SHORT, LONG, LONGEST)
    shares = [moe.compute_share(V4_PRO, n).share for n in contexts]
    inside = [given["low"] * 0.9 <= share <= given["high"] * 1.1 for share in shares]
    computed = ", ".join(f"{share:.1%} at {tokens_text(n)}" for n, share in zip(contexts, shares, strict=True))

    def attention(tokens: int) -> str:
        flops = arch.load(V4_PRO).decode_flops(tokens)
        return f"{1 - float(flops.grouped()['linear'] / flops.total):.0%} at {tokens_text(tokens)}"

    why = f"Attention, which both models pay, is {attention(SHORT)} and {attention(LONGEST)} of V4-Pro's work."
    return graded(inside), computed, why


@settles("moe-mixtral")
def _moe_mixtral(given: Values) -> Settled:
    model = arch.load("mixtral-8x7b")
    layer, counts = moe.moe_layer(model), model.params
    same = (layer.experts, layer.top_k) == (given["experts"], given["top_k"])
    share, active = layer.top_k / layer.experts, counts.active / counts.total
    computed = f"{share:.0%} of the experts, {active:.1%} of the parameters"
    rest = 1 - counts.by_component["experts"] / counts.total
    why = f"The {rest:.1%} of the parameters that lie outside the experts are not routed."
    return "holds" if same and agrees(given["share"], share, 0.01) else "wrong", computed, why


@settles("moe-capacity-factor")
def _moe_capacity_factor(given: Values) -> Settled:
    layer = moe.moe_layer(V4_PRO)
    tokens = 64 * layer.experts
    fair = tokens * layer.top_k / layer.experts
    rows = articles.article_capacity(tokens, layer.experts, given["factor"])
    even, same = np.full(layer.experts, fair), np.where(np.arange(layer.experts) < layer.top_k, tokens, 0)
    lost = [moe.dropped_share(loads, rows) for loads in (even, same)]
    computed = (
        f"by E's formula {lost[0]:.0%} of assignments would be dropped at perfect balance, {lost[1]:.0%} if all tokens "
        "chose alike"
    )
    shares = f"for {layer.top_k} choices a token it gives an expert {rows / fair:.2f} of its fair share"
    why = f"{shares}, where {given['factor']:g} is meant; DeepSeek reports {given['dropped']:.0%} dropped"
    matches = [abs(share - given["dropped"]) < 0.01 for share in lost]
    return graded(matches) if matches[0] else "wrong", computed, why[0].upper() + why[1:]


@settles("moe-balance-loss")
def _moe_balance_loss(given: Values) -> Settled:
    even, collapsed = _loads(given)
    loss, router = articles.article_variance(collapsed), articles.ArticleRouter(len(collapsed))
    router.route(collapsed)
    at_balance = articles.article_variance(even)
    verdict, slopes = _trains(lambda loads: articles.article_variance(loads).code, given)
    computed = f"at collapse: text {loss.text:.3f}, code {loss.code:g}; at balance: {at_balance.text:g}"
    counted = (
        f"Of {router.load_count.sum():g} assignments the counters that the loss reads hold {router.total_routes:g}"
    )
    return verdict, computed, f"{counted}; {slopes}."


@settles("moe-balance-kl")
def _moe_balance_kl(given: Values) -> Settled:
    even, collapsed = _loads(given)
    at_balance, at_collapse = articles.article_kl(even).code, articles.article_kl(collapsed).code
    verdict, slopes = _trains(lambda loads: articles.article_kl(loads).code, given)
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
    return graded((measures, slope > 0)), text


def _slope(loss: Callable[[Floats, Ints], float], given: Values) -> float:
    """Return the change of a loss per change of one expert's scores, where no choice changes."""
    scores, step = np.random.default_rng(0).random((64, int(given["experts"]))), 1e-7
    moved = scores + step * np.eye(1, scores.shape[1])[0]
    before, after = (loss(s, np.argsort(-s)[:, : int(given["top_k"])]) for s in (scores, moved))
    return abs(after - before) / step


@settles("moe-qwen")
def _moe_qwen(given: Values) -> Settled:
    active, total, top_k, experts = (given[name] for name in ("active", "total", "top_k", "experts"))
    share, visited = ratio(active, total), ratio(top_k, experts)
    consistent = agrees(given["share"], share, 0.01) and agrees(given["compute"], share, 0.1) and visited <= share
    computed = (
        f"{active / 1e9:g}/{total / 1e9:g} = {share:.0%} of the parameters, "
        f"{top_k:g}/{experts:g} = {visited:.1%} of the experts"
    )
    why = (
        f"{share:.0%} active parameters are {share:.0%} of the matrix work, where {given['compute']:.0%} is claimed; "
        f"and who visits {visited:.1%} of the experts activates at least {visited:.1%} of the parameters"
    )
    published = catalog.tables().models.get("qwen-plus")
    verdict: Verdict = "does not follow"
    if consistent and published is None:
        verdict = "cannot be checked"
    elif consistent:
        counts = arch.load("qwen-plus").params
        verdict = "holds" if agrees(total, counts.total, 0.01) and agrees(active, counts.active, 0.02) else "wrong"
    return verdict, computed, f"{why}. Qwen-Plus has {'a' if published else 'no'} published configuration."


@settles("moe-efficiency-score")
def _moe_efficiency_score(given: Values) -> Settled:
    names = ("active", "total", "top_k", "experts")
    makers = [[given[f"{who}_{name}"] for name in names] for who in ("deepseek", "qwen")]
    sides = [*makers, [1.0, 1.0, 1.0, 1.0]]  # the last is dense: all active, its one expert visited
    ranked = sorted((ratio(side[0], side[1]), _article_score(*side)) for side in sides)  # most sparse first
    pairs = [left[1] > right[1] for left, right in itertools.combinations(ranked, 2)]
    sparse, other, dense = (_article_score(*side) for side in sides)
    computed = f"{sparse:.5f} for DeepSeek, {other:.4f} for Qwen, {dense:g} for any dense model"
    found = f"in {sum(pairs)} of {len(pairs)} pairs the sparser scores higher"
    why = f"Sparsity multiplied by sparsity: {found}."
    return graded(pairs, none="does not follow"), computed, why


def _article_score(active: float, total: float, top_k: float, experts: float) -> float:
    """E's efficiency score: the share of active parameters times the share of visited experts."""
    return ratio(active, total) * ratio(top_k, experts)
