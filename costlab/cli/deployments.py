"""What verbs about a deployment share: its options, its rent, the line that says what its times rest on."""

from __future__ import annotations

import argparse

from costlab import catalog, prices, roofline
from costlab.catalog import Offer
from costlab.cli.arguments import count_arg


def add_deployment(verb: argparse.ArgumentParser, tokens: str) -> None:
    """Add the options that describe a deployment and its batch; `tokens` is the help of the context."""
    verb.add_argument("model", type=str.lower, metavar="MODEL", help="see `costlab models`")
    verb.add_argument("--chip", type=str.lower, required=True, help=", ".join(catalog.tables().chips))
    verb.add_argument("--chips", type=count_arg, required=True, help="that share the work")
    verb.add_argument("--batch", type=count_arg, required=True, help="sequences decoded together, on all chips")
    verb.add_argument("--tokens", type=count_arg, required=True, help=tokens)
    verb.add_argument(
        "--tensor-parallel",
        type=count_arg,
        default=1,
        metavar="CHIPS",
        help="chips that hold one copy of all but the experts, and a sequence among them (default 1)",
    )
    rent = "USD per chip-hour (default: the catalog's latest offer of the chip, of one day's the lowest)"
    verb.add_argument("--rent", type=float, dest="usd_per_chip_hour", metavar="USD", help=rent)
    for part in ("compute", "memory", "link"):
        peak = "share of the peak reached (default 1)"
        verb.add_argument(f"--{part}-efficiency", type=float, default=1.0, metavar="SHARE", help=peak)


def deployed(args: argparse.Namespace) -> roofline.Deployment:
    """Return the deployment that these options describe.

    Raises:
        ValueError: an unknown model or chip; counts or shares that do not fit together.
    """
    efficiency = roofline.Efficiency(args.compute_efficiency, args.memory_efficiency, args.link_efficiency)
    parallel = args.tensor_parallel
    return roofline.deployment(args.model, args.chip, args.chips, tensor_parallel=parallel, efficiency=efficiency)


def fill_rent(args: argparse.Namespace) -> Offer | None:
    """Fill in the rent where none was given, and return the offer that it is from; None where it was given.

    Raises:
        ValueError: no rent given for a chip of which the catalog knows none.
    """
    if args.usd_per_chip_hour is not None:
        return None
    try:
        offer = prices.chip_rent(args.chip)
    except ValueError as error:
        raise ValueError(f"{error}; give --rent, in USD per chip-hour") from None
    args.usd_per_chip_hour = offer.amount
    return offer


def assumed(node: roofline.Deployment, usd_per_chip_hour: float, offer: Offer | None) -> str:
    """Return a line that says at which efficiency and rent the figures above it hold."""
    eff = node.efficiency
    rent = f"{usd_per_chip_hour:g} USD/chip-h{f', as of {offer.date}' if offer else ''}"
    return f"efficiency {eff.compute:g} compute, {eff.memory:g} memory, {eff.link:g} link; {rent}"
