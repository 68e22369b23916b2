"""A stack from the catalog's list: any chunking gives one result, rings never grow, bytes and FLOPs are arch's."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from attention import dims as d
from effort import examples
from hybrid import mimo
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import randomise
from torch.utils.flop_counter import FlopCounterMode

from costlab import arch, hybrid
from costlab.catalog import Running
from costlab.nn.attention import Rope, build_layer
from costlab.nn.decoder import Decoder, DecoderCache, DecoderStack, Scale, allocated_bytes, in_pieces, scaled

MODELS = ["mimo-v2-flash", "mimo-v2.5", "mimo-v2.5-pro"]
TOY = mimo.of_layers(mimo.small("mimo-v2-flash", window=5), slice(0, 6))


@pytest.fixture(scope="module")
def toy():
    return randomise(Decoder(TOY)).double()  # float64: chunks differ by rounding far below what routing could notice


def stored(cache: DecoderCache) -> dict[str, int]:
    sizes = cache.nbytes(filled=True)
    return {"growing": sizes.get("main", 0), "fixed": sizes.get("window", 0)}


def counted(model: arch.Model, tokens: int) -> dict[str, int]:
    size = model.kv_bytes(tokens)
    return {"growing": int(size.growing), "fixed": int(size.fixed)}


# --- order and dimensions --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "full"),
    [
        ("mimo-v2-flash", [0, 5, 11, 17, 23, 29, 35, 41, 47]),
        ("mimo-v2.5", [0, 5, 11, 17, 23, 29, 35, 41, 47]),
        ("mimo-v2.5-pro", [0, 7, 15, 23, 31, 39, 47, 55, 62, 69]),
    ],
)
def test_layers_run_in_the_published_order(model, full):
    """V2-Flash: paper.pdf KVTable 1 and sec. 2; Pro: arXiv 2607.13095 sec. 2.1 and the mirrored configuration."""
    with torch.device("meta"):
        decoder = Decoder(scaled(arch.load(model), Scale()))
    windows = [block.attention.window for block in decoder.stack.blocks]
    assert [i for i, window in enumerate(windows) if window is None] == full
    assert len(windows) == len(arch.load(model).layers)
    assert {block.attention.rope.theta for block in decoder.stack.blocks if block.attention.window} == {1e4}
    assert [type(b.ffn).__name__ for b in decoder.stack.blocks] == ["SwiGLU", *["MoELayer"] * (len(windows) - 1)]


@pytest.mark.parametrize("model", MODELS)
def test_scaling_keeps_every_proportion(model):
    """A toy's cache at t tokens is the original's at 8 t, divided by one and the same number."""
    original, toy = arch.load(model), scaled(arch.load(model), Scale())
    tokens = np.array([8, 64, 128, 1024, 65_536, 1_048_576])
    small, large = toy.kv_bytes(tokens // 8), original.kv_bytes(tokens)
    assert np.array_equal(small.growing * 4 * 8 * 8, large.growing)
    assert np.array_equal(small.fixed * 4 * 8 * 8, large.fixed)
    assert [type(a) for a, _ in toy.layers] == [type(a) for a, _ in original.layers]
    assert [type(f) for _, f in toy.layers] == [type(f) for _, f in original.layers]


@pytest.mark.parametrize("model", MODELS)
def test_real_dimensions_allocate_what_arch_counts(model):
    """All layers at full size on the meta device, whose tensors have shapes and no memory: bytes and parameters."""
    original = arch.load(model)
    contexts = (100, 128, 131_072, 1_048_576)
    for tokens, measured in zip(contexts, allocated_bytes(original, contexts), strict=True):
        size = original.kv_bytes(tokens)
        assert measured == {"main": int(size.growing), "window": int(size.fixed)}
    with torch.device("meta"):
        decoder = Decoder(original)
    biases = sum(buffer.numel() for buffer in decoder.buffers())
    assert sum(p.numel() for p in decoder.parameters()) + biases == original.params.total


def test_published_sizes_at_a_million():
    """arXiv 2607.13095 Fig. 1b: about 50 GB for V2.5-Pro at 1M tokens, 350 GB if all 70 layers were full (in GiB)."""
    pro = arch.load("mimo-v2.5-pro")
    measured, whole = (sum(allocated_bytes(m, [1_048_576])[0].values()) for m in (pro, hybrid.all_full(pro)))
    assert whole == 350 * 2**30
    assert measured == 50 * 2**30 + 37.5 * 2**20
    assert measured / 2**30 == pytest.approx(50, abs=0.05)


# --- running ---------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("model", MODELS)
def test_rings_never_grow(model):
    """Every layer of the real order, token by token: measured bytes are arch's at each length, growing and fixed."""
    original = scaled(arch.load(model), Scale())
    decoder = Decoder(original)
    tokens = mimo.some_tokens(original, 40, batch=1)
    window = next(a.window for a, _ in original.layers if isinstance(a, arch.SlidingWindow))
    allocated = None
    cache = decoder.new_cache(1, 40)
    for step, size in enumerate(itertools.accumulate([3, 1, 13, 1, 22])):
        start = cache.length
        decoder(tokens[:, start:size], cache)
        cache.check()
        assert stored(cache) == counted(original, size), step
        allocated = allocated or cache.nbytes()["window"]
        assert cache.nbytes()["window"] == allocated == counted(original, window)["fixed"]


