"""Routers and blocks against transformers 5.23 on the same random weights: experts equal, numbers to 1e-5."""

import numpy as np
import pytest
import torch
from moe.oracles import BLOCKS, HIDDEN, Oracle, oracle
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from costlab import moe
from costlab.claims import articles
from costlab.nn.experiments import collapse


@pytest.fixture(params=BLOCKS, ids=lambda key: f"{key[0]}-{key[1]}")
def case(request: pytest.FixtureRequest) -> Oracle:
    return oracle(*request.param)


def by_expert(experts: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = experts.argsort(axis=-1)
    return np.take_along_axis(experts, order, -1), np.take_along_axis(weights, order, -1)


def numpy_routes(case: Oracle) -> moe.Routes:
    gate = case.block.gate
    logits = (case.x @ gate.weight.T).detach().numpy()
    if case.token_ids is not None:
        return case.router.route(logits, token_ids=case.token_ids.numpy(), table=gate.tid2eid.numpy())
    return case.router.route(logits, gate.e_score_correction_bias.numpy() if case.router.routing.bias else None)


def test_numpy_router_chooses_and_weights_as_transformers_does(case: Oracle) -> None:
    routes = numpy_routes(case)
    routes.check(case.router.routing.scale)
    experts, weights = by_expert(routes.experts, routes.weights)
    theirs, their_weights = case.their_choice()
    np.testing.assert_array_equal(experts, theirs.numpy())
    np.testing.assert_allclose(weights, their_weights.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_torch_gate_chooses_and_weights_as_transformers_does(case: Oracle) -> None:
    choice = case.layer.gate(case.x, case.token_ids)
    experts, weights = by_expert(choice.experts.numpy(), choice.weights.detach().numpy())
    theirs, their_weights = case.their_choice()
    np.testing.assert_array_equal(experts, theirs.numpy())
    np.testing.assert_allclose(weights, their_weights.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_block_output_equals_transformers(case: Oracle) -> None:
    ours, theirs = case.layer(case.x, case.token_ids), case.theirs()
    scale = theirs.abs().max()
    torch.testing.assert_close(ours / scale, theirs / scale, atol=1e-5, rtol=0)


def test_block_gradients_equal_transformers(case: Oracle) -> None:
    upstream = torch.randn_like(case.x)
    case.layer(case.x, case.token_ids).backward(upstream)
    case.theirs().backward(upstream)
    pairs = {
        "gate": (case.layer.gate.weight.grad, case.block.gate.weight.grad),
        "gate_up": (case.layer.experts.gate_up.grad, case.block.experts.gate_up_proj.grad),
        "down": (case.layer.experts.down.grad, case.block.experts.down_proj.grad),
    }
    for name, (ours, theirs) in pairs.items():
        scale = theirs.abs().max()
        torch.testing.assert_close(ours / scale, theirs / scale, atol=1e-5, rtol=0, msg=name)


@pytest.mark.parametrize(("model", "layer"), [("deepseek-v4-pro", -1), ("deepseek-v4-pro", 0)])
def test_the_clamp_bites_in_these_cases(model: str, layer: int) -> None:
    case = oracle(model, layer)
    unclamped = case.layer(case.x, case.token_ids)
    case.layer.experts.clamp = case.layer.shared.clamp = None
    assert (case.layer(case.x, case.token_ids) - unclamped).abs().max() > 1


def test_switch_loss_is_transformers_over_k() -> None:
    # transformers counts assignments per token, so its loss is k at balance; ours is 1
    torch.manual_seed(1)
    logits, k = torch.randn(200, 16), 3
    theirs = load_balancing_loss_func((logits,), num_experts=16, top_k=k)
    scores = moe.softmax(logits.numpy())
    assert moe.switch_loss(scores, moe.top_k(scores, k)) == pytest.approx(float(theirs) / k, rel=1e-5)


def test_losses_in_torch_equal_those_in_numpy() -> None:
    layer = oracle("deepseek-v3", -1).layer
    with torch.no_grad():
        choice = layer.gate(torch.randn(60, HIDDEN))
    scores, experts = choice.scores.numpy(), choice.experts.numpy()
    assert float(collapse.switch_loss(choice)) == pytest.approx(moe.switch_loss(scores, experts), rel=1e-5)
    sequence = moe.sequence_loss(scores, experts, 5)
    assert float(collapse.switch_loss(choice, 5)) == pytest.approx(sequence, rel=1e-5)
    loads = moe.count_loads(experts, 256)
    assert float(collapse.count_loss(choice)) == pytest.approx(articles.article_kl(loads).text, rel=1e-5)
    assert collapse.load_entropy(torch.tensor(loads)) == pytest.approx(moe.load_entropy(loads), rel=1e-5)
