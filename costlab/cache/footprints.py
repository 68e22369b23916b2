"""Two pools for models with sliding windows: full pages for every token, window pages only at boundaries.

A full-attention layer needs every earlier token, a window layer only the last W. So a prefix can be continued from any
point whose full pages are there and whose last W tokens the window layers still have. Keeping such windows at few
boundaries (the end of each prompt, a checkpoint every so many tokens) keeps most hits at a fraction of the bytes.

>>> from costlab import cache
>>> mimo = cache.footprint("mimo-v2.5-pro")
>>> mimo.full_bytes_per_token, mimo.all_bytes_per_token, mimo.window_tokens
(51200.0, 358400.0, 128)
>>> round(mimo.multiplier(0), 2), round(mimo.multiplier(1 / 15), 2), round(mimo.multiplier(0.8), 2)
(7.0, 5.0, 1.21)

Chapter: tiers
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from costlab import arch
from costlab.arch import Attention
from costlab.checks import count, whole


@dataclass(frozen=True)
class LayerBytes:
    """What one layer caches."""

    full: float  # bytes per token of what stays for every token
    window_bytes: float = 0.0  # bytes per token of what its window keeps
    window: int = 0  # tokens of its window; 0 without one
    state_bytes: float = 0.0  # bytes of its recurrent state at one position; 0 without one


@dataclass(frozen=True)
class Footprint:
    """What a model's layers cache."""

    layers: tuple[LayerBytes, ...]  # of each layer, in order

    @property
    def full_bytes_per_token(self) -> float:
        """Bytes per token of the full pool, over all layers."""
        return sum(layer.full for layer in self.layers)

    @property
    def window_bytes(self) -> float:
        """Bytes of one window page: the last tokens of every window layer."""
        return sum(layer.window_bytes * layer.window for layer in self.layers)

    @property
    def state_bytes(self) -> float:
        """Bytes of one kept state: that of every recurrent layer at one position; 0 without such layers."""
        return sum(layer.state_bytes for layer in self.layers)

    @property
    def state_tokens(self) -> float:
        """Tokens whose full pages take as many bytes as one kept state; 0 without one, infinity where nothing grows."""
        if not self.state_bytes:
            return 0.0
        return self.state_bytes / self.full_bytes_per_token if self.full_bytes_per_token else math.inf

    @property
    def window_tokens(self) -> int:
        """Tokens behind a boundary that must survive: the widest window; 0 without window layers."""
        return max((layer.window for layer in self.layers), default=0)

    @property
    def all_bytes_per_token(self) -> float:
        """Bytes per token if window layers kept every token too."""
        return sum(layer.full + layer.window_bytes for layer in self.layers)

    def bytes_per_token(self, ratio: float) -> float:
        """Return bytes per cached token when window layers keep `ratio` tokens per cached token.

        Raises:
            ValueError: a negative ratio.
        """
        if not ratio >= 0:
            raise ValueError(f"window tokens kept per cached token should be at least 0, got {ratio}")
        if not self.window_tokens:
            return self.full_bytes_per_token
        return self.full_bytes_per_token + ratio * self.window_bytes / self.window_tokens

    def multiplier(self, ratio: float) -> float:
        """Return how many times more tokens fit than if window layers kept every token.

        With f full and w window layers of equal bytes this is (f + w) / (f + w r): for MiMo-V2.5-Pro 70 / (10 + 60 r).

        Args:
            ratio: tokens that window layers keep per cached token.

        Raises:
            ValueError: a negative ratio.
        """
        return self.all_bytes_per_token / self.bytes_per_token(ratio)

    def spacing(self, times: float) -> float:
        """Return how many cached tokens share one kept window when `times` as many tokens fit: `multiplier` inverted.

        Args:
            times: above 0 and below the limit, which needs no window at all.

        Raises:
            ValueError: a multiple out of reach, or a model without windows.
        """
        spare = self.all_bytes_per_token / times - self.full_bytes_per_token if times > 0 else 0.0
        if not self.window_tokens or spare <= 0:
            raise ValueError(f"times = {times} should be above 0 and below {self.multiplier(0):g}, with window layers")
        return self.window_bytes / spare

    def everything(self) -> Footprint:
        """Return the footprint of a cache that knows no windows: every layer keeps every token."""
        return Footprint(
            tuple(LayerBytes(layer.full + layer.window_bytes, state_bytes=layer.state_bytes) for layer in self.layers)
        )

    def split(self, capacity_bytes: float, page_tokens: int, ratio: float) -> tuple[float, float]:
        """Return (full pages, window pages) that fit into a tier.

        Args:
            capacity_bytes: of the tier; infinity is unlimited.
            page_tokens: tokens of a full page.
            ratio: window tokens per token of full pages (SGLang's swa_full_tokens_ratio).

        Raises:
            ValueError: a negative ratio or capacity, or a page below 1 token.
        """
        if not capacity_bytes >= 0:
            raise ValueError(f"capacity_bytes = {capacity_bytes} should be at least 0")
        per_page = count(page_tokens, "page_tokens") * self.bytes_per_token(ratio)
        if math.isinf(capacity_bytes) or per_page == 0:
            return math.inf, math.inf if self.window_tokens else 0
        pages = math.floor(capacity_bytes / per_page + 1e-9)
        if not self.window_tokens:
            return pages, 0
        left = capacity_bytes - pages * page_tokens * self.full_bytes_per_token
        wanted = math.ceil(ratio * pages * page_tokens / self.window_tokens)
        return pages, min(wanted, math.floor(left / self.window_bytes + 1e-9))

    def states_in(self, capacity_bytes: float) -> float:
        """Return how many kept states fit into so many bytes; infinity is unlimited.

        Raises:
            ValueError: a model without recurrent layers.
        """
        if not self.state_bytes:
            raise ValueError("a model without recurrent layers has no state to keep")
        return math.inf if math.isinf(capacity_bytes) else math.floor(capacity_bytes / self.state_bytes + 1e-9)


