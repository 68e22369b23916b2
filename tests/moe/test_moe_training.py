"""Collapse and its cures: a few hundred steps of a tiny layer."""

import pytest
import torch

from costlab.nn.experiments.collapse import Setup, TrainingRun, train_layer

METHODS = ("none", "switch", "sequence", "bias")


@pytest.fixture(scope="module")
def runs() -> dict[str, TrainingRun]:
    return {method: train_layer(method) for method in METHODS}


def test_without_balancing_most_experts_fall_idle(runs: dict[str, TrainingRun]) -> None:
    assert runs["none"].entropy < 0.6 and runs["none"].idle >= 8


@pytest.mark.parametrize("method", ["switch", "sequence", "bias"])
def test_each_method_brings_the_experts_back_and_lowers_the_loss(runs: dict[str, TrainingRun], method: str) -> None:
    assert runs[method].entropies[0] == runs["none"].entropies[0] < 0.6  # the same start
    assert runs[method].entropy > 0.9 and runs[method].idle == 0
    assert runs[method].loss < 0.5 * runs["none"].loss


def test_a_loss_of_counts_changes_nothing(runs: dict[str, TrainingRun]) -> None:
    """To the bit, so a gradient would show in the second step's loss; forty steps do."""
    article = train_layer("article", Setup(steps=40))
    assert article.losses == runs["none"].losses[:40]
    assert article.entropies == runs["none"].entropies[:40]


def test_a_seed_fixes_the_run_and_leaves_torch_alone() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    short = Setup(steps=5, seed=3)
    assert train_layer("bias", short) == train_layer("bias", short)
    assert train_layer("bias", short) != train_layer("bias", Setup(steps=5, seed=4))
    assert torch.equal(state, torch.get_rng_state()) and torch.get_num_threads() == threads


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown method 'hope'; known: article, bias, none"):
        train_layer("hope")
