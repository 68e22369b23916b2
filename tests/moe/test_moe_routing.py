"""Routing: properties for all inputs, presets, ties, and what bad input says."""

import subprocess
import sys

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from costlab import arch, moe
from costlab.catalog import Routing

MODELS = {key: model for key, model in arch.models().items() if "experts" in model.params.by_component}


@st.composite
def routed(draw: st.DrawFn) -> tuple[moe.Router, np.ndarray, np.ndarray | None]:
    groups = draw(st.sampled_from([1, 2, 4]))
    kept = draw(st.integers(1, groups))
    experts = groups * draw(st.integers(1, 6))
    k = draw(st.integers(1, experts // groups * kept))
    score = draw(st.sampled_from(sorted(moe.SCORES)))
    routing = Routing(score, groups=groups, groups_kept=kept, bias=draw(st.booleans()), scale=draw(st.floats(0.1, 9)))
    # quarters: exact sums, and ties often enough
    quarters = st.integers(-40, 40).map(lambda n: n / 4)
    logits = draw(arrays(float, (draw(st.integers(0, 8)), experts), elements=quarters))
    bias = draw(arrays(float, experts, elements=quarters)) if routing.bias else None
    return moe.Router(experts, k, routing), logits, bias


@given(routed())
def test_every_token_visits_k_distinct_experts_with_weights_that_sum_to_the_scale(case) -> None:
    router, logits, bias = case
    routes = router.route(logits, bias)
    routes.check(router.routing.scale)
    assert routes.experts.shape == (len(logits), router.top_k)
    assert routes.loads.sum() == len(logits) * router.top_k


@given(routed())
def test_no_expert_left_out_beats_one_chosen_and_ties_go_to_the_lower_index(case) -> None:
    router, logits, bias = case
    routes = router.route(logits, bias)
    steered = routes.scores if bias is None else routes.scores + bias
    if router.routing.groups > 1:
        steered = moe.limit_groups(steered, router.routing.groups, router.routing.groups_kept)
    for token, chosen in enumerate(routes.experts):
        rank = [(-steered[token, e], e) for e in range(router.experts)]
        assert [e for _, e in sorted(rank)[: router.top_k]] == chosen.tolist()


@given(routed())
def test_at_most_the_kept_groups_are_visited(case) -> None:
    router, logits, bias = case
    group = router.route(logits, bias).experts // (router.experts // router.routing.groups)
    assert all(len(set(row)) <= router.routing.groups_kept for row in group.tolist())


@given(routed(), st.randoms(use_true_random=False))
def test_permuting_tokens_permutes_routes(case, random) -> None:
    router, logits, bias = case
    order = list(range(len(logits)))
    random.shuffle(order)
    straight, permuted = router.route(logits, bias), router.route(logits[order], bias)
    np.testing.assert_array_equal(permuted.experts, straight.experts[order])
    np.testing.assert_array_equal(permuted.weights, straight.weights[order])


@given(routed())
def test_bias_changes_the_choice_but_never_a_score(case) -> None:
    router, logits, bias = case
    routes = router.route(logits, bias)
    picked = np.take_along_axis(routes.scores, routes.experts, -1)
    ratio = routes.weights / picked  # the same factor for all experts of a token
    np.testing.assert_allclose(ratio, ratio[:, :1].repeat(router.top_k, 1), rtol=1e-9)


def test_a_strong_bias_wins_the_choice() -> None:
    router = moe.Router(8, 2, Routing("sigmoid", bias=True))
    bias = np.zeros(8)
    bias[[3, 5]] = 2.0  # scores stay below 1
    assert (np.sort(router.route(np.random.default_rng(0).normal(size=(20, 8)), bias).experts) == [3, 5]).all()


@pytest.mark.parametrize("key", MODELS)
def test_presets_say_what_the_catalog_says(key: str) -> None:
    ffn = MODELS[key].layers[-1][1]
    router = moe.router(key)
    assert (router.experts, router.top_k, router.routing) == (ffn.experts, ffn.top_k, ffn.routing)
    routes = router.route(np.random.default_rng(0).normal(size=(5, router.experts)))
    routes.check(router.routing.scale)


def test_v4_pro_routes_its_first_three_layers_by_token_id() -> None:
    rng = np.random.default_rng(0)
    table = moe.token_table(50, 384, 6, rng)
    ids = rng.integers(50, size=7)
    for layer in range(3):
        routes = moe.router("deepseek-v4-pro", layer).route(rng.normal(size=(7, 384)), token_ids=ids, table=table)
        np.testing.assert_array_equal(routes.experts, table[ids])
        routes.check(2.5)
    assert moe.router("deepseek-v4-pro", 3).routing.select == "top-k"


def test_equal_scores_choose_the_first_experts() -> None:
    assert moe.top_k(np.zeros((2, 5)), 3).tolist() == [[0, 1, 2]] * 2


def test_v3_ties_between_groups_keep_the_lower_groups() -> None:
    routes = moe.router("deepseek-v3").route(np.zeros((1, 256)))
    assert routes.experts.tolist() == [list(range(8))]


def test_extreme_logits_stay_finite() -> None:
    for name, score in moe.SCORES.items():
        values = score(np.array([[-1e4, 0.0, 1e4]]))
        assert np.isfinite(values).all() and (np.diff(values) >= 0).all(), name


def test_empty_batch_gives_empty_routes() -> None:
    routes = moe.router("deepseek-v3").route(np.zeros((0, 256)))
    assert (routes.experts.shape, routes.loads.sum()) == ((0, 8), 0)


def _router(**routing: object) -> moe.Router:
    return moe.Router(8, 2, Routing("sigmoid", **routing))


TABLE = np.tile([0, 1], (4, 1))
BAD = {
    "top-k above experts": (lambda: moe.Router(4, 5, Routing("softmax")), "top_k = 5 .* experts = 4"),
    "top-k of nothing": (lambda: moe.top_k(np.zeros((1, 4)), 0), "top_k = 0 .* between 1 and .* 4"),
    "groups that don't divide": (lambda: _router(groups=3), "8 experts don't divide into groups = 3"),
    "too many groups kept": (lambda: _router(groups=2, groups_kept=3), "groups_kept = 3 .* groups = 2"),
    "top-k above the kept groups": (lambda: _router(groups=8), "top_k = 2 exceeds the 1 experts"),
    "limit: groups": (lambda: moe.limit_groups(np.zeros((1, 8)), 3, 1), "8 experts don't divide"),
    "limit: kept": (lambda: moe.limit_groups(np.zeros((1, 8)), 2, 0), "groups kept = 0"),
    "NaN score": (lambda: moe.top_k(np.array([[0, np.nan]]), 1), r"score at \[0, 1\].*NaN"),
    "NaN logit": (lambda: _router().route(np.full((1, 8), np.nan)), "token 0, expert 0 is nan"),
    "endless logit": (lambda: _router().route(np.full((1, 8), np.inf)), "is inf, not a finite number"),
    "wrong width": (lambda: _router().route(np.zeros((1, 7))), r"\(1, 7\) should be \(tokens, 8\)"),
    "bias it has not": (lambda: _router().route(np.zeros((1, 8)), np.zeros(8)), "no selection bias"),
    "bias too short": (lambda: _router(bias=True).route(np.zeros((1, 8)), np.zeros(7)), r"\(7,\) should hold 8"),
    "table it has not": (lambda: _router().route(np.zeros((1, 8)), table=TABLE), "takes no token table"),
    "table missing": (lambda: _router(select="token-table").route(np.zeros((1, 8))), "needs table and token_ids"),
    "table too narrow": (lambda: moe.look_up(TABLE, [0], 8, 3, 1), r"\(4, 2\) should be \(vocabulary, 3\)"),
    "too few ids": (lambda: moe.look_up(TABLE, [0], 8, 2, 3), r"\(1,\) should be \(3,\)"),
    "unknown id": (lambda: moe.look_up(TABLE, [4], 8, 2, 1), "token id 4 .* between 0 and 3"),
    "table names no expert": (lambda: moe.look_up(TABLE + 7, [0], 8, 2, 1), "expert 8 .* between 0 and 7"),
    "bias beside a table": (
        lambda: _router(select="token-table").route(np.zeros((1, 8)), np.zeros(8), [0], TABLE),
        "takes no bias",
    ),
    "a dense layer": (lambda: moe.router("deepseek-v3", 0), "layer 0 of deepseek-v3 has no experts; layers 3 to 60"),
    "a dense model": (lambda: moe.router("llama-3.1-70b"), "llama-3.1-70b has no layer with experts"),
    "no such layer": (lambda: moe.router("deepseek-v3", 61), "layer 61 .* between 0 and 60"),
    "negative tokens": (lambda: moe.skewed_logits(-1, [0.5, 0.5], np.random.default_rng(0)), "tokens = -1"),
    "no popularity": (lambda: moe.skewed_logits(1, [1.0, 0.0], np.random.default_rng(0)), "one positive number"),
    "no experts": (lambda: moe.zipf_shares(0, 1.0), "0 experts"),
    "negative exponent": (lambda: moe.zipf_shares(4, -1.0), "exponent -1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_quoted(name: str) -> None:
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(ValueError, match=r"unknown model 'mixtrall-8x7b'.*did you mean 'mixtral-8x7b'"):
        moe.router("mixtrall-8x7b")


def test_sampled_first_choices_follow_the_shares() -> None:
    shares = moe.zipf_shares(8, 1.0)
    first = moe.sample_routes(40_000, 2, shares, np.random.default_rng(0))[:, 0]
    np.testing.assert_allclose(moe.count_loads(first, 8) / 40_000, shares, atol=0.01)


@settings(max_examples=examples(20))
@given(st.integers(0, 2**32 - 1))
def test_a_seed_fixes_the_load(seed: int) -> None:
    def draw() -> np.ndarray:
        rng = np.random.default_rng(seed)
        return moe.sample_routes(10, 2, moe.zipf_shares(6, 1.0, rng), rng)

    np.testing.assert_array_equal(draw(), draw())


def test_the_lever_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import costlab.moe as m; print(m.summary('deepseek-v3').experts)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "256\n"
