"""Fused operators against torch's own and costlab's modules; patterns and wrong ones against each other; rules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from costlab import arch
from costlab.catalog import Routing
from costlab.nn.attention.rope import rotate
from costlab.nn.chips.capture import capture
from costlab.nn.chips.fusion import (
    INPUT_KINDS,
    PATTERNS,
    WRONG,
    FusionPattern,
    InputKind,
    Judgement,
    check_pattern,
    clean_graph,
    fuse,
)
from costlab.nn.chips.fusion.checking import draw_tensors
from costlab.nn.chips.fusion.rewriting import Fusion
from costlab.nn.moe import Gate
from costlab.nn.moe.layer import swiglu

aten, fused = torch.ops.aten, torch.ops.costlab_fused
TYPES = (torch.float32, torch.bfloat16)


def normal(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


# --- kernels, against what we did not write ----------------------------------------------------------------------


def test_norms_are_torchs():
    x, residual, weight = normal(3, 5, 16), normal(3, 5, 16, seed=1), normal(16, seed=2)
    close(fused.rms_norm(x, weight, 1e-5), F.rms_norm(x, [16], weight, 1e-5))
    close(fused.rms_norm(x, None, 1e-5), F.rms_norm(x, [16], None, 1e-5))
    total, normed = fused.add_rms_norm(x, residual, weight, 1e-5)
    assert torch.equal(total, x + residual)
    close(normed, F.rms_norm(x + residual, [16], weight, 1e-5))


@pytest.mark.parametrize("mask", ["none", "bool", "float"])
def test_attention_is_torchs(mask):
    query, key, value = normal(2, 6, 5, 8), normal(2, 3, 7, 8, seed=1), normal(2, 3, 7, 4, seed=2)
    masks = {"none": None, "bool": torch.rand(5, 7) < 0.6, "float": normal(1, 1, 5, 7, seed=3)}
    wanted = F.scaled_dot_product_attention(query, key, value, masks[mask], scale=0.3, enable_gqa=True)
    close(fused.attention(query, key, value, masks[mask], None, 0.3), wanted)


def test_a_sink_is_a_key_without_a_value():
    query, key, value, sink = (
        normal(2, 4, 5, 8),
        normal(2, 4, 7, 8, seed=1),
        normal(2, 4, 7, 8, seed=2),
        normal(4, seed=3),
    )
    zero = torch.zeros(2, 4, 1, 8)
    bias = torch.cat([torch.zeros(4, 5, 7), sink[:, None, None].expand(4, 5, 1)], -1)
    wanted = F.scaled_dot_product_attention(
        query, torch.cat([key, zero], 2), torch.cat([value, zero], 2), bias, scale=1.0
    )
    close(fused.attention(query, key, value, None, sink, 1.0), wanted)


@pytest.mark.parametrize("pairing", ["halves", "interleaved"])
@pytest.mark.parametrize("table", ["pairs", "channels"])
def test_rotary_turns_as_costlabs_layers_do(pairing, table):
    x, angles = normal(2, 3, 5, 8), normal(5, 4, seed=1)
    cos, sin = angles.cos(), angles.sin()
    if table == "channels":
        spread = (lambda t: t.repeat(1, 2)) if pairing == "halves" else (lambda t: t.repeat_interleave(2, -1))
        cos, sin = spread(cos), spread(sin)
    close(fused.rotary(x, cos, sin, pairing), rotate(x, angles, pairing))


def test_regrouped_reads_neighbours_and_writes_halves():
    x, angles = normal(5, 8), normal(5, 4, seed=1)
    turned = rotate(x, angles, "interleaved")
    got = fused.rotary(x, angles.cos(), angles.sin(), "regrouped")
    close(got, torch.cat([turned[:, 0::2], turned[:, 1::2]], -1))


@pytest.mark.parametrize("limit", [None, 0.5])
def test_swiglu_is_the_layers(limit):
    both = normal(4, 16)
    close(fused.swiglu(*both.chunk(2, -1), limit), swiglu(both, limit))


@pytest.mark.parametrize("score", ["softmax", "sigmoid", "sqrt-softplus"])
@pytest.mark.parametrize("groups", [1, 4])
def test_gating_is_the_gates(score, groups):
    routing = Routing(score=score, bias=True, groups=groups, groups_kept=min(groups, 2), scale=2.5)
    gate = Gate(12, arch.MoE(experts=16, top_k=3, inner=4, routing=routing))
    gate.bias += 0.1 * normal(16, seed=1)
    choice = gate(normal(40, 12))
    weights, experts = fused.gating(choice.logits, gate.bias, 3, score, "sum", 1e-20, 2.5, groups, min(groups, 2))
    assert torch.equal(experts, choice.experts)
    close(weights, choice.weights)
    half = choice.logits.bfloat16()
    types = [fused.gating(half, None, 3, score, "sum", wide=wide)[0].dtype for wide in (True, False)]
    assert types == [torch.float32, torch.bfloat16]


def close(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got, wanted, rtol=2e-6, atol=2e-6)


CALLS: dict[str, tuple[Any, ...]] = {
    "rms_norm": (normal(2, 3, 8), normal(8), 1e-5),
    "add_rms_norm": (normal(2, 3, 8), normal(2, 3, 8), normal(8), 1e-5),
    "rotary": (normal(2, 5, 8), normal(5, 4), normal(5, 4), "halves"),
    "swiglu": (normal(4, 8), normal(4, 8)),
    "attention": (normal(2, 4, 5, 8), normal(2, 2, 7, 8), normal(2, 2, 7, 6), None, normal(4), 0.3),
    "gating": (normal(9, 8), normal(8), 2, "sigmoid", "sum", 1e-20, 2.5, 2, 1, False),
}


@pytest.mark.parametrize("name", list(CALLS))
@pytest.mark.parametrize("dtype", TYPES)
def test_shapes_and_types_are_told_without_computing(name, dtype):
    given = [each.to(dtype) if isinstance(each, Tensor) else each for each in CALLS[name]]
    torch.library.opcheck(getattr(fused, name), tuple(given), test_utils=("test_schema", "test_faketensor"))


# --- each pattern by itself --------------------------------------------------------------------------------------

B, H, G, T, W = 2, 4, 2, 6, 8
SPREAD = [B, G, H // G, T, W]
TOKENS, EXPERTS = 12, 8


def arguments(pattern: FusionPattern, dtype: torch.dtype) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What a pattern's arguments are in a model: tensors, and all else."""
    heads = G if {"key_spread", "key_flat"} <= set(pattern.slots) else H
    over_channels = {"axis", "half"} <= set(pattern.slots) or "all channels" in pattern.form
    table = torch.empty(T, W if over_channels else W // 2, dtype=dtype)
    keys = torch.empty(B, heads, T, W, dtype=dtype)
    tensors = {
        "query": torch.empty(B, H, T, W, dtype=dtype),
        "key": keys,
        "value": keys,
        "sink": torch.empty(H, dtype=dtype),
    }
    tensors |= {"mask": torch.empty(B, 1, T, T, dtype=torch.bool if "torch" in pattern.form else dtype)}
    tensors |= {"cos": table, "sin": table, "gate": keys, "up": keys, "residual": keys}
    tensors |= {"x": keys, "weight": torch.empty(W, dtype=dtype)}
    tensors |= {"logits": torch.empty(TOKENS, EXPERTS, dtype=dtype), "bias": torch.empty(EXPERTS, dtype=dtype)}
    numbers = {"scale": 0.4, "eps": 1e-6, "low": dtype, "axis": -1, "half": W // 2, "high": 0.7}
    numbers |= {f"{what}_spread": SPREAD for what in ("key", "value")}
    numbers |= {f"{what}_flat": [B, H, T, W] for what in ("key", "value")}
    numbers |= {"sink_column": [1, -1, 1, 1], "sink_spread": [B, -1, T, -1], "wide": torch.float32}
    numbers |= {"k": 2, "ordered": True, "kept": 1, "flat": [-1, EXPERTS], "spread": [-1, 2, EXPERTS // 2], "top": 0.7}
    numbers["shape"] = [W] if pattern.name == "rms_norm" else [-1, 2, EXPERTS // 2]
    if pattern.name == "swiglu":
        numbers["low"] = -0.7
    wanted = set(pattern.slots)
    return {k: v for k, v in tensors.items() if k in wanted}, {k: v for k, v in numbers.items() if k in wanted}


def checked(pattern: FusionPattern, dtype: torch.dtype = torch.float32) -> Judgement:
    return check_pattern(pattern, *arguments(pattern, dtype))


def test_no_two_patterns_have_one_name():
    assert len({str(pattern) for pattern in PATTERNS}) == len(PATTERNS)


def runs(pattern: FusionPattern, dtype: torch.dtype) -> bool:
    """Whether the operators themselves take the type: without a cast back, float32 weights meet bfloat16 values."""
    return pattern.name != "attention" or "low" in pattern.slots or dtype == torch.float32 or "torch" in pattern.form


RUN = [pytest.param(p, t, id=f"{p}-{t}") for p in PATTERNS for t in TYPES if runs(p, t)]


@pytest.mark.parametrize(("pattern", "dtype"), RUN)
def test_each_pattern_is_accepted_by_numbers(pattern, dtype):
    judgement = checked(pattern, dtype)
    assert judgement.accepted, str(judgement)
    assert len(judgement.trials) == len(INPUT_KINDS) - (0 if "mask" in pattern.slots else 4) - (
        "torch" in pattern.form and "mask" in pattern.slots
    )


WRONG_BY = {
    "a float mask read as bool": {"biased"},
    "the mask left out": {"random", "unmasked", "masked", "biased"},
    "the norm's weight left out": {"random", "large"},
    "eps left out": {"tiny", "zero"},
    "other channels paired": {"random", "large", "tiny"},
    "normalised before the choice": {"random", "tiny"},
    "weighed with the bias": {"random"},
    "gate and up exchanged": {"random"},
}
CASES = [(what, pattern) for what, patterns in WRONG.items() for pattern in patterns]


@pytest.mark.parametrize(("what", "pattern"), [pytest.param(*each, id=f"{each[0]}-{each[1]}") for each in CASES])
def test_each_wrong_replacement_is_refused_by_the_inputs_made_for_it(what, pattern):
    judgement = checked(pattern)
    wanted = WRONG_BY[what] - ({"biased"} if "torch" in pattern.form else set())
    assert not judgement.accepted and wanted <= set(judgement.refuted_by), judgement.refuted_by
    assert judgement.evidence.excess > 1000 and judgement.evidence.unfused != judgement.evidence.fused
    right = next(each for each in PATTERNS if (each.name, each.form) == (pattern.name, pattern.form))
    assert right.graph().python_code("").src == pattern.graph().python_code("").src  # no comparison of graphs tells


def test_every_wrong_replacement_has_a_pattern():
    assert {what for what, _ in CASES} == WRONG.keys() == WRONG_BY.keys()


def test_a_mask_of_zero_and_hidden_does_not_refute_a_bool_mask():
    """The mistake of a pattern in use: right on every mask that this model makes, wrong on a bias such as ALiBi's."""
    pattern = next(each for each in WRONG["a float mask read as bool"] if "sink" in each.slots)
    judgement = checked(pattern)
    assert judgement.refuted_by == ("biased",)
    assert "became" in str(judgement.trial("biased")) and judgement.trial("masked").accepted
    with pytest.raises(ValueError, match="unknown kind of input 'bised'; did you mean 'biased'"):
        judgement.trial("bised")


def test_an_average_in_the_place_of_attention_is_right_only_where_all_scores_are_alike():
    pattern = WRONG["the mask left out"][-1]  # torch's, with a bool mask
    judgement = check_pattern(pattern, *arguments(pattern, torch.float32))
    assert "random" in judgement.refuted_by and "unmasked" in judgement.refuted_by


@pytest.mark.parametrize(("relative", "accepted"), [(0.0, True), (1e-8, True), (1e-5, False), (1e-2, False)])
def test_what_is_rounding_is_measured_by_the_unfused(relative, accepted):
    def off(gate, up):
        return aten.mul.Scalar(fused.swiglu.default(gate, up), 1 + relative)

    right = next(each for each in PATTERNS if each.form == "gate first")
    assert checked(FusionPattern("swiglu", "off", right.matched, off)).accepted is accepted


def test_bfloat16_forgives_what_float32_does_not():
    def off(gate, up):
        return aten.mul.Scalar(fused.swiglu.default(gate, up), 1.001)

    right = next(each for each in PATTERNS if each.form == "gate first")
    judgement = checked(FusionPattern("swiglu", "off", right.matched, off))
    assert judgement.trial("other type").accepted and not judgement.trial("random").accepted


def test_a_replacement_of_another_type_or_shape_or_that_fails_is_refused():
    right = next(each for each in PATTERNS if each.form == "gate first")
    cases = {
        "bfloat16": lambda gate, up: aten.to.dtype(fused.swiglu.default(gate, up), torch.bfloat16),
        r"\[2, 4, 6\]": lambda gate, up: aten.select.int(fused.swiglu.default(gate, up), -1, 0),
        "it fails": lambda gate, up: aten.view.default(fused.swiglu.default(gate, up), [7]),
    }
    for said, replacement in cases.items():
        judgement = checked(FusionPattern("swiglu", "off", right.matched, replacement))
        assert not judgement.accepted
        with pytest.raises(AssertionError, match=said):
            raise AssertionError(str(judgement))


def test_missing_arguments_are_named():
    with pytest.raises(ValueError, match=r"swiglu \(gate first\) needs up"):
        check_pattern(next(p for p in PATTERNS if p.form == "gate first"), {"gate": torch.empty(2, 2)})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
@pytest.mark.parametrize("kind", INPUT_KINDS, ids=lambda kind: kind.name)
def test_masks_are_drawn_as_their_kind_says(kind, dtype):
    mask = draw_tensors(kind, {"mask": torch.empty(2, 1, 6, 6, dtype=dtype)})["mask"]
    lowest = torch.finfo(mask.dtype).min if mask.is_floating_point() else None
    hidden = ~mask if dtype == torch.bool else mask == lowest
    assert hidden.any() == (kind.mask != "open")
    assert hidden.all(-1).any() == (kind.mask == "blind")
    if dtype != torch.bool:
        assert ((mask != 0) & ~hidden).any() == (kind.mask == "biased")
    assert draw_tensors(InputKind("again"), {"x": torch.empty(3)})["x"].equal(
        draw_tensors(InputKind("again"), {"x": torch.empty(3)})["x"]
    )


def with_(name: str, needs: str, replacement: Any) -> list[FusionPattern]:
    """The patterns of a name that have some arguments, each with another replacement."""
    found = [each for each in PATTERNS if each.name == name and set(needs.split()) <= set(each.slots)]
    return [FusionPattern(name, each.form, each.matched, replacement, each.slots) for each in found]


def attending(mask: Any = None, scale: float = 1.0, heads: Any = None, sink: Any = None) -> Any:
    """An attention with one of its arguments changed."""

    def call(query, key, value, **rest):
        if heads:
            key, value = heads(key), heads(value)
        masked, sunk = rest.get("mask"), rest.get("sink")
        masked = mask(masked) if mask else masked
        return fused.attention.default(query, key, value, masked, sink(sunk) if sink else sunk, rest["scale"] * scale)

    return call


def of_the_sum(x, residual, weight, eps):
    return x, fused.add_rms_norm.default(x, residual, weight, eps)[1]


def of_the_part(x, residual, weight, eps):
    return aten.add.Tensor(x, residual), fused.rms_norm.default(x, weight, eps)


MISTAKES = {
    "one key too many": with_("attention", "mask", attending(mask=lambda m: aten.roll.default(m, [1], [-1]))),
    "a scale without its root of 2": with_("attention", "query", attending(scale=2**0.5)),
    "heads tiled, not repeated": with_(
        "attention", "key_spread", attending(heads=lambda x: aten.repeat.default(x, [1, H // G, 1, 1]))
    ),
    "another head's sink": with_("attention", "sink", attending(sink=lambda s: aten.flip.default(s, [0]))),
    "the part in the place of the sum": with_("add_rms_norm", "x", of_the_sum),
    "the norm of the part": with_("add_rms_norm", "x", of_the_part),
    "turned the other way": [
        each
        for pairing in ("halves", "interleaved", "regrouped")
        for each in with_(
            "rotary", "x", lambda x, cos, sin, p=pairing: fused.rotary.default(x, cos, aten.neg.default(sin), p)
        )
    ],
    "clamped behind": with_(
        "swiglu", "high", lambda gate, up, high: aten.clamp.default(fused.swiglu.default(gate, up), -high, high)
    ),
    "no groups": with_(
        "gating",
        "shape",
        lambda logits, bias, k, eps, scale: fused.gating.default(logits, bias, k, "sigmoid", "sum", eps, scale)[:2],
    ),
}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_are_refused_with_evidence_in_each_type(what, dtype):
    tried = [checked(each, dtype) for each in MISTAKES[what] if runs(each, dtype)]
    assert tried and not any(judgement.accepted for judgement in tried)
    assert all(judgement.evidence.excess > 10 for judgement in tried)


@pytest.mark.parametrize("shape", [(6,), (), (6, 1), (1, 6), (4, 1, 1), (2, 1, 1, 6)])
def test_masks_may_lack_axes(shape):
    [pattern] = [each for each in PATTERNS if each.form == "written out, mask"]
    tensors, numbers = arguments(pattern, torch.float32)
    assert check_pattern(pattern, tensors | {"mask": torch.empty(shape)}, numbers).accepted


@pytest.mark.parametrize(
    ("batch", "heads", "keys", "tokens", "width"), [(1, 1, 1, 1, 200), (1, 6, 2, 3, 3), (3, 5, 1, 2, 1)]
)
def test_odd_shapes_are_accepted(batch, heads, keys, tokens, width):
    for pattern in [each for each in PATTERNS if each.name == "attention" and "key_spread" in each.slots]:
        tensors, numbers = arguments(pattern, torch.float32)
        tensors |= {"query": torch.empty(batch, heads, tokens, width), "sink": torch.empty(heads)}
        tensors |= {name: torch.empty(batch, keys, tokens, width) for name in ("key", "value")}
        tensors |= {"mask": torch.empty(batch, 1, tokens, tokens)}
        numbers |= {f"{name}_spread": [batch, keys, heads // keys, tokens, width] for name in ("key", "value")}
        numbers |= {f"{name}_flat": [batch, heads, tokens, width] for name in ("key", "value")}
        numbers |= {"sink_spread": [batch, -1, tokens, -1]}
        wanted = {name: each for name, each in tensors.items() if name in pattern.slots}
        judgement = check_pattern(pattern, wanted, numbers)
        assert judgement.accepted, str(judgement)


@pytest.mark.parametrize(("off", "accepted"), [(0, True), (1, False)])
def test_of_whole_numbers_a_share_is_wrong(off, accepted):
    """Where rounding decides one choice, others are not excused: here 1 + x/2^24 is 1 in float32, and not exactly."""

    def matched(x):
        wide = aten.add.Scalar(aten.mul.Scalar(x, 2.0**-24), 1.0)
        return aten.to.dtype(aten.gt.Scalar(aten.cat.default([wide, x], -1), 1.0), torch.int64)

    def replacement(x):
        return aten.bitwise_xor.Scalar(matched(x), off)

    judgement = check_pattern(FusionPattern("choice", "of those above 1", matched, replacement), {"x": torch.empty(99)})
    assert judgement.accepted is accepted and 0 < judgement.trial("random").own < 0.25


# --- graphs of small modules -------------------------------------------------------------------------------------


class Bare(nn.Module):
    """Norms without a weight beside one with it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(normal(16))

    def forward(self, x: Tensor) -> Tensor:
        rooted = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
        return rooted + self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def outcomes(fusion: Fusion) -> list[str]:
    return [each.outcome for each in fusion.matches]


def test_a_rule_of_shape_refuses_what_numbers_accept():
    captured = capture(Bare().eval(), (normal(4, 16),))
    free, bound = fuse(captured), fuse(captured, obey_rules=True)
    assert outcomes(free) == ["fused", "fused"]
    assert sorted(outcomes(bound)) == ["fused", "refused by shape rule"]
    [refused] = bound.refused
    assert refused.judgement.accepted and "weight none, but a weight" in str(refused)
    assert free.fused[1].rules == refused.rules  # said where it is not obeyed too


class Attending(nn.Module):
    """Attention over a head of some width, with a mask of some type."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(6, 6, dtype=torch.bool).tril() if dtype == torch.bool else normal(6, 6))

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys, values = (x[:, :, None].expand(2, 2, 2, 6, x.shape[-1]).reshape(2, 4, 6, x.shape[-1]) for x in (k, v))
        return F.scaled_dot_product_attention(q, keys, values, self.mask, scale=0.3)


@pytest.mark.parametrize(
    ("width", "dtype", "says"),
    [
        (64, torch.bool, None),
        (80, torch.bool, None),  # one of two operators takes it
        (200, torch.bool, "head_width 200, but a multiple of 16"),
        (64, torch.float32, "mask_dtype float32, but no mask, or a boolean one"),
    ],
)
def test_rules_ask_for_widths_and_masks(width, dtype, says):
    heads = (normal(2, 4, 6, width), normal(2, 2, 6, width), normal(2, 2, 6, width))
    captured = capture(Attending(dtype).eval(), heads)
    fusion = fuse(captured, obey_rules=True)
    assert outcomes(fusion) == [("refused by shape rule" if says else "fused")]
    assert says is None or says in str(fusion.refused[0])
    assert fuse(captured).counts == {"attention": 1}


class Gated(nn.Module):
    """A gate and what it lets through, of any shapes that spread over each other."""

    def forward(self, gate: Tensor, up: Tensor) -> Tensor:
        return F.silu(gate) * up


@pytest.mark.parametrize(
    ("gate", "up", "fits"), [((4, 8), (1, 8), True), ((1, 8), (4, 8), False), ((0, 8), (0, 8), True)]
)
def test_a_fused_operator_makes_what_the_trace_was_told(gate, up, fits):
    """Its result has the first tensor's shape; where the operators spread it over a larger one they stay."""
    fusion = fuse(capture(Gated().eval(), (normal(*gate), normal(*up))))
    assert outcomes(fusion) == ["fused" if fits else "refused by numbers"]
    assert fits or "makes [4, 8] in place of [1, 8]" in str(fusion.refused[0])
    assert fusion.stages[2].peak_bytes <= fusion.stages[1].peak_bytes


def test_half_precision_is_seen_in_inputs_too():
    """Attention has no weights: rounding at other places is rounding, and no other graph."""
    heads = [normal(2, n, 6, 64, dtype=torch.bfloat16, seed=n) for n in (4, 2, 2)]
    fusion = fuse(capture(Attending(torch.bool).eval(), heads))
    assert fusion.counts == {"attention": 1} and 0 < fusion.after.error < 0.05


class Changing(nn.Module):
    """A gate that is changed in place by what would be fused, and read again."""

    def forward(self, gate: Tensor, up: Tensor) -> Tensor:
        copy = gate.clone()
        made = copy[..., :4].mul_(up)
        return made + copy[..., 4:]


def test_a_match_that_changes_what_others_read_is_left_alone():
    def matched(x, up, axis, end):
        return aten.mul_.Tensor(aten.slice.Tensor(x, axis, 0, end), up)

    pattern = FusionPattern("product", "in place", matched, lambda x, up: fused.swiglu.default(up, up))
    fusion = fuse(capture(Changing().eval(), (normal(3, 8), normal(3, 4))), [pattern])
    assert fusion.matches == () and fusion.stages[1].nodes == fusion.stages[2].nodes


class Cleanable(nn.Module):
    """Two casts to the type that is there, dropout, a result that nobody reads; one cast that is one."""

    def forward(self, x: Tensor) -> Tensor:
        x.float().exp()
        half = F.dropout(x.to(x.dtype), 0.5, self.training).to(torch.bfloat16)
        return half.float() * x


def test_cleaning_takes_out_what_starts_nothing():
    fusion = fuse(capture(Cleanable().eval(), (normal(3, 8),)))
    assert fusion.removed["cast"] == 2 and fusion.removed["dropout"] == 1 and fusion.removed["unread"] == 1
    first, cleaned, last = fusion.stages
    assert first.nodes - cleaned.nodes == sum(fusion.removed.values())
    assert first.launches - cleaned.launches == 1  # the exponential
    assert (cleaned.nodes, cleaned.launches) == (last.nodes, last.launches) == (3, 3)
    assert fusion.after.error == fusion.fresh_error == 0


def test_wrong_patterns_leave_a_graph_as_it_was():
    captured = capture(Bare().eval(), (normal(4, 16),))
    fusion = fuse(captured, WRONG["eps left out"])
    assert outcomes(fusion) == ["refused by numbers"]
    assert fusion.cleaned.graph == fusion.after.graph
    assert "zero in float32: off by inf, where 0 is rounding; 0 became nan at [0, 0]" in str(fusion.refused[0])


class Twice(nn.Module):
    """Two norms that differ in eps alone."""

    def forward(self, x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        return tuple(weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)) for eps in (0.0, 1e-3))


def test_matches_that_differ_in_a_number_are_judged_apart():
    captured = capture(Twice().eval(), (normal(4, 16), normal(16)))
    assert sorted(outcomes(fuse(captured, WRONG["eps left out"]))) == ["fused", "refused by numbers"]


class Kept(nn.Module):
    """A copy that is asked for, and dropout that is not skipped."""

    def forward(self, x: Tensor) -> Tensor:
        copy = x.to(x.dtype, copy=True)
        return copy.add_(1.0) * x


def test_cleaning_leaves_what_does_something():
    fusion = fuse(capture(Kept().eval(), (normal(3, 8),)))
    assert fusion.removed["cast"] == 0 and fusion.fresh_error == 0
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    graph.output(
        [graph.call_function(aten.dropout.default, (x, *how)) for how in ((0.5, True), (0.5, False), (0.0, True))]
    )
    assert clean_graph(graph)["dropout"] == 2
