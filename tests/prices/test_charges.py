"""Charges are exact: parts give the whole, calls add up, no count is lost, and more of anything costs no less."""

import dataclasses
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab import catalog, prices
from costlab.catalog import PriceRow, ServiceTier
from costlab.prices import Counts, Workload

KINDS = ("hit", "miss", "write", "write_long", "output")
ROWS = st.sampled_from(catalog.tables().prices)
SERVICES = st.sampled_from([None, *catalog.tables().services])
COUNT = st.one_of(st.integers(0, 2_000_000), st.integers(10**8, 10**15))


@st.composite
def counted(draw):
    output = draw(COUNT)
    return Counts(*(draw(COUNT) for _ in range(4)), output, draw(st.one_of(st.just(0), st.integers(0, output))))


def exactly(number):
    """The fraction that a listed number is, by its digits."""
    return Fraction(str(number))


def by_hand(row, counts, service):
    """Each part in fractions, from what the list prints."""
    factor = exactly(service.factor) if service else Fraction(1)
    hits = exactly(service.hit_factor) if service and service.hit_factor is not None else factor
    write = row.miss if row.write is None else row.write
    output = row.thinking_output if counts.thinking and row.thinking_output is not None else row.output
    return {
        "hit": counts.hit * (exactly(row.miss) * factor if row.hit is None else exactly(row.hit) * hits),
        "miss": counts.miss * exactly(row.miss) * factor,
        "write": counts.write * exactly(write) * factor,
        "write_long": counts.write_long * exactly(write if row.write_long is None else row.write_long) * factor,
        "output": counts.output * exactly(output) * factor,
    }


@given(ROWS, counted(), SERVICES)
def test_each_part_and_the_whole_are_exact(row, counts, service):
    """Counts up to 1e15, where doubles lose digits."""
    due = prices.charge(row, counts, service)
    right = by_hand(row, counts, service)
    for kind in KINDS:
        assert Fraction(getattr(due, kind)) == right[kind] / 10**6
    assert Fraction(due.total) == sum(right.values()) / 10**6
    assert due.currency == row.currency and due.counts == counts


@given(ROWS, st.lists(counted(), min_size=1, max_size=5), SERVICES)
def test_calls_of_one_tier_add_up_to_their_sum(row, calls, service):
    thinks = any(call.thinking for call in calls)
    calls = [dataclasses.replace(call, output=call.output + thinks, thinking=int(thinks)) for call in calls]
    together = Counts(*(sum(getattr(call, kind) for call in calls) for kind in KINDS), thinking=int(thinks))
    if any(getattr(together, kind) > 2**53 for kind in KINDS):
        return
    apart = sum(Fraction(prices.charge(row, call, service).total) for call in calls)
    assert apart == Fraction(prices.charge(row, together, service).total)


@given(ROWS, counted(), st.sampled_from([*KINDS, "thinking"]), st.integers(1, 10**9), SERVICES)
def test_more_of_any_kind_costs_no_less(row, counts, kind, more, service):
    value = min(getattr(counts, kind) + more, counts.output if kind == "thinking" else 2**53)
    dearer = dataclasses.replace(counts, **{kind: value})
    assert prices.charge(row, dearer, service).total >= prices.charge(row, counts, service).total


@given(counted())
def test_no_input_token_is_lost(counts):
    assert counts.input_tokens == counts.hit + counts.miss + counts.write + counts.write_long


ROW = PriceRow(
    product="x", provider="X", currency="USD", miss=2.0, output=10.0, valid_from=date(2026, 1, 1), source="here",
    date=date(2026, 1, 1),
)  # fmt: skip


def test_no_hit_price_is_a_miss_and_zero_is_free():
    counts = Counts(hit=10**6)
    assert prices.charge(ROW, counts).total == 2
    assert prices.charge(dataclasses.replace(ROW, hit=0.0), counts).total == 0


def test_writes_without_a_price_of_their_own():
    """As misses; those for longer as the others."""
    counts = Counts(write=10**6, write_long=10**6)
    due = prices.charge(ROW, counts)
    assert (due.write, due.write_long) == (2, 2)
    due = prices.charge(dataclasses.replace(ROW, write=2.5), counts)
    assert (due.write, due.write_long) == (Decimal("2.5"), Decimal("2.5"))
    due = prices.charge(dataclasses.replace(ROW, write=2.5, write_long=4.0, write_long_hours=1), counts)
    assert (due.write, due.write_long) == (Decimal("2.5"), 4)


