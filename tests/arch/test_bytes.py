"""Cache bytes: published figures, and the same sums done by hand."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab import arch

MILLION = 1_048_576
GIB = 2**30


def total(model, tokens=MILLION):
    return float(arch.load(model).kv_bytes(tokens).total if isinstance(model, str) else model.kv_bytes(tokens).total)


def test_v3_in_bf16():
    """70,272 bytes per token: "Insights into DeepSeek-V3", arXiv 2505.09343, Table 1 (70.272 KB)."""
    assert 61 * (512 + 64) * 2 == 70_272
    kv = arch.load("deepseek-v3").kv_bytes([1, 1000, MILLION])
    np.testing.assert_array_equal(kv.total, 70_272.0 * np.array([1, 1000, MILLION]))
    assert not kv.fixed.any()
    assert not kv.index.any()


@pytest.mark.parametrize(("key", "bytes_per_token"), [("llama-3.1-70b", 327_680), ("llama-2-7b", 524_288)])
def test_llama_per_token(key, bytes_per_token):
    """arXiv 2505.09343 Table 1 rates GQA models the same way: 2 x layers x KV heads x 128 x 2 bytes."""
    assert total(key, 1000) == 1000 * bytes_per_token


def test_v32_stores_788_bytes_per_layer():
    """FlashMLA README: 656 bytes per entry; V3.2's index key: 128 FP8 and one FP32 scale."""
    kv = arch.load("deepseek-v3.2").kv_bytes(MILLION)
    assert float(kv.main) == 61 * 656 * MILLION
    assert float(kv.index) == 61 * 132 * MILLION
    assert float(kv.total) / 1e9 == pytest.approx(50.403, abs=5e-4)  # arXiv 2606.19348 Fig. 1: axis to 50 GB


