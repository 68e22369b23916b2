"""What chips are sold for and to whom, what owning them costs, and what they were measured to serve."""

from __future__ import annotations

from collections.abc import Mapping

from costlab import catalog
from costlab.catalog import CostFigure, Offer, PublishedRun
from costlab.explore.reference.listing import Sourced, sourced
from costlab.text import number_text, tokens_text

#: Kinds of offers, in words.
OFFER_KINDS: Mapping[str, str] = {
    "rent": "rent",
    "price": "price",
    "tender": "awarded in a tender",
    "used": "second-hand",
    "claim-price": "price, an article's claim",
}


def chip_offers() -> Sourced:
    """Return what each chip was rented or sold for, and what an article says that it costs."""
    rows = (
        (
            {
                "chip": chip.name,
                "offer": OFFER_KINDS[offer.kind],
                "amount": f"{number_text(offer.amount)} {offer.currency}",
                "range": _range(offer.low, offer.high),
                "per": _unit(offer),
                "one chip": None if offer.unit in ("chip", "chip-hour") else _of_one(offer),
                "tax in it": None if offer.vat is None else f"{offer.vat:.0%}",
                "sure": offer.confidence,
            },
            offer,
        )
        for chip in catalog.tables().chips.values()
        for offer in chip.offers
    )
    return sourced("offers", rows, "What a chip was offered for", filters=("chip", "offer"), bold="amount")


def _unit(offer: Offer) -> str:
    unit = offer.unit.replace("-", " and ")
    return unit if offer.chips is None else f"{unit} of {offer.chips}"


def _of_one(offer: Offer) -> str | None:
    return None if offer.per_chip is None else f"{number_text(round(offer.per_chip))} {offer.currency}"


def _range(low: float | None, high: float | None) -> str | None:
    if low is high is None:
        return None
    return " to ".join(number_text(end) for end in (low, high) if end is not None)


def chip_supply() -> Sourced:
    """Return who may order which chip, and since when."""
    rows = (
        (
            {
                "chip": chip.name,
                "buyer in": row.place,
                "since": str(row.date),
                "can be ordered": "yes" if row.buyable else "no",
                "why": row.says,
            },
            row,
        )
        for chip in catalog.tables().chips.values()
        for row in chip.supply
    )
    caption = "Whether a chip can be ordered, from a day on"
    return sourced("supply", rows, caption, filters=("chip",), bold="can be ordered")


def cost_figures() -> Sourced:
    """Return what a cost of ownership rests on beside prices: tariffs, interest, lives, and what else was published."""
    chips = catalog.tables().chips
    rows = (
        (
            {
                "of": figure.what,
                "figure": figure.says,
                "value": _figure(figure),
                "range": _range(figure.low, figure.high),
                "holds for": _scope(figure, chips),
                "sure": figure.confidence,
            },
            figure,
        )
        for figure in catalog.tables().costs.values()
    )
    caption = "What owning rests on beside the price of chips"
    return sourced("costs", rows, caption, filters=("of", "holds for"), bold="value")


def _figure(figure: CostFigure) -> str:
    words = f"{number_text(figure.value)} {figure.currency or ''} {figure.unit}"
    return " ".join(words.split()) + (f" after {figure.after_years:g} years" if figure.after_years else "")


def _scope(figure: CostFigure, chips: Mapping[str, catalog.ChipRecord]) -> str | None:
    chip = chips[figure.chip].name if figure.chip else None
    return ", ".join(filter(None, [figure.place, figure.maker, chip, figure.part])) or None


def owning_costs() -> Sourced:
    """Return what others computed, or asked, for an hour of a chip, with the power that they count."""
    chips = catalog.tables().chips
    rows = (
        (
            {
                "chip": chips[key].name,
                "an hour": f"{amount:.2f} {found.currency}",
                "how": found.says,
                "written off in, years": found.life_years,
                "kW": found.chip_kw.get(key),
                "sure": found.confidence,
            },
            found,
        )
        for found in catalog.tables().owning.values()
        for key, amount in found.amounts.items()
    )
    return sourced("owning", rows, "An hour of a chip, as others computed it", filters=("chip", "how"), bold="an hour")


def published_runs() -> Sourced:
    """Return published runs of models on many chips."""
    tables = catalog.tables()
    rows = (
        (
            {
                "model": tables.models[run.model].name,
                "chip": tables.chips[run.chip].name,
                "chips": run.chips,
                "phase": run.phase,
                "weights, math, cache": _precision(run),
                "sequences": run.batch,
                "context": None if run.context is None else tokens_text(run.context),
                "ms a token": None if run.step_s is None else number_text(run.step_s * 1e3),
                "drafts accepted": f"{run.accepted:g} of {run.drafted}" if run.drafted else None,
                "tokens/s of a chip": number_text(run.tokens_s_chip),
            },
            run,
        )
        for run in tables.runs.values()
    )
    caption = "Published runs on Ascend, none of them under live traffic"
    return sourced("runs", rows, caption, filters=("model", "chip", "phase"), bold="tokens/s of a chip")


def _precision(run: PublishedRun) -> str:
    return ", ".join(each.upper() for each in (run.weights, run.math, run.cache))
