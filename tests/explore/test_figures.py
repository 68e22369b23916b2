"""Every figure draws at its defaults and at the ends of what a slider offers, labelled and without a warning."""

import inspect
from dataclasses import dataclass
from datetime import date

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.dates import date2num

from costlab import arch, explore, moe, prices, roofline
from costlab.explore import style
from costlab.explore.prices import catalog_day

matplotlib.use("Agg")

pytestmark = pytest.mark.filterwarnings("error")


@dataclass(frozen=True)
class Found:
    variant: str
    top_k: int | None
    recall: float
    kept_bytes: int


# Arguments at both ends of the range a slider can have, beside the defaults.
ENDS = {
    "cache_per_model": [{"tokens": 1}, {"tokens": 1024}, {"tokens": 2**24}],
    "growth": [{"models": ["llama-2-7b"]}, {"models": list(arch.models())}],
    "decode_flops": [{"models": ["llama-2-7b"]}, {"models": list(arch.models())}],
    "which_ratio": [
        {"tokens": 1, "fp4": 0.25, "bf16": 1.0, "fp32": 1.0, "fp4_weights": 0.5},
        {"tokens": 4_194_304, "fp4": 2.0, "bf16": 4.0, "fp32": 8.0, "fp4_weights": 2.0},
    ],
    "blended_price": [{"hit_rate": 0.0}, {"hit_rate": 1.0}],
    "bill_parts": [
        {"input_tokens": 0, "output_tokens": 0, "hit_rate": 0.0},
        {"input_tokens": 1_000_000, "output_tokens": 0, "hit_rate": 1.0},
        {"input_tokens": 1, "output_tokens": 100_000, "hit_rate": 0.0},
    ],
    "price_steps": [{"product": name} for name in ("deepseek-v3", "deepseek-v4-flash", "mimo-v2.5-pro", "gpt-5.5")],
    "batch_curve": [
        {"context": 1, "chips": 1, "model": "llama-2-7b", "chip": "a100-80g"},
        {"context": 1_048_576, "chips": 8},
        {"context": 1024, "chips": 320},
        {"model": "deepseek-v4-pro", "chip": "b200", "context": 1_048_576, "chips": 64},
    ],
    "roofline_chart": [
        {"context": 1},
        {"context": 1_048_576},
        {"model": "llama-2-7b", "chip": "ascend-910b"},
        {"model": "deepseek-v4-pro", "chip": "b200"},
    ],
    "published_day": [],
    "experts_touched": [{"batch": 1, "skew": 0.0}, {"batch": 4096, "skew": 2.0}],
    "capacity_waste": [{"factor": 0.5, "skew": 0.0, "tokens": 64}, {"factor": 4.0, "skew": 2.0, "tokens": 8192}],
    "expert_collapse": [{"curves": {"free": [0.9, 0.5] * 20, "balanced": [1.0] * 40}}, {"curves": {"one": [0.5] * 12}}],
    "recall_points": [{"results": [Found("full", None, 1.0, 8448), Found("CSA 4", 1, 0.3, 3680)]}],
    "weights_per_token": [{"batch": 1}, {"model": "mixtral-8x7b", "batch": 4096}],
}
HELPERS = {"label_ends", "new_figure", "spread_labels", "bytes_text", "tokens_text"}


@pytest.fixture(autouse=True)
def closed():
    plt.close("all")
    yield
    plt.close("all")


def test_no_figure_is_forgotten():
    public = {name for name in explore.__all__ if inspect.isfunction(getattr(explore, name))}
    assert public - HELPERS == set(ENDS)


def cases():
    """Defaults first, for every figure that can draw without arguments."""
    for name, ends in ENDS.items():
        needs = any(p.default is p.empty for p in inspect.signature(getattr(explore, name)).parameters.values())
        for i, arguments in enumerate(ends if needs else [{}, *ends]):
            yield pytest.param(name, arguments, id=f"{name}-{i}")


@pytest.mark.parametrize(("name", "arguments"), list(cases()))
def test_figure(name, arguments, capsys):
    getattr(explore, name)(**arguments)
    assert len(plt.get_fignums()) == 1
    figure = plt.gcf()
    figure.canvas.draw()  # lays out all text; warns where it cannot
    (axes,) = figure.axes
    assert axes.get_title(loc="left") or axes.get_title()
    # each axis has a label or, where it shows categories or dates, words on its ticks
    for axis in (axes.xaxis, axes.yaxis):
        words = [tick.get_text() for tick in axis.get_ticklabels()]
        assert axis.get_label_text() or any(any(c.isalpha() or c == "-" for c in w) for w in words)
    assert axes.lines or axes.patches or axes.collections or "no room" in texts()
    for line in axes.lines:
        assert np.isfinite(np.asarray(line.get_ydata(), dtype=float)).all()
        assert len(line.get_xdata()) > 0
    for patch in axes.patches:
        assert np.isfinite(patch.get_extents().bounds).all()
    printed = capsys.readouterr().out
    assert "nan" not in printed
    assert "inf" not in printed


def texts():
    plt.gcf().canvas.draw()  # tick labels are written then
    return " ".join(text.get_text() for text in plt.gcf().findobj(matplotlib.text.Text))


def test_cache_per_model_marks_every_model(capsys):
    explore.cache_per_model()
    shown = texts()
    for model in arch.models().values():
        assert model.name in shown
    assert "5.28 GB" in shown
    assert "4K" not in shown
    bars = sorted(patch.get_width() for patch in plt.gca().patches)
    assert bars == pytest.approx(sorted(float(m.kv_bytes(1_048_576).total) for m in arch.models().values()))


