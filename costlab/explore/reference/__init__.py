"""The catalog as tables that a page shows: every entry, with the day and the source of each.

>>> from costlab.explore import reference
>>> reference.chip_sheets().table.rows[0]["chip"]
'NVIDIA A100 80 GB SXM4'
"""

from costlab.explore.reference.articles import article_list, article_models, article_workloads
from costlab.explore.reference.drafting import accepted_lengths, accepted_positions, entropy_fits, measured_speedups
from costlab.explore.reference.hardware import chip_offers, chip_supply, cost_figures, owning_costs, published_runs
from costlab.explore.reference.joules import operation_energies, physical_constants, published_energies
from costlab.explore.reference.layouts import (
    fitted_steps,
    kv_transfers,
    latency_tables,
    layout_regimes,
    node_rates,
    output_prices,
    phase_rates,
    serving_gains,
    serving_objectives,
    single_figures,
    split_clusters,
    traffic_lengths,
)
from costlab.explore.reference.levers import lever_figures, traffic_kinds
from costlab.explore.reference.listing import Sourced
from costlab.explore.reference.money import (
    exchange_rates,
    host_prices,
    margin_statements,
    price_aliases,
    price_hours,
    price_list,
    price_providers,
    price_services,
    price_successions,
    prompt_cache_rules,
    token_ratios,
)
from costlab.explore.reference.serving import prefetch_rules, serving_days, storage_media, trace_figures
from costlab.explore.reference.settled import Ledger, ledger, surprising_claims
from costlab.explore.reference.sheets import (
    chip_sheets,
    chip_speeds,
    draft_heads,
    model_dimensions,
    model_sizes,
)

__all__ = [
    "Ledger",
    "Sourced",
    "accepted_lengths",
    "accepted_positions",
    "article_list",
    "article_models",
    "article_workloads",
    "chip_offers",
    "chip_sheets",
    "chip_speeds",
    "chip_supply",
    "cost_figures",
    "draft_heads",
    "entropy_fits",
    "exchange_rates",
    "fitted_steps",
    "host_prices",
    "kv_transfers",
    "latency_tables",
    "layout_regimes",
    "ledger",
    "lever_figures",
    "margin_statements",
    "measured_speedups",
    "model_dimensions",
    "model_sizes",
    "node_rates",
    "operation_energies",
    "output_prices",
    "owning_costs",
    "phase_rates",
    "physical_constants",
    "prefetch_rules",
    "price_aliases",
    "price_hours",
    "price_list",
    "price_providers",
    "price_services",
    "price_successions",
    "prompt_cache_rules",
    "published_energies",
    "published_runs",
    "serving_days",
    "serving_gains",
    "serving_objectives",
    "single_figures",
    "split_clusters",
    "storage_media",
    "surprising_claims",
    "token_ratios",
    "trace_figures",
    "traffic_kinds",
    "traffic_lengths",
]
