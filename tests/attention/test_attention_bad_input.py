"""What does not fit is said in one sentence that quotes it; what is merely small works."""

from dataclasses import replace

import pytest
import torch
from attention import dims as d
from oracles import randomise

from costlab import arch
from costlab.nn.attention import LAYERS, EntryFormat, Rope, build_layer


def fails(match, call, kind=ValueError):
    with pytest.raises(kind, match=match):
        call()


@torch.no_grad()
@pytest.mark.parametrize("dims", [d.HCA, d.CSA], ids=["HCA", "CSA"])
def test_context_shorter_than_one_block_is_the_window_alone(dims):
    layer = randomise(build_layer(dims, d.HIDDEN))
    alone = build_layer(d.WINDOW, d.HIDDEN)
    alone.load_state_dict({k: v for k, v in layer.state_dict().items() if k in alone.state_dict()})
    hidden = d.hidden_states(dims.block - 1)
    torch.testing.assert_close(layer(hidden), alone(hidden))
    torch.testing.assert_close(d.decoded(layer, hidden), alone(hidden))


@torch.no_grad()
def test_k_over_the_number_of_blocks_reads_them_all():
    few, many = (randomise(build_layer(replace(d.CSA, top_k=k), d.HIDDEN)) for k in (15, 10**6))
    hidden = d.hidden_states(61)
    assert torch.equal(few(hidden), many(hidden))


def test_k_below_one():
    for dims in (d.CSA, d.DSA):
        fails("top_k = 0 should be at least 1", lambda dims=dims: build_layer(replace(dims, top_k=0), d.HIDDEN))


def test_heads_that_do_not_split():
    fails("4 query heads don't divide among kv_heads = 3", lambda: replace(d.GQA, kv_heads=3))
    fails("4 heads of 32 don't divide into groups = 3", lambda: replace(d.CSA, groups=3))
    wide = replace(d.HCA, rope_dim=40)
    fails("rope_dim = 40 should be even and at most head_dim = 32", lambda: build_layer(wide, d.HIDDEN))
    fails("rope_dim = 7 should be even", lambda: build_layer(replace(d.GQA, rope_dim=7), d.HIDDEN))
    fails("rope_dim = 5 should be even", lambda: build_layer(replace(d.MLA, rope_dim=5, entry=d.fp32(37)), d.HIDDEN))
    fails("index_dim = 4", lambda: build_layer(replace(d.DSA, index_dim=4, index_key=d.fp32(4)), d.HIDDEN))
    fails("rope_dim = 9 should be an even number", lambda: Rope().frequencies(9))
    odd = replace(d.CSA, index_dim=24, index_key=((24, "fp4"), (1, "ue8m0")))
    fails("index_dim = 24 should be a power of two", lambda: build_layer(odd, d.HIDDEN))


def test_layouts_that_do_not_fit():
    wrong = build_layer(replace(d.HCA, entry=d.fp32(31)), d.HIDDEN)
    fails("holds 31 values, but an entry of this layer has 32", lambda: wrong.new_cache())
    fails("64 values don't divide among 3 scales", lambda: EntryFormat(((64, "fp8"), (3, "ue8m0")), 64))
    fails("2 scales in ue8m0 follow no fp8 or fp4 values", lambda: EntryFormat(((64, "bf16"), (2, "ue8m0")), 64))
    fails("63 fp4 values don't fill whole bytes", lambda: EntryFormat(((63, "fp4"), (1, "ue8m0")), 63))
    fails("'int8' should be one of", lambda: EntryFormat(((64, "int8"),), 64))


@torch.no_grad()
@pytest.mark.parametrize("name", d.KINDS)
def test_past_capacity_fails_and_leaves_the_cache_as_it_was(name):
    layer = randomise(build_layer(d.KINDS[name], d.HIDDEN))
    hidden = d.hidden_states(20)
    cache = layer.new_cache(2, 20)
    layer(hidden[:, :19], cache)
    fails("2 tokens after 19 exceed .* capacity of 20 .* capacity=21", lambda: layer(hidden[:, :2], cache))
    torch.testing.assert_close(layer(hidden[:, 19:], cache), layer(hidden)[:, 19:], rtol=0, atol=1e-5)


def test_batches_of_mixed_length():
    layer = build_layer(d.CSA, d.HIDDEN)
    fails("mixed lengths need a cache each", lambda: layer([torch.zeros(3, d.HIDDEN), torch.zeros(5, d.HIDDEN)]))
    cache = layer.new_cache(2, 10)
    fails("another batch than its cache, 2", lambda: layer(torch.zeros(3, 1, d.HIDDEN), cache))


def test_wrong_shapes():
    layer = build_layer(d.CSA, d.HIDDEN)
    for shape in ((1, 5, 47), (5, d.HIDDEN), (1, 0, d.HIDDEN), (0, 5, d.HIDDEN)):
        fails("should be .batch, tokens, 48.", lambda shape=shape: layer(torch.zeros(shape)))
    fails("batch >= 1 and capacity >= 1, got 0 and 5", lambda: layer.new_cache(0, 5))
    fails("hidden = 0", lambda: build_layer(d.CSA, 0))
    fails("unknown form 'fast'; known: absorbed, auto, naive", lambda: build_layer(d.MLA, d.HIDDEN, form="fast"))


def test_every_kind_of_arch_runs():
    counted_only = {arch.KDA, arch.Mamba2, arch.Lightning, arch.ChunkedAttention, arch.BlockSparse, arch.CSA2}
    assert set(LAYERS) == set(arch.KINDS.values()) - counted_only - {arch.NoAttention}

    class Linear(arch.FullAttention):
        pass

    linear = Linear(1, 1, d.fp32(2), kv_heads=1, qk_dim=1, v_dim=1)
    fails("no running layer for Linear; known: FullAttention", lambda: build_layer(linear, 8), TypeError)


def test_a_ring_cannot_return_what_it_forgot():
    layer = build_layer(d.WINDOW, d.HIDDEN)
    cache = layer.new_cache(1, 50)
    with torch.no_grad():
        layer(d.hidden_states(50, 1), cache)
    fails("last 7 entries asked, 6 are held", lambda: cache.ring("window").last(7, torch.float32))
    full = build_layer(d.MHA, d.HIDDEN).new_cache(1, 5)
    fails("'main' is a table that grows", lambda: full.ring("main"), TypeError)
