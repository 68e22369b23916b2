"""Small models of transformers' architectures: layers and widths of a configuration reduced, what is special kept.

A configuration is first completed by its own class in transformers, then cut: one layer of each kind, widths divided
so that their ratios stay. transformers is imported when a model is asked for, and only then.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from costlab import arch
from costlab.nn.chips.capture import first_line

#: The class of transformers that runs each model of the catalog.
MODEL_TYPES: Mapping[str, str] = {
    "deepseek-v3": "deepseek_v3",
    "deepseek-v3.2": "deepseek_v32",
    "deepseek-v4-flash": "deepseek_v4",
    "deepseek-v4-pro": "deepseek_v4",
    "glm-5": "glm_moe_dsa",
    "kimi-k2": "deepseek_v3",
    "llama-2-7b": "llama",
    "llama-3.1-70b": "llama",
    "llama-3.1-8b": "llama",
    "mimo-v2-flash": "mimo_v2_flash",
    "mimo-v2.5": "mimo_v2_flash",
    "mimo-v2.5-pro": "mimo_v2_flash",
    "mixtral-8x7b": "mixtral",
    "qwen3-235b-a22b": "qwen3_moe",
}

#: What each width of a configuration is divided by, and the number that the result is a multiple of.
_WIDTHS: Mapping[str, tuple[int, int]] = {
    **dict.fromkeys(("hidden_size", "intermediate_size", "moe_intermediate_size"), (64, 8)),
    **dict.fromkeys(("shared_expert_intermediate_size", "hidden_size_per_layer_input"), (64, 8)),
    **dict.fromkeys(("head_dim", "v_head_dim", "qk_nope_head_dim", "qk_rope_head_dim", "global_head_dim"), (8, 2)),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "index_head_dim", "rotary_dim"), (8, 2)),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "o_lora_rank"), (16, 8)),
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads", "index_n_heads"), (8, 1)),
    "sliding_window": (16, 1),
    "index_topk": (256, 1),
}
#: Numbers of heads with one divisor for all of them, so that 64 : 4 stays 16 : 1, and the least that each may become.
_HEADS = {"num_attention_heads": 4, "num_key_value_heads": 1, "num_global_key_value_heads": 1, "o_groups": 2}
_EXPERTS = ("n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts")
_TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id")
#: Layers of V4 by the attention kind of the catalog.
_V4_LAYERS = {"shared-window": "sliding_attention", "csa": "compressed_sparse_attention"}
_V4_LAYERS["hca"] = "heavily_compressed_attention"

#: Tokens in the vocabulary of a small model.
SMALL_VOCABULARY = 512
#: More than any configuration has, of layers and of everything else that is counted.
MOST_LAYERS, MOST_SIZE = 10_000, 2**31
#: Most routed experts that a small model keeps whatever the ratio.
_FEW_EXPERTS = 8


class Logits(nn.Module):
    """A language model of transformers as token numbers in, logits out, without a cache."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.causal = model

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of the token after each, shape (batch, tokens, vocab).

        Args:
            tokens: token numbers, shape (batch, tokens).
        """
        logits: Tensor = self.causal(input_ids=tokens, use_cache=False).logits
        return logits


@dataclass(frozen=True)
class Cut:
    """A configuration with fewer layers, and narrower if asked."""

    config: Mapping[str, Any]  # as the class in transformers takes it
    layers: tuple[int, ...]  # layers of the original that stay
    stands_for: tuple[int, ...]  # for each of them the layers of the original of its kind
    reduced: Mapping[str, tuple[Any, Any]]  # what was changed: before and after


def read_config(path: str | Path) -> dict[str, Any]:
    """Return a model's configuration from a config.json; of one with several parts, the text's.

    Args:
        path: the file.

    Raises:
        ValueError: no such file, no JSON, or one without "model_type".
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} should be a model's config.json: {error}") from error
    config = found.get("text_config", found) if isinstance(found, dict) else {}
    if not isinstance(config.get("model_type"), str):
        raise ValueError(f'{path} should name its architecture as "model_type", as a config.json does')
    return dict(config)


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with everything that its class in transformers fills in.

    Args:
        config: as in a config.json, with "model_type".

    Raises:
        ValueError: an architecture that transformers does not know, a configuration that it refuses.
        ModuleNotFoundError: no transformers.
    """
    kind = _kind(config)
    given = {k: v for k, v in config.items() if k not in ("model_type", "quantization_config", "auto_map")}
    _check_sizes(given, kind)
    try:
        made = _transformers().CONFIG_MAPPING[kind](**given)
    except Exception as error:
        raise ValueError(f"transformers refuses the configuration of {kind}: {first_line(error)}") from error
    found: dict[str, Any] = made.to_dict()
    found.setdefault("num_hidden_layers", getattr(made, "num_hidden_layers", None))
    return {name: value for name, value in found.items() if name not in ("transformers_version", "dtype")}


def _check_sizes(given: Mapping[str, Any], kind: str) -> None:
    """Refuse whole numbers that no model has: transformers would list so many layers, or say something else."""
    for name, value in given.items():
        most = MOST_LAYERS if "layer" in name else MOST_SIZE
        is_size = name.startswith("num_") or name.endswith(("_size", "_dim", "_rank"))
        if isinstance(value, int) and (value > most or (is_size and value < 0)):
            raise ValueError(f"the configuration of {kind} says {name} = {value}: should be from 0 to {most}")


def _kind(config: Mapping[str, Any]) -> str:
    """Return the model_type that transformers knows: the configuration's, or that of its class of models."""
    from_transformers = _transformers()
    kind, classes = str(config.get("model_type")), from_transformers.CONFIG_MAPPING
    if kind in classes:
        return kind
    causal = from_transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    written = config.get("architectures") or [None]
    same = [each for each, name in causal.items() if name == written[0]]
    if not same:
        raise ValueError(f"model_type {kind!r} is none of the {len(causal)} language models that transformers knows")
    return str(same[0])


