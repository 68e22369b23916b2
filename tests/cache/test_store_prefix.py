"""A toy hybrid model behind two real pools: what is loaded equals what would have been computed."""

import dataclasses
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from cache.store_pages import page_of

import costlab.cache.store as tiers
from costlab import arch
from costlab.cache.sim import loading
from costlab.cache.store import Geometry, Store
from costlab.nn.attention import KVTable, RingBuffer
from costlab.nn.decoder import Decoder
from costlab.nn.serving import speed
from costlab.nn.serving.prefix import Server, block_keys, fingerprint, page_examples, randomise_sinks, toy

BLOCK, WINDOW, VOCAB = 8, 20, 97
rng = np.random.default_rng(0)
PROMPT = rng.integers(0, VOCAB, 150).tolist()


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def decoder(seed=0, **sizes):
    torch.manual_seed(seed)
    return randomise_sinks(Decoder(toy(**{"hidden": 48, "window": WINDOW, "vocab": VOCAB, **sizes}))).eval()


@pytest.fixture(scope="module")
def model():
    return decoder()


@pytest.fixture
def pools(model):
    with ExitStack() as stack:
        yield opened(stack, model)


def opened(stack, model, memory=64, ram=0, folder=None, **options):
    """Return a full pool and a window pool; a folder holds both."""
    return tuple(
        stack.enter_context(Store(Geometry.of(page), memory, ram, folder and folder / name, **options))
        for page, name in zip(page_examples(model, BLOCK), ("full", "windows"), strict=True)
    )


def with_mla(toy_model):
    """The toy with one layer of another kind."""
    mla = arch.MLA(heads=2, rope_dim=4, entry=((12, "fp32"),), nope_dim=8, v_dim=8, q_rank=8, kv_rank=8)
    record = toy_model.record
    running = dataclasses.replace(record.running, rope_theta={**record.running.rope_theta, "mla": 1e4})
    record = dataclasses.replace(record, attention={**record.attention, "mla": {"kind": "mla"}}, running=running)
    return dataclasses.replace(toy_model, record=record, layers=(*toy_model.layers, (mla, toy_model.layers[0][1])))


@torch.inference_mode()
def computed(model, tokens):
    return model(torch.tensor([tokens]))[0, -1]


def assert_served(server, tokens, reused):
    """Serve a prompt, compare with recomputation, and with what should have been reused."""
    served = server.serve(tokens)
    torch.testing.assert_close(served.logits, computed(server.model, tokens), atol=1e-5, rtol=0)
    assert served.reused_tokens == reused
    assert sum(new for new, _ in served.chunks) == len(tokens) - reused
    served.cache.check()
    assert served.cache.length == len(tokens)
    return served


@pytest.mark.parametrize("length", [1, 7, 8, 9, 19, 20, 24, 100, 104, 150])
def test_the_same_prompt_twice(model, pools, length):
    server = Server(model, *pools, BLOCK)
    assert_served(server, PROMPT[:length], 0)
    whole = length // BLOCK * BLOCK
    served = assert_served(server, PROMPT[:length], min(whole, length - 1))  # of a wholly stored one, all but the last
    expected = model.model.kv_bytes(max(whole, 1))
    window = model.model.kv_bytes(WINDOW).window
    assert served.loaded_bytes == (float(expected.main + window) if whole else 0)


def test_growing_prompts_reuse_what_was_there(model, pools):
    server = Server(model, *pools, BLOCK)
    assert_served(server, PROMPT[:50], 0)
    assert_served(server, PROMPT[:90], 48)
    assert_served(server, PROMPT, 88)


def test_answers_go_on_from_a_loaded_prefix(model, pools):
    """Decode steps behind a loaded prefix, wholly stored or not: rings and tables count on where they should."""
    server = Server(model, *pools, BLOCK)
    for length in (104, 107):
        server.serve(PROMPT[:length])
        served = server.serve(PROMPT[:length], room=40)
        assert served.reused_tokens >= 103
        for stop in range(length, 140):
            with torch.inference_mode():
                logits = model(torch.tensor([PROMPT[stop : stop + 1]]), served.cache)[0, -1]
            torch.testing.assert_close(logits, computed(model, PROMPT[: stop + 1]), atol=1e-5, rtol=0)


