"""A call that fails leaves the cache as it was: what follows is as if the call had never been made."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from attention import dims as d
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import randomise
from torch import Tensor

from costlab import arch
from costlab.nn.attention import Cache, build_layer
from costlab.nn.decoder import DecoderCache, DecoderStack, in_pieces

_V4_ENTRY: arch.Layout = ((24, "fp8"), (8, "bf16"), (3, "ue8m0"), (1, "pad"))
KINDS = {**d.KINDS, "CSA in FP8 and FP4": replace(d.CSA, entry=_V4_ENTRY, index_key=((16, "fp4"), (1, "ue8m0")))}
TOKENS = 40


class Broken(Exception):
    pass


def held(cache: Cache) -> dict[str, tuple[int, int, list[Tensor]]]:
    """Lengths, and all entries that can still be read, bit by bit."""
    return {
        name: (
            cache.length,
            table.length,
            [p.clone() for p in table.span(max(0, table.length - table.slots), table.length)],
        )
        for name, table in cache.tables.items()
    }


def assert_same(before: Any, after: Any) -> None:
    for name, (length, entries, pieces) in before.items():
        assert after[name][:2] == (length, entries), name
        assert all(torch.equal(a, b) for a, b in zip(pieces, after[name][2], strict=True)), name


def broken_at(module: torch.nn.Module, call: Any, error: type[BaseException] = Broken) -> None:
    """Run a call during which a module fails after its work."""

    def fail(*_: Any) -> None:
        raise error

    hook = module.register_forward_hook(fail)
    try:
        with pytest.raises(error):
            call()
    finally:
        hook.remove()


def last_module(layer: Any) -> torch.nn.Module:
    return layer.mla.output if hasattr(layer, "mla") else layer.output


def refuse(layer: Any, hidden: Tensor, cache: Cache, way: str) -> None:
    """Make a call that fails early, late or at its shape."""
    if way == "late":
        broken_at(last_module(layer), lambda: layer(hidden, cache))
    elif way == "interrupted":
        broken_at(last_module(layer), lambda: layer(hidden, cache), KeyboardInterrupt)
    elif way == "float64":
        with pytest.raises(RuntimeError, match="dtype"):
            layer(hidden.double(), cache)
    else:
        wrong = {"width": hidden[..., 1:], "batch": hidden[:1], "too long": torch.cat([hidden] * (TOKENS + 1), 1)}[way]
        with pytest.raises(ValueError, match=r"should be|another batch|exceed"):
            layer(wrong, cache)


WAYS = ("late", "interrupted", "float64", "width", "batch", "too long")


@pytest.fixture(scope="module")
def layers():
    return {name: randomise(build_layer(dims, d.HIDDEN)) for name, dims in KINDS.items()}


@torch.no_grad()
@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=8)
@given(data=st.data())
def test_a_refused_call_never_was(layers, name, data):
    """Before any of the chunks of a prompt a call may fail, in any way."""
    cuts = data.draw(st.sets(st.integers(1, TOKENS - 1), max_size=5), "cuts")
    hidden, layer = d.hidden_states(TOKENS), layers[name]
    cache, smooth = layer.new_cache(2, TOKENS), layer.new_cache(2, TOKENS)
    for start, stop in itertools.pairwise([0, *sorted(cuts), TOKENS]):
        before, length = held(cache), data.draw(st.integers(1, TOKENS - start), "tokens of the refused call")
        way = data.draw(st.sampled_from(WAYS), "way")
        refuse(layer, 3 + d.hidden_states(length, seed=stop), cache, way)
        assert_same(before, held(cache))
        chunk = hidden[:, start:stop]
        assert torch.equal(layer(chunk, cache), layer(chunk, smooth))


@torch.no_grad()
@pytest.mark.parametrize("name", ["CSA", "DSA", "sliding"])
def test_a_call_that_fails_in_a_later_block_of_queries(layers, name, monkeypatch):
    layer, hidden, turns = layers[name], d.hidden_states(TOKENS), itertools.count()
    monkeypatch.setattr(layer, "query_block", 4)
    cache = layer.new_cache(2, TOKENS)
    layer(hidden[:, :20], cache)
    before, attend = held(cache), layer._attend

    def third(*args: Any) -> Tensor:
        if next(turns) == 2:
            raise Broken
        return attend(*args)

    monkeypatch.setattr(layer, "_attend", third)
    with pytest.raises(Broken):
        layer(hidden[:, 20:], cache)
    assert_same(before, held(cache))


def test_a_cache_of_inference_mode_survives_being_used_outside(layers):
    for name in ("sliding", "CSA"):
        layer, hidden = layers[name], d.hidden_states(TOKENS)
        with torch.inference_mode():
            cache = layer.new_cache(2, TOKENS)
            layer(hidden[:, :20], cache)
        with torch.no_grad(), pytest.raises(RuntimeError, match="inference tensor"):
            layer(hidden[:, 20:], cache)
        with torch.inference_mode():
            torch.testing.assert_close(layer(hidden[:, 20:], cache), layer(hidden)[:, 20:], rtol=0, atol=1e-5)


def test_a_table_refuses_what_does_not_fit():
    """torch would spread one sequence's entry over the batch, and write nothing into a full table."""
    table = build_layer(d.MHA, d.HIDDEN).new_cache(2, 3).tables["main"]
    ring = build_layer(d.SLIDING, d.HIDDEN).new_cache(2, 30).ring("window")
    for part, heads, width in ((table, 4, 32), (ring, 2, 40)):
        for shape in ((1, heads, 1, width), (2, 1, 1, width), (2, heads, 1, width - 1)):
            with pytest.raises(ValueError, match=rf"should be \(2, {heads}, n, {width}\)"):
                part.append(torch.zeros(shape))
        assert part.length == 0
    table.append(torch.zeros(2, 4, 3, 32))
    with pytest.raises(ValueError, match="1 entries after 3 exceed the table's 3"):
        table.append(torch.zeros(2, 4, 1, 32))
    assert table.length == 3