@functools.cache
def footprint(model: str) -> Footprint:
    """Return what each layer of a catalogued model caches: its growing part, its window, its recurrent state.

    Compressed entries and index keys count as full (they grow with the context); open blocks' state is not cached.

    Args:
        model: key in the catalog, e.g. "mimo-v2.5-pro".

    Raises:
        ValueError: an unknown model.
    """
    return Footprint(tuple(_layer_bytes(attention) for attention, _ in arch.load(model).layers))


def _layer_bytes(attention: Attention) -> LayerBytes:
    full = window_bytes = state_bytes = 0.0
    window = 0
    for store in attention.stores():
        if store.part in ("main", "index"):
            full += store.bytes_per_entry / store.entries.stride
        elif store.part == "window":
            window_bytes += store.bytes_per_entry
            window = max(window, store.entries.cap or 0)
        elif store.part == "recurrent":
            state_bytes += store.bytes_per_entry * (store.entries.cap or 1)
    return LayerBytes(full, window_bytes, window, state_bytes)


def boundaries(tokens: int, page_tokens: int, checkpoint_tokens: int | None = None) -> tuple[int, ...]:
    """Return after which pages of a prompt a window is kept: its last whole page, and every checkpoint.

    A partial last page is no boundary: the next prompt that continues this one has another page there.

    Args:
        tokens: length of the prompt.
        page_tokens: tokens of a page.
        checkpoint_tokens: distance of checkpoints, rounded up to whole pages; None for none.

    Raises:
        ValueError: a page or checkpoint distance below 1.
    """
    tokens, page_tokens = whole(tokens, "tokens"), count(page_tokens, "page_tokens")
    if tokens < 0:
        raise ValueError(f"tokens = {tokens} should be at least 0")
    pages = tokens // page_tokens
    if checkpoint_tokens is None:
        return (pages,) if pages else ()
    step = math.ceil(count(checkpoint_tokens, "checkpoint_tokens") / page_tokens)
    marks = range(step, pages + 1, step)
    return (*marks, pages) if pages % step else tuple(marks)


def measured_multiplier(
    footprint: Footprint, pages: int, page_tokens: int, window_pages: int, states: int = 0
) -> float:
    """Return the capacity multiplier of so many full and window pages over keeping every token in every layer.

    Recurrent layers keep no tokens, only so many states: these count as bytes, and bring the multiplier down.
    """
    kept = pages * page_tokens * footprint.full_bytes_per_token + window_pages * footprint.window_bytes
    kept += states * footprint.state_bytes
    return pages * page_tokens * footprint.all_bytes_per_token / kept if kept else math.nan


__all__ = ["Footprint", "LayerBytes", "boundaries", "footprint", "measured_multiplier"]
