"""Rows taken back leave no trace: the cache, and all that follows, is as if only the kept tokens had been read.

Oracle: a fresh prefill of the kept tokens. In float64, with tables that store it whole, a layer's outputs and entries
agree within 1e-12 whatever the shapes of the calls; entries that a rewind leaves or brings back agree bit by bit.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from attention import dims as d
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import randomise
from torch import Tensor

from costlab import arch
from costlab.catalog import Routing
from costlab.nn.attention import Cache, KVTable, RingBuffer, build_layer, formats
from costlab.nn.decoder import Decoder, Scale, scaled

TOKENS, BATCH, VOCAB = 48, 2, 64
EXACT = {"rtol": 0.0, "atol": 1e-12}
OTHER: arch.Attention = dataclasses.replace(d.SLIDING, window=3, sink=False)
ONE_HEAD = dataclasses.replace(d.CSA, index_heads=1, top_k=4)  # scores tie at 0
#: With these a block's border (4, 8), a ring's first wrap (5, 6) and a top-k's crossing (6, 16) lie inside a round.
STARTS = (0, 3, 7, 12, 15)
ROWS = (1, 4, 9)  # 9: more than a window, or than a compressor's state of two blocks


def layer(dims: arch.Attention, **options: Any) -> Any:
    return randomise(build_layer(dims, d.HIDDEN, **options)).double()


LAYERS: dict[str, Callable[[], Any]] = {
    **{name: functools.partial(layer, dims) for name, dims in d.KINDS.items() if name != "MLA"},
    "sliding without sink": functools.partial(layer, OTHER),
    "MLA naive": functools.partial(layer, d.MLA, form="naive"),
    "MLA absorbed": functools.partial(layer, d.MLA, form="absorbed"),
    "MLA": functools.partial(layer, d.MLA),
    "CSA with ties": functools.partial(layer, ONE_HEAD),
}


MOE = arch.MoE(8, 2, 16, 1, routing=Routing("sigmoid", bias=True, scale=1.5))
HASH = arch.MoE(8, 2, 16, 1, clamp=0.5, routing=Routing("sqrt-softplus", select="token-table", scale=1.5))


def decoder(key: str, layers: Sequence[tuple[arch.Attention, Any]]) -> Any:
    """A model of a catalog's record, its norms, streams and constants, with small layers."""
    record, kinds = arch.load(key).record, {dims.kind for dims, _ in layers}
    theta = {kind: record.running.rope_theta.get(kind, 1e4) for kind in kinds}
    running = dataclasses.replace(record.running, rope_theta=theta)
    attention = {**record.attention, **{kind: {"kind": kind} for kind in kinds}}
    record = dataclasses.replace(record, hidden=d.HIDDEN, vocab=VOCAB, attention=attention, running=running)
    return randomise(Decoder(arch.Model("small", record, tuple(layers)))).double()


def mimo() -> Any:
    """MiMo-V2-Flash scaled down, its first seven layers: two full ones, and a window of 16."""
    model = scaled(arch.load("mimo-v2-flash"), Scale(vocab=2384))
    return randomise(Decoder(dataclasses.replace(model, layers=model.layers[:7]))).double()


V4 = ((d.WINDOW, HASH), (d.HCA, HASH), (d.CSA, HASH), (d.HCA, MOE), (d.CSA, MOE))
V3 = ((d.MLA, arch.Dense(32)), (d.MLA, MOE), (d.DSA, MOE))
DECODERS: dict[str, Callable[[], Any]] = {
    "MiMo": mimo,
    "V4": functools.partial(decoder, "deepseek-v4-flash", V4),
    "V3 and V3.2": functools.partial(decoder, "glm-5", V3),
}


@functools.cache
def built(name: str) -> Any:
    return (LAYERS | DECODERS)[name]()


def store_float64(patch: pytest.MonkeyPatch) -> None:
    """Let tables store float64, whatever their layouts say, so that no entry is rounded."""
    patch.setitem(formats.PLAIN, "fp32", torch.float64)
    patch.setitem(formats.PLAIN, "bf16", torch.float64)


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    store_float64(monkeypatch)


@pytest.fixture(autouse=True)
def no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def true(name: str) -> Tensor:
    """The tokens that are kept: hidden states for a layer, numbers for a decoder."""
    if name in LAYERS:
        return d.hidden_states(TOKENS, BATCH).double()
    return torch.randint(built(name).model.record.vocab, (BATCH, TOKENS), generator=torch.Generator().manual_seed(1))


def false(x: Tensor) -> Tensor:
    """Rows to be rejected: other tokens than all of x; larger ones, where they are hidden states, so that they show."""
    return 3 * x.flip(1) if x.is_floating_point() else (x + 1) % VOCAB


