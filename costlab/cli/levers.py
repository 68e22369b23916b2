"""The verb waterfall: what each lever does to a token's cost, how sure that is, and what list prices leave."""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from costlab import catalog, checks, levers, prices
from costlab.chips import Swing
from costlab.cli import clock
from costlab.cli.arguments import MODEL_HELP, add_verb, count_arg, model_arg, moment_arg, positive_arg, size_arg
from costlab.cli.candidates import figure_row
from costlab.cli.figures import Range, figure_arg, given
from costlab.cli.output import Answer, Column, sources, view
from costlab.levers import KINDS, CostSpread, Ladder, ListMargin, TokenKind, Waterfall
from costlab.levers.products import BATCH_BEFORE, CHIP_BEFORE, SERVING_CHIP
from costlab.levers.services import INPUT_LIMITS
from costlab.text import columns, digits_text

#: Draws of one answer take memory, and more of them say nothing new.
MOST_DRAWS = 100_000
#: How many of the figures that decide, and of the pairs that interact, are said.
MOST_SHOWN = 5
#: Letters of a source that are shown; all of it stands in the JSON.
SOURCE_LETTERS = 60


def _waterfall(args: argparse.Namespace) -> Answer:
    own = dict(args.figure or ())
    if args.hit_rate is not None:
        if "hit rate" in own:
            raise ValueError("--hit-rate and --figure hit-rate=... both say the hit rate: give one of them")
        own["hit rate"] = args.hit_rate
    figures = {name: given(each, checks.pick(levers.INPUTS, name, "figure")) for name, each in own.items()}
    ladder = levers.ladder(
        args.model, args.chip, chip_before=args.chip_before, traffic=args.traffic, batch_before=args.batch_before,
        given=figures,
    )  # fmt: skip
    found = levers.waterfall(ladder, args.order)
    lists, _ = _lists(args, ladder), found.shares  # both refuse before the draws
    spreads = [_spread(ladder, found.order[:i], args) for i in range(len(found.rungs))]
    rows = [_row(found, i, spreads[i], lists) for i in range(len(found.rungs))]
    args.order, args.hit_rate = list(found.order), ladder.figures["hit rate"].value
    args.figure = [f"{name}={':'.join(f'{n:g}' for n in _numbers(each))}" for name, each in args.figure or ()]
    table = view(rows, *_columns())
    used = sources(
        ("model", args.model, ladder.model.record),
        *(("chip", chip, catalog.chip(chip)) for chip in dict.fromkeys((ladder.chip, ladder.chip_before))),
        *(("price", each.row.product, each.row) for each in lists),
    )
    return Answer(rows, table, list(_lines(found, spreads[-1], lists, rows, args)), list(_notes(found, args)), used)


def _spread(ladder: Ladder, on: Sequence[str], args: argparse.Namespace) -> CostSpread:
    """A rung's costs over draws; a seed gives each figure the same draws on every rung."""
    return levers.spread_of(ladder.service(on), np.random.default_rng(args.seed), args.draws)


def _lists(args: argparse.Namespace, ladder: Ladder) -> tuple[ListMargin, ...]:
    """The list prices of the day beside the costs; none where the model has no product and nobody asked for one."""
    asked = args.product is not None or args.moment is not None
    args.moment = args.moment or prices.moment(clock.today())
    args.product = args.product or _product(ladder.model.key, args.moment)
    if args.product is None:
        if asked:
            raise ValueError(
                f"{ladder.model.name} has no price on {args.moment:%Y-%m-%d}: --product NAME takes another"
            )
        return ()
    try:
        return levers.margins_on(args.product, ladder.service(ladder.levers), args.moment)
    except ValueError:
        if asked:
            raise
        return ()


def _product(model: str, when: datetime) -> str | None:
    """The product of a model's maker: the one that is called like it, else the first that is sold on the day."""
    rows = [row for row in catalog.tables().prices if row.model == model and row.host_of is None]
    sold = [row.product for row in prices.rows_on(when) if row in rows]
    known = [row.product for row in rows if row.published_by == "provider"]
    return next((name for name in (*(each for each in sold if each == model), *sold, *known)), None)


# --- rows --------------------------------------------------------------------------------------------------------


