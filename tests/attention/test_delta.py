"""The gated delta net beside transformers' qwen3_next and the paper's rule; all its forms; its checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from attention import dims as d
from attention.oracles import delta_pair
from effort import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import randomise
from torch import Tensor

from costlab import arch
from costlab.nn.attention import GatedDelta, Rope, build_layer, checkpoint, delta_rule, formats, resume
from costlab.nn.decoder import DecoderStack

TOKENS = 150  # two whole chunks of transformers and a part of one
SHARED = d.DELTA
SINGLE = arch.GatedDelta(heads=3, key_heads=3, key_dim=8, value_dim=8, conv_width=2, conv_dtype="fp32")
ORACLE = {"rtol": 1e-5, "atol": 1e-5}  # outputs reach 5


# --- oracle ----------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("form", ["auto", "recurrent", "chunked"])
@pytest.mark.parametrize("dims", [SHARED, SINGLE], ids=["value heads share keys", "a key each"])
def test_prompt_as_transformers(dims: arch.GatedDelta, form: str) -> None:
    theirs, ours = delta_pair(dims, d.HIDDEN, form=form)
    x = d.hidden_states(TOKENS)
    torch.testing.assert_close(ours(x), theirs(x), **ORACLE)


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[149, 1], [1] * TOKENS, [70, 1, 1, 5, 73]], ids=["prompt", "decode", "pieces"])
def test_decode_as_transformers(sizes: list[int]) -> None:
    theirs, ours = delta_pair(SHARED, d.HIDDEN)
    x = d.hidden_states(TOKENS)
    torch.testing.assert_close(d.in_pieces(ours, x, sizes), d.in_pieces(theirs, x, sizes), **ORACLE)


@torch.no_grad()
def test_state_as_transformers() -> None:
    theirs, ours = delta_pair(SHARED, d.HIDDEN)
    x, mine, other = d.hidden_states(TOKENS), ours.new_cache(2, TOKENS), theirs.new_cache()
    ours(x, mine), theirs(x, other)
    state = mine.tables["recurrent"].stored[0].unflatten(-1, (SHARED.key_dim, -1)).squeeze(2)
    torch.testing.assert_close(state, other.layers[0].recurrent_states[0], **ORACLE)
    held = mine.ring("convolution").last(4, torch.float32).mT
    torch.testing.assert_close(held, other.layers[0].conv_states[0], **ORACLE)


def by_the_paper(state: Tensor, steps: delta_rule.Steps) -> tuple[Tensor, Tensor]:
    """arXiv 2412.06464 eq. 10 word by word: S_t = S_{t-1} (a_t (I - b_t k_t k_t^T)) + b_t v_t k_t^T, o_t = S_t q_t."""
    s, outputs, one = state.mT, [], torch.eye(steps.k.shape[-1], dtype=state.dtype)
    for t in range(steps.count):
        q, k = steps.q[:, :, None, t, :, None], steps.k[:, :, None, t, :, None]
        v, a, b = steps.v[..., t, :, None], steps.log_decay[..., t, None, None].exp(), steps.beta[..., t, None, None]
        s = s @ (a * (one - b * k @ k.mT)) + b * v @ k.mT
        outputs.append((s @ q).squeeze(-1))
    return torch.stack(outputs, -2), s.mT


def drawn(tokens: int, seed: int, decay: float = 1.0, alike: float = 0.0) -> tuple[Tensor, delta_rule.Steps]:
    """A state and steps in float64; `alike` keys make the triangular system hard."""
    noise = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=noise, dtype=torch.float64)

    k = delta_rule.unit(draw(2, 2, tokens, 6) * (1 - alike) + alike)
    rates = -decay * draw(2, 2, 3, tokens).abs(), draw(2, 2, 3, tokens).sigmoid()
    return draw(2, 2, 3, 6, 5), delta_rule.Steps(draw(2, 2, tokens, 6), k, draw(2, 2, 3, tokens, 5), *rates)


@settings(max_examples=examples(60))
@given(
    tokens=st.integers(1, 40),
    size=st.integers(1, 41),
    seed=st.integers(0, 999),
    decay=st.sampled_from([0.0, 0.01, 1.0, 50.0, 1000.0]),
    alike=st.sampled_from([0.0, 0.9, 1.0]),
)
def test_both_forms_are_the_rule(tokens: int, size: int, seed: int, decay: float, alike: float) -> None:
    """With no decay, with one that leaves nothing, and with keys that are all the same."""
    state, steps = drawn(tokens, seed, decay, alike)
    wanted = by_the_paper(state, steps)
    for found in (delta_rule.recurrent(state, steps), delta_rule.chunked(state, steps, size)):
        for ours, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


# --- what the oracle would catch -------------------------------------------------------------------------------

_steps = GatedDelta.steps


def _changed(**changes: Callable[[Tensor], Tensor]) -> Callable[..., delta_rule.Steps]:
    def steps(self: GatedDelta, *args: Any) -> delta_rule.Steps:
        found = vars(_steps(self, *args))
        return delta_rule.Steps(**{name: changes.get(name, lambda x: x)(x) for name, x in found.items()})

    return steps


def _fades_last(state: Tensor, steps: delta_rule.Steps, *_: int) -> tuple[Tensor, Tensor]:
    """The state fades after the token has looked its key up, instead of before."""
    outputs = []
    for t in range(steps.count):
        q, k, v = steps.q[:, :, None, t], steps.k[:, :, None, t], steps.v[..., t, :]
        fade = steps.log_decay[..., t, None, None].exp()
        missing = steps.beta[..., t, None] * (v - (k[..., None] * state).sum(-2))
        state = fade * (state + k[..., None] * missing[..., None, :])
        outputs.append((q[..., None] * state).sum(-2))
    return torch.stack(outputs, -2), state


def _no_correction(state: Tensor, steps: delta_rule.Steps, *_: int) -> tuple[Tensor, Tensor]:
    """Values are added whole, as plain linear attention does."""
    outputs = []
    for t in range(steps.count):
        k, v = steps.k[:, :, None, t, :, None], steps.beta[..., t, None, None] * steps.v[..., t, None, :]
        state = steps.log_decay[..., t, None, None].exp() * state + k * v
        outputs.append((steps.q[:, :, None, t, :, None] * state).sum(-2))
    return torch.stack(outputs, -2), state


def _gate_before_norm(self: GatedDelta, hidden: Tensor, cache: Any) -> Tensor:
    out = self._advance(self.steps(hidden, cache.ring("convolution")), cache.ring("recurrent"))
    return self.output(self.norm(out * F.silu(self.gate(hidden)).unflatten(-1, (self.dims.heads, -1))).flatten(-2))


def _heads_by_turns(self: GatedDelta, x: Tensor) -> Tensor:
    return x.unflatten(-1, (-1, self.dims.key_heads)).movedim(1, 3).transpose(1, 2)


MUTANTS: dict[str, list[tuple[Any, str, Any]]] = {
    "fades after the update": [(delta_rule, "recurrent", _fades_last), (delta_rule, "chunked", _fades_last)],
    "no correction": [(delta_rule, "recurrent", _no_correction), (delta_rule, "chunked", _no_correction)],
    "no beta": [(GatedDelta, "steps", _changed(beta=torch.ones_like))],
    "no decay": [(GatedDelta, "steps", _changed(log_decay=torch.zeros_like))],
    "no unit length": [(delta_rule, "unit", lambda x: x)],
    "keys alone of unit length": [(GatedDelta, "steps", _changed(q=lambda q: q * 1.01))],
    "gate before norm": [(GatedDelta, "_piece", _gate_before_norm)],
    "value heads by turns": [(GatedDelta, "_by_head", _heads_by_turns)],
    "no convolution": [(GatedDelta, "_convolved", lambda self, x, tail: x)],
}


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[TOKENS], [1] * 20], ids=["prompt", "decode"])
@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_oracle_refuses(mutant: str, sizes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = delta_pair(SHARED, d.HIDDEN)
    x = d.hidden_states(sum(sizes))
    torch.testing.assert_close(d.in_pieces(ours, x, sizes), theirs(x), **ORACLE)
    for owner, name, wrong in MUTANTS[mutant]:
        monkeypatch.setattr(owner, name, wrong)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(d.in_pieces(ours, x, sizes), theirs(x), **ORACLE)


# --- one sequence, however it is read --------------------------------------------------------------------------


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """States and inputs of the convolution are stored in float64, so that no call rounds them."""
    monkeypatch.setitem(formats.PLAIN, "fp32", torch.float64)


@torch.no_grad()
@settings(max_examples=examples(30), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    chunk=st.integers(1, 64),
    block=st.integers(1, 64),
    form=st.sampled_from(["auto", "recurrent", "chunked"]),
)
def test_any_cut_gives_the_same(sizes: list[int], chunk: int, block: int, form: str, whole: None) -> None:
    layer = randomise(build_layer(SHARED, d.HIDDEN, form=form, chunk=chunk)).double()
    layer.query_block = block
    x = d.hidden_states(sum(sizes)).double()
    at_once = randomise(build_layer(SHARED, d.HIDDEN)).double()(x)
    torch.testing.assert_close(d.in_pieces(layer, x, sizes), at_once, rtol=0, atol=1e-10)


@torch.no_grad()
def test_sequences_do_not_mix() -> None:
    layer, x = randomise(build_layer(SHARED, d.HIDDEN)), d.hidden_states(40, batch=3)
    together = d.in_pieces(layer, x, [30, 1, 9])
    for n in range(3):
        torch.testing.assert_close(d.in_pieces(layer, x[n : n + 1], [30, 1, 9]), together[n : n + 1], **ORACLE)


@torch.no_grad()
def test_the_future_is_not_read() -> None:
    layer, x = randomise(build_layer(SHARED, d.HIDDEN)), d.hidden_states(40)
    torch.testing.assert_close(layer(x)[:, :23], layer(torch.cat([x[:, :23], 3 * x[:, 23:]], 1))[:, :23], **ORACLE)


def test_gradients_agree_and_train() -> None:
    """Both forms have one gradient, every weight has one, and a few steps learn to repeat an earlier token."""
    layers = [randomise(build_layer(SHARED, d.HIDDEN, form=form)) for form in ("recurrent", "chunked")]
    x = d.hidden_states(20)
    for layer in layers:
        layer(x).square().mean().backward()
    for (name, one), other in zip(layers[0].named_parameters(), layers[1].parameters(), strict=True):
        assert one.grad is not None and one.grad.abs().max() > 0, name
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-6)
    layer = layers[1]
    step, losses = torch.optim.Adam(layer.parameters(), 0.01), []
    for _ in range(30):
        step.zero_grad()
        losses.append(F.mse_loss(layer(x)[:, 2:], x[:, :-2]))
        losses[-1].backward()
        step.step()
    assert losses[-1] < 0.6 * losses[0]


# --- what it keeps ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3])
def test_bytes_are_those_counted(batch: int) -> None:
    """Qwen3.5-397B's: 64 matrices of 128 x 128 in FP32 and four inputs of 12,288 channels in BF16."""
    dims = arch.GatedDelta(heads=64, key_heads=16, key_dim=128, value_dim=128, conv_width=4)
    with torch.device("meta"):
        layer = build_layer(dims, 4096)
    counted = sum(part.bytes_per_entry for part in dims.stores())
    assert counted == 64 * 128 * 128 * 4 + 4 * 12288 * 2
    for capacity in (1, 1_000_000):
        assert layer.new_cache(batch, capacity).nbytes() == {"recurrent": batch * counted}
    assert sum(p.numel() for p in layer.parameters()) == sum(dims.params(4096).values())


