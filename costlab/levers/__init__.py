"""All levers together: what a token costs by how its model is served, and which lever made it cheaper by how much.

- `services`: how a model is served, and what hits, misses and output then cost; `deployed`: on which chips; `figures`
  from the catalog;
- `dense`: the models before the levers; `products`: each lever of a product off or on, its ladder;
- `rungs`, `shapley`: the waterfall, what each lever does;
- `spread`: how far the costs can be off;
- `beside`: costs beside list prices on each day, and the margins left;
- `validating`, `predicting`: costs beside what others published, and prices of products that nothing was fitted on;
- `asking`: what follows for the prices of 2026.

>>> from costlab import levers
>>> found = levers.waterfall("deepseek-v4-pro")
>>> found.order[0], found.rungs[-1].cost("miss") < found.rungs[0].cost("miss") / 50
('sparsity', True)

Chapter: levers
"""

from costlab.levers.answers import AnswerStep, Question
from costlab.levers.asking import august_rise, may_above_cost, questions, shares_left
from costlab.levers.beside import ListMargin, margin, margins, margins_on
from costlab.levers.checked import Check, Validation
from costlab.levers.day import day_checks, day_service
from costlab.levers.dense import in_sixteen_bits, spread_over, with_full_attention, without_sparsity
from costlab.levers.figures import before_levers, rent, round_tokens, service_figures, share_reached
from costlab.levers.hits import hit_shares, line_changes, line_table, november_hits, shares_by_arrival
from costlab.levers.predicting import (
    ListedCost,
    Markup,
    Prediction,
    Predictions,
    choices_compared,
    cross_validation,
    forecasts,
    listed_costs,
    markup,
    predictions,
)
from costlab.levers.products import LEVERS, Ladder, ladder, served
from costlab.levers.rungs import Rung, Waterfall, waterfall
from costlab.levers.services import INPUTS, KINDS, Service, TokenCosts, TokenKind, token_costs
from costlab.levers.spread import CostSpread, cost_swings, spread_of
from costlab.levers.validating import host_checks, hosted, margin_checks, owning_checks, validation

__all__ = [
    "INPUTS", "KINDS", "LEVERS", "AnswerStep", "Check", "CostSpread", "Ladder", "ListMargin", "ListedCost", "Markup",
    "Prediction", "Predictions", "Question", "Rung", "Service", "TokenCosts", "TokenKind", "Validation", "Waterfall",
    "august_rise", "before_levers", "choices_compared", "cost_swings", "cross_validation", "day_checks", "day_service",
    "forecasts", "hit_shares", "host_checks", "hosted", "in_sixteen_bits", "ladder", "line_changes", "line_table",
    "listed_costs", "margin", "margin_checks", "margins", "margins_on", "markup", "may_above_cost", "november_hits",
    "owning_checks", "predictions", "questions", "rent", "round_tokens", "served", "service_figures", "share_reached",
    "shares_by_arrival", "shares_left", "spread_of", "spread_over", "token_costs", "validation", "waterfall",
    "with_full_attention", "without_sparsity",
]  # fmt: skip
