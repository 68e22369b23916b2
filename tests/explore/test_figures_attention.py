"""Figures of the chapter on attention: sound at their ends, and true to `costlab.arch`."""

from dataclasses import dataclass

import numpy as np
import pytest
from figures import axes_of, check, lines, numbers, rises

from costlab import arch, attention, explore, roofline
from costlab.explore.attention import recall_against
from costlab.explore.attention_diagrams import _KINDS, attention_kind, kept_and_read, weights_of_two_blocks
from costlab.explore.style import COLOURS

pytestmark = pytest.mark.filterwarnings("error")


@dataclass(frozen=True)
class Found:
    variant: str
    top_k: int | None
    recall: float
    kept_bytes: int
    read_bytes: int


RESULTS = [
    Found("full", None, 1.0, 8448, 8448),
    Found("HCA 4", None, 0.88, 2624, 2624),
    Found("HCA 64", None, 0.31, 640, 640),
    *(
        Found("CSA 4", k, r, 3680, read)
        for k, r, read in ((1, 0.3, 1632), (2, 0.5, 1696), (4, 0.8, 1824), (33, 0.9, 3680))
    ),
    Found("CSA 16", 1, 0.34, 1280, 832),
]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cache_per_model", {}),
        ("cache_per_model", {"tokens": 1}),
        ("cache_per_model", {"tokens": 1024}),
        ("cache_per_model", {"tokens": 2**24}),
        ("bytes_per_token", {}),
        ("bytes_per_token", {"models": ["llama-2-7b"]}),
        ("bytes_per_token", {"models": list(arch.models())}),
        ("decode_flops", {}),
        ("decode_flops", {"models": ["llama-2-7b"]}),
        ("decode_flops", {"models": list(arch.models())}),
        ("which_ratio", {}),
        ("which_ratio", {"tokens": 1, "fp4": 0.25, "bf16": 1.0, "fp32": 1.0, "fp4_weights": 0.5}),
        ("which_ratio", {"tokens": 4_194_304, "fp4": 2.0, "bf16": 4.0, "fp32": 16.0, "fp4_weights": 2.0}),
        ("two_models", {}),
        ("two_models", {"first": "llama-2-7b", "second": "llama-2-7b", "context": 1}),
        ("two_models", {"first": "mimo-v2.5-pro", "second": "kimi-k2", "context": 1_048_576}),
        ("recall_points", {"results": RESULTS}),
        ("recall_points", {"results": RESULTS[:1]}),
        ("attention_kinds", {}),
        ("attention_overview", {}),
        ("compressor", {}),
    ],
)
def test_it_is_sound(name, arguments):
    check(getattr(explore, name)(**arguments))


# --- six kinds of attention ------------------------------------------------------------------------------------


def filled(svg, colour):
    """Return how many boxes of an SVG have that colour, and how many of them are outlined."""
    boxes = [part for part in svg.split("<rect")[1:] if f'fill="{COLOURS[colour]}"' in part]
    return len(boxes), sum('stroke="currentColor"' in part for part in boxes)


@pytest.mark.parametrize("kind", _KINDS, ids=lambda kind: kind.name)
def test_what_is_kept_is_filled_and_what_is_read_outlined(kind):
    shown = attention_kind(kind.name)
    for svg in (shown.wide, shown.narrow):
        entries = filled(svg, kind.colour) if kind.entries else (0, 0)
        assert entries == (kind.entries * kind.vectors, len(kind.chosen) * kind.vectors)
        window = kind.window * kind.vectors
        assert filled(svg, "sliding") == (window, window)
        assert filled(svg, "index") == (kind.index_keys, kind.index_keys)
    index = f" and {kind.index_keys} index keys" if kind.index else ""
    assert f"keeps {kind.kept} vectors{index}; the newest token reads {kind.reads}{index}" in shown.words.alt


def test_the_overview_counts_fewer_from_kind_to_kind():
    kept = [kind.kept for kind in _KINDS[:-1]]
    assert kept == sorted(kept, reverse=True)
    assert [(kind.kept, kind.reads) for kind in _KINDS] == [
        (64, 64), (32, 32), (16, 16), (16, 4), (8, 6), (6, 6), (8, 8),
    ]  # fmt: skip
    for kind in _KINDS:
        assert f"{kind.name} keeps {kind.kept}" in explore.attention_overview().words.alt


@pytest.mark.parametrize(
    ("name", "bytes_per_token", "fixed", "read"),
    [
        ("MHA", 16_384, 0, 1_048_576),
        ("GQA", 4_096, 0, 1_048_576),
        ("MLA", 1_152, 0, 1_048_576),
        ("DSA", 656 + 132, 0, 2_048),
        ("CSA", (584 + 68) / 4, 128 * 584, 1_024 + 128),
        ("HCA", 584 / 128, 128 * 584, 8_192 + 128),
        ("SWA", 0, 128 * 8 * (192 + 128) * 2, 128),
    ],
)
def test_the_lines_below_say_what_real_layers_keep(name, bytes_per_token, fixed, read):
    """By hand from the published configurations (arXiv 2606.19348 sec. 2.3, V3.2's report, model cards)."""
    kind = next(kind for kind in _KINDS if kind.name == name)
    assert kept_and_read(kind.attention()) == pytest.approx((bytes_per_token, fixed, read))
    shown = [n for n in (bytes_per_token, fixed, read) if n]
    assert numbers(attention_kind(name)) == pytest.approx(shown)


