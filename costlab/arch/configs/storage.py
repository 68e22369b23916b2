"""In which precision a config.json's weights are stored and multiplied: `quantization_config` and the plain dtype."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from costlab.arch.attention import KINDS
from costlab.arch.configs.blueprint import Blueprint
from costlab.arch.configs.fields import Fields
from costlab.arch.configs.source import quoted
from costlab.arch.experts import FFN_KINDS
from costlab.catalog import FrozenDict, Place, decode

_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32", "auto": "bf16"}

#: Components that no published checkpoint quantises.
_KEPT = ("embedding", "head", "norm", "router", "index_weights", "compressor", "conv")

#: What module names in lists of exceptions mean, by component.
_MODULES: Mapping[str, tuple[str, ...]] = {
    "attention": ("self_attn", "q_proj", "qkv_proj", "linear_attn", "mixer", "attention"),
    "output": ("self_attn", "o_proj", "linear_attn", "mixer", "attention"),
    "latent_up": ("self_attn", "kv_b_proj", "attention"),
    "index_proj": ("self_attn", "indexer", "attention"),
    "shared": ("shared_expert", "shared_experts"),
    "latent_experts": ("mixer", "latent"),
}


@dataclass(frozen=True)
class Storage:
    """Precisions of a model, by component."""

    weights: Mapping[str, str]  # stored
    math: Mapping[str, str]  # of the multiplications
    assumed: tuple[str, ...]  # what was taken for it, a sentence each


def precisions(f: Fields, blueprint: Blueprint, config: Mapping[str, Any]) -> Storage:
    """Return the precisions that a file gives.

    Args:
        f: fields of the text model.
        blueprint: its layers, for the components that it has.
        config: the whole file, whose outer level may hold the quantisation.

    Raises:
        ValueError: a method or a dtype that is not known, quoted.
    """
    plain = _plain(f, config)
    found = f.values.get("quantization_config") or config.get("quantization_config") or config.get("compression_config")
    cache = "the cache in bf16: a config.json does not say how keys and values are stored"
    parts = _components(blueprint)
    if not found:
        return Storage(FrozenDict({"default": plain}), _math({"default": plain}, parts), (cache,))
    if not isinstance(found, Mapping):
        f.refuse("quantization_config", found, "an object")
    method = found.get("quant_method", found.get("quant_algo"))
    stored, active = _precision(f, found, str(method))
    weights = {"default": stored, **{part: plain for part in _KEPT if part in parts}}
    if method == "mxfp4":  # transformers' method packs the experts only
        weights = {"default": plain, "experts": "mxfp4"}
    for part in _excepted(found) & parts:
        weights[part] = plain
    if f.values.get("expert_dtype") == "fp4" and "experts" in parts:
        weights["experts"] = "mxfp4"
    said = f"weights in {stored} by quantization_config ({method}); scales and exceptions of single layers left out"
    return Storage(FrozenDict(weights), _math(weights, parts, active), (cache, said))


def _plain(f: Fields, config: Mapping[str, Any]) -> str:
    name = next((v for v in (f.values.get("dtype"), f.values.get("torch_dtype"), config.get("dtype"),
                             config.get("torch_dtype")) if v is not None), "bfloat16")  # fmt: skip
    word = str(name).removeprefix("torch.")
    if word not in _DTYPES:
        f.refuse("dtype", name, f"one of {', '.join(_DTYPES)}")
    return _DTYPES[word]


def _precision(f: Fields, found: Mapping[str, Any], method: str) -> tuple[str, str]:
    """Return in which precision a method stores weights and multiplies."""
    match method.lower():
        case "fp8" | "fbgemm_fp8":
            return "fp8", "fp8"
        case "mxfp4":
            return "mxfp4", "bf16"
        case "awq" | "gptq" | "auto-round":
            bits = found.get("bits", found.get("w_bit", 4))
            return _of_bits(f, bits, "int", False)
        case "compressed-tensors":
            return _of_groups(f, found)
        case "modelopt" | "nvfp4" | "modelopt_fp4" | "modelopt_mixed":
            algo = str(found.get("quant_algo", found.get("algo", "NVFP4"))).upper()
            known = {"NVFP4": "fp4", "FP8": "fp8", "NVFP4_AWQ": "fp4", "MIXED_PRECISION": "fp4"}
            if algo in known:
                return known[algo], known[algo]
    return f.refuse("quantization_config", {"quant_method": method, **_brief(found)}, "one of fp8, mxfp4, awq, gptq, "
                    "compressed-tensors, modelopt")  # fmt: skip


def _brief(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in ("quant_algo", "format", "bits") if name in found}


def _of_groups(f: Fields, found: Mapping[str, Any]) -> tuple[str, str]:
    groups = found.get("config_groups")
    kinds = [g for g in groups.values() if isinstance(g, Mapping)] if isinstance(groups, Mapping) else []
    widest = [w for g in kinds if isinstance(w := g.get("weights"), Mapping)]
    if not widest:
        f.refuse("quantization_config", {"config_groups": groups}, "groups with the bits of their weights")
    first = min(widest, key=_bits)
    group = next(g for g in kinds if g.get("weights") is first)
    packed = "mxfp4" if first.get("group_size") == 32 and first.get("type") == "float" else None
    stored, active = _of_bits(f, first.get("num_bits"), str(first.get("type")), group.get("input_activations"))
    if stored == "int4" and first.get("group_size") == 32:
        return "int4-g32", active
    return (packed, "bf16" if not group.get("input_activations") else "fp4") if packed and stored == "fp4" else (
        stored, active)  # fmt: skip


def _bits(weights: Mapping[str, Any]) -> int:
    bits = weights.get("num_bits")
    return bits if type(bits) is int else 99


def _of_bits(f: Fields, bits: Any, kind: str, activations: Any) -> tuple[str, str]:
    names = {(8, "float"): "fp8", (8, "int"): "int8", (4, "float"): "fp4", (4, "int"): "int4"}
    if type(bits) is not int or (bits, kind) not in names:
        raise ValueError(f"{f.where}: quantization_config stores {kind} of {quoted(bits)} bits; known are 4 and 8")
    stored = names[bits, kind]
    return stored, (stored if activations and stored != "int4" else "bf16")


def _excepted(found: Mapping[str, Any]) -> set[str]:
    """Return components that a list of exceptions names for all layers."""
    lists: Iterable[Any] = (found.get(n) for n in ("ignore", "modules_to_not_convert", "ignored_layers",
                                                   "exclude_modules"))  # fmt: skip
    names = [name for each in lists if isinstance(each, list) for name in each if isinstance(name, str)]
    wide = [name for name in names if not re.search(r"layers\.\d+\.", name)]
    return {part for part, words in _MODULES.items() for name in wide for word in words if word in name}


def _components(blueprint: Blueprint) -> set[str]:
    """Return what the model's parameters are counted by."""
    found = {"embedding", "norm"} | (set() if blueprint.tied else {"head"})
    found |= {"residual"} if blueprint.streams > 1 else set()
    for kinds, tables in ((KINDS, blueprint.attention), (FFN_KINDS, blueprint.ffn)):
        for table in tables.values():
            found |= _built(kinds, table)
    return found


def _built(kinds: Mapping[str, Any], table: Mapping[str, Any]) -> set[str]:
    fields = {name: value for name, value in table.items() if name != "kind"}
    part = decode(kinds[table["kind"]], fields, Place("config.json", (str(table["kind"]),), 1))
    return {name for name, count in part.params(64).items() if count}


def _math(weights: Mapping[str, str], parts: set[str], active: str = "bf16") -> Mapping[str, str]:
    """Return in which precision each component multiplies: stored plain ones as they are, attention in bf16."""
    plain = {"fp32": "fp32"}.get(weights["default"], "bf16")
    if not (len(weights) > 1 or weights["default"] in ("fp8", "fp4")) or active == "bf16":
        return FrozenDict({"default": plain})
    math = {"default": active, "core": "bf16"}
    for part in ("head", "router", "index_weights", "compressor", "latent_up", "residual", "conv", *weights):
        if part in parts and part not in ("embedding", "norm", "default"):
            kept = weights.get(part, "bf16" if part == "latent_up" else active)
            math[part] = active if kept == weights["default"] and part != "latent_up" else "bf16"
    if weights.get("experts") == "mxfp4" and active == "fp8":
        math["experts"] = "fp4xfp8"
    return FrozenDict(math)