def test_v4_pro_at_a_million():
    """arXiv 2606.19348 sec. 1 and Fig. 1: 10% of V3.2's cache, 9.5 times smaller; Flash 7%, 13.7 times."""
    pro = arch.load("deepseek-v4-pro").kv_bytes(MILLION)
    assert float(pro.total) / 1e9 == pytest.approx(5.28, abs=0.005)
    by_hand = 30 * (MILLION // 4) * (584 + 68) + 31 * (MILLION // 128) * 584 + 61 * 128 * 584
    assert float(pro.total) == by_hand
    assert float(pro.total) / total("deepseek-v3.2") == pytest.approx(0.1048, abs=5e-5)
    assert total("deepseek-v3.2") / float(pro.total) == pytest.approx(9.5, abs=0.05)
    flash = total("deepseek-v4-flash")
    assert flash / 1e9 == pytest.approx(3.688, abs=5e-4)
    assert flash / total("deepseek-v3.2") == pytest.approx(0.0732, abs=5e-5)
    assert total("deepseek-v3.2") / flash == pytest.approx(13.7, abs=0.05)


def test_v4_against_gqa_of_the_same_depth():
    """The report's "about 2%" of BF16 GQA with 8 heads of 128 and as many layers."""
    for key, layers in (("deepseek-v4-pro", 61), ("deepseek-v4-flash", 43)):
        assert total(key) / (layers * 2 * 8 * 128 * 2 * MILLION) == pytest.approx(0.02, abs=0.0005)


def test_v4_pro_by_parts():
    """Shares at 1M: CSA entries 87.0%, CSA index 10.1%, HCA 2.8%, windows 0.1%."""
    pro = arch.load("deepseek-v4-pro")
    kv = pro.kv_bytes(MILLION)
    hca = 31 * (MILLION // 128) * 584
    shares = [float(part) / float(kv.total) for part in (kv.main - hca, kv.index, hca, kv.window)]
    assert shares == pytest.approx([0.870, 0.101, 0.028, 0.001], abs=5e-4)
    # fixed state: windows 4.6 MB, and 18.7 MB of open blocks in FP32 in DeepSeek's inference code
    assert float(kv.fixed) / 1e6 == pytest.approx(4.56, abs=0.005)
    assert float(kv.state) / 1e6 == pytest.approx(18.7, abs=0.05)
    assert float(kv.resident) == float(kv.total) + float(kv.state)


V4_FP8_INDEX = [(128, "fp8"), (1, "fp32")]
FLAT, V4_FLAT = [(512, "fp8"), (64, "bf16")], [(448, "fp8"), (64, "bf16")]


@pytest.mark.parametrize(
    ("v32", "v4", "gb", "pro_gb", "pro", "flash"),
    [  # GB of V3.2 and V4-Pro at 1M, and the percentages of V4-Pro and V4-Flash, each to its last digit
        pytest.param({}, {}, 50.40, 5.280, 10.48, 7.32, id="as DeepSeek stores it"),
        pytest.param(
            {"entry": FLAT, "index_key": [(128, "fp8")]},
            {"entry": V4_FLAT, "index_key": [(128, "fp4")]},
            49.12,
            5.184,
            10.55,
            7.37,
            id="without scales",
        ),
        pytest.param({}, {"index_key": V4_FP8_INDEX}, 50.40, 5.784, 11.47, 8.02, id="V4 index keys in FP8"),
        pytest.param(
            {"entry": [(576, "bf16")], "index_key": [(128, "bf16")]},
            {"entry": [(512, "bf16")], "index_key": [(128, "bf16")]},
            90.06,
            10.334,
            11.47,
            8.02,
            id="all in BF16",
        ),
        pytest.param({"index_key": []}, {}, 41.96, 5.280, 12.58, 8.79, id="V3.2 without index keys"),
    ],
)
def test_storage_assumptions(v32, v4, gb, pro_gb, pro, flash):
    """What each assumption about storage does to the published ratio; the BF16 row is the vLLM blog's 9.62 GiB."""

    def relaid(key, change):
        return arch.load(key).with_layouts(**{k: tuple(v) for k, v in change.items()})

    base = total(relaid("deepseek-v3.2", v32))
    ours = total(relaid("deepseek-v4-pro", v4))
    assert base / 1e9 == pytest.approx(gb, abs=0.005)
    assert ours / 1e9 == pytest.approx(pro_gb, abs=0.0005)
    assert 100 * ours / base == pytest.approx(pro, abs=0.005)
    assert 100 * total(relaid("deepseek-v4-flash", v4)) / base == pytest.approx(flash, abs=0.005)
    if pro_gb == 10.334:
        assert ours / GIB == pytest.approx(9.62, abs=0.005)


def test_other_layouts_leave_the_model_as_it_was():
    pro = arch.load("deepseek-v4-pro")
    before = float(pro.kv_bytes(1000).total)
    pro.with_layouts(entry=((1, "fp8"),), index_key=())
    assert float(pro.kv_bytes(1000).total) == before
    with pytest.raises(ValueError, match="fp7"):
        pro.with_layouts(entry=((1, "fp7"),))


@pytest.mark.parametrize(
    ("tokens", "full", "hybrid", "ratio"),
    [  # GiB of 70 full layers and of 10 full + 60 windows of 128
        (1024, 0.342, 0.085, 4.00),
        (2048, 0.684, 0.134, 5.09),
        (8192, 2.734, 0.427, 6.40),
        (32768, 10.94, 1.599, 6.84),
        (131072, 43.75, 6.287, 6.96),
        (MILLION, 350.0, 50.04, 6.99),
    ],
)
def test_mimo_pro(tokens, full, hybrid, ratio):
    """arXiv 2607.13095 Fig. 1b prints 350 and 50 GB at 1M; the rest is layers x 5,120 bytes, by hand."""
    pro = arch.load("mimo-v2.5-pro")
    all_full = 70 * 5120 * tokens
    assert all_full / GIB == pytest.approx(full, rel=2e-3)
    ours = total(pro, tokens)
    assert ours == 10 * 5120 * tokens + 60 * 5120 * min(tokens, 128)
    assert ours / GIB == pytest.approx(hybrid, abs=5e-4 if tokens < MILLION else 5e-3)
    assert all_full / ours == pytest.approx(ratio, abs=5e-3)


def test_mimo_growing_and_fixed():
    """23,040 B per token and 24.4 MiB for V2-Flash and V2.5; 51,200 B and 37.5 MiB for V2.5-Pro."""
    for key, growing, fixed in (("mimo-v2-flash", 23_040, 24.4), ("mimo-v2.5", 23_040, 24.4)):
        kv = arch.load(key).kv_bytes(MILLION)
        assert float(kv.growing) == growing * MILLION
        assert float(kv.fixed) / 2**20 == pytest.approx(fixed, abs=0.05)
    kv = arch.load("mimo-v2.5-pro").kv_bytes(MILLION)
    assert float(kv.growing) == 51_200 * MILLION
    assert float(kv.fixed) / 2**20 == 37.5


def test_others_at_a_million():
    """arXiv 2607.13095 Fig. 2 (read off): Kimi-K2 ~68 GB, DeepSeek-V4-Pro ~5, V2.5 ~22.5, V4-Flash ~3.5."""
    for key, figure, off in (
        ("kimi-k2", 68, 1),
        ("deepseek-v4-pro", 5, 0.3),
        ("mimo-v2.5", 22.5, 0.2),
        ("deepseek-v4-flash", 3.5, 0.2),
    ):
        assert total(key) / GIB == pytest.approx(figure, abs=off), key


# --- how the bytes hang together -------------------------------------------------------------------------------

KEYS = list(arch.models())
TOKENS = st.integers(1, 5000)


@given(key=st.sampled_from(KEYS), tokens=TOKENS)
def test_bytes_are_the_stores_of_each_layer(key, tokens):
    """Layer by layer and token by token: a part grows by one entry when a block closes, until its cap."""
    model = arch.load(key)
    summed = 0.0
    for attention, _ in model.layers:
        for store in attention.stores():
            if store.part != "state":
                closed = tokens // store.entries.stride
                most = store.entries.cap or closed
                there = (tokens - 1) % most + 1 if store.entries.restarts else min(closed, most)
                summed += store.bytes_per_entry * there
    assert float(model.kv_bytes(tokens).total) == pytest.approx(summed, rel=1e-12)


@given(key=st.sampled_from(KEYS), tokens=st.lists(TOKENS, min_size=1, max_size=5))
def test_an_array_is_its_scalars(key, tokens):
    model = arch.load(key)
    together = model.kv_bytes(np.array([tokens]))
    assert together.total.shape == (1, len(tokens))
    for part in ("main", "index", "window", "state", "recurrent", "growing", "fixed", "total", "resident"):
        one_by_one = [float(getattr(model.kv_bytes(n), part)) for n in tokens]
        np.testing.assert_array_equal(getattr(together, part)[0], one_by_one)


def chunked(model):
    """Whether some layers drop a chunk when the next one begins."""
    return any(store.entries.restarts for a, _ in model.layers for store in a.stores())


@given(key=st.sampled_from(KEYS), tokens=TOKENS, more=st.integers(0, 5000))
def test_a_longer_context_never_keeps_less(key, tokens, more):
    model = arch.load(key)
    for part in ("main", "index", "state", "recurrent", *([] if chunked(model) else ["window"])):
        assert getattr(model.kv_bytes(tokens + more), part) >= getattr(model.kv_bytes(tokens), part)


@given(key=st.sampled_from(KEYS), tokens=TOKENS)
def test_a_step_reads_no_more_than_is_kept(key, tokens):
    """But for entries that several layers read, and for states, which are written back too."""
    model = arch.load(key)
    layers = [a for a, _ in model.layers if getattr(a, "owns_kv", True)]
    own = dataclasses.replace(model, layers=tuple((a, f) for a, f in model.layers if a in layers))
    kept = own.kv_bytes(tokens + 128)
    assert 0 < own.decode_read_bytes(tokens + 128) <= kept.total + kept.recurrent


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.filterwarnings("error")
def test_absurd_sizes_are_finite(key):
    kv = arch.load(key).kv_bytes([1e15, 2.0**53])
    for part in ("main", "index", "window", "state", "total"):
        assert np.isfinite(getattr(kv, part)).all()
    assert np.isfinite(arch.load(key).decode_read_bytes(1e15))


BAD = [0, -1, 0.5, -3.5, float("nan"), float("inf"), 2**53 + 2, 1e300, 10**400, "abc", None, [5, 0], [[1, -2]]]


@pytest.mark.parametrize("tokens", BAD, ids=repr)
@pytest.mark.filterwarnings("error")
def test_bad_counts_are_quoted(tokens):
    model = arch.load("deepseek-v4-pro")
    for ask in (model.kv_bytes, model.decode_flops, model.prefill_flops, model.decode_read_bytes):
        with pytest.raises(ValueError, match=r"whole numbers|2\*\*53"):
            ask(tokens)


def test_the_message_quotes_what_was_wrong():
    with pytest.raises(ValueError, match="tokens should be whole numbers of at least 1, got -7"):
        arch.load("llama-2-7b").kv_bytes([3, -7])
    with pytest.raises(ValueError, match="prefix should be whole numbers of at least 0, got -1"):
        arch.load("llama-2-7b").prefill_flops(5, -1)
    with pytest.raises(ValueError, match=r"should be whole numbers.*'abc'"):
        arch.load("llama-2-7b").kv_bytes("abc")
