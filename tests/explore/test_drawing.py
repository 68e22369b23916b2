"""The core of all figures: what a drawing holds, how matplotlib's SVG is cut down, and that colours tell apart."""

import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

import figures
import numpy as np
import pytest

from costlab import explore
from costlab.explore import COLOURS, Drawing, Frames, Words, drawn, value
from costlab.explore import drawing as core
from costlab.explore.shapes import across, arrow, box, circle, diagram, text
from costlab.explore.style import DARK, LIGHT, colour_key, label_ends, log_axis, new_figure, on, spread_labels

ALT = "A line that rises from one to four, with a dot at <two> & more."


@drawn
def sample(marked: float = 2.0, name: str = "squares & <co>") -> Words:
    """Draw something of everything: lines, dashes, markers, bars, text, a log axis."""
    axes = new_figure("What rises?", "places", "height (units)")
    axes.plot([1, 2, 3], [1, 2, 4], color=COLOURS["full"])
    axes.plot([1, 3], [3, 2], "--", color=COLOURS["sliding"])
    axes.plot(marked, marked, "o", color=COLOURS["full"])
    axes.barh([1.5], [0.5], color=COLOURS["hit"], left=1)
    axes.text(1.2, 1.5, "in a bar", color=DARK)
    log_axis(axes, "y", [1, 2, 4], "{:g}".format)
    colour_key([("a bar", COLOURS["hit"])])
    label_ends(axes, 3.0, [(4.0, name, COLOURS["full"]), (2.0, "falling", COLOURS["sliding"])], ["solid", "dashed"])
    return Words(ALT, f"marked at {value(marked, f'{marked:.1f} units', 'sample')}")


@drawn
def boxes() -> Words:
    """Draw a diagram by hand."""
    middle = across() / 2
    shapes = [
        box(2, 2, 40, 20, COLOURS["hit"], edge="currentColor", dash="3 2", round=3),
        circle(60, 12, 8, COLOURS["miss"]),
        text(middle, 60, "in the middle", anchor="middle"),
        arrow([(10, 30), (10, 50), (middle - 40, 56)]),
    ]
    diagram("Where does it go?", 70, shapes)
    return Words("A box and a circle from which an arrow goes to the middle.")


def test_a_drawing_keeps_to_what_every_drawing_keeps_to():
    figures.check(sample())
    figures.check(boxes())
    figures.check(
        Frames("Which way?", ((boxes(), "First it goes to the middle."), (sample(), "Then it rises from there.")))
    )


def test_every_figure_function_is_tested():
    """Each public function that draws occurs in its slug's tests."""
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_figures_*.py"))
    drawing = [name for name in explore.__all__ if hasattr(getattr(explore, name), "__wrapped__")]
    assert len(drawing) > 30
    assert not [name for name in drawing if name not in tests]


def test_words_and_numbers():
    shown = sample(2.5)
    assert shown.title == "What rises?"
    assert 'aria-label="A line that rises from one to four, with a dot at &lt;two&gt; &amp; more."' in shown.html
    assert '<data class="live-sample" value="2.5">2.5 units</data>' in shown.html
    assert figures.numbers(shown) == [2.5]
    assert repr(shown) == f"What rises?\n{ALT}\nmarked at 2.5 units"
    bundle = shown._repr_mimebundle_()
    assert bundle == {"text/html": shown.html, "text/plain": repr(shown)}


def test_an_exact_number_and_its_text():
    assert value(17351.111111111111, "17,351 <tokens>") == '<data value="17351.1111111">17,351 &lt;tokens&gt;</data>'


def test_both_widths_are_drawn_and_named():
    shown = sample()
    widths = [float(ElementTree.fromstring(svg).attrib["viewBox"].split()[2]) for svg in (shown.wide, shown.narrow)]
    assert widths == pytest.approx([518.4, 259.2])
    assert ">squares &amp; &lt;co&gt;</text>" in shown.wide  # named at its end
    assert "squares" not in shown.narrow  # on a phone in the key
    assert [entry.text for entry in shown.narrow_key] == ["squares & <co>", "falling"]
    assert [entry.style for entry in shown.narrow_key] == ["solid", "dashed"]
    assert [entry.text for entry in shown.key] == ["a bar"]  # once, though drawn twice
    assert "squares &amp; &lt;co&gt;</li>" in shown.html


@pytest.mark.parametrize(("width", "wide", "narrow"), [("720", True, False), ("479", False, True), ("x", True, True)])
def test_the_width_at_hand_decides(monkeypatch, width, wide, narrow):
    monkeypatch.setenv("LIVE_WIDTH", width)
    shown = sample()
    assert (bool(shown.wide), bool(shown.narrow)) == (wide, narrow)
    assert ("drawing-only" in shown.html) is not (wide and narrow)
    assert ("drawing-key-narrow" in shown.html) is narrow


def test_drawn_twice_is_the_same_to_the_byte_and_shares_no_id():
    assert sample() == sample()
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (sample().wide, sample().narrow, sample(3.0).wide)]
    assert all(ids)
    # same words, same ids: two drawings that say different things keep apart
    assert not ids[0] & ids[1]


