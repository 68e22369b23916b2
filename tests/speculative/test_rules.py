"""One round: its exact law, what is drawn, what is refused."""

from itertools import product

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from speculative.measure import END, Dial, completed, exactly, streams

from costlab.speculative import (
    Streams,
    acceptance,
    check_laws,
    check_vocabulary,
    distribution,
    draw,
    exact,
    match,
    one_hot,
    random_pair,
    residual,
    verify,
)


@st.composite
def law(draw: st.DrawFn, size: int) -> np.ndarray:
    """Laws with zeros, and with equal entries often enough."""
    weights = draw(st.lists(st.integers(0, 6), min_size=size, max_size=size).filter(any))
    return np.array(weights) / sum(weights)


def emitted(round_) -> tuple[int, ...]:
    return tuple(round_.tokens.tolist())


# --- the law of a round ----------------------------------------------------------------------------------------


def verify_law(pair, context: int, length: int) -> dict[tuple[int, ...], float]:
    """What `verify` emits after a context: over all drafts, each with what its uniforms make of it."""
    law: dict[tuple[int, ...], float] = {}
    for drafted in product(range(pair.vocabulary), repeat=length):
        seen = (context, *drafted)
        q, p = pair.draft[list(seen[:-1])], pair.target[list(seen)]
        chance = np.prod([row[token] for row, token in zip(q, drafted, strict=True)])
        if not chance:
            continue
        found = exactly(lambda u, d=drafted, q=q, p=p: emitted(verify(d, q, p, streams(u, length))), length + 1)
        for tokens, share in found.items():
            law[tokens] = law.get(tokens, 0.0) + chance * share
    return law


PAIRS = {
    "close": random_pair(3, 0.9, np.random.default_rng(1)),
    "far": random_pair(3, 0.4, np.random.default_rng(2)),
    "one-hot draft": random_pair(3, 0.7, np.random.default_rng(3)),
}
hot = PAIRS["one-hot draft"]
PAIRS["one-hot draft"] = type(hot)(hot.target, one_hot(hot.draft.argmax(-1), 3))
PAIRS["greedy target"] = type(hot)(one_hot(hot.target.argmax(-1), 3), hot.draft)
PAIRS["zeros on both sides"] = type(hot)(
    np.array([[0.5, 0.5, 0], [0, 0.25, 0.75], [1, 0, 0]]), np.array([[0, 0.5, 0.5], [0.5, 0.5, 0], [0.25, 0, 0.75]])
)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("length", [0, 1, 2])
def test_the_law_of_a_round_is_the_targets_to_the_last_digit(name: str, length: int) -> None:
    """Enumerated over all drafts and outcomes; texts shorter than g + 1 are completed by the target."""
    pair = PAIRS[name]
    for context in range(3):
        found = completed(verify_law(pair, context, length), pair.target, context, length + 1)
        expected = completed({(): 1.0}, pair.target, context, length + 1)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_enumeration_sees_a_small_fault() -> None:
    """Acceptance a millionth too low, and the law is no longer the target's."""
    pair = PAIRS["far"]
    low = type(pair)(pair.target, 0.999999 * pair.draft + 1e-6 / 3)

    def emit(drafted: tuple[int, ...]):
        return lambda u: emitted(verify(drafted, low.draft[[0]], pair.target[[0, drafted[0]]], streams(u, 1)))

    law: dict[tuple[int, ...], float] = {}
    for token in range(3):
        for tokens, share in exactly(emit((token,)), 2).items():
            law[tokens] = law.get(tokens, 0.0) + pair.draft[0, token] * share
    off = np.abs(completed(law, pair.target, 0, 1) - pair.target[0]).max()
    assert 1e-8 < off < 1e-5


@pytest.mark.parametrize("name", PAIRS)
def test_match_emits_the_targets_law_for_every_draft(name: str) -> None:
    pair = PAIRS[name]
    for drafted in product(range(3), repeat=2):
        rows = [1, *drafted]
        law = exactly(lambda u, d=drafted, r=rows: emitted(match(d, pair.target[r], Dial(*u))), 3)
        # not over drafts: each draft by itself keeps the law of the first token
        first = np.zeros(3)
        for tokens, share in law.items():
            first[tokens[0]] += share
        np.testing.assert_allclose(first, pair.target[1], atol=1e-12)
        expected = completed({(): 1.0}, pair.target, 1, 3)
        np.testing.assert_allclose(completed(law, pair.target, 1, 3), expected, atol=1e-12)


