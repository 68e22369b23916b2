"""Multiply-adds that torch counts equal arch's closed forms, kind by kind and token by token.

torch.utils.flop_counter counts matrix products. Left out on both sides: softmax, norms, rotary embedding, gating.
Counted by torch and not by arch: the sum over index heads (2 per head and entry, below 1% at 128-wide heads).
"""

import numpy as np
import pytest
import torch
from attention import dims as d
from torch.utils.flop_counter import FlopCounterMode

from costlab import arch
from costlab.nn.attention import build_layer

IDLE = "norm"  # scales, sinks and position biases: added or multiplied channel by channel


def counted(layer, hidden, cache):
    with FlopCounterMode(display=False) as counter:
        layer(hidden, cache)
    return counter.get_total_flops()


def closed_form(dims, phase, prefix, new):
    matrices = sum(n for name, n in dims.params(d.HIDDEN).items() if name != IDLE) * 2
    reads = sum(
        r.flops_per_entry * float(r.entries.summed(np.float64(prefix), np.float64(new))) for r in dims.reads(phase)
    )
    return matrices * new + reads + head_sums(dims, prefix, new) - element_by_element(dims, new)


def element_by_element(dims, new):
    """What arch counts and torch's counter does not see: a convolution and an outer product are no matrix products."""
    return 2 * (dims.conv_elements + dims.state_elements) * new if isinstance(dims, arch.GatedDelta) else 0


def head_sums(dims, prefix, new):
    if not hasattr(dims, "index_heads"):
        return 0
    stride = dims.block if isinstance(dims, arch.CSA) else 1
    return 2 * dims.index_heads * sum(t // stride for t in range(prefix + 1, prefix + new + 1))


@torch.no_grad()
@pytest.mark.parametrize("context", [1, 2, 7, 8, 16, 61])
@pytest.mark.parametrize("name", d.KINDS)
def test_decode(name, context):
    dims = d.KINDS[name]
    layer = build_layer(dims, d.HIDDEN)
    cache = layer.new_cache(1, context)
    hidden = d.hidden_states(context, 1)
    if context > 1:
        layer(hidden[:, :-1], cache)
    assert counted(layer, hidden[:, -1:], cache) == closed_form(dims, "decode", context - 1, 1)


@torch.no_grad()
@pytest.mark.parametrize("prefix", [0, 10])
@pytest.mark.parametrize("name", d.KINDS)
def test_causal_prefill(name, prefix, monkeypatch):
    """One query at a time computes nothing above the diagonal, which is what the closed form counts."""
    dims = d.KINDS[name]
    layer = build_layer(dims, d.HIDDEN)
    monkeypatch.setattr(layer, "query_block", 1)
    cache = layer.new_cache(1, 61)
    hidden = d.hidden_states(61, 1)
    if prefix:
        layer(hidden[:, :prefix], cache)
    again = prefix * dims.reexpansion_flops()
    assert counted(layer, hidden[:, prefix:], cache) == closed_form(dims, "prefill", prefix, 61 - prefix) + again


@torch.no_grad()
def test_blocks_of_queries_compute_half_a_block_more_per_query():
    """What speed costs: a block of B queries reads B-1 keys more in its first row, half of that on average."""
    layer = build_layer(d.GQA, d.HIDDEN)
    layer.query_block, tokens = 16, 64
    extra = counted(layer, d.hidden_states(tokens, 1), None) - closed_form(d.GQA, "prefill", 0, tokens)
    per_key = d.GQA.reads("prefill")[0].flops_per_entry
    assert extra == per_key * tokens * (16 - 1) / 2


@pytest.mark.parametrize("name", d.KINDS)
def test_parameters(name):
    """Every parameter is one that arch counts, norms, biases and sinks included."""
    layer = build_layer(d.KINDS[name], d.HIDDEN)
    assert sum(p.numel() for p in layer.parameters()) == sum(d.KINDS[name].params(d.HIDDEN).values())


@torch.no_grad()
@pytest.mark.parametrize("model", ["deepseek-v4-flash", "deepseek-v3.2", "mimo-v2-flash", "llama-3.1-70b"])
def test_parameters_of_catalog_models(model):
    """Real dimensions on the meta device, which holds shapes and no numbers."""
    record = arch.load(model)
    with torch.device("meta"):
        for dims in {attention for attention, _ in record.layers}:
            layer = build_layer(dims, record.record.hidden)
            assert sum(p.numel() for p in layer.parameters()) == sum(dims.params(record.record.hidden).values())
