"""Every figure draws at its defaults and at the ends of what a slider offers, labelled and without a warning."""

import inspect
from dataclasses import dataclass

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from costlab import arch, explore, moe
from costlab.explore import style

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


@pytest.mark.parametrize("factor", [0.0, 0.25, 1.25, 4.0])
def test_capacity_waste_is_what_dispatching_finds(factor, capsys):
    explore.capacity_waste(factor, 0.5, 1024)
    routes = moe.sample_routes(1024, 6, moe.zipf_shares(64, 0.5), np.random.default_rng(0))
    done = moe.dispatch_with_capacity(routes, 64, moe.capacity(1024, 64, 6, factor))
    dropped, padded = (float(line.split(": ")[-1].split()[0]) for line in capsys.readouterr().out.splitlines())
    assert (dropped, padded) == pytest.approx((done.dropped_share, done.padding_share), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("cache_per_model", {"tokens": 0}, "at least 1"),
        ("growth", {"models": ["nope"]}, "unknown model 'nope'"),
        ("decode_flops", {"models": ["nope"]}, "unknown model 'nope'"),
        ("which_ratio", {"tokens": -1}, "at least 1"),
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