@torch.no_grad()
@settings(max_examples=examples(15))
@given(data=st.data())
def test_chunks_change_nothing(toy, data):
    """Any way to cut a prompt gives the same logits and leaves the same bytes, within the windows at every step."""
    length = data.draw(st.integers(1, 24), "tokens")
    cuts = data.draw(st.sets(st.integers(1, max(length - 1, 1)), max_size=8), "cuts")
    ends = sorted({0, length, *(c for c in cuts if c < length)})
    sizes = [b - a for a, b in itertools.pairwise(ends)]
    tokens = mimo.some_tokens(TOY, length)
    cache = toy.new_cache(2, length)
    got = in_pieces(toy, tokens, sizes, cache)
    torch.testing.assert_close(got, toy(tokens), rtol=0, atol=1e-5)
    cache.check()
    assert stored(cache) == {part: 2 * size for part, size in counted(TOY, length).items()}
    for (dims, _), layer in zip(TOY.layers, cache.layers, strict=True):
        if isinstance(dims, arch.SlidingWindow):
            assert layer.nbytes()["window"] <= 2 * dims.window * dims.kv_heads * arch.layout_bytes(dims.entry)


@torch.no_grad()
def test_a_window_forgets_and_a_full_layer_does_not(toy):
    """With window layers alone a token beyond layers x (window - 1) is without effect; one full layer sees it."""
    layers = [layer for layer in TOY.layers if isinstance(layer[0], arch.SlidingWindow)][:3]
    reach = 3 * (5 - 1)
    x = torch.randn(1, 40, TOY.record.hidden, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[:, 39 - reach - 1] += 1
    sliding = randomise(DecoderStack(layers, TOY.record.hidden))
    assert torch.equal(sliding(x)[:, -1], sliding(changed)[:, -1])
    changed[:, 39 - reach] += 1
    assert not torch.equal(sliding(x)[:, -1], sliding(changed)[:, -1])
    hybrid = randomise(DecoderStack([TOY.layers[5], *layers], TOY.record.hidden))
    changed = x.clone()
    changed[:, 0] += 1
    assert not torch.equal(hybrid(x)[:, -1], hybrid(changed)[:, -1])


# --- FLOPs -----------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("prefix", [0, 3, 10])
def test_sliding_prefill_computes_what_arch_counts(prefix, monkeypatch):
    """torch.utils.flop_counter over one query at a time, which computes nothing above the diagonal."""
    model = arch.load("mimo-v2.5-pro")
    real = next(a for a, _ in model.layers if isinstance(a, arch.SlidingWindow))
    dims = dataclasses.replace(real, heads=16, kv_heads=8, window=7)  # its head dimensions as they are
    layer = build_layer(dims, 64, Rope(1e4))
    monkeypatch.setattr(layer, "query_block", 1)
    cache, hidden = layer.new_cache(1, 40), d.hidden_states(40, 1, hidden=64)
    if prefix:
        layer(hidden[:, :prefix], cache)
    with FlopCounterMode(display=False) as counter:
        layer(hidden[:, prefix:], cache)
    matrices = 2 * (40 - prefix) * sum(n for name, n in dims.params(64).items() if name != "norm")
    per_key = 2 * 16 * (192 + 128)
    keys = sum(min(t, 7) for t in range(prefix + 1, 41))
    assert counter.get_total_flops() == matrices + per_key * keys
    (read,) = dims.reads("prefill")
    assert read.flops_per_entry * read.entries.summed(np.float64(prefix), np.float64(40 - prefix)) == per_key * keys


@torch.no_grad()
def test_decode_step_of_a_whole_stack_computes_what_arch_counts():
    """All 48 layers, experts and head: one token after 30."""
    model = scaled(arch.load("mimo-v2-flash"), Scale())
    decoder = Decoder(model)
    cache, tokens = decoder.new_cache(1, 31), mimo.some_tokens(model, 31, batch=1)
    decoder(tokens[:, :30], cache)
    with FlopCounterMode(display=False) as counter:
        decoder(tokens[:, 30:], cache)
    assert counter.get_total_flops() == int(model.decode_flops(31).total)


# --- bad input -------------------------------------------------------------------------------------------------


def test_bad_input():
    model = arch.load("mimo-v2-flash")
    with pytest.raises(ValueError, match="hidden = 4096 does not divide by 7"):
        scaled(model, Scale(hidden=7))
    with pytest.raises(ValueError, match="kv_heads = 4 does not divide by 8"):
        scaled(model, Scale(heads=8))
    with pytest.raises(ValueError, match=r"only full and sliding layers .* not MLA"):
        scaled(arch.load("deepseek-v3"), Scale())
    with pytest.raises(ValueError, match="at least one layer"):
        DecoderStack([], 8)
    decoder = Decoder(TOY)
    with pytest.raises(ValueError, match=r"tokens \(3,\) should be \(batch, tokens\)"):
        decoder(torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"chunks of \[1, 2\] tokens sum to 3, not to 4"):
        in_pieces(decoder, torch.zeros(1, 4, dtype=torch.long), [1, 2])
    with pytest.raises(ValueError, match="exceed the cache's capacity of 4 tokens"):
        decoder(torch.zeros(1, 5, dtype=torch.long), decoder.new_cache(1, 4))


# --- what the catalog says for running -------------------------------------------------------------------------


def test_running_facts():
    """Rotary bases and value scales as in each model's sources; V2-Flash's also stand in transformers' defaults."""
    running = {key: arch.load(key).record.running for key in MODELS}
    assert {key: dict(r.rope_theta) for key, r in running.items()} == {
        "mimo-v2-flash": {"full": 5e6, "sliding": 1e4},
        "mimo-v2.5": {"full": 1e7, "sliding": 1e4},
        "mimo-v2.5-pro": {"full": 1e7, "sliding": 1e4},
    }
    assert [r.value_scale for r in running.values()] == [0.707, 0.707, 0.612]


def test_rotary_bases_name_attention_kinds():
    record = arch.load("mimo-v2-flash").record
    with pytest.raises(ValueError, match=r"rope_theta names \['slidng'\], attention kinds are \['full', 'sliding'\]"):
        dataclasses.replace(record, running=Running(rope_theta={"slidng": 1e4}))


# --- every model of the catalog --------------------------------------------------------------------------------

#: Their rotary embeddings are stretched in ways that the catalog does not hold.
STRETCHED = {"deepseek-v3", "deepseek-v3.2", "kimi-k2", "llama-3.1-70b", "llama-3.1-8b"}
#: Models whose records give rotary bases: a running form of all their layers is asked for.
RUN = {key for key, model in arch.models().items() if model.record.running.rope_theta}


@pytest.mark.parametrize(
    "model", sorted(RUN - {*MODELS} - STRETCHED - {"deepseek-v4-pro", "deepseek-v4-flash"})
)
def test_other_models_are_built_with_their_own_bases(model):
    original = arch.load(model)
    with torch.device("meta"):
        decoder = Decoder(original)
    count = sum(p.numel() for p in decoder.parameters()) + sum(b.numel() for b in decoder.buffers())
    assert count == original.params.total
    bases = original.record.running.rope_theta
    for block, (attention, _) in zip(decoder.stack.blocks, original.layers, strict=True):
        assert block.attention.rope.theta == bases[attention.kind]
    assert decoder.stack.norm.eps == original.record.running.norm_eps


@pytest.mark.parametrize("model", sorted(STRETCHED))
def test_a_model_that_would_turn_wrongly_is_refused(model):
    with pytest.raises(ValueError, match=rf"{model} can't be run: its record has no running.rope_theta for"):
        Decoder(arch.load(model))
