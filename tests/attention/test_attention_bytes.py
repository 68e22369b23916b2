"""Bytes of real tensors equal arch's count; FP8 and FP4 storage is what the formats say; its error is measured."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from attention import dims as d
from oracles import randomise

from costlab import arch
from costlab.nn.attention import EntryFormat, build_layer, fp4_indices, fp4_values, hadamard

V4_ENTRY = ((448, "fp8"), (64, "bf16"), (7, "ue8m0"), (1, "pad"))
# V4's layouts with every count divided by 8: scales per 8 and per 4 values, where V4 has 64 and 32
EIGHTH = {"entry": ((56, "fp8"), (8, "bf16"), (7, "ue8m0"), (1, "pad")), "head_dim": 64}
EIGHTH_INDEX = {"index_key": ((16, "fp4"), (4, "ue8m0"))}
STORED = {
    **d.KINDS,
    "HCA, FP8": replace(d.HCA, **EIGHTH),
    "CSA, FP8 and FP4": replace(d.CSA, **EIGHTH, **EIGHTH_INDEX),
    "DSA, FP8": replace(d.DSA, entry=((32, "fp8"), (2, "fp32"), (8, "bf16")), index_key=((16, "fp8"), (1, "fp32"))),
    "GQA, BF16": replace(d.GQA, entry=((16, "bf16"), (16, "bf16"))),
    "GQA, FP8": replace(d.GQA, entry=((16, "fp8"), (16, "fp8"))),
}


def arch_bytes(dims, tokens, batch):
    counts: dict[str, float] = {}
    for store in dims.stores():
        entries = float(store.entries.at(np.float64(tokens)))
        counts[store.part] = counts.get(store.part, 0) + batch * store.bytes_per_entry * entries
    return counts


@torch.no_grad()
@pytest.mark.parametrize("tokens", [1, 3, 8, 61])
@pytest.mark.parametrize("name", STORED)
def test_measured_bytes_are_archs(name, tokens):
    """Part by part: what grows, the window, and the open blocks' state."""
    layer = build_layer(STORED[name], d.HIDDEN)
    cache = layer.new_cache(2, tokens)
    layer(d.hidden_states(tokens), cache)
    assert cache.nbytes() == arch_bytes(STORED[name], tokens, 2)


@torch.no_grad()
@pytest.mark.parametrize("name", STORED)
def test_written_bytes_are_archs_when_there_is_room_to_spare(name):
    layer = build_layer(STORED[name], d.HIDDEN)
    cache = layer.new_cache(2, 500)
    layer(d.hidden_states(61), cache)
    assert cache.nbytes(filled=True) == arch_bytes(STORED[name], 61, 2)


@torch.no_grad()
@pytest.mark.parametrize("model", ["deepseek-v4-flash", "deepseek-v4-pro", "deepseek-v3.2", "mimo-v2-flash"])
def test_catalog_layers_measure_as_their_models_count(model):
    """Real dimensions and layouts; only parameters are left out, for they would fill the machine."""
    with torch.device("meta"):
        layers = {dims: build_layer(dims, 8) for dims, _ in arch.load(model).layers}
    for dims, layer in layers.items():
        tables = layer._tables(1, 1024, torch.device("cpu"))
        measured = sum(table.nbytes for table in tables.values())
        assert measured == sum(arch_bytes(dims, 1024, 1).values())


@pytest.mark.parametrize(("layout", "size"), [(V4_ENTRY, 584), (((512, "fp8"), (4, "fp32"), (64, "bf16")), 656)])
def test_published_entry_sizes(layout, size):
    """FlashMLA README and tests/quant.py: 656 bytes for V3.2, 584 for V4."""
    form = EntryFormat(layout, sum(n for n, t in layout if t in ("fp8", "bf16")))
    stored = form.empty((3,), torch.device("cpu"))
    assert sum(tensor.nbytes for tensor in stored) == 3 * size == 3 * form.bytes_per_entry


