"""Diagrams of the chapter `moe`: one token's way through a layer of experts, and which experts a batch visits.

Chapter: moe
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from costlab import arch, moe
from costlab.checks import count
from costlab.explore import shapes
from costlab.explore.drawing import Frames, Words, drawn, is_narrow, value
from costlab.explore.style import COLOURS


def experts_light_up(batches: Sequence[int] = (2, 8, 64, 256)) -> Frames:
    """Return the steps from one token's way through V4-Pro's experts to a batch that visits them all.

    Args:
        batches: tokens of the steps after the first, each at least 1.

    Raises:
        ValueError: a batch below 1.
    """
    layer = moe.moe_layer("deepseek-v4-pro")
    routes = _routes(max(batches))
    steps = [(one_token(), _one_token_words(layer))]
    for batch in (count(size, "batch") for size in batches):
        loads = moe.count_loads(routes.experts[:batch], layer.experts)
        expected = layer.experts * float(moe.touched_share(layer.experts, layer.top_k, batch))
        visits, reached = batch * layer.top_k, np.count_nonzero(loads)
        text = (
            f"{batch} tokens ask for {visits:,} visits and reach {reached} different experts; the formula expects "
            f"{expected:.1f}. Each expert that is read serves {visits / reached:.2f} tokens."
        )
        steps.append((visited_grid(batch), text))
    return Frames("How many experts must a layer read for a batch of tokens?", tuple(steps))


def _one_token_words(layer: arch.MoE) -> str:
    return (
        f"One token: the gate scores all {layer.experts} experts. The best {layer.top_k} work on the token, and their "
        f"results are added, each times its weight. The other {layer.experts - layer.top_k} are not read."
    )


@functools.lru_cache(8)
def _routes(tokens: int) -> moe.Routes:
    """Return V4-Pro's choices for seeded tokens; more tokens begin with the same ones."""
    return moe.router("deepseek-v4-pro").route(np.random.default_rng(0).normal(size=(tokens, 384)))


class _Grid(NamedTuple):
    """Where the cells of a layer's experts stand."""

    left: float
    top: float
    size: float  # of a cell
    columns: int

    def place(self, expert: int) -> tuple[float, float]:
        row, column = divmod(expert, self.columns)
        return self.left + column * self.size, self.top + row * self.size

    def cell(self, expert: int, colour: str = "none", *, edge: str = "", line: float = 0.6, opacity: float = 1) -> str:
        x, y = self.place(expert)
        side = self.size - 2
        return shapes.box(x, y, side, side, colour, edge=edge, line=line, opacity=opacity)


@drawn
def one_token() -> Words:
    """Draw one token's way through a layer: gate, six of 384 experts, weighted sum."""
    layer, routes = moe.moe_layer("deepseek-v4-pro"), _routes(1)
    chosen = {int(e): float(w) for e, w in zip(routes.experts[0], routes.weights[0], strict=True)}
    narrow, colour = is_narrow(), COLOURS["DeepSeek"]
    grid = _Grid(5, 66, 10.4, 24) if narrow else _Grid(142, 30, 10.4, 24)
    parts = [grid.cell(e, edge=COLOURS["other"], line=0.4) for e in range(layer.experts) if e not in chosen]
    parts += [grid.cell(e, colour) for e in chosen]
    parts += _gate(narrow, layer) + _sum(narrow, chosen, grid)
    shapes.diagram("One token: gate, experts, sum", 320 if narrow else 216, parts)
    listed = ", ".join(f"expert {e} with weight {w:.2f}" for e, w in sorted(chosen.items()))
    return Words(
        f"A token's vector enters the gate, which scores {layer.experts} experts, drawn as a grid. {layer.top_k} of "
        f"them are filled: {listed}. Their outputs, times these weights, are added up."
    )


def _gate(narrow: bool, layer: arch.MoE) -> list[str]:
    width = arch.load("deepseek-v4-pro").record.hidden
    if narrow:
        return [
            shapes.box(5, 4, 62, 34, edge="currentColor", round=4),
            shapes.text(36, 25, "token", anchor="middle"),
            shapes.arrow([(67, 21), (95, 21)]),
            shapes.box(95, 4, 92, 34, edge="currentColor", round=4),
            shapes.text(141, 18, "gate", anchor="middle", bold=True),
            shapes.text(141, 31, f"{width:,} × {layer.experts}", anchor="middle", size=9.5),
            shapes.arrow([(141, 38), (141, 62)]),
            shapes.text(150, 56, f"the best {layer.top_k} scores", size=9.5),
        ]
    return [
        shapes.box(1, 58, 84, 30, edge="currentColor", round=4),
        shapes.text(43, 77, "token", anchor="middle"),
        shapes.arrow([(43, 88), (43, 112)]),
        shapes.box(1, 112, 84, 40, edge="currentColor", round=4),
        shapes.text(43, 129, "gate", anchor="middle", bold=True),
        shapes.text(43, 144, f"{width:,} × {layer.experts}", anchor="middle", size=9.5),
        shapes.arrow([(85, 132), (138, 132)]),
        shapes.text(110, 126, f"best {layer.top_k}", anchor="middle", size=9.5),
        shapes.text(142, 22, f"{layer.experts} experts of one layer", size=10.5),
    ]


