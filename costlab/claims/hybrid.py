"""Claims about sliding windows, settled."""

from __future__ import annotations

from costlab import arch, hybrid
from costlab.claims.ledger import LONGEST, MIMO_PRO, Settled, Values, layer_of, ratio, settles
from costlab.claims.parts import literal, part, reading
from costlab.text import tokens_text

_ORDER = 'hybrid.pattern("mimo-v2.5-pro")'


@settles("swa-1-to-7", "hybrid#the-stack")
def _swa_1_to_7(given: Values) -> Settled:
    order, claimed = hybrid.pattern(MIMO_PRO), ratio(given["sliding"], given["full"])
    all_layers = reading("full layers to all layers", f"len({_ORDER}.kinds) / {_ORDER}.full")
    found = part("sliding-window layers for each full one", "times", claimed, f"{_ORDER}.sliding / {_ORDER}.full", 0.01,
                 reading=all_layers, number="sliding,full")  # fmt: skip
    usual, among_all = sum(gap == claimed for gap in order.gaps), len(order.kinds) / order.full
    why = (
        f"The {order.full} full and {order.sliding} sliding layers are 1:{order.sliding / order.full:g}; full layers "
        f"to all layers are 1:{among_all:g}. A count of {claimed:g} sliding layers stands in {usual} of the "
        f"{len(order.gaps)} gaps between full ones. In the long run the cache falls {among_all:g}-fold, where full to "
        f"sliding 1:{claimed:g} would make it {claimed + 1:g}."
    )
    return Settled([found], why)


@settles("swa-60-layers", "hybrid#the-stack")
def _swa_60_layers(given: Values) -> Settled:
    parts = (
        part("layers with a sliding window", "layers", given["sliding"], f"{_ORDER}.sliding", 0.0, number="sliding"),
        part("layers", "layers", given["layers"], f"len({_ORDER}.kinds)", 0.0, number="layers"),
    )
    order, window = hybrid.pattern(MIMO_PRO), layer_of(MIMO_PRO, arch.SlidingWindow).window
    why = (
        f"The published configuration has {order.sliding} of {len(order.kinds)} layers with a window of {window} "
        f"tokens. The others, number {', '.join(map(str, order.full_at))} see the whole context."
    )
    return Settled(parts, why)


@settles("swa-10-layer-prefill", "hybrid#compute-a-10-layer-model")
def _swa_10_layer_prefill(given: Values) -> Settled:
    contexts, share = (8192, 65_536, LONGEST), 0.2

    def layers(what: str, tokens: int) -> str:
        return f'{_ORDER}.full * hybrid.prefill_ratio("mimo-v2.5-pro", {literal(tokens)}).{what}'

    attention, everything = (
        [
            part(f"layers of full attention that cost as much {name} at {tokens_text(n)}", "layers", given["like"],
                 layers(what, n), share, beyond=beyond, number="like")
            for n in contexts
        ]
        for what, name, beyond in (("attention_only", "in attention", False), ("with_matrices", "in all", True))
    )  # fmt: skip
    count = part("layers", "layers", given["layers"], f"len({_ORDER}.kinds)", 0.0, number="layers")
    ratios = [hybrid.prefill_ratio(MIMO_PRO, tokens) for tokens in contexts]
    listed = [", ".join(f"{float(value):.2f}" for value in side) for side in
              ([r.attention_only for r in ratios], [r.with_matrices for r in ratios])]  # fmt: skip
    lengths, full = ", ".join(map(tokens_text, contexts)), hybrid.pattern(MIMO_PRO).full
    why = (
        f"Attention costs {listed[0]} times the attention of {full} layers at {lengths}, within {share:.0%} of what D "
        f"says. With the matrix work of all layers, which B's words include, it is {listed[1]} times. The matrices "
        f"weigh more until a query reads {hybrid.equal_keys(MIMO_PRO) / 1e3:.1f}K keys."
    )
    return Settled([*attention, count, *everything], why, "attention alone is counted, or the prompt is very long")
