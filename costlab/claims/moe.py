"""Claims about mixtures of experts, settled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from costlab import arch, catalog, moe
from costlab.arrays import Floats, Ints
from costlab.checks import one_of
from costlab.claims import articles
from costlab.claims.ledger import LONG, LONGEST, SHORT, V4_PRO, Settled, Values, off_by, ratio, settles
from costlab.claims.parts import ClaimPart, literal, part, reading
from costlab.text import tokens_text

#: Losses that are to keep experts balanced: the article's in both forms, and one that does.
Loss = Literal["variance", "kl", "switch"]

_PRO = 'arch.load("deepseek-v4-pro")'
_LAYER, _OLD = 'moe.moe_layer("deepseek-v4-pro")', 'moe.moe_layer("deepseek-v3")'


@settles("moe-params", "moe#what-a-token-computes")
def _moe_params(given: Values) -> Settled:
    whole = f"{_PRO}.params.total + {_PRO}.params.mtp"
    parts = (
        part("all parameters, with the prediction module", "parameters", given["total"], whole, 0.01, number="total"),
        part("active parameters, as A says", "parameters", given["active_a"], f"{_PRO}.params.active", 0.02,
             number="active_a"),
        part("active parameters, as E says", "parameters", given["active_e"], f"{_PRO}.params.active", 0.02,
             number="active_e"),
    )  # fmt: skip
    counts = arch.load(V4_PRO).params
    off = [off_by(each.claimed, each.computed or 0.0) for each in parts]
    why = (
        f"The published dimensions give {(counts.total + counts.mtp) / 1e9:,.1f}B parameters with the prediction "
        f"module, {counts.total / 1e9:,.1f}B without it, and {counts.active / 1e9:.2f}B that a token visits. The total "
        f"is {off[0]} off, A's active count {off[1]} and E's {off[2]}."
    )
    return Settled(parts, why)


@settles("moe-one-thirtieth", "moe#what-a-token-computes")
def _moe_one_thirtieth(given: Values) -> Settled:
    times = f"{_PRO}.params.total / {_PRO}.params.active"
    found = part("all parameters over active ones", "times", given["times"], times, 0.1, number="times")
    why = (
        f"A token visits one in {found.computed:.1f} of the parameters, and the work of the matrices is in proportion "
        "to those. What attention computes over the context comes on top and grows with the length of the prompt."
    )
    return Settled([found], why)


@settles("moe-256-experts", "moe#one-layer-by-hand")
def _moe_256_experts(given: Values) -> Settled:
    hidden = f"{_PRO}.record.hidden"
    old = catalog.model("deepseek-v3").name
    whole = f"({_PRO}.params.total + {_PRO}.params.mtp) / {_OLD}.experts"
    parts = (
        part("all parameters", "parameters", given["total"], f"{_PRO}.params.total + {_PRO}.params.mtp", 0.01,
             number="total"),
        part("routed experts of a layer", "experts", given["experts"], f"{_LAYER}.experts", 0.0,
             reading=reading(f"of {old}", f"{_OLD}.experts"), number="experts"),
        part("experts that a token visits", "experts", given["top_k"], f"{_LAYER}.top_k", 0.0,
             reading=reading(f"of {old}", f"{_OLD}.top_k"), number="top_k"),
        part("share of the experts that a token visits", "share", given["share"], f"{_LAYER}.top_k / {_LAYER}.experts",
             0.01, reading=reading(f"of {old}", f"{_OLD}.top_k / {_OLD}.experts"), number="share"),
        part("parameters of an expert", "parameters", given["expert_params"], f"{_LAYER}.expert_params({hidden})", 0.1,
             reading=reading("all parameters divided by the experts of one layer", whole), number="expert_params"),
    )  # fmt: skip
    model = arch.load(V4_PRO)
    layer = moe.moe_layer(model)
    owners = [m.name for m in arch.models().values() if _routing(m) == (given["experts"], given["top_k"])]
    listed = f"{len(owners)} models of the catalog, {owners[0]} the first of them" if owners else "no model here"
    why = (
        f"V4-Pro has {layer.experts} routed experts and {layer.shared} shared one in each of {len(model.layers)} "
        f"layers, {layer.expert_params(model.record.hidden) / 1e6:.1f}M parameters each, and a token visits "
        f"{layer.top_k}, or {layer.top_k / layer.experts:.2%}. {given['experts']:g} and {given['top_k']:g} are the "
        f"numbers of {listed}. E's size of an expert divides the parameters of the whole model by the experts of one "
        f"layer ({given['total'] / 1e9:g}B / {given['experts']:g}), as if experts spanned all layers."
    )
    return Settled(parts, why)


def _routing(model: arch.Model) -> tuple[int, int]:
    """Experts per layer and per token, of a model's last layer that has some; none in a dense model."""
    sizes = ((ffn.experts, ffn.top_k) for _, ffn in reversed(model.layers) if isinstance(ffn, arch.MoE))
    return next(sizes, (0, 0))