def _sum(narrow: bool, chosen: Mapping[int, float], grid: _Grid) -> list[str]:
    """Return the chosen experts' numbers and weights, and what becomes of them."""
    rows = [f"{w:.2f} × expert {e}" for e, w in sorted(chosen.items())]
    if narrow:
        parts = [shapes.arrow([(129, 234), (129, 250)])]
        for i, row in enumerate(rows):
            parts.append(shapes.text(5 + 130 * (i % 2), 264 + 14 * (i // 2), row, size=10))
        return [*parts, shapes.text(5, 314, "their sum: the routed result", bold=True, size=10.5)]
    parts = [shapes.arrow([(395, 112), (417, 112)])]
    parts += [shapes.text(423, 58 + 16 * i, row, size=10) for i, row in enumerate(rows)]
    parts += [shapes.line([(423, 146), (516, 146)]), shapes.text(423, 161, "sum: the routed", bold=True, size=10)]
    return [*parts, shapes.text(423, 174, "experts' result", bold=True, size=10)]


@drawn
def visited_grid(batch: int = 64) -> Words:
    """Draw which experts of a V4-Pro layer seeded tokens visit, and how many of them each.

    Args:
        batch: tokens, at least 1.

    Raises:
        ValueError: a batch below 1.
    """
    layer = moe.moe_layer("deepseek-v4-pro")
    expected = float(moe.touched_share(layer.experts, layer.top_k, arch.tokens_array(batch, "batch")))
    loads = moe.count_loads(_routes(batch).experts, layer.experts)
    reached = int(np.count_nonzero(loads))
    narrow, colour = is_narrow(), COLOURS["DeepSeek"]
    grid = _Grid(5, 24, 10.4, 24) if narrow else _Grid(10, 8, 15.6, 32)
    parts = [_visited(grid, e, int(n), batch, colour) for e, n in enumerate(loads)]
    title = f"{batch} tokens visit {reached} of {layer.experts} experts"
    top = 0.0 if narrow else 204.0
    parts += _visited_key(batch, colour, top)
    shapes.diagram(title, 194 if narrow else 222, parts)
    return Words(
        f"Grid of {layer.experts} experts of one layer. {batch} tokens of {layer.top_k} visits each reach {reached} "
        f"of them, {reached / layer.experts:.0%}; the formula expects {expected:.1%}. The busiest has {loads.max()}.",
        f"{value(reached, f'{reached} experts')} read, {value(expected, f'{expected:.1%}')} expected; "
        f"{value(batch * layer.top_k / reached, f'{batch * layer.top_k / reached:.2f} tokens')} per expert read",
    )


def _visited(grid: _Grid, expert: int, visits: int, batch: int, colour: str) -> str:
    if not visits:
        return grid.cell(expert, edge=COLOURS["other"], line=0.4)
    if batch == 2 and expert in _routes(2).experts[1] and expert not in _routes(2).experts[0]:
        return grid.cell(expert, edge=colour, line=2)
    return grid.cell(expert, colour, opacity=_shade(visits, batch))


def _shade(visits: int, batch: int) -> float:
    return 1.0 if batch <= 2 else min(1.0, 0.3 + 0.35 * (visits - 1))


def _visited_key(batch: int, colour: str, top: float) -> list[str]:
    """Return what the shades of the cells mean, in a row."""
    if batch <= 2:
        names = [("first token", {"colour": colour}), ("second token", {"edge": colour, "line": 2})][:batch]
    else:
        shades = [(name, {"colour": colour, "opacity": _shade(n, batch)}) for n, name in enumerate(("1 token", "2"), 1)]
        names = [*shades, ("3 or more", {"colour": colour})]
    names.append(("not read", {"edge": COLOURS["other"], "line": 0.6}))
    row, left = [], 10.0 if top else 5.0
    for name, look in names:
        row += [shapes.box(left, top + 6, 9, 9, **look), shapes.text(left + 13, top + 14.5, name, size=10)]  # type: ignore[arg-type]
        left += 24 + 5.4 * len(name)
    return row
