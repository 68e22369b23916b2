"""The verb import: a config.json as a model, and the TOML that would add it to the catalog."""

from __future__ import annotations

import argparse
import dataclasses
import re
from datetime import date
from typing import Any

from costlab import arch
from costlab.arch import configs
from costlab.cli import clock
from costlab.cli.arguments import add_verb, moment_arg
from costlab.cli.output import GB, MB, Answer, Column, Row, sources, view

_EXAMPLE = "tests/arch/configs/gpt-oss-120b.json --day 2026-11-25"

#: Contexts at which the cache is shown.
_CONTEXT = 131_072


def _import(args: argparse.Namespace) -> Answer:
    args.day = args.day or clock.today()
    found = configs.imported(args.config)
    model, counts = found.model, found.model.params
    record = dataclasses.replace(model.record, date=args.day)
    args.key = args.key or _key(model.name)
    kv = model.kv_bytes(_CONTEXT)
    row: dict[str, Any] = {
        "model": model.key,
        "name": model.name,
        "model_type": found.model_type,
        "layers": len(model.layers),
        "attention": sorted({a.kind for a, _ in model.layers}),
        "total_params": counts.total,
        "active_params": counts.active,
        "mtp_params": counts.mtp,
        "lookup_params": counts.lookup,
        "kv_bytes_per_token": float(kv.growing) / _CONTEXT,
        "fixed_bytes": float(kv.fixed),
        "weight_bytes": sum(model.weight_bytes().values()),
        "context_tokens": record.context,
        "parts": [_part(name, model) for name in counts.by_component],
        "layer_kinds": _layers(model),
        "cached": _cache(model),
        "assumed": list(found.assumed),
        "toml": configs.to_toml(args.key, record),
    }
    table = view(
        [row],
        Column("layers", "layers"),
        Column("total_B", "total_params", 1e9),
        Column("active_B", "active_params", 1e9),
        Column("weight_GB", "weight_bytes", GB),
        Column("kv_B_per_token", "kv_bytes_per_token"),
        Column("fixed_MB", "fixed_bytes", MB),
        Column("context", "context_tokens"),
    )
    used = sources(("model", model.key, record))
    return Answer([row], table, _lines(row, model), found.assumed, used)


def _part(name: str, model: arch.Model) -> Row:
    """Return one component of the parameters, and how it is stored."""
    counts, stored = model.params, model.record.weights
    return {
        "part": name,
        "params": counts.by_component[name],
        "active_params": counts.active_by_component.get(name, 0),
        "stored": stored.get(name, stored["default"]),
    }


def _layers(model: arch.Model) -> list[Row]:
    """Return how many layers have each pair of kinds, in the order in which they first come."""
    found: dict[tuple[str, str], int] = {}
    for run in model.record.layers:
        for pair in run.pairs:
            found[pair] = found.get(pair, 0) + run.repeat
    return [{"attention": a, "ffn": f, "layers": n} for (a, f), n in found.items()]


def _cache(model: arch.Model) -> list[Row]:
    """Return what one layer of each attention kind keeps."""
    kinds = {name: dict(table) for name, table in model.record.attention.items()}
    used = {pair[0] for run in model.record.layers for pair in run.pairs}
    found: list[Row] = []
    for name in used & kinds.keys() if len(used) < 2 else [n for n in kinds if n in used]:
        attention = next(a for (a, _), n in zip(model.layers, _names(model), strict=True) if n == name)
        for store in attention.stores():
            layers = _names(model).count(name)
            found.append(
                {
                    "attention": name,
                    "layers": layers,
                    "part": store.part,
                    "entry_bytes": store.bytes_per_entry,
                    "tokens_per_entry": store.entries.stride,
                    "most_entries": store.entries.cap,
                }
            )
    return found


def _names(model: arch.Model) -> list[str]:
    return [pair[0] for run in model.record.layers for _ in range(run.repeat) for pair in run.pairs]


def _lines(row: Row, model: arch.Model) -> list[str]:
    layers = ", ".join(f"{each['layers']} x {each['attention']} + {each['ffn']}" for each in row["layer_kinds"])
    sizes = {words: row[f"{part}_params"] for part, words in _APART.items()}
    apart = [f"{size / 1e9:.2f}B in {words}" for words, size in sizes.items() if size]
    parts = [
        f"{each['part']}: {each['params'] / 1e6:,.1f}M parameters, {each['active_params'] / 1e6:,.1f}M a token, "
        f"in {each['stored']}"
        for each in row["parts"]
    ]
    cache = [
        f"{each['attention']} ({each['part']}): {each['entry_bytes']:,.0f} bytes "
        f"{'of a sequence' if each['part'] == 'recurrent' else 'an entry'} in each of {each['layers']} layers"
        for each in row["cached"]
    ]
    about = f"{model.name} ({row['model_type']}): {layers}"
    return ["; ".join([about, *apart]), *parts, *cache, *row["toml"].splitlines()]


_APART = {"mtp": "modules for multi-token prediction, apart", "lookup": "look-up tables, apart"}


def _key(name: str) -> str:
    """Return a key of the catalog's form for a model's name."""
    return re.sub(r"[^a-z0-9.]+", "-", name.rpartition("/")[2].lower()).strip("-.") or "model"


def add_verbs(verbs: Any) -> None:
    """Add import."""
    about = "a config.json as a model, and the TOML that would add it"
    verb = add_verb(verbs, "import", _import, about, f"import {_EXAMPLE}")
    verb.add_argument("config", metavar="CONFIG", help="a config.json, a folder with one, or - for standard input")
    verb.add_argument("--key", metavar="KEY", help="of the TOML table (default: made of the file's name)")
    verb.add_argument("--day", type=_day, metavar="DATE", help="on which the file was read (default today)")


def _day(text: str) -> date:
    return moment_arg(text).date()
