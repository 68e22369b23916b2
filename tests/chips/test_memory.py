"""Memory before money: deployments that Ascend's serving guide names, and counts by hand."""

import dataclasses

import pytest

from costlab import arch, catalog
from costlab.chips import fit, layouts, least_chips, sizes

GIB = 2**30
H800 = catalog.chip("h800")


def server(gib, chips=8):
    """An Atlas 800 by its memory alone: A2 has 8 x 64 GiB, A3 8 packages of 128 GiB, the B4 8 x 32 GiB."""
    return dataclasses.replace(
        H800,
        name=f"{gib} GiB",
        memory_bytes=gib * GIB,
        chips_per_node=chips,
        flops={"bf16": 1e14, "fp16": 1e14, "int8": 2e14, "fp32": 1e13},
        serves={"fp8": "int8", "fp4xfp8": "int8"},
    )


# vllm-ascend docs/source/tutorials/models/DeepSeek-V4-{Flash,Pro}.md; its issue 8746 for the servers of 32 GB
@pytest.mark.parametrize(
    ("model", "weights", "gib", "chips", "holds"),
    [
        ("deepseek-v4-flash", "W8A8", 64, 8, True),  # one Atlas 800 A2
        ("deepseek-v4-flash", "W8A8", 128, 8, True),  # one Atlas 800 A3
        ("deepseek-v4-flash", "W8A8", 32, 8, False),  # eight B4 do not hold it
        ("deepseek-v4-flash", "W4A8", 32, 8, True),  # not asked there: in half the bytes they would
        ("deepseek-v4-pro", "W4A8", 64, 32, True),  # four Atlas 800 A2
        ("deepseek-v4-pro", "W4A8", 128, 16, True),  # two Atlas 800 A3
        ("deepseek-v4-pro", "W4A8", 64, 8, False),
        ("deepseek-v4-pro", "W8A8", 128, 8, False),
    ],
)
def test_published_deployments(model, weights, gib, chips, holds):
    """At the 135,000 tokens and with the MTP module that the guide serves."""
    found = fit(model, server(gib), chips, 135_000, weights=weights, draft="mtp")
    assert found.holds is holds
    assert bool(found.reason) is not holds
    if not holds:
        assert "does not fit" in found.reason and "GB" in found.reason


def test_the_catalogs_servers():
    """The same of the catalog's chips, in the format that they serve in: servers of 910B2, of 910C and of 910B4."""
    assert fit("deepseek-v4-flash", "ascend-910b", 8, 8192).holds
    assert fit("deepseek-v4-flash", "ascend-910c", 8, 8192).holds
    assert not fit("deepseek-v4-flash", "ascend-910b4", 8, 8192).holds
    assert fit("deepseek-v4-pro", "ascend-910b", 32, 8192, weights="W4A8").holds
    assert least_chips("deepseek-v4-flash", "ascend-910b4", 8192) is None  # no network beyond a server is known


def test_the_guide_leaves_more_room_than_weights_need():
    """V4-Pro W4A8: the guide asks for two A3 at least. The weights alone go on one, with 7 of its 8 parts taken."""
    one = fit("deepseek-v4-pro", server(128), 8, 8192, weights="W4A8", draft="mtp")
    assert one.holds
    assert 0.75 < one.deployment.weight_bytes_per_chip / one.deployment.chip.memory_bytes < 0.9


def test_a_chip_serves_in_its_own_format():
    """Without a format named, INT8 doubles V4-Flash's experts on a chip that states it, and nowhere else."""
    flash = arch.load("deepseek-v4-flash")
    assert fit(flash, server(64), 8, 4096).format.name == "W8A8"
    assert fit(flash, H800, 8, 4096).format.name == "own"
    ratio = fit(flash, server(64), 8, 4096, tensor_parallel=8).weight_bytes / fit(
        flash, H800, 8, 4096, tensor_parallel=8
    ).weight_bytes  # fmt: skip
    assert 1.7 < ratio < 1.9


def test_what_lies_whole_counts_on_each_chip():
    """Bytes by hand: experts split over all chips, the rest in each of four replicas of two chips."""
    model = arch.load("mixtral-8x7b")
    found = fit(model, H800, 8, 4096, tensor_parallel=2)
    parts = model.weight_bytes()
    whole = {"router", "norm"}  # on each chip; the rest of the non-experts halves
    each = parts["experts"] / 8 + sum(b if n in whole else b / 2 for n, b in parts.items() if n != "experts")
    assert found.weight_bytes == pytest.approx(8 * each)
    assert found.sequences == 4 * int((0.9 * 80e9 - each) // float(model.kv_bytes(4096, 2).resident))


def test_the_split_is_chosen_for_the_most_sequences():
    split = {n.tensor_parallel: n.max_batch(4096) for n in layouts("llama-3.1-70b", H800, 8)}
    assert split.keys() == {1, 2, 4, 8} and split[1] == 0
    assert fit("llama-3.1-70b", H800, 8, 4096).sequences == max(split.values())


def test_least_chips():
    assert sizes(H800) == (8, 16, 32, 64)
    assert sizes(server(64, chips=384)) == (8, 16, 32, 64)  # a part of a supernode
    alone = dataclasses.replace(H800, chips_per_node=4, network_bytes_s=None)
    assert sizes(alone) == (4,) and sizes(dataclasses.replace(alone, chips_per_node=72)) == (8, 16, 32, 64)
    assert sizes(H800, most=24) == (8, 16)
    small = least_chips("deepseek-v3", H800, 4096)
    assert small.deployment.chips == 16 and not fit("deepseek-v3", H800, 8, 4096).holds
    assert least_chips("deepseek-v4-pro", dataclasses.replace(H800, memory_bytes=GIB), 4096) is None


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: fit("gpt-9", "h800", 8, 4096), "gpt-9"),
        (lambda: fit("deepseek-v3", "h900", 8, 4096), "h900"),
        (lambda: fit("deepseek-v3", "h800", 0, 4096), "chips should be"),
        (lambda: fit("deepseek-v3", "h800", 8, 0), "context"),
        (lambda: fit("deepseek-v3", "h800", 8, 4096, tensor_parallel=3), "tensor_parallel = 3"),
        (lambda: fit("deepseek-v3", "h800", 8, 4096, weights="W3"), "format 'W3'"),
        (lambda: fit("llama-3.1-70b", "h800", 8, 4096, draft="mtp"), "no multi-token-prediction"),
        (lambda: fit("deepseek-v3", "h800", 8, 4096, memory_share=1.5), "memory_share"),
    ],
)
def test_bad_questions_are_refused(ask, says):
    with pytest.raises(ValueError, match=says):
        ask()
