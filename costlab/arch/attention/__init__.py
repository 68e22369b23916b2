"""Attention kinds: each says what it stores per token, what a query reads, and which matrices it owns.

Adding a kind means adding one class with a few short methods; every count of bytes and FLOPs follows from them.
A multiply-add counts as two FLOPs. Softmax, norms, rotary embedding and gating are not counted: they are linear
in the width and below 1% of the matrix work.

Chapter: attention
"""

from collections.abc import Mapping

from costlab.arch.attention.base import Attention, KeyedAttention, Layout, NoAttention, Phase, extras, layout_bytes
from costlab.arch.attention.compressed import CSA, CSA2, HCA, SharedWindow
from costlab.arch.attention.full import BlockSparse, ChunkedAttention, FullAttention, SlidingWindow
from costlab.arch.attention.latent import DSA, MLA
from costlab.arch.attention.recurrent import KDA, GatedDelta, Lightning, Mamba2, Recurrent
from costlab.arch.attention.relative import Relative

#: Attention classes by the catalog's `kind`.
KINDS: Mapping[str, type[Attention]] = {
    cls.kind: cls
    for cls in (
        FullAttention, SlidingWindow, ChunkedAttention, BlockSparse, MLA, DSA, SharedWindow, CSA, HCA, CSA2,
        GatedDelta, KDA, Mamba2, Lightning, NoAttention,
    )
}  # fmt: skip

__all__ = [
    "CSA", "CSA2", "DSA", "HCA", "KDA", "KINDS", "MLA", "Attention", "BlockSparse", "ChunkedAttention",
    "FullAttention", "GatedDelta", "KeyedAttention", "Layout", "Lightning", "Mamba2", "NoAttention", "Phase",
    "Recurrent", "Relative", "SharedWindow", "SlidingWindow", "extras", "layout_bytes",
]  # fmt: skip
