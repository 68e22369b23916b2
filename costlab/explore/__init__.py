"""The figures behind the sliders: each function takes plain numbers and returns one `Drawing`, or `Frames` of several.

The same functions serve the notebooks' `interact` cells and the published pages: NumPy and matplotlib, nothing else.
"""

from costlab.explore.attention import (
    bytes_per_token,
    cache_per_model,
    decode_flops,
    recall_points,
    two_models,
    which_ratio,
)
from costlab.explore.attention_diagrams import attention_kinds, attention_overview, compressor
from costlab.explore.attention_states import decode_by_kind, state_and_cache
from costlab.explore.cache import hit_curve, prefix_tree
from costlab.explore.chips import (
    CHIPS_DAY,
    MACHINES,
    PRICES,
    bought_or_rented,
    hour_tornado,
    input_words,
    owned_hour_parts,
)
from costlab.explore.chips_choice import COMPARED_MODELS, REACHED, chip_map, reached_shares, two_yields, who_wins
from costlab.explore.chips_diagrams import fused_layer, operator_fates
from costlab.explore.drawing import Drawing, Frames, Words, drawn, value
from costlab.explore.hybrid import layer_stack, recall_by_distance, recall_by_ratio, ring, ten_layers, window_saving
from costlab.explore.levers import HIT_RATES, LEVER_MODELS, PRICED, lever_waterfall
from costlab.explore.levers_landing import LANDING_DAYS, landing
from costlab.explore.levers_map import factors_map
from costlab.explore.levers_margins import RENTED_CHIPS, break_even_use, margin_timeline
from costlab.explore.levers_predicted import predicted_prices
from costlab.explore.levers_shares import lever_pairs, shapley_shares
from costlab.explore.levers_spread import cost_tornado
from costlab.explore.levers_steps import answer_steps
from costlab.explore.limits import (
    EXPERT_COUNTS,
    FLOOR_CONTEXTS,
    PRICE_LISTS,
    floors_and_prices,
    from_floor_to_price,
    joule_scale,
    sparser_models,
)
from costlab.explore.moe import capacity_waste, expert_collapse, experts_touched, weights_per_token, which_limit
from costlab.explore.moe_diagrams import experts_light_up
from costlab.explore.prices import bill_parts, blended_price, price_steps, token_costs
from costlab.explore.prices_calculator import DAYS, price_calculator
from costlab.explore.prices_market import MARKET_DAY, hit_discounts, price_map
from costlab.explore.request import request_life
from costlab.explore.roofline import batch_curve, chip_pipes, published_day, roofline_chart
from costlab.explore.serving import chunk_tradeoff, interference, queue_wait
from costlab.explore.serving_diagrams import engine_gantt, request_times
from costlab.explore.serving_live import regime_map, two_layouts
from costlab.explore.serving_published import length_rule, published_gains, transfer_times, watermark_shape
from costlab.explore.speculative import (
    ACCEPTED_CURVES,
    accepted_parts,
    draft_length,
    first_is_not_all,
    published_lengths,
    variant_bias,
)
from costlab.explore.speculative_batch import SERVED, eagle_by_batch, gain_by_batch
from costlab.explore.speculative_diagrams import one_round
from costlab.explore.speculative_measured import measured_gains
from costlab.explore.style import COLOURS
from costlab.explore.tiers import keeping, more_tokens, read_overlap, store_times, three_tiers, two_pools
from costlab.text import Table, bytes_text, tokens_text

__all__ = [
    "ACCEPTED_CURVES", "CHIPS_DAY", "COLOURS", "COMPARED_MODELS", "DAYS", "EXPERT_COUNTS", "FLOOR_CONTEXTS",
    "HIT_RATES", "LANDING_DAYS", "LEVER_MODELS", "MACHINES", "MARKET_DAY", "PRICED", "PRICES", "PRICE_LISTS",
    "REACHED", "RENTED_CHIPS", "SERVED", "Drawing", "Frames", "Table", "Words", "accepted_parts", "answer_steps",
    "attention_kinds", "attention_overview", "batch_curve", "bill_parts", "blended_price", "bought_or_rented",
    "break_even_use", "bytes_per_token", "bytes_text", "cache_per_model", "capacity_waste",
    "chip_map", "chip_pipes", "chunk_tradeoff", "compressor", "cost_tornado", "decode_by_kind", "decode_flops",
    "draft_length", "drawn", "eagle_by_batch", "engine_gantt", "expert_collapse", "experts_light_up",
    "experts_touched", "factors_map", "first_is_not_all", "floors_and_prices", "from_floor_to_price", "fused_layer",
    "gain_by_batch", "hit_curve", "hit_discounts", "hour_tornado", "input_words", "interference", "joule_scale",
    "keeping", "landing", "layer_stack", "length_rule", "lever_pairs", "lever_waterfall", "margin_timeline",
    "measured_gains", "more_tokens", "one_round", "operator_fates", "owned_hour_parts", "predicted_prices",
    "prefix_tree", "price_calculator", "price_map", "price_steps", "published_day", "published_gains",
    "published_lengths", "queue_wait", "reached_shares", "read_overlap", "recall_by_distance", "recall_by_ratio",
    "recall_points", "regime_map", "request_life", "request_times", "ring", "roofline_chart", "shapley_shares",
    "sparser_models", "state_and_cache", "store_times", "ten_layers", "three_tiers", "token_costs", "tokens_text",
    "transfer_times", "two_layouts", "two_models", "two_pools", "two_yields", "value", "variant_bias",
    "watermark_shape", "weights_per_token", "which_limit", "which_ratio", "who_wins", "window_saving",
]  # fmt: skip
