"""Claims about all levers together and about what is left to gain, settled."""

from __future__ import annotations

from costlab import arch, catalog, levers, moe, prices, roofline
from costlab.claims.ledger import LONG, V4_PRO, Settled, Values, settles
from costlab.claims.parts import part, reading
from costlab.roofline import Term
from costlab.text import tokens_text

_CHIP = "h800"
_CHIPS = 128  # that decode, as in published deployments

_PRO = 'arch.load("deepseek-v4-pro")'
_LAYER, _OLD = 'moe.moe_layer("deepseek-v4-pro")', 'moe.moe_layer("deepseek-v3")'


@settles("compound-levers", "levers#sec-levers-order")
def _compound_levers(given: Values) -> Settled:
    share = "claims.levers.share_of_cost"
    chip = '1 - dict(claims.chips.savings_of_910b())["the A100\'s server"]'
    both = f'{share}("sparsity") * {share}("attention", "cache")'
    parts = (
        part("cost of a request with sparsity, over that without a lever", "share", given["sparse"],
             f'{share}("sparsity")', 0.2, relation="at most", number="sparse"),
        part("cost of a request with attention and cache, over that without a lever", "share", given["cached"],
             f'{share}("attention", "cache")', 0.2, relation="at most", number="cached"),
        part("price of a 910B server over that of an A100 server", "share", given["chip"], chip, 0.1,
             relation="at most", number="chip"),
        part("cost with sparsity, attention and cache over the product of what each does alone", "times",
             given["compound"], f'{share}("sparsity", "attention", "cache") / ({both})', 0.15, number="compound"),
        *(
            part(f"cost with attention and cache, over that without a lever, {kind}", "share", given["cached"],
                 f'{share}("attention", "cache", traffic="{key}")', 0.2, relation="at most", beyond=True,
                 number="cached")
            for key, kind in (("chat", "in chats"), ("tools", "for agents with tools"))
        ),
    )  # fmt: skip
    sparse, cached, chips, compound, *others = (each.computed or 0.0 for each in parts)
    everything = share_of_cost(*levers.ladder(V4_PRO).levers)
    why = (
        f"For a request of a coding agent sparsity alone leaves {sparse:.1%} of the cost of a dense model, attention "
        f"and cache {cached:.1%}, and the price of a server at home {chips:.0%}. Together the first levers leave "
        f"{compound:.2f} times the product of what each does alone, so that they do multiply. With all levers of the "
        f"course {everything:.2%} is left. Of the kinds of use that were tried only this one gives E's figures, "
        f"and only to the {parts[0].tolerance:.0%} that its round numbers are allowed: in chats attention and cache "
        f"leave {others[0]:.0%}, and for agents with tools {others[1]:.0%}."
    )
    assumption = "long prompts that mostly hit, as a coding agent sends them, and chips at home that do the same work"
    return Settled(parts, why, assumption, sought=True)


def share_of_cost(*on: str, traffic: str = "coding") -> float:
    """Return the cost of a mean request of V4-Pro with some levers over the cost with none.

    Args:
        on: the levers.
        traffic: kind of use, e.g. "chat".

    Raises:
        ValueError: a name that is no lever of the model, an unknown kind of use.
    """
    steps = levers.ladder(V4_PRO, traffic=traffic)
    return float(steps.costs(on).bill / steps.costs(()).bill)


@settles("limit-activation", "moe#what-a-batch-reads")
def _limit_activation(given: Values) -> Settled:
    parts = (
        part("share of the experts that a token visits in V4-Pro", "share", given["now"],
             f"{_LAYER}.top_k / {_LAYER}.experts", 0.02,
             reading=reading(f"of {catalog.model('deepseek-v3').name}", f"{_OLD}.top_k / {_OLD}.experts"),
             number="now"),
        part("share of the experts that a token visits in the sparser models of today", "share",
             (given["low"], given["high"]), f"{_LAYER}.top_k / {_LAYER}.experts", 0.02, number="low,high"),
    )  # fmt: skip
    layer, pro = moe.moe_layer(V4_PRO), arch.load(V4_PRO).params
    sparsest = min(each.params.active / each.params.total for each in arch.models().values())
    why = (
        f"V4-Pro's tokens visit {layer.top_k} of {layer.experts} experts, {parts[0].computed:.2%}: E's figure of today "
        f"is an older model's, and what it calls possible had been done. Counted in parameters V4-Pro activates "
        f"{pro.active / pro.total:.1%}, and the least of any model in the catalog is {sparsest:.1%}, since attention, "
        "shared experts and embeddings are always active. The sparser a layer, the larger the batch that fills its "
        "experts."
    )
    return Settled(parts, why)


@settles("limit-floors", "roofline#sec-roofline-terms")
def _limit_floors(given: Values) -> Settled:
    terms: tuple[tuple[Term, str], ...] = (
        ("compute", "arithmetic"), ("memory", "reading weights and cache"), ("link", "sending between chips"),
    )  # fmt: skip
    parts = [
        part(f"cost of {name} for an output token of V4-Pro, over its price of May", "share", given["felt"],
             f'claims.levers.floor_usd("{term}") / prices.price_at("{V4_PRO}", "2026-06-01").output', 0.0,
             relation="at least", number="felt")
        for term, name in terms
    ]  # fmt: skip
    listed = ", ".join(f"{each.computed:.1%} for {name}" for each, (_, name) in zip(parts, terms, strict=True))
    why = (
        f"On {_CHIPS} {catalog.chip(_CHIP).name} with as many sequences of {tokens_text(LONG)} tokens as memory holds, "
        f"at full speed and in use all the time, an output token costs these shares of its price of May: {listed}. "
        "Each is a floor that no software removes: it falls only with the model, its bits or the chip. Since they "
        "overlap, the largest counts."
    )
    return Settled(parts, why)


def floor_usd(term: Term) -> float:
    """Return what a million output tokens of V4-Pro cost in dollars if one part of a step took all the time.

    The chips are H800 at the median of published rents, full, at their peak rates and always in use.

    Args:
        term: "compute", "memory" or "link".
    """
    unit = roofline.deployment(V4_PRO, _CHIP, _CHIPS)
    step = unit.decode(unit.max_batch(LONG), LONG)
    return step.terms[term] * unit.usd_per_s(prices.chip_rent(_CHIP).amount) / step.tokens * 1e6