@torch.no_grad()
def test_inputs_kept_in_bf16_are_rounded_for_all() -> None:
    """Whichever call reads them, as prompt or as tail: the same sums; unrounded, these differ by 2e-2."""
    dims = arch.GatedDelta(heads=4, key_heads=2, key_dim=16, value_dim=12, conv_width=4)
    layer, x = randomise(build_layer(dims, d.HIDDEN)), d.hidden_states(30)
    torch.testing.assert_close(d.decoded(layer, x), layer(x), **ORACLE)


def stack() -> Any:
    kinds = [d.DELTA, d.DELTA, d.SLIDING, d.GQA, d.HCA, d.CSA]
    return randomise(DecoderStack([(dims, arch.Dense(16)) for dims in kinds], d.HIDDEN))


@torch.no_grad()
@settings(max_examples=examples(10), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(1, 25), min_size=1, max_size=3), rest=st.integers(1, 12))
def test_a_checkpoint_is_where_one_goes_on(stops: list[int], rest: int, whole: None) -> None:
    """From the last checkpoint back to the first, and from each again: as if nothing had been read behind it."""
    model, x, other = stack().double(), d.hidden_states(90).double(), 3 * d.hidden_states(90, seed=7).double()
    cache, kept = model.new_cache(2, 90), []
    for stop in stops:
        model(x[:, cache.length : cache.length + stop], cache)
        kept.append((checkpoint(cache.layers), model(x[:, : cache.length + rest])[:, cache.length :]))
    model(other[:, :10], cache)
    for point, wanted in (each for each in reversed(kept) for _ in range(2)):
        resume(cache.layers, point)
        cache.check()
        assert cache.length == point.length
        torch.testing.assert_close(model(x[:, point.length : point.length + rest], cache), wanted, rtol=0, atol=1e-10)
        model(other[:, :5], cache)  # reading on, over what was kept, changes no checkpoint


