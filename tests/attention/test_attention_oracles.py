"""Every kind against transformers 5.23 with the same weights: 1e-5 where the top-k is not a matter of ties."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from attention import dims as d
from attention.oracles import llama_pair, mla_pair, v4_config, v4_pair
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from costlab import arch
from costlab.nn.attention import Rope, Yarn

TOLERANCE = 1e-5
# Many heads make exact ties at ReLU's zero unlikely; with few, another choice is as right as ours.
MANY_HEADS = {"index_heads": 16}


def agree(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.abs().mean() > 0.05, "outputs near zero would agree with anything"
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("dims", [d.MHA, d.GQA, d.MQA], ids=["MHA", "GQA", "MQA"])
def test_full_is_llama(dims):
    oracle, ours = llama_pair(dims, d.HIDDEN)
    hidden = d.hidden_states(40)
    agree(ours(hidden), oracle(hidden))
    agree(d.decoded(ours, hidden), d.decoded(oracle, hidden))


@torch.no_grad()
@pytest.mark.parametrize("form", ["naive", "absorbed", "auto"])
def test_mla_is_deepseek_v3(form):
    oracle, ours = mla_pair(d.MLA, d.HIDDEN, form=form)
    hidden = d.hidden_states(40)
    agree(ours(hidden), oracle(hidden))
    agree(d.in_pieces(ours, hidden, [17, 1, 1, 21]), oracle(hidden))


@torch.no_grad()
@pytest.mark.parametrize("top_k", [6, 64], ids=["top-k binds", "top-k does not bind"])
def test_dsa_is_deepseek_v32(top_k):
    oracle, ours = mla_pair(replace(d.DSA, top_k=top_k, **MANY_HEADS), d.HIDDEN)
    hidden = d.hidden_states(40)
    agree(ours(hidden), oracle(hidden))
    agree(d.decoded(ours, hidden), d.decoded(oracle, hidden))


@torch.no_grad()
@pytest.mark.parametrize("dims", [d.WINDOW, d.HCA, replace(d.CSA, top_k=50)], ids=["window", "HCA", "CSA, all read"])
def test_v4_layers_are_deepseek_v4(dims):
    oracle, ours = v4_pair(dims, d.HIDDEN)
    hidden = d.hidden_states(61)
    agree(ours(hidden), oracle(hidden))
    agree(d.decoded(ours, hidden), d.decoded(oracle, hidden))
    agree(d.in_pieces(ours, hidden, [7, 13, 1, 40]), oracle(hidden))


@torch.no_grad()
def test_csa_with_a_binding_top_k_is_deepseek_v4_prefill():
    oracle, ours = v4_pair(replace(d.CSA, top_k=5, **MANY_HEADS), d.HIDDEN)
    hidden = d.hidden_states(61)
    agree(ours(hidden), oracle(hidden))


@torch.no_grad()
def test_catalog_dimensions_run_as_deepseek_v4():
    """V4-Flash's own dimensions, with one head group of four heads to stay small."""
    flash = arch.load("deepseek-v4-flash").layers[2][0]
    assert isinstance(flash, arch.CSA)
    small = replace(flash, heads=4, groups=2, group_dim=32, q_rank=64, index_heads=8)
    small = replace(small, entry=d.fp32(flash.head_dim), index_key=d.fp32(flash.index_dim))
    oracle, ours = v4_pair(small, 64)
    hidden = d.hidden_states(260, 1, hidden=64)
    agree(ours(hidden), oracle(hidden))


def test_yarn_frequencies_are_transformers():
    """V4's compressed layers: theta 160000, YaRN x16 from 65536, no gain on cosines (configuration_deepseek_v4)."""
    yarn = {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 65536}
    flash = arch.load("deepseek-v4-flash").layers[2][0]
    config = v4_config(flash, 64, {**yarn, "beta_fast": 32.0, "beta_slow": 1.0})
    theirs, gain = ROPE_INIT_FUNCTIONS["yarn"](config, torch.device("cpu"), layer_type="compress")
    ours = Rope(160_000.0, Yarn(16.0, 65536)).frequencies(64)
    assert gain == 1.0
    torch.testing.assert_close(ours.float(), theirs, rtol=1e-5, atol=0)
