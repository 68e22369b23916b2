"""A published day of serving, and published prices of output, recomputed from their own figures.

Chapter: roofline
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costlab import catalog, checks
from costlab.catalog import NodeRate, OutputPrice, ServingDay
from costlab.roofline.deployments import deployment
from costlab.roofline.steps import Step


@dataclass(frozen=True)
class DayCheck:
    """A published day of serving, recomputed: what follows from its figures, and what they imply of the hardware."""

    day: ServingDay  # the published figures
    cost_usd: float  # nodes, chips and rent multiplied
    revenue_usd: float  # tokens at list prices
    prefill_nodes: float  # nodes that the input tokens need at the published rate
    decode_nodes: float  # nodes that the output tokens need at the published rate
    computed_tokens_s: float  # tokens per second that a prefill node computes, hits left out
    prefill_mfu: float  # ideal compute time over the time taken, 0 to 1
    decode_batch_per_chip: float  # sequences that rate and speed imply
    decode_step_s: float  # seconds of a step that they imply
    decode_ideal: Step  # the roofline's step at that batch
    decode_efficiency: float  # its seconds over those taken, 0 to 1

    @property
    def margin(self) -> float:
        """(revenue - cost) / cost."""
        return self.revenue_usd / self.cost_usd - 1


def check_day(key: str = "deepseek-day") -> DayCheck:
    """Return a published day recomputed: cost, revenue and margin from its own figures, and the efficiency it implies.

    Nothing is fitted: prefill efficiency is the ideal compute time of the uncached tokens over the time taken,
    decode efficiency the roofline's step over the step that batch and rate imply. The length of a prompt is not
    published; the mean context of a decode step stands in for it.

    Raises:
        ValueError: an unknown day.

    Source: open-infra-index day 6 (catalog/published.toml).
    """
    day = checks.pick(catalog.tables().days, key, "day")
    fresh = 1 - day.input_hit_tokens / day.input_tokens
    computed = day.node_input_tokens_s * fresh
    unit = deployment(day.model, day.chip, day.prefill_chips)
    reading = unit.prefill(day.mean_context, batch=unit.replicas)
    ideal = reading.compute_s * unit.chips / reading.tokens  # chip-seconds per token
    batch = day.node_output_tokens_s / float(np.mean(day.user_tokens_s)) / day.chips_per_node
    decoding = deployment(day.model, day.chip, day.decode_chips)
    step = decoding.decode(round(batch) * day.decode_chips, day.mean_context)
    took = batch * day.chips_per_node / day.node_output_tokens_s
    return DayCheck(
        day=day,
        cost_usd=day.nodes * day.chips_per_node * 24 * day.usd_per_chip_hour,
        revenue_usd=_revenue(day),
        prefill_nodes=day.input_tokens / day.node_input_tokens_s / 86400,
        decode_nodes=day.output_tokens / day.node_output_tokens_s / 86400,
        computed_tokens_s=computed,
        prefill_mfu=ideal * computed / day.chips_per_node,
        decode_batch_per_chip=batch,
        decode_step_s=took,
        decode_ideal=step,
        decode_efficiency=step.seconds / took,
    )


def _revenue(day: ServingDay) -> float:
    miss = day.input_tokens - day.input_hit_tokens
    return (day.input_hit_tokens * day.hit_usd + miss * day.miss_usd + day.output_tokens * day.output_usd) / 1e6


@dataclass(frozen=True)
class OutputPriceCheck:
    """A published price of output tokens, recomputed: of its decode nodes alone, and with the nodes that feed them."""

    price: OutputPrice  # the published figures
    prefill: NodeRate  # rate of its prefill nodes
    decode: NodeRate  # rate of its decode nodes
    decode_only_usd: float  # per million output tokens, rent of the decode nodes alone
    fed_tokens_s: float  # output tokens per second of the requests that the prefill nodes can read
    decode_tokens_s: float  # output tokens per second of all decode nodes
    balanced_usd: float  # per million output tokens, with as many nodes of either kind as the requests need
    deployed_usd: float  # per million output tokens, with all nodes that they were measured on, at the slower rate

    @property
    def imbalance(self) -> float:
        """How many times as fast the decode nodes are as the prefill nodes that feed them."""
        return self.decode_tokens_s / self.fed_tokens_s


def check_output_price(key: str) -> OutputPriceCheck:
    """Return a published price of output tokens recomputed, with and without the nodes that read the prompts.

    Raises:
        ValueError: an unknown price.

    Source: catalog/serving.toml.
    """
    serving = catalog.tables().serving
    price = checks.pick(serving.output_prices, key, "price of output")
    prefill, decode = serving.nodes[price.prefill], serving.nodes[price.decode]
    node_s = price.usd_per_chip_hour / 3600 * decode.chips_per_node
    fed = prefill.nodes * prefill.tokens_s / price.input_tokens * price.output_tokens
    written = decode.nodes * decode.tokens_s
    reading_s = price.input_tokens / price.output_tokens / prefill.tokens_s  # node-seconds for each output token
    return OutputPriceCheck(
        price=price,
        prefill=prefill,
        decode=decode,
        decode_only_usd=node_s / decode.tokens_s * 1e6,
        fed_tokens_s=fed,
        decode_tokens_s=written,
        balanced_usd=node_s * (reading_s + 1 / decode.tokens_s) * 1e6,
        deployed_usd=node_s * (prefill.nodes + decode.nodes) / min(fed, written) * 1e6,
    )
