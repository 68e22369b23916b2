"""Figures of the chapter `hybrid`: what they show is what the package computes."""

from dataclasses import dataclass
from xml.etree import ElementTree

import figures
import numpy as np
import pytest

from costlab import explore, hybrid
from costlab.explore import COLOURS


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


def found(pattern, recall, back=(1, 4), steps=1, window=8, kept=640):
    return Looked(Stacked(pattern, window), steps, back, recall, kept)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ring", {}),
        ("ring", {"places": 4, "layers": 2}),
        ("ring", {"places": 8, "layers": 4}),
        ("window_saving", {}),
        ("window_saving", {"full": 1, "window": 1, "context": 64}),
        ("window_saving", {"full": 70, "window": 4096, "context": 1_048_576}),
        ("window_saving", {"full": 35, "window": 4096, "context": 1}),
        ("ten_layers", {}),
        ("ten_layers", {"context": 1024}),
        ("ten_layers", {"context": 1_048_576, "model": "mimo-v2-flash"}),
        ("layer_stack", {}),
        ("layer_stack", {"models": ["mimo-v2-flash"]}),
        ("layer_stack", {"models": ["mimo-v2.5", "llama-3.1-70b"]}),
        ("recall_by_distance", {"results": [found("SS", 1.0), found("SS", 0.1, (5, 16))]}),
        ("recall_by_distance", {"results": [found("FF", 1.0)]}),
        ("recall_by_ratio", {"results": [found("FS", 1.0), found("FF", 1.0, kept=1280)]}),
        ("recall_by_ratio", {"results": [found("FS", 0.0, steps=4)]}),
    ],
)
def test_drawn(name, arguments):
    figures.check(getattr(explore, name)(**arguments))


def filled(svg, colour):
    """Parts of a picture that are filled with a colour."""
    return [part for part in ElementTree.fromstring(svg).iter() if part.get("fill") == COLOURS[colour]]


def test_the_ring_holds_the_last_tokens():
    """As many places are filled as tokens are kept, and the text marks the same ones."""
    shown = explore.ring(places=8)
    for (drawing, _), held in zip(shown.steps, (3, 8, 8, 8), strict=False):
        for svg in (drawing.wide, drawing.narrow):
            assert len(filled(svg, "sliding")) == 2 * held  # in the text and in the ring
    assert "holds tokens 5 to 12" in shown.steps[3][0].words.alt
    assert "token 1," in shown.steps[2][1]


@pytest.mark.parametrize(("places", "layers"), [(8, 3), (4, 2)])
def test_a_stack_of_windows_reaches_so_far(places, layers):
    """Counted on the picture: the tokens of the text's row that the last token can hear of, itself left out."""
    drawing, words = explore.ring(places, layers).steps[-1]
    rows = {}
    for part in filled(drawing.wide, "sliding"):
        rows[part.get("y")] = rows.get(part.get("y"), 0) + 1
    assert sorted(rows.values()) == [1 + layer * (places - 1) for layer in range(layers + 1)]
    assert f"= {layers * (places - 1)} tokens" in words


def test_a_layer_reads_as_far_as_the_ring_says():
    """The reach by brute force: which inputs a stack of window masks lets through."""
    places, layers, tokens = 8, 3, 40
    back = np.arange(tokens)[:, None] - np.arange(tokens)
    mask = ((back >= 0) & (back < places)).astype(int)
    reaches = np.linalg.matrix_power(mask, layers)[-1]
    assert tokens - 1 - np.flatnonzero(reaches)[0] == layers * (places - 1)


def test_window_saving_says_seven():
    shown = explore.window_saving()
    ratio = float(1 / hybrid.moved_fraction(131_072))
    assert figures.numbers(shown) == pytest.approx([ratio, 1 / ratio, 7, 15_360], rel=1e-11)
    assert "6.96 times smaller" in shown.words.note
    assert "from 15,360 tokens on" in shown.words.alt
    curve, *marks = figures.lines(explore.window_saving)
    assert curve[1] == pytest.approx(1 / hybrid.moved_fraction(curve[0]))
    assert (131_072, pytest.approx(ratio)) == tuple(marks[0][:, 0])


def test_ten_layers_counts_both_ways():
    shown = explore.ten_layers(8192)
    ratio = hybrid.prefill_ratio("mimo-v2.5-pro", 8192)
    wanted = [ratio.attention_only, ratio.with_matrices, ratio.hybrid.attention_share]
    assert figures.numbers(shown) == pytest.approx([float(w) for w in wanted], rel=1e-11)
    assert "all work 5.68 times" in repr(shown)
    assert "MiMo-V2.5-Pro, 8K tokens" in repr(shown)


def test_layer_stack_draws_every_layer():
    """The first row of MiMo-V2-Flash has four sliding layers and the last one none: the words say so."""
    shown = explore.layer_stack(["mimo-v2.5-pro"])
    for svg in (shown.wide, shown.narrow):
        assert len(filled(svg, "full")) == 10
        places = {(part.get("x"), part.get("y")) for part in filled(svg, "sliding")}
        assert len(places) == 60
    assert "0, 7, 15, 23, 31, 39, 47, 55, 62, 69; between them lie 3 times 6 and 6 times 7" in shown.words.alt
    assert "1 times 4 and 7 times 5 sliding layers, and after the last 0" in explore.layer_stack().words.alt


def test_recall_tells_each_share():
    shown = explore.recall_by_distance([found("SS", 1.0), found("SS", 0.25, (5, 16)), found("FF", 0.5)])
    assert figures.numbers(shown) == [1.0, 0.25, 0.5]
    assert "w = 8: 100% up to 4 tokens back, 25% up to 16." in shown.words.alt
    shown = explore.recall_by_ratio(
        [found("FS", 0.75), found("FF", 1.0, kept=1280), found("FF", 0.5, steps=2, kept=1280)]
    )
    assert figures.numbers(shown) == [0.75, 1.0, 0.5, 640, 1280]
    assert "one look-up: 75% with 1 full, 100% with 2 full; 2 in a row: 50% with 2 full." in shown.words.alt


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("ring", {"places": 9}, "places = 9"),
        ("ring", {"layers": 1}, "layers = 1"),
        ("ring", {"places": 4.5}, "places"),
        ("window_saving", {"full": 0}, "between 1 and layers = 70"),
        ("window_saving", {"context": 0}, "at least 1"),
        ("ten_layers", {"model": "deepseek-v3"}, "has layers of MLA"),
        ("layer_stack", {"models": ["nope"]}, "unknown model 'nope'"),
    ],
)
def test_bad_input(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(explore, name)(**arguments)
