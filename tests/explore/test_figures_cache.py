"""Figures of the chapter `cache`: what they show is what the cache does."""

from collections import OrderedDict
from xml.etree import ElementTree

import figures
import numpy as np
import pytest

from costlab import cache, explore, traces
from costlab.explore import COLOURS
from costlab.explore.cache import CALLS


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("prefix_tree", {}),
        ("prefix_tree", {"prompts": ["a b", "c d"], "room": 2}),
        ("prefix_tree", {"prompts": ["1 2", "1 2", "1 3", "4 6 7 8 9", "4 6"], "room": 5}),
        ("hit_curve", {}),
        ("hit_curve", {"turns": 1.0, "terabytes": 0.01, "requests": 50}),
        ("hit_curve", {"turns": 6.0, "terabytes": 31.6, "requests": 300, "model": "deepseek-v3"}),
    ],
)
def test_drawn(name, arguments):
    figures.check(getattr(explore, name)(**arguments))


def plain_lru(room):
    """For each call of the figure: blocks found, and blocks dropped. An LRU over blocks, deepest touched first."""
    held = OrderedDict()
    for call in CALLS:
        chain = call.split()
        pages = [tuple(chain[: depth + 1]) for depth in range(len(chain))]
        found = sum(page in held for page in pages)
        for page in reversed(pages):
            held[page] = True
            held.move_to_end(page)
        gone = []
        while len(held) > room:
            gone.append(held.popitem(last=False)[0][-1])
        yield found, sorted(gone)


@pytest.mark.parametrize("room", [4, 5, 7, 20])
def test_the_tree_does_what_lru_does(room):
    """The figure's sentences against an LRU of our own, at four sizes."""
    shown = explore.prefix_tree(room=room)
    for (drawing, words), (found, gone), call in zip(shown.steps, plain_lru(room), CALLS, strict=True):
        assert f"{found} found, {len(call.split()) - found} computed" in words
        assert (f"LRU drops {', '.join(gone)}," if gone else "nothing has to go") in words
        assert ("Dropped:" in drawing.words.alt) == bool(gone)


def test_the_tree_is_one():
    """Blocks of the last step, in the colours of what happened to them, each joined to its parent."""
    shown = explore.prefix_tree()
    drawing = shown.steps[-1][0]
    for svg in (drawing.wide, drawing.narrow):
        parts = list(ElementTree.fromstring(svg).iter())
        fills = [part.get("fill") for part in parts if part.tag.endswith("rect")]
        assert fills.count(COLOURS["hit"]) == 1  # S
        assert fills.count(COLOURS["miss"]) == 3  # B1 B2 B3, dropped by the call before
        assert len(fills) == 10
        lines = [part for part in parts if part.tag.endswith("polyline")]
        assert len(lines) == 9 + 3  # one to each block but the root, and three crossed out
    assert "Found: S. Computed: B1, B2, B3. Kept: C1, C2, C3." in drawing.words.alt  # in the order of the tree
    assert "Dropped: A1, A2, A3." in drawing.words.alt


def test_hit_curve_marks_what_lru_finds():
    footprint = cache.footprint("mimo-v2.5-pro")
    shown = explore.hit_curve(turns=1.57, terabytes=0.2, requests=300)
    curve = cache.lru_curve(traces.generate("chat", 300, np.random.default_rng(0)))
    sizes = [footprint.all_bytes_per_token, footprint.bytes_per_token(1 / 15), footprint.full_bytes_per_token]
    wanted = [float(curve.hit_rate(0.2e12 / (512 * size))) for size in sizes]
    assert figures.numbers(shown) == pytest.approx([*wanted, float(curve.hit_rate(np.inf))])
    for line in figures.lines(explore.hit_curve)[::2]:
        assert figures.rises(line[1])


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("prefix_tree", {"prompts": ["a"]}, "two or more"),
        ("prefix_tree", {"prompts": ["a", " "]}, "two or more"),
        ("prefix_tree", {"prompts": ["a b c", "d"], "room": 2}, "one to 2 blocks"),
        ("hit_curve", {"terabytes": 0.0}, "above 0"),
        ("hit_curve", {"turns": 0.5}, "turns = 0.5"),
    ],
)
def test_bad_input(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(explore, name)(**arguments)