def values(cache: Cache) -> dict[str, Tensor]:
    """By part: all entries that can still be read, in order."""
    return {
        name: table.last(min(table.length, table.slots), torch.float64)
        if isinstance(table, RingBuffer)
        else table.read(table.length, torch.float64)
        for name, table in cache.tables.items()
    }


def assert_as(cache: Cache, fresh: Cache, **bounds: float) -> None:
    """Two caches have read the same tokens."""
    assert cache.length == fresh.length
    assert {n: t.length for n, t in cache.tables.items()} == {n: t.length for n, t in fresh.tables.items()}
    for (name, ours), theirs in zip(values(cache).items(), values(fresh).values(), strict=True):
        torch.testing.assert_close(ours, theirs, **(bounds or EXACT), msg=lambda m, name=name: f"{name}: {m}")


def bits(cache: Any) -> list[Tensor]:
    """All entries that can still be read, bit by bit."""
    tables = [table for layer in layers_of(cache) for table in layer.tables.values()]
    return [p.clone() for t in tables for p in t.span(max(0, t.length - t.slots), t.length)]


def layers_of(cache: Any) -> Sequence[Cache]:
    return [cache] if isinstance(cache, Cache) else cache.layers


class Prefilled:
    """The oracle: one call for all outputs, and for any length a cache filled by one call.

    Args:
        name: of a layer or a decoder.
        bounds: within which values have to agree.
    """

    def __init__(self, name: str, **bounds: float) -> None:
        self.model, self.x = built(name), true(name)
        self.outputs, self.bounds = self.model(self.x), bounds or EXACT
        self._caches: dict[int, Any] = {}

    def cache(self, length: int) -> Any:
        """A cache that has read `length` tokens at once; not to be written."""
        if length not in self._caches:
            self._caches[length] = self.model.new_cache(BATCH, TOKENS)
            if length:
                self.model(self.x[:, :length], self._caches[length])
        return self._caches[length]

    def copy(self, length: int) -> Any:
        return copy.deepcopy(self.cache(length))

    def read(self, cache: Any, x: Tensor, kept: int, sizes: Sequence[int]) -> None:
        """Read rows in calls of some sizes; what comes out of the first `kept`, the true tokens, is as it should."""
        start = cache.length
        output = torch.cat([self.model(piece, cache) for piece in x.split(list(sizes), 1)], 1)[:, :kept]
        torch.testing.assert_close(output, self.outputs[:, start : start + kept], **self.bounds)

    def round(self, cache: Any, rows: int, kept: int, sizes: Sequence[int] | None = None) -> None:
        """Read rows of which the first `kept` are the true tokens, and take the others back."""
        at = cache.length
        x = torch.cat([self.x[:, at : at + kept], false(self.x)[:, at + kept : at + rows]], 1)
        with cache.rewindable(rows):
            self.read(cache, x, kept, sizes or [rows])
            cache.rewind(at + kept)
        assert cache.length == at + kept

    def assert_same(self, cache: Any) -> None:
        """The cache is as if filled by one call, and the next row and the three after it come out as they should."""
        for ours, theirs in zip(layers_of(cache), layers_of(self.cache(cache.length)), strict=True):
            assert_as(ours, theirs, **self.bounds)
        after = copy.deepcopy(cache)
        self.read(after, self.x[:, cache.length : cache.length + 4], 4, [1, 3])


def every_count(name: str, starts: Sequence[int], sizes: Sequence[int]) -> None:
    """After each number of kept rows, of rounds of some sizes, from some lengths."""
    oracle = Prefilled(name)
    for start, rows in itertools.product(starts, sizes):
        for kept in range(rows + 1):
            cache = oracle.copy(start)
            oracle.round(cache, rows, kept)
            oracle.assert_same(cache)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_keeps_any_number_of_rows(name, whole):
    every_count(name, STARTS, ROWS)


@pytest.mark.parametrize(
    ("name", "starts"), [("MiMo", (0, 12, 15, 17)), ("V4", (0, 3, 12)), ("V3 and V3.2", (0, 4, 15))]
)
def test_a_decoder_keeps_any_number_of_rows(name, starts, whole):
    every_count(name, starts, (1, 5))


ROUNDS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9), st.sampled_from(["at once", "one by one", "plain"])))


