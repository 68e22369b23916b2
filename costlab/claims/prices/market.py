"""How the market moved: who cut, who raised, how far apart they are, and whether it pays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from costlab import catalog, checks, prices
from costlab.catalog import MarginStatement
from costlab.claims.ledger import MIMO_PRO, V4_PRO, Settled, Values, settles
from costlab.claims.parts import part
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


@settles("price-k-shape", "prices#sec-prices-november")
def _price_k_shape(given: Values) -> Settled:
    parts = [
        part(f"{vendor.vendor}'s output, dearer from spring to June by", "share",
             given["moved"] if vendor.abroad else -given["moved"],
             f'claims.prices.market.vendor_line("{vendor.vendor}").to_june', 0.0,
             relation="at least" if vendor.abroad else "at most", number="moved")
        for vendor in VENDOR_LINES
    ]  # fmt: skip
    apart = bills_over(GPT, V4_PRO, JUNE, [agent()]), bills_over(GPT_NOW, V4_PRO, NOW, [agent()])
    peak = bills_over(GPT_NOW, V4_PRO, NOW_PEAK, [agent()])
    before, as_said = prices.history(V3_2, "USD")[-1], sum(each.agrees is True for each in parts)
    why = (
        f"A million output tokens of each vendor's best model moved from its list of spring to {JUNE} by "
        f"{_moves((line.vendor, line.to_june) for line in VENDOR_LINES)}: {as_said} of {len(parts)} as E says, and "
        f"DeepSeek only against V4-Pro's own launch, since {V3_2} had cost ${before.output:g}. From then to "
        f"{NOVEMBER} they moved by {_moves((line.vendor, line.to_now) for line in VENDOR_LINES)}. The ends have drawn "
        f"together: E's agent costs {span(apart[0], '.1f')} times as much on {GPT} as on {V4_PRO} on {JUNE}, and on "
        f"{NOVEMBER} {span(apart[1], '.1f')} times on {GPT_NOW} off-peak, {span(peak, '.1f')} at peak."
    )
    return Settled(parts, why)


def vendor_line(vendor: str) -> VendorLine:
    """Return how the price of a vendor's best model moved.

    Raises:
        ValueError: a vendor without a row on each of the days.
    """
    return checks.pick({line.vendor.lower(): line for line in VENDOR_LINES}, vendor, "vendor")


def mean_rise(*vendors: str) -> float:
    """Return the mean rise of output from spring to June, of some vendors abroad or of all that there are."""
    rises = [line.to_june for line in VENDOR_LINES if line.abroad and (not vendors or line.vendor in vendors)]
    return sum(rises) / len(rises)


def _moves(moves: Iterable[tuple[str, float]]) -> str:
    return ", ".join(f"{vendor} {move:+.0%}" for vendor, move in moves)


@settles("price-hike-average", "prices#sec-prices-november")
def _price_hike_average(given: Values) -> Settled:
    said = given["low"], given["high"]
    named = ", ".join(f'"{vendor}"' for vendor in NAMED)
    parts = (
        part("mean rise of output at the vendors that E names", "share", said,
             f"claims.prices.market.mean_rise({named})", 0.0, number="low,high"),
        part("mean rise of output at all vendors abroad", "share", said, "claims.prices.market.mean_rise()", 0.0,
             beyond=True, number="low,high"),
    )  # fmt: skip
    abroad = [line for line in VENDOR_LINES if line.abroad]
    means = [each.computed or 0.0 for each in parts]
    inside = [said[0] <= line.to_june <= said[1] for line in abroad]
    why = (
        f"From the list of spring to {JUNE} output moved by {_moves((line.vendor, line.to_june) for line in abroad)}: "
        f"{means[0]:+.0%} in the mean of the {len(NAMED)} that E names, {means[1]:+.0%} in that of all {len(abroad)}. "
        f"{sum(inside)} of {len(inside)} vendors moved by so much, and a mean of so few says little. From {JUNE} to "
        f"{NOVEMBER} output moved by {_moves((line.vendor, line.to_now) for line in abroad)}."
    )
    return Settled(parts, why, "overseas means the vendors alone that E names, one of which moved")


@settles("margin-while-cheap", "prices#margins-by-who-counts-what")
def _margin_while_cheap(given: Values) -> Settled:
    margins = catalog.tables().margins
    books = {
        key: each
        for key, each in margins.items()
        if each.who in ("DeepSeek", "Xiaomi") and each.basis in AUDITED and each.margin is not None
    }
    parts = [
        part(f"margin of {each.who} by its books", "share", given["profit"],
             f'catalog.tables().margins["{key}"].margin', 0.0, relation="at least", number="profit")
        for key, each in books.items()
    ] or [part("margin of the companies that cut, by their books", "share", given["profit"], None, 0.0,
               relation="at least", number="profit")]  # fmt: skip
    others = [m for m in margins.values() if m.basis in AUDITED and m.who in ("Zhipu", "MiniMax")]
    day = catalog.tables().days["deepseek-day"]
    why = (
        f"The companies that cut publish no accounts of what they sell by the token ({len(books)} in the catalog). Of "
        f"other Chinese makers' revenue the books leave {_books(others)}. Xiaomi says that it breaks even near full "
        f"load, which is no profit. DeepSeek's {day.margin:.0%} of {day.date:%B %Y} is over the rent of its chips, at "
        "a list price that most of its tokens did not pay, by its own words, and for older prices. The books count "
        "free users, training and idle hours too and leave far less than models of list price over rent."
    )
    return Settled(parts, why)


def _books(found: list[MarginStatement]) -> str:
    cloud = [each for each in found if each.counts != "software on customers' machines"]
    by_who: dict[str, list[MarginStatement]] = {}
    for each in cloud:
        by_who.setdefault(f"{each.who}, {each.counts}", []).append(each)
    return " and ".join(
        f"{min(each.margin or 0.0 for each in mine):.1%} to {max(each.margin or 0.0 for each in mine):.1%} ({who}, "
        f"{mine[0].period} to {mine[-1].period})"
        for who, mine in by_who.items()
    )
