"""The verbs models, kv and flops."""

from __future__ import annotations

import argparse
from typing import Any

from costlab import arch
from costlab.cli.arguments import MODEL_HELP, add_verb, count_arg, model_arg
from costlab.cli.output import GB, GFLOP, MB, Answer, Column, Row, sources, view, with_ratio

#: `models` gives a token's share of the cache at this context.
_CONTEXT = 131_072


def add_verbs(verbs: Any) -> None:
    """Add models, kv and flops."""
    listed = add_verb(
        verbs, "models", _models, "the models in the catalog, with computed and published sizes", "models"
    )
    listed.add_argument("model", nargs="*", type=model_arg, metavar="MODEL", help=f"only these; {MODEL_HELP}")
    _add_storage(listed)

    example = "kv deepseek-v3.2 deepseek-v4-pro --tokens 128K --batch 64"
    kv = add_verb(verbs, "kv", _kv, "bytes of KV cache at a context length", example)
    kv.add_argument("model", nargs="+", type=model_arg, metavar="MODEL", help=MODEL_HELP)
    kv.add_argument("--tokens", type=count_arg, required=True, help="context length, e.g. 131072, 128K or 1M")
    kv.add_argument("--batch", type=count_arg, default=1, help="sequences of that length together (default 1)")
    _add_storage(kv)

    example = "flops mimo-v2.5-pro --tokens 8192 --phase prefill"
    flops = add_verb(verbs, "flops", _flops, "FLOPs of one decoded token or of a prompt", example)
    flops.add_argument("model", nargs="+", type=model_arg, metavar="MODEL", help=MODEL_HELP)
    flops.add_argument("--tokens", type=count_arg, required=True, help="context or prompt length")
    phase = "decode: one token at that context; prefill: the whole prompt (default decode)"
    flops.add_argument("--phase", choices=("prefill", "decode"), default="decode", help=phase)


def _add_storage(verb: argparse.ArgumentParser) -> None:
    help_ = (
        "store every cached number of a token so, without scales, to compare like with like (default: as catalogued)"
    )
    verb.add_argument("--storage", choices=("fp32", "bf16", "fp8"), help=help_)


def _stored(model: arch.Model, storage: str | None) -> arch.Model:
    return model if storage is None else model.stored_as(storage)


def _storage(model: arch.Model) -> str:
    """The types that most of a token's cached numbers have: of entries, and of index keys where they differ."""
    layouts = [getattr(a, part, ()) for a in model.attention_counts for part in ("entry", "index_key")]
    return " + ".join(dict.fromkeys(max(layout)[1] for layout in layouts if layout))


def _models(args: argparse.Namespace) -> Answer:
    found = {key: arch.load(key) for key in args.model} or arch.models()
    known = {key: _stored(model, args.storage) for key, model in found.items()}
    rows = [_model_row(model) for model in known.values()]
    table = view(
        rows,
        Column("model", "model"),
        Column("layers", "layers"),
        Column("attention", lambda row: " + ".join(row["attention"])),
        Column("total_B", "total_params", 1e9),
        Column("active_B", "active_params", 1e9),
        Column("published", _published),
        Column("kv_B_per_token", "kv_bytes_per_token"),
        Column("stored_as", "cache_storage"),
        Column("context", "context_tokens"),
    )
    note = "total without multi-token-prediction modules; active with the output head, without embedding"
    cache = f"cache bytes per token at a context of {_CONTEXT:,} tokens, {_kept(args.storage)}"
    return Answer(rows, table, notes=[note, cache], sources=_sources(known.values()))


def _model_row(model: arch.Model) -> dict[str, Any]:
    counts, said = model.params, model.record.published
    return {
        "model": model.key,
        "layers": len(model.layers),
        "attention": sorted({a.kind for a, _ in model.layers}),
        "total_params": counts.total,
        "active_params": counts.active,
        "published_total_params": said and said.total_params,
        "published_active_params": said and said.active_params,
        "kv_bytes_per_token": float(model.kv_bytes(_CONTEXT).growing) / _CONTEXT,
        "cache_storage": _storage(model),
        "context_tokens": model.record.context,
    }