def test_which_ratio_says_27_percent(capsys):
    explore.which_ratio()
    assert "27.0%" in texts()
    assert "DeepSeek-V4-Pro / V3.2 = 0.27025693" in capsys.readouterr().out
    explore.which_ratio(fp4=1.0, bf16=1.0, fp32=1.0)
    assert "DeepSeek-V4-Pro / V3.2 = 0.2619" in capsys.readouterr().out


def test_blended_price_prints_what_it_marks(capsys):
    explore.blended_price(0.5)
    out = capsys.readouterr().out
    row = prices.price_at("deepseek-v4-pro")
    assert f"deepseek-v4-pro: {(row.hit + row.miss) / 2:.12g} USD" in out
    assert "50.0% hits" in out


def test_bill_parts_fill_the_bar(capsys):
    explore.bill_parts(32_768, 8_192, 0.5)
    widths = [patch.get_width() for patch in plt.gca().patches]
    assert sum(widths) == pytest.approx(len(widths) / 3)
    expected = prices.bill("deepseek-v4-pro", prices.Workload(32_768, 8_192, 0.5)).total
    assert f"deepseek-v4-pro: {expected:.12g} USD" in capsys.readouterr().out


def drawn(product):
    """Days and amounts of the three lines of a product's history: hit, miss, output."""
    explore.price_steps(product)
    return [line.get_data() for line in plt.gca().lines]


def test_price_steps_draw_no_hit_price_where_none_is_listed():
    """Qwen-Plus before 2026-01-29: a line at the miss price would be an invention."""
    (_, hits), (_, misses), _ = drawn("qwen-plus")
    assert np.isnan(hits[0])
    assert hits[-1] == 0.08
    assert np.all(misses == 0.4)


def test_price_steps_end_where_the_product_ended():
    for product, end in (("deepseek-v4-flash", "2026-09-10"), ("mimo-v2.5-pro", "2026-10-21"), ("gpt-5.5", None)):
        ends = {days[-1] for days, _ in drawn(product)}
        assert ends == {date2num(date.fromisoformat(end) if end else catalog_day())}


@pytest.mark.parametrize("factor", [0.0, 0.25, 1.25, 4.0])
def test_capacity_waste_is_what_dispatching_finds(factor, capsys):
    explore.capacity_waste(factor, 0.5, 1024)
    routes = moe.sample_routes(1024, 6, moe.zipf_shares(64, 0.5), np.random.default_rng(0))
    done = moe.dispatch_with_capacity(routes, 64, moe.capacity(1024, 64, 6, factor))
    dropped, padded = (float(line.split(": ")[-1].split()[0]) for line in capsys.readouterr().out.splitlines())
    assert (dropped, padded) == pytest.approx((done.dropped_share, done.padding_share), abs=1e-12)


def test_batch_curve_stops_where_memory_is_full(capsys):
    explore.batch_curve(context=100_000)
    fits = roofline.deployment("deepseek-v3", "h800", 32).max_batch(100_000)
    assert max(line.get_xdata()[-1] for line in plt.gca().lines) == fits
    assert f"memory holds {fits} sequences" in capsys.readouterr().out


def test_batch_curve_says_when_nothing_fits(capsys):
    explore.batch_curve(chips=8)
    assert "no room for one sequence" in texts()
    out = capsys.readouterr().out
    assert "memory holds 0 sequences: 100.8" in out
    assert "USD" not in out
    explore.batch_curve(chips=1, model="llama-2-7b", context=110_000)
    assert "memory holds 1 sequences; at 1 a step" in capsys.readouterr().out
    assert [line.get_color() for line in plt.gca().lines] == [style.COLOURS["compute"], style.COLOURS["memory"]]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("cache_per_model", {"tokens": 0}, "at least 1"),
        ("growth", {"models": ["nope"]}, "unknown model 'nope'"),
        ("decode_flops", {"models": ["nope"]}, "unknown model 'nope'"),
        ("which_ratio", {"tokens": -1}, "at least 1"),
        ("blended_price", {"hit_rate": 1.5}, "between 0 and 1"),
        ("bill_parts", {"hit_rate": -1}, "between 0 and 1"),
        ("bill_parts", {"input_tokens": -1}, "input_tokens"),
        ("price_steps", {"product": "nope"}, "'nope'"),
        ("batch_curve", {"context": 0}, "at least 1"),
        ("batch_curve", {"chip": "nope"}, "unknown chip 'nope'"),
        ("roofline_chart", {"model": "nope"}, "unknown model 'nope'"),
    ],
)
def test_bad_input(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(explore, name)(**arguments)


# --- style -----------------------------------------------------------------------------------------------------


def test_spread_labels_keep_order_and_distance():
    placed = style.spread_labels([1.0, 1.1, 5.0, 1.05], 1.0)
    order = np.argsort([1.0, 1.1, 5.0, 1.05])
    gaps = np.diff(np.array(placed)[order])
    assert (gaps >= 1.0 - 1e-12).all()
    assert sum(placed) == pytest.approx(1.0 + 1.1 + 5.0 + 1.05)
    assert style.spread_labels([3.0, 1.0], 0.5) == [3.0, 1.0]


def test_colours_tell_apart():
    """Okabe-Ito: within a figure's family no two share a colour."""
    for family in (("full", "compressed", "sliding"), ("hit", "miss", "output"), ("compute", "memory", "link")):
        assert len({style.COLOURS[name] for name in family}) == len(family)
    assert style.COLOURS["DeepSeek"] != style.COLOURS["Xiaomi"]
