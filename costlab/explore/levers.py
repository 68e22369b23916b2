"""Figures of the chapter `levers`: what each lever does to the cost of a token, from a dense model to the service.

Chapter: levers
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes

from costlab import catalog, checks, prices
from costlab.arrays import Floats
from costlab.catalog import FrozenDict, PriceRow
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.style import COLOURS, INK, colour_key, label_inside, log_axis, new_figure
from costlab.levers import KINDS, Ladder, TokenCosts, TokenKind, ladder, spread_of
from costlab.prices.lists import in_tier
from costlab.prices.validity import holds
from costlab.text import digits_text, list_text, usd_text

#: Models of the figures by the names that readers see; their keys are those of their price lists too.
LEVER_MODELS: Mapping[str, str] = FrozenDict(
    {
        "DeepSeek-V4-Pro": "deepseek-v4-pro",
        "MiMo-V2.5-Pro": "mimo-v2.5-pro",
        "DeepSeek-V4.1-Flash": "deepseek-v4.1-flash",
    }
)
#: What is priced: a kind of token, or all tokens of a mean request together.
PRICED: tuple[str, ...] = (*KINDS, "request")
#: The kind of use of all these figures, and the hit rates at which the rungs are computed at once.
TRAFFIC = "coding"
HIT_RATES: tuple[float, ...] = tuple(round(0.02 * place, 2) for place in range(50))
_NO_MIX: Mapping[TokenKind, float] = FrozenDict({})
_DRAWS = 1000  # 20 ms on a desk
_TICKS = tuple(float(f"1e{power}") for power in range(-5, 4))


def model_name(key: str) -> str:
    """Return the name that readers see of a model of these figures.

    Raises:
        ValueError: another model.
    """
    return checks.pick({each: name for name, each in LEVER_MODELS.items()}, key, "model")


@functools.lru_cache(maxsize=8)
def levers_of(model: str) -> Ladder:
    """Return the levers of a model of these figures, kept so that its deployments are laid out once.

    Raises:
        ValueError: another model.
    """
    model_name(model)
    return ladder(model, traffic=TRAFFIC)


def usual_rate() -> float:
    """Return the hit rate of the figures' kind of use."""
    return catalog.tables().traffic[TRAFFIC].hit_rate


@functools.lru_cache(maxsize=8)
def _rungs(model: str) -> tuple[TokenCosts, ...]:
    """Costs of the baseline and after each lever's turn, at each of `HIT_RATES` and at the usual rate last."""
    steps = levers_of(model)
    rates = np.array([*HIT_RATES, usual_rate()])
    return tuple(steps.costs(steps.levers[:turn], {"hit rate": rates}) for turn in range(len(steps.levers) + 1))


def rung_costs(model: str, priced: str, hit_rate: float) -> Floats:
    """Return dollars of a million tokens: of the baseline, and after each lever's turn.

    Args:
        model: key of one of `LEVER_MODELS`.
        priced: one of `PRICED`; of a request, the mean of all its tokens.
        hit_rate: one of `HIT_RATES`, or the usual one.

    Raises:
        ValueError: another model, kind or rate.
    """
    checks.one_of(PRICED, priced, "kind of token")
    rates = [*HIT_RATES, usual_rate()]
    if hit_rate not in rates:
        raise ValueError(f"hit_rate = {hit_rate!r} should be 0 to {HIT_RATES[-1]} in steps of 0.02, or {rates[-1]}")
    place = rates.index(hit_rate)
    return np.array([per_million(costs, priced)[place] for costs in _rungs(model)])


def per_million(costs: TokenCosts, priced: str) -> Floats:
    """Return dollars of a million tokens of a kind, or of a million tokens of a mean request."""
    if priced != "request":
        return costs.of(checks.pick({kind: kind for kind in KINDS}, priced, "kind of token"))
    return np.asarray(costs.bill * 1e6 / sum(costs.request.values()))


@functools.lru_cache(maxsize=512)
def cost_bands(model: str, hit_rate: float) -> Mapping[str, tuple[float, float]]:
    """Return the range of nine draws in ten of the service with all levers: dollars of a million tokens by `PRICED`.

    Args:
        model: key of one of `LEVER_MODELS`.
        hit_rate: share of the input that was sent before.
    """
    steps = levers_of(model)
    service = steps.service(steps.levers).with_inputs(hit_rate=hit_rate)
    drawn_costs = spread_of(service, np.random.default_rng(0), _DRAWS).drawn
    found = {each: np.quantile(per_million(drawn_costs, each), (0.05, 0.95)) for each in PRICED}
    return FrozenDict({each: (float(low), float(high)) for each, (low, high) in found.items()})