@given(st.data(), st.integers(1, 6))
def test_kept_and_replaced_tokens_add_up_to_the_target(data, size: int) -> None:
    p, q = data.draw(law(size)), data.draw(law(size))
    np.testing.assert_allclose(exact(p, q).law(q), p, atol=1e-14)
    kept = (q * exact(p, q).chance).sum()
    assert kept == pytest.approx(acceptance(p, q)) == pytest.approx(1 - 0.5 * np.abs(p - q).sum())
    rest = residual(p, q)
    assert rest.sum() == pytest.approx(1) and (rest >= 0).all()
    assert (rest[p <= q] == 0).all() or (p <= q).all()


@settings(max_examples=examples(100))
@given(st.data(), st.integers(1, 5), st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_a_round_is_a_prefix_of_the_draft_and_one_token_that_p_allows(data, size, length, seed) -> None:
    p = np.array([data.draw(law(size)) for _ in range(length + 1)])
    q = np.array([data.draw(law(size)) for _ in range(length)]).reshape(length, size)
    rng = np.random.default_rng(seed)
    drafted = draw(q, rng.random(length))
    for found in (verify(drafted, q, p, rng), match(drafted, p, rng)):
        assert found.tokens.shape == (found.accepted + 1,)
        assert found.tokens[:-1].tolist() == drafted[: found.accepted].tolist()
        assert (p[np.arange(found.accepted + 1), found.tokens] > 0).all()


def test_all_kept_gives_a_bonus_token_from_the_last_row() -> None:
    p = one_hot([2, 0, 1], 3)
    found = verify([2, 0], p[:2], p, np.random.default_rng(0))
    assert (emitted(found), found.accepted) == ((2, 0, 1), 2)
    assert emitted(match([2, 0], p, np.random.default_rng(0))) == (2, 0, 1)


def test_acceptance_is_the_sum_of_the_smaller_and_not_only_the_law_is_right() -> None:
    """vllm#40149: with the draft's laws lost and one-hot ones in their place, the law stays and acceptance drops."""
    pair = PAIRS["close"]
    p, q = pair.target[0], pair.draft[0]
    drawn = sum(q[x] * share for x in range(3) for o, share in kept_law(x, q, p).items() if o)
    hot_ = sum(q[x] * share for x in range(3) for o, share in kept_law(x, one_hot(x, 3), p).items() if o)
    assert drawn == pytest.approx(acceptance(p, q), abs=1e-12)
    assert hot_ == pytest.approx((p * q).sum(), abs=1e-12)
    assert drawn > hot_ + 0.15


def kept_law(token: int, q: np.ndarray, p: np.ndarray) -> dict[int, float]:
    """How many tokens are kept of a draft of one."""
    return exactly(lambda u: verify([token], [q], [p, p], streams(u, 1)).accepted, 2)


def test_streams_apart_the_drafts_do_not_change_the_last_draw() -> None:
    """The same seed for the last token draws alike whatever was drafted, and the accept tests take g of their own."""
    p, q = np.full((4, 5), 0.2), np.full((3, 5), 0.2)
    for drafted in ([0, 0, 0], [4, 3, 2]):
        pair = Streams(np.random.default_rng(1), np.random.default_rng(2))
        assert verify(drafted, q, p, pair).tokens[-1] == draw(p[-1], np.random.default_rng(2).random())
        assert pair.accept.random() == np.random.default_rng(1).random(4)[-1]


def test_a_round_draws_alike_from_one_seed_and_otherwise_from_another() -> None:
    pair = random_pair(50, 0.5, np.random.default_rng(0))
    drafted = draw(pair.draft[[0] * 5], np.random.default_rng(1).random(5))
    rows = [0] * 5
    runs = [
        emitted(verify(drafted, pair.draft[rows], pair.target[[*rows, 0]], np.random.default_rng(s))) for s in SEEDS
    ]
    assert runs[0] == runs[1]
    assert len(set(runs)) > 2


SEEDS = (0, 0, 1, 2, 3)


# --- p identical to q ------------------------------------------------------------------------------------------


def test_a_draft_that_is_the_target_is_always_kept_and_leaves_no_nan() -> None:
    """jaymody/speculative-sampling#5: the residual of a law and itself is 0 / 0."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet([0.1] * 8, 1001)
    np.testing.assert_allclose(residual(p, p), p, rtol=1e-15)
    drafted = draw(p[:-1], rng.random(1000))
    found = verify(drafted, p[:-1], p, rng)
    assert found.accepted == 1000
    near = p * (1 + 2.0**-52 * rng.integers(-1, 2, p.shape))  # the same but for rounding
    found = residual(p, near)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(-1), 1)


# --- what is never drawn ---------------------------------------------------------------------------------------


@given(st.data(), st.integers(1, 6), st.one_of(st.just(0.0), st.just(END), st.floats(0, END)))
def test_a_token_of_probability_0_is_never_drawn(data, size: int, uniform: float) -> None:
    chances = data.draw(law(size)) * data.draw(st.sampled_from([1.0, 1 - 1e-9, 3.0, 1e-300]))
    assert chances[draw(chances, uniform)] > 0


def test_a_uniform_of_0_keeps_no_token_that_the_target_rules_out() -> None:
    p, q = np.array([[0.0, 1.0]] * 2), np.array([[0.5, 0.5]])
    found = verify([0], q, p, streams((0.0, 0.0), 1))
    assert emitted(found) == (1,)


def test_a_drafted_token_that_q_rules_out_is_an_error_that_names_it() -> None:
    """jaymody/speculative-sampling#3, as transformers still takes it: the law reported is not the one drawn from."""
    q = [[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]]
    with pytest.raises(ValueError, match=r"token 1 at position 2 was drafted where q = 0.*one_hot"):
        verify([0, 1, 1], q, np.full((4, 2), 0.5), np.random.default_rng(0))


# --- what public code got wrong --------------------------------------------------------------------------------


def one_position(drawn_from: np.ndarray, q: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The law that `verify` emits for a draft drawn from one law and reported as another."""
    found = np.zeros(len(p))
    for token in np.flatnonzero(drawn_from):
        law = exactly(lambda u, t=token: emitted(verify([t], [q], [p, p], streams(u, 1))), 2)
        for tokens, share in law.items():
            found[tokens[0]] += drawn_from[token] * share
    return found


LOGITS = np.array([1.3, 0.9, 0.2, -0.4, -1.1])
P, RAW = distribution(LOGITS[::-1] * 0.5 + LOGITS), distribution(LOGITS)


@pytest.mark.parametrize(
    "drawn_from",
    [
        pytest.param(one_hot(0, 5), id="argmax (jaymody#3, transformers#32867, rtp-llm#1311)"),
        pytest.param(distribution(LOGITS, top_k=2), id="top-k (transformers#47932)"),
        pytest.param(distribution(LOGITS, top_p=0.8), id="top-p (vllm#10198)"),
        pytest.param(distribution(LOGITS, temperature=0.5), id="another temperature (xllm#2175)"),
        pytest.param(np.sort(RAW)[[4, 1, 2, 3, 0]], id="ids sorted, laws not (llama-cpp-python's example)"),
    ],
)
def test_the_law_is_kept_with_the_q_drawn_from_and_lost_with_another(drawn_from: np.ndarray) -> None:
    np.testing.assert_allclose(one_position(drawn_from, drawn_from, P), P, atol=1e-12)
    assert np.abs(one_position(drawn_from, RAW, P) - P).sum() / 2 > 0.02


@pytest.mark.parametrize("cut", [{"top_k": 2}, {"top_p": 0.5}, {"temperature": 0.0}, {"top_k": 3, "temperature": 2.0}])
def test_a_cut_target_emits_only_what_it_allows_whatever_the_draft_allows(cut: dict[str, float]) -> None:
    """Top-k sets of target and draft that differ: each side has its own (llama.cpp's example subtracts by place)."""
    target, drafted = LOGITS[[3, 0, 4, 1, 2]], LOGITS
    for p in (distribution(target), distribution(target, **cut)):
        for q in (distribution(drafted), distribution(drafted, **cut)):
            np.testing.assert_allclose(one_position(q, q, p), p, atol=1e-12)


def test_the_draws_of_a_law_follow_it() -> None:
    """transformers#47932 asks for it: the histogram of what is drawn is the law that is reported."""
    for cut in ({}, {"top_k": 3}, {"top_p": 0.8}, {"temperature": 0.0}):
        q = distribution(LOGITS, **cut)
        drawn = draw(np.tile(q, (100_000, 1)), (np.arange(100_000) + 0.5) / 100_000)
        np.testing.assert_allclose(np.bincount(drawn, minlength=5) / 100_000, q, atol=2e-5)


# --- what is refused -------------------------------------------------------------------------------------------

OK = np.full((2, 3), 1 / 3)


@pytest.mark.parametrize(
    ("drafted", "q", "p", "says"),
    [
        ([0], OK[:1], [[0.5, 0.6, -0.1], [1, 0, 0]], r"p: probability -0.1 at \(0, 2\) should be at least 0"),
        ([0], OK[:1], [[0.5, np.nan, 0.5], [1, 0, 0]], r"p: probability nan at \(0, 1\)"),
        ([0], OK[:1], [[0.5, 0.5, 0.5], [1, 0, 0]], r"p: a law sums to 1.5, at \(0,\).*`distribution`"),
        ([0], [[2.0, -1.0, 0.3]], OK, r"q: probability -1.0 at \(0, 1\)"),
        ([0], [[0.0, 0.0, 0.0]], OK, r"q: a law sums to 0"),
        ([0], [[np.inf, 0.0, 0.0]], OK, r"q: a law sums to inf"),
        ([0], OK[:1], OK[:1], r"p of shape \(1, 3\) should be \(2, vocabulary\)"),
        ([0, 1], OK[:1], np.vstack([OK, OK[:1]]), r"q of shape \(1, 3\) should be \(2, 3\)"),
        ([0], np.full((1, 4), 0.25), OK, r"q of shape \(1, 4\) should be \(1, 3\)"),  # another vocabulary
        ([0], OK[0], OK, r"q of shape \(3,\) should be \(1, 3\)"),
        ([3], OK[:1], OK, r"token 3 at \[0\] should lie between 0 and 2"),
        ([-1], OK[:1], OK, r"token -1 at \[0\]"),
        ([0.5], OK[:1], OK, "whole numbers, got 0.5"),
        ([], [], np.zeros((1, 0)), r"p of shape \(1, 0\)"),
    ],
)
def test_what_is_no_round_is_refused(drafted, q, p, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        verify(drafted, q, p, np.random.default_rng(0))


def test_match_refuses_what_is_no_law() -> None:
    with pytest.raises(ValueError, match=r"p of shape \(1, 3\) should be \(2, vocabulary\)"):
        match([0], OK[:1], np.random.default_rng(0))
    with pytest.raises(ValueError, match="token 7"):
        match([7], OK, np.random.default_rng(0))


def test_a_law_of_float32_is_taken() -> None:
    logits = np.random.default_rng(0).normal(size=(100, 5000)).astype(np.float32)
    weights = np.exp(logits)
    law = weights / weights.sum(-1, keepdims=True)
    assert check_laws(law, "law").dtype == np.float64


def test_a_vocabulary_of_the_same_size_in_another_order_is_refused() -> None:
    check_vocabulary(["a", "b"], ("a", "b"))
    with pytest.raises(ValueError, match="has 2 tokens and the draft's 3"):
        check_vocabulary("ab", "abc")
    with pytest.raises(ValueError, match="token 1 is 'b' to the target and 'c' to the draft"):
        check_vocabulary("abc", "acb")


def test_tokens_outside_a_vocabulary_have_no_one_hot_law() -> None:
    assert one_hot(2, 3).tolist() == [0, 0, 1]
    assert one_hot([[0], [1]], 2).tolist() == [[[1, 0]], [[0, 1]]]
    with pytest.raises(ValueError, match="token 3 at"):
        one_hot([0, 3], 3)