@pytest.mark.parametrize("name", [*LAYERS, *DECODERS])
@settings(max_examples=examples(24))
@given(rounds=ROUNDS.filter(bool), start=st.integers(0, 20))
def test_rounds_in_a_row(name, rounds, start):
    """Drafted rounds of any outcome and plain steps between them, in any order, rows read at once or one by one."""
    with pytest.MonkeyPatch.context() as patch:
        store_float64(patch)
        oracle = prefilled(name)
        cache = oracle.copy(start)
        for rows, kept, way in rounds:
            if cache.length + rows + 4 > TOKENS:
                break
            if way == "plain":
                oracle.read(cache, oracle.x[:, cache.length : cache.length + 1], 1, [1])
            else:
                oracle.round(cache, rows, min(kept, rows), [1] * rows if way == "one by one" else None)
        oracle.assert_same(cache)
        assert all(not ring.aside and not ring.limit for ring in rings(cache)), "kept aside after the rounds"


@functools.cache
def prefilled(name: str) -> Prefilled:
    return Prefilled(name)


def rings(cache: Any) -> list[RingBuffer]:
    return [t for layer in layers_of(cache) for t in layer.tables.values() if isinstance(t, RingBuffer)]


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "delta"])  # rounds its state once a call
def test_several_rows_are_read_as_one_by_one(name):
    """With FP32 tables under float64 too: what is stored is rounded before it is used, whichever call uses it."""
    oracle = Prefilled(name)
    for start in (0, 3, 7, 14):
        singly = oracle.copy(start)
        for rows in range(1, 10):
            oracle.read(singly, oracle.x[:, start + rows - 1 : start + rows], 1, [1])
            together = oracle.copy(start)
            oracle.read(together, oracle.x[:, start : start + rows], rows, [rows])
            assert_as(together, singly)


@pytest.mark.parametrize("name", [*LAYERS, *DECODERS])
def test_bits_come_back(name):
    """Back at the start all bits are those of before; and within one block one can go back step by step."""
    oracle = Prefilled(name, rtol=0, atol=1e-2)  # MiMo's entries are BF16 here: it is their bits that count
    for start in (1, 7, 20):
        cache = oracle.copy(start)
        before = bits(cache)
        with cache.rewindable(9):
            oracle.model(false(oracle.x)[:, start : start + 9], cache)
            for kept in (8, 6, 5, 1):
                cache.rewind(start + kept)
                for layer in layers_of(cache):
                    assert layer.length == start + kept
            cache.rewind(start)
            assert all(torch.equal(a, b) for a, b in zip(before, bits(cache), strict=True))
            oracle.model(oracle.x[:, start : start + 9], cache)  # and read on in the same block
            cache.rewind(start + 7)
        oracle.assert_same(cache)


STORED: dict[str, arch.Attention] = {
    "CSA in FP8 and FP4": dataclasses.replace(
        d.CSA, entry=((24, "fp8"), (8, "bf16"), (3, "ue8m0"), (1, "pad")), index_key=((16, "fp4"), (1, "ue8m0"))
    ),
    "sliding in BF16": dataclasses.replace(d.SLIDING, entry=((40, "bf16"),)),
    "MLA in BF16": dataclasses.replace(d.MLA, entry=((40, "bf16"),)),
}


@pytest.mark.parametrize("name", STORED)
def test_narrow_entries(name):
    """Entries that are rounded differ from a prefill's by a rounding step at most: of BF16 2^-7, FP8 2^-3, FP4 2^-1."""
    model, x = randomise(build_layer(STORED[name], d.HIDDEN)), d.hidden_states(TOKENS)
    bounds = {"CSA in FP8 and FP4": 2**-3}.get(name, 2**-7)
    for start, rows, kept in itertools.product((3, 7, 20), (9,), range(10)):
        cache, fresh = model.new_cache(BATCH, TOKENS), model.new_cache(BATCH, TOKENS)
        model(x[:, :start], cache)
        model(x[:, : start + kept], fresh)
        with cache.rewindable(rows):
            model(torch.cat([x[:, start : start + kept], 3 * x[:, : rows - kept]], 1), cache)
            cache.rewind(start + kept)
        assert cache.length == fresh.length
        for (part, ours), theirs in zip(values(cache).items(), values(fresh).values(), strict=True):
            rtol = 0.5 if part == "index" and "FP4" in name else bounds
            torch.testing.assert_close(ours, theirs, rtol=rtol, atol=0.01)


LAYOUTS: Sequence[arch.Layout] = (
    ((8, "fp32"),),
    ((6, "fp8"), (2, "bf16"), (3, "ue8m0"), (1, "pad")),
    ((8, "fp4"), (1, "ue8m0")),
)
READS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.lists(st.integers(1, 14), max_size=4)), max_size=6)


