"""What verbs about a deployment share: its options, its rent, the line that says what its times rest on."""

from __future__ import annotations

import argparse
from typing import Any

from costlab import arch, catalog, prices, roofline
from costlab.catalog import Offer
from costlab.cli.arguments import MODEL_HELP, count_arg, model_arg, seconds_arg

#: What an option for a rent says of itself.
RENT = "USD per chip-hour (default: the catalog's latest offer of the chip, of one day's the lowest)"


def add_deployment(verb: argparse.ArgumentParser, tokens: str) -> None:
    """Add the options that describe a deployment and its batch; `tokens` is the help of the context."""
    verb.add_argument("model", type=model_arg, metavar="MODEL", help=MODEL_HELP)
    _add_chip(verb)
    verb.add_argument("--chips", type=count_arg, required=True, help="that share the work")
    verb.add_argument("--batch", type=count_arg, required=True, help="sequences decoded together, on all chips")
    verb.add_argument("--tokens", type=count_arg, required=True, help=tokens)
    add_tensor_parallel(verb)
    verb.add_argument("--rent", type=float, dest="usd_per_chip_hour", metavar="USD", help=RENT)
    _add_efficiencies(verb)


def add_service(verb: argparse.ArgumentParser) -> None:
    """Add the options that say which model runs on which chips of a service."""
    verb.add_argument("--model", type=model_arg, required=True, metavar="NAME", help=MODEL_HELP)
    _add_chip(verb)
    verb.add_argument("--prefill-chip", type=str.lower, metavar="CHIP", help="of prefill workers (default: the same)")


def service_used(args: argparse.Namespace) -> list[tuple[str, str, Any]]:
    """Return the entries of the catalog that a service of these options rests on: its model and its chips."""
    known = catalog.tables()
    chips = dict.fromkeys([args.chip, args.prefill_chip or args.chip])
    return [("model", args.model, arch.load(args.model).record), *(("chip", chip, known.chips[chip]) for chip in chips)]


def add_tensor_parallel(verb: argparse.ArgumentParser) -> None:
    """Add the option for the chips of a tensor-parallel group."""
    verb.add_argument(
        "--tensor-parallel", type=count_arg, default=1, metavar="CHIPS",
        help="chips that hold one copy of all but the experts, and a sequence among them (default 1)",
    )  # fmt: skip


def add_step_times(verb: argparse.ArgumentParser) -> None:
    """Add the options that say how long the steps of an engine take, beside the roofline."""
    _add_efficiencies(verb)
    verb.add_argument(
        "--step-seconds", type=seconds_arg, default=0.0, dest="fixed_step_s", metavar="SECONDS",
        help="of each step that hide behind nothing: launches, sampling (default 0)",
    )  # fmt: skip


def _add_chip(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--chip", type=str.lower, required=True, help=", ".join(catalog.tables().chips))


def _add_efficiencies(verb: argparse.ArgumentParser) -> None:
    for part in ("compute", "memory", "link"):
        peak = "share of the peak reached (default 1)"
        verb.add_argument(f"--{part}-efficiency", type=float, default=1.0, metavar="SHARE", help=peak)


def shares_reached(args: argparse.Namespace) -> roofline.Efficiency:
    """Return the shares of the peaks that these options give."""
    return roofline.Efficiency(args.compute_efficiency, args.memory_efficiency, args.link_efficiency)


def deployed(args: argparse.Namespace) -> roofline.Deployment:
    """Return the deployment that these options describe.

    Raises:
        ValueError: an unknown model or chip; counts or shares that do not fit together.
    """
    shares, parallel = shares_reached(args), args.tensor_parallel
    return roofline.deployment(args.model, args.chip, args.chips, tensor_parallel=parallel, efficiency=shares)


def fill_rent(args: argparse.Namespace) -> Offer | None:
    """Fill in the rent where none was given, and return the offer that it is from; None where it was given.

    Raises:
        ValueError: no rent given for a chip of which the catalog knows none.
    """
    if args.usd_per_chip_hour is not None:
        return None
    offer = rent_offer(args.chip)
    args.usd_per_chip_hour = offer.amount
    return offer


def rent_offer(chip: str, option: str = "--rent") -> Offer:
    """Return the catalog's offer of a chip.

    Raises:
        ValueError: none is known; the message names the option that gives a rent.
    """
    try:
        return prices.chip_rent(chip)
    except ValueError as error:
        raise ValueError(f"{error}; give {option}, in USD per chip-hour") from None


def assumed(node: roofline.Deployment, usd_per_chip_hour: float, offer: Offer | None) -> str:
    """Return a line that says at which efficiency and rent the figures above it hold."""
    eff = node.efficiency
    rent = f"{usd_per_chip_hour:g} USD/chip-h{f', as of {offer.date}' if offer else ''}"
    return f"efficiency {eff.compute:g} compute, {eff.memory:g} memory, {eff.link:g} link; {rent}"
