"""Diagrams of the chapter `attention`: what six kinds of attention keep of a row of tokens, and how entries are made.

Chapter: attention
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from costlab import arch
from costlab import attention as reference
from costlab.arrays import Floats
from costlab.checks import pick
from costlab.explore import shapes
from costlab.explore.drawing import Frames, Words, drawn, is_narrow, value
from costlab.explore.style import COLOURS, colour_key

_TOKENS = 16
_LONG = 1_048_576  # tokens, for the real models' numbers


@dataclass(frozen=True)
class _Kind:
    """One kind of attention over a row of 16 tokens, drawn small: 4 heads, and blocks and windows of few tokens."""

    name: str  # its letters
    words: str  # what they stand for
    colour: str  # key in COLOURS
    layer: tuple[str, str]  # a model that has it, and its key in `arch.KINDS`
    tells: str  # what the picture shows
    vectors: int = 1  # kept for each entry; a head's key and value count as one
    block: int = 1  # tokens that an entry stands for
    entries: int = _TOKENS  # kept of 16 tokens, the window apart
    read: tuple[int, ...] | None = None  # entries that the newest token reads; None: all
    index: bool = False  # whether each entry has an index key, all of which are read
    window: int = 0  # newest tokens that are kept raw

    @property
    def chosen(self) -> tuple[int, ...]:
        """Entries that the newest token reads."""
        return tuple(range(self.entries)) if self.read is None else self.read

    @property
    def kept(self) -> int:
        """Vectors kept, index keys apart."""
        return (self.entries + self.window) * self.vectors

    @property
    def reads(self) -> int:
        """Vectors that the newest token reads, index keys apart."""
        return (len(self.chosen) + self.window) * self.vectors

    @property
    def index_keys(self) -> int:
        """Index keys kept, and read."""
        return self.entries if self.index else 0

    def attention(self) -> arch.Attention:
        """Return a real layer of this kind."""
        model, kind = self.layer
        return next(layer for layer, _ in arch.load(model).layers if layer.kind == kind)


_KINDS = (
    _Kind(
        "MHA", "full attention", "full", ("llama-2-7b", "full"), vectors=4,
        tells="A key and a value for each of 4 heads and 16 tokens are kept, and the newest token reads them all.",
    ),
    _Kind(
        "GQA", "grouped queries", "full", ("llama-3.1-70b", "full"), vectors=2,
        tells="Two heads share a key and a value: half as much is kept and read, of as many tokens.",
    ),
    _Kind(
        "MLA", "one latent", "latent", ("deepseek-v3", "mla"),
        tells="All heads share one latent vector for each token. Still every token is kept, and every token is read.",
    ),
    _Kind(
        "DSA", "sparse reads", "latent", ("deepseek-v3.2", "dsa"), read=(2, 6, 9, 15), index=True,
        tells="A small index key beside each latent is read for every token; of the latents only the best 4 are read.",
    ),
    _Kind(
        "CSA", "compressed sparse", "compressed", ("deepseek-v4-pro", "csa"), block=4, entries=4, read=(0, 2),
        index=True, window=4,
        tells="One entry and one index key stand for 4 tokens. The best 2 entries are read, and a window of tokens.",
    ),
    _Kind(
        "HCA", "heavily compressed", "compressed", ("deepseek-v4-pro", "hca"), block=8, entries=2, window=4,
        tells="One entry stands for many tokens, 8 here and 128 in V4. So few remain that all are read, and a window.",
    ),
    _Kind(
        "SWA", "sliding window", "sliding", ("mimo-v2.5-pro", "sliding"), vectors=2, entries=0, window=4,
        tells="For comparison: only the newest 4 tokens are kept, 128 in MiMo. This layer has lost all that is older.",
    ),
)  # fmt: skip


def attention_kinds() -> Frames:
    """Return the steps from full attention to the heavily compressed one, and a window beside them."""
    pictures = tuple((attention_kind(kind.name), kind.tells) for kind in _KINDS)
    return Frames("What is kept of 16 tokens, and what does the newest one read?", pictures)


@drawn
def attention_kind(name: str) -> Words:
    """Draw what one kind of attention keeps of 16 tokens, and what the newest one reads.

    Args:
        name: "mha", "gqa", "mla", "dsa", "csa", "hca" or "swa"; case does not matter.

    Raises:
        ValueError: another name.
    """
    kind = pick({kind.name.lower(): kind for kind in _KINDS}, name, "kind of attention")
    row = _Row(2, 15.6, 9) if is_narrow() else _Row(10, 31, 11)
    parts = [*_tokens(row), *row.draw(kind, 36)]
    below = 36 + row.height(kind) + 12
    for i, (what, count) in enumerate((("kept", kind.kept), ("read", kind.reads))):
        index = f" + {kind.index_keys} index keys" if kind.index else ""
        parts.append(shapes.text(row.left + 1, below + 14 * i, f"{what}: {count} vectors{index}"))
    colour_key(_key((kind,)))
    shapes.diagram(f"{kind.name}: {kind.words}", below + 18, parts)
    return Words(f"A row of {_TOKENS} tokens. {_said(kind)} {kind.tells}", _real(kind))


@drawn
def attention_overview() -> Words:
    """Draw what all kinds of attention keep of 16 tokens, and what the newest one reads, one below the other."""
    narrow = is_narrow()
    row, y = (_Row(2, 15.6, 8), 34.0) if narrow else (_Row(112, 20, 8.5), 36.0)
    parts = _tokens(row)
    if not narrow:
        x = row.left + _TOKENS * row.cell + 12
        parts += [shapes.text(x, 23, "kept", size=10), shapes.text(x + 42, 23, "read", size=10)]
    for kind in _KINDS:
        parts += _named_narrow(kind, row, y) if narrow else _named_wide(kind, row, y)
        y += 16 if narrow else 0
        parts += row.draw(kind, y)
        y += row.height(kind) + 10 if narrow else max(row.height(kind), 24) + 12
    colour_key(_key(_KINDS))
    shapes.diagram("Seven kinds of attention: filled is kept, outlined is read", y, parts)
    return Words(f"Rows of {_TOKENS} tokens, seven kinds of attention. {' '.join(_said(kind) for kind in _KINDS)}")


def _said(kind: _Kind) -> str:
    index = f" and {kind.index_keys} index keys" if kind.index else ""
    return f"{kind.name} keeps {kind.kept} vectors{index}; the newest token reads {kind.reads}{index}."


def _counts(kind: _Kind) -> tuple[str, str]:
    index = f"+{kind.index_keys}" if kind.index else ""
    return f"{kind.kept}{index}", f"{kind.reads}{index}"


def _named_wide(kind: _Kind, row: _Row, y: float) -> list[str]:
    """Return a kind's name left of its row, and its counts right of it."""
    x = row.left + _TOKENS * row.cell + 12
    kept, read = _counts(kind)
    names = [shapes.text(0, y + 9, kind.name, bold=True), shapes.text(0, y + 21, kind.words, size=10)]
    return [*names, shapes.text(x, y + 10, kept), shapes.text(x + 42, y + 10, read)]


