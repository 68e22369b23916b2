"""Cost: closed forms against simulation and published figures."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab import arch, moe, roofline


@pytest.mark.parametrize(
    ("key", "share"), [("deepseek-v4-pro", 0.0311), ("deepseek-v3", 0.0547), ("mixtral-8x7b", 0.2737)]
)
def test_compute_share_is_active_over_multiplied_parameters(key: str, share: float) -> None:
    params = arch.load(key).params
    idle = params.by_component["embedding"] + params.by_component["norm"]
    got = moe.compute_share(key).share
    assert got == pytest.approx(share, abs=1e-4)
    assert got == pytest.approx(params.active / (params.total - idle), rel=2e-3)  # the rest is attention to one token


def test_a_dense_model_computes_like_itself() -> None:
    assert moe.compute_share("llama-3.1-70b").share == 1


def test_long_context_dilutes_the_lever() -> None:
    assert moe.compute_share("deepseek-v3", 131_072).share > 10 * moe.compute_share("deepseek-v3").share


@pytest.mark.parametrize(("experts", "k", "batch"), [(384, 6, 1), (384, 6, 64), (256, 8, 32), (8, 2, 5), (16, 16, 1)])
def test_touched_share_uniform_equals_simulation(experts: int, k: int, batch: int) -> None:
    simulated = moe.simulate_touched(experts, k, batch, np.random.default_rng(0), trials=400)
    assert simulated == pytest.approx(float(moe.touched_share(experts, k, batch)), abs=0.01)


def test_touched_share_skewed_equals_simulation_and_lies_below_uniform() -> None:
    rng = np.random.default_rng(0)
    shares = moe.zipf_shares(64, 1.0, rng)
    popularity = moe.count_loads(moe.sample_routes(100_000, 4, shares, rng), 64) / 100_000
    closed = float(moe.touched_share(64, 4, 32, popularity))
    assert closed == pytest.approx(moe.simulate_touched(64, 4, 32, rng, shares, trials=400), abs=0.01)
    assert closed < float(moe.touched_share(64, 4, 32)) - 0.1


@given(st.integers(1, 64), st.data())
def test_touched_share_lies_between_one_token_and_all(experts: int, data: st.DataObject) -> None:
    k, batch = data.draw(st.integers(1, experts)), data.draw(st.integers(1, 500))
    share = float(moe.touched_share(experts, k, batch))
    assert k / experts - 1e-12 <= share <= min(1, batch * k / experts) + 1e-12
    assert float(moe.touched_share(experts, k, 0)) == 0


def test_one_token_reads_the_active_weights_and_a_large_batch_all() -> None:
    model = arch.load("deepseek-v4-pro")
    step = moe.decode_step(model, [1, 1_000_000])
    stored = model.weight_bytes()
    idle = stored["embedding"] + stored["norm"]
    assert step.total_bytes[0] == pytest.approx(sum(model.weight_bytes(active=True).values()))
    assert step.total_bytes[1] == pytest.approx(sum(stored.values()) - idle)
    np.testing.assert_allclose(step.touched, [6 / 384, 1])


def test_bytes_per_token_fall_with_the_batch_but_not_as_fast_as_it_grows() -> None:
    step = moe.decode_step("deepseek-v4-pro", 2.0 ** np.arange(12))
    assert (np.diff(step.bytes_per_token) < 0).all()
    assert step.bytes_per_token[0] / step.bytes_per_token[6] < 8  # 64 tokens share weights like fewer than 8


def test_a_dense_model_reads_the_same_at_any_batch() -> None:
    step = moe.decode_step("llama-3.1-70b", [1, 64])
    assert step.total_bytes[0] == step.total_bytes[1] and not step.touched.any()


def test_isca_bound_on_decode_speed() -> None:
    # arXiv 2505.09343 sec. 2.3.2: 32 tokens, 8 routed + 1 shared copies of 7000 elements, FP8 out and BF16 back
    ours = moe.Exchange(hidden=7000, copies=9, dispatch_bytes=1, combine_bytes=2, layers=61)
    assert ours.stage_s(32, 50e9) == pytest.approx(120.96e-6)
    assert ours.step_s(32, 50e9) == pytest.approx(14.76e-3, abs=5e-6)
    assert int(1 / ours.step_s(32, 50e9)) == 67
    assert ours.step_s(32, 900e9) == pytest.approx(0.82e-3, abs=5e-6)
    assert 1 / ours.step_s(32, 900e9) == pytest.approx(1200, rel=0.02)


@pytest.mark.parametrize(
    ("ranks", "dispatch", "combine"), [(64, 173e-6, 314e-6), (128, 192e-6, 369e-6), (256, 194e-6, 360e-6)]
)
def test_deepep_measures_less_than_a_third_above_our_bound(ranks: int, dispatch: float, combine: float) -> None:
    # github.com/deepseek-ai/DeepEP docs/legacy.md: H800, 400 Gb/s, 128 tokens of 7168, top-8, 128-element FP8 scales
    sent = moe.exchange("deepseek-v3", ranks, scale_block=128)
    out = 128 * sent.copies * sent.hidden * sent.dispatch_bytes / 50e9
    back = 128 * sent.copies * sent.hidden * sent.combine_bytes / 50e9
    assert 1.0 < dispatch / out < 1.33
    assert 1.0 < combine / back < 1.33


@pytest.mark.parametrize(("experts", "k", "parts"), [(256, 8, 32), (384, 6, 8), (8, 2, 4), (16, 16, 4), (12, 3, 12)])
def test_reached_ranks_equal_simulation(experts: int, k: int, parts: int) -> None:
    chosen = moe.sample_routes(20_000, k, moe.uniform_shares(experts), np.random.default_rng(0))
    assert moe.count_reached(chosen, experts, parts) == pytest.approx(moe.reached(experts, k, parts), rel=0.01)


def test_group_limited_routing_reaches_at_most_four_nodes_where_free_routing_reaches_more() -> None:
    logits = np.random.default_rng(0).normal(size=(4000, 256))
    limited = moe.count_reached(moe.router("deepseek-v3").route(logits).experts, 256, 8)
    free = moe.count_reached(moe.top_k(logits, 8), 256, 8)
    assert limited <= 4 < 5 < free == pytest.approx(moe.reached(256, 8, 8), rel=0.01)


def test_one_rank_sends_nothing_and_one_copy_per_rank_sends_less() -> None:
    assert moe.exchange("deepseek-v4-pro", 1).bytes_per_token == 0
    each, merged = (moe.exchange("deepseek-v4-pro", 8, copy=copy).copies for copy in ("expert", "rank"))
    assert merged < each == 6 * 7 / 8


@pytest.mark.parametrize("model", ["deepseek-v3", "deepseek-v4-flash", "mixtral-8x7b"])
def test_a_deployment_within_a_node_sends_what_the_exchange_says(model: str) -> None:
    node = roofline.deployment(model, "h800", 8)
    sent = moe.exchange(model, 8)
    assert node.decode(8 * 32, 1000).link_s == pytest.approx(sent.layers * sent.stage_s(32, node.chip.link_bytes_s))


def test_summary_agrees_with_its_parts() -> None:
    s = moe.summary("deepseek-v4-pro", batch=64, ranks=8)
    assert (s.layers, s.experts, s.top_k, s.experts_per_rank) == (61, 384, 6, 48)
    assert s.weight_bytes_per_token * 64 == pytest.approx(s.weight_bytes_per_step)
    assert s.sent_bytes_per_token == pytest.approx(61 * 6 * 7 / 8 * 7168 * 3)
    assert s.rows()["experts touched at batch 64"] == "63.5%"


@pytest.mark.parametrize(("experts", "k", "ranks", "redundant"), [(256, 8, 144, 32), (16, 4, 5, 4), (6, 3, 4, 10)])
def test_reached_ranks_and_touched_slots_equal_simulation_with_redundant_experts(
    experts: int, k: int, ranks: int, redundant: int
) -> None:
    """On routes whose tokens each draw one of an expert's copies."""
    rng, batch = np.random.default_rng(0), 16
    slots = moe.place(np.ones(experts), ranks, redundant).slots.ravel()
    chosen = moe.sample_routes(batch * 300, k, moe.uniform_shares(experts), rng)
    at = np.empty(chosen.shape, dtype=int)  # the slot that serves each choice
    for expert in range(experts):
        mine = chosen == expert
        at[mine] = rng.choice(np.flatnonzero(slots == expert), int(mine.sum()))
    home = at // (slots.size // ranks)
    distinct = np.mean([len(set(row)) for row in home.tolist()])
    assert moe.reached(experts, k, ranks, redundant) == pytest.approx(distinct, rel=0.01)
    touched = np.mean([len(set(step)) for step in at.reshape(-1, batch * k).tolist()]) / slots.size
    attention, ffn = arch.load("mixtral-8x7b").layers[0]
    model = replace(arch.load("mixtral-8x7b"), layers=((attention, replace(ffn, experts=experts, top_k=k)),))
    assert float(moe.decode_step(model, batch, redundant=redundant).touched) == pytest.approx(touched, rel=0.01)