def test_a_thinking_call_pays_its_price_for_the_whole_output():
    """Qwen-Plus in dollars: 1.2, with thinking 4."""
    row = prices.price_at("qwen-plus", "2026-06-01")
    assert prices.charge(row, Counts(output=10**6)).total == Decimal("1.2")
    assert prices.charge(row, Counts(output=10**6, thinking=1)).total == 4
    flat = prices.price_at("deepseek-v4-pro", "2026-06-01")
    assert prices.charge(flat, Counts(output=10**6, thinking=10**6)).total == Decimal("0.87")


def test_a_service_may_leave_caching_at_its_full_price():
    batch = ServiceTier("X", "batch", 0.5, date(2026, 1, 1), "here", date(2026, 1, 1), hit_factor=1.0)
    row = dataclasses.replace(ROW, hit=0.2)
    due = prices.charge(row, Counts(hit=10**6, miss=10**6, output=10**6), batch)
    assert (due.hit, due.miss, due.output) == (Decimal("0.2"), 1, 5)
    assert prices.charge(ROW, Counts(hit=10**6), batch).hit == 1  # billed as a miss, so at the factor of a miss


def test_a_services_bill_by_hand():
    """Claude Opus 5.5, 4 / 0.2 / 20, in batches at half."""
    due = prices.bill("claude-opus-5.5", Workload(10**6, 10**6, 0.5), "2026-11-25", service="batch")
    assert (due.hit, due.miss, due.output) == pytest.approx((0.05, 1, 10))
    assert due.service.name == "batch"
    with pytest.raises(ValueError, match=r"no service 'batch' of DeepSeek is known for 'deepseek-v4-pro'.*; none is"):
        prices.bill("deepseek-v4-pro", Workload(1, 1), "2026-11-25", service="batch")
    with pytest.raises(ValueError, match=r"no service 'bulk' of Anthropic .* known: batch"):
        prices.bill("claude-opus-5.5", Workload(1, 1), "2026-11-25", service="bulk")


@given(st.integers(1, 10**15).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), st.integers(0, 2**53))
def test_a_bill_of_counts_is_its_charge(counts, output):
    """All that missed was written; no count is refused, none is rounded."""
    tokens, hits = counts
    due = prices.bill(
        "claude-opus-4.8", Workload(tokens, output, write_tokens=tokens - hits, hit_tokens=hits), "2026-07-12"
    )
    exact = prices.charge(due.row, Counts(hits, 0, tokens - hits, 0, output))
    assert (due.hit, due.miss, due.write, due.output) == tuple(float(getattr(exact, k)) for k in (*KINDS[:3], "output"))
    with pytest.raises(ValueError, match="input tokens that miss"):
        Workload(tokens, 0, write_tokens=tokens - hits + 1, hit_tokens=hits)


@pytest.mark.parametrize("value", [-1, 0.5, float("nan"), 2**53 + 1, True, "7"], ids=repr)
@pytest.mark.parametrize("kind", [*KINDS, "thinking"])
def test_bad_counts(kind, value):
    with pytest.raises(ValueError, match=f"{kind} should be a whole number from 0 to") as caught:
        Counts(**{kind: value})
    assert repr(value) in str(caught.value)


def test_counts_that_contradict():
    with pytest.raises(ValueError, match="thinking = 2 tokens exceed the 1 of the output"):
        Counts(output=1, thinking=2)
    with pytest.raises(ValueError, match="hit_tokens = 11 exceed the 10 input tokens"):
        Workload(10, 0, hit_tokens=11)
    with pytest.raises(ValueError, match=r"give hit_rate or hit_tokens: 0.5 is not 4 of 10"):
        Workload(10, 0, 0.5, hit_tokens=4)
    with pytest.raises(ValueError, match=r"write_tokens \+ write_long_tokens = 7 exceed the 6 input tokens"):
        Workload(10, 0, write_tokens=3, write_long_tokens=4, hit_tokens=4)
    with pytest.raises(ValueError, match="thinking_tokens = 2 exceed the 1 output"):
        Workload(10, 1, thinking_tokens=2)
    load = Workload(10, 0, hit_tokens=4)
    assert (load.hit_rate, dataclasses.replace(load, calls=2).hits) == (0.4, 4)