def _named_narrow(kind: _Kind, row: _Row, y: float) -> list[str]:
    """Return a kind's name and counts above its row."""
    kept, read = _counts(kind)
    right = row.left + _TOKENS * row.cell
    return [
        shapes.text(row.left, y + 10, kind.name, bold=True),
        shapes.text(row.left + 32, y + 10, kind.words, size=10),
        shapes.text(right, y + 10, f"{kept} kept, {read} read", anchor="end", size=9.5),
    ]


def _tokens(row: _Row) -> list[str]:
    """Return the row of tokens, the newest one marked."""
    parts = [shapes.text(row.left + _TOKENS * row.cell, 8, "newest", anchor="end", size=9.5)]
    for i in range(_TOKENS):
        newest = i == _TOKENS - 1
        x = row.left + i * row.cell
        edge = 1.8 if newest else 0.5
        parts.append(shapes.box(x + 1, 12, row.cell - 2, 15, edge="currentColor", line=edge, round=2))
        parts.append(shapes.text(x + row.cell / 2, 23, str(i + 1), anchor="middle", size=9, bold=newest))
    return parts


@dataclass(frozen=True)
class _Row:
    """Where a row of 16 tokens lies, and how large a vector is drawn."""

    left: float  # of the first token
    cell: float  # width of a token
    bar: float  # height of a vector

    def height(self, kind: _Kind) -> float:
        """Return how much room a kind takes below the tokens."""
        entries = self.bar * kind.vectors if kind.entries else 0
        index = 0.7 * self.bar if kind.index else 0
        return entries + index + (self.bar * kind.vectors + 3 * (kind.entries > 0)) * (kind.window > 0)

    def draw(self, kind: _Kind, y: float) -> list[str]:
        """Return a kind's vectors under the tokens that they stand for."""
        parts, width = [], kind.block * self.cell
        for entry in range(kind.entries):
            x, read = self.left + entry * width, entry in kind.chosen
            parts += [self.vector(x, y + v * self.bar, width, kind.colour, read) for v in range(kind.vectors)]
            if kind.index:
                side = 0.55 * self.cell
                middle = x + (width - side) / 2
                parts.append(self.vector(middle, y + self.bar, side, "index", True, 0.6))
        below = y + self.height(kind) - self.bar * kind.vectors
        for i in range(kind.window):
            x = self.left + (_TOKENS - kind.window + i) * self.cell
            parts += [self.vector(x, below + v * self.bar, self.cell, "sliding", True) for v in range(kind.vectors)]
        return parts

    def vector(self, x: float, y: float, width: float, colour: str, read: bool, part: float = 1) -> str:
        """Return one vector: filled, and outlined where it is read."""
        edge = "currentColor" if read else ""
        size = (width - 3, part * self.bar - 1.8)
        return shapes.box(x + 1.5, y + 0.9, *size, COLOURS[colour], edge=edge, line=1.3, opacity=1 if read else 0.5)


