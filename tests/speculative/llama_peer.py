"""transformers' Llama with the weights of a byte model: an oracle, and a peer to be timed beside."""

from __future__ import annotations

from typing import Any

from transformers import LlamaConfig, LlamaForCausalLM

from costlab.nn.speculative import ByteModel, as_llama


def llama(model: ByteModel, **options: Any) -> LlamaForCausalLM:
    """transformers' Llama with a byte model's weights."""
    dimensions, weights = as_llama(model)
    dimensions["rope_parameters"] = {"rope_type": "default", "rope_theta": dimensions.pop("rope_theta")}
    none = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    theirs = LlamaForCausalLM(LlamaConfig(**dimensions, **none, **options)).eval()
    theirs.load_state_dict(weights)
    return theirs