def _published(row: Row) -> str:
    counts = [row["published_total_params"], row["published_active_params"]]
    return " / ".join("-" if n is None else f"{n / 1e12:g}T" if n >= 1e12 else f"{n / 1e9:g}B" for n in counts)


def _kv(args: argparse.Namespace) -> Answer:
    found = [_stored(arch.load(name), args.storage) for name in args.model]
    rows = with_ratio([_kv_row(model, args.tokens, args.batch) for model in found], "total_bytes")
    table = view(
        rows,
        Column("model", "model"),
        Column("tokens", "tokens"),
        Column("total_GB", "total_bytes", GB),
        Column("growing_GB", "growing_bytes", GB),
        Column("of_which_index_GB", "index_bytes", GB),
        Column("fixed_MB", "fixed_bytes", MB),
        Column("state_MB", "state_bytes", MB),
        Column("bytes_per_token", "kv_bytes_per_token"),
        Column("stored_as", "cache_storage"),
        Column("of_first", "of_first"),
    )
    notes = [f"total = growing + fixed (windows, recurrent states), {_kept(args.storage)}"]
    notes += [f"all of {args.batch:,} sequences of that length; bytes per token of one"] if args.batch > 1 else []
    return Answer(rows, table, ["GB = 1e9 bytes"], notes, _sources(found))


def _kv_row(model: arch.Model, tokens: int, batch: int) -> dict[str, Any]:
    kv = model.kv_bytes(tokens)
    return {
        "model": model.key,
        "tokens": tokens,
        "batch": batch,
        "total_bytes": batch * float(kv.total),
        "growing_bytes": batch * float(kv.growing),
        "index_bytes": batch * float(kv.index),
        "fixed_bytes": batch * float(kv.fixed),
        "state_bytes": batch * float(kv.state),
        "kv_bytes_per_token": float(kv.growing) / tokens,
        "recurrent_bytes": batch * float(kv.recurrent),
        "cache_storage": _storage(model),
    }


def _kept(storage: str | None) -> str:
    if storage is None:
        return "stored as catalogued; --storage bf16 compares like with like"
    return f"all stored as {storage}"


def _flops(args: argparse.Namespace) -> Answer:
    found = [arch.load(name) for name in args.model]
    rows = with_ratio([_flops_row(model, args.tokens, args.phase) for model in found], "fp8_equivalent_flops")
    table = view(
        rows,
        Column("model", "model"),
        Column("tokens", "tokens"),
        Column("phase", "phase"),
        *(Column(f"{part}_GFLOP", f"{part}_flops", GFLOP) for part in _PARTS),
        Column("of_first", "of_first"),
    )
    what = "one token at that context" if args.phase == "decode" else "the whole prompt"
    return Answer(rows, table, notes=[f"FLOPs of {what}; weights {_weights()}"], sources=_sources(found))


_PARTS = ("linear", "indexer", "core", "total", "fp8_equivalent")


def _flops_row(model: arch.Model, tokens: int, phase: str) -> dict[str, Any]:
    count = model.decode_flops(tokens) if phase == "decode" else model.prefill_flops(tokens)
    parts = {**count.grouped(), "total": count.total, "fp8_equivalent": count.weighted()}
    return {
        "model": model.key,
        "tokens": tokens,
        "phase": phase,
        **{f"{part}_flops": float(parts[part]) for part in _PARTS},
    }


def _weights() -> str:
    return ", ".join(f"{name} x{weight:g}" for name, weight in arch.FP8_EQUIVALENTS.items())


def _sources(models: Any) -> list[Row]:
    return sources(*(("model", model.key, model.record) for model in models))
