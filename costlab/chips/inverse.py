"""The questions turned around: how many tokens under a power cap, how fast at a price.

>>> from costlab import chips
>>> price = chips.token_price("mimo-v2-flash", chips.ChipHour("h800", 2.0), "decode", 8192, user_tokens_s=20)
>>> found = chips.under_power(price, watts=1e6, pue=1.54)
>>> found.deployments
28

Chapter: chips
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from costlab import arch
from costlab.arch import Model
from costlab.catalog import ChipRecord
from costlab.chips.tokens import (
    Basis,
    ChipHour,
    Draft,
    NoPrice,
    TokenPrice,
    chip_seconds,
    deployments_of,
    shares_of,
    step_grid,
    step_of,
)


@dataclass(frozen=True)
class PowerCap:
    """What a power cap leaves room for: whole deployments, as many as it feeds."""

    price: TokenPrice  # the deployment, and its speed
    watts: float  # the cap, of the whole room
    pue: float  # power of the whole room over that of its machines
    chip_w: float  # rated power of the machines for each chip

    @property
    def deployments(self) -> int:
        """Whole deployments that run at once."""
        return math.floor(self.watts / self.deployment_w * (1 + 1e-12))

    @property
    def deployment_w(self) -> float:
        """Power that one deployment draws, its share of the room included."""
        return self.price.chips * self.chip_w * self.pue

    @property
    def chips(self) -> int:
        """Chips that run."""
        return self.deployments * self.price.chips

    @property
    def tokens_s(self) -> float:
        """Tokens per second of all deployments; 0 where the cap feeds none."""
        return self.deployments * self.price.tokens_s

    @property
    def joules_per_token(self) -> float:
        """Energy of a token, its share of the room included."""
        return self.deployment_w / self.price.tokens_s


def under_power(price: TokenPrice, watts: float, pue: float = 1.0, chip_w: float | None = None) -> PowerCap:
    """Return the tokens per second that a power cap leaves of a priced deployment, in whole deployments.

    Args:
        price: of the deployment.
        watts: that the whole room may draw.
        pue: power of the whole room over that of its machines, at least 1.
        chip_w: power of a chip with its share of the server; None for the rated power in the catalog.

    Raises:
        ValueError: a cap or a power that is not above 0 and finite, a PUE below 1.
    """
    drawn = rated_w(price.chip_hour.record) if chip_w is None else chip_w
    for name, value in (("watts", watts), ("chip_w", drawn)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} = {value!r} should be above 0 and finite")
    if not 1 <= pue < math.inf:
        raise ValueError(f"pue = {pue!r} should be at least 1")
    return PowerCap(price, watts, pue, drawn)


def rated_w(chip: ChipRecord) -> float:
    """Return the rated power of a chip with its share of the server; of the chip alone where no server is known."""
    return float(chip.power_w) if chip.node_power_w is None else chip.node_power_w / chip.chips_per_node


def speed_at_price(
    model: str | Model,
    chip_hour: ChipHour,
    context: int,
    per_million: float,
    *,
    draft: Draft | None = None,
    basis: Basis = "published",
) -> TokenPrice | NoPrice:
    """Return the fastest decode for each user that costs at most so much: the smallest batch that is cheap enough.

    Of all deployments the one whose users are fastest; a token only gets cheaper with more sequences in a step.

    Args:
        model: key in the catalog, or a model.
        chip_hour: the chip, its hour and how it serves.
        context: tokens of each sequence.
        per_million: the most that a million tokens may cost, in the chip-hour's currency.
        draft: drafted tokens; None for plain steps.
        basis: where an efficiency comes from that the chip-hour does not state.

    Returns:
        The price at that batch, whose `limit` is the speed; or the reason why no batch is so cheap.

    Raises:
        ValueError: as `token_price`; a price that is not above 0 and finite.
    """
    if not 0 < per_million < math.inf:
        raise ValueError(f"per_million = {per_million!r} {chip_hour.currency} should be above 0 and finite")
    built = arch.load(model)
    (_, share, _), answer = shares_of(chip_hour, built, "decode", basis)
    nodes = deployments_of(built, chip_hour, draft, share)
    if not nodes:
        chips = f"no deployment of {chip_hour.label} holds the weights of {built.name}"
        return NoPrice(chip_hour, "decode", context, 0.0, "memory", chips)
    grid, gained = step_grid(nodes, "decode", [context], draft), draft.round_tokens if draft else 1.0
    allowed = per_million / 1e6 * 3600 / chip_hour.hourly  # chip-seconds of a token
    low, high = np.zeros_like(grid.most), grid.most
    for _ in range(int(grid.most.max()).bit_length()):
        middle = np.floor((low + high) / 2)
        dear = chip_seconds(nodes, grid, middle, gained) > allowed
        low, high = np.where(dear, np.minimum(middle + 1, high), low), np.where(dear, high, middle)
    costs = chip_seconds(nodes, grid, high, gained)
    speeds = np.where(costs <= allowed * (1 + 1e-9), gained / grid.seconds(np.maximum(high, 1.0)), 0.0)[:, 0]
    best = int(np.argmax(speeds))
    if not speeds[best]:
        least = float(chip_seconds(nodes, grid, grid.most, gained).min()) * chip_hour.hourly / 3600 * 1e6
        reason = f"{chip_hour.label}: the largest batch that fits costs {least:.3g} {chip_hour.currency} per million"
        return NoPrice(chip_hour, "decode", context, 0.0, "speed" if math.isfinite(least) else "memory", reason)
    node, each = nodes[best], int(high[best, 0])
    step_s, tokens = step_of(node, "decode", each * node.replicas, context, draft)
    held = "memory" if each >= grid.most[best, 0] else "speed"
    cost = chip_hour.hourly * node.chips / 3600 * step_s / tokens * 1e6
    return TokenPrice(
        chip_hour, "decode", node, context, float(speeds[best]), each * node.replicas, step_s, tokens, share, answer,
        cost, cost, held,  # type: ignore[arg-type]  # one of the two words
    )  # fmt: skip


__all__ = ["PowerCap", "rated_w", "speed_at_price", "under_power"]