def _key(kinds: Sequence[_Kind]) -> list[tuple[str, str]]:
    words = {
        "full": "a head's key and value",
        "latent": "a token's latent",
        "compressed": "a block's entry",
        "index": "index key",
        "sliding": "raw token of a window",
    }
    shown = {k.colour for k in kinds if k.entries} | {"index" for k in kinds if k.index}
    shown |= {"sliding" for k in kinds if k.window}
    return [(text, COLOURS[name]) for name, text in words.items() if name in shown]


def _real(kind: _Kind) -> str:
    """Return what a layer of a published model keeps and reads, as HTML."""
    growing, fixed, read = kept_and_read(kind.attention())
    token = (
        f"{value(growing, f'{growing:,.0f}' if growing > 10 else f'{growing:.2f}')} bytes per token" if growing else ""
    )
    window = f"{value(fixed, f'{fixed:,.0f}')} bytes of window" if fixed else ""
    kept = " and ".join(part for part in (token, window) if part)
    name = arch.load(kind.layer[0]).name
    return f"A layer of {name} keeps {kept}; at 1M tokens a query reads {value(read, f'{read:,.0f}')} entries."


def kept_and_read(layer: arch.Attention, tokens: int = _LONG) -> tuple[float, float, float]:
    """Return what a layer keeps, in bytes per token and in bytes of fixed size, and the entries that a query reads.

    Args:
        layer: of any kind; the state of open blocks is left out.
        tokens: context length.
    """
    kept = [part for part in layer.stores() if part.part != "state"]
    growing = sum(part.bytes_per_entry / part.entries.stride for part in kept if part.entries.cap is None)
    fixed = sum(part.bytes_per_entry * part.entries.cap for part in kept if part.entries.cap is not None)
    length = np.asarray(tokens, dtype=np.float64)
    read = sum(float(r.entries.at(length)) for r in layer.reads("decode") if r.component == "core")
    return growing, fixed, read


# -- the compressor ----------------------------------------------------------------------------------------------