def test_without_its_window_a_prefix_is_not_used(model, pools):
    """Full pages alone do not count: the match is cut back to the last boundary with a window behind it."""
    server = Server(model, *pools, BLOCK)
    server.serve(PROMPT[:48])
    server.serve(PROMPT)
    keys = block_keys(PROMPT, BLOCK, fingerprint(model))
    assert pools[0].match(keys) == 18
    assert [n + 1 for n, key in enumerate(keys) if pools[1].match([key])] == [6, 18]
    assert_served(server, PROMPT[:100], 48)  # blocks 7 … 12 are held, their window is not
    assert_served(server, PROMPT[:100], 96)


def test_a_branch_gets_a_window_when_it_is_seen(model, pools):
    """A third prompt behind a shared beginning finds the window that the second one left at the branch."""
    server = Server(model, *pools, BLOCK)
    shared, tails = PROMPT[:64], [[n] * 30 for n in range(3)]
    assert_served(server, shared + tails[0], 0)
    assert assert_served(server, shared + tails[1], 0).chunks == ((64, 0), (24, 64), (6, 88))
    assert_served(server, shared + tails[2], 64)


def test_checkpoints_cut_the_loss(model, pools):
    server = Server(model, *pools, BLOCK, checkpoint_blocks=4)
    first = server.serve(PROMPT)
    assert first.chunks == ((32, 0), (32, 32), (32, 64), (32, 96), (16, 128), (6, 144))
    assert_served(server, PROMPT[:101], 96)
    assert_served(server, PROMPT[:70], 64)


def test_under_every_tier(model, tmp_path):
    with ExitStack() as stack:
        memory, ram = opened(stack, model), opened(stack, model, 1, 63)
        files = opened(stack, model, 1, folder=tmp_path)
        for pools, tier in ((memory, "memory"), (ram, "ram"), (files, "file")):
            server = Server(model, *pools, BLOCK)
            server.serve(PROMPT[:120])
            server.serve([5] * 8)  # pushes the last block and window out of a pool of one
            for pool in pools:
                if tier == "file":
                    pool.flush()
            assert_served(server, PROMPT, 120)
            assert getattr(pools[0].stats, f"served_{tier}") >= 14
            assert getattr(pools[1].stats, f"served_{tier}") == 1


def test_after_a_restart_from_disk(model, tmp_path):
    with ExitStack() as stack:
        Server(model, *opened(stack, model, folder=tmp_path), BLOCK).serve(PROMPT[:120])
    with ExitStack() as stack:
        pools = opened(stack, model, folder=tmp_path)
        assert_served(Server(model, *pools, BLOCK), PROMPT, 120)
        assert pools[0].stats.served_file == 15


@pytest.mark.parametrize(("pool", "block", "reused"), [(0, 7, 48), (1, 14, 48), (0, 2, 0)])
def test_a_damaged_page_costs_time_and_nothing_else(model, tmp_path, pool, block, reused):
    keys = block_keys(PROMPT, BLOCK, fingerprint(model))
    with ExitStack() as stack:
        server = Server(model, *opened(stack, model, folder=tmp_path), BLOCK)
        server.serve(PROMPT[:48])
        server.serve(PROMPT[:120])
    with ExitStack() as stack:
        pools = opened(stack, model, folder=tmp_path)
        path = pools[pool]._files.path(b"b" + keys[block])
        content = bytearray(path.read_bytes())
        content[-100] ^= 1
        path.write_bytes(content)
        server = Server(model, *pools, BLOCK)
        assert_served(server, PROMPT[:120], reused)
        assert pools[pool].stats.damaged == 1
        assert_served(server, PROMPT[:120], 119)


