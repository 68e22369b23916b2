"""The shipped weights in transformers 5.23: plain, assisted, prompt lookup and MTP write the same tokens at batch 1.

Its Llama runs the models. Its MTP decoder (`modeling_layers.MtpModel`, written for DeepSeek-V3's class) takes the layer
class of the model that it is given, so it runs our modules with Llama's layers; it hands them the normed residual where
ours read it before the norm, so its drafts are worse than ours, and its text is the same.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from effort import examples
from speculative.llama_peer import llama
from torch import nn
from transformers import LlamaForCausalLM
from transformers.modeling_layers import MtpModel

from costlab.nn.speculative import MTP, ByteModel, as_llama, held_out_text, load_family
from costlab.nn.speculative.decoding import generate_texts
from costlab.nn.speculative.drafts import ModelDraft, MTPDraft
from costlab.nn.speculative.lookups import LookupDraft
from costlab.nn.speculative.runners import ByteRunner

TOKENS = 60
PROMPTS = [held_out_text(kind)[start : start + 64] for kind in ("code", "prose") for start in (100, 2000)]


def their_modules(target: LlamaForCausalLM, ours: MTP) -> MtpModel:
    """transformers' MTP model with our modules' weights."""
    theirs = MtpModel(target, len(ours.ahead)).double().eval()
    for layer, module in zip(theirs.layers, ours.ahead, strict=True):
        copied: dict[str, nn.Module] = {"enorm": module.token_norm, "hnorm": module.hidden_norm}
        copied |= {"eh_proj": module.project, "post_norm": module.norm}
        for name, own in copied.items():
            getattr(layer, name).load_state_dict(own.state_dict())
        block = ByteModel(module.size).double()
        block.blocks[0].load_state_dict(module.block.state_dict())
        state = as_llama(block)[1]
        prefix = "model.layers.0."
        layer.mtp_block.load_state_dict(
            {name.removeprefix(prefix): weight for name, weight in state.items() if name.startswith(prefix)}
        )
    return theirs


@pytest.fixture(scope="module")
def models():
    family = load_family()
    for module in (family.target, family.draft, family.mtp):
        module.double()
    target = llama(family.target, num_mtp_layers=3, mtp_hidden_states_first=True)
    return family, target.double(), llama(family.draft).double()


@torch.inference_mode()
def theirs(target: LlamaForCausalLM, prompt: bytes, **options: Any) -> tuple[int, ...]:
    written = target.generate(torch.tensor([list(prompt)]), max_new_tokens=TOKENS, do_sample=False, **options)
    return tuple(written[0, len(prompt) :].tolist())


@pytest.mark.parametrize("prompt", PROMPTS[: examples(4) // 2], ids=lambda prompt: repr(prompt[:8]))
def test_transformers_writes_the_same(models, prompt, monkeypatch):
    family, target, draft = models
    (plain,) = generate_texts(family.target, [prompt], tokens=TOKENS)
    assert theirs(target, prompt) == plain.tokens

    draft.generation_config.update(num_assistant_tokens=3, num_assistant_tokens_schedule="constant")
    assisted = generate_texts(family.target, [prompt], ModelDraft(ByteRunner(family.draft), 3), tokens=TOKENS)
    assert theirs(target, prompt, assistant_model=draft) == assisted[0].tokens == plain.tokens

    copied = generate_texts(family.target, [prompt], LookupDraft(5), tokens=TOKENS)
    assert theirs(target, prompt, prompt_lookup_num_tokens=5) == copied[0].tokens == plain.tokens

    calls = []
    monkeypatch.setattr(
        MtpModel, "from_pretrained", lambda main, **how: calls.append(1) or their_modules(main, family.mtp)
    )
    ahead = generate_texts(family.target, [prompt], MTPDraft(family.mtp), tokens=TOKENS)
    assert theirs(target, prompt, use_mtp=True) == ahead[0].tokens == plain.tokens
    assert calls
