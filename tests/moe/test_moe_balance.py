"""Balance: values that can be worked out by hand, and what article E's losses do."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mended import MendedRouter

from costlab import moe
from costlab.claims import articles

EVEN = (np.arange(64) % 16).reshape(32, 2)  # 32 tokens, 2 of 16 experts, each expert 4 times


def test_entropy_and_violation_at_both_ends() -> None:
    assert moe.load_entropy(np.ones(16)) == pytest.approx(1)
    assert moe.load_entropy([7, 0, 0, 0]) == 0
    assert moe.load_entropy([1, 1, 0, 0]) == pytest.approx(0.5)


def test_switch_loss_is_1_when_even_and_e_at_collapse() -> None:
    assert moe.switch_loss(np.ones((32, 16)), EVEN) == pytest.approx(1)
    alone = np.zeros((32, 16))
    alone[:, 3] = 1
    assert moe.switch_loss(alone, np.full((32, 1), 3)) == pytest.approx(16)


def test_sequence_loss_sees_what_the_batch_hides() -> None:
    # two sequences, each faithful to one expert: even over the batch, collapsed within each sequence
    chosen = np.repeat([[0], [1]], 8, axis=0)
    scores = np.eye(2)[chosen[:, 0]]
    assert moe.switch_loss(scores, chosen) == pytest.approx(1)
    assert moe.sequence_loss(scores, chosen, 2) == pytest.approx(2)


def test_sequence_loss_is_the_formula_of_the_report() -> None:
    rng = np.random.default_rng(0)
    s, k, total = rng.random((12, 6)), 2, 6
    chosen = moe.top_k(s, k)
    f = [total / (k * 12) * sum(i in row for row in chosen.tolist()) for i in range(total)]
    p = [np.mean([s[t, i] / s[t].sum() for t in range(12)]) for i in range(total)]
    assert moe.sequence_loss(s, chosen, 1) == pytest.approx(sum(a * b for a, b in zip(f, p, strict=True)))


def test_bias_falls_where_overloaded_by_one_step_whatever_the_excess() -> None:
    np.testing.assert_allclose(moe.update_bias([0, 0, 0.5], [100, 2, 51], 0.001), [-0.001, 0.001, 0.5])


def test_bias_updates_even_out_a_skewed_load() -> None:
    rng = np.random.default_rng(0)
    router = moe.router("deepseek-v4-flash")
    preference = rng.normal(size=256)  # every token likes the same experts
    bias = np.zeros(256)
    entropy = []
    for _ in range(150):
        loads = router.route(preference + 0.5 * rng.normal(size=(256, 256)), bias).loads
        bias = moe.update_bias(bias, loads, 0.01)
        entropy.append(moe.load_entropy(loads))
    assert entropy[0] < 0.8 and np.mean(entropy[-10:]) > 0.97


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=40).filter(any))
def test_article_losses_are_0_only_when_even(loads: list[int]) -> None:
    variance, kl = articles.article_variance(loads), articles.article_kl(loads)
    shares = np.array(loads) / sum(loads)
    assert variance.text == pytest.approx(len(loads) * np.mean((shares - shares.mean()) ** 2))
    assert kl.text == pytest.approx(len(loads) * (math.log(len(loads)) * (1 - moe.load_entropy(loads))), abs=1e-6)
    assert variance.code == 0
    assert variance.at_balance == pytest.approx(0, abs=1e-12)
    assert (kl.text > 1e-9) == (len(set(loads)) > 1)


def test_the_articles_router_counts_where_its_loss_does_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    router = articles.ArticleRouter(4)
    router.route([6, 2, 0, 0])
    assert router.load_count.tolist() == [6, 2, 0, 0]
    assert (router.total_routes, router.loss()) == (0, 0)
    monkeypatch.setattr("costlab.claims.articles.ArticleRouter", MendedRouter)
    mended = articles.article_variance([6, 2, 0, 0])
    assert mended.code == pytest.approx(mended.text) == pytest.approx(4 * np.var([0.75, 0.25, 0, 0]))


def test_article_kl_per_token_punishes_perfect_balance() -> None:
    even = articles.article_kl(np.full(256, 128), routes=4096)  # 4096 tokens, 8 experts each
    assert even.text == 0
    assert even.code == even.at_balance == pytest.approx(256 * 8 * math.log(8), rel=1e-6)


def test_article_figures_at_collapse() -> None:
    collapsed = np.zeros(256)
    collapsed[:8] = 4096
    assert articles.article_variance(collapsed).text == pytest.approx(256 * (8 / 64 / 256 - 1 / 256**2))
    assert articles.article_kl(collapsed).text == pytest.approx(256 * math.log(32))


BAD = {
    "no load": (lambda: moe.load_entropy([0, 0]), "not all 0"),
    "negative load": (lambda: moe.load_entropy([-1, 2]), "at least 0"),
    "one expert": (lambda: moe.load_entropy([1]), "at least 2 experts"),
    "empty batch": (lambda: moe.switch_loss(np.zeros((0, 4)), np.zeros((0, 1))), r"\(0, 4\)"),
    "sequences": (lambda: moe.sequence_loss(np.ones((6, 4)), np.zeros((6, 1)), 4), "6 tokens don't divide into 4"),
    "shapes": (lambda: moe.update_bias([0, 0], [1, 2, 3]), r"bias \(2,\), loads \(3,\)"),
    "negative speed": (lambda: moe.update_bias([0], [1], -1.0), "speed -1"),
    "no routes": (lambda: articles.article_kl([1, 2], 0), "routes = 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_quoted(name: str) -> None:
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