def request_mix(model: str, hit_rate: float) -> Mapping[TokenKind, float]:
    """Return the share of each kind in the tokens of a mean request; arguments as of `rung_costs`."""
    steps = levers_of(model).figures
    tokens = np.rint(steps["input"].value)
    hits = min(tokens - 1, np.rint(tokens * hit_rate))
    counts = {"hit": hits, "miss": tokens - hits, "output": np.rint(steps["output"].value)}
    return FrozenDict({kind: float(counts[kind] / sum(counts.values())) for kind in KINDS})


def listed_rows(product: str, day: str | date) -> tuple[PriceRow, ...]:
    """Return the rows of a product's own dollar list on a day: one, or off-peak and peak; none where it is not listed.

    Args:
        product: key of one of `LEVER_MODELS`.
        day: see `prices.moment`; a day alone is its noon, UTC.

    Raises:
        ValueError: a text that is no day.
    """
    at = prices.moment(day)
    tokens = catalog.tables().traffic[TRAFFIC].input
    rows = [row for row in prices.history(product, "USD") if in_tier(row, tokens) and holds(row, at)]
    return tuple(sorted(rows, key=lambda row: row.miss))


def listed_usd(row: PriceRow, priced: str, mix: Mapping[TokenKind, float] = _NO_MIX) -> float:
    """Return dollars of a million tokens by a row of a list: of a kind, or of a request's tokens in their mix."""
    paid = {"hit": prices.hit_price(row), "miss": row.miss, "output": row.output}
    return paid[priced] if priced != "request" else sum(paid[kind] * mix[kind] for kind in KINDS)


# --- one kind of token, lever by lever ---------------------------------------------------------------------------

#: A kind of token with its article.
TOKEN_WORDS: Mapping[str, str] = FrozenDict(
    {"hit": "a hit", "miss": "a miss", "output": "an output token", "request": "a token"}
)


@drawn
def lever_waterfall(
    model: str = "deepseek-v4-pro", kind: TokenKind = "output", hit_rate: float = 0.936, day: str = "2026-06-01"
) -> Words:
    """Draw what each lever does to the cost of a kind of token when its turn comes, and the list price beside the end.

    Args:
        model: key of one of `LEVER_MODELS`.
        kind: of token: "hit", "miss" or "output"; the other two are thin lines.
        hit_rate: share of the input that was sent before: one of `HIT_RATES`, or the usual one.
        day: of the list price, as 2026-06-01.

    Raises:
        ValueError: another model, kind or rate.
    """
    checks.one_of(KINDS, kind, "kind of token")
    names = ["dense model", *levers_of(model).levers, "cost"]
    costs = {each: rung_costs(model, each, hit_rate) for each in KINDS}
    listed = [(row, listed_usd(row, kind)) for row in listed_rows(model, day)]
    axes = new_figure(
        f"What does each lever do to the cost of {TOKEN_WORDS[kind]}?", "USD per million tokens", "",
        wide=(7.2, 4.2), narrow=(3.6, 4.4),
    )  # fmt: skip
    colour_key([(each, COLOURS[each]) for each in KINDS])
    for each in KINDS:
        if each != kind:
            _stairs(axes, costs[each], COLOURS[each], "--" if each == "hit" else "-")
    said = draw_falls(axes, costs[kind], COLOURS[kind])
    for place, (row, price) in enumerate(listed, len(names)):
        axes.plot(price, place, "D", color=COLOURS[row.provider], markersize=7)
    finish_rows(
        axes,
        [*zip(names, said, strict=True), *((list_name(row, day), list_text(price)) for row, price in listed)],
        [*costs.values(), [price for _, price in listed]],
    )
    return _waterfall_said(model, kind, hit_rate, day, costs, listed)


def draw_falls(axes: Axes, costs: Floats, colour: str) -> list[str]:
    """Draw a bar for each lever from the cost before it to the cost after, hollow where it is dearer, and both ends.

    Args:
        axes: where; row 0 is the baseline, the row below the last lever the cost.
        costs: before all levers, and after each.
        colour: of bars that make it cheaper.

    Returns:
        What stands beside each row.
    """
    last = len(costs)
    axes.plot([costs[0], costs[-1]], [0, last], "o", color=colour, markersize=8)
    said = [usd_text(costs[0])]
    for place, (before, after) in enumerate(pairwise(costs), 1):
        look = {"color": colour, "linewidth": 0} if after <= before else {"facecolor": "none", "edgecolor": INK}
        axes.barh(place, after - before, left=before, height=0.62, **look)
        said.append(factor_text(before, after))
    tops = np.arange(last) + 0.31
    bottoms = tops + np.array([*(1.0 if _same(before, after) else 0.38 for before, after in pairwise(costs)), 0.38])
    axes.vlines(costs, tops, bottoms, color=INK, linewidth=0.8)
    return [*said, usd_text(costs[-1])]


