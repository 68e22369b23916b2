"""Figures of the chapter `tiers`: what they show is what the package computes."""

import re

import figures
import numpy as np
import pytest

from costlab import cache, catalog, explore, prices
from costlab.explore import COLOURS
from costlab.explore.tiers import LOADINGS


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("three_tiers", {}),
        ("three_tiers", {"chip": "b200"}),
        ("two_pools", {}),
        ("two_pools", {"branch": 0}),
        ("two_pools", {"branch": 16, "every": 1, "model": "mimo-v2.5"}),
        ("two_pools", {"branch": 5, "every": 10**9}),
        ("more_tokens", {}),
        ("more_tokens", {"spacing": 1}),
        ("more_tokens", {"spacing": 1_048_576}),
        ("more_tokens", {"model": "mimo-v2.5"}),
        ("read_overlap", {}),
        ("read_overlap", {"prefix": 4096, "new": 128, "gb_per_s": 5.0, "loading": "serial", "windows": False}),
        ("read_overlap", {"prefix": 524_288, "new": 4096, "gb_per_s": 200.0, "loading": "look-ahead"}),
        ("read_overlap", {"model": "deepseek-v4-pro"}),
        ("keeping", {}),
        ("keeping", {"reads_per_hour": 0.01, "spacing": 128}),
        ("keeping", {"reads_per_hour": 1000.0, "spacing": 32_768}),
        ("store_times", {"rows": [("no store", 2.0, 1.9), ("memory", 0.1, None)]}),
        ("store_times", {"rows": [("elsewhere", 0.05, 0.06)]}),
    ],
)
def test_drawn(name, arguments):
    figures.check(getattr(explore, name)(**arguments))


def test_pages_lie_where_the_calls_have_left_them():
    """Prompts A B C A C in tiers of 4, 8 and 16 pages: A has left HBM and host memory when it comes again."""
    steps = explore.three_tiers().steps
    told = [words for _, words in steps]
    assert ["is new" in words for words in told] == [True, True, True, False, False]
    assert "prompt A is found on the SSD" in told[3]
    assert "prompt C is found in host memory" in told[4]
    assert "HBM holds C, host memory A, C, and the SSD A, B, C." in told[4]
    for drawing, _ in steps:
        assert drawing.words.alt.count("4") >= 3  # each prompt has four pages
    found = [len(re.findall(f'fill="{COLOURS["hit"]}"', drawing.wide)) for drawing, _ in steps]
    assert found == [0, 0, 0, 12, 12]  # four pages in each tier


def test_links_are_as_wide_as_they_are_fast():
    svg = explore.three_tiers().steps[0][0].wide
    widths = {
        key: min(float(w) for w in re.findall(rf'width="([\d.]+)" height="30" fill="{COLOURS[key]}"', svg))
        for key in ("hbm", "dram")
    }
    fast, slow = catalog.chip("h800").memory_bandwidth_bytes_s, catalog.tables().media["dram"].read_bytes_s
    assert widths["hbm"] / widths["dram"] == pytest.approx(fast / slow, rel=1e-3)


@pytest.mark.parametrize(
    ("branch", "every", "shown"),
    [  # shared, found, computed tokens, windows, their share of the bytes: 6 x 128 of 8,192 tokens each
        (9, 0, [4608, 0, 8192, 1, 0.09375]),
        (9, 2048, [4608, 4096, 4096, 4, 0.375]),
        (16, 0, [8192, 8192, 0, 1, 0.09375]),
    ],
)
def test_two_pools_finds_up_to_the_last_window(branch, every, shown):
    drawing = explore.two_pools(branch, every)
    assert figures.numbers(drawing) == pytest.approx(shown)
    for svg in (drawing.wide, drawing.narrow):
        assert svg.count(f'fill="{COLOURS["hit"]}"') == shown[1] / 512
        assert svg.count(f'fill="{COLOURS["sliding"]}"') == shown[3]


def test_more_tokens_says_five():
    assert figures.numbers(explore.more_tokens()) == pytest.approx([1920, 5.0, 0.8, 7.0])
    curve, *_ = figures.lines(explore.more_tokens)
    footprint = cache.footprint("mimo-v2.5-pro")
    assert curve[1] == pytest.approx([footprint.multiplier(128 / s) for s in curve[0]])


@pytest.mark.parametrize("mode", cache.MODES)
@pytest.mark.parametrize("windows", [True, False])
def test_read_overlap_draws_the_timeline(mode, windows):
    run = cache.prefill_behind("mimo-v2.5-pro", 65_536, 1024, 50e9, loading=mode, windows=windows, flops_per_s=400e12)
    shown = explore.read_overlap(loading=mode, windows=windows)
    wanted = [run.load_s * 1e3, run.compute_s * 1e3, run.finish_s * 1e3, run.stall_s * 1e3, run.stall_share]
    assert figures.numbers(shown) == pytest.approx(wanted)
    assert LOADINGS[mode] in shown.words.alt
    axes = figures.axes_of(explore.read_overlap, loading=mode, windows=windows)
    waits = [c for c in axes.collections if matches(c, "other")]
    drawn = sum(float(np.ptp(path.vertices[:, 0])) for c in waits for path in c.get_paths())
    assert drawn == pytest.approx(run.stall_s * 1e3, abs=1e-4)  # grey is what the chip waits


def matches(collection, colour):
    from matplotlib.colors import to_hex

    return to_hex(collection.get_facecolor()[0]).upper() == COLOURS[colour]


def test_keeping_pays_from_so_many_reads_on():
    shown = explore.keeping(reads_per_hour=10.0)
    gigabytes = 1e6 * cache.footprint("mimo-v2.5-pro").bytes_per_token(1 / 15) / 1e9
    hourly = [gigabytes * cache.medium(key, np.inf).usd_per_gb_hour for key in ("dram", "ssd")]
    hit = prices.price_at("mimo-v2.5-pro").hit
    wanted = [gigabytes * 1e9, *(h / 10 for h in hourly), *(h / hit for h in hourly)]
    assert figures.numbers(shown) == pytest.approx(wanted)


def test_store_times_names_both_times():
    shown = explore.store_times([("no store", 2.727, 2.767), ("cold file", 0.121, 0.110)])
    assert figures.numbers(shown) == [2727, 121]
    assert "computed anew: 2,727 ms, predicted 2,767." in shown.words.alt
    assert "file, on disk: 121 ms, predicted 110." in shown.words.alt


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("three_tiers", {"chip": "nope"}, "unknown chip 'nope'"),
        ("two_pools", {"branch": 17}, "branch 17"),
        ("two_pools", {"every": -1}, "every -1"),
        ("two_pools", {"model": "deepseek-v3"}, "a hybrid"),
        ("more_tokens", {"spacing": 0}, "at least 1"),
        ("read_overlap", {"loading": "nope"}, "unknown way to load 'nope'"),
        ("keeping", {"reads_per_hour": 0.0}, "above 0"),
    ],
)
def test_bad_input(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(explore, name)(**arguments)