@pytest.mark.parametrize(
    ("ranks", "redundant", "each"), [(144, 32, 2), (320, 64, 1), (32, 32, 9), (72, 32, 4), (64, 0, 4)]
)
def test_redundant_experts_fill_the_ranks(ranks: int, redundant: int, each: int) -> None:
    """DeepSeek's deployments of V3: EP320 with 64 redundant (arXiv 2412.19437 sec. 3.4.2), EP144 and EP32 with 32
    (github.com/deepseek-ai/open-infra-index, day 6)."""
    found = moe.summary("deepseek-v3", batch=128, ranks=ranks, redundant=redundant)
    assert (found.experts_per_rank, found.redundant) == (each, redundant)
    plain = moe.summary("deepseek-v3", batch=128)
    assert found.weight_bytes_per_step >= plain.weight_bytes_per_step  # two copies of an expert are two reads
    assert found.sent_bytes_per_token == pytest.approx(58 * 8 * (1 - 1 / ranks) * 7168 * 3)
    assert 7 < found.ranks_reached <= 8


def test_redundant_experts_leave_what_large_batches_read_per_slot() -> None:
    plain, copied = (moe.decode_step("deepseek-v3", 1_000_000, redundant=n) for n in (0, 64))
    assert float(copied.touched) == 1
    assert float(copied.expert_bytes) == pytest.approx(float(plain.expert_bytes) * 320 / 256)