def factor_text(before: float, after: float) -> str:
    """Return what a lever does in words: ÷24, dearer ×1.3, no change."""
    if _same(before, after):
        return "no change"
    return f"÷{_times(before / after)}" if after < before else f"dearer ×{_times(after / before)}"


def _same(before: float, after: float) -> bool:
    return abs(before / after - 1) < 0.005


def _times(factor: float) -> str:
    if factor >= 100:
        return f"{factor:,.0f}"
    return digits_text(float(f"{factor:.2g}")) if factor >= 1.1 else f"{factor:.2f}"


def _stairs(axes: Axes, costs: Floats, colour: str, how: str) -> None:
    """A thin line down the rows at the cost that each leaves."""
    heights = np.arange(len(costs) + 2) - 0.5
    axes.plot(np.repeat([*costs, costs[-1]], 2), np.repeat(heights, 2)[1:-1], how, color=colour, linewidth=1.4)


def finish_rows(
    axes: Axes, rows: Sequence[tuple[str, str]], costs: Iterable[Iterable[float]], bold: Collection[str] = ("cost",)
) -> None:
    """Write the rows' names on the left and what is said of each on the right; make the axis logarithmic.

    Args:
        axes: where.
        rows: (name, words), the first on top.
        costs: everything that is drawn, dollars.
        bold: names of rows whose words are bold.
    """
    amounts = [float(amount) for each in costs for amount in each if amount > 0]
    low, high = min(amounts) / 1.5, max(amounts) * 1.5
    share = 0.45 if is_narrow() else 0.2  # of the axes' width, for the words
    right = float(low * (high / low) ** (1 / (1 - share)))
    ticks = [tick for tick in _TICKS if low < tick < high]
    log_axis(axes, "x", ticks[-1::-2] if len(ticks) > 3 and is_narrow() else ticks, list_text)
    axes.set(xlim=(low, right), ylim=(len(rows) - 0.5, -0.6))
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.grid(axis="y", visible=False)
    size = 10 if is_narrow() else 11
    for place, (name, words) in enumerate(rows):
        label_inside(axes, words, high, place, weight="bold" if name in bold else "normal", fontsize=size)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Write the rows' names beside the axes, on a phone above each bar."""
    if not is_narrow():
        axes.set_yticks(range(len(names)), names)
        return
    axes.set_yticks([])
    for place, name in enumerate(names):
        axes.text(
            0.02, place - 0.28, name, transform=axes.get_yaxis_transform(), va="center", fontsize=10, in_layout=False
        )


def list_name(row: PriceRow, day: str | date) -> str:
    """Return what a row of a price list is called beside a figure: list, 1 Jun, or list, peak."""
    return f"list, {row.window or f'{prices.moment(day):%-d %b}'}"


def day_text(day: str | date) -> str:
    """Return a day as people write it: 1 June 2026."""
    return f"{prices.moment(day):%-d %B %Y}"


def where_text(model: str, hit_rate: float) -> str:
    """Return whose costs a figure shows: DeepSeek-V4-Pro on H800, 93.6% hits."""
    chip = catalog.chip(levers_of(model).chip).name.removeprefix("NVIDIA ").split(" ")[0]
    return f"{model_name(model)} on {chip}, {float(f'{hit_rate:.3g}') * 100:.4g}% hits"


def _waterfall_said(
    model: str, kind: str, hit_rate: float, day: str, costs: Mapping[TokenKind, Floats],
    listed: Sequence[tuple[PriceRow, float]],
) -> Words:  # fmt: skip
    where = where_text(model, hit_rate)
    ends = ", ".join(
        f"{each} {value(of[0], usd_text(of[0]), f'levers_{each}_dense')} → "
        f"{value(of[-1], usd_text(of[-1]), f'levers_{each}_cost')}"
        for each, of in costs.items()
    )
    windows = [(f"{row.window} " if row.window else "", price) for row, price in listed]
    plain = ", ".join(f"{window}{list_text(price)}" for window, price in windows) or "none"
    marked = ", ".join(f"{window}{value(price, list_text(price))}" for window, price in windows) or "none"
    beside = f"List price of {TOKEN_WORDS[kind]} on {day_text(day)}: "
    told = ". ".join(f"{each.capitalize()}, {turns_text(levers_of(model).levers, of)}" for each, of in costs.items())
    return Words(
        f"Bars from the cost before each lever to the cost after it, dollars of a million tokens. {where}. {told}. "
        f"{beside}{plain}.",
        f"{where}: {ends}. Hollow: dearer. {beside}{marked}.",
    )


def turns_text(levers: Sequence[str], costs: Floats) -> str:
    """Return the fall in words: from $120 to $0.339: sparsity dearer ×1.3, attention ÷1.7."""
    turns = ", ".join(f"{name} {factor_text(*ends)}" for name, ends in zip(levers, pairwise(costs), strict=True))
    return f"from {usd_text(costs[0])} to {usd_text(costs[-1])}: {turns}"
