"""Models and chips: dimensions, data sheets and rents."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from costlab import arch, catalog
from costlab.catalog import ModelRecord
from costlab.explore.reference.listing import Sourced, sourced
from costlab.text import Table, number_text, tokens_text

CONTEXT = 131_072  # tokens at which the page on models gives the cache of each


def model_sizes() -> Sourced:
    """Return what each catalogued model is: its size as counted and as printed, its attention, experts and cache."""
    return sourced(
        "models",
        ((_size(model), model.record) for model in arch.models().values()),
        f"Models of the catalog; in brackets what the maker prints; cache bytes of a token at {tokens_text(CONTEXT)}",
        bold="model",
    )


def _size(model: arch.Model) -> dict[str, Any]:
    record, printed = model.record, model.record.published
    moe = next((ffn for _, ffn in model.layers if isinstance(ffn, arch.MoE)), None)
    active = printed and printed.active
    return {
        "model": record.name,
        "parameters": f"{model.params.total / 1e9:,.1f}B" + (f" ({printed.total})" if printed else ""),
        "a token multiplies": f"{model.params.active / 1e9:.1f}B" + (f" ({active})" if active else ""),
        "layers": f"{len(model.layers)}: {', '.join(dict.fromkeys(attention.label for attention, _ in model.layers))}",
        "experts visited": f"{moe.top_k} of {moe.experts}" if moe else None,
        "cache, bytes": round(float(model.kv_bytes(CONTEXT).total) / CONTEXT),
    }


def model_dimensions() -> Table:
    """Return each model's parts with all their dimensions, as the catalog holds them."""
    rows = [row for record in catalog.tables().models.values() for row in _parts(record)]
    return Table(rows, "part", "Dimensions of each part, by the names that the catalog gives them", True, ("model",))


def _parts(record: ModelRecord) -> list[dict[str, Any]]:
    whole = {
        "hidden": record.hidden, "vocab": record.vocab, "context": record.context, "tied": record.tied,
        "residual_streams": record.residual_streams,
    }  # fmt: skip
    runs = "; ".join(f"{run.repeat} x ({', '.join(' + '.join(pair) for pair in run.pairs)})" for run in record.layers)
    parts = [("model", _fields(whole)), ("layers", runs)]
    parts += [(f"attention {name}", _fields(table)) for name, table in record.attention.items()]
    parts += [(f"feed-forward {name}", _fields(table)) for name, table in record.ffn.items()]
    if record.mtp:
        parts += [("multi-token prediction", _fields(dataclasses.asdict(record.mtp)))]
    parts += [("weights stored in", _fields(record.weights)), ("multiplied in", _fields(record.math))]
    return [{"model": record.name, "part": part, "dimensions": text} for part, text in parts]


def draft_heads() -> Sourced:
    """Return the heads that draft from a target's hidden states: what is not the target's own width."""
    rows = (
        (
            {
                "head": head.name,
                "hidden states joined": head.features,
                "vectors into the layer": head.inputs,
                "vocabulary": head.vocab,
                "weights stored in": head.weights,
            },
            head,
        )
        for head in catalog.tables().draft_heads.values()
    )
    return sourced("heads", rows, "Heads that draft for a model, with one dense layer of its width", bold="head")


def _fields(table: Mapping[str, Any]) -> str:
    """A table of the catalog in one line: heads 64, kv_heads 4, entry 128 bf16 + 128 bf16."""
    return ", ".join(f"{name} {_field(value)}" for name, value in table.items() if name != "kind")


def _field(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_fields(value)})"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " + ".join(" ".join(map(str, pair)) for pair in value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def chip_sheets() -> Sourced:
    """Return the data sheet of each chip: memory, links and power."""
    rows = (
        (
            {
                "chip": chip.name,
                "memory, GB": round(chip.memory_bytes / 1e9),
                "memory, TB/s": number_text(chip.memory_bandwidth_bytes_s / 1e12),
                "link in the node, GB/s": number_text(chip.link_bytes_s / 1e9),
                "network, GB/s": None if chip.network_bytes_s is None else number_text(chip.network_bytes_s / 1e9),
                "chips in a node": chip.chips_per_node,
                "power, W": chip.power_w,
                "idle, W": chip.idle_power_w,
                "node's power, W": chip.node_power_w,
            },
            chip,
        )
        for chip in catalog.tables().chips.values()
    )
    return sourced("chips", rows, "One chip: its memory, its links in one direction, its power", bold="chip")


def chip_speeds() -> Table:
    """Return the dense arithmetic of each chip by precision, from the same data sheets, and what takes whose place."""
    names = ("fp4", "fp8", "int8", "bf16", "fp16", "tf32", "fp32")
    rows = [
        {
            "chip": chip.name,
            **{name.upper(): _tera(chip.flops.get(name)) for name in names},
            "serves": "; ".join(f"{asked.upper()} as {unit.upper()}" for asked, unit in chip.serves.items()) or None,
        }
        for chip in catalog.tables().chips.values()
    ]
    return Table(rows, "chip", "Dense TFLOP/s of one chip by precision; – where it has no such unit", stacked=True)


def _tera(value: float | None) -> str | None:
    return None if value is None else number_text(value / 1e12)
