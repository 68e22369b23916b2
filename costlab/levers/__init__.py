"""All levers together: what a token costs by how its model is served, and which lever made it cheaper by how much.

- `services`: how a model is served, and what hits, misses and output then cost; `deployed`: on which chips; `figures`
  from the catalog;
- `dense`: the models before the levers; `products`: each lever of a product off or on, its ladder;
- `rungs`, `shapley`: the waterfall, what each lever does;
- `spread`: how far the costs can be off;
- `beside`: costs beside list prices on each day, and the margins left.

>>> from costlab import levers
>>> found = levers.waterfall("deepseek-v4-pro")
>>> found.order[0], found.rungs[-1].cost("miss") < found.rungs[0].cost("miss") / 50
('sparsity', True)

Chapter: levers
"""

from costlab.levers.beside import ListMargin, margin, margins, margins_on
from costlab.levers.dense import in_sixteen_bits, spread_over, with_full_attention, without_sparsity
from costlab.levers.figures import before_levers, rent, round_tokens, service_figures, share_reached
from costlab.levers.products import LEVERS, Ladder, ladder, served
from costlab.levers.rungs import Rung, Waterfall, waterfall
from costlab.levers.services import INPUTS, KINDS, Service, TokenCosts, TokenKind, token_costs
from costlab.levers.spread import CostSpread, cost_swings, spread_of

__all__ = [
    "INPUTS", "KINDS", "LEVERS", "CostSpread", "Ladder", "ListMargin", "Rung", "Service", "TokenCosts", "TokenKind",
    "Waterfall", "before_levers", "cost_swings", "in_sixteen_bits", "ladder", "margin", "margins", "margins_on", "rent",
    "round_tokens", "served", "service_figures", "share_reached", "spread_of", "spread_over", "token_costs",
    "waterfall", "with_full_attention", "without_sparsity",
]  # fmt: skip
