"""Models of transformers: their configurations, read, completed by their classes, or written from the catalog.

transformers is imported when a model is asked for, and only then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
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
WIDTHS: Mapping[str, tuple[int, int]] = {
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
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 1, "num_global_key_value_heads": 1, "o_groups": 2}
EXPERTS = ("n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts")
_COUNTS = (
    "num_hidden_layers", "vocab_size", "vocab_size_per_layer_input", "num_experts_per_tok", "first_k_dense_replace",
    "hc_sinkhorn_iters", "max_position_embeddings",
)  # fmt: skip
#: What a config.json says that is no argument of a configuration's class.
_NO_ARGUMENTS = ("model_type", "quantization_config", "auto_map", "transformers_version")
#: Layers of V4 by the attention kind of the catalog.
_V4_LAYERS = {"shared-window": "sliding_attention", "csa": "compressed_sparse_attention"}
_V4_LAYERS["hca"] = "heavily_compressed_attention"

#: Most layers and experts of a configuration, since each of them is looked at; most of every other size.
MOST_LAYERS, MOST_EXPERTS, MOST_SIZE = 400, 10_000, 2**31


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
    config = text_part(found) if isinstance(found, dict) else {}
    if not isinstance(config.get("model_type"), str):
        raise ValueError(f'{path} should name its architecture as "model_type", as a config.json does')
    return config


def text_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration's part for text, where it has several parts, else the configuration."""
    found = config.get("text_config")
    return dict(found if isinstance(found, Mapping) else config)


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with everything that its class in transformers fills in.

    Args:
        config: as in a config.json, with "model_type".

    Raises:
        ValueError: an architecture that transformers does not know, a configuration that it refuses.
        ModuleNotFoundError: no transformers.
    """
    kind = _kind(config)
    made_by = _transformers().CONFIG_MAPPING[kind]
    names = {own: word for word, own in (getattr(made_by, "attribute_map", None) or {}).items()}
    given = {names.get(k, k): v for k, v in config.items() if k not in _NO_ARGUMENTS}
    _check_sizes(given, kind)
    try:
        made = made_by(**given)
    except Exception as error:
        raise ValueError(f"transformers refuses the configuration of {kind}: {error_text(error)}") from error
    found: dict[str, Any] = {names.get(name, name): value for name, value in made.to_dict().items()}
    found.setdefault("num_hidden_layers", getattr(made, "num_hidden_layers", None))
    _check_sizes(found, kind)
    return {name: value for name, value in found.items() if name not in ("transformers_version", "dtype")}


def _check_sizes(config: Mapping[str, Any], kind: str) -> None:
    """Refuse sizes that are no whole numbers, and more layers or experts than are looked at."""
    most = {"num_hidden_layers": MOST_LAYERS, **dict.fromkeys(EXPERTS, MOST_EXPERTS)}
    for name in (*WIDTHS, *HEADS, *EXPERTS, *_COUNTS):
        size = config.get(name)
        if size is None:
            continue
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise ValueError(f"{name} of {kind} should be a whole number of at least 0, not {repr(size)[:60]}")
        if size > most.get(name, MOST_SIZE):
            raise ValueError(f"{name} = {size} of {kind} should be at most {most.get(name, MOST_SIZE)}")


def error_text(error: Exception | None) -> str:
    """Return an error's first line, with its kind where that alone tells what it is about."""
    is_bare = isinstance(error, KeyError | AttributeError | ZeroDivisionError | IndexError)
    return f"{type(error).__name__}: {first_line(error)}" if is_bare else first_line(error)


def _kind(config: Mapping[str, Any]) -> str:
    """Return the model_type that transformers knows: the configuration's, or that of its class of models."""
    from_transformers = _transformers()
    kind, classes = config.get("model_type"), from_transformers.CONFIG_MAPPING
    if isinstance(kind, str) and kind in classes:
        return kind
    causal = from_transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    written = config.get("architectures")
    same = [each for each, name in causal.items() if isinstance(written, list) and name in written[:1]]
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
    said |= {
        k: v
        for k, v in _feed_forward([f for _, f in model.layers if not isinstance(f, arch.NoFeedForward)], kind).items()
        if k in blank
    }
    return {"model_type": kind, **said, **_schedule(attention, blank)}


def _attention(dims: arch.Attention) -> dict[str, Any]:
    """Return what the layers of one kind say in a configuration."""
    said: dict[str, Any] = {"num_attention_heads": dims.heads}
    if isinstance(dims, arch.KeyedAttention):
        said["qk_rope_head_dim"] = dims.rope_dim
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
        said |= dict.fromkeys(EXPERTS, dims.experts)
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
    raise ValueError(f"transformers cannot build a small model of {kind}: {error_text(last)}") from last


def _implementations(experts: str) -> Iterator[dict[str, str]]:
    """Yield ways to build a model, the best first: some have no fused attention, some no experts."""
    for words in ({"experts_implementation": experts}, {}):
        for attention in ("sdpa", "eager"):
            yield {"attn_implementation": attention, **words}