def test_other_contents_would_show(model, pools):
    """The comparison can fail: a wrong page, full or window, moves the logits."""
    right = computed(model, PROMPT[:120])
    for pool in (0, 1):
        with ExitStack() as stack:
            pools = opened(stack, model)
            Server(model, *pools, BLOCK).serve(PROMPT[:120])
            held = pools[pool]._pools[0]
            for row in held._rows:
                for view in pools[pool].geometry.views(row).values():
                    view += 0.1
            off = Server(model, *pools, BLOCK).serve(PROMPT[:120]).logits - right
            assert off.abs().max() > 1e-3


def test_another_model_finds_nothing(model, pools):
    Server(model, *pools, BLOCK).serve(PROMPT)
    other = decoder(seed=1)
    assert fingerprint(other) != fingerprint(model) == fingerprint(decoder())
    assert_served(Server(other, *pools, BLOCK), PROMPT, 0)


def test_the_same_weights_with_other_constants_find_nothing(model, pools):
    """Rotary bases, values' factor and norms' epsilon are in no weight, and change what a page holds."""
    Server(model, *pools, BLOCK).serve(PROMPT)
    running = dataclasses.replace(model.model.record.running, value_scale=0.5)
    record = dataclasses.replace(model.model.record, running=running)
    other = Decoder(dataclasses.replace(model.model, record=record)).eval()
    other.load_state_dict(model.state_dict())
    assert_served(Server(other, *pools, BLOCK), PROMPT, 0)


def test_too_small_pools_still_serve_rightly(model):
    with ExitStack() as stack:
        server = Server(model, *opened(stack, model, memory=3), BLOCK)
        for length in (150, 150, 20, 20):
            served = server.serve(PROMPT[:length])
            torch.testing.assert_close(served.logits, computed(model, PROMPT[:length]), atol=1e-5, rtol=0)
        assert served.reused_tokens == 16


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_pages_hold_what_arch_counts(dtype):
    """Both pools, byte for byte: a prefix of full pages, and one window."""
    model = decoder(dtype=dtype)
    full, window = (Geometry.of(page) for page in page_examples(model, BLOCK))
    counted = model.model.kv_bytes(np.array([BLOCK, WINDOW, 150]))
    assert full.page_bytes == counted.main[0]
    assert window.page_bytes == counted.window[1]
    with ExitStack() as stack:
        pools = opened(stack, model)
        served = Server(model, *pools, BLOCK).serve(PROMPT)
        assert served.cache.nbytes(filled=True) == {"main": counted.main[2], "window": counted.window[2]}
        assert pools[0].pages["memory"] * full.page_bytes == float(model.model.kv_bytes(144).main)
        again = Server(model, *pools, BLOCK).serve(PROMPT)
        torch.testing.assert_close(again.logits, served.logits, atol=1e-5 if dtype == "fp32" else 0.03, rtol=0)
        assert again.cache.nbytes(filled=True) == served.cache.nbytes(filled=True)


def test_the_toy_is_of_mimos_kind(model):
    (full, _), *sliding = model.model.layers[:4]
    mimo = {type(dims): dims for dims, _ in arch.load("mimo-v2-flash").layers}
    for dims in (full, sliding[0][0]):
        own = mimo[type(dims)]
        assert (dims.qk_dim * own.v_dim, dims.rope_dim * own.v_dim) == (
            own.qk_dim * dims.v_dim,
            own.rope_dim * dims.v_dim,
        )
        assert dims.kv_heads * mimo[arch.FullAttention].kv_heads == own.kv_heads * full.kv_heads
    assert all(isinstance(dims, arch.SlidingWindow) and dims.sink for dims, _ in sliding)
    assert model.stack.blocks[0].attention.value_scale == 0.707
    assert model.stack.blocks[0].attention.rope.theta > model.stack.blocks[1].attention.rope.theta


def test_bad_input_is_quoted(model, pools):
    with pytest.raises(ValueError, match="at least one token"):
        Server(model, *pools, BLOCK).serve([])
    with pytest.raises(ValueError, match="block_tokens = 0"):
        Server(model, *pools, 0)
    with pytest.raises(ValueError, match="hidden = 50 should be a multiple of 48"):
        toy(hidden=50)
    for layers, full_every in ((1, 4), (2, 1)):
        with pytest.raises(ValueError, match="both full and sliding"):
            page_examples(decoder(layers=layers, full_every=full_every), BLOCK)
    with pytest.raises(ValueError, match=r"full and sliding layers.*MLA"):
        Server(Decoder(with_mla(model.model)), *pools, BLOCK)


