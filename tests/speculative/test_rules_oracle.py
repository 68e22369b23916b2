"""Rounds beside transformers' `_speculative_sampling`: the same uniforms, the same decisions."""

import numpy as np
import pytest
import torch
from speculative.peer import own_uniforms, play

from costlab.speculative import Streams, distribution, draw, one_hot, verify, verify_many
from costlab.speculative.simulate import chances_of


def rounds(vocabulary: int, length: int, count: int, noise: float, seed: int = 0):
    """Logits of target and draft, drafted tokens and uniforms of many rounds."""
    rng = np.random.default_rng(seed)
    p = 2 * rng.normal(size=(count, length + 1, vocabulary))
    q = p[:, :length] + noise * rng.normal(size=(count, length, vocabulary))
    drafted = draw(distribution(q), rng.random((count, length)))
    return drafted, q, p, rng.random((count, length)), rng.random(count)


@pytest.mark.parametrize(("vocabulary", "length"), [(8, 1), (8, 5), (256, 4), (2, 3)])
@pytest.mark.parametrize("noise", [0.3, 2.0])
def test_many_rounds_are_decided_as_transformers_decides_each(vocabulary: int, length: int, noise: float) -> None:
    drafted, q, p, accept, last = rounds(vocabulary, length, 300, noise)
    tokens, kept = play(*map(torch.tensor, (drafted, q, p, accept, last)))
    ours = verify_many(drafted, distribution(q), distribution(p), accept, last)
    np.testing.assert_array_equal(ours.accepted, kept)
    np.testing.assert_array_equal(ours.tokens, tokens)
    assert len(set(kept.tolist())) == length + 1  # each number of kept tokens came up


def test_one_round_is_decided_as_transformers_decides_it() -> None:
    drafted, q, p, _, _ = rounds(8, 3, 50, 1.0)
    for row in range(50):
        streams = Streams(np.random.default_rng(row), np.random.default_rng(100 + row))
        ours = verify(drafted[row], distribution(q[row]), distribution(p[row]), streams)
        accept = torch.tensor(np.random.default_rng(row).random((1, 3)))
        last = torch.tensor(np.random.default_rng(100 + row).random(1))
        one = [torch.tensor(each[row : row + 1]) for each in (drafted, q, p)]
        tokens, kept = play(*one, accept, last)
        assert kept[0] == ours.accepted
        assert tokens[0, : ours.accepted + 1].tolist() == ours.tokens.tolist()


def test_top_k_drafts_with_their_own_law_are_decided_alike() -> None:
    """Warped logits on both sides, -inf among them, as transformers' generate hands them over."""
    drafted, q, p, accept, last = rounds(8, 3, 300, 1.0)
    q = np.where(distribution(q, top_k=3) > 0, q, -np.inf)
    p = np.where(distribution(p, top_k=4) > 0, p, -np.inf)
    drafted = draw(distribution(q), np.random.default_rng(1).random(drafted.shape))
    tokens, kept = play(*map(torch.tensor, (drafted, q, p, accept, last)))
    ours = verify_many(drafted, distribution(q), distribution(p), accept, last)
    np.testing.assert_array_equal(ours.tokens, tokens)
    assert (ours.accepted == kept).all()


def test_what_differs_a_token_drafted_where_q_is_0() -> None:
    """transformers keeps it, for p / 0 is above all; that the law cannot survive is why we refuse it."""
    drafted = np.array([[1]])
    q, p = np.array([[[0.0, -np.inf]]]), np.zeros((1, 2, 2))
    _, kept = play(*map(torch.tensor, (drafted, q, p, np.array([[0.999]]), np.array([0.5]))))
    assert kept[0] == 1
    with pytest.raises(ValueError, match="drafted where q = 0"):
        verify_many(drafted, distribution(q), distribution(p), [[0.999]], [0.5])


def test_argmax_drafts_with_raw_logits_lose_the_law_in_transformers_too() -> None:
    """transformers#47932: argmax tokens beside raw logits. The same through ours, and right with one-hot laws."""
    count = 2000
    logits = np.array([1.0, 0.6, 0.2, -0.3])
    p_logits = np.tile(np.add(logits, [0.0, 0.4, -0.2, 0.3]), (count, 2, 1))
    q_logits = np.tile(logits, (count, 1, 1))
    drafted = np.zeros((count, 1), dtype=np.int64)
    rng = np.random.default_rng(0)
    accept, last = rng.random((count, 1)), rng.random(count)
    tokens, _ = play(*map(torch.tensor, (drafted, q_logits, p_logits, accept, last)))
    p = distribution(p_logits)
    wrong = verify_many(drafted, distribution(q_logits), p, accept, last)
    np.testing.assert_array_equal(wrong.tokens, tokens)
    right = verify_many(drafted, one_hot(drafted, 4), p, accept, last)

    def off(found: np.ndarray) -> float:
        return float(np.abs(np.bincount(found[:, 0], minlength=4) / count - p[0, 0]).sum() / 2)

    assert off(wrong.tokens) > 0.2
    assert off(right.tokens) < 0.04
    assert chances_of(drafted, one_hot(drafted, 4)).all()


def test_its_random_numbers_come_back() -> None:
    before = torch.rand_like, torch.multinomial
    with own_uniforms():
        assert torch.rand_like is not before[0]
    assert (torch.rand_like, torch.multinomial) == before
