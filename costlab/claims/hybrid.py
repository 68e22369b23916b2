"""Claims about sliding windows, settled."""

from __future__ import annotations

from costlab import arch, hybrid
from costlab.claims.ledger import LONGEST, MIMO_PRO, Settled, Values, Verdict, agrees, graded, layer_of, ratio, settles
from costlab.text import tokens_text


@settles("swa-1-to-7")
def _swa_1_to_7(given: Values) -> Settled:
    order, claimed = hybrid.pattern(MIMO_PRO), ratio(given["sliding"], given["full"])
    whole, among_all = order.sliding / order.full, len(order.kinds) / order.full
    usual = sum(gap == claimed for gap in order.gaps)
    counts = f"{order.full} full and {order.sliding} sliding layers are 1:{whole:g}; full to all is 1:{among_all:g}"
    computed = f"{counts}; {claimed:g} sliding layers stand in {usual} of the {len(order.gaps)} gaps between full ones"
    claim = f"full to sliding 1:{claimed:g} would make it {claimed + 1:g}"
    why = f"In the long run the cache falls {among_all:g}-fold; {claim}."
    verdict: Verdict = "holds with a condition" if usual > 0 or among_all == claimed else "wrong"
    return "holds" if whole == claimed else verdict, computed, why


@settles("swa-60-layers")
def _swa_60_layers(given: Values) -> Settled:
    order = hybrid.pattern(MIMO_PRO)
    window = layer_of(MIMO_PRO, arch.SlidingWindow).window
    same = (order.sliding, len(order.kinds)) == (given["sliding"], given["layers"])
    computed = f"{order.sliding} of {len(order.kinds)} layers, each with a window of {window} tokens"
    where = ", ".join(map(str, order.full_at))
    return "holds" if same else "wrong", computed, f"The others, number {where}, see the whole context."


@settles("swa-10-layer-prefill")
def _swa_10_layer_prefill(given: Values) -> Settled:
    contexts, share = (8192, 65_536, LONGEST), 0.2
    ratios = [hybrid.prefill_ratio(MIMO_PRO, tokens) for tokens in contexts]
    attention, everything = [float(r.attention_only) for r in ratios], [float(r.with_matrices) for r in ratios]
    order = hybrid.pattern(MIMO_PRO)
    near = [[agrees(1.0, times, share) for times in side] for side in (attention, everything)]
    lengths = ", ".join(map(tokens_text, contexts))
    times = f"{', '.join(f'{t:.2f}' for t in attention)} times the attention of {order.full} layers at {lengths}"
    computed = f"{times}; with the matrix work {', '.join(f'{t:.2f}' for t in everything)} times"
    found = [f"{sum(side)} of {len(side)}" for side in near]
    why = (
        f"Within {share:.0%} at {found[0]} lengths for attention, {found[1]} with the matrices of all layers, which "
        f"weigh more until a query reads {hybrid.equal_keys(MIMO_PRO) / 1e3:.1f}K keys."
    )
    counts = (len(order.kinds), order.full) == (given["layers"], given["like"])
    return graded([*near[0], *near[1]]) if counts else "wrong", computed, why
