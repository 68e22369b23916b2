"""The chapter's NumPy reference and the torch layers say the same, ties and binding top-k included.

Layers run in float64 here; what remains is the cache's float32.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from attention import dims as d
from oracles import randomise

from costlab import attention as reference
from costlab.nn.attention import build_layer

FEW_HEADS = {"index_heads": 1}  # one head: most scores tie at ReLU's zero


def weights(layer):
    return {name: weight.numpy() for name, weight in layer.state_dict().items()}


@pytest.mark.parametrize(
    "dims", [d.WINDOW, d.HCA, d.CSA, replace(d.CSA, **FEW_HEADS)], ids=["window", "HCA", "CSA", "CSA with ties"]
)
def test_shared_kv(dims):
    layer = randomise(build_layer(dims, d.HIDDEN).double())
    hidden = d.hidden_states(61, 1).double()
    theirs = reference.shared_kv(hidden[0].numpy(), weights(layer), dims)
    np.testing.assert_allclose(d.decoded(layer, hidden)[0], theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dims", [d.DSA, replace(d.DSA, **FEW_HEADS)], ids=["DSA", "DSA with ties"])
def test_dsa(dims):
    layer = randomise(build_layer(dims, d.HIDDEN).double())
    hidden = d.hidden_states(40, 1).double()
    theirs = reference.dsa(hidden[0].numpy(), weights(layer), dims)
    np.testing.assert_allclose(d.decoded(layer, hidden)[0], theirs, rtol=0, atol=1e-6)


def test_one_entry_by_hand():
    """Two tokens, one channel: gates 0 and ln 3 give weights 1/4 and 3/4; the norm then leaves the sign."""
    h = np.array([[4.0, 0.0], [-8.0, np.log(3.0)]])
    entry = reference.compress(h, np.array([[1.0, 0]]), np.array([[0, 1.0]]), np.zeros((2, 1)), np.ones(1), 2, 1)
    mixed = 0.25 * 4 - 0.75 * 8
    np.testing.assert_allclose(entry, [[mixed / np.sqrt(mixed**2 + 1e-6)]])


def test_ties_go_to_the_earlier_place():
    scores = np.array([0.0, 2.0, 0.0, -0.0, 2.0, -1.0])
    assert reference.top_k(scores, 4).tolist() == [1, 4, 0, 2]
    assert reference.top_k(scores, 99).tolist() == [1, 4, 0, 2, 3, 5]


def test_layers_learn():
    """Gradients reach every weight but the indexer's, whose choice is not differentiable."""
    layer = randomise(build_layer(d.CSA, d.HIDDEN)).train()
    layer(d.hidden_states(61)).square().mean().backward()
    idle = {name.split(".")[0] for name, p in layer.named_parameters() if p.grad is None or not p.grad.any()}
    assert idle == {"index", "index_compressor"}
    assert torch.isfinite(layer.sink.grad).all()