def test_tidy_keeps_what_is_seen():
    svg = sample().wide
    root = ElementTree.fromstring(svg)
    kinds = {part.tag for part in root.iter()}
    assert kinds <= {"svg", "g", "path", "text", "tspan", "clipPath", "rect"}
    assert "xlink" not in svg
    assert "<!--" not in svg
    assert "#000000" not in svg
    dots = [p for p in root.iter("path") if p.get("fill", "").upper() == COLOURS["full"]]
    assert len(dots) == 1
    assert re.match(r"translate\(\d", dots[0].attrib["transform"])
    dashed = [p for p in root.iter("path") if p.get("stroke", "").upper() == COLOURS["sliding"]]
    assert len(dashed) == 1
    assert dashed[0].get("stroke-dasharray")
    assert [t.text for t in root.iter("text") if t.text == "in a bar"]
    assert {t.get("fill") for t in root.iter("text") if t.text == "in a bar"} == {DARK}
    assert all(t.get("fill") is None for t in root.iter("text") if t.text == "places")  # the page's own ink


def test_tidy_stands_for_matplotlibs_own_picture():
    """The path of each line has matplotlib's own points, to a tenth of a point."""
    with core._new_sheet(narrow=False) as done:
        sample.__wrapped__()
    (axes,) = done.figure.axes
    root = ElementTree.fromstring(core._svg(done, ALT))
    (line,) = (
        p for p in root.iter("path") if p.get("stroke", "").upper() == COLOURS["full"] and p.get("fill") == "none"
    )
    points = np.array([float(n) for n in re.findall(r"[\d.]+", line.attrib["d"])]).reshape(-1, 2)
    wanted = axes.transData.transform(np.column_stack(axes.lines[0].get_data()))
    height = done.figure.get_size_inches()[1] * 72
    assert np.abs(points - [0, height] - wanted * [1, -1]).max() < 0.11


def test_names_at_line_ends_fit_beside_the_axes():
    svg = ElementTree.fromstring(sample(name="a name of some length").wide)
    (name,) = (t for t in svg.iter("text") if t.text == "a name of some length")
    assert float(name.attrib["x"]) + 0.56 * 11 * len(name.text) < 518.4


def test_only_functions_that_draw_have_a_sheet():
    with pytest.raises(LookupError):
        new_figure("What?", "x", "y")
    with pytest.raises(AssertionError, match="new_figure or diagram"):
        drawn(lambda: Words("nothing"))()


def test_an_error_leaves_no_sheet_behind():
    @drawn
    def broken() -> Words:
        raise ValueError("tokens = 0 should be at least 1")

    with pytest.raises(ValueError, match="tokens = 0"):
        broken()
    with pytest.raises(LookupError):
        core.sheet()


def test_frames_are_drawings_with_their_sentences():
    steps = Frames("Which way?", ((boxes(), "First <to> the middle, then on."), (boxes(), "Then it stays there.")))
    assert steps.html.count('class="drawing-frame"') == 2
    assert "First &lt;to&gt; the middle" in steps.html
    assert repr(steps) == "Which way?\n1. First <to> the middle, then on.\n2. Then it stays there."


# --- colours ---------------------------------------------------------------------------------------------------

FAMILIES = (
    ("full", "compressed", "sliding", "recurrent"),
    ("hit", "miss", "output"),
    ("hbm", "dram", "ssd"),
    ("compute", "memory", "link"),
    ("draft", "target", "dropped"),
    ("together", "apart", "dropped"),
    ("miss", "output", "link"),
    ("capital", "interest", "energy", "maintenance", "room"),
    ("h20", "ascend-910b", "ascend-910c", "ascend-950dt", "h100-sxm"),
    ("DeepSeek", "Xiaomi", "OpenAI", "Anthropic", "Alibaba"),
)
# Machado, Oliveira and Fernandes 2009, severity 1.0: what a reader without red or green receptors sees (linear RGB).
SEEN = {
    "all": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}


def linear(colour: str) -> np.ndarray:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb.clip(0, 1)
    f = np.cbrt(np.maximum(xyz / [0.9505, 1.0, 1.089], 1e-9))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(a: str, b: str) -> float:
    light = sorted((float([0.2126, 0.7152, 0.0722] @ linear(c)) for c in (a, b)), reverse=True)
    return (light[0] + 0.05) / (light[1] + 0.05)


def test_no_colour_stands_for_two_things():
    assert len(set(COLOURS.values())) == len(COLOURS)


@pytest.mark.parametrize("eyes", SEEN)
def test_colours_of_a_family_tell_apart(eyes):
    for family in FAMILIES:
        seen = {name: lab(SEEN[eyes] @ linear(COLOURS[name])) for name in family}
        for a, b in itertools.combinations(family, 2):
            assert np.linalg.norm(seen[a] - seen[b]) > 15, (a, b, eyes)


def test_ink_on_a_bar_can_be_read():
    for name, colour in COLOURS.items():
        assert contrast(on(colour), colour) >= 4.4, name
    assert {on("#FFFFFF"), on("#000000")} == {DARK, LIGHT}


def test_spread_labels_keep_order_and_distance():
    placed = spread_labels([1.0, 1.1, 5.0, 1.05], 1.0)
    order = np.argsort([1.0, 1.1, 5.0, 1.05])
    assert (np.diff(np.array(placed)[order]) >= 1.0 - 1e-12).all()
    assert sum(placed) == pytest.approx(1.0 + 1.1 + 5.0 + 1.05)
    assert spread_labels([3.0, 1.0], 0.5) == [3.0, 1.0]


def test_a_drawing_cannot_be_changed():
    with pytest.raises(AttributeError):
        sample().title = "x"  # type: ignore[misc]
    assert isinstance(sample(), Drawing)
