"""What a model is: layers of attention kinds and experts, counted into parameters, cache bytes and FLOPs."""

from costlab.arch.attention import (
    CSA,
    CSA2,
    DSA,
    HCA,
    KDA,
    KINDS,
    MLA,
    Attention,
    BlockSparse,
    ChunkedAttention,
    FullAttention,
    GatedDelta,
    KeyedAttention,
    Layout,
    Lightning,
    Mamba2,
    NoAttention,
    Recurrent,
    Relative,
    SharedWindow,
    SlidingWindow,
    extras,
)
from costlab.arch.attention import layout_bytes as layout_bytes
from costlab.arch.counts import FP8_EQUIVALENTS, Flops, KVBytes, Params
from costlab.arch.drafters import DRAFT_KINDS, LOOKUP, Drafter, drafter, eagle3_drafter, model_drafter, mtp_drafter
from costlab.arch.entries import Entries
from costlab.arch.experts import Dense, MoE, NoFeedForward
from costlab.arch.loading import load, models
from costlab.arch.model import Model, build
from costlab.arch.wording import attention_config
from costlab.checks import tokens_array

__all__ = [
    "CSA", "CSA2", "DRAFT_KINDS", "DSA", "FP8_EQUIVALENTS", "HCA", "KDA", "KINDS", "LOOKUP", "MLA", "Attention",
    "BlockSparse",
    "ChunkedAttention", "Dense", "Drafter", "Entries", "Flops", "FullAttention", "GatedDelta", "KVBytes",
    "KeyedAttention", "Layout", "Lightning", "Mamba2", "MoE", "Model", "NoAttention", "NoFeedForward", "Params",
    "Recurrent", "Relative", "SharedWindow", "SlidingWindow", "attention_config", "build", "drafter",
    "eagle3_drafter", "extras", "layout_bytes", "load", "model_drafter", "models", "mtp_drafter", "tokens_array",
]  # fmt: skip
