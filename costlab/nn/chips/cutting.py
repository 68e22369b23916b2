"""Configurations of transformers cut to few layers and narrow ones, what is special about them kept.

One layer of each kind stays, and widths are divided so that their ratios stay. What kind a layer is of is read from the
configuration's lists and from the weights that its class would make, as some classes choose by a layer's number alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from costlab.nn.chips.architectures import EXPERTS, HEADS, WIDTHS, build_model, completed, error_text

_TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id")
#: Lists of numbers of layers.
_NUMBERED = ("moe_layers", "mlp_only_layers")
#: Names and shapes of weights.
Parts = list[tuple[str, tuple[int, ...]]]
#: Tokens in the vocabulary of a small model.
SMALL_VOCABULARY = 512
#: Most routed experts that a small model keeps whatever the ratio.
_FEW_EXPERTS = 8
#: Most numbers that a small model may hold.
MOST_NUMBERS = 100_000_000


@dataclass(frozen=True)
class Cut:
    """A configuration with fewer layers, and narrower if asked."""

    config: Mapping[str, Any]  # as the class in transformers takes it
    layers: tuple[int, ...]  # layers of the original that stay
    stands_for: tuple[int, ...]  # for each of them the layers of the original of its kind
    reduced: Mapping[str, tuple[Any, Any]]  # what was changed: before and after


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
    kind, count = full["model_type"], full.get("num_hidden_layers")
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"the configuration of {kind} should say num_hidden_layers >= 1, not {count!r}")
    try:
        return _cut(full, count, narrow)
    except (TypeError, KeyError, AttributeError, IndexError, ArithmeticError) as error:
        raise ValueError(f"the configuration of {kind} cannot be made smaller: {error_text(error)}") from error


def _cut(full: Mapping[str, Any], count: int, narrow: bool) -> Cut:
    less = {**_narrower(full), **dict.fromkeys(_TOKENS)}
    parts = _parts_of_layers({**full, **less})
    layers, stands_for = kept_layers(_kinds(full, count, parts))
    fewer = _fewer(full, count, layers)
    _check_cut(_parts_of_layers({**full, **less, **fewer}), [parts.get(i) for i in layers], full["model_type"])
    changed = {**fewer, **(less if narrow else {}), **dict.fromkeys(_TOKENS)}
    reduced = {k: (full.get(k), v) for k, v in changed.items() if k not in _TOKENS and full.get(k) != v}
    named = {k: v for k, v in reduced.items() if not isinstance(v[0], list | dict)}
    return Cut({**full, **changed}, layers, stands_for, named)


def _check_cut(found: Mapping[int, Parts], wanted: Sequence[Parts | None], kind: str) -> None:
    """Refuse a cut whose layers are not those that it should keep, or that is not small."""
    if not any(wanted) or sum(i >= 0 for i in found) != len(wanted):
        raise ValueError(f"layers of {kind} cannot be left out: its class makes other layers than num_hidden_layers")
    if [found.get(i) for i in range(len(wanted))] != list(wanted):
        raise ValueError(f"layers of {kind} cannot be left out: those that stay would become others by their number")
    numbers = sum(math.prod(shape) for parts in found.values() for _, shape in parts)
    if numbers > MOST_NUMBERS:
        raise ValueError(f"a small model of {kind} would hold {numbers:,} numbers, more than {MOST_NUMBERS:,}")


def _parts_of_layers(config: Mapping[str, Any]) -> dict[int, Parts]:
    """Return the names and shapes of each layer's weights, and under -1 those of none; nothing takes memory."""
    with torch.device("meta"):
        module = build_model(config, "eager", torch.float32)
    found: dict[int, Parts] = {}
    for name, weight in (*module.named_parameters(), *module.named_buffers()):
        at = layer_number(name)
        short = name.replace(f".{at}.", ".", 1)
        found.setdefault(-1 if at is None else at, []).append((short, tuple(weight.shape)))
    return found


def layer_number(path: str) -> int | None:
    """Return the number of the layer that a module or weight is of, None of one outside of layers.

    >>> layer_number("causal.model.layers.3.mlp"), layer_number("head")
    (3, None)
    """
    found = re.search(r"(?:^|\.)(?:blocks|block|layers|layer|h)\.(\d+)(?:\.|$)", path)
    return int(found[1]) if found else None


def _kinds(config: Mapping[str, Any], count: int, parts: Mapping[int, Parts]) -> list[tuple[Any, ...]]:
    """Return what tells each layer's kind: what lists say of it, and its weights."""
    lists = [v for k, v in config.items() if k not in _NUMBERED and isinstance(v, list) and len(v) == count]
    numbered = [config[k] for k in _NUMBERED if config.get(k)]
    dense = config.get("first_k_dense_replace") or 0
    per_layer = config.get("per_layer_config") or {}
    own = [per_layer.get(f"{i:02}", per_layer.get(str(i))) for i in range(count)]
    said = [(*(str(each[i]) for each in lists), *(i in each for each in numbered)) for i in range(count)]
    return [(*said[i], i < dense, str(own[i]), str(parts.get(i))) for i in range(count)]


def _fewer(config: Mapping[str, Any], count: int, layers: Sequence[int]) -> dict[str, Any]:
    said: dict[str, Any] = {
        k: [v[i] for i in layers] for k, v in config.items() if isinstance(v, list) and len(v) == count
    }
    said |= {k: [n for n, i in enumerate(layers) if i in config[k]] for k in _NUMBERED if config.get(k)}
    said["num_hidden_layers"] = len(layers)
    if "first_k_dense_replace" in config:
        said["first_k_dense_replace"] = sum(i < (config["first_k_dense_replace"] or 0) for i in layers)
    if per_layer := config.get("per_layer_config"):
        own = [per_layer.get(f"{i:02}", per_layer.get(str(i))) for i in layers]
        said["per_layer_config"] = {str(n): each for n, each in enumerate(own) if each is not None}
    return said


def _narrower(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the widths, numbers of heads and of experts that a small model has."""
    said: dict[str, Any] = {k: _divided(config[k], *WIDTHS[k]) for k in WIDTHS if config.get(k)}
    said |= _heads(config)
    if config.get("hidden_size") and not config.get("head_dim"):  # heads divide the model's width
        each = math.lcm(8, 2 * said.get("num_attention_heads", 1))
        said["hidden_size"] = _divided(config["hidden_size"], WIDTHS["hidden_size"][0], each)
    said |= {k: max(_FEW_EXPERTS, config[k] // 16) for k in EXPERTS if (config.get(k) or 0) > _FEW_EXPERTS}
    said |= {k: min(config[k], 2) for k in ("num_experts_per_tok", "hc_sinkhorn_iters") if config.get(k)}
    said |= {k: SMALL_VOCABULARY for k in ("vocab_size", "vocab_size_per_layer_input") if config.get(k)}
    if rates := config.get("compress_rates"):
        said["compress_rates"] = {kind: rate if rate < 16 else rate // 16 for kind, rate in rates.items()}
    return said


def _divided(size: int, by: int, multiple: int) -> int:
    return max(1, math.ceil(size / by / multiple)) * multiple


def _heads(config: Mapping[str, Any]) -> dict[str, int]:
    found = {k: config[k] for k in HEADS if (config.get(k) or 1) > 1}
    by = common_divisor([(size, HEADS[k]) for k, size in found.items()])
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
