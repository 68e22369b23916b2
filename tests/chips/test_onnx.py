"""ONNX files in ONNX Runtime, beside the modules that they were made of."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from effort import some
from torch import Tensor, nn

from costlab import arch
from costlab.catalog import Routing
from costlab.nn.chips.experts import use_experts
from costlab.nn.chips.onnx import to_onnx
from costlab.nn.chips.small import randomise_weights, small_model
from costlab.nn.moe import MoELayer

GROUPED = arch.MoE(16, 2, 8, 1, clamp=0.5, routing=Routing("sigmoid", groups=4, groups_kept=2, bias=True, scale=2.5))


def experts() -> Any:
    torch.manual_seed(0)
    return randomise_weights(use_experts(MoELayer(16, GROUPED), "gathered")).eval()


class Sorted(nn.Module):
    """Places of the largest entries, equal ones in their order; in a graph that is all that `top_k` can ask for."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        up = x.sort(dim=0, stable=True)
        return x.sort(dim=-1, descending=True, stable=True).indices[:, :5], up.indices


def test_equal_numbers_keep_their_order_in_onnx() -> None:
    x = torch.randint(0, 3, (40, 30), generator=torch.Generator().manual_seed(0)).float()
    found = to_onnx(Sorted().eval(), (x,))
    assert found.error == 0
    assert found.nodes["TopK"] == 2


def test_experts_export_in_their_gathered_form() -> None:
    """Other tokens than those of the trace choose other experts, and the file computes those too."""
    layer = experts()
    found = to_onnx(layer, (torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(1)),))
    session = pytest.importorskip("onnxruntime").InferenceSession(found.file, providers=["CPUExecutionProvider"])
    for seed in range(2, 6):
        x = torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            torch.testing.assert_close(torch.tensor(session.run(None, {"x": x.numpy()})[0]), layer(x))
    assert found.opset == 18
    assert found.error < 1e-5
    onnx = pytest.importorskip("onnx")
    file = onnx.load_from_string(found.file)
    onnx.checker.check_model(file, full_check=True)
    assert [(each.domain, each.version) for each in file.opset_import] == [("", 18)]
    assert Counter(node.op_type for node in file.graph.node) == found.nodes


@pytest.mark.parametrize(
    ("key", "of"), some([("mimo-v2-flash", "transformers"), ("deepseek-v3.2", "costlab"), ("glm-5", "costlab")], 3)
)
def test_whole_models_export(key: str, of: Any) -> None:
    small = small_model(key, of, tokens=16)
    found = to_onnx(small.module, small.inputs)
    assert found.error < 1e-4
    assert found.nodes["TopK"] > 0


def test_what_ascend_does_not_read_is_refused_before_anything_is_exported() -> None:
    with pytest.raises(ValueError, match="opset 20 is above 18"):
        to_onnx(nn.Identity(), (), opset=20)
    with pytest.raises(ValueError, match="opset 19 is above 18"):
        to_onnx(nn.Identity(), (), opset=19, target="Ascend")
    with pytest.raises(ValueError, match="tpu"):
        to_onnx(nn.Identity(), (), target="tpu")
    for opset in (0, -3, 20.5, "20", None):
        with pytest.raises(ValueError, match="opset should be a whole number"):
            to_onnx(nn.Identity(), (), opset=opset, target="onnxruntime")  # type: ignore[arg-type]


@pytest.mark.parametrize(("opset", "target"), [(17, "ascend"), (999, "onnxruntime")])
def test_an_opset_that_torch_does_not_write_is_refused(opset: int, target: str) -> None:
    """It would write another one and say nothing."""
    with pytest.raises(ValueError, match=rf"opset {opset} was asked for, and torch writes RMSNorm in opset 18"):
        to_onnx(nn.RMSNorm(2).eval(), (torch.ones(1, 2),), opset, target)


def test_a_file_that_gives_other_numbers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(to_onnx.__globals__, "largest_number", lambda wanted: 1e-9)
    monkeypatch.setitem(to_onnx.__globals__, "difference", lambda outputs, wanted: 2e-4)
    with pytest.raises(ValueError, match=r"the ONNX file gives other outputs than the module: they differ by 0\.0002"):
        to_onnx(nn.Linear(2, 2).eval(), (torch.ones(1, 2),))


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x)


def test_a_graph_that_gives_other_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="other outputs than the module"):
        to_onnx(Noisy().eval(), (torch.ones(100),))


def test_other_readers_take_later_opsets() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.GELU()).eval()
    assert to_onnx(module, (torch.ones(2, 4),), opset=20, target="onnxruntime").nodes["Gelu"] == 1


def test_what_has_no_form_in_onnx_is_named() -> None:
    layer = use_experts(MoELayer(16, GROUPED), "grouped").bfloat16().eval()
    with pytest.raises(ValueError, match=r'aten.searchsorted.Tensor has no form there.*experts="gathered"'):
        to_onnx(layer, (torch.ones(4, 16, dtype=torch.bfloat16),))
    real = small_model("llama-3.1-8b", size="real", tokens=2)
    with pytest.raises(ValueError, match="weights without memory"):
        to_onnx(real.module, real.inputs)
