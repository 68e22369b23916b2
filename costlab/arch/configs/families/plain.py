"""Families of dense layers with keys and values for each KV head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costlab.arch.configs.blueprint import Blueprint, start
from costlab.arch.configs.fields import Fields
from costlab.arch.configs.parts import biases, dense, draft_modules, every, gqa, head_sizes, layer_kinds


def llama(f: Fields) -> Blueprint:
    """Llama, Granite and SmolLM3: no norm of queries and keys, a bias where `attention_bias` says so."""
    f.neutral("no_rope_layers", "no_rope_layer_interval")  # which layers rotate changes no count
    model = start(f, tied=f.values.get("model_type") == "smollm3")
    _no_bias_in_ffn(f)
    _no_window(f)
    bias = biases(f)
    if f.values.get("model_type") == "seed_oss":
        bias = {**biases(f, default=True), "output_bias": f.flag("attention_out_bias")}
    return _even(model, f, None, **bias)


def mistral(f: Fields) -> Blueprint:
    """Mistral, Ministral and Phi-3: a window over all layers where `sliding_window` stands."""
    model_type = f.values.get("model_type")
    model = start(f)
    window = f.optional("sliding_window")
    if model_type in ("mistral", "ministral") and "sliding_window" not in f.values:
        window = 4096
        f.assumed.append("sliding_window is absent: 4096, as in transformers' class")
    sizes = head_sizes(f, model.hidden)
    usual = "full" if window is None else "sliding"
    for kind in layer_kinds(f, model.depth, [usual] * model.depth):
        model.add(gqa(sizes, window_of(f, window, kind)), dense(f))
    return model


def qwen2(f: Fields) -> Blueprint:
    """Qwen2 and MiMo-7B: vectors added to queries, keys and values."""
    f.only("attention_bias", True, why="queries, keys and values have a bias in this family")
    f.only("use_mrope", False, why="rotation by several positions")
    draft_modules(f, "num_nextn_predict_layers")
    return _windowed(start(f), f, qkv_bias=True)


def qwen3(f: Fields) -> Blueprint:
    """Qwen3 and Qwen3-VL's text part: each head of queries and keys is normed."""
    dim = 128 if f.values.get("model_type") in ("qwen3", "qwen3_vl_text") else None
    return _windowed(start(f), f, dim=dim, qk_norm=True, **biases(f))


def olmo(f: Fields) -> Blueprint:
    """OLMo 2 and 3: one norm over all heads of queries, one over all of keys, both behind the projections."""
    model = start(f)
    sizes, bias = head_sizes(f, model.hidden), biases(f)
    usual = ["full"] * model.depth
    window = None
    if f.values.get("model_type") == "olmo3":
        window, usual = f.size("sliding_window", default=4096), every(model.depth, 4, "full", "sliding")
    for kind in layer_kinds(f, model.depth, usual):
        model.add(gqa(sizes, window_of(f, window, kind), qk_norm_whole=True, **bias), dense(f))
    return model


def gemma(f: Fields) -> Blueprint:
    """Gemma 1 to 3: tied head, two norms around each part from 2 on, windows in every second or in five of six."""
    model_type = f.values.get("model_type")
    if model_type == "gemma3_text":  # files of the family leave out what its class has
        usual = {"vocab_size": 262_208, "num_attention_heads": 8, "num_key_value_heads": 4}
        absent = {name: value for name, value in usual.items() if name not in f.values}
        f.values = {**f.values, **absent}
        f.assumed += [f"{name} is absent: {value}, as in transformers' class" for name, value in absent.items()]
    model = start(f, tied=True, norms=1 if model_type == "gemma" else 2)
    f.neutral("use_bidirectional_attention")
    sizes, bias = head_sizes(f, model.hidden, dim=256), biases(f)
    if model_type == "gemma":
        return _even(model, f, sizes=sizes, **bias)
    step = f.size("sliding_window_pattern", "_sliding_window_pattern", default=2 if model_type == "gemma2" else 6)
    window = f.size("sliding_window", default=4096, why="as in transformers' class")
    for kind in layer_kinds(f, model.depth, every(model.depth, step, "full", "sliding")):
        model.add(gqa(sizes, window_of(f, window, kind), qk_norm=model_type != "gemma2", **bias), dense(f))
    return model


