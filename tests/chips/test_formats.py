"""What a format's name says of a model's bytes and multiplications, counted by hand."""

import dataclasses

import pytest

from costlab import arch, catalog
from costlab.chips import as_served, format_named, format_of, format_on

FLASH = arch.load("deepseek-v4-flash")
V3 = arch.load("deepseek-v3")


def total(model):
    return sum(model.weight_bytes().values())


def test_an_mxfp4_expert_takes_a_whole_byte_in_w8a8():
    """The trap: V4-Flash's experts are published in half a byte, and INT8 doubles them."""
    counts = FLASH.params.by_component
    assert as_served(FLASH, "W8A8").weight_bytes()["experts"] == counts["experts"]
    assert as_served(FLASH, "W4A8").weight_bytes()["experts"] == counts["experts"] / 2
    assert as_served(FLASH, "w4a8").weight_bytes()["attention"] == counts["attention"]
    kept = {"embedding", "head", "compressor", "index_weights", "router", "residual", "norm"}
    wide = {name: FLASH.weight_bytes()[name] for name in kept}
    assert {name: as_served(FLASH, "W4A8").weight_bytes()[name] for name in kept} == wide
    hand = sum(counts[n] for n in counts.keys() - kept) + sum(wide.values())
    assert total(as_served(FLASH, "W8A8")) == pytest.approx(hand)


def test_a_model_of_16_bits_is_quantised_in_its_matrices():
    llama = arch.load("llama-3.1-70b")
    counts = llama.params.by_component
    served = as_served(llama, "W8A8").weight_bytes()
    assert served["dense"] == counts["dense"] and served["attention"] == counts["attention"]
    assert served["head"] == 2 * counts["head"] and served["norm"] == 2 * counts["norm"]
    assert total(as_served(llama, "W16A16")) == pytest.approx(total(llama))


@pytest.mark.parametrize("name", ["own", "FP8", "MXFP8-MXFP4", "BF16"])
def test_the_published_form_stays(name):
    assert as_served(FLASH, name) == FLASH


def test_multiplications_move_to_int8():
    served = as_served(FLASH, "W8A8")
    assert {served.math_precision(n) for n in ("experts", "attention", "indexer")} == {"int8"}
    assert served.math_precision("core") == "bf16" and served.math_precision("router") == "fp32"
    wide = as_served(V3, "W16A16")
    assert wide.math_precision("experts") == "bf16" and wide.math_precision("router") == "fp32"


def test_caches():
    """V3's entry is 512 + 64 values in 2 bytes; C8 keeps the 64 rotary ones. V4's is 448 + 64 and eight of scale."""
    assert float(V3.kv_bytes(1000).main) == 61 * 1000 * 1152
    assert float(as_served(V3, "W8A8C8").kv_bytes(1000).main) == 61 * 1000 * (512 + 2 * 64)
    assert float(as_served(V3, "W8A8C16").kv_bytes(1000).main) == 61 * 1000 * 1152
    layers = {a.kind: a for a in as_served(FLASH, "W8A8C16").attention_counts}
    assert layers["csa"].entry == ((512, "bf16"),)
    assert layers["csa"].index_key == ((128, "int8"), (1, "fp32"))
    mimo = as_served(arch.load("mimo-v2-flash"), "W8A8C8")
    assert {a.entry for a in mimo.attention_counts} == {((192, "int8"), (128, "int8"))}
    assert mimo.mtp_layer[0].entry == ((192, "int8"), (128, "int8"))


def test_layers_and_parameters_stay():
    for key in ("deepseek-v3", "deepseek-v3.2", "deepseek-v4-pro", "mimo-v2-flash", "mixtral-8x7b"):
        model = arch.load(key)
        served = as_served(model, "W4A8C8")
        assert served.params == model.params and len(served.layers) == len(model.layers)
        assert float(served.decode_flops(4096).total) == float(model.decode_flops(4096).total)
        assert float(served.kv_bytes(65_536).total) <= float(model.kv_bytes(65_536).total) * 1.2


def test_a_chip_without_fp8_serves_in_int8():
    silent = dataclasses.replace(catalog.chip("h800"), flops={"bf16": 1.0, "int8": 2.0})
    stated = dataclasses.replace(silent, serves={"fp8": "int8", "fp4xfp8": "int8"})
    assert format_on(stated, FLASH).name == format_on(stated, V3).name == "W8A8"
    assert format_on(silent, V3).name == format_on(catalog.chip("b200"), FLASH).name == "own"
    assert format_on(stated, arch.load("llama-3.1-70b")).name == "own"  # BF16 it has


def test_formats_of_runs():
    run = next(iter(catalog.tables().runs.values()))
    r1 = format_of(dataclasses.replace(run, weights="int8", math="int8", cache="int8"))
    assert (r1.weights, r1.math, r1.cache) == (8, 8, 8)
    own = format_of(dataclasses.replace(run, weights="mxfp4", math="fp8", cache="fp8"))
    assert as_served(FLASH, own) == FLASH
    assert format_of(dataclasses.replace(run, weights="int4", math="int8", cache="bf16")).cache == 16


@pytest.mark.parametrize("name", ["W2A8", "W8", "int8", "", "W8A8C4"])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match=f"format {name!r} should be own, or look like W8A8"):
        format_named(name)
