"""Claims about list prices, settled."""

from __future__ import annotations

from costlab import prices
from costlab.claims.ledger import MIMO_PRO, Settled, Values, agrees, settles


@settles("price-miss-over-hit")
def _price_miss_over_hit(given: Values) -> Settled:
    rows = [prices.price_at(key, currency="CNY") for key in (MIMO_PRO, "mimo-v2.5")]
    times = {row.product: row.miss / row.hit for row in rows if row.hit}
    computed = ", ".join(f"{r.miss:g} / {r.hit:g} = {times[r.product]:.3g} for {r.product}" for r in rows if r.hit)
    true = [name for name, ratio in times.items() if agrees(given["times"], ratio, 0.01)]
    return "holds" if rows[0].product in true else "wrong", computed, f"True of {', '.join(true) or 'neither'}."