def glm4(f: Fields) -> Blueprint:
    """GLM-4: a bias in queries, keys and values, in the 0414 release two norms around each part."""
    model = start(f, norms=2 if f.values.get("model_type") == "glm4" else 1)
    sizes = head_sizes(f, model.hidden, dim=128)
    default = f.values.get("model_type") == "glm4"
    bias = biases(f, default=default, output=False)
    return _even(model, f, sizes=sizes, **bias)


def ernie(f: Fields) -> Blueprint:
    """ERNIE 4.5 without experts: tied head."""
    f.only("use_bias", False, why="vectors added in all matrices")
    model = start(f, tied=True)
    return _even(model, f, sizes=head_sizes(f, model.hidden, dim=128))


def hunyuan(f: Fields) -> Blueprint:
    """HunYuan without experts: queries and keys normed by head."""
    model = start(f)
    return _even(model, f, None, qk_norm=True, **biases(f))


def exaone(f: Fields) -> Blueprint:
    """EXAONE 4: norms behind each part only, queries and keys normed by head, windows in three of four layers."""
    model = start(f)
    sizes, window = head_sizes(f, model.hidden), f.optional("sliding_window")
    if "sliding_window" not in f.values:
        window = 4096
    pattern = f.values.get("sliding_window_pattern", 4)
    f.neutral("sliding_window_pattern")
    usual = ["full"] * model.depth
    if window is not None and f.values.get("layer_types") is None:
        if type(pattern) is not int or pattern < 1:
            f.refuse("sliding_window_pattern", pattern, "a whole number of layers, or give layer_types")
        usual = every(model.depth, pattern, "full", "sliding")
        usual[-1] = "full"
    for kind in layer_kinds(f, model.depth, usual):
        model.add(gqa(sizes, window_of(f, window, kind), qk_norm=True), dense(f))
    return model


def _even(model: Blueprint, f: Fields, sizes: Mapping[str, int] | None = None, **more: Any) -> Blueprint:
    """Return a model whose layers are all alike."""
    table = gqa(sizes or head_sizes(f, model.hidden), **more)
    f.only("layer_types", ["full_attention"] * model.depth, why="all layers of this family see all tokens")
    for _ in range(model.depth):
        model.add(table, dense(f))
    return model


def _windowed(model: Blueprint, f: Fields, dim: int | None = None, **more: bool) -> Blueprint:
    """Return a model whose layers from `max_window_layers` on have a window, if `use_sliding_window` says so."""
    sizes = head_sizes(f, model.hidden, dim)
    for kind in qwen_kinds(f, model.depth):
        model.add(gqa(sizes, window_of(f, f.optional("sliding_window", least=0), kind), **more), dense(f))
    return model


def qwen_kinds(f: Fields, depth: int) -> list[str]:
    """Return each layer's kind in Qwen's words: `sliding_window` counts only with `use_sliding_window`."""
    first = f.size("max_window_layers", default=28, least=0)
    used = f.flag("use_sliding_window")
    window = f.optional("sliding_window", least=0)
    if used and window is None and "sliding_window" not in f.values:
        raise ValueError(f"{f.where}: sliding_window is missing, and use_sliding_window = true")
    usual = ["sliding" if used and window and i >= first else "full" for i in range(depth)]
    return layer_kinds(f, depth, usual)


def window_of(f: Fields, window: int | None, kind: str) -> int | None:
    """Return a layer's window by its kind, None for full attention.

    Raises:
        ValueError: another kind, or a window that the file does not give.
    """
    if kind == "full":
        return None
    if kind != "sliding":
        raise ValueError(f"{f.where}: layer_types has a layer of kind {kind!r}, which this family has not")
    if not window:
        raise ValueError(f"{f.where}: sliding_window is missing, and layer_types has windows")
    return window


def _no_bias_in_ffn(f: Fields) -> None:
    f.only("mlp_bias", False, why="vectors added in the feed-forward layers")


def _no_window(f: Fields) -> None:
    f.only("use_sliding_window", False, why="windows in some layers")
    f.neutral("sliding_window", "max_window_layers")
