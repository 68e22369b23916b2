"""The picture that stands for the course where a link to it is shared: its name, and three prices that fell."""

from datetime import date
from pathlib import Path
from typing import Any

import matplotlib
from costlab import prices
from costlab.catalog import PriceRow
from costlab.explore.style import COLOURS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

CARD = "card.png"
CARD_SIZE = (1200, 630)  # pixels, as Open Graph's readers expect
PRODUCT, NAME = "deepseek-v4-pro", "DeepSeek-V4-Pro"
BEFORE, AFTER = date(2026, 4, 24), date(2026, 6, 1)
PARTS = ("output", "miss", "hit")
GROUND, INK, ACCENT, SOFT = "#ffffff", "#16222e", "#0f6674", "#48566b"
FONT = {"font.family": "DejaVu Sans"}  # travels with matplotlib, so the card is the same everywhere


def price_on(day: date) -> PriceRow:
    """Return the product's list prices of a day."""
    return prices.price_at(PRODUCT, day, currency="USD")


def card_text() -> str:
    """Return what the card says, for those who do not see it."""
    before, after = price_on(BEFORE), price_on(AFTER)
    parts = [f"{part} from ${getattr(before, part):g} to ${getattr(after, part):g}" for part in PARTS]
    return f"Why tokens got cheap. What a million tokens of {NAME} cost, {days()}: {', '.join(parts)}."


def days() -> str:
    """Return the two days that the card compares."""
    return f"{BEFORE.day} {BEFORE:%B} and {AFTER.day} {AFTER:%B %Y}"


def draw_card(path: Path) -> None:
    """Draw the card as a PNG."""
    with matplotlib.rc_context(FONT):
        figure = Figure(figsize=(CARD_SIZE[0] / 100, CARD_SIZE[1] / 100), dpi=100, facecolor=GROUND)
        figure.text(0.06, 0.80, "Why tokens got cheap", color=ACCENT, size=48, weight="bold")
        figure.text(0.06, 0.70, "The engineering behind the 2026 price cuts", color=SOFT, size=23)
        draw_falls(figure.add_axes((0.17, 0.14, 0.70, 0.50)))
        figure.text(0.06, 0.06, f"US dollars per million tokens of {NAME}, {days()}", color=SOFT, size=17)
        figure.add_artist(Rectangle((0, 0), 1, 0.018, color=ACCENT, transform=figure.transFigure))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, facecolor=GROUND)


def draw_falls(axes: Axes) -> None:
    """Draw each price as an arrow from the first day's to the second's, on a logarithmic scale."""
    before, after = price_on(BEFORE), price_on(AFTER)
    for height, part in zip(range(len(PARTS), 0, -1), PARTS, strict=True):
        start, end = getattr(before, part), getattr(after, part)
        arrow = {"arrowstyle": "-|>,head_width=0.8,head_length=1.2", "color": COLOURS[part], "linewidth": 9}
        axes.annotate("", (end, height), (start, height), arrowprops=arrow | {"shrinkA": 0, "shrinkB": 0})
        label: dict[str, Any] = {"textcoords": "offset points", "va": "center", "color": INK, "size": 22}
        axes.annotate(f"${start:g}", (start, height), (14, 0), **label)
        axes.annotate(f"${end:g}", (end, height), (-14, 0), ha="right", **label | {"weight": "bold"})
        axes.annotate(part, (0, height), (-95, 0), xycoords=("axes fraction", "data"), **label)
    axes.set(xscale="log", xlim=(0.0006, 9), ylim=(0.4, len(PARTS) + 0.6))
    axes.set_axis_off()
