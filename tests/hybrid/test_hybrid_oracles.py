"""Against transformers 5.23.0's mimo_v2_flash with the same weights, to 1e-5: attention, layers, whole models.

What a window counts. Ours is the number of keys a query reads, its own token's included, as transformers'
`sliding_window`. The checkpoint's `sliding_window_size = 128` is SGLang's: 128 earlier tokens and the query's own.
transformers turns it into 129. Either way a cache holds 128 tokens between two steps.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch
from attention import dims as d
from effort import some
from hybrid import mimo
from transformers import DynamicCache
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

from costlab import arch
from costlab.nn.decoder import Block, in_pieces

TOLERANCE = 1e-5


def agree(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert theirs.abs().mean() > 0.05, "outputs near zero would agree with anything"
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)


# --- attention -------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("kind", ["full", "sliding"])
def test_attention_is_mimo(kind):
    oracle, ours = mimo.attention_pair(kind)
    hidden = d.hidden_states(40)
    agree(ours(hidden), oracle(hidden))
    agree(d.decoded(ours, hidden), d.decoded(oracle, hidden))
    agree(d.in_pieces(ours, hidden, [7, 13, 1, 19]), oracle(hidden))


@torch.no_grad()
@pytest.mark.parametrize("window", [1, 2, 5, 6, 39, 40, 64])
def test_any_window_counts_alike(window):
    """The same number means the same keys here and there: `window` of them, the query's own included."""
    oracle, ours = mimo.attention_pair("sliding", window, window)
    hidden = d.hidden_states(40)
    agree(ours(hidden), oracle(hidden))
    agree(d.decoded(ours, hidden), oracle(hidden))


@torch.no_grad()
def test_one_key_more_is_another_layer():
    """So the two conventions can be told apart: 128 and 129 are not the same to 1e-5."""
    hidden = d.hidden_states(200, batch=1)
    for theirs, ours, same in ((128, 128, True), (129, 129, True), (129, 128, False), (128, 129, False)):
        oracle, layer = mimo.attention_pair("sliding", theirs, ours)
        gap = (layer(hidden) - oracle(hidden)).abs()
        assert gap[:, :128].max() < TOLERANCE  # before the window is full there is nothing to differ in
        assert (gap.max().item() < TOLERANCE) == same


def test_the_checkpoints_128_becomes_129_keys():
    """transformers: `sliding_window_size` previous tokens and the query's own; between steps it keeps 128."""
    config = mimo.hf.MiMoV2FlashConfig(sliding_window_size=128)
    assert config.sliding_window == 129
    published = arch.load("mimo-v2-flash").layers[1][0]
    assert isinstance(published, arch.SlidingWindow)
    assert published.window == 128
    oracle, _ = mimo.attention_pair("sliding", theirs=129)
    cache = oracle.new_cache()
    oracle(d.hidden_states(200, batch=1), cache)
    assert cache.layers[0].keys.shape[-2] == published.window


@torch.no_grad()
def test_the_difference_is_small():
    """129 instead of 128 keys: 0.8% more reads, and outputs that differ by a few per cent of their size."""
    oracle, ours = mimo.attention_pair("sliding", 129, 128)
    hidden = d.hidden_states(400, batch=1)
    theirs = oracle(hidden)[:, 129:]
    gap = (ours(hidden)[:, 129:] - theirs).square().mean().sqrt() / theirs.square().mean().sqrt()
    assert 1e-3 < gap < 0.1


@torch.no_grad()
def test_sinks_value_scale_and_partial_rotary_matter():
    """The oracle's agreement rests on each of them: without one it is gone."""
    oracle, _ = mimo.attention_pair("sliding")
    hidden = d.hidden_states(40)
    expected = oracle(hidden)
    for change in ("sink", "value_scale", "rope"):
        _, broken = mimo.attention_pair("sliding")
        if change == "sink":
            broken.sink.fill_(-1e9)
        elif change == "value_scale":
            broken.value_scale = 1.0
        else:
            broken.dims = dataclasses.replace(broken.dims, rope_dim=24)
        assert (broken(hidden) - expected).abs().max() > 100 * TOLERANCE, change


