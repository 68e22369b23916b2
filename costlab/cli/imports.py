"""The verb import: a config.json as a model, and the TOML that would add it to the catalog."""

from __future__ import annotations

import argparse
import re
from typing import Any

from costlab import arch
from costlab.arch import configs
from costlab.cli.arguments import add_verb
from costlab.cli.output import Answer, Column, Row, sources, view

#: Contexts at which the cache is shown.
_CONTEXT = 131_072


def _import(args: argparse.Namespace) -> Answer:
    found = configs.imported(args.config)
    model, counts = found.model, found.model.params
    kv = model.kv_bytes(_CONTEXT)
    row: dict[str, Any] = {
        "model": model.key,
        "name": model.name,
        "model_type": found.model_type,
        "layers": _layers(model),
        "params": dict(counts.by_component),
        "active_params_by_part": dict(counts.active_by_component),
        "total_params": counts.total,
        "active_params": counts.active,
        "mtp_params": counts.mtp,
        "lookup_params": counts.lookup,
        "cache": _cache(model),
        "kv_bytes_per_token": float(kv.growing) / _CONTEXT,
        "fixed_bytes": float(kv.fixed),
        "weight_bytes": sum(model.weight_bytes().values()),
        "context_tokens": model.record.context,
        "assumed": list(found.assumed),
        "toml": configs.to_toml(args.key or _key(model.name), model.record),
    }
    parts = [_part(name, n, counts, model) for name, n in counts.by_component.items()]
    table = view(
        parts,
        Column("part", "part"),
        Column("params_M", "params", 1e6),
        Column("active_M", "active", 1e6),
        Column("stored", "stored"),
    )
    return Answer([row], table, _lines(row, model), found.assumed, sources(("model", model.key, model.record)))


def _part(name: str, count: int, counts: arch.Params, model: arch.Model) -> Row:
    active = counts.active_by_component.get(name, 0)
    stored = model.record.weights.get(name, model.record.weights["default"])
    return {"part": name, "params": count, "active": active, "stored": stored}


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
                    "bytes_per_entry": store.bytes_per_entry,
                    "tokens_per_entry": store.entries.stride,
                    "most_entries": store.entries.cap,
                }
            )
    return found


def _names(model: arch.Model) -> list[str]:
    return [pair[0] for run in model.record.layers for _ in range(run.repeat) for pair in run.pairs]


def _lines(row: Row, model: arch.Model) -> list[str]:
    layers = ", ".join(f"{each['layers']} x {each['attention']} + {each['ffn']}" for each in row["layers"])
    apart = [
        f"{row[f'{part}_params'] / 1e9:.2f}B in {words}" for part, words in _APART.items() if row[f"{part}_params"]
    ]
    counts = f"{row['total_params'] / 1e9:.2f}B parameters, {row['active_params'] / 1e9:.2f}B a token"
    cache = [
        f"{each['attention']} ({each['part']}): {each['bytes_per_entry']:,.0f} bytes "
        f"{'of one sequence' if each['part'] == 'recurrent' else 'an entry'} in each of {each['layers']} layers"
        for each in row["cache"]
    ]
    return [
        f"{model.name} ({row['model_type']}): {len(model.layers)} layers: {layers}",
        "; ".join([counts, *apart]),
        f"cache: {row['kv_bytes_per_token']:,.0f} bytes a token, {row['fixed_bytes'] / 1e6:,.1f} MB fixed per sequence",
        *cache,
        "",
        *row["toml"].splitlines(),
        "",
    ]


_APART = {"mtp": "modules for multi-token prediction, apart", "lookup": "look-up tables, apart"}


def _key(name: str) -> str:
    """Return a key of the catalog's form for a model's name."""
    return re.sub(r"[^a-z0-9.]+", "-", name.rpartition("/")[2].lower()).strip("-.") or "model"


def add_verbs(verbs: Any) -> None:
    """Add import."""
    about = "a config.json as a model: layers, parameters, cache, and the TOML that would add it"
    verb = add_verb(verbs, "import", _import, about, "import Qwen3-8B/config.json")
    verb.add_argument("config", metavar="CONFIG", help="a config.json, a folder with one, or - for standard input")
    verb.add_argument("--key", metavar="KEY", help="of the TOML table (default: made of the file's name)")
