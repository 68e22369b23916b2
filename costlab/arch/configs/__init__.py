"""A Hugging Face config.json as a model: whatever it says is understood, or it is refused by name.

>>> from costlab.arch import configs
>>> found = configs.parsed({"model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336,
...     "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8,
...     "num_experts_per_tok": 2, "vocab_size": 32000, "max_position_embeddings": 32768})
>>> found.model.params.total
46702792704

Chapter: attention
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from costlab.arch.configs import source
from costlab.arch.configs.blueprint import Blueprint
from costlab.arch.configs.families import MAKERS, OUTER, READERS
from costlab.arch.configs.fields import Fields
from costlab.arch.configs.source import STDIN, is_file
from costlab.arch.configs.storage import Storage, precisions
from costlab.arch.configs.toml import to_toml
from costlab.arch.model import Model, build
from costlab.catalog import FrozenDict, ModelRecord, Place

__all__ = ["STDIN", "Imported", "imported", "is_file", "parsed", "to_toml"]


@dataclass(frozen=True)
class Imported:
    """A model that a config.json describes."""

    model: Model  # its layers, its record; the key is the path given
    assumed: tuple[str, ...]  # what the file leaves open and what was taken for it, a sentence each
    model_type: str  # family, as the file names it


def imported(path: str | Path) -> Imported:
    """Read a config.json.

    Args:
        path: of the file, of a folder with a file of that name, or "-" for standard input.

    Raises:
        ValueError: what the file lacks, or has that is not understood; field and value are quoted.
    """
    name = str(path)
    return _parsed_text(source.read_text(name), name)


@functools.lru_cache(maxsize=64)
def _parsed_text(text: str, name: str) -> Imported:
    return parsed(source.parse(text, name), name)


def parsed(config: Mapping[str, Any], name: str = "config.json") -> Imported:
    """Return the model that the object of a config.json describes.

    Args:
        config: what JSON gave.
        name: of the file, for messages; it becomes the model's key.

    Raises:
        ValueError: an unknown `model_type`, a field that is missing, out of range, or not understood.
    """
    inner, model_type = _text_part(config, name)
    fields = Fields(inner, name)
    blueprint = READERS[model_type](fields)
    fields.finish(leave=("quantization_config", "compression_config", "expert_dtype", "quantization"))
    stored = precisions(fields, blueprint, config)
    assumed = (*_about_parts(config), *dict.fromkeys(fields.assumed), *stored.assumed)
    record = _record(blueprint, stored, fields, name, model_type)
    try:
        model = build(name, record, Place(name, ("model",), 1))
        _ = model.params
    except ValueError as error:
        raise ValueError(f"{name}: {str(error).partition(': ')[2] or error}") from None
    return Imported(model, assumed, model_type)


#: Objects of other parts than the text's.
_OTHER_PARTS = (
    "vision_config", "audio_config", "vision_tower_config", "speech_config", "image_config", "sound_config",
    "mm_vision_config", "vit_config",
)  # fmt: skip


def _text_part(config: Mapping[str, Any], name: str) -> tuple[Mapping[str, Any], str]:
    """Return the text model's fields, and its family's `model_type`."""
    outer = Fields(config, name)
    given = config.get("model_type")
    if not isinstance(given, str):
        raise ValueError(f"{name}: model_type = {source.quoted(given)} should be a text: it says how to read the rest")
    inner = outer.inner("text_config", "llm_config", "language_config")
    if inner is None:
        text = OUTER.get(given) if given not in READERS else given
        if text is None:
            raise ValueError(_unknown(name, given))
        return config, text
    word = inner.values.get("model_type", OUTER.get(given))
    text = OUTER.get(str(word), str(word))
    if given not in OUTER and given not in READERS:
        raise ValueError(_unknown(name, given))
    if text not in READERS:
        raise ValueError(_unknown(name, text))
    outer.neutral(*_OTHER_PARTS)
    outer.neutral(*(each for each in config if each.startswith(_OTHER_PARTS_FIELDS)))
    outer.finish(leave=(*_OUTER_NEUTRAL, "quantization_config", "tie_word_embeddings"))
    tie = {"tie_word_embeddings": config["tie_word_embeddings"]} if "tie_word_embeddings" in config else {}
    return {**inner.values, **tie}, text


#: How fields of other parts begin, beside those parts.
_OTHER_PARTS_FIELDS = ("vision_", "image_", "img_", "video_", "audio_", "projector_", "mm_", "multimodal_", "vit_")

_OUTER_NEUTRAL = (
    "mm_projector_type", "projector_hidden_act", "vision_feature_layer", "vision_feature_select_strategy",
    "spatial_merge_size", "multimodal_projector_bias", "image_seq_length", "mm_tokens_per_image", "projection_dim",
    "image_token_id", "pixel_shuffle_ratio", "vocab_size", "hidden_size", "understand_projector_stride",
    "projector_bias", "image_token_len", "patch_token_len", "im_start_token", "im_end_token", "im_patch_token",
)  # fmt: skip


def _unknown(name: str, model_type: str) -> str:
    known = ", ".join(sorted({*READERS, *OUTER}))
    return f"{name}: model_type = {source.quoted(model_type)} is not understood; known are {known}"


def _about_parts(config: Mapping[str, Any]) -> list[str]:
    parts = [part for part in _OTHER_PARTS if config.get(part)]
    if parts or any(each in config for each in ("text_config", "llm_config", "language_config")):
        return [f"the text part only: no {' nor '.join(parts) or 'vision tower'}"]
    return []


def _record(blueprint: Blueprint, stored: Storage, f: Fields, name: str, model_type: str) -> ModelRecord:
    context = f.optional("max_position_embeddings", "model_max_length", "max_seq_len", most=2**53) or 131_072
    named = f.values.get("_name_or_path")
    title = named if isinstance(named, str) and named else _title(name)
    table = {
        "name": title, "maker": _maker(model_type),
        "hidden": blueprint.hidden, "vocab": blueprint.vocab, "context": context, "tied": blueprint.tied,
        "source": name, "date": datetime.date.today(), "norms": blueprint.norms, "residual_streams": blueprint.streams,
        "streams_mixed": blueprint.streams_mixed, "streams_joined": blueprint.streams_joined,
        "layers": blueprint.runs(), "attention": blueprint.attention, "ffn": blueprint.ffn, "mtp": blueprint.mtp,
        "weights": stored.weights, "math": stored.math, "lookup": FrozenDict(blueprint.lookup),
    }  # fmt: skip
    try:
        return ModelRecord(**{**table, "attention": _frozen(blueprint.attention), "ffn": _frozen(blueprint.ffn)})
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _maker(model_type: str) -> str:
    return next((maker for begin, maker in MAKERS.items() if model_type.startswith(begin)), "unknown")


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return FrozenDict({key: _frozen(each) for key, each in value.items()})
    return tuple(_frozen(each) for each in value) if isinstance(value, (list, tuple)) else value


def _title(name: str) -> str:
    path = Path(name)
    return (path.parent.name if path.name == "config.json" else path.name.removesuffix(".json")) or "model"
