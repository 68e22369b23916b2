"""Expert parallelism over real processes: equal to one process, and as many bytes as the closed form says."""

import copy

import pytest
import torch

from costlab import arch, moe
from costlab.catalog import Routing
from costlab.nn.moe import MoELayer
from costlab.nn.moe.parallel import ParallelRun, run_parallel

TOKENS, HIDDEN, EXPERTS, K = 203, 24, 16, 4  # 203: ranks hold different numbers of tokens
ROUTING = Routing("sigmoid", groups=8, groups_kept=4, bias=True, scale=2.5)


@pytest.fixture(scope="module")
def layer() -> MoELayer:
    torch.manual_seed(0)
    layer = MoELayer(HIDDEN, arch.MoE(EXPERTS, K, 10, shared=1, clamp=10.0, routing=ROUTING))
    layer.gate.bias.copy_(0.1 * torch.randn(EXPERTS))
    return layer


@pytest.fixture(scope="module")
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(TOKENS, HIDDEN, generator=rng), torch.randn(TOKENS, HIDDEN, generator=rng)


@pytest.fixture(scope="module", params=[2, 4])
def spread(request: pytest.FixtureRequest, layer: MoELayer, batch) -> ParallelRun:
    return run_parallel(layer, batch[0], request.param, upstream=batch[1])


def test_output_equals_one_process(spread: ParallelRun, layer: MoELayer, batch) -> None:
    torch.testing.assert_close(spread.output, layer(batch[0]).detach(), atol=1e-5, rtol=0)


def test_gradients_equal_one_process(spread: ParallelRun, layer: MoELayer, batch) -> None:
    x = batch[0].clone().requires_grad_()
    names = dict(layer.named_parameters()) | {"x": x}
    for (name, _), wanted in zip(
        names.items(), torch.autograd.grad(layer(x), list(names.values()), batch[1]), strict=True
    ):
        torch.testing.assert_close(spread.gradients[name] / wanted.std(), wanted / wanted.std(), atol=1e-5, rtol=0)


def test_rows_sent_are_those_whose_expert_lives_elsewhere(spread: ParallelRun, layer: MoELayer, batch) -> None:
    ranks = len(spread.traffic)
    source = torch.cat([torch.full((len(p),), r) for r, p in enumerate(torch.arange(TOKENS).tensor_split(ranks))])
    home = layer.gate(batch[0]).experts // (EXPERTS // ranks)
    for rank, traffic in enumerate(spread.traffic):
        assert traffic.dispatched == int(((source == rank)[:, None] & (home != rank)).sum())
        assert traffic.combined == int(((source != rank)[:, None] & (home == rank)).sum())


def test_bytes_sent_are_close_to_the_closed_form(spread: ParallelRun) -> None:
    # exact on average over uniform routings; this one sends within 10% of it
    ranks = len(spread.traffic)
    expected = moe.Exchange(HIDDEN, moe.remote_copies(EXPERTS, K, ranks), 1, 2, 1).bytes_per_token * TOKENS
    assert sum(t.bytes(dispatch=1, combine=2) for t in spread.traffic) == pytest.approx(expected, rel=0.1)


def test_bytes_equal_the_closed_form_when_routing_is_exactly_uniform() -> None:
    ranks = 2
    # token ids 0 … 15 visit every expert equally often from every rank
    layer = MoELayer(
        8, arch.MoE(EXPERTS, K, 4, routing=Routing("sqrt-softplus", select="token-table", scale=2.5)), vocabulary=16
    )
    layer.gate.table.copy_((torch.arange(16)[:, None] + torch.arange(K)) % EXPERTS)
    ids, x = torch.arange(16).repeat(ranks), torch.randn(16 * ranks, 8)
    run = run_parallel(layer, x, ranks, ids)
    torch.testing.assert_close(run.output, layer(x, ids).detach(), atol=1e-5, rtol=0)
    sent = moe.Exchange(8, moe.remote_copies(EXPERTS, K, ranks), 1, 2, 1)
    assert [t.bytes(dispatch=1, combine=2) for t in run.traffic] == [16 * sent.bytes_per_token] * ranks


def test_a_layer_keeps_its_precision(layer: MoELayer, batch) -> None:
    double, x = copy.deepcopy(layer).double(), batch[0][:20].double()
    output = run_parallel(double, x, 1).output
    torch.testing.assert_close(output, double(x).detach(), atol=1e-12, rtol=0)  # also checks the dtype


def test_fewer_tokens_than_ranks_still_work(layer: MoELayer, batch) -> None:
    x = batch[0][:1]
    torch.testing.assert_close(run_parallel(layer, x, 2).output, layer(x).detach(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("ranks", [3, 0])
def test_experts_that_dont_divide_are_refused(layer: MoELayer, batch, ranks: int) -> None:
    message = rf"16 experts don't divide among {ranks} ranks; ranks could be one of \[1, 2, 4, 8, 16\]"
    with pytest.raises(ValueError, match=message):
        run_parallel(layer, batch[0], ranks)


def test_a_rank_that_fails_says_why(layer: MoELayer) -> None:
    with pytest.raises(RuntimeError, match="gate's output holds NaN"):
        run_parallel(layer, torch.full((4, HIDDEN), torch.nan), 2)