def _row(found: Waterfall, rung: int, spread: CostSpread, lists: Sequence[ListMargin]) -> dict[str, Any]:
    each, last = found.rungs[rung], rung == len(found.rungs) - 1
    costs, service = each.costs, found.ladder.service(found.order[:rung])
    lows, highs = zip(*(spread.interval(kind) for kind in KINDS), strict=True)
    told = [found.factor(kind, each.lever) if rung else None for kind in KINDS]
    shares = [math.exp(found.shares[kind][each.lever]) if rung else None for kind in KINDS]
    return {
        "lever": each.lever or None,
        **_by_kind("{}_usd_per_million", [each.cost(kind) for kind in KINDS]),
        **_by_kind("low_{}_usd_per_million", lows),
        **_by_kind("high_{}_usd_per_million", highs),
        **_by_kind("told_{}_factor", told),
        **_by_kind("shapley_{}_factor", shares),
        "chip": service.chip,
        "prefill_chips": int(costs.chips["prefill"]),
        "decode_chips": int(costs.chips["decode"]),
        "batch": int(costs.batch),
        "user_tokens_per_second": float(costs.user_speed),
        "prompt_s": float(costs.first_token),
        **{f"{kind}_tokens_per_call": int(costs.request[kind]) for kind in KINDS},
        "hit_parts": [
            {"part": name, "usd_per_million_tokens": float(part)} for name, part in costs.hit_parts.items()
        ],
        "pairs": list(_pairs(found)) if last else None,
        "swings": list(_swings(found)) if last else None,
        "list_prices": [_list_row(one) for one in lists] if last else None,
        "assumptions": [figure_row(name, figure) for name, figure in service.inputs().items()],
    }  # fmt: skip


def _by_kind(name: str, values: Iterable[float | None]) -> dict[str, float | None]:
    return {name.format(kind): value for kind, value in zip(KINDS, values, strict=True)}


def _pairs(found: Waterfall) -> Iterator[dict[str, Any]]:
    """The pairs that make most of each other for a kind of token, or take most from each other."""
    for kind in KINDS:
        strongest = sorted(found.pairs[kind].items(), key=lambda each: -abs(each[1]))
        for pair, value in strongest[:MOST_SHOWN]:
            yield {"token_kind": kind, "levers": list(pair), "factor": math.exp(value)}


def _swings(found: Waterfall) -> Iterator[dict[str, Any]]:
    """Each figure moved alone: costs at both of its ends; first what moves a mean request's bill most."""
    service = found.ladder.service(found.order)
    moved: dict[str, dict[TokenKind, Swing]] = {}
    for kind in KINDS:
        for swing in levers.cost_swings(service, kind):
            moved.setdefault(swing.name, {})[kind] = swing
    tokens = found.rungs[-1].costs.request

    def moves_bill(by_kind: Mapping[TokenKind, Swing]) -> float:
        return abs(sum((swing.at_high - swing.at_low) * float(tokens[kind]) for kind, swing in by_kind.items()))

    for name, by_kind in sorted(moved.items(), key=lambda each: (-moves_bill(each[1]), each[0])):
        low, _, high = by_kind["hit"].moved.bounds
        at_low, at_high = ([getattr(by_kind[kind], end) for kind in KINDS] for end in ("at_low", "at_high"))
        yield {
            "what": name, "low": low, "high": high,
            "at_low": _by_kind("{}_usd_per_million", at_low), "at_high": _by_kind("{}_usd_per_million", at_high),
        }  # fmt: skip


def _list_row(each: ListMargin) -> dict[str, Any]:
    """A list price beside the costs; null where no use would pay them."""
    row, even = each.row, each.break_even
    return {
        "product": row.product,
        "currency": row.currency,
        "hit_price": row.hit,
        "miss_price": row.miss,
        "output_price": row.output,
        "price_window": row.window,
        "price_since": f"{row.valid_from:%Y-%m-%d}",
        "price_source": row.source,
        **_by_kind("{}_margin", [_finite(each.of(kind)) for kind in KINDS]),
        "request_margin": _finite(each.share_left),
        "break_even_use": _finite(even),
    }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


# --- what people see ---------------------------------------------------------------------------------------------


def _columns() -> list[Column]:
    return [
        Column("lever", lambda row: row["lever"] or "none"),
        *(Column(kind, f"{kind}_usd_per_million") for kind in KINDS),
        *(Column(f"shapley_{kind}", f"shapley_{kind}_factor") for kind in KINDS),
        Column("chips", lambda row: " + ".join(map(str, dict.fromkeys([row["prefill_chips"], row["decode_chips"]])))),
        Column("batch", "batch"),
        Column("tokens_s", "user_tokens_per_second"),
        Column("prompt_s", "prompt_s"),
    ]


