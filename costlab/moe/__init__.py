"""The MoE lever: routing, dispatch, balance and placement of experts, and what they cost. NumPy only.

Chapter: moe
"""

from costlab.moe.balance import load_entropy, sequence_loss, switch_loss, update_bias
from costlab.moe.cost import (
    ComputeShare,
    DecodeStep,
    Exchange,
    Summary,
    compute_share,
    count_reached,
    decode_step,
    exchange,
    reached,
    remote_copies,
    simulate_touched,
    summary,
    touched_share,
)
from costlab.moe.dispatch import (
    Dispatch,
    capacity,
    dispatch_dropless,
    dispatch_with_capacity,
    dropped_share,
    least_factor,
    padding_share,
)
from costlab.moe.load import sample_routes, skewed_logits, uniform_shares, zipf_shares
from costlab.moe.placement import Placement, contiguous, copies_by_load, place, slots_per_rank
from costlab.moe.routing import (
    SCORES,
    Router,
    Routes,
    count_loads,
    limit_groups,
    look_up,
    moe_layer,
    router,
    sigmoid,
    softmax,
    sqrt_softplus,
    token_table,
    top_k,
)

__all__ = [
    "SCORES", "ComputeShare", "DecodeStep", "Dispatch", "Exchange", "Placement", "Router", "Routes", "Summary",
    "capacity", "compute_share", "contiguous", "copies_by_load", "count_loads", "count_reached", "decode_step",
    "dispatch_dropless", "dispatch_with_capacity", "dropped_share", "exchange", "least_factor", "limit_groups",
    "load_entropy", "look_up", "moe_layer", "padding_share", "place", "reached", "remote_copies", "router",
    "sample_routes", "sequence_loss", "sigmoid", "simulate_touched", "skewed_logits", "slots_per_rank", "softmax",
    "sqrt_softplus", "summary", "switch_loss", "token_table", "top_k", "touched_share", "uniform_shares",
    "update_bias", "zipf_shares",
]  # fmt: skip
