"""How a chip of `chips` serves a model: fit first, then tokens at equal speed for each user."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from costlab.chips import Assumption, ChipHour, NoPrice, TokenPrice, token_price
from costlab.chips.quotes import Basis
from costlab.cli.candidates import ChipOption


@dataclass(frozen=True)
class TokenYield:
    """What a chip-hour yields of a model's tokens, or why it yields none."""

    KEYS: ClassVar[tuple[str, ...]] = (
        "chips", "batch", "step_s", "user_tokens_per_second", "tokens_per_s", "efficiency", "basis",
        "weight_bytes_per_chip", "reason",
    )  # fmt: skip
    output: Assumption | None  # million tokens a chip-hour; None where it cannot serve
    row: Mapping[str, Any]  # its values by the keys of the answer
    says: str  # what a reader should know of it; "" for nothing


def token_yield(candidate: ChipOption, args: argparse.Namespace, basis: Basis) -> TokenYield:
    """Return how a candidate serves the model that the options name, at a share of the roofline of some basis.

    Raises:
        ValueError: an unknown model; options out of range.
    """
    hour = float(candidate.priced.used_hour())
    found = token_price(
        args.model,
        ChipHour(candidate.chip, hour, args.currency),
        args.phase,
        args.context,
        user_tokens_s=args.user_tokens_per_second if args.phase == "decode" else None,
        ttft_s=args.ttft_s if args.phase == "prefill" else None,
        basis=basis,
    )
    if isinstance(found, NoPrice):
        return _none(found.reason)
    if args.basis == "published" and found.basis == "roofline":  # else all of its peak would rank beside others' share
        return _none(f"{found.basis_text}; --basis roofline compares all chips by theirs")
    return TokenYield(_output(found, hour), _row(found), f"tokens by {found.basis_text}")


def _none(reason: str) -> TokenYield:
    return TokenYield(None, {**dict.fromkeys(TokenYield.KEYS), "reason": reason}, f"no price: {reason}")


def _output(found: TokenPrice, hour: float) -> Assumption:
    """Return the million tokens of a chip-hour, in the range of the published runs."""
    value = hour / found.per_million
    least = hour / found.high if found.high else value
    unit = "million tokens a chip-hour"
    return Assumption(value, unit, found.basis_text, low=min(least, value), high=max(hour / found.low, value))


def _row(found: TokenPrice) -> dict[str, Any]:
    return {
        "chips": found.chips,
        "batch": found.batch,
        "step_s": found.step_s,
        "user_tokens_per_second": found.user_tokens_s,
        "tokens_per_s": found.tokens_s,
        "efficiency": found.efficiency,
        "basis": found.basis,
        "weight_bytes_per_chip": found.deployment.weight_bytes_per_chip,
        "reason": None,
    }
