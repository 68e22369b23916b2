"""How the market moved: who cut, who raised, how far apart they are, and whether it pays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from costlab import catalog, prices
from costlab.catalog import MarginStatement
from costlab.claims.ledger import MIMO_PRO, V4_PRO, Settled, Values, graded, settles
from costlab.claims.prices.days import JUNE, NOVEMBER, NOW, NOW_PEAK, agent, bills_over, row, span

GPT, GPT_NOW = "gpt-5.5", "gpt-6.1-sol"
V3_2 = "deepseek-v3.2"  # DeepSeek's best model until V4-Pro came
NAMED = "OpenAI", "Anthropic"  # the vendors abroad that article E names
AUDITED = "audited accounts", "reported"  # whose margins rest on books


@dataclass(frozen=True)
class VendorLine:
    """A vendor's best model in spring, in June and in November 2026."""

    vendor: str  # as the catalog names it
    spring: str  # product sold in spring, at its first list price
    june: str  # product of article E's day
    now: str  # product of November
    abroad: bool  # whether article E counts the vendor as overseas

    @property
    def to_june(self) -> float:
        """By which share a million output tokens became dearer from the first list price of spring to June."""
        return row(self.june, JUNE).output / prices.history(self.spring, "USD")[0].output - 1

    @property
    def to_now(self) -> float:
        """By which share a million output tokens became dearer from June to November, off-peak."""
        return row(self.now, NOW).output / row(self.june, JUNE).output - 1


#: Vendors whose best model of text has a row on each of the days.
VENDOR_LINES = (
    VendorLine("DeepSeek", V4_PRO, V4_PRO, V4_PRO, abroad=False),
    VendorLine("Xiaomi", MIMO_PRO, MIMO_PRO, "mimo-v2.6-pro", abroad=False),
    VendorLine("Zhipu", "glm-5", "glm-5.1", "glm-5.3", abroad=False),
    VendorLine("Moonshot AI", "kimi-k2.5", "kimi-k2.6", "kimi-k3.1-pro", abroad=False),
    VendorLine("OpenAI", "gpt-5.4", GPT, GPT_NOW, abroad=True),
    VendorLine("Anthropic", "claude-opus-4.7", "claude-opus-4.8", "claude-opus-5.5", abroad=True),
    VendorLine("Google", "gemini-3.1-pro", "gemini-3.1-pro", "gemini-4-argon", abroad=True),
    VendorLine("xAI", "grok-4.20", "grok-4.3", "grok-4.7", abroad=True),
)


@settles("price-k-shape")
def _price_k_shape(_: Values) -> Settled:
    as_said = [line.to_june > 0 if line.abroad else line.to_june < 0 for line in VENDOR_LINES]
    apart = bills_over(GPT, V4_PRO, JUNE, [agent()]), bills_over(GPT_NOW, V4_PRO, NOW, [agent()])
    peak = bills_over(GPT_NOW, V4_PRO, NOW_PEAK, [agent()])
    computed = (
        f"a million output tokens of each vendor's best model, from its list of spring to {JUNE}: "
        f"{_moves((line.vendor, line.to_june) for line in VENDOR_LINES)}; from then to {NOVEMBER}: "
        f"{_moves((line.vendor, line.to_now) for line in VENDOR_LINES)}"
    )
    before = prices.history(V3_2, "USD")[-1]
    why = (
        f"In June {sum(as_said)} of {len(as_said)} vendors moved as E says, and DeepSeek only against V4-Pro's own "
        f"launch: {V3_2} had cost ${before.output:g}. By November the ends have drawn together: E's agent costs "
        f"{span(apart[0], '.1f')} times as much on {GPT} as on {V4_PRO} on {JUNE}, and on {NOVEMBER} "
        f"{span(apart[1], '.1f')} times on {GPT_NOW} off-peak, {span(peak, '.1f')} at peak"
    )
    return graded(as_said), computed, f"{why}."


def _moves(moves: Iterable[tuple[str, float]]) -> str:
    return ", ".join(f"{vendor} {move:+.0%}" for vendor, move in moves)


@settles("price-hike-average")
def _price_hike_average(given: Values) -> Settled:
    rises = {line.vendor: line.to_june for line in VENDOR_LINES if line.abroad}
    named = [rises[vendor] for vendor in NAMED]
    means = [sum(each) / len(each) for each in (named, list(rises.values()))]
    computed = (
        f"from the list of spring to {JUNE} output moved by {_moves(rises.items())}: {means[0]:+.0%} in the mean of "
        f"the {len(NAMED)} that E names, {means[1]:+.0%} in that of all {len(rises)}"
    )
    fell = {line.vendor: line.to_now for line in VENDOR_LINES if line.abroad}
    inside = [given["low"] <= rise <= given["high"] for rise in rises.values()]
    why = (
        f"{sum(inside)} of {len(inside)} vendors moved by so much, and a mean of so few says little. From {JUNE} to "
        f"{NOVEMBER} output moved by {_moves(fell.items())}"
    )
    return graded(given["low"] <= mean <= given["high"] for mean in means), computed, f"{why}."


@settles("margin-while-cheap")
def _margin_while_cheap(_: Values) -> Settled:
    stated = [each for each in catalog.tables().margins.values() if each.who in ("DeepSeek", "Xiaomi")]
    books = [each for each in stated if each.basis in AUDITED and each.margin is not None]
    others = [m for m in catalog.tables().margins.values() if m.basis in AUDITED and m.who in ("Zhipu", "MiniMax")]
    day = catalog.tables().days["deepseek-day"]
    computed = (
        f"no accounts of the companies that cut are published ({len(books)} in the catalog); of other Chinese makers "
        f"{_books(others)}"
    )
    why = (
        f"Xiaomi says that it breaks even near full load, which is no profit. DeepSeek's {day.margin:.0%} of "
        f"{day.date:%B %Y} is over the rent of its chips, at a list price that most of its tokens did not pay, by its "
        "own words, and for older prices. The books count free users, training and idle hours too and leave far less "
        "than models of list price over rent"
    )
    verdict = graded((each.margin or 0) > 0 for each in books) if books else "cannot be checked"
    return verdict, computed, f"{why}."


def _books(found: list[MarginStatement]) -> str:
    cloud = [each for each in found if each.counts != "software on customers' machines"]
    return ", ".join(f"{each.margin:.1%} ({each.who}, {each.counts}, {each.period})" for each in cloud)