# --- layers and models -----------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("number", [0, 1, 5], ids=["full, dense", "sliding, experts", "full, experts"])
def test_layer_is_mimo(number):
    """Norms, residuals and experts around the attention; V2-Flash's layers 0, 1 and 5."""
    model = mimo.small("mimo-v2-flash", window=6)
    oracle, ours = mimo.pair(mimo.of_layers(model, slice(0, 6)))
    hidden = d.hidden_states(40, hidden=model.record.hidden).double()
    block, theirs = ours.stack.blocks[number], oracle.model.layers[number]
    assert isinstance(block, Block)
    kind = oracle.config.layer_types[number]
    at = torch.arange(40).expand(2, -1)
    make = create_sliding_window_causal_mask if "sliding" in kind else create_causal_mask
    mask = make(oracle.config, hidden, None, None, at, allow_is_causal_skip=False)
    angles = oracle.model.rotary_emb(hidden, at, kind)
    agree(block(hidden), theirs(hidden, attention_mask=mask, position_embeddings=angles))


@torch.no_grad()
@pytest.mark.parametrize("model", some(["mimo-v2-flash", "mimo-v2.5"], 2))
def test_whole_stack_is_mimo(model):
    """All 48 layers in the catalog's order: prompt, chunks and token by token, each side through its own cache."""
    toy = mimo.small(model)
    oracle, ours = mimo.pair(toy)
    tokens = mimo.some_tokens(toy, 30, batch=1)  # its window is 16
    expected = oracle(tokens).logits
    agree(ours(tokens), expected)
    agree(in_pieces(ours, tokens, [17, 1, 12]), expected)
    steps = [24, *[1] * 6]
    agree(in_pieces(ours, tokens, steps), mimo.oracle_in_pieces(oracle, tokens, steps))


@torch.no_grad()
def test_published_configuration_runs_as_ours_with_one_key_more():
    """A checkpoint's `sliding_window_size = 16` is our window of 17."""
    toy = mimo.of_layers(mimo.small("mimo-v2-flash", window=17), slice(0, 8))
    oracle, ours = mimo.pair(toy, sliding_window_size=16)
    assert oracle.config.sliding_window == 17
    tokens = mimo.some_tokens(toy, 60)
    agree(ours(tokens), oracle(tokens).logits)


def test_the_oracles_own_order_is_the_catalogs():
    """transformers' default: full attention first and in every sixth place; the catalog's list, read off the paper."""
    types = mimo.hf.MiMoV2FlashConfig().layer_types
    assert types == [mimo.NAMES[a.kind] for a, _ in arch.load("mimo-v2-flash").layers]
    running = arch.load("mimo-v2-flash").record.running
    default = mimo.hf.MiMoV2FlashConfig()
    for kind, theta in running.rope_theta.items():
        assert default.rope_parameters[mimo.NAMES[kind]]["rope_theta"] == theta
    assert (default.attention_value_scale, default.rms_norm_eps) == (running.value_scale, running.norm_eps)
    width = int(default.head_dim * default.rope_parameters["full_attention"]["partial_rotary_factor"])
    assert {a.rope_dim for a, _ in arch.load("mimo-v2-flash").layers} == {width}


@torch.no_grad()
def test_oracle_cache_measures_like_ours():
    """transformers' cache against ours, layer by layer: windows hold one token fewer there."""
    toy = mimo.of_layers(mimo.small("mimo-v2-flash", window=16), slice(0, 6))
    oracle, ours = mimo.pair(toy)
    tokens = mimo.some_tokens(toy, 60, batch=1)
    theirs, cache = DynamicCache(config=oracle.config), ours.new_cache(1, 60)
    oracle(tokens, past_key_values=theirs, use_cache=True)
    ours(tokens, cache)
    for layer, mine in zip(theirs.layers, cache.layers, strict=True):
        size = (layer.keys.nbytes + layer.values.nbytes) // 2  # float64 there, float32 here
        assert sum(mine.nbytes().values()) == (size if "main" in mine.tables else size * 16 / 15)
