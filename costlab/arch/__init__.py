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
from costlab.arch.counts import FP8_EQUIVALENTS, Flops, KVBytes, Params
from costlab.arch.drafters import LOOKUP, Drafter, drafter, eagle3_drafter, model_drafter, mtp_drafter
from costlab.arch.entries import Entries
from costlab.arch.experts import Dense, MoE
from costlab.arch.model import Model, build, load, models
from costlab.checks import tokens_array

__all__ = [
    "CSA", "DSA", "FP8_EQUIVALENTS", "HCA", "KINDS", "LOOKUP", "MLA", "Attention", "Dense", "Drafter", "Entries",
    "Flops", "FullAttention", "KVBytes", "Layout", "MoE", "Model", "Params", "SharedWindow", "SlidingWindow", "build",
    "drafter", "eagle3_drafter", "layout_bytes", "load", "model_drafter", "models", "mtp_drafter", "tokens_array",
]  # fmt: skip
