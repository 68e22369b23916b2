"""The verb speculate."""

from __future__ import annotations

import argparse
from typing import Any

from costlab import arch, catalog, speculative
from costlab.catalog import Offer
from costlab.cli.arguments import add_verb, model_arg, several, share_arg, size_arg
from costlab.cli.deployments import add_deployment, assumed, deployed, fill_rent
from costlab.cli.output import MS, Answer, Column, Row, sources, view
from costlab.speculative import Speculation


def _speculate(args: argparse.Namespace) -> Answer:
    node = deployed(args)
    drafter = arch.drafter(args.draft, node.model)
    known = args.acceptance if len(args.acceptance) > 1 else args.acceptance[0]
    given = speculative.speculate(node, drafter, known, args.length, args.batch, args.tokens)
    given.deployment.check_room(args.batch, args.tokens + args.length)
    offer = fill_rent(args)
    rows = [_row(each, given, args) for each in _compared(given)]
    table = view(
        rows,
        Column("length", "length"),
        Column("tokens_per_round", "tokens_per_round"),
        *(Column(f"{part}_ms", f"{part}_s", MS) for part in ("draft", "verify", "round")),
        Column("bound", "bound"),
        *(Column(name, name) for name in ("round_cost", "speedup", "tokens_per_s")),
        Column("usd_per_M_tokens", "usd_per_million_tokens"),
    )
    lines = [*_lines(given, rows[-1]), assumed(given.deployment, args.usd_per_chip_hour, offer)]
    return Answer(rows, table, lines, _notes(given), _sources(given, args, offer))


def _compared(given: Speculation) -> list[Speculation]:
    """Plain decoding, the length that was asked for, and the best one, each once; what has no room is left out."""
    found = {length: given.with_length(length) for length in (0, given.length, given.best_length)}
    return [each for each in found.values() if given.deployment.fits(each.verify.cache_bytes)]


def _row(each: Speculation, given: Speculation, args: argparse.Namespace) -> dict[str, Any]:
    plain, rent = not each.length, args.usd_per_chip_hour
    return {
        "model": args.model,
        "chip": args.chip,
        "chips": args.chips,
        "draft": args.draft,
        "tokens": args.tokens,
        "batch": args.batch,
        "length": each.length,
        "tokens_per_round": each.tokens_per_round,
        "draft_s": sum(step.seconds for step in each.drafts),
        "verify_s": each.verify.seconds,
        "round_s": each.round_s,
        "bound": each.verify.bound,
        "round_cost": each.round_cost,
        "speedup": each.speedup,
        "tokens_per_s": each.tokens_per_s,
        "usd_per_million_tokens": each.plain_usd_per_million(rent) if plain else each.usd_per_million(rent),
        "usd_per_chip_hour": rent,
        "best_length": given.best_length,
        "losing_batch": given.losing_batch,
        "max_batch": each.max_batch,
        "weight_bytes_per_chip": each.weight_bytes_per_chip,
    }


def _lines(given: Speculation, row: Row) -> list[str]:
    name, drafter = given.deployment.chip.name, given.deployment.drafter
    plain = given.with_length(0)
    added = (given.weight_bytes_per_chip - plain.weight_bytes_per_chip) / 1e9
    lost = row["losing_batch"]
    where = "at no batch that fits" if lost is None else f"from batch {lost:,} on"
    return [
        f"{drafter.name if drafter else ''}: {added:.2f} GB more weights on each {name}; "
        f"room for {given.max_batch:,} sequences of {row['tokens']:,} tokens with it, {plain.max_batch:,} without",
        f"best length {row['best_length']}; at length {given.length} slower than plain decoding {where}",
    ]


def _sources(given: Speculation, args: argparse.Namespace, offer: Offer | None) -> list[Row]:
    node, known = given.deployment, catalog.tables()
    return sources(
        ("model", args.model, node.model.record),
        *([("model", args.draft, arch.load(args.draft).record)] if args.draft not in arch.DRAFT_KINDS else []),
        *([("draft head", args.draft, known.draft_heads[args.draft])] if args.draft in known.draft_heads else []),
        ("chip", args.chip, node.chip),
        *([("rent", args.chip, offer)] if offer else []),
    )


def _notes(given: Speculation) -> list[str]:
    one = "one acceptance for all positions: measured ones differ by position, and most fall, so long drafts gain less"
    return [given.note, *([] if isinstance(given.acceptance, tuple) else [one])]


def add_verbs(verbs: Any) -> None:
    """Add speculate."""
    example = "speculate deepseek-v3 --chip h800 --chips 144 --batch 1152 --tokens 5K --draft mtp --acceptance 0.85"
    plan = add_verb(
        verbs, "speculate", _speculate, "speculative decoding: seconds, tokens and cost of a round", example
    )
    add_deployment(plan, "context of a sequence")
    drafts = "mtp (the model's own modules), eagle3 (a head), lookup (copies text, costs nothing), or a smaller model"
    plan.add_argument("--draft", type=model_arg, required=True, metavar="NAME", help=drafts)
    chance = "chance that a drafted token is accepted if those before it were: one for all, or one for each position"
    plan.add_argument(
        "--acceptance", type=several(share_arg), required=True, metavar="SHARE,...",
        help=f"{chance}; several with commas between them",
    )  # fmt: skip
    plan.add_argument("--length", type=size_arg, default=1, help="drafted tokens of a round (default 1)")