def _transformers() -> Any:
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("models of transformers need it: pip install transformers") from error
    return transformers


def published_config(model: arch.Model) -> dict[str, Any]:
    """Return a catalog model's configuration in the words of its class in transformers.

    Args:
        model: e.g. `arch.load("mimo-v2-flash")`.

    Raises:
        ValueError: a model without such a class.
    """
    if model.key not in MODEL_TYPES:
        raise ValueError(f"no class of transformers is known for {model.key!r}; known: {', '.join(MODEL_TYPES)}")
    kind = MODEL_TYPES[model.key]
    blank = completed({"model_type": kind})
    attention = [a for a, _ in model.layers]
    rec = model.record
    said: dict[str, Any] = {"hidden_size": rec.hidden, "vocab_size": rec.vocab, "num_hidden_layers": len(model.layers)}
    said |= {"rms_norm_eps": rec.running.norm_eps, "tie_word_embeddings": rec.tied}
    said |= {k: v for a in dict.fromkeys(attention) for k, v in _attention(a).items() if k in blank}
    said |= {k: v for k, v in _feed_forward([f for _, f in model.layers], kind).items() if k in blank}
    return {"model_type": kind, **said, **_schedule(attention, blank)}


def _attention(dims: arch.Attention) -> dict[str, Any]:
    """Return what the layers of one kind say in a configuration."""
    said: dict[str, Any] = {"num_attention_heads": dims.heads, "qk_rope_head_dim": dims.rope_dim}
    if isinstance(dims, arch.FullAttention):
        said |= {"head_dim": dims.qk_dim, "v_head_dim": dims.v_dim}
        if isinstance(dims, arch.SlidingWindow):
            return said | {"sliding_window": dims.window + 1}  # transformers counts the query's own token too
        return said | {"num_key_value_heads": dims.kv_heads}
    if isinstance(dims, arch.MLA):
        said |= {"num_key_value_heads": dims.heads, "q_lora_rank": dims.q_rank, "kv_lora_rank": dims.kv_rank}
        said |= {"qk_nope_head_dim": dims.nope_dim, "v_head_dim": dims.v_dim}
    if isinstance(dims, arch.SharedWindow):
        said |= {"head_dim": dims.head_dim, "q_lora_rank": dims.q_rank, "sliding_window": dims.window}
        said |= {"o_groups": dims.groups, "o_lora_rank": dims.group_dim}
    if isinstance(dims, arch.DSA | arch.CSA):
        said |= {"index_n_heads": dims.index_heads, "index_head_dim": dims.index_dim, "index_topk": dims.top_k}
    return said


