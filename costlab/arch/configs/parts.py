"""Readers that families share: attention with KV heads, latents, experts, and which layer has which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costlab.arch.configs.blueprint import CACHED, MAX_EXPERTS, KindTable
from costlab.arch.configs.fields import MAX_LAYERS, Fields

#: What files write for kinds of layers, by what is meant.
LAYER_WORDS: Mapping[str, str] = {
    "full_attention": "full",
    "deepseek_sparse_attention": "full",
    "attention": "full",
    "sliding_attention": "sliding",
    "chunked_attention": "chunked",
    "linear_attention": "linear",
    "mamba": "linear",
}


def head_sizes(f: Fields, hidden: int, dim: int | None = None, prefix: str = "") -> dict[str, Any]:
    """Return the sizes of attention with KV heads.

    Args:
        f: fields.
        hidden: the model's width.
        dim: dims of a head where the file doesn't say; None: the width divided by the heads.
        prefix: of the fields' names.
    """
    count = f.size(f"{prefix}num_attention_heads", *(("num_heads", "n_head") if not prefix else ()))
    kv = f.size(f"{prefix}num_key_value_heads", default=count, why="one for each query head")
    if count % kv:
        raise ValueError(f"{f.where}: num_attention_heads = {count} don't divide among num_key_value_heads = {kv}")
    width = f.optional(f"{prefix}head_dim", *(("kv_channels",) if not prefix else ()))
    if width is None:
        if dim is not None and "head_dim" in f.values and dim * count != hidden:
            f.refuse(f"{prefix}head_dim", None, "a whole number, or absent")
        if dim is None and hidden % count:
            raise ValueError(f"{f.where}: hidden_size = {hidden} doesn't divide among num_attention_heads = {count}")
        width = dim or hidden // count
    return {"heads": count, "kv_heads": kv, "qk_dim": width, "v_dim": width, "rope_dim": rotated(f, width)}


def rotated(f: Fields, width: int) -> int:
    """Return the rotated dims of a head."""
    inner = f.values.get("rope_parameters")
    share = f.values.get("partial_rotary_factor")
    if share is None and isinstance(inner, Mapping):
        share = inner.get("partial_rotary_factor")
    dims = f.optional("rotary_dim")
    if dims is not None:
        return min(dims, width)
    fits = isinstance(share, (int, float)) and not isinstance(share, bool) and 0 <= share <= 1
    return int(width * share) // 2 * 2 if fits else width  # type: ignore[operator]


def gqa(sizes: Mapping[str, Any], window: int | None = None, **more: Any) -> KindTable:
    """Return a table of attention with KV heads, over a window if one is given."""
    kind = {"kind": "full"} if window is None else {"kind": "sliding", "window": window}
    entry = ((sizes["qk_dim"], CACHED), (sizes["v_dim"], CACHED))
    return {**kind, **sizes, **{name: value for name, value in more.items() if value}, "entry": entry}


def biases(f: Fields, default: bool = False, output: bool = True) -> dict[str, bool]:
    """Return which projections add a vector, by `attention_bias`; the output's too, where the family has that."""
    bias = f.flag("attention_bias", default=default)
    return {"qkv_bias": bias, "output_bias": bias and output}


def mla(f: Fields, rank: int | None = None) -> dict[str, Any]:
    """Return a table of multi-head latent attention; `num_key_value_heads` and `head_dim` mean nothing there."""
    f.neutral("num_key_value_heads", "head_dim", "qk_head_dim")
    kv, rope = f.size("kv_lora_rank"), f.size("qk_rope_head_dim", least=0)
    q = f.optional("q_lora_rank") or 0
    entry = ((kv, CACHED), (rope, CACHED)) if rope else ((kv, CACHED),)
    return {
        "kind": "mla", "heads": f.size("num_attention_heads"), "rope_dim": rope, "entry": entry,
        "nope_dim": f.size("qk_nope_head_dim"), "v_dim": f.size("v_head_dim"), "q_rank": q, "kv_rank": kv,
    }  # fmt: skip


def indexed(f: Fields, table: Mapping[str, Any], **more: Any) -> KindTable:
    """Return a table of latent attention as sparse attention with an indexer."""
    dim = f.size("index_head_dim")
    return {
        **table, "kind": "dsa", "index_heads": f.size("index_n_heads"), "index_dim": dim,
        "top_k": f.size("index_topk"), "index_key": ((dim, CACHED),), **more,
    }  # fmt: skip


