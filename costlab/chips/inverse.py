"""The questions turned around: how many tokens under a power cap, how fast at a price.

>>> from costlab import chips
>>> price = chips.token_price("mimo-v2-flash", chips.ChipHour("h800", 2.0), "decode", 8192, user_tokens_s=20)
>>> found = chips.under_power(price, watts=1e6, pue=1.54)
>>> found.deployments
28

"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from costlab import arch
from costlab.arch import Model
from costlab.arrays import Floats
from costlab.catalog import ChipRecord
from costlab.chips.quotes import Basis, ChipHour, DraftedRound, NoPrice, TokenPrice
from costlab.chips.tokens import chip_seconds, deployments_of, priced, shares_of, step_grid
from costlab.roofline import Deployment, StepGrid


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
    """Return the rated power of a chip with its share of the node; of the chip alone where no node's is known.

    Raises:
        ValueError: neither is known.
    """
    if chip.node_power_w is not None:
        return chip.node_power_w / chip.chips_per_node
    if chip.power_w is None:
        raise ValueError(f"no power of {chip.name} is known: give chip_w, in watts, its share of a server included")
    return float(chip.power_w)


def speed_at_price(
    model: str | Model,
    chip_hour: ChipHour,
    context: int,
    per_million: float,
    *,
    draft: DraftedRound | None = None,
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
        why = f"no deployment of {chip_hour.label} holds the weights of {built.name}"
        return NoPrice(chip_hour, "decode", context, 0.0, "memory", why)
    grid, gained = step_grid(nodes, "decode", [context], draft), draft.round_tokens if draft else 1.0
    allowed = per_million / 1e6 * 3600 / chip_hour.hourly  # chip-seconds of a token
    each = _smallest(nodes, grid, gained, allowed)
    cheap = chip_seconds(nodes, grid, each, gained) <= allowed * (1 + 1e-9)
    speeds = np.where(cheap, gained / grid.seconds(np.maximum(each, 1.0)), 0.0)[:, 0]
    best = int(np.argmax(speeds))
    if not speeds[best]:
        least = float(chip_seconds(nodes, grid, grid.most, gained).min()) * chip_hour.hourly / 3600 * 1e6
        return _too_dear(chip_hour, context, least)
    found = priced(chip_hour, "decode", nodes[best], context, float(speeds[best]), int(each[best, 0]), draft, share)
    return dataclasses.replace(found, basis=answer, held_back_by="speed")


def _smallest(nodes: list[Deployment], grid: StepGrid, gained: float, allowed: float) -> Floats:
    """The least sequences on a replica whose tokens take at most so many chip-seconds, by halving; else the most."""
    low, high = np.zeros_like(grid.most), grid.most
    for _ in range(int(grid.most.max()).bit_length()):
        middle = np.floor((low + high) / 2)
        dear = chip_seconds(nodes, grid, middle, gained) > allowed
        low, high = np.where(dear, np.minimum(middle + 1, high), low), np.where(dear, high, middle)
    return high


def _too_dear(chip_hour: ChipHour, context: int, least: float) -> NoPrice:
    if not math.isfinite(least):
        why = f"no replica of {chip_hour.label} holds a sequence of {context:,} tokens"
        return NoPrice(chip_hour, "decode", context, 0.0, "memory", why)
    why = f"on {chip_hour.label} the largest batch that fits costs {least:.3g} {chip_hour.currency} per million"
    return NoPrice(chip_hour, "decode", context, 0.0, "speed", why)


__all__ = ["PowerCap", "rated_w", "speed_at_price", "under_power"]