def test_fp4_rounds_to_the_nearest_of_its_sixteen_values():
    """Brute force over the grid of OCP Microscaling Formats 1.0, ties to the even pattern."""
    grid = fp4_values(torch.arange(16))
    assert sorted(set(grid.abs().tolist())) == [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    x = torch.cat([torch.linspace(-7, 7, 5001), torch.tensor([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0])])
    ours = fp4_values(fp4_indices(x))
    assert torch.equal((x - ours).abs(), (x[:, None] - grid).abs().amin(1))
    assert fp4_values(fp4_indices(x[-7:])).tolist() == [0, 1, 1, 2, 2, 4, 4]
    assert torch.equal(ours.signbit(), x.signbit())


@pytest.mark.parametrize(
    ("layout", "worst"),
    [
        (((64, "fp32"),), 0.0),
        (((64, "bf16"),), 2**-8),
        (((64, "fp8"), (1, "fp32")), 2**-4),
        (((64, "fp8"), (1, "ue8m0")), 2**-4),
        (((64, "fp4"), (2, "ue8m0")), 2**-2),
    ],
    ids=["fp32", "bf16", "fp8 fp32", "fp8 ue8m0", "fp4 ue8m0"],
)
def test_storage_error_is_half_a_step(layout, worst):
    """Relative to the value, for values not far below their block's largest: 8, 3 and 1 bits of mantissa."""
    x = torch.empty(200, 64).uniform_(1, 4, generator=torch.Generator().manual_seed(0)) * 10.0**-3
    error = ((EntryFormat(layout, 64).round_trip(x) - x) / x).abs().max()
    assert worst / 2 < error <= worst if worst else error == 0


def test_scales_are_powers_of_two_that_fit():
    form = EntryFormat(((64, "fp8"), (1, "ue8m0")), 64)
    x = torch.randn(50, 64, generator=torch.Generator().manual_seed(0)) * 10.0 ** torch.arange(-25, 25)[:, None] / 10
    values, scales = form.encode(x)
    assert (values.dtype, scales.dtype) == (torch.float8_e4m3fn, torch.float8_e8m0fnu)
    assert values.float().isfinite().all()
    assert torch.equal(scales.float().log2(), scales.float().log2().round())


def test_hadamard_is_orthogonal():
    eye = torch.eye(16)
    torch.testing.assert_close(hadamard(eye) @ hadamard(eye).T, eye)
    assert torch.equal(hadamard(eye).abs(), torch.full((16, 16), 0.25))


@torch.no_grad()
@pytest.mark.parametrize(
    ("exact", "stored", "low", "high"),
    [
        (replace(d.HCA, head_dim=64, entry=d.fp32(64)), STORED["HCA, FP8"], 0.001, 0.05),
        (
            replace(d.CSA, head_dim=64, entry=d.fp32(64), top_k=99),
            replace(STORED["CSA, FP8 and FP4"], top_k=99),
            0.001,
            0.05,
        ),
        (replace(d.CSA, head_dim=64, entry=d.fp32(64)), STORED["CSA, FP8 and FP4"], 0.01, 0.5),
        (d.GQA, STORED["GQA, BF16"], 1e-5, 0.01),
        (d.GQA, STORED["GQA, FP8"], 0.001, 0.1),
    ],
    ids=["HCA FP8", "CSA FP8, all read", "CSA FP8, FP4 index chooses", "GQA BF16", "GQA FP8"],
)
def test_rounded_storage_changes_outputs_a_little(exact, stored, low, high):
    """Root mean square of the change over that of the output; where FP4 keys choose other entries, it is larger."""
    plain, rounded = (randomise(build_layer(dims, d.HIDDEN)) for dims in (exact, stored))
    hidden = d.hidden_states(100)
    change = plain(hidden) - rounded(hidden)
    assert low < change.square().mean().sqrt() / plain(hidden).square().mean().sqrt() < high


@torch.no_grad()
@pytest.mark.parametrize("name", ["HCA, FP8", "DSA, FP8", "GQA, BF16"])
def test_prefill_reads_what_the_cache_holds(name):
    """Rounded entries are read in prefill too; a rounding that falls the other way stays one in a thousand."""
    layer = randomise(build_layer(STORED[name], d.HIDDEN))
    hidden = d.hidden_states(61)
    gap = (d.decoded(layer, hidden) - layer(hidden)).abs()
    assert gap.quantile(0.95) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("name", ["GQA", "MLA", "window", "HCA"])
def test_bf16_layers_run_close_to_float32(name):
    """Weights, activations and cache in BF16, as on a GPU; eight bits of mantissa leave about one percent."""
    layer = randomise(build_layer(d.KINDS[name], d.HIDDEN))
    hidden = d.hidden_states(61)
    exact = layer(hidden)
    layer.bfloat16()
    for outputs in (layer(hidden.bfloat16()), d.decoded(layer, hidden.bfloat16())):
        assert outputs.dtype == torch.bfloat16
        assert (outputs - exact).square().mean().sqrt() < 0.03 * exact.square().mean().sqrt()