@settings(max_examples=examples(200))
@given(layout=st.sampled_from(LAYOUTS), slots=st.integers(1, 6), blocks=READS)
def test_a_ring_is_the_end_of_a_list(layout, slots, blocks):
    """Whatever is appended and taken back, a ring holds the last entries of a plain list, bit by bit."""
    cpu = torch.device("cpu")
    ring, table = RingBuffer(layout, 8, (2,), slots, cpu), KVTable(layout, 8, (2,), 400, cpu)
    cache = Cache({"window": ring, "main": table}, 2, 400)
    read: list[Tensor] = []
    for rows, kept, appended in blocks:
        start = len(read)
        with cache.rewindable(rows):
            for number in appended:
                new = torch.randn(2, number, 8)
                cache.advance(number)
                ring.append(new)
                table.append(new)
                read += new.unbind(1)
            length = start + min(rows, kept, len(read) - start)
            cache.rewind(length)
            del read[length:]
        first = max(0, length - slots)
        wanted = ring.format.encode(torch.stack(read[first:], 1)) if read[first:] else []
        for part in (ring, table):
            for ours, theirs in zip(part.span(first, length), wanted, strict=False):
                assert torch.equal(ours.view(torch.uint8), theirs.view(torch.uint8))


# --- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["CSA", "V4"])
def test_lengths_out_of_reach(name):
    oracle = Prefilled(name)
    cache, (x, rest) = oracle.copy(10), oracle.x.split([13, TOKENS - 13], 1)
    with pytest.raises(ValueError, match=r"rewind to 9 tokens: only within `with cache.rewindable\(rows\)`"):
        cache.rewind(9)
    for rows in (-1, 1.5, "4", True):
        with pytest.raises(ValueError, match="rows = "), cache.rewindable(rows):
            pass
    with cache.rewindable(2):
        oracle.model(x[:, 10:13], cache)
        before = bits(cache)
        for length, match in (
            (9, "rewind to 9 tokens: should be from 10 to 12"),
            (-1, "rewind to -1 tokens: should be from 10 to 12"),
            (14, "rewind to 14 tokens: only 13 have been read"),
            (11.5, r"length = 11\.5 should be a whole number"),
        ):
            with pytest.raises(ValueError, match=match):
                cache.rewind(length)
            assert cache.length == 13
            assert all(torch.equal(a, b) for a, b in zip(before, bits(cache), strict=True))
        cache.rewind(13)
        oracle.model(rest[:, :1], cache)
        with pytest.raises(ValueError, match="rewind to 13 tokens: should be from 10 to 12"):
            cache.rewind(13)
    with pytest.raises(ValueError, match="only within"):
        cache.rewind(12)
    oracle.assert_same(cache)


def test_a_layer_out_of_step_changes_none():
    oracle = Prefilled("V4")
    cache = oracle.copy(10)
    with cache.rewindable(4):
        oracle.model(oracle.x[:, 10:14], cache)
        cache.layers[3].rewind(11)
        with pytest.raises(ValueError, match="rewind to 12 tokens: only 11 have been read"):
            cache.rewind(12)
        assert [layer.length for layer in cache.layers] == [14, 14, 14, 11, 14]
        cache.rewind(11)
    oracle.assert_same(cache)


@pytest.mark.parametrize("name", ["sliding", "CSA", "HCA", "V4"])
def test_what_fails_within_a_round(name):
    """A call that fails is taken back by itself; an error that leaves the round takes back the round."""
    oracle = Prefilled(name)
    cache, x = oracle.copy(7), false(oracle.x)
    before = bits(cache)
    with pytest.raises(ZeroDivisionError), cache.rewindable(6):
        oracle.model(oracle.x[:, 7:12], cache)
        for _ in range(2):
            broken(oracle.model, x[:, 12:20], cache)
            assert cache.length == 12
        oracle.assert_same(copy.deepcopy(cache))
        oracle.model(x[:, 12:20], cache)
        1 / 0  # noqa: B018
    assert cache.length == 7
    assert all(torch.equal(a, b) for a, b in zip(before, bits(cache), strict=True))
    with cache.rewindable(3):
        oracle.model(torch.cat([oracle.x[:, 7:9], x[:, 9:20]], 1), cache)  # more than was announced
        broken(oracle.model, x[:, 20:30], cache)
        cache.rewind(9)
    oracle.assert_same(cache)


def broken(model: Any, x: Tensor, cache: Any) -> None:
    """A call that fails when all layers have read."""
    last = model.head if isinstance(model, Decoder) else model.output

    def fail(*_: Any) -> None:
        raise InterruptedError

    hook = last.register_forward_hook(fail)
    with pytest.raises(InterruptedError):
        model(x, cache)
    hook.remove()


