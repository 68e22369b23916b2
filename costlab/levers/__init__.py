"""The levers together."""

from costlab.levers.dense import in_sixteen_bits, spread, with_full_attention, without_sparsity
from costlab.levers.services import KINDS, Service, TokenCosts, token_costs

__all__ = ["KINDS", "Service", "TokenCosts", "in_sixteen_bits", "spread", "token_costs", "with_full_attention",
           "without_sparsity"]