def dense(f: Fields, *names: str) -> KindTable:
    """Return a table of a dense feed-forward layer, its width under the first name that is there."""
    return {"kind": "dense", "inner": f.size(*(names or ("intermediate_size",)))}


#: What files write for the experts' number, and for those that a token visits.
EXPERT_FIELDS = ("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts")
TOP_K_FIELDS = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "experts_per_token",
    "moe_topk",
    "moe_top_k",
    "moe_k",
    "top_k_experts",
)


def moe(
    f: Fields, score: str = "softmax", *, inner: tuple[str, ...] = ("moe_intermediate_size",), bias: bool = False,
    **more: Any,
) -> KindTable:  # fmt: skip
    """Return a table of routed experts.

    Args:
        f: fields.
        score: what makes scores of the gate's logits.
        inner: names of the width inside an expert.
        bias: whether a balancing bias steers the choice.
        more: what else the layer has; nothing where it is 0, None or false.
    """
    experts = f.size(*EXPERT_FIELDS, most=MAX_EXPERTS)
    top_k = f.size(*TOP_K_FIELDS, most=experts)
    routing = {"score": score, **({"bias": True} if bias else {}), **_groups(f, experts, top_k)}
    extra = {name: value for name, value in more.items() if value}
    return {"kind": "moe", "experts": experts, "top_k": top_k, "inner": f.size(*inner), **extra, "routing": routing}


def _groups(f: Fields, experts: int, top_k: int) -> dict[str, Any]:
    groups, kept = f.optional("n_group", "num_expert_group"), f.optional("topk_group")
    scale = f.values.get("routed_scaling_factor")
    found: dict[str, Any] = {}
    if groups and groups > 1:
        kept = kept or 1
        if experts % groups or kept > groups or top_k > experts // groups * kept:
            raise ValueError(f"{f.where}: n_group = {groups} and topk_group = {kept} don't fit {experts} experts")
        found = {"groups": groups, "groups_kept": kept}
    if isinstance(scale, (int, float)) and not isinstance(scale, bool) and 0 < scale < 1e6 and scale != 1:
        found["scale"] = float(scale)
    return found


def shared_experts(f: Fields, *names: str) -> int:
    """Return how many experts every token visits."""
    return f.optional(*(names or ("n_shared_experts", "num_shared_experts")), least=0, most=MAX_EXPERTS) or 0


def dense_first(f: Fields, depth: int, default: int = 0) -> list[bool]:
    """Return which layers have experts: those behind the first dense ones, of which `moe_layer_freq` may take some."""
    words = f.words("mlp_layer_types", among={"dense": "", "sparse": "moe"}, length=depth)
    first = f.size("first_k_dense_replace", default=default, least=0, most=MAX_LAYERS)
    every = f.values.get("moe_layer_freq")
    if words is not None:
        f.neutral("moe_layer_freq")
        return [bool(word) for word in words]
    if isinstance(every, list):
        return [bool(each) for each in f.sizes("moe_layer_freq", most=1, length=depth, longer=True) or ()]
    f.only("moe_layer_freq", 1, why="which layers have experts")
    return [i >= first for i in range(depth)]


def layer_kinds(f: Fields, depth: int, default: list[str]) -> list[str]:
    """Return each layer's kind by `layer_types`, or the family's pattern where the file has none."""
    return f.words("layer_types", among=LAYER_WORDS, length=depth) or default


def every(depth: int, step: int, one: str, others: str) -> list[str]:
    """Return a pattern whose every `step`-th layer is `one`."""
    return [one if (i + 1) % step == 0 else others for i in range(depth)]


def draft_modules(f: Fields, *names: str) -> None:
    """Say that draft modules are left out, whose shape the file does not give."""
    count = f.optional(*names, least=0, most=MAX_LAYERS)
    if count:
        f.assumed.append(f"{count} module(s) for multi-token prediction are left out: the file gives no shape of them")


def state_dtype(f: Fields, *names: str) -> str:
    """Return the storage of a recurrent state."""
    words = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
    return words[f.word(*names, among=words, default="float32")]


def selection_bias(f: Fields) -> bool:
    """Return whether a balancing bias steers the choice of experts."""
    return f.word("topk_method", among=("noaux_tc", "greedy", "group_limited_greedy"), default="noaux_tc") == "noaux_tc"