def test_rounds_within_rounds():
    """The inner round has its own reach, and after it the outer one's is what it was."""
    oracle = Prefilled("CSA")
    cache, x = oracle.copy(7), false(oracle.x)
    with cache.rewindable(3):
        oracle.model(torch.cat([oracle.x[:, 7:9], x[:, 9:15]], 1), cache)
        with cache.rewindable(2):
            oracle.model(x[:, 15:18], cache)
            with pytest.raises(ValueError, match="should be from 15 to 17"):
                cache.rewind(9)
            cache.rewind(16)
        with pytest.raises(ValueError, match="should be from 7 to 10"):
            cache.rewind(15)
        cache.rewind(9)
    oracle.assert_same(cache)


@pytest.mark.parametrize("made", [True, False], ids=["cache of inference mode", "plain cache"])
def test_a_rewind_in_another_mode(made):
    oracle = Prefilled("CSA")
    with torch.inference_mode() if made else torch.no_grad():
        cache = oracle.model.new_cache(BATCH, TOKENS)
        oracle.model(oracle.x[:, :10], cache)
    with cache.rewindable(4):
        with torch.inference_mode():
            oracle.model(torch.cat([oracle.x[:, 10:12], false(oracle.x)[:, :2]], 1), cache)
        cache.rewind(12)
    with torch.inference_mode():
        oracle.assert_same(cache)


def test_little_is_kept_aside():
    """Of a long prompt no more than what lengths in reach need; without a round, one token's in each call."""
    oracle = Prefilled("sliding")
    cache = oracle.copy(0)
    (ring,) = rings(cache)
    with cache.rewindable(3):
        oracle.model(oracle.x[:, :40], cache)
        assert sum(pieces[0].shape[-2] for _, pieces in ring.aside) == 3
        cache.rewind(2)
    oracle.assert_same(cache)
    size = cache.nbytes()
    oracle.model(oracle.x[:, 2:40], cache)
    assert (ring.aside, ring.limit, cache.nbytes()) == ([], 0, size)


# --- what these tests would catch ------------------------------------------------------------------------------

_rewind, _back, _append = RingBuffer.rewind, Cache.back, RingBuffer.append


def _by_length(ring: RingBuffer, tokens: int) -> None:
    ring.length = tokens


def _all_but(*parts: str) -> Callable[[Cache, int], None]:
    def back(cache: Cache, length: int) -> None:
        cache.length = length
        for name, table in cache.tables.items():
            if name not in parts:
                table.rewind(length)

    return back


def _more(change: int) -> Callable[[Cache, int], None]:
    return lambda cache, length: _back(cache, min(max(length + change, 0), cache.length))


def _last_rows_alone(ring: RingBuffer, x: Tensor) -> None:
    limit, ring.limit = ring.limit, min(ring.limit, ring.length)
    _append(ring, x)
    ring.limit = limit


def _per_token(table: KVTable, tokens: int) -> None:
    table.length = min(table.length, tokens)


MUTANTS: dict[str, tuple[type, str, Any, list[str]]] = {
    "rings by length only": (RingBuffer, "rewind", _by_length, ["sliding", "window", "HCA", "CSA", "V4", "MiMo"]),
    "new rows not kept aside": (RingBuffer, "append", _last_rows_alone, ["sliding", "window", "HCA", "CSA"]),
    "state left": (Cache, "back", _all_but("state"), ["HCA", "CSA", "V4"]),
    "index state left": (Cache, "back", _all_but("index_state"), ["CSA", "V4"]),
    "index left": (Cache, "back", _all_but("index"), ["CSA", "DSA", "V4", "V3 and V3.2"]),
    "entries left": (Cache, "back", _all_but("main"), ["MHA", "GQA", "MLA", "DSA", "HCA", "CSA"]),
    "window left": (Cache, "back", _all_but("window"), ["sliding", "window", "HCA", "CSA", "MiMo"]),
    "one too many": (Cache, "back", _more(1), [*LAYERS, *DECODERS]),
    "one too few": (Cache, "back", _more(-1), [*LAYERS, *DECODERS]),
    "entries counted as tokens": (KVTable, "rewind", _per_token, ["HCA", "CSA"]),
}


@pytest.mark.parametrize(("mutant", "name"), [(m, name) for m, (*_, names) in MUTANTS.items() for name in names])
def test_a_wrong_rollback_is_seen(mutant, name, whole, monkeypatch):
    owner, method, wrong, _ = MUTANTS[mutant]
    monkeypatch.setattr(owner, method, wrong)
    with pytest.raises((AssertionError, ValueError, RuntimeError)):
        every_count(name, (15,), (9,))
