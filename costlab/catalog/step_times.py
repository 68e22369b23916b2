"""What step_times.toml holds: step times that others fitted to measurements of their engines."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from datetime import date


@dataclass(frozen=True)
class PrefillFit:
    """Milliseconds of a step that reads whole prompts."""

    constant_ms: float  # of each step
    token_ms: float  # per token of all prompts
    square_ms: float  # per token squared, of each prompt

    def __post_init__(self) -> None:
        _at_least_zero(self)


@dataclass(frozen=True)
class DecodeFit:
    """Milliseconds of a step that decodes."""

    constant_ms: float  # of each step
    context_ms: float  # per token of context of all sequences, their new tokens included
    sequence_ms: float  # per sequence

    def __post_init__(self) -> None:
        _at_least_zero(self)


@dataclass(frozen=True)
class FittedSteps:
    """Step times of an engine, as a published simulator has them."""

    engine: str  # whose steps were measured
    model: str  # as the source writes it
    chip: str  # key of the chip
    tensor_parallel: int  # chips that share each layer
    prefill: PrefillFit  # of prompts
    decode: DecodeFit  # of fewer sequences than `large_from`
    decode_large: DecodeFit  # of at least as many
    large_from: int  # sequences
    source: str  # where they stand
    date: date  # day of publication
    kv_tokens: int | None = None  # tokens of KV cache of an engine; None where not named
    pipeline_ms: float = 0.0  # that the source adds to each prefill
    dispatch_ms: float = 0.0  # that the source adds to each step
    dispatch_token_ms: float = 0.0  # the same per token of context
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        for name in ("tensor_parallel", "large_from"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} should be at least 1")
        for name in ("pipeline_ms", "dispatch_ms", "dispatch_token_ms"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} should be at least 0 and finite")


def _at_least_zero(record: PrefillFit | DecodeFit) -> None:
    for each in fields(record):
        if not 0 <= getattr(record, each.name) < math.inf:
            raise ValueError(f"{each.name} = {getattr(record, each.name)} should be at least 0 and finite")
