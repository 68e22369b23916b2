"""Rows of price lists, services and names: what is refused, and that one row bills a call at each instant."""

import dataclasses
import re
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab import catalog, prices
from costlab.catalog import Alias, PriceRow, PriceWindow, ServiceTier
from costlab.catalog.price_lists import PriceLists, start_of

CATALOG = catalog.tables()
ROW = PriceRow("a-1", "A", "USD", 1.0, 2.0, date(2026, 1, 1), "a page", date(2026, 1, 2))
SERVICE = ServiceTier("A", "batch", 0.5, date(2026, 1, 1), "a page", date(2026, 1, 2))
ALIAS = Alias("a-one", "a-1", "a page", date(2026, 1, 2))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"product": "A-1"}, "product = 'A-1' should be a name in lower case without blanks"),
        ({"valid_to": date(2026, 1, 1)}, "valid_to = 2026-01-01 should come after valid_from = 2026-01-01"),
        ({"write_long": 2.0}, "write_long = 2.0 and write_long_hours = None belong together"),
        ({"write_long": 2.0, "write_long_hours": 0}, "write_long_hours = 0 should be at least 1"),
        ({"thinking_output": -1.0}, "thinking_output = -1.0 should be a finite price"),
        ({"storage": float("inf")}, "storage = inf should be a finite price"),
        (
            {"min_input_tokens": 9, "max_input_tokens": 8},
            "min_input_tokens = 9 should lie from 0 to max_input_tokens",
        ),
        ({"host_of": "b"}, "product = 'a-1' should look like host/product just where host_of is given"),
        ({"product": "x/a-1"}, "product = 'x/a-1' should look like host/product"),
    ],
)
def test_a_row_that_makes_no_sense_is_refused(change, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        dataclasses.replace(ROW, **change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"factor": 0.0}, "factor = 0.0 should be above 0"),
        ({"hit_factor": float("nan")}, "hit_factor = nan should be above 0"),
        ({"name": "Batch"}, "name = 'Batch' should be a name in lower case"),
    ],
)
def test_a_service_that_makes_no_sense_is_refused(change, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        dataclasses.replace(SERVICE, **change)


def test_holidays_say_how_far_they_are_known():
    real = CATALOG.windows[-1]
    assert real.holidays_known_to == date(2026, 12, 31)
    with pytest.raises(ValueError, match="holidays need holidays_known_to"):
        dataclasses.replace(real, holidays_known_to=None)
    assert isinstance(real, PriceWindow)


def lists(**parts):
    return PriceLists(**({"prices": (ROW,), "windows": (), "successions": (), "services": (), "aliases": ()} | parts))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"services": (dataclasses.replace(SERVICE, products=("b",)),)}, "service 'batch': A does not sell 'b'"),
        ({"aliases": (dataclasses.replace(ALIAS, product="b"),)}, "alias 'a-one' is of 'b', no product with a price"),
        ({"aliases": (dataclasses.replace(ALIAS, name="a-1"),)}, "alias 'a-1' is itself a product with a price"),
        ({"aliases": (ALIAS, ALIAS)}, "alias 'a-one' means 'a-1' and 'a-1' at one time"),
        (
            {"prices": (ROW, dataclasses.replace(ROW, product="h/b", host_of="b"))},
            "host_of = 'b' of 'h/b' is no product with a price",
        ),
    ],
)
def test_lists_that_do_not_fit_together_are_refused(parts, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        lists(**parts)


def test_a_name_may_move_from_product_to_product():
    other = dataclasses.replace(ROW, product="a-2")
    first = dataclasses.replace(ALIAS, valid_to=date(2026, 3, 1))
    lists(prices=(ROW, other), aliases=(first, dataclasses.replace(ALIAS, product="a-2", valid_from=date(2026, 3, 1))))


def test_a_name_meant_what_deepseek_served():
    """deepseek-chat on four days: V3, V3.1, V3.2, V4-Flash; after 2026-07-24 nobody."""

    def meant(day):
        at = datetime.fromisoformat(day).replace(tzinfo=UTC)
        return [
            a.product
            for a in CATALOG.aliases
            if a.name == "deepseek-chat" and start_of(a.valid_from) <= at < start_of(a.valid_to)
        ]

    days = ("2025-01-10", "2025-09-10", "2025-12-01", "2026-06-01", "2026-08-01")
    assert [meant(day) for day in days] == [
        ["deepseek-v3"],
        ["deepseek-v3.1"],
        ["deepseek-v3.2"],
        ["deepseek-v4-flash"],
        [],
    ]


KEYS = sorted({(r.product, r.currency, r.published_by) for r in CATALOG.prices})


@given(
    key=st.sampled_from(KEYS),
    minutes=st.integers(0, 60 * 24 * 3 * 365),
    tokens=st.one_of(
        st.integers(0, 2_000_000),
        st.sampled_from([n + d for n in (32, 100, 128, 200, 256, 272, 512) for d in (-1, 0, 1)]).map(
            lambda n: n * 1000
        ),
    ),
)
def test_one_row_bills_a_call(key, minutes, tokens):
    """At any minute from 2024-03 on, for any prompt: one row, or none before the first and after the last."""
    product, currency, publisher = key
    at = datetime(2024, 3, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    rows = [r for r in CATALOG.prices if (r.product, r.currency, r.published_by) == key]
    live = [r for r in rows if start_of(r.valid_from) <= at and (not r.valid_to or at < start_of(r.valid_to))]
    fitting = [
        r
        for r in live
        if r.min_input_tokens <= tokens
        and (r.max_input_tokens is None or tokens <= r.max_input_tokens)
        and r.window in (None, prices.window_at(r.provider, at))
    ]
    assert len(fitting) <= 1
    if live and (product, currency) != ("mimo-v2.5", "CNY"):
        assert fitting, (key, at, tokens)
    assert publisher in ("provider", "article-e")


@pytest.mark.parametrize("service", CATALOG.services, ids=lambda s: f"{s.provider}-{s.name}-{s.factor:g}")
def test_services_are_of_products_sold_then(service):
    for product in service.products:
        rows = [r for r in CATALOG.prices if (r.product, r.provider) == (product, service.provider)]
        assert rows
        assert service.valid_to is None
    assert service.factor < 1 or service.name not in ("batch", "flex")
    assert service.factor > 1 or service.name not in ("priority", "ultrafast", "fast", "us", "eu")


def test_one_service_of_a_name_for_a_product():
    for product in {r.product for r in CATALOG.prices}:
        seller = next(r.provider for r in CATALOG.prices if r.product == product)
        names = [s.name for s in CATALOG.services if s.provider == seller and (not s.products or product in s.products)]
        assert len(names) == len(set(names)), (product, names)


@pytest.mark.parametrize(
    ("product", "name", "factor", "hit_factor"),
    [  # litellm 1.110.2: prices of the service over the plain ones
        ("gpt-6.1-sol", "batch", 0.5, None),
        ("gpt-5.5", "priority", 2.5, None),
        ("gpt-5-mini", "priority", 1.8, None),
        ("gpt-6-astra", "ultrafast", 6, None),
        ("claude-opus-5.5", "fast", 2, None),
        ("claude-haiku-4.5", "batch", 0.5, None),
        ("gemini-2.5-pro", "batch", 0.5, 1),
        ("gemini-3.1-pro", "flex", 0.5, 1),
        ("gemini-4-argon", "batch", 0.5, None),
        ("gemini-4-argon", "priority", 1.8, None),
        ("grok-4.7", "batch", 0.8, None),
    ],
)
def test_services_say_what_the_lists_do(product, name, factor, hit_factor):
    seller = next(r.provider for r in CATALOG.prices if r.product == product)
    (found,) = (
        s
        for s in CATALOG.services
        if (s.provider, s.name) == (seller, name) and (not s.products or product in s.products)
    )
    assert (found.factor, found.hit_factor) == (factor, hit_factor)


@pytest.mark.parametrize("publisher", ["provider", "article-e"])
def test_rows_are_found_by_product_as_in_the_file(publisher):
    mine = [row for row in CATALOG.prices if row.published_by == publisher]
    found = CATALOG.rows_of[publisher]
    assert list(found) == sorted({row.product for row in mine})
    for product, rows in found.items():
        assert set(rows) == {row for row in mine if row.product == product}
        starts = [start_of(row.valid_from) for row in rows]
        assert starts == sorted(starts)


def test_a_changed_catalog_finds_its_own_rows_and_names():
    changed = dataclasses.replace(CATALOG, prices=(ROW,), aliases=(ALIAS,))
    assert CATALOG.rows_of["provider"].keys() > {"gpt-5.5"} and "deepseek-chat" in CATALOG.meanings
    assert changed.rows_of["provider"] == {"a-1": (ROW,)} and changed.meanings == {"a-one": (ALIAS,)}