def test_the_compressor_shows_the_weights_of_the_reference():
    """The weights drawn, times contents, are what `attention.compress` makes of the same gates (its norm undone)."""
    weights = weights_of_two_blocks()
    assert weights.sum(0) == pytest.approx(np.ones(4))
    gates = np.random.default_rng(3).normal(scale=1.2, size=(8, 4))
    contents = np.random.default_rng(1).normal(size=(8, 4))
    h = np.eye(8)  # so that the matrices are the gates and contents themselves, one series for each block
    gate, content = (np.concatenate([a.T, a.T]) for a in (gates, contents))  # (2*width, tokens)
    entry = attention.compress(h, content, gate, np.zeros((4, 8)), np.ones(4), block=4, series=2)[1]
    assert entry == pytest.approx(attention.rms_norm((weights * contents).sum(0)))
    for weight in weights.flat:
        assert f">{weight:.2f}<".replace(">0.", ">.") in explore.compressor().wide


# --- plots -----------------------------------------------------------------------------------------------------


def test_cache_per_model_has_every_model_and_pale_bars_beyond_its_context():
    axes = axes_of(explore.cache_per_model)
    bars = sorted(patch.get_width() for patch in axes.patches)
    assert bars == pytest.approx(sorted(float(m.kv_bytes(1_048_576).total) for m in arch.models().values()))
    pale = sum(patch.get_alpha() is not None and patch.get_alpha() < 1 for patch in axes.patches)
    assert pale == sum(m.record.context < 1_048_576 for m in arch.models().values())
    shown = explore.cache_per_model()
    assert numbers(shown)[0] == pytest.approx(5_280_404_480)
    assert "5.28 GB" in shown.wide
    for model in arch.models().values():
        assert model.name in shown.wide


def test_bytes_per_token_flatten():
    shown = explore.bytes_per_token()
    v3 = numbers(shown)[1]
    assert v3 == 70_272  # bytes per token, BF16: Insights into DeepSeek-V3, table 1
    for x, y in lines(explore.bytes_per_token):
        assert rises(x)
        assert rises(-y)


def test_decode_flops_marks_a_quarter():
    assert "26% of V3.2" in explore.decode_flops().wide
    assert "of V3.2" not in explore.decode_flops(["deepseek-v3"]).wide


def test_which_ratio_says_27_percent_and_32_without_fp4():
    shown = explore.which_ratio()
    assert "27.0%" in shown.wide
    assert numbers(shown)[0] == pytest.approx(0.27025693, abs=1e-8)
    assert numbers(explore.which_ratio(fp4=1.0, bf16=1.0, fp32=1.0))[0] == pytest.approx(0.2619, abs=5e-5)
    assert numbers(explore.which_ratio(fp4=1.0))[0] == pytest.approx(0.324, abs=5e-4)


def test_recall_is_drawn_against_what_is_kept_and_what_is_read():
    kept, read = (step[0] for step in explore.recall_points(RESULTS).steps)
    assert "CSA 4 k=4 80% at 3,680" in kept.words.alt
    assert "CSA 4 k=4 80% at 1,824" in read.words.alt
    assert "HCA 4 88% at 2,624" in kept.words.alt
    assert "HCA 4 88% at 2,624" in read.words.alt
    for what in ("kept", "read"):
        points = np.concatenate([line.T for line in lines(recall_against, RESULTS, what)]).tolist()
        assert sorted(points) == sorted([getattr(r, f"{what}_bytes"), r.recall] for r in RESULTS)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("cache_per_model", {"tokens": 0}, "at least 1"),
        ("bytes_per_token", {"models": ["nope"]}, "unknown model 'nope'"),
        ("decode_flops", {"models": ["nope"]}, "unknown model 'nope'"),
        ("which_ratio", {"tokens": -1}, "at least 1"),
    ],
)
def test_bad_input(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(explore, name)(**arguments)


def test_an_unknown_kind_of_attention_is_named():
    with pytest.raises(ValueError, match="unknown kind of attention 'XYZ'"):
        attention_kind("XYZ")


def test_two_models_are_priced_as_the_roofline_prices_them():
    shown = explore.two_models("deepseek-v3", "deepseek-v4-pro", 131_072)
    nodes = [roofline.deployment(key, "h800", 64) for key in ("deepseek-v3", "deepseek-v4-pro")]
    costs = [node.usd_per_million(node.decode(node.max_batch(131_072), 131_072), 2.0) for node in nodes]
    assert numbers(shown) == pytest.approx([*costs, costs[0] / costs[1]])
    assert "DeepSeek-V3 costs 15.9 times as much" in repr(shown)
    assert "MiMo-V2.5-Pro costs" in repr(explore.two_models("deepseek-v4-pro", "mimo-v2.5-pro", 131_072))


def test_two_models_end_where_a_model_ends():
    first, second = lines(explore.two_models, "deepseek-v3", "deepseek-v4-pro", 1024)[::2]
    assert first[0].max() == 131_072
    assert second[0].max() == 1_048_576
    assert len(numbers(explore.two_models("deepseek-v3", "deepseek-v4-pro", 1_048_576))) == 1
