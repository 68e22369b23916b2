"""What the tests of attention and hybrid share: a layer of transformers called as ours are, and weights for both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask


def plain_angles(rotary: nn.Module, hidden: Tensor, at: Tensor) -> Any:
    """What a layer turns by, where all layers of a model turn alike."""
    return rotary(hidden, position_ids=at)


class Oracle(nn.Module):
    """One transformers attention layer, called as ours are: prompt or token, with or without a cache."""

    def __init__(
        self,
        layer: nn.Module,
        rotary: nn.Module,
        config: Any,
        windowed: bool,
        angles: Callable[[nn.Module, Tensor, Tensor], Any] = plain_angles,
    ) -> None:
        super().__init__()
        self.layer, self.rotary, self.config, self.windowed, self.angles = layer, rotary, config, windowed, angles

    def new_cache(self) -> DynamicCache:
        return DynamicCache(config=self.config)

    def forward(self, hidden: Tensor, cache: DynamicCache | None = None) -> Tensor:
        start = cache.get_seq_length() if cache is not None else 0
        at = torch.arange(start, start + hidden.shape[1], device=hidden.device).expand(len(hidden), -1)
        make = create_sliding_window_causal_mask if self.windowed else create_causal_mask
        mask = make(self.config, hidden, None, cache, at, allow_is_causal_skip=False)
        angles = self.angles(self.rotary, hidden, at)
        read = {"position_embeddings": angles, "position_ids": at, "attention_mask": mask, "past_key_values": cache}
        return self.layer(hidden, **read)[0]


def randomise(layer: nn.Module, seed: int = 0, std: float | None = None) -> nn.Module:
    """Give every parameter random values that keep activations near one; norms near one, biases and sinks too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in layer.parameters():
            scale = std or (weight.shape[-1] ** -0.5 if weight.dim() > 1 else 0.5)
            offset = 0.0 if weight.dim() > 1 else 1.0
            weight.copy_(offset + scale * torch.randn(weight.shape, generator=generator))
    return layer.eval()


def copy_weights(oracle: nn.Module, ours: nn.Module, names: dict[str, str]) -> None:
    """Copy every weight of the oracle by name, and fail on one that is left over on either side."""
    theirs = dict(oracle.named_parameters())
    with torch.no_grad():
        for name, weight in ours.named_parameters():
            weight.copy_(theirs.pop(names[name]).reshape(weight.shape))
    assert not theirs, f"weights of the oracle that ours lack: {sorted(theirs)}"
