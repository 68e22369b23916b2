"""What a log of requests costs at a product's prices, what breaks its cache, and what another order would save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from costlab import prices
from costlab.catalog import PriceRow
from costlab.catalog.cache_rules import CacheRule, TokenRatio, cache_rule, cache_rules
from costlab.checks import MAX_COUNT
from costlab.prompts.breaking import BreakGroup, breaks, grouped_breaks
from costlab.prompts.orders import CHANGES, OrderProposal, ReplaySums, Requests, proposal
from costlab.prompts.prefixes import PromptReplay, SharedPrefix, replay_prompts, shared_prefixes
from costlab.prompts.rendering import Rendered, rendered
from costlab.prompts.requests import PromptRequest

#: A month: a twelfth of 365.25 days, in seconds.
MONTH_S = 365.25 / 12 * 86_400


@dataclass(frozen=True)
class PromptAccount:
    """A log of requests, a cache run over it, and money."""

    requests: tuple[PromptRequest, ...]  # in order of time
    prompts: tuple[Rendered, ...]  # the same as bytes
    product: str  # whose prices and cache
    row: PriceRow  # of its price list, for a request of mean length
    rule: CacheRule  # of its cache
    ratio: TokenRatio | None  # bytes of a token as catalogued; None: given
    run: PromptReplay  # what the cache finds as logged
    groups: tuple[BreakGroup, ...]  # what breaks it, the worst first
    shared: tuple[SharedPrefix, ...]  # what requests have in common
    proposal: OrderProposal  # another order, replayed
    span_s: float | None  # from the first request to the last, s; None: the log has no times
    requests_per_month: float | None  # as given, or at the log's pace; None: neither

    @property
    def monthly(self) -> float | None:
        """How many times the log a month is; None where nobody says."""
        return None if self.requests_per_month is None else self.requests_per_month / len(self.requests)

    @property
    def lost_price(self) -> float:
        """What a million tokens cost more that miss instead of hit, in the row's currency."""
        each = prices.unit_prices(self.row)
        return float(each.miss - each.hit)


def prompt_account(
    requests: Sequence[PromptRequest],
    product: str = "deepseek-v4-pro",
    when: str | date | datetime = prices.LESSON_DAY,
    *,
    lifetime_s: float | None = None,
    bytes_per_token: float | None = None,
    requests_per_month: float | None = None,
) -> PromptAccount:
    """Return what a product's cache finds of requests, what breaks it, and what another order of them would save.

    Args:
        requests: in order of time, see `read_requests`.
        product: whose prices, and whose cache's rule.
        when: moment of the prices, see `costlab.prices.price_at`.
        lifetime_s: how long something unused stays; None for the rule's.
        bytes_per_token: taken for every text; None for the catalogued ratio.
        requests_per_month: for sums of a month; None for the log's pace.

    Raises:
        ValueError: no request, an unknown product, a moment without price, or numbers that are not above 0.
    """
    requests = tuple(requests)
    if not requests:
        raise ValueError("requests should be at least one")
    if requests_per_month is not None and not 0 < requests_per_month <= MAX_COUNT:
        raise ValueError(f"requests_per_month = {requests_per_month!r} should be above 0, and at most 2**53")
    at = prices.moment(when)
    row = prices.price_at(product, at)
    rule = cache_rule(row.provider, row.product)
    ratio = None if bytes_per_token is not None else cache_rules().ratios["characters"]
    per_token = bytes_per_token if bytes_per_token is not None else ratio.bytes_per_token if ratio else 1.0
    times = [request.time_s or 0.0 for request in requests]

    own = {id(each): rendered(each) for each in requests}

    def run_of(some: Requests) -> tuple[tuple[Rendered, ...], PromptReplay]:
        prompts = tuple(own.get(id(each)) or rendered(each) for each in some)
        return prompts, replay_prompts(prompts, times, rule, per_token, lifetime_s)

    rates = _Rates(row.product, at)
    prompts, run = run_of(requests)
    changes = [change for change in CHANGES if rule.finds == "marks" or not change.marks]
    timed = requests[0].time_s is not None
    span = times[-1] - times[0] if timed else None
    return PromptAccount(
        requests=requests,
        prompts=prompts,
        product=row.product,
        row=prices.price_at(product, at, input_tokens=run.tokens // len(requests)),
        rule=rule,
        ratio=ratio,
        run=run,
        groups=tuple(grouped_breaks(breaks(requests, prompts, run))),
        shared=tuple(shared_prefixes(prompts, per_token)),
        proposal=proposal(requests, lambda some: rates.outcome(run_of(some)[1]), changes),
        span_s=span,
        requests_per_month=_pace(len(requests), span) if requests_per_month is None else requests_per_month,
    )


def _pace(count: int, span_s: float | None) -> float | None:
    """Return requests of a month at a log's pace: its gaps go on."""
    return (count - 1) / span_s * MONTH_S if span_s and count > 1 else None


class _Rates:
    """A product's prices at a moment, of the tier that each request's length is in."""

    def __init__(self, product: str, at: datetime) -> None:
        self._product, self._at = product, at
        self._rows: list[PriceRow] = []

    def _row(self, tokens: int) -> PriceRow:
        found = next((row for row in self._rows if prices.in_tier(row, tokens)), None)
        if found is None:
            found = prices.price_at(self._product, self._at, input_tokens=tokens)
            self._rows.append(found)
        return found

    def outcome(self, run: PromptReplay) -> ReplaySums:
        """Return a replay's sums and what its input costs."""
        cost = 0.0
        for each in run.found:
            unit = prices.unit_prices(self._row(each.tokens))
            plain = each.misses - each.writes
            cost += each.hits * float(unit.hit) + each.writes * float(unit.write) + plain * float(unit.miss)
        return ReplaySums(run.tokens, run.hits, run.misses, cost / 1e6)