# --- stacks ----------------------------------------------------------------------------------------------------

MOE = arch.MoE(experts=4, top_k=2, inner=8)


@pytest.fixture(scope="module")
def stack():
    return randomise(DecoderStack([(dims, MOE) for dims in d.KINDS.values()], d.HIDDEN))


def all_held(cache: DecoderCache) -> list[Any]:
    return [held(layer) for layer in cache.layers]


@torch.no_grad()
@settings(max_examples=8)
@given(data=st.data())
def test_a_stack_fails_in_all_layers_or_in_none(stack, data):
    """Wherever a call fails, no layer is ahead of another, and what follows is as if it had not been."""
    x, (cache, smooth) = d.hidden_states(TOKENS), (stack.new_cache(2, TOKENS), stack.new_cache(2, TOKENS))
    for start, stop in ((0, 9), (9, 10), (10, 30), (30, TOKENS)):
        before = all_held(cache)
        number = data.draw(st.integers(0, len(stack.blocks) - 1), "failing layer")
        part = data.draw(st.sampled_from(["attention", "ffn"]), "failing part")
        chunk = 3 + d.hidden_states(data.draw(st.integers(1, TOKENS - start), "tokens"), seed=stop)
        broken_at(getattr(stack.blocks[number], part), lambda chunk=chunk: stack(chunk, cache))
        for old, new in zip(before, all_held(cache), strict=True):
            assert_same(old, new)
        cache.check()
        assert torch.equal(stack(x[:, start:stop], cache), stack(x[:, start:stop], smooth))


@torch.no_grad()
def test_a_gate_that_finds_nan_leaves_the_layers_before_it_as_they_were(stack):
    x, cache = d.hidden_states(TOKENS), stack.new_cache(2, TOKENS)
    stack(x[:, :20], cache)
    before, norm = all_held(cache), stack.blocks[5].ffn_norm.weight
    kept = norm.clone()
    norm[0] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        stack(x[:, 20:], cache)
    norm.copy_(kept)
    for old, new in zip(before, all_held(cache), strict=True):
        assert_same(old, new)
    torch.testing.assert_close(stack(x[:, 20:], cache), stack(x)[:, 20:], rtol=0, atol=1e-4)


@torch.no_grad()
def test_reading_in_pieces_is_one_call(stack):
    x, cache = d.hidden_states(TOKENS), stack.new_cache(2, 30)
    stack(x[:, :10], cache)
    before = all_held(cache)
    with pytest.raises(ValueError, match="10 tokens after 30 exceed"):
        in_pieces(stack, x[:, 10:], [10, 10, 10], cache)
    for old, new in zip(before, all_held(cache), strict=True):
        assert_same(old, new)


def test_a_cache_of_another_stack_is_refused(stack):
    with pytest.raises(ValueError, match="a cache of 9 layers does not fit a stack of 10"):
        stack(d.hidden_states(3), DecoderCache(stack.new_cache(2, 9).layers[:-1]))