@settles("moe-5-percent", "moe#what-a-token-computes")
def _moe_5_percent(given: Values) -> Settled:
    parts = [
        part(
            f"operations of a token at {tokens_text(n)}, as a share of a dense model's",
            "share",
            (given["low"], given["high"]),
            f'moe.compute_share("deepseek-v4-pro", {n}).share',
            0.1,
            beyond=n != LONGEST,
            number="low,high",
        )
        for n in (LONGEST, LONG, SHORT)
    ]

    def attention(tokens: int) -> str:
        flops = arch.load(V4_PRO).decode_flops(tokens)
        return f"{1 - float(flops.grouped()['linear'] / flops.total):.0%} at {tokens_text(tokens)}"

    shares = ", ".join(f"{each.computed:.1%} at {tokens_text(n)}" for n, each in
                       zip((LONGEST, LONG, SHORT), parts, strict=True))  # fmt: skip
    why = (
        f"Beside a dense model of its size V4-Pro computes {shares}. Short prompts need less than E says, since most "
        f"of the work there is matrices. Attention, which both models pay, is {attention(SHORT)} and "
        f"{attention(LONGEST)} of V4-Pro's work."
    )
    return Settled(parts, why, f"a context of {tokens_text(LONGEST)} tokens; shorter ones need less")


@settles("moe-mixtral", "moe#what-a-token-computes")
def _moe_mixtral(given: Values) -> Settled:
    layer = 'moe.moe_layer("mixtral-8x7b")'
    parts = (
        part("experts of a layer", "experts", given["experts"], f"{layer}.experts", 0.0, number="experts"),
        part("experts that a token visits", "experts", given["top_k"], f"{layer}.top_k", 0.0, number="top_k"),
        part("share of the experts that a token visits", "share", given["share"], f"{layer}.top_k / {layer}.experts",
             0.01, number="share"),
    )  # fmt: skip
    counts = arch.load("mixtral-8x7b").params
    rest = 1 - counts.by_component["experts"] / counts.total
    why = (
        f"Its configuration says so: {parts[2].computed:.0%} of the experts are visited. Of all parameters "
        f"{counts.active / counts.total:.1%} are active, since the {rest:.1%} that lie outside the experts are not "
        "routed."
    )
    return Settled(parts, why)


@settles("moe-capacity-factor", "moe#too-many-for-one-expert")
def _moe_capacity_factor(given: Values) -> Settled:
    tokens = f"64 * {_LAYER}.experts"
    rows = f"claims.articles.article_capacity({tokens}, {_LAYER}.experts)"
    fair = f"(64 * {_LAYER}.top_k)"
    parts = (
        part("capacity of an expert over its fair share, by E's formula", "times", given["factor"], f"{rows} / {fair}",
             0.05, number="factor"),
        part("share of assignments that is dropped at an even load, by E's formula", "share", given["dropped"],
             f"moe.dropped_share([64 * {_LAYER}.top_k] * {_LAYER}.experts, {rows})", 0.01, number="dropped"),
    )  # fmt: skip
    layer = moe.moe_layer(V4_PRO)
    why = (
        f"E's formula leaves out that a token makes {layer.top_k} choices: it gives an expert "
        f"{parts[0].computed:.2f} of its fair share, where {given['factor']:g} is meant. By it "
        f"{parts[1].computed:.0%} of the assignments would be dropped at perfect balance. DeepSeek reports "
        f"{given['dropped']:.0%} dropped."
    )
    return Settled(parts, why)


# --- losses that are to keep experts balanced ------------------------------------------------------------------


