"""Money: the bill of a workload at a catalogued price, on a date, in a currency.

`workload` says what is billed, `names` which product a name means, `lists` which row of a price list applies, `hours`
when it is peak, `spread` what a day or week is made of, `charges` what counted tokens cost exactly, `notes` what an
amount does not show, `bills` what a workload costs; `validity` is what they share.

>>> from costlab import prices
>>> load = prices.Workload(input_tokens=32_768, output_tokens=8_192, hit_rate=0.5, calls=10)
>>> round(prices.bill("deepseek-v4-pro", load, "2026-06-01").total, 3)
0.143

Counts as a provider's record has them are charged to the last digit:

>>> row = prices.price_at("claude-opus-4.8", "2026-07-12", input_tokens=12_307)
>>> prices.charge(row, prices.Counts(miss=3, write=12_304, output=550)).total
Decimal('0.090665')

Chapter: prices
"""

from __future__ import annotations

from costlab.catalog import LESSON_DAY, currencies, exchange_rate, moment
from costlab.catalog.price_lists import Publisher
from costlab.prices.bills import Bill, bill
from costlab.prices.charges import Charge, UnitPrices, charge, unit_prices
from costlab.prices.hours import window_at
from costlab.prices.lines import LINES, ProductLine
from costlab.prices.lists import (
    Announced,
    announced_change,
    blended_input,
    chip_rent,
    cut,
    history,
    hit_price,
    in_tier,
    price_at,
    rows_on,
    service_of,
    tier_text,
)
from costlab.prices.names import products, resolve
from costlab.prices.notes import Traits, prices_text, row_notes, seller_note
from costlab.prices.spread import Over, Portion, bounds, mean_prices, portions
from costlab.prices.workload import Counts, Workload

__all__ = [
    "LESSON_DAY", "LINES", "Announced", "Bill", "Charge", "Counts", "Over", "Portion", "ProductLine", "Publisher",
    "Traits", "UnitPrices", "Workload", "announced_change", "bill", "blended_input", "bounds", "charge", "chip_rent",
    "currencies", "cut", "exchange_rate", "history", "hit_price", "in_tier", "mean_prices", "moment", "portions",
    "price_at", "prices_text", "products", "resolve", "row_notes", "rows_on", "seller_note", "service_of",
    "tier_text", "unit_prices", "window_at",
]  # fmt: skip
