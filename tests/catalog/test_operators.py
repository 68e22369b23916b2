"""What runs operators on Ascend: counts, versions, and rules of shape."""

import collections
from datetime import date

import pytest

from costlab import catalog

OPERATORS = catalog.operators()
VERSIONS = OPERATORS.torch_versions
NEWEST = "2.13"


def test_the_core_set_is_whole():
    """193 overloads of torch 2.13's core set: 146 by CANN's kernels, 12 views and copies, 34 composed, 1 on the CPU;
    in graphs 146 converted, 8 composed before, 30 that raise, 9 without converter."""
    core = [row for row in OPERATORS.aten.values() if row.core]
    assert collections.Counter(row.eager for row in core) == {"aclnn": 146, "native": 12, "decomposed": 34, "cpu": 1}
    graph = collections.Counter(row.graph for row in core)
    assert graph == {"converted": 146, "decomposed": 8, "refused": 30, "missing": 9}


def test_names_are_of_the_kind_that_they_say():
    for op, row in OPERATORS.aten.items():
        assert op.count(".") == 1, op
        assert all(name.startswith("aclnn") for name in row.aclnn), op
        assert not any("." in name for name in row.ge), op
        assert bool(row.ge) <= (row.graph == "converted"), op
        assert row.eager == "aclnn" or not row.aclnn, op
    for name, fused in OPERATORS.fused.items():
        assert all(each.startswith("aclnn") for each in fused.aclnn), name


def test_sources_are_dated_and_licensed():
    assert set(OPERATORS.sources) == {"op-plugin", "torch-npu", "torchair", "pytorch", "cann", "onnxruntime"}
    for source in OPERATORS.sources.values():
        assert source.source.startswith("https://")
        assert source.licence
        assert date(2026, 1, 1) < source.date < date(2026, 11, 26)


# --- versions --------------------------------------------------------------------------------------------------


def test_versions_follow_one_another():
    numbers = [tuple(map(int, version.split("."))) for version in VERSIONS]
    assert numbers == [(2, minor) for minor in range(1, 16)]
    days = [OPERATORS.plugins[version].date for version in VERSIONS]
    assert days == sorted(days)


@pytest.mark.parametrize("table", ["aten", "fused"])
def test_a_kernel_comes_with_the_first_plugin_after_its_day(table):
    for name, row in getattr(OPERATORS, table).items():
        if row.arrived:
            first = next(version for version in VERSIONS if OPERATORS.plugins[version].date >= row.arrived)
            assert row.since == first, name
        else:
            assert row.since == "2.1", name


@pytest.mark.parametrize(
    ("op", "old", "new"),
    [  # github.com/Ascend/pytorch issue 40 and MinerU issue 1695: isin on the CPU; attention by torch's own composition
        ("isin.Tensor_Tensor", "cpu", "aclnn"),
        ("_fft_r2c.default", "cpu", "aclnn"),
        ("scaled_dot_product_attention.default", "decomposed", "aclnn"),
        ("mm.default", "aclnn", "aclnn"),
        ("_to_copy.default", "native", "native"),
        ("_assert_async.msg", "cpu", "cpu"),
    ],
)
def test_the_same_call_in_an_old_and_a_new_torch(op, old, new):
    row = OPERATORS.aten[op]
    assert (row.eager_at("2.1"), row.eager_at(NEWEST)) == (old, new)
    assert row.eager_at("2.13.0+cpu") == new


def test_most_fused_operators_came_with_the_large_mixtures_of_experts():
    """Of 47 torch 2.1's first plug-in had 6, torch 2.13's all."""
    own = [row for name, row in OPERATORS.fused.items() if name.startswith("npu_")]
    assert len(own) == 47
    assert [sum(row.has_kernel(version) for row in own) for version in ("2.1", "2.4", "2.8", NEWEST)] == [6, 23, 34, 47]


def test_a_version_that_is_none_is_quoted():
    with pytest.raises(ValueError, match=r"torch version 'new' should look like 2\.13"):
        OPERATORS.aten["mm.default"].has_kernel("new")


# --- rules and ONNX --------------------------------------------------------------------------------------------


def test_each_pattern_has_an_operator_and_each_rule_a_source():
    patterns = {row.pattern for row in OPERATORS.fused.values()} - {""}
    assert patterns == {"rms_norm", "add_rms_norm", "swiglu", "rotary", "attention", "gating"}
    rules = [rule for row in OPERATORS.fused.values() for rule in row.rules]
    assert len(rules) == 12
    for rule in rules:
        assert rule.source
        assert rule.one_of or rule.most or rule.multiple_of or rule.power_of_two


def test_onnx_operators_end_at_opset_18():
    """Counted in CANN's sources: 260 names, 214 end at 18, 30 at 16, six of quantisation at 22."""
    last = collections.Counter(row.last_opset for row in OPERATORS.onnx.values())
    assert (sum(last.values()), last[18], last[16], last[22]) == (260, 214, 30, 6)
    quantised = {name for name, row in OPERATORS.onnx.items() if row.last_opset == 22}
    assert all("Quant" in name or "quant" in name for name in quantised)
    missing = {"Attention", "RMSNormalization", "RotaryEmbedding", "Gelu", "Swish"}
    assert not missing & OPERATORS.onnx.keys()
    assert {"NPURmsNorm", "NPUAddRmsNorm", "NPURotaryMul", "NPUDynamicQuant"} <= OPERATORS.onnx.keys()
    assert sum(row.ort_single for row in OPERATORS.onnx.values()) == 31