@torch.no_grad()
def test_a_checkpoint_of_states_alone_starts_a_new_cache() -> None:
    layer, x = randomise(build_layer(SHARED, d.HIDDEN)), d.hidden_states(40)
    cache = layer.new_cache(2, 40)
    layer(x[:, :25], cache)
    point = checkpoint([cache])
    assert point.nbytes == sum(cache.nbytes().values())
    fresh = layer.new_cache(2, 40)
    resume([fresh], point)
    torch.testing.assert_close(layer(x[:, 25:], fresh), layer(x)[:, 25:], **ORACLE)


@torch.no_grad()
def test_checkpoints_that_do_not_fit_change_nothing() -> None:
    model, x = stack(), d.hidden_states(30)
    cache = model.new_cache(2, 30)
    model(x[:, :20], cache)
    point = checkpoint(cache.layers)

    def refused(match: str, target: Any, layers: Any = None) -> None:
        before = copy.deepcopy(target)
        with pytest.raises(ValueError, match=match):
            resume(layers or target.layers, point)
        for ours, theirs in zip(target.layers, before.layers, strict=True):
            assert ours.length == theirs.length
            for name, table in ours.tables.items():
                assert table.length == theirs.tables[name].length
                assert all(torch.equal(a, b) for a, b in zip(table.stored, theirs.tables[name].stored, strict=True))

    refused("'main' holds 0 entries, the checkpoint needs 20", model.new_cache(2, 30))
    refused("exceeds the cache's capacity of 19", model.new_cache(2, 19))
    refused("'recurrent' of the checkpoint holds", model.new_cache(1, 30))
    refused("6 layers does not fit 5", cache, cache.layers[:5])
    refused("does not fit a cache of", cache, cache.layers[::-1])
    with cache.rewindable(2):
        refused("not within `with cache.rewindable", cache)
    with pytest.raises(ValueError, match=r"layers of one length, got \[\]"):
        checkpoint([])


@pytest.mark.parametrize(
    ("match", "options"),
    [
        ("chunk = 0 should be at least 1 token", {"chunk": 0}),
        ("unknown form 'fast'; known: auto, chunked, recurrent", {"form": "fast"}),
        ("GatedDelta has no positions to turn: leave rope out", {"rope": Rope()}),
    ],
)
def test_refusals(match: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=match):
        build_layer(SHARED, d.HIDDEN, **options)