def _feed_forward(layers: Sequence[arch.Dense | arch.MoE], kind: str) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for dims in dict.fromkeys(layers):
        if isinstance(dims, arch.Dense):
            said["intermediate_size"] = dims.inner
            continue
        said |= dict.fromkeys(_EXPERTS, dims.experts)
        said |= {"num_experts_per_tok": dims.top_k, "n_shared_experts": dims.shared, "swiglu_limit": dims.clamp}
        said |= {"n_group": dims.routing.groups, "topk_group": dims.routing.groups_kept}
        said |= {"routed_scaling_factor": dims.routing.scale, "moe_intermediate_size": dims.inner}
        said |= {"intermediate_size": dims.inner} if kind == "mixtral" else {}
    hashed = sum(isinstance(f, arch.MoE) and f.routing.select == "token-table" for f in layers)
    dense = sum(isinstance(f, arch.Dense) for f in layers)
    words = ["hash_moe" if i < hashed else "moe" for i in range(len(layers))]
    plain = ["dense" if i < dense else "sparse" for i in range(len(layers))]
    return said | {"first_k_dense_replace": dense, "mlp_layer_types": words if kind == "deepseek_v4" else plain}


def _schedule(attention: Sequence[arch.Attention], blank: Mapping[str, Any]) -> dict[str, Any]:
    """Return which layer is of which kind, where the class has kinds."""
    if blank["model_type"] == "deepseek_v4":
        rates = {_V4_LAYERS[a.kind]: a.block for a in attention if isinstance(a, arch.HCA)}
        return {"layer_types": [_V4_LAYERS[a.kind] for a in attention], "compress_rates": rates}
    if any(isinstance(a, arch.SlidingWindow) for a in attention):
        words = {"sliding": "sliding_attention", "full": "full_attention"}
        return {"layer_types": [words[a.kind] for a in attention]}
    return {}


