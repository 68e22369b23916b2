"""The ledger's verdicts on the hybrid claims, and that each follows from figures and not from the code's words."""

import dataclasses

import pytest

from costlab import arch, catalog, claims, hybrid


def test_every_claim_is_settled():
    found = {finding.key: finding.verdict for finding in claims.findings("swa-")}
    assert found == {
        "swa-1-to-7": "unit or label error",
        "swa-60-layers": "reproduced",
        "swa-10-layer-prefill": "reproduced under a stated assumption",
    }


def test_one_to_seven_says_one_to_six():
    found = claims.settle("swa-1-to-7")
    assert "10 full and 60 sliding layers are 1:6; full layers to all layers are 1:7" in found.why
    assert "in 6 of the 9 gaps" in found.why
    assert "1:7 would make it 8" in found.why


def test_ten_layers_hold_for_attention_alone():
    computed = claims.settle("swa-10-layer-prefill").why
    assert "1.19, 1.02, 1.00 times the attention" in computed
    assert "5.68, 2.81, 1.16 times" in computed
    assert "97.7K keys" in claims.settle("swa-10-layer-prefill").why


@pytest.mark.parametrize(
    ("key", "values", "verdict"),
    [
        ("swa-1-to-7", {"full": 1.0, "sliding": 6.0}, "reproduced"),
        ("swa-1-to-7", {"full": 1.0, "sliding": 9.0}, "contradicted"),
        ("swa-60-layers", {"sliding": 61.0, "layers": 70.0}, "contradicted"),
        ("swa-60-layers", {"sliding": 60.0, "layers": 71.0}, "contradicted"),
        ("swa-10-layer-prefill", {"layers": 70.0, "like": 9.0}, "contradicted"),
    ],
)
def test_another_claim_gets_another_verdict(key, values, verdict):
    assert claims.settle(key, **values).verdict == verdict


@pytest.mark.parametrize(("swap", "verdict"), [("all full", "contradicted"), ("twice the layers", "contradicted")])
def test_another_model_gets_another_verdict(swap, verdict, monkeypatch):
    """With other layers in the catalog the count of 60 of 70 is no longer found."""
    pro = arch.load("mimo-v2.5-pro")
    other = hybrid.all_full(pro) if swap == "all full" else dataclasses.replace(pro, layers=pro.layers * 2)
    monkeypatch.setattr(hybrid, "pattern", lambda _: pattern)
    pattern = hybrid.Pattern("".join("S" if isinstance(a, arch.SlidingWindow) else "F" for a, _ in other.layers))
    assert claims.settle("swa-60-layers").verdict == verdict


def test_what_the_articles_say_is_in_the_catalog():
    known = catalog.tables().claims
    assert known["swa-1-to-7"].articles == ("B", "D")
    assert known["swa-60-layers"].articles == ("D",)