@settles("moe-balance-loss", "moe#sec-moe-balance")
def _moe_balance_loss(given: Values) -> Settled:
    _, collapsed = _loads(int(given["experts"]))
    loss, router = articles.article_variance(collapsed), articles.ArticleRouter(len(collapsed))
    router.route(collapsed)
    why = (
        f"The text defines a loss of {loss.text:.3f} where all tokens choose one expert, and its code gives "
        f"{loss.code:g}: of {router.load_count.sum():g} assignments the counters that the loss reads hold "
        f"{router.total_routes:g}. {_slopes('variance', given)}"
    )
    return Settled(_balance_parts("variance", given), why)


@settles("moe-balance-kl", "moe#sec-moe-balance")
def _moe_balance_kl(given: Values) -> Settled:
    parts = _balance_parts("kl", given)
    times = (parts[0].computed or 0.0) / np.log(given["experts"])
    why = (
        f"It does measure imbalance: from an even load to a collapsed one it rises by {parts[0].computed:,.0f}, which "
        f"is {times:,.0f} times the divergence. But it is made of counts, which no score of a gate moves a little. "
        f"{_slopes('kl', given)}"
    )
    return Settled(parts, why)


def _balance_parts(loss: Loss, given: Values) -> tuple[ClaimPart, ...]:
    experts, top_k = literal(given["experts"]), literal(given["top_k"])
    return (
        part("rise of the loss from an even load to a collapsed one", "loss", given["rise"],
             f'claims.moe.rise_to_collapse("{loss}", {experts})', 0.0, relation="at least", number="rise"),
        part("change of the loss for each unit of a gate's score", "loss", given["slope"],
             f'claims.moe.gate_slope("{loss}", {experts}, {top_k})', 0.0, relation="at least", number="slope"),
    )  # fmt: skip


def _slopes(loss: Loss, given: Values) -> str:
    experts, top_k = int(given["experts"]), int(given["top_k"])
    slope = gate_slope(loss, experts, top_k)
    effect = "" if slope else ", so it trains nothing"
    other = gate_slope("switch", experts, top_k)
    return f"For each unit of a gate's score it changes by {slope:g}{effect}; the Switch loss changes by {other:.1g}."


def rise_to_collapse(loss: Loss, experts: int) -> float:
    """Return what a loss of loads gains from an even load to one where all assignments go to one expert.

    Raises:
        ValueError: an unknown loss, or one that needs scores.
    """
    even, collapsed = _loads(experts)
    values = {"variance": articles.article_variance, "kl": articles.article_kl}
    found = values[one_of(("variance", "kl"), loss, "loss of loads")]
    return found(collapsed).code - found(even).code


def gate_slope(loss: Loss, experts: int, top_k: int) -> float:
    """Return the change of a loss per change of one expert's scores, where no choice changes.

    Args:
        loss: which one.
        experts: how many there are.
        top_k: experts that each token visits.

    Raises:
        ValueError: an unknown loss.
    """
    by_loads = {"variance": articles.article_variance, "kl": articles.article_kl}

    def value(scores: Floats, chosen: Ints) -> float:
        if loss == "switch":
            return moe.switch_loss(scores, chosen)
        return by_loads[one_of(get_args(Loss), loss, "loss")](moe.count_loads(chosen, experts)).code

    return _slope(value, experts, top_k)


def _loads(experts: int) -> tuple[Floats, Floats]:
    """As many assignments as experts: spread evenly, and all on one expert."""
    return np.ones(experts), np.eye(1, experts)[0] * experts


def _slope(loss: Callable[[Floats, Ints], float], experts: int, top_k: int) -> float:
    scores, step = np.random.default_rng(0).random((64, experts)), 1e-7
    moved = scores + step * np.eye(1, scores.shape[1])[0]
    before, after = (loss(s, np.argsort(-s)[:, :top_k]) for s in (scores, moved))
    return abs(after - before) / step


# --- what other models are said to be --------------------------------------------------------------------------


