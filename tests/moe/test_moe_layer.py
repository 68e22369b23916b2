"""The running layer against the per-token loop, forward and backward."""

from dataclasses import replace

import pytest
import torch
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from moe.naive import naive_forward

from costlab import arch, moe
from costlab.catalog import Routing
from costlab.nn.moe import Gate, MoELayer, limit_groups, swiglu, top_k

SPECS = {
    "softmax": arch.MoE(8, 2, 8),
    "grouped sigmoid": arch.MoE(8, 2, 8, 1, routing=Routing("sigmoid", groups=4, groups_kept=2, bias=True, scale=2.5)),
    "clamped": arch.MoE(8, 3, 8, 2, clamp=0.5, routing=Routing("sqrt-softplus", bias=True, scale=1.5)),
    "table": arch.MoE(8, 2, 8, 1, clamp=10.0, routing=Routing("sqrt-softplus", select="token-table", scale=2.5)),
    "every expert": arch.MoE(3, 3, 8),
}


def build(name: str, multiply: str | None = None) -> MoELayer:
    torch.manual_seed(0)
    layer = MoELayer(12, SPECS[name], vocabulary=20, multiply=multiply)
    if layer.ffn.routing.bias:
        layer.gate.bias.copy_(0.2 * torch.randn(8))
    if name == "table":
        layer.gate.table.copy_(torch.rand(20, 8).topk(2).indices)
    return layer


