"""Further parts of the answer of `port`: operators fused, a file in ONNX, experts spread over cards."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from costlab import arch, moe
from costlab.chips.porting import onnx_coverage
from costlab.text import bytes_text

#: Tokens of the step whose routes are spread over cards: some for each card.
ROUTED_TOKENS = 1024


# --- fusion ------------------------------------------------------------------------------------------------------


def fused_part(captured: Any, seed: int, obey_rules: bool) -> Mapping[str, Any]:
    """Return what patterns take the place of in a captured graph, what was refused, and what is saved.

    Args:
        captured: of eager calls.
        seed: of the inputs that matches are tried with.
        obey_rules: whether its widths are a real model's, so that fused operators' rules of shape count.
    """
    from costlab.nn.chips.fusion import fuse

    found = fuse(captured, obey_rules=obey_rules, seed=seed)
    return {
        "stages": [
            {
                "name": stage.name,
                "calls": stage.nodes,
                "launches": stage.launches,
                "written_bytes": stage.written_bytes,
                "peak_bytes": stage.peak_bytes,
            }
            for stage in found.stages
        ],
        "patterns": [{"pattern": name, "matches": number} for name, number in found.counts.items()],
        "refused": [
            {"pattern": str(each.pattern), "outcome": each.outcome, "module": each.module or None, "says": str(each)}
            for each in found.refused
        ],
        "difference": found.fresh_error,
    }


def fused_lines(part: Mapping[str, Any]) -> list[str]:
    """Say what fusion saves, what it refused and on which evidence."""
    first, last = part["stages"][0], part["stages"][-1]
    patterns = ", ".join(f"{each['matches']} {each['pattern']}" for each in part["patterns"]) or "nothing"
    error = part["difference"]
    checked = "" if error is None else f"; on fresh inputs the outputs differ by {error:.2g} of the largest"
    counts = [f"{first[key]:,} -> {last[key]:,} {key}" for key in ("calls", "launches")]
    sizes = [
        f"{bytes_text(first[key])} -> {bytes_text(last[key])} {text}"
        for key, text in (("written_bytes", "written"), ("peak_bytes", "at the peak"))
    ]
    return [
        f"fused in the captured layers: {patterns}{checked}",
        f"there {', '.join([*counts, *sizes])}",
        *_refused(part["refused"]),
    ]


def _refused(refused: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say how often a pattern was refused, with the evidence of one match."""
    kinds = Counter((each["pattern"], each["outcome"]) for each in refused)
    for (pattern, outcome), number in kinds.items():
        one = next(each for each in refused if (each["pattern"], each["outcome"]) == (pattern, outcome))
        yield f"{number} x {one['says']}"


# --- ONNX --------------------------------------------------------------------------------------------------------


def onnx_part(made: Any, opset: int) -> Mapping[str, Any]:
    """Return a small model's ONNX file, run beside the model, and how many of its nodes three lists take.

    Raises:
        ValueError: an opset that CANN does not read, an operator without ONNX form, no onnx or onnxruntime.
    """
    from costlab.nn.chips.onnx import to_onnx

    try:
        file = to_onnx(made.module, made.inputs, opset)
    except ModuleNotFoundError as error:
        raise ValueError(str(error)) from error
    return {
        "opset": file.opset,
        "calls": sum(file.nodes.values()),
        "difference": file.error,
        "lists": [
            {
                "taker": each.taker,
                "calls": each.nodes,
                "taken_calls": each.taken,
                "missing": [{"operator": name, "calls": number} for name, number in each.missing.items()],
            }
            for each in onnx_coverage(file.nodes, file.opset).lists
        ],
    }


def onnx_lines(part: Mapping[str, Any]) -> list[str]:
    """Say how the file did, and who takes how much of it."""
    lines = [
        f"ONNX at opset {part['opset']}: {part['calls']:,} nodes, in ONNX Runtime within {part['difference']:.2g} of "
        "the small model; Ascend serves no large model so"
    ]
    for each in part["lists"]:
        missing = ", ".join(f"{one['operator']} {one['calls']}" for one in each["missing"])
        lacks = f", not {missing}" if missing else ""
        lines.append(f"{each['taker']} takes {each['taken_calls']:,} of {each['calls']:,} nodes{lacks}")
    return lines


# --- cards -------------------------------------------------------------------------------------------------------


def cards_part(args: argparse.Namespace) -> list[Mapping[str, Any]]:
    """Return what a step's tokens send between cards that share a layer's experts, for each number of cards.

    Raises:
        ValueError: a model that is not of the catalog, or has no experts; experts that do not divide.
    """
    from costlab.nn.chips.cards import link_bytes, routes_of

    model = arch.load(args.model)
    routes = routes_of(model, tokens=ROUTED_TOKENS, seed=args.seed)
    experts = moe.router(model).experts
    found: list[Mapping[str, Any]] = []
    for cards in args.cards:
        placed = moe.place(moe.count_loads(routes, experts), cards)
        links = link_bytes(routes, placed, model.record.hidden, copy="rank")
        found.append(
            {
                "cards": cards,
                "experts_per_rank": experts // cards,
                "sent_bytes": float(links.sent.sum()),
                "most_sent_bytes": float(max(links.sent.max(), links.received.max())),
                "balancedness": links.balancedness,
            }
        )
    return found


def cards_lines(parts: list[Mapping[str, Any]]) -> list[str]:
    """Say what crosses the links."""
    return [
        f"{each['cards']} cards with {each['experts_per_rank']} experts of a layer each: {ROUTED_TOKENS:,} tokens send "
        f"{bytes_text(each['sent_bytes'])} over links, {bytes_text(each['most_sent_bytes'])} over the busiest card's "
        f"(balance {each['balancedness']:.2f})"
        for each in parts
    ]
