"""Which chip makes a token cheapest, over the context and the speed that each user gets.

Every cell is priced as `token_price` prices it: the largest batch that memory holds and that is fast enough, on the
cheapest deployment. All cells of a chip are found together, from sums of seconds (`roofline.grids`), so that a slider
can ask for the whole map.

>>> from costlab import chips
>>> pair = [chips.ChipHour("h100-sxm", 2.5), chips.ChipHour("h200", 3.5)]
>>> found = chips.choice_map("mimo-v2-flash", pair, [8192, 131072], [20, 60], "decode")
>>> found.table().rows[0]["cheapest"]
'NVIDIA H200 SXM'

Chapter: chips
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from costlab import arch
from costlab.arch import Model
from costlab.arrays import ArrayLike, Bools, Floats, Ints
from costlab.catalog.serving import ServingPhase
from costlab.checks import tokens_array
from costlab.chips.quotes import Basis, ChipHour, DraftedRound
from costlab.chips.tokens import chip_seconds, deployments_of, limit_of, shares_of, step_grid, step_limit
from costlab.text import Table, tokens_text


@dataclass(frozen=True)
class ChoiceMap:
    """Prices of several chip_hours over contexts and limits; all arrays (chip_hour, context, limit)."""

    model: str  # key of the model
    phase: ServingPhase  # prefill or decode
    chip_hours: tuple[ChipHour, ...]  # in the order of the arrays
    contexts: Ints  # tokens, (context,)
    limits: Floats  # tokens per second of each user, or seconds to the first token; (limit,)
    per_million: Floats  # cost of a million tokens; not a number where a chip-hour has no price
    chips: Ints  # of the deployment that is taken; 0 where there is none
    batch: Ints  # sequences of that deployment; 0 where there is none
    shares: tuple[float, ...]  # share of the roofline that each chip-hour was taken to reach

    @property
    def currency(self) -> str:
        """ISO code of all prices."""
        return self.chip_hours[0].currency

    @property
    def cheapest(self) -> Ints:
        """Index of the cheapest chip-hour of each cell, the first of equals; -1 where none has a price."""
        found: Ints = np.where(self.priced, np.argmin(self._costs, axis=0), -1)
        return found

    @property
    def priced(self) -> Bools:
        """Whether any chip-hour has a price, (context, limit)."""
        some: Bools = np.any(np.isfinite(self.per_million), axis=0)
        return some

    @property
    def ratio(self) -> Floats:
        """Price of the second cheapest over the cheapest, at least 1; infinite where no other has a price.

        Not a number where none has.
        """
        costs = np.sort(self._costs, axis=0)
        second = costs[1] if len(costs) > 1 else np.full_like(costs[0], np.inf)
        ratio = np.full_like(second, np.nan)
        found: Floats = np.divide(second, costs[0], out=ratio, where=self.priced)
        return found

    def table(self) -> Table:
        """Return a row for each cell: who is cheapest, at what price, and how far the next one is."""
        rows = []
        for i, context in enumerate(self.contexts.tolist()):
            for j, limit in enumerate(self.limits.tolist()):
                rows.append({"context": tokens_text(context), self._limit_name: limit, **self._cell(i, j)})
        return Table(rows, bold="cheapest")

    @property
    def _costs(self) -> Floats:
        costs: Floats = np.where(np.isnan(self.per_million), np.inf, self.per_million)
        return costs

    @property
    def _limit_name(self) -> str:
        return "tokens/s of a user" if self.phase == "decode" else "seconds to first token"

    def _cell(self, i: int, j: int) -> dict[str, object]:
        best = int(self.cheapest[i, j])
        price = f"{self.currency} per million"
        if best < 0:
            return {"cheapest": "none", price: None, "chips": None, "batch": None, "next": None}
        ratio = float(self.ratio[i, j])
        return {
            "cheapest": self.chip_hours[best].label,
            price: float(self.per_million[best, i, j]),
            "chips": int(self.chips[best, i, j]),
            "batch": int(self.batch[best, i, j]),
            "next": f"{ratio:.2f}x" if np.isfinite(ratio) else "none",
        }


def choice_map(
    model: str | Model,
    chip_hours: Sequence[ChipHour],
    contexts: ArrayLike,
    limits: ArrayLike,
    phase: ServingPhase = "decode",
    *,
    draft: DraftedRound | None = None,
    basis: Basis = "roofline",
) -> ChoiceMap:
    """Return which chip-hour makes a token of a phase cheapest, at each context and limit.

    Contenders stand on an equal basis: each at its stated efficiency or, by default, at the roofline; with "published",
    each at the middle of its band, and one that has none is refused rather than compared at the roofline.

    Args:
        model: key in the catalog, or a model.
        chip_hours: chips with the cost of their hour, all in one currency.
        contexts: tokens of each sequence or prompt, (context,).
        limits: of decode, tokens per second of each user; of prefill, seconds to the first token; (limit,).
        phase: "prefill" or "decode".
        draft: drafted tokens in decode; None for plain steps.
        basis: where an efficiency comes from that a chip-hour does not state.

    Raises:
        ValueError: no chip_hour, unlike currencies, a chip without published run where one is asked for; as
            `token_price`.
    """
    _check(chip_hours)
    built, tokens = arch.load(model), np.atleast_1d(tokens_array(contexts, "context"))
    wanted = np.atleast_1d(np.asarray(limits, dtype=np.float64))
    for limit in wanted.tolist():
        limit_of(phase, *((limit, None) if phase == "decode" else (None, limit)))
    shares = tuple(_share(each, built, phase, basis) for each in chip_hours)
    limit_s = step_limit(phase, wanted, draft)
    cells = [_cells(built, c, phase, tokens, limit_s, draft, s) for c, s in zip(chip_hours, shares, strict=True)]
    prices, chips, batches = (np.stack(part) for part in zip(*cells, strict=True))
    whole = tokens.astype(np.int64)
    return ChoiceMap(
        built.key, phase, tuple(chip_hours), whole, wanted, prices, chips.astype(np.int64), batches.astype(np.int64),
        shares,
    )  # fmt: skip


def _check(chip_hours: Sequence[ChipHour]) -> None:
    currencies = sorted({each.currency for each in chip_hours})
    if len(currencies) != 1:
        raise ValueError(f"{len(chip_hours)} chips priced in {currencies} should be at least 1, in one currency")


def _share(chip_hour: ChipHour, model: Model, phase: ServingPhase, basis: Basis) -> float:
    (_, middle, _), answer = shares_of(chip_hour, model, phase, basis)
    if basis == "published" and answer == "roofline":
        raise ValueError(
            f"no published {phase} run of a model like {model.name} on {chip_hour.label} was found: state its "
            'efficiency, or compare all at basis="roofline"'
        )
    return middle


def _cells(
    model: Model,
    chip_hour: ChipHour,
    phase: ServingPhase,
    contexts: Floats,
    limit_s: Floats,
    draft: DraftedRound | None,
    share: float,
) -> tuple[Floats, Floats, Floats]:
    """Price, chips and batch of the cheapest deployment of each (context, limit)."""
    shape = (contexts.size, limit_s.size)
    nodes = deployments_of(model, chip_hour, draft, share)
    if not nodes:
        return np.full(shape, np.nan), np.zeros(shape), np.zeros(shape)
    grid = step_grid(nodes, phase, contexts, draft)
    each = grid.largest(limit_s)
    gained = contexts[None, :, None] if phase == "prefill" else (draft.round_tokens if draft else 1.0)
    costs = chip_seconds(nodes, grid, each, gained)
    best = np.argmin(costs, axis=0)[None]
    lowest, chosen = (np.take_along_axis(part, best, axis=0)[0] for part in (costs, each))
    fits = np.isfinite(lowest)
    chips = np.where(fits, np.array([float(node.chips) for node in nodes])[best[0]], 0.0)
    price = np.where(fits, lowest, np.nan) * chip_hour.hourly / 3600 * 1e6
    return price, chips, chosen * grid.replicas[best[0]]


__all__ = ["ChoiceMap", "choice_map"]