def test_keys_name_all_tokens_before():
    a, b = block_keys([1, 2, 3, 4, 5], 2), block_keys([9, 2, 3, 4], 2)
    assert len(a) == len(b) == 2
    assert a[1] != b[1]
    assert block_keys([1, 2, 3, 4], 2) == a
    assert block_keys([1, 2, 3, 4], 2, b"salt")[0] != a[0] != block_keys([1, 2, 3, 4], 4)[0]


# --- spans of a layer's cache --------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [((12, "fp32"),), ((8, "fp8"), (2, "ue8m0"), (4, "bf16")), ((12, "bf16"),)])
@pytest.mark.parametrize("kind", [KVTable, RingBuffer])
def test_a_span_put_back_reads_the_same(kind, layout):
    def table():
        return kind(layout, 12, (1, 2), 30 if kind is KVTable else 7, torch.device("cpu"))

    source, target = table(), table()
    source.append(torch.randn(1, 2, 17, 12))
    target.restore(11, [piece.clone() for piece in source.span(11, 17)])
    assert target.length == 17
    for a, b in zip(source.span(11, 17), target.span(11, 17), strict=True):
        assert torch.equal(a, b)
    if isinstance(target, RingBuffer):
        assert torch.equal(source.last(6, torch.float32), target.last(6, torch.float32))
        with pytest.raises(ValueError, match="entries 9 … 16 asked, 10 … 16 are held"):
            source.span(9, 17)
    with pytest.raises(ValueError, match="asked"):
        source.span(12, 18)


# --- prediction ----------------------------------------------------------------------------------------------------


def test_prefill_constants_are_found_again(model):
    """Times made from known constants give them back: the fit is exact where the clock is."""
    truth = speed.PrefillSpeed(model.model, 2e-3, 3e-11, 7e-11)
    new, before = np.array(speed.PROBES).T
    found = speed._least_squares(speed._terms(model.model, new, before) / truth.seconds(new, before)[:, None])
    np.testing.assert_allclose(found, [2e-3, 3e-11, 7e-11], rtol=1e-6)
    without = speed.PrefillSpeed(model.model, 0.0, 3e-11, 0.0)
    found = speed._least_squares(speed._terms(model.model, new, before) / without.seconds(new, before)[:, None])
    np.testing.assert_allclose(found, [0, 3e-11, 0], atol=1e-9)
    assert (found >= 0).all()


def test_prefill_is_timed(model, monkeypatch):
    measured = speed.measure(model, ((4, 0), (32, 0), (8, 16)), repeats=1)
    assert measured.seconds(64) >= measured.seconds(8) > 0  # whatever else the machine does meanwhile
    truth = speed.PrefillSpeed(model.model, 2e-3, 3e-11, 7e-11)
    monkeypatch.setattr(speed, "_timed", lambda _, new, prefix, repeats: float(truth.seconds(new, prefix)))
    np.testing.assert_allclose(speed.measure(model).seconds(100, 50), truth.seconds(100, 50))
    with pytest.raises(ValueError, match="three probes"):
        speed.measure(model, ((4, 0), (4, 0)))


def test_tiers_are_timed(tmp_path):
    speeds = tiers.speeds(Geometry.of(page_of(0)), pages=3, repeats=2, folder=tmp_path)
    assert min(speeds.of(tier) for tier in ("memory", "ram", "warm file", "cold file")) > 0
    assert list(tmp_path.iterdir()) == []


def test_the_prediction_is_the_simulators():
    assert tiers.predicted_ttft_s([10, 0], 5.0, [1.0, 2.0]) == 5.0
    assert tiers.predicted_ttft_s([10, 6], [5.0, 2.0], [1.0, 2.0]) == 8.0
    assert tiers.predicted_ttft_s([10, 10], 5.0, [3.0, 1.0], "streamed") == loading.timeline([2, 2], [3, 1]).finish_s