def weights_of_two_blocks(block: int = 4, width: int = 4, seed: int = 3) -> Floats:
    """Return the weights by which CSA's compressor averages two blocks of tokens, from seeded gates.

    Args:
        block: tokens of a block.
        width: channels of an entry.
        seed: of the gates.

    Returns:
        shape (2*block, width); each channel's weights sum to 1.
    """
    gates = np.random.default_rng(seed).normal(scale=1.2, size=(2 * block, width))
    return np.asarray(reference.softmax(gates, 0), dtype=np.float64)


@drawn
def compressor() -> Words:
    """Draw how CSA makes one entry from 8 tokens: per channel, a softmax over the tokens and a weighted sum."""
    weights = weights_of_two_blocks()
    tokens, channels = weights.shape
    narrow = is_narrow()
    cell, left, top = (23.0, 24.0, 66.0) if narrow else (38.0, 92.0, 58.0)
    parts = _two_blocks(left, cell, tokens)
    for c in range(channels):
        for t in range(tokens):
            x, y = left + t * cell, top + c * 24
            colour = COLOURS["compressed"]
            look = {"edge": COLOURS["other"], "line": 0.4, "opacity": max(0.04, float(weights[t, c]))}
            parts.append(shapes.box(x + 1, y + 1, cell - 2, 22, colour, **look))  # type: ignore[arg-type]
            text = f"{weights[t, c]:.2f}".lstrip("0")
            parts.append(shapes.text(x + cell / 2, y + 16, text, anchor="middle", size=9.5))
    parts += _entry(left + tokens * cell, top, channels, narrow)
    parts += [shapes.text(left - 5, top + 16 + 24 * c, str(c + 1), anchor="end", size=10) for c in range(channels)]
    if not narrow:
        parts.append(shapes.text(left - 5, top - 6, "channel", anchor="end", size=10))
    shapes.diagram("How do 8 tokens become one entry?", top + 24 * channels + 8, parts)
    strongest = ", ".join(f"channel {c + 1} token {int(weights[:, c].argmax()) + 1}" for c in range(channels))
    return Words(
        f"A grid of {tokens} tokens, four of the block before and four of this block, by {channels} channels; each "
        f"cell is shaded by its weight, and each row of weights sums to 1. Largest: {strongest}. The weighted sum "
        "of a row is one channel of the entry.",
        f"each row of weights sums to {value(float(weights[:, 0].sum()), '1')}; the next entry averages tokens 5 to 12",
    )


def _two_blocks(left: float, cell: float, tokens: int) -> list[str]:
    """Return the tokens' numbers and the two braces over their blocks."""
    half, narrow, parts = tokens // 2, is_narrow(), []
    for i, name in enumerate(("block before", "this block")):
        x, end = left + i * half * cell + 2, left + (i + 1) * half * cell - 2
        parts += [shapes.text((x + end) / 2, 12, name, anchor="middle", bold=bool(i), size=10.5)]
        parts += [shapes.line([(x, 22), (x, 17), (end, 17), (end, 22)])]
    for t in range(tokens):
        x = left + t * cell
        parts.append(shapes.box(x + 2, 26, cell - 4, 18, edge="currentColor", line=0.8, round=2))
        parts.append(shapes.text(x + cell / 2, 39, str(t + 1), anchor="middle", size=10))
    parts.append(shapes.text(left, 60 if narrow else 55, "weights" if narrow else "", size=9.5))
    return parts


def _entry(x: float, top: float, channels: int, narrow: bool) -> list[str]:
    """Return the arrows from each row to its channel of the entry."""
    gap = 12 if narrow else 34
    colour = COLOURS["compressed"]
    parts = [
        shapes.arrow([(x + 2, top + 12 + 24 * c), (x + gap - 2, top + 12 + 24 * c)], head=5) for c in range(channels)
    ]
    parts += [shapes.box(x + gap, top + 1 + 24 * c, 18, 22, colour, edge="currentColor") for c in range(channels)]
    if narrow:
        return [*parts, shapes.text(x + gap + 18, top - 8, "entry", anchor="end", bold=True, size=10.5)]
    return [*parts, shapes.text(x + gap + 9, top - 8, "entry", anchor="middle", bold=True, size=10.5)]