def inputs(tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(tokens, 12, generator=rng), torch.randint(20, (tokens,), generator=rng)


@pytest.mark.parametrize("multiply", ["loop", "kernel"])
@pytest.mark.parametrize("name", SPECS)
def test_grouped_multiplication_equals_the_loop_over_tokens(name: str, multiply: str) -> None:
    layer, (x, ids) = build(name, multiply), inputs(30)
    torch.testing.assert_close(layer(x, ids), naive_forward(layer, x, ids), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", SPECS)
def test_gradients_equal_those_of_the_loop_over_tokens(name: str) -> None:
    layer, (x, ids) = build(name), inputs(30)
    x.requires_grad_()
    upstream = torch.randn(30, 12)
    wanted = [x, *layer.parameters()]
    ours = torch.autograd.grad(layer(x, ids), wanted, upstream)
    naive = torch.autograd.grad(naive_forward(layer, x, ids), wanted, upstream)
    for a, b in zip(ours, naive, strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-5)


def test_gradients_are_right_in_double_precision() -> None:
    layer, (x, _) = build("softmax").double(), inputs(5)
    choice = layer.gate(x.double())
    weights = choice.weights.detach().double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda t, w: layer.experts(t, choice.experts, w), (x.double().requires_grad_(), weights)
    )


@settings(max_examples=examples(25))
@given(st.permutations(range(12)), st.sampled_from(sorted(SPECS)))
def test_permuting_tokens_permutes_outputs(order: list[int], name: str) -> None:
    layer, (x, ids) = build(name), inputs(12)
    torch.testing.assert_close(layer(x[order], ids[order]), layer(x, ids)[order], atol=1e-6, rtol=1e-5)


def test_an_expert_without_tokens_learns_nothing() -> None:
    layer = build("table")
    layer.gate.table.copy_(torch.tensor([[0, 1]]))
    x, ids = inputs(6)
    layer(x, ids).sum().backward()
    used = layer.experts.down.grad.abs().sum(dim=(1, 2)) > 0
    assert used.tolist() == [True, True] + [False] * 6


def test_clamp_limits_gate_from_above_and_up_on_both_sides() -> None:
    gate, up = torch.tensor([-100.0, 100.0, 1.0, 1.0]), torch.tensor([1.0, 1.0, -100.0, 100.0])
    silu = torch.nn.functional.silu
    expected = torch.stack([silu(gate[0]), silu(torch.tensor(10.0)), -10 * silu(gate[2]), 10 * silu(gate[3])])
    torch.testing.assert_close(swiglu(torch.cat([gate, up]), 10.0), expected)
    torch.testing.assert_close(swiglu(torch.cat([gate, up])), silu(gate) * up)


@settings(max_examples=examples(50))
@given(st.lists(st.lists(st.integers(-2, 2), min_size=8, max_size=8), min_size=1, max_size=6), st.integers(1, 8))
def test_top_k_breaks_ties_as_numpy_does(rows: list[list[int]], k: int) -> None:
    assert top_k(torch.tensor(rows).float(), k).tolist() == moe.top_k(rows, k).tolist()


@settings(max_examples=examples(50))
@given(st.lists(st.lists(st.integers(-2, 2), min_size=8, max_size=8), min_size=1, max_size=6), st.integers(1, 4))
def test_groups_are_limited_as_in_numpy(rows: list[list[int]], kept: int) -> None:
    theirs = moe.limit_groups(rows, 4, kept)
    assert limit_groups(torch.tensor(rows).double(), 4, kept).tolist() == theirs.tolist()


def test_bias_update_equals_numpy() -> None:
    gate = Gate(4, SPECS["grouped sigmoid"])
    loads = torch.tensor([9, 1, 4, 4, 0, 4, 6, 4])
    gate.update_bias(loads, 0.01)
    torch.testing.assert_close(gate.bias.double(), torch.tensor(moe.update_bias([0.0] * 8, loads, 0.01)))


@pytest.mark.parametrize("multiply", ["loop", "kernel"])
def test_empty_batch_gives_empty_output(multiply: str) -> None:
    assert build("softmax", multiply)(torch.zeros(2, 0, 12)).shape == (2, 0, 12)


def test_bfloat16_stays_bfloat16_and_routes_in_fp32() -> None:
    layer = build("softmax").bfloat16()
    assert layer(inputs(6)[0].bfloat16()).dtype == torch.bfloat16
    assert layer.gate(inputs(6)[0].bfloat16()).scores.dtype == torch.float32


@settings(max_examples=150)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 5), st.integers(1, 17), st.booleans(), st.integers(0, 9))
def test_gate_and_router_take_the_same_layers_and_choose_the_same(
    groups: int, size: int, kept: int, k: int, bias: bool, seed: int
) -> None:
    """Whatever layer can be described: the gate picks what the NumPy router picks, and nothing of a barred group."""
    routing = Routing("sigmoid", groups=groups, groups_kept=kept, bias=bias)
    fits = 1 <= kept <= groups and k <= size * kept
    if not fits:
        with pytest.raises(ValueError, match=r"exceeds the|groups_kept|top_k"):
            arch.MoE(groups * size, k, 4, routing=routing)
        with pytest.raises(ValueError, match=r"exceeds the|groups_kept|top_k"):
            moe.Router(groups * size, k, routing)
        return
    ffn, rng = arch.MoE(groups * size, k, 4, routing=routing), torch.Generator().manual_seed(seed)
    gate, x = Gate(5, ffn), torch.randn(7, 5, generator=rng)
    with torch.no_grad():
        gate.weight.copy_(torch.randn(gate.weight.shape, generator=rng))
        if bias:
            gate.bias.copy_(torch.randn(gate.bias.shape, generator=rng))
        choice = gate(x)
    routes = moe.Router(ffn.experts, k, routing).route(choice.logits, gate.bias.numpy() if bias else None)
    assert choice.experts.tolist() == routes.experts.tolist()
    assert all(len({e // size for e in row}) <= kept for row in choice.experts.tolist())


def test_a_new_table_names_different_experts() -> None:
    """As many visits to each; V4-Flash's 6 of 256 for 129,280 ids."""
    table = Gate(2, arch.MoE(256, 6, 4, routing=Routing("sigmoid", select="token-table")), 129_280).table
    loads = torch.bincount(table.flatten(), minlength=256)
    assert loads.max() - loads.min() <= 1
    assert (table.sort(1).values.diff(dim=1) > 0).all()


#: Each was taken by arch or by the gate, and by one of them in another way than meant.
UNROUTABLE = {
    "too few experts in the groups kept": (
        {"top_k": 3},
        {"groups": 4},
        r"top_k = 3 exceeds the 2 experts of 1 groups",
    ),
    "more groups kept than there are": ({}, {"groups": 4, "groups_kept": 5}, "groups_kept = 5 .* groups = 4"),
    "groups kept of no groups": ({}, {"groups_kept": 2}, "groups_kept = 2 .* groups = 1"),
    "no group kept": ({}, {"groups": 4, "groups_kept": 0}, "groups_kept = 0 .* groups = 4"),
    "no groups": ({}, {"groups": 0}, "groups = 0"),
    "table and bias": ({}, {"select": "token-table", "bias": True}, "leave groups and bias out"),
    "table and groups": ({}, {"select": "token-table", "groups": 2}, "leave groups and bias out"),
    "no weight": ({}, {"scale": 0.0}, "scale = 0.0 should be above 0"),
    "no width": ({"inner": 0}, {}, "inner = 0 should be at least 1"),
    "fewer than no shared experts": ({"shared": -1}, {}, "shared = -1 at least 0"),
    "negative clamp": ({"clamp": -1.0}, {}, "clamp = -1.0 should be above 0"),
}


@pytest.mark.parametrize("name", UNROUTABLE)
def test_what_no_token_can_follow_is_refused(name: str) -> None:
    sizes, rule, message = UNROUTABLE[name]
    with pytest.raises(ValueError, match=message):
        arch.MoE(**{"experts": 8, "top_k": 2, "inner": 4, **sizes}, routing=Routing("sigmoid", **rule))


@torch.no_grad()
def infinite() -> None:
    layer = build("softmax")
    layer.gate.weight.fill_(1.0)
    layer(torch.full((1, 12), torch.inf))


BAD = {
    "too few token ids": (
        lambda: build("table")(torch.zeros(3, 12), torch.tensor([1, 2])),
        r"\(2,\) .* each of 3 tokens",
    ),
    "infinite logits that compete": (infinite, "output holds NaN"),
    "width": (lambda: build("softmax")(torch.zeros(3, 11)), r"\(3, 11\) should end in hidden = 12"),
    "NaN": (lambda: build("softmax")(torch.full((1, 12), torch.nan)), "gate's output holds NaN"),
    "no token ids": (lambda: build("table")(torch.zeros(1, 12)), "needs token_ids"),
    "no vocabulary": (lambda: MoELayer(12, SPECS["table"]), "needs the size of the vocabulary"),
    "top-k above experts": (lambda: replace(SPECS["softmax"], top_k=9), "top_k = 9 .* experts = 8"),
    "top-k of a row": (lambda: top_k(torch.zeros(1, 4), 5), "top_k = 5 .* 4"),
}


@torch.no_grad()
@pytest.mark.parametrize("name", ["grouped sigmoid", "table"])
@pytest.mark.parametrize("multiply", ["loop", "kernel"])
def test_both_ways_of_multiplying_become_graphs_for_any_number_of_tokens(name: str, multiply: str) -> None:
    """torch.export, against the layer run eagerly. In BF16, as the meta form of torch's grouped kernel asks for."""
    torch.manual_seed(0)
    layer = MoELayer(16, SPECS[name], 20, multiply).bfloat16()
    dim, ids = torch.export.Dim("tokens", min=2, max=1000), torch.arange(1000) % 20
    x = torch.randn(1000, 16, dtype=torch.bfloat16)
    graph = torch.export.export(layer, (x[:30], ids[:30]), dynamic_shapes=({0: dim}, {0: dim})).module()
    for tokens in (2, 30, 999):
        torch.testing.assert_close(graph(x[:tokens], ids[:tokens]), layer(x[:tokens], ids[:tokens]))
    few = torch.zeros(20, layer.ffn.top_k, dtype=torch.long) + torch.arange(layer.ffn.top_k)
    if name == "table":  # experts without a token
        graph.gate.table.copy_(few)
        layer.gate.table.copy_(few)
        torch.testing.assert_close(graph(x[:5], ids[:5]), layer(x[:5], ids[:5]))


def test_token_ids_outside_the_table_are_refused() -> None:
    for token in (-1, 20):
        with pytest.raises((IndexError, RuntimeError), match="out of range"):
            build("table")(torch.zeros(1, 12), torch.tensor([token]))


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_quoted(name: str) -> None:
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