def _exchange(**changes: float) -> moe.Exchange:
    return moe.Exchange(**{"hidden": 8, "copies": 1, "dispatch_bytes": 1, "combine_bytes": 2, "layers": 1} | changes)


BAD = {
    "top-k": (lambda: moe.touched_share(4, 5, 1), "top_k = 5 .* experts = 4"),
    "negative batch": (lambda: moe.touched_share(4, 1, -1), "at least 0 tokens, got -1"),
    "popularity": (lambda: moe.touched_share(2, 1, 1, [0.5, 0.6]), "2 probabilities that sum to top_k = 1"),
    "no batch": (lambda: moe.decode_step("mixtral-8x7b", 0), "batch .* at least 1"),
    "reached: ranks": (lambda: moe.reached(256, 8, 3), "256 experts don't divide among 3 ranks"),
    "summary: ranks": (
        lambda: moe.summary("deepseek-v3", ranks=144),
        "256 experts don't divide among 144 ranks; 32 redundant ones would make it 288",
    ),
    "summary: redundant": (
        lambda: moe.summary("deepseek-v3", ranks=144, redundant=40),
        "256 experts . 40 redundant = 296 slots don't divide among 144 ranks; 176 redundant ones would make it 432",
    ),
    "summary: negative": (lambda: moe.summary("deepseek-v3", redundant=-8), "256 experts . -8 redundant among 1 ranks"),
    "summary: useless": (lambda: moe.summary("deepseek-v3", redundant=8), "264 slots per rank for 256 experts"),
    "reached: top-k": (lambda: moe.reached(4, 5, 2), "top_k = 5"),
    "count_reached": (lambda: moe.count_reached([[0]], 4, 3), "4 experts don't divide among 3 ranks"),
    "exchange: ranks": (lambda: moe.exchange("deepseek-v4-pro", 5), "384 experts don't divide among 5 ranks"),
    "exchange: dense": (lambda: moe.exchange("llama-2-7b", 1), "llama-2-7b has no layer with experts"),
    "exchange: precision": (lambda: moe.exchange("deepseek-v3", 8, dispatch="fp7"), "unknown precision 'fp7'"),
    "exchange: copy": (lambda: moe.exchange("deepseek-v3", 8, copy="node"), "unknown kind of copy 'node'"),
    "exchange: block": (lambda: moe.exchange("deepseek-v3", 8, scale_block=0), "scale_block = 0"),
    "sizes": (lambda: _exchange(copies=-1), "copies=-1"),
    "link": (lambda: _exchange().stage_s(1, 0), "1 tokens over 0 B/s"),
    "micro-batches": (lambda: _exchange().step_s(1, 1, 0), "micro_batches = 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_quoted(name: str) -> None:
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