def _lines(
    found: Waterfall, spread: CostSpread, lists: Sequence[ListMargin], rows: Sequence[Mapping[str, Any]],
    args: argparse.Namespace,
) -> Iterator[str]:  # fmt: skip
    last = rows[-1]
    yield f"90% of {args.draws:,} draws, all levers on: " + ", ".join(
        f"{kind} {_range(*spread.interval(kind))}" for kind in KINDS
    )
    for kind, pairs in itertools.groupby(last["pairs"], key=lambda pair: pair["token_kind"]):
        told = ", ".join(f"{' and '.join(each['levers'])} ×{each['factor']:.3g}" for each in itertools.islice(pairs, 3))
        yield f"pairs that change what the other is worth, {kind}: {told}"
    yield from _swing_lines(last["swings"][:MOST_SHOWN])
    if lists:
        yield from _list_lines(lists)
    yield from _assumption_lines(found)


def _range(low: float, high: float) -> str:
    return f"{digits_text(low)} to {digits_text(high)}"


def _swing_lines(swings: Sequence[Mapping[str, Any]]) -> list[str]:
    heads = ["moved alone", "low", "high", *(f"{kind} at low, at high" for kind in KINDS)]
    rows = []
    for each in swings:
        keys = [f"{kind}_usd_per_million" for kind in KINDS]
        ends = [f"{digits_text(each['at_low'][key])}, {digits_text(each['at_high'][key])}" for key in keys]
        rows.append([each["what"], _short(each["low"]), _short(each["high"]), *ends])
    return columns([heads, *rows], {1, 2, 3, 4, 5}).splitlines()


def _list_lines(lists: Sequence[ListMargin]) -> list[str]:
    heads = ["list price", "hours", "hit", "miss", "output", "left of hit", "of miss", "of output", "of a request",
             "use at break-even"]  # fmt: skip
    rows = [
        [
            f"{each.row.product}, USD", each.row.window or "all", *(digits_text(each.paid[kind]) for kind in KINDS),
            *(_percent(each.of(kind)) for kind in KINDS), _percent(each.share_left), _percent(each.break_even),
        ]
        for each in lists
    ]  # fmt: skip
    return columns([heads, *rows], set(range(2, len(heads)))).splitlines()


def _percent(share: float) -> str:
    return f"{share:.0%}" if math.isfinite(share) else "–"


def _assumption_lines(found: Waterfall) -> list[str]:
    """Every figure of the service with all levers, and those that differ before."""
    ladder = found.ladder
    figures = [*ladder.figures.items(), *((f"{name}, lever off", each) for name, each in ladder.before.items())]
    rows = []
    for name, each in figures:
        low, _, high = each.bounds
        source = each.source if len(each.source) <= SOURCE_LETTERS else f"{each.source[: SOURCE_LETTERS - 1]}…"
        spread = f"{_short(low)} to {_short(high)}" if each.is_range else "-"
        day = each.date.isoformat() if each.date else "-"
        rows.append([name, _short(each.value), spread, each.unit, day, source])
    return columns([["assumed", "value", "range", "unit", "day", "source"], *rows], {1}).splitlines()


def _short(number: float) -> str:
    """Three digits; of counts all of them."""
    return f"{number:,.0f}" if 1000 <= number < 1e7 else f"{number:.3g}"


def _notes(found: Waterfall, args: argparse.Namespace) -> Iterator[str]:
    ladder, rungs = found.ladder, found.rungs
    yield (
        f"USD per million tokens of {ladder.model.name}, with a lever and all above it; shapley: how much cheaper "
        "it makes them in the mean over all orders, a factor, below 1 dearer; they multiply to the whole fall"
    )
    yield (
        f"none: all parameters used, grouped-query attention, 16 bits, nothing kept or drafted, both phases on one "
        f"{catalog.chip(ladder.chip_before).name}, at most {ladder.batch_before:g} sequences a chip"
    )
    late = [rung.lever or "none" for rung in rungs if float(rung.costs.first_token) > _limit(found, "first token")]
    if late:
        limit = found.ladder.figures["first token"].value
        yield f"no deployment reads a prompt in {limit:g} s at: {', '.join(late)}; prompt_s says how long it takes"
    slow = [rung.lever or "none" for rung in rungs if float(rung.costs.user_speed) < _limit(found, "user speed", -1)]
    if slow:
        limit = found.ladder.figures["user speed"].value
        yield f"no deployment gives each user {limit:g} tokens/s at: {', '.join(slow)}; tokens_s says how many it gives"
    yield "chips: of prefill + decode where they are apart; tokens_s: of each user; prompt_s: reading a prompt"
    yield "costs are rent of chips and storage: staff, training, free use and taxes come on top"