@settles("moe-qwen", "moe#what-a-token-computes")
def _moe_qwen(given: Values) -> Settled:
    active, total, top_k, experts = (literal(given[name]) for name in ("active", "total", "top_k", "experts"))
    share = ratio(given["active"], given["total"])
    visited = f"{top_k} / {experts}" if given["experts"] else "1.0"
    published = "qwen-plus" in catalog.tables().models
    counts = 'arch.load("qwen-plus").params' if published else None
    parts = (
        part("share of the parameters that is active, by E's counts", "share", given["share"],
             f"{active} / {total}" if given["total"] else None, 0.01, number="share"),
        part("operations, as a share of a dense model's, by E's counts", "share", given["compute"],
             f"{active} / {total}" if given["total"] else None, 0.1, number="compute"),
        part("share of the experts that a token visits, which no active share can be below", "share", given["share"],
             visited, 0.0, relation="at most", number="top_k,experts"),
        part("all parameters, as published", "parameters", given["total"], counts and f"{counts}.total", 0.01,
             number="total"),
        part("active parameters, as published", "parameters", given["active"], counts and f"{counts}.active", 0.02,
             number="active"),
    )  # fmt: skip
    why = (
        f"E's own counts contradict one another. {given['active'] / 1e9:g}/{given['total'] / 1e9:g} = {share:.0%} of "
        f"the parameters are {share:.0%} of the matrix work, where {given['compute']:.0%} is claimed, and who visits "
        f"{ratio(given['top_k'], given['experts']):.1%} of the experts activates at least as large a share of the "
        f"parameters. Qwen-Plus has {'a' if published else 'no'} published configuration, so the counts themselves "
        f"{'can' if published else 'cannot'} be checked."
    )
    return Settled(parts, why)


@settles("moe-efficiency-score", "moe#what-a-batch-reads")
def _moe_efficiency_score(given: Values) -> Settled:
    names = ("active", "total", "top_k", "experts")
    makers = [[given[f"{who}_{name}"] for name in names] for who in ("deepseek", "qwen")]
    sides = [*makers, [1.0, 1.0, 1.0, 1.0]]  # the last is dense: all active, its one expert visited
    calls = [f"claims.moe.article_score({', '.join(map(literal, side))})" for side in sides]
    pairs = ((0, 1, "DeepSeek over Qwen"), (1, 2, "Qwen over a dense model"), (0, 2, "DeepSeek over a dense model"))
    parts = [
        part(f"E's score of {name}", "times", given["better"], f"{calls[one]} / {calls[other]}", 0.0,
             relation="at least", number="better")
        for one, other, name in pairs
    ]  # fmt: skip
    sparse, qwen, dense = (article_score(*side) for side in sides)
    right = sum(each.agrees is True for each in parts)
    why = (
        f"The score is {sparse:.5f} for DeepSeek, {qwen:.4f} for Qwen and {dense:g} for any dense model. It multiplies "
        f"one measure of sparsity by another, so it falls as a model gets sparser: in {right} of {len(parts)} pairs "
        "the sparser scores higher."
    )
    return Settled(parts, why)


def article_score(active: float, total: float, top_k: float, experts: float) -> float:
    """Return E's efficiency score: the share of active parameters times the share of visited experts."""
    return ratio(active, total) * ratio(top_k, experts)


@settles("dense-10-20x", "moe#what-a-token-computes")
def _dense_10_20x(given: Values) -> Settled:
    dense, said = literal(given["params"]), (given["low"], given["high"])
    own = catalog.tables().claims["moe-params"].values
    parts = [
        part("its parameters over V4-Pro's active ones, by E's own counts", "times", said,
             f"{dense} / {literal(own['active_e'])}", 0.1, number="low,high,params"),
        *(
            part(f"its matrix work for a token over the operations of {arch.load(key).name} at {tokens_text(SHORT)}",
                 "times", said, f'2 * {dense} / arch.load("{key}").decode_flops({SHORT}).total', 0.1,
                 number="low,high,params")
            for key in (V4_PRO, "mimo-v2.5-pro", "deepseek-v3")
        ),
        part("parameters of GPT-5.5, as published", "parameters", given["params"], None, 0.05, number="params"),
    ]  # fmt: skip
    by_model = [each.computed or 0.0 for each in parts[1:4]]
    why = (
        f"A dense model of {given['params'] / 1e9:,.0f}B multiplies every parameter for every token, and E's own count "
        f"of V4-Pro makes that {parts[0].computed:.0f} times, not {given['low']:g} to {given['high']:g}. By published "
        f"configurations it is {min(by_model):.0f} to {max(by_model):.0f} times. OpenAI has published no size of "
        "GPT-5.5 and no word that it is dense, so that part of the claim cannot be checked at all."
    )
    return Settled(parts, why)