def kept_layers(kinds: Sequence[Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the first layer of each kind, two at least, and how many layers each stands for.

    >>> kept_layers(["full", "sliding", "sliding", "full"])
    ((0, 1), (2, 2))

    Args:
        kinds: of all layers, in order.
    """
    first: dict[Any, int] = {}
    for i, kind in enumerate(kinds):
        first.setdefault(kind, i)
    if len(first) == 1 and len(kinds) > 1:
        return (0, 1), (1, len(kinds) - 1)
    return tuple(first.values()), tuple(list(kinds).count(kind) for kind in first)


def cut_config(config: Mapping[str, Any], narrow: bool) -> Cut:
    """Return a configuration with one layer of each kind.

    Args:
        config: with "model_type"; the rest is filled in by its class.
        narrow: reduce widths, heads, experts and vocabulary too; False: layers alone.

    Raises:
        ValueError: a configuration that transformers refuses, or one without layers.
    """
    full = completed(config)
    count = full.get("num_hidden_layers")
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"the configuration of {full['model_type']} should say num_hidden_layers >= 1, not {count!r}")
    layers, stands_for = kept_layers(_kinds(full, count))
    changed = {**_fewer(full, count, layers), **(_narrower(full) if narrow else {}), **dict.fromkeys(_TOKENS)}
    reduced = {k: (full.get(k), v) for k, v in changed.items() if k not in _TOKENS and full.get(k) != v}
    named = {k: v for k, v in reduced.items() if not isinstance(v[0], list | dict)}
    return Cut({**full, **changed}, layers, stands_for, named)


def _kinds(config: Mapping[str, Any], count: int) -> list[tuple[Any, ...]]:
    lists = [v for v in config.values() if isinstance(v, list) and len(v) == count]
    dense = config.get("first_k_dense_replace") or 0
    per_layer = config.get("per_layer_config") or {}
    own = [per_layer.get(f"{i:02}", per_layer.get(str(i))) for i in range(count)]
    return [(*(str(each[i]) for each in lists), i < dense, str(own[i])) for i in range(count)]


def _fewer(config: Mapping[str, Any], count: int, layers: Sequence[int]) -> dict[str, Any]:
    said: dict[str, Any] = {
        k: [v[i] for i in layers] for k, v in config.items() if isinstance(v, list) and len(v) == count
    }
    said["num_hidden_layers"] = len(layers)
    if "first_k_dense_replace" in config:
        said["first_k_dense_replace"] = sum(i < (config["first_k_dense_replace"] or 0) for i in layers)
    if per_layer := config.get("per_layer_config"):
        said["per_layer_config"] = {str(n): per_layer[k] for n, i in enumerate(layers) if (k := f"{i:02}") in per_layer}
    return said


def _narrower(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the widths, numbers of heads and of experts that a small model has."""
    said: dict[str, Any] = {k: _divided(config[k], *_WIDTHS[k]) for k in _WIDTHS if config.get(k)}
    said |= _heads(config)
    said |= {k: max(_FEW_EXPERTS, config[k] // 16) for k in _EXPERTS if (config.get(k) or 0) > _FEW_EXPERTS}
    said |= {k: min(config[k], 2) for k in ("num_experts_per_tok", "hc_sinkhorn_iters") if config.get(k)}
    said |= {k: SMALL_VOCABULARY for k in ("vocab_size", "vocab_size_per_layer_input") if config.get(k)}
    if rates := config.get("compress_rates"):
        said["compress_rates"] = {kind: rate if rate < 16 else rate // 16 for kind, rate in rates.items()}
    return said


def _divided(size: int, by: int, multiple: int) -> int:
    return max(1, math.ceil(size / by / multiple)) * multiple


def _heads(config: Mapping[str, Any]) -> dict[str, int]:
    found = {k: config[k] for k in _HEADS if (config.get(k) or 1) > 1}
    by = common_divisor([(size, _HEADS[k]) for k, size in found.items()])
    return {k: size // by for k, size in found.items()}


def common_divisor(sizes: Sequence[tuple[int, int]]) -> int:
    """Return the largest power of two that divides all sizes and leaves each its least.

    >>> common_divisor([(64, 4), (8, 2)])  # query heads, groups
    4

    Args:
        sizes: (size, the least that it may become) pairs.
    """
    powers = (2**i for i in range(12, 0, -1))
    fits = (p for p in powers if all(size % p == 0 and size // p >= least for size, least in sizes))
    return next(fits, 1)


def build_model(config: Mapping[str, Any], experts: str, dtype: torch.dtype) -> nn.Module:
    """Return a model of transformers in evaluation mode, its attention written out where it has no fused form.

    Args:
        config: as its class takes it.
        experts: transformers' word for how experts multiply: "batched_mm", "grouped_mm" or "eager".
        dtype: of its weights.

    Raises:
        ValueError: a configuration that transformers cannot build.
        ModuleNotFoundError: no transformers.
    """
    transformers = _transformers()
    kind = config["model_type"]
    given = {k: v for k, v in config.items() if k != "model_type"}
    last: Exception | None = None
    for options in _implementations(experts):
        try:
            made = transformers.CONFIG_MAPPING[kind](**given)
            return Logits(transformers.AutoModelForCausalLM.from_config(made, dtype=dtype, **options)).eval()
        except Exception as error:
            last = error  # of the plainest way in the end: those before may only lack what they ask for
    raise ValueError(f"transformers cannot build a small model of {kind}: {first_line(last)}") from last


def _implementations(experts: str) -> Iterator[dict[str, str]]:
    """Yield ways to build a model, the best first: some have no fused attention, some no experts."""
    for words in ({"experts_implementation": experts}, {}):
        for attention in ("sdpa", "eager"):
            yield {"attn_implementation": attention, **words}
