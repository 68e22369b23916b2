"""What a model is: layers of attention kinds and experts, counted into parameters, cache bytes and FLOPs."""

from costlab.arch.attention import (
    CSA,
    DSA,
    HCA,
    KINDS,
    MLA,
    Attention,
    FullAttention,
    Layout,
    SharedWindow,
    SlidingWindow,
)
from costlab.arch.attention import layout_bytes as layout_bytes
from costlab.arch.entries import Entries
from costlab.arch.experts import Dense, MoE
from costlab.arch.model import FP8_EQUIVALENTS, Flops, KVBytes, Model, Params, build, load, models
from costlab.checks import tokens_array

__all__ = [
    "CSA", "DSA", "FP8_EQUIVALENTS", "HCA", "KINDS", "MLA", "Attention", "Dense", "Entries", "Flops",
    "FullAttention", "KVBytes", "Layout", "MoE", "Model", "Params", "SharedWindow", "SlidingWindow", "build",
    "layout_bytes", "load", "models", "tokens_array",
]  # fmt: skip