def _limit(found: Waterfall, name: str, sign: int = 1) -> float:
    """A promise, and what rounding adds to it."""
    return found.ladder.figures[name].value * (1 + sign * 1e-6)


# --- options -----------------------------------------------------------------------------------------------------


def add_verbs(verbs: Any) -> None:
    """Add waterfall."""
    about = "what a token costs lever by lever, from a dense model on"
    verb = add_verb(verbs, "waterfall", _waterfall, about, "waterfall deepseek-v4-pro --when 2026-06-01")
    verb.add_argument("model", type=model_arg, metavar="MODEL", help=MODEL_HELP)
    chip = f"that serves (default {SERVING_CHIP}); see `costlab chips`"
    verb.add_argument("--chip", type=str.lower, default=SERVING_CHIP, help=chip)
    before = f"that served before the lever chip (default {CHIP_BEFORE})"
    verb.add_argument("--chip-before", type=str.lower, default=CHIP_BEFORE, metavar="CHIP", help=before)
    kinds = ", ".join(catalog.tables().traffic)
    verb.add_argument(
        "--traffic", type=str.lower, default="coding", metavar="KIND", help=f"mean request: {kinds} (default coding)"
    )
    order = f"in which the levers are told, each once: {','.join(levers.LEVERS).replace(' ', '-')} (default)"
    verb.add_argument("--order", type=_order, metavar="LEVER,...", help=order)
    rate = "share of the input that was sent before, below 1 (default: that of the traffic)"
    verb.add_argument("--hit-rate", type=_rate, metavar="SHARE", help=rate)
    batch = f"most sequences of each chip before the lever batch and use (default {BATCH_BEFORE:g})"
    verb.add_argument("--batch-before", type=positive_arg, default=BATCH_BEFORE, metavar="N", help=batch)
    figure = f"in the place of the catalog's, a number or LOW:VALUE:HIGH: {', '.join(levers.INPUTS)}; may be repeated"
    verb.add_argument("--figure", type=_named, action="append", metavar="NAME=FIGURE", help=figure)
    verb.add_argument(
        "--when", type=moment_arg, dest="moment", metavar="DATE", help="day or moment of the list price (default today)"
    )
    product = "whose list price stands beside the costs (default: the model's own)"
    verb.add_argument("--product", type=str.lower, metavar="NAME", help=product)
    verb.add_argument("--draws", type=_draws, default=2000, metavar="N", help="from all ranges (default 2,000)")
    verb.add_argument("--seed", type=size_arg, default=0, help="of the draws (default 0)")


def _order(text: str) -> list[str]:
    """Read levers with commas between them; dashes stand for the spaces of a name."""
    return [part.strip().lower().replace("-", " ") for part in text.split(",")]


def _rate(text: str) -> float:
    low, high = INPUT_LIMITS["hit rate"]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} should be a number from {low:g} to {high:g}")
    return value


def _named(text: str) -> tuple[str, Range]:
    """Read NAME=FIGURE; dashes and underscores stand for the name's spaces."""
    name, mark, figure = text.partition("=")
    name = name.strip().lower().replace("-", " ").replace("_", " ")
    if not mark or name not in levers.INPUTS:
        raise argparse.ArgumentTypeError(
            f"{text!r} should look like rent=2 or rent=1.5:2:3, of {', '.join(levers.INPUTS)}"
        )
    return name, figure_arg(figure)


def _numbers(figure: Range) -> tuple[float, ...]:
    return figure if isinstance(figure, tuple) else (figure,)


def _draws(text: str) -> int:
    number = count_arg(text)
    if number > MOST_DRAWS:
        raise argparse.ArgumentTypeError(f"{text!r} should be at most {MOST_DRAWS:,}")
    return number
