"""Every figure draws at its defaults and at the ends of what a slider offers, labelled and without a warning."""

import inspect
from dataclasses import dataclass
from datetime import date

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.dates import date2num

from costlab import explore, prices, roofline
from costlab.explore import style
from costlab.explore.prices import catalog_day

matplotlib.use("Agg")

pytestmark = pytest.mark.filterwarnings("error")


@dataclass(frozen=True)
class Stacked:
    pattern: str
    window: int


@dataclass(frozen=True)
class Looked:
    variant: Stacked
    steps: int
    back: tuple[int, int]
    recall: float
    kept_bytes: int


# Arguments at both ends of the range a slider can have, beside the defaults.
ENDS = {
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
    "window_saving": [
        {"full": 1, "window": 1, "context": 64},
        {"full": 70, "window": 4096, "context": 1_048_576},
        {"full": 35, "window": 4096, "context": 1},
    ],
    "ten_layers": [{"context": 1024}, {"context": 1_048_576, "model": "mimo-v2-flash"}],
    "layer_stack": [{"models": ["mimo-v2-flash"]}, {"models": ["mimo-v2.5", "llama-3.1-70b"]}],
    "recall_by_distance": [
        {"results": [Looked(Stacked("SS", 8), 1, (1, 4), 1.0, 640), Looked(Stacked("SS", 8), 1, (5, 16), 0.1, 640)]},
        {"results": [Looked(Stacked("FF", 8), 1, (1, 4), 1.0, 640)]},
    ],
    "recall_by_ratio": [
        {"results": [Looked(Stacked("FS", 8), 1, (9, 16), 1.0, 640), Looked(Stacked("FF", 8), 1, (9, 16), 1.0, 1280)]},
        {"results": [Looked(Stacked("FS", 8), 4, (9, 16), 0.0, 640)]},
    ],
    "prefix_tree": [{"prompts": [[5]]}, {"prompts": [[1, 2], [1, 2], [1, 3], [4, 6]]}],
    "hit_curve": [
        {"turns": 1.0, "terabytes": 0.01, "requests": 50},
        {"turns": 6.0, "terabytes": 31.6, "requests": 300, "model": "deepseek-v3"},
    ],
    "more_tokens": [{"spacing": 1}, {"spacing": 1_048_576}, {"model": "mimo-v2.5"}],
    "two_pools": [{"branch": 0}, {"branch": 16, "every": 1, "model": "mimo-v2.5"}, {"branch": 5, "every": 10**9}],
    "read_overlap": [
        {"prefix": 4096, "new": 128, "gb_per_s": 5.0, "loading": "serial", "windows": False},
        {"prefix": 524_288, "new": 4096, "gb_per_s": 200.0, "loading": "look-ahead", "model": "deepseek-v4-pro"},
    ],
    "keeping": [{"reads_per_hour": 0.01, "spacing": 128}, {"reads_per_hour": 1000.0, "spacing": 32_768}],
    "store_times": [{"rows": [("no store", 2.0, 1.9), ("memory", 0.1, None)]}],
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


def test_window_saving_says_seven(capsys):
    explore.window_saving()
    assert "from 15,360" in texts()
    out = capsys.readouterr().out
    assert "131072 tokens: 6.9592233" in out
    assert "limit 7; within 5% of 10/70 from 15360 tokens" in out


def test_ten_layers_prints_both_ways_of_counting(capsys):
    explore.ten_layers(8192)
    out = capsys.readouterr().out
    assert "8192 tokens: attention 1.186" in out
    assert "all 5.682" in out


def test_layer_stack_draws_every_layer(capsys):
    explore.layer_stack(["mimo-v2.5-pro"])
    colours = [matplotlib.colors.to_hex(patch.get_facecolor()).upper() for patch in plt.gca().patches]
    assert colours.count(style.COLOURS["full"]) == 10
    assert colours.count(style.COLOURS["sliding"]) == 60
    assert len({(patch.get_x(), patch.get_y()) for patch in plt.gca().patches}) == 70
    assert "full at 0, 7, 15, 23, 31, 39, 47, 55, 62, 69; 3 x 6, 6 x 7 sliding" in capsys.readouterr().out


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


@pytest.mark.parametrize(
    ("branch", "every", "shown"),
    [
        (9, 0, "4608 tokens shared, 0 found, 8192 computed\n1 windows kept, 0.09375 of"),  # 6 x 128 of 8192 tokens
        (9, 2048, "4608 tokens shared, 4096 found, 4096 computed\n4 windows kept, 0.375 of"),
        (16, 0, "8192 tokens shared, 8192 found, 0 computed"),
    ],
)
def test_two_pools_finds_up_to_the_last_window(branch, every, shown, capsys):
    explore.two_pools(branch, every)
    assert shown in capsys.readouterr().out


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
        ("blended_price", {"hit_rate": 1.5}, "between 0 and 1"),
        ("bill_parts", {"hit_rate": -1}, "between 0 and 1"),
        ("bill_parts", {"input_tokens": -1}, "input_tokens"),
        ("price_steps", {"product": "nope"}, "'nope'"),
        ("batch_curve", {"context": 0}, "at least 1"),
        ("batch_curve", {"chip": "nope"}, "unknown chip 'nope'"),
        ("window_saving", {"full": 0}, "between 1 and layers = 70"),
        ("window_saving", {"context": 0}, "at least 1"),
        ("ten_layers", {"model": "deepseek-v3"}, "has layers of MLA"),
        ("layer_stack", {"models": ["nope"]}, "unknown model 'nope'"),
        ("two_pools", {"branch": 17}, "branch 17"),
        ("two_pools", {"every": -1}, "every -1"),
        ("two_pools", {"model": "deepseek-v3"}, "a hybrid"),
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
