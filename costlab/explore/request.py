"""The diagram of a request's life, with the three kinds of tokens that are paid for.

Chapter: prices
"""

from __future__ import annotations

from dataclasses import dataclass

from costlab import prices
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.prices import TOKENS, product_name
from costlab.explore.shapes import across, arrow, box, diagram, line, text
from costlab.explore.style import COLOURS, on
from costlab.text import list_text


@dataclass(frozen=True)
class _Lanes:
    """Where the diagram of a request stands: columns of tokens, lanes of tokens, passes and cache entries."""

    hits: int  # tokens seen before
    misses: int  # new ones
    outputs: int  # of the answer
    step: float  # units from token to token
    tokens: float = 50  # upper edges of the lanes
    passes: float = 108
    cache: float = 180

    def left(self, i: int) -> float:
        """Left edge of the i-th token."""
        return i * self.step + 1.5

    def middle(self, i: int) -> float:
        """Middle of the i-th token."""
        return self.left(i) + self.size / 2

    @property
    def size(self) -> float:
        """Width of a token."""
        return self.step - 3

    @property
    def groups(self) -> dict[str, range]:
        """Columns of each kind of token."""
        new, answer = self.hits, self.hits + self.misses
        return {"hit": range(new), "miss": range(new, answer), "output": range(answer, answer + self.outputs)}


@drawn
def request_life(product: str = "deepseek-v4-pro") -> Words:
    """Draw the life of a request: a prompt's hits are loaded, its misses computed in one pass, then a pass a token.

    Args:
        product: whose list prices of the course's day are written over the three kinds of tokens.

    Raises:
        ValueError: an unknown product, or one without a hit price.
    """
    row = prices.price_at(product)
    if row.hit is None:
        raise ValueError(f"{product!r} has no hit price on {prices.LESSON_DAY}")
    hits, misses, outputs = (5, 3, 4) if is_narrow() else (8, 4, 5)
    lanes = _Lanes(hits, misses, outputs, across() / (hits + misses + outputs))
    shapes = [s for kind in TOKENS for s in _tokens(lanes, kind, list_text(getattr(row, kind)))]
    shapes += _loading(lanes) + _prefill(lanes)
    shapes += [s for i in lanes.groups["output"][1:] for s in _decode(lanes, i)]
    diagram("What happens to a request?", 246, shapes)
    return Words(
        alt="A row of tokens: those of the prompt that were seen before, its new ones, and those of the answer. The "
        "entries of those seen before are loaded into the KV cache from DRAM or SSD. One pass, prefill, takes in all "
        "new ones together, reads the loaded entries, leaves an entry of each in the cache and yields the first token "
        "of the answer. Each further token takes a pass of its own, decode, which takes in the token before it and "
        f"looks back at the entries of the cache. {product_name(product)} lists a hit at {list_text(row.hit)}, a miss "
        f"at {list_text(row.miss)} and an output token at {list_text(row.output)} a million.",
        note=f"{product_name(product)}'s list prices of {prices.LESSON_DAY:%-d %B %Y}, each for a million tokens: "
        + ", ".join(f"{kind} {value(getattr(row, kind), list_text(getattr(row, kind)))}" for kind in TOKENS),
    )


def _tokens(lanes: _Lanes, kind: str, price: str) -> list[str]:
    """Return the boxes of one kind of token with their name and price, and their entries in the cache."""
    colour, mine = COLOURS[kind], lanes.groups[kind]
    head = {"hit": "hits", "miss": "misses", "output": "output"}[kind]
    about = {"hit": "seen before", "miss": "new", "output": "the answer"}[kind]
    kept = mine if kind != "output" else mine[:-1]  # nothing reads the last token
    return [
        text(lanes.left(mine[0]), 12, head, bold=True),
        text(lanes.left(mine[0]), 27, about, size=10),
        text(lanes.left(mine[0]), 42, price, size=10),
        *(box(lanes.left(i), lanes.tokens, lanes.size, 18, colour, round=2) for i in mine),
        *(box(lanes.left(i), lanes.cache, lanes.size, 22, colour, opacity=0.35, edge=colour, round=2) for i in kept),
    ]


def _loading(lanes: _Lanes) -> list[str]:
    low = lanes.cache + 22
    middle = (lanes.left(0) + lanes.left(lanes.hits)) / 2
    return [
        text(lanes.left(0), lanes.passes + 19, "no pass", size=10),
        text(lanes.left(0), lanes.cache - 6, "KV cache", size=10, bold=True),
        arrow([(middle, low + 26), (middle, low + 4)], COLOURS["hit"], 3, 9),
        text(middle, low + 39, "from DRAM or SSD", anchor="middle", size=10),
    ]


def _prefill(lanes: _Lanes) -> list[str]:
    """Return the one pass of all misses: tokens and the hits' entries in, entries and a first output token out."""
    mine, high, colour = lanes.groups["miss"], lanes.passes, COLOURS["miss"]
    left, right = lanes.left(mine[0]), lanes.left(mine[-1]) + lanes.size
    beside, first = left - lanes.step / 2, lanes.middle(mine[-1] + 1)
    return [
        box(left, high, right - left, 32, colour, round=3),
        text((left + right) / 2, high + 14, "prefill", anchor="middle", bold=True, colour=on(colour)),
        text((left + right) / 2, high + 27, "one pass", anchor="middle", size=10, colour=on(colour)),
        *(arrow([(lanes.middle(i), lanes.tokens + 19), (lanes.middle(i), high - 1)], head=5) for i in mine),
        *(arrow([(lanes.middle(i), high + 33), (lanes.middle(i), lanes.cache - 2)], head=5) for i in mine),
        arrow([(beside, lanes.cache - 2), (beside, high + 16), (left - 1, high + 16)], head=5),
        arrow([(right + 1, high + 16), (first, high + 16), (first, lanes.tokens + 20)], head=5),
    ]


def _decode(lanes: _Lanes, i: int) -> list[str]:
    """Return the pass that makes the i-th token from the one before it and all entries of the cache."""
    high, colour, middle = lanes.passes, COLOURS["output"], lanes.middle(i)
    before = middle - lanes.step * 0.72
    last = lanes.left(lanes.groups["output"][-1]) + lanes.size
    low = lanes.cache + 22
    shapes = [
        box(lanes.left(i), high, lanes.size, 32, colour, round=3),
        arrow([(before, lanes.tokens + 19), (before, high + 7), (lanes.left(i) - 1, high + 7)], head=4),
        arrow([(middle, high - 1), (middle, lanes.tokens + 20)], head=5),
        arrow([(middle, lanes.cache - 2), (middle, high + 34)], head=5),
    ]
    if i > lanes.groups["output"][1]:
        return shapes
    return [
        *shapes,
        line([(lanes.left(0), low + 5), (last, low + 5)]),
        text(last, low + 20, "decode: a pass a token,", anchor="end", size=10),
        text(last, low + 33, "which looks back at them", anchor="end", size=10),
    ]
