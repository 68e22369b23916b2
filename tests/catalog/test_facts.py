"""The catalog's entries themselves: sourced, dated, and consistent with one another."""

import dataclasses
import itertools
from datetime import UTC, date, datetime, time, timedelta

import pytest

from costlab import catalog
from costlab.catalog.limits import OperationEnergy, PhysicalConstant

CATALOG = catalog.tables()
# The catalog was compiled on this day; later dates are misprints.
COMPILED = date(2026, 11, 27)


def entries():
    """Every entry of every file, with a name that says where it stands."""
    files = [(field.name, getattr(CATALOG, field.name)) for field in dataclasses.fields(CATALOG)]
    files += [(field.name, getattr(CATALOG.serving, field.name)) for field in dataclasses.fields(CATALOG.serving)]
    for name, table in files:
        if name in ("claims", "serving"):  # a claim's source is its articles; what serving holds comes table by table
            continue
        rows = table.items() if hasattr(table, "items") else enumerate(table)
        for key, entry in rows:
            yield pytest.param(entry, id=f"{name}-{key}")
            for part in ("offers", "supply"):
                for i, row in enumerate(getattr(entry, part, ())):
                    yield pytest.param(row, id=f"{name}-{key}-{part}{i}")


@pytest.mark.parametrize("entry", list(entries()))
def test_every_entry_has_a_source_and_a_date(entry):
    """What physics or a process of manufacture fixes may be older than what the market does."""
    fixed = isinstance(entry, PhysicalConstant | OperationEnergy)
    assert len(entry.source.strip()) > 8
    assert date(2014 if fixed else 2022, 1, 1) <= entry.date <= COMPILED


def test_every_claim_names_its_articles():
    for key, claim in CATALOG.claims.items():
        assert claim.articles, key
        assert set(claim.articles) <= CATALOG.articles.keys(), key


def test_every_file_is_full():
    """Guards the loop above: an empty catalog would pass it."""
    assert len(CATALOG.models) >= 12
    assert {"a100-80g", "h100-sxm", "h800", "h200", "b200", "ascend-910b"} <= CATALOG.chips.keys()
    assert len(CATALOG.prices) > 60
    assert len(CATALOG.fx) > 10
    assert CATALOG.days
    assert len(CATALOG.scenarios) == 4
    assert len(CATALOG.windows) >= 3


# --- prices ----------------------------------------------------------------------------------------------------


def instant(when):
    if isinstance(when, datetime):
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    return datetime.combine(when, time(0), UTC)


def overlap(a, b):
    """Whether both rows could bill the same call."""
    end = datetime.max.replace(tzinfo=UTC)
    if instant(a.valid_from) >= (instant(b.valid_to) if b.valid_to else end):
        return False
    if instant(b.valid_from) >= (instant(a.valid_to) if a.valid_to else end):
        return False
    most = float("inf")
    tiers_meet = a.min_input_tokens <= (b.max_input_tokens or most) and b.min_input_tokens <= (
        a.max_input_tokens or most
    )
    return tiers_meet and (a.window is None or b.window is None or a.window == b.window)


def test_at_most_one_price_bills_a_call():
    def group(row):
        return row.product, row.currency, row.published_by

    for key, rows in itertools.groupby(sorted(CATALOG.prices, key=group), key=group):
        for a, b in itertools.combinations(rows, 2):
            assert not overlap(a, b), f"{key}: {a} and {b}"


def test_overlap_can_be_seen():
    a = CATALOG.prices[0]
    assert overlap(a, a)
    assert not overlap(a, dataclasses.replace(a, valid_from=a.valid_to, valid_to=None))


def test_price_rows_are_well_formed():
    for row in CATALOG.prices:
        assert row.valid_to is None or instant(row.valid_from) < instant(row.valid_to), row
        assert row.min_input_tokens <= (row.max_input_tokens or row.min_input_tokens), row
        assert 0 < row.miss <= row.output, row  # in every catalogued list output costs most
        assert row.hit is None or 0 < row.hit < row.miss, row
        assert row.write is None or row.write >= row.miss, row
        assert row.model is None or row.model in CATALOG.models, row


def test_tiers_leave_no_gap():
    """A list prices every prompt from 0 tokens on, each by one row, at each instant at which its rows change.

    One list has no end: Xiaomi's yuan list of V2.5 before the cut, whose price of long prompts was not found.
    """

    def group(row):
        return row.product, row.currency, row.published_by

    for key, rows in itertools.groupby(sorted(CATALOG.prices, key=group), key=group):
        rows = list(rows)
        for at in sorted({instant(r.valid_from) for r in rows}):
            live = [r for r in rows if instant(r.valid_from) <= at and (not r.valid_to or at < instant(r.valid_to))]
            for window in {r.window for r in live}:
                tiers = sorted((r.min_input_tokens, r.max_input_tokens) for r in live if r.window == window)
                assert tiers[0][0] == 0, key
                assert all(b[0] == a[1] + 1 for a, b in itertools.pairwise(tiers)), (key, at, tiers)
                assert tiers[-1][1] is None or key[:2] == ("mimo-v2.5", "CNY"), (key, at, tiers)


@pytest.mark.parametrize(
    ("product", "last_cheap"),
    [
        ("gpt-5.5", 272_000),
        ("gpt-6.1-sol", 272_000),
        ("gemini-3.1-pro", 200_000),
        ("claude-haiku-5.5", 100_000),
        ("grok-4.7", 199_999),
        ("minimax-m3", 512_000),
        ("qwen3.7-plus", 256_000),
    ],
)
def test_tier_borders_are_the_vendors(product, last_cheap):
    """xAI's 200,000 itself is dear; OpenAI's, Google's, Anthropic's and MiniMax's border belongs to the cheap tier."""
    from costlab import prices

    cheap, dear = (prices.price_at(product, "2026-11-25", input_tokens=n) for n in (last_cheap, last_cheap + 1))
    assert cheap.miss < dear.miss


WRITES = [  # product, hours of the longer lifetime, both write prices over the price of a miss
    ("Anthropic", 1, 1.25, 2.0),
    ("OpenAI", 12, 1.25, 2.5),
    ("Moonshot AI", 1, 1.0, 2.0),
]


@pytest.mark.parametrize(("provider", "hours", "short", "long"), WRITES)
def test_writes_of_both_lifetimes(provider, hours, short, long):
    """Anthropic documents its multipliers; each provider has one pair of them for all its products."""
    rows = [r for r in CATALOG.prices if r.provider == provider and r.write_long is not None]
    assert len(rows) >= 3
    for row in rows:
        assert row.write_long_hours == hours
        assert row.write / row.miss == pytest.approx(short), row
        assert row.write_long / row.miss == pytest.approx(long), row


def test_windowed_rows_come_in_pairs_and_have_a_window():
    for row in CATALOG.prices:
        if row.window:
            other = {"peak": "off-peak", "off-peak": "peak"}[row.window]
            twin = dataclasses.replace(row, window=other)
            keys = ("product", "currency", "valid_from", "valid_to", "window")
            assert any(all(getattr(r, k) == getattr(twin, k) for k in keys) for r in CATALOG.prices), row
            assert any(w.provider == row.provider for w in CATALOG.windows)


def test_windows_follow_one_another():
    rules = sorted(CATALOG.windows, key=lambda w: (w.provider, instant(w.valid_from)))
    for a, b in itertools.pairwise(rules):
        if a.provider == b.provider:
            assert a.valid_to is not None
            assert instant(a.valid_to) <= instant(b.valid_from), f"{a.name} and {b.name}"
    for rule in rules:
        assert all(start != end for start, end in rule.hours)


def test_off_peak_is_half_since_august_2026():
    """DeepSeek's page of 2026-08-16: off-peak is half of peak, in both currencies and all three prices."""
    since = datetime(2026, 8, 16, 16, tzinfo=UTC)
    rows = [r for r in CATALOG.prices if r.provider == "DeepSeek" and r.window and instant(r.valid_from) >= since]
    peak = {(r.product, r.currency): r for r in rows if r.window == "peak"}
    assert len(peak) == 6
    for low in (r for r in rows if r.window == "off-peak"):
        high = peak[low.product, low.currency]
        for part in ("hit", "miss", "output"):
            assert getattr(low, part) * 2 == pytest.approx(getattr(high, part)), (low.product, part)


@pytest.mark.parametrize(
    ("product", "currency", "day", "hit", "miss", "output"),
    [
        ("deepseek-v3", "CNY", "2024-12-27", 0.1, 1, 2),
        ("deepseek-v3", "USD", "2025-02-10", 0.07, 0.27, 1.10),
        ("deepseek-r1", "USD", "2025-02-10", 0.14, 0.55, 2.19),
        ("deepseek-v3.1", "USD", "2025-09-10", 0.07, 0.56, 1.68),
        ("deepseek-v3.2", "USD", "2025-10-10", 0.028, 0.28, 0.42),
        ("deepseek-v4-pro", "USD", "2026-04-24", 0.145, 1.74, 3.48),
        ("deepseek-v4-pro", "CNY", "2026-04-24", 1, 12, 24),
        ("deepseek-v4-pro", "USD", "2026-06-01", 0.003625, 0.435, 0.87),
        ("deepseek-v4-pro", "CNY", "2026-06-01", 0.025, 3, 6),
        ("deepseek-v4-flash", "USD", "2026-06-01", 0.0028, 0.14, 0.28),
        ("mimo-v2.5-pro", "USD", "2026-05-01", 0.20, 1, 3),
        ("mimo-v2.5-pro", "CNY", "2026-06-01", 0.025, 3, 6),
        ("mimo-v2.5", "CNY", "2026-06-01", 0.02, 1, 2),
        ("gpt-5.5", "USD", "2026-06-01", 0.50, 5, 30),
        ("claude-opus-4.7", "USD", "2026-06-01", 0.50, 5, 25),
        ("glm-5", "USD", "2026-06-01", 0.20, 1, 3.2),
        ("qwen-plus", "USD", "2025-12-01", None, 0.40, 1.20),
        ("qwen-plus", "USD", "2026-06-01", 0.08, 0.40, 1.20),
        ("qwen-plus", "CNY", "2026-06-01", 0.16, 0.80, 2),
        ("kimi-k2.6", "USD", "2026-06-01", 0.16, 0.95, 4),
        ("kimi-k2.6", "CNY", "2026-06-01", 1.1, 6.5, 27),
        ("mimo-v2.5", "USD", "2026-05-01", 0.08, 0.40, 2),
        ("deepseek-v4-pro", "CNY", "2026-04-25", 0.25, 3, 6),
        ("mimo-v2.6-pro", "USD", "2026-11-25", 0.0036, 0.435, 0.87),
        ("mimo-v2.6-pro", "CNY", "2026-11-25", 0.025, 3, 6),
        ("mimo-v2.6-flash", "USD", "2026-11-25", 0.0028, 0.14, 0.28),
        ("mimo-v2.6-flash", "CNY", "2026-11-25", 0.02, 1, 2),
        ("gpt-4o", "USD", "2024-09-01", 1.25, 2.5, 10),
        ("gpt-4o-2024-05-13", "USD", "2024-05-13", None, 5, 15),
        ("gpt-4o-2024-05-13", "USD", "2026-10-22", None, 5, 15),
        ("openai/gpt-4o-2024-05-13", "USD", "2025-01-01", None, 5, 15),
        ("claude-opus-3", "USD", "2024-09-01", 1.5, 15, 75),
        ("claude-opus-4.5", "USD", "2025-12-01", 0.5, 5, 25),
        ("gpt-5", "USD", "2025-09-01", 0.125, 1.25, 10),
        ("gpt-5.6-luna", "USD", "2026-07-29", 0.1, 1, 6),
        ("gpt-5.6-luna", "USD", "2026-07-30", 0.02, 0.2, 1.2),
        ("gpt-6.1-sol", "USD", "2026-11-25", 0.1, 2, 10),
        ("gpt-6-luna", "USD", "2026-11-25", 0.01, 0.1, 0.5),
        ("claude-haiku-5.5", "USD", "2026-11-25", 0.01, 0.1, 0.5),
        ("claude-fable-5.2", "USD", "2026-11-25", 0.2, 8, 40),
        ("gemini-4-argon", "USD", "2026-11-30", 0.1, 2, 10),
        ("gemini-4-argon", "USD", "2026-12-01", 0.2, 4, 20),
        ("gemini-3.8-flash", "USD", "2026-12-31", 0.075, 0.75, 3.75),
        ("gemini-3.8-flash", "USD", "2027-01-01", 0.15, 1.5, 7.5),
        ("kimi-k3", "USD", "2026-08-01", 0.3, 3, 15),
        ("glm-5.3-flash", "CNY", "2026-09-01", 0.115, 0.4, 1.4),
        ("glm-5.3-flash", "CNY", "2026-11-25", 0.23, 0.8, 2.8),
        ("minimax-m3", "USD", "2026-06-15", 0.12, 0.6, 2.4),
        ("mistral-large-4", "USD", "2026-10-25", 0.14, 1.36, 4.18),
        ("mistral-large-4", "USD", "2026-11-25", 0.07, 0.7, 2.1),
        ("qwen3.8-max", "CNY", "2026-11-25", 1.5, 12, 36),
        ("gmi/mimo-v2.5-pro", "USD", "2026-11-26", 0.00252, 0.3045, 0.609),
    ],
)
def test_price_lists_say_what_was_printed(product, currency, day, hit, miss, output):
    """Typed again from the price pages, apart from the catalog."""
    from costlab import prices

    row = prices.price_at(product, day, currency=currency)
    assert (row.currency, row.hit, row.miss, row.output) == (currency, hit, miss, output)


@pytest.mark.parametrize(
    ("product", "currency", "miss", "hit"),
    [("qwen-plus", "USD", 1.2, 0.24), ("mimo-v2.5", "USD", 0.8, 0.16), ("mimo-v2.5-pro", "USD", 2, 0.4)],
)
def test_hit_prices_of_long_inputs(product, currency, miss, hit):
    from costlab import prices

    row = prices.price_at(product, "2026-05-01", input_tokens=300_000, currency=currency)
    assert (row.currency, row.miss, row.hit) == (currency, miss, hit)


def test_few_lists_have_no_hit_price():
    """Every other provider's row has one; where it is missing, a bill says so."""
    missing = {(r.product, r.valid_to) for r in CATALOG.prices if r.hit is None and r.published_by == "provider"}
    gpt = {("gpt-4o", date(2024, 8, 6)), ("gpt-4o-2024-05-13", date(2026, 10, 23))}
    assert missing == {("qwen-plus", date(2026, 1, 29))} | gpt


def test_a_product_that_has_ended_says_what_followed():
    """Each has one successor, the chain of them ends, and a name that is billed is billed at catalogued prices."""
    provider = [r for r in CATALOG.prices if r.published_by == "provider"]
    known = {r.product for r in provider}
    ended = known - {r.product for r in provider if r.valid_to is None}
    heirs = {s.product: s for s in CATALOG.successions}
    assert heirs.keys() == ended
    assert len(heirs) == len(CATALOG.successions)
    for found in CATALOG.successions:
        assert found.superseded_by in known or not found.name_billed
        chain = [found.product]
        while chain[-1] in heirs:
            chain.append(heirs[chain[-1]].superseded_by)
            assert len(set(chain)) == len(chain)


@pytest.mark.parametrize(
    ("product", "end"),
    [  # Xiaomi's notice: 10:00 in Beijing; litellm's deprecation_date; DeepSeek's news of 2026-09-10
        ("mimo-v2.5-pro", datetime(2026, 10, 21, 2, tzinfo=UTC)),
        ("mimo-v2.5", datetime(2026, 10, 21, 2, tzinfo=UTC)),
        ("claude-opus-4", datetime(2026, 6, 15, tzinfo=UTC)),
        ("deepseek-v4-flash", datetime(2026, 9, 10, 4, tzinfo=UTC)),
    ],
)
def test_retired_products_end(product, end):
    rows = [r for r in CATALOG.prices if (r.product, r.published_by) == (product, "provider")]
    for currency in {r.currency for r in rows}:
        assert max(instant(r.valid_to or date.max) for r in rows if r.currency == currency) == end


# --- exchange rates --------------------------------------------------------------------------------------------


def test_implied_and_claimed_rates_stay_near_the_market():
    """A list in two currencies implies a rate within 3% of the market's latest; the article's 7.25 is 7% above."""
    market = [r for r in CATALOG.fx if not r.implied and not r.claim and r.quote == "CNY"]
    implied = [r for r in CATALOG.fx if r.implied]
    claimed = [r for r in CATALOG.fx if r.claim]
    assert len(implied) == 4
    assert len(claimed) == 1

    def gap(row):
        latest = max((m for m in market if m.date <= row.date), key=lambda m: m.date)
        return row.rate / latest.rate - 1

    assert all(abs(gap(row)) < 0.03 for row in implied)
    assert gap(claimed[0]) == pytest.approx(0.07, abs=0.005)


def test_market_rates_are_the_divisions_their_sources_show():
    for row in CATALOG.fx:
        if "CNY /" in row.source and row.source.startswith("ECB"):
            cny, usd = (float(part.split()[0]) for part in row.source.split(": ")[1].split(" / "))
            assert row.rate == pytest.approx(cny / usd, abs=5e-5), row
        elif row.source.startswith("ECB"):
            assert row.rate == pytest.approx(1 / float(row.source.split(" = ")[1].split()[0]), abs=5e-5), row


@pytest.mark.parametrize(
    ("quote", "day", "rate"),
    [  # ECB crosses of days between the catalogue's rows; once the last row was months old, 15% off
        ("CNY", "2026-04-14", 6.8158),
        ("CNY", "2026-09-22", 6.7001),
        ("CNY", "2026-10-15", 6.6910),
        ("EUR", "2026-01-28", 0.8351),
    ],
)
def test_rates_are_a_month_old_at_most(quote, day, rate):
    from costlab import prices

    assert prices.exchange_rate("USD", quote, day) == pytest.approx(rate, rel=0.025)
    for base in ("CNY", "EUR"):
        days = sorted(r.date for r in CATALOG.fx if r.quote == base and not r.implied and not r.claim)
        assert max(b - a for a, b in itertools.pairwise(days) if a.year > 2024) <= timedelta(days=35)


def test_implied_rates_are_those_of_the_price_rows():
    from costlab import prices

    for row in (r for r in CATALOG.fx if r.implied):
        day = row.date + timedelta(days=1)
        product = next(p for p in ("V4.1-Flash", "V4-Pro", "V3") if f"lists for {p}" in row.source)
        usd, cny = (prices.price_at(f"deepseek-{product.lower()}", day, currency=c) for c in ("USD", "CNY"))
        assert (usd.currency, cny.currency) == ("USD", "CNY")
        assert cny.miss / usd.miss == pytest.approx(row.rate, rel=1e-4), (row.date, product)


# --- chips -----------------------------------------------------------------------------------------------------

PRECISIONS = {"fp4", "fp8", "int8", "bf16", "fp16", "tf32", "fp32"}
#: FLOP/s of the first over those of the second, where it is not 2.
UNLIKE = {("b300", "fp4", "fp8"): 3.0}


@pytest.mark.parametrize("key", list(CATALOG.chips))
def test_chip_rates_are_dense_and_halve_with_width(key):
    """A matrix unit's rate doubles as the width halves; printed rates with 2:4 sparsity would be twice as high.

    Ascend's INT8 is twice its FP16, and its BF16 lies up to 12% under that.
    """
    chip = CATALOG.chips[key]
    flops = chip.flops
    assert flops.keys() <= PRECISIONS
    assert 0.87 <= flops["bf16"] / flops["fp16"] <= 1
    for narrow, wide in (("fp4", "fp8"), ("fp8", "fp16"), ("int8", "fp16"), ("bf16", "tf32")):
        if narrow in flops and wide in flops:
            assert flops[narrow] == pytest.approx(UNLIKE.get((key, narrow, wide), 2) * flops[wide], rel=0.03), narrow
    # FLOP per byte of memory traffic at BF16, dense: with sparsity above 400
    assert 30 < flops["bf16"] / chip.memory_bandwidth_bytes_s < 320
    assert chip.link_bytes_s < chip.memory_bandwidth_bytes_s
    assert chip.network_bytes_s is None or chip.network_bytes_s < chip.link_bytes_s


@pytest.mark.parametrize("key", list(CATALOG.chips))
def test_power_of_chips_and_nodes_fits_together(key):
    chip = CATALOG.chips[key]
    if chip.power_w and chip.node_power_w:
        assert chip.chips_per_node * chip.power_w < chip.node_power_w < 2.2 * chip.chips_per_node * chip.power_w
    if chip.idle_power_w:
        rated = chip.power_w or (chip.node_power_w or 0) / chip.chips_per_node or 400  # where neither is known
        assert 0.1 <= chip.idle_power_w / rated < 0.3


def test_what_was_not_found_is_left_out():
    """No power of five Ascends and no network of three; asking for the network says so."""
    chips = CATALOG.chips
    unpowered = {key for key, chip in chips.items() if chip.power_w is chip.node_power_w is None}
    assert unpowered == {"ascend-910b3", "ascend-910b4", "ascend-910b4-1", "ascend-950pr", "ascend-950dt"}
    assert {k for k, chip in chips.items() if chip.network_bytes_s is None} == {
        "ascend-910b4", "ascend-950pr", "ascend-950dt",
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"network of Huawei Ascend 910B4 \(PCIe\) is known beyond its 8"):
        _ = chips["ascend-910b4"].network
    assert chips["h800"].network == 50e9


MSM = [  # Huawei's own performance model, tensor_cast/device.py at 84fec853d670: TFLOP/s, GiB, TiB/s, GB/s
    ("ascend-910b", 99.5, 353.9, 376, 752, 64, 1.6, 196),
    ("ascend-910b3", 83, 294.9, 313, 626, 64, 1.6, 196),
    ("ascend-910b4-1", 75, 245.8, 280, 560, 64, 1.6, 196),
    ("ascend-910b4", 75, 245.8, 280, 560, 32, 0.8, 64),
    ("ascend-910c", 2 * 99.5, 2 * 353.9, 2 * 376, 2 * 752, 128, 3.2, 2 * 196),
    ("atlas-350", 189, 378, 378, 756, 112, 1.4, 159),
]


@pytest.mark.parametrize(("key", "fp32", "bf16", "fp16", "int8", "gib", "tib_s", "link"), MSM)
def test_ascends_say_what_huaweis_model_has(key, fp32, bf16, fp16, int8, gib, tib_s, link):
    """Typed again from there. Memory in powers of two, as npu-smi shows it: 65,536 MiB."""
    chip = CATALOG.chips[key]
    found = [chip.flops[name] / 1e12 for name in ("fp32", "bf16", "fp16", "int8")]
    assert found == pytest.approx([fp32, bf16, fp16, int8])
    assert chip.memory_bytes == gib * 2**30
    assert chip.memory_bandwidth_bytes_s == pytest.approx(tib_s * 2**40, abs=1)
    assert chip.link_bytes_s == link * 1e9


def test_ascends_without_fp8_serve_in_int8_and_say_so():
    for key, *_ in MSM:
        chip = CATALOG.chips[key]
        assert dict(chip.serves) == ({} if "fp8" in chip.flops else {"fp8": "int8", "fp4xfp8": "int8"})


def test_int8_of_the_910c_is_not_the_misprint():
    """The CloudMatrix paper prints 6,688 tokens a second and 4.45 of them for each TFLOPS of INT8."""
    assert CATALOG.chips["ascend-910c"].flops["int8"] / 1e12 == pytest.approx(6688 / 4.45, rel=1e-3)
    assert CATALOG.runs["r1-cloudmatrix-prefill"].tokens_s_chip == 6688


def test_article_es_910b_is_none_of_the_variants():
    """256 TFLOPS are the Ascend 910's of 2019."""
    for key in ("ascend-910b", "ascend-910b3", "ascend-910b4", "ascend-910b4-1"):
        flops = CATALOG.chips[key].flops
        assert all(abs(flops[name] / 256e12 - 1) > 0.03 for name in ("bf16", "fp16"))


@pytest.mark.parametrize(
    ("key", "bf16", "fp8", "fp4", "gb", "tb_s", "link", "domain"),
    [  # InferenceX's gpu-specs.ts at 77ca49a67919 but for the H20s, three public tables: all dense, links one way
        ("h100-sxm", 989, 1979, None, 80, 3.35, 450, 8),
        ("h200", 989, 1979, None, 141, 4.8, 450, 8),
        ("b200", 2250, 4500, 9000, 180, 8, 900, 8),
        ("b300", 2250, 4500, 13500, 268, 8, 900, 8),
        ("gb200", 2500, 5000, 10000, 192, 8, 900, 72),
        ("mi300x", 1307, 2615, None, 192, 5.3, 448, 8),
        ("h20", 148, 296, None, 96, 4.0, 450, 8),
        ("h20-141", 148, 296, None, 141, 4.8, 450, 8),
    ],
)
def test_other_chips_say_what_their_tables_have(key, bf16, fp8, fp4, gb, tb_s, link, domain):
    chip = CATALOG.chips[key]
    assert [chip.flops[n] / 1e12 for n in ("bf16", "fp8")] == pytest.approx([bf16, fp8], rel=1e-3)
    assert chip.flops.get("fp4") == (fp4 and fp4 * 1e12)
    assert (chip.memory_bytes, chip.chips_per_node) == (gb * 10**9, domain)
    assert [chip.memory_bandwidth_bytes_s, chip.link_bytes_s] == pytest.approx([tb_s * 1e12, link * 1e9])


@pytest.mark.parametrize(
    ("key", "bf16_tflops", "memory_gb", "bandwidth_tb_s"),
    [  # vendors' data sheets, dense; Ascend has none, see its note
        ("a100-80g", 312, 80, 2.039),
        ("h100-sxm", 989, 80, 3.35),
        ("h800", 989, 80, 3.35),
        ("h200", 989, 141, 4.8),
        ("b200", 2250, 180, 8.0),
    ],
)
def test_chips_say_what_the_data_sheets_print(key, bf16_tflops, memory_gb, bandwidth_tb_s):
    chip = CATALOG.chips[key]
    assert chip.flops["bf16"] / 1e12 == pytest.approx(bf16_tflops, rel=1e-3)
    assert chip.memory_bytes == memory_gb * 10**9  # the number on the box, which a plan made with it fits
    assert chip.memory_bandwidth_bytes_s == pytest.approx(bandwidth_tb_s * 1e12)


def test_h800_is_an_h100_with_a_slower_link():
    h800, h100 = CATALOG.chips["h800"], CATALOG.chips["h100-sxm"]
    assert h800.flops == h100.flops
    assert h800.link_bytes_s * 2 == 400e9  # both directions
    assert h100.link_bytes_s * 2 == 900e9


def test_what_an_article_claims_is_marked():
    claims = [o for c in CATALOG.chips.values() for o in c.offers if "article" in o.source]
    assert claims
    assert all(o.kind == "claim-price" for o in claims)
    assert all(r.claim for r in CATALOG.fx if "article" in r.source)
    assert all(r.published_by == "article-e" for r in CATALOG.prices if r.source.startswith("article E"))
    assert not set(CATALOG.claimed_models) & set(CATALOG.models)


# --- drafters --------------------------------------------------------------------------------------------------

BY_BATCH = [key for key, row in CATALOG.speedups.items() if len(row.batches) > 1]


def test_there_are_curves_and_speedups_to_build_on():
    full = [curve for curve in CATALOG.curves.values() if len(curve.draft_lengths) == 8]
    assert {curve.drafter for curve in full} == {"MTP", "EAGLE-3", "DSpark"}
    assert len(CATALOG.speedups) > 40
    assert sum(len(row.speedups) for row in CATALOG.speedups.values()) > 100
    assert len(BY_BATCH) > 12


@pytest.mark.parametrize("table", ["curves", "positions", "entropy_fits", "speedups"])
def test_drafters_serve_known_models_and_say_where_they_were_read(table):
    rows = getattr(CATALOG, table).values()
    assert all(row.model is None or row.model in CATALOG.models for row in rows)
    assert all(row.task if table != "entropy_fits" else row.target for row in rows)
    notes = [
        row
        for row in rows
        if any(word in row.source for word in ("in a research note", "in summaries", "in a summary"))
    ]
    assert all(row.read == "second hand" for row in notes)


def test_thinking_is_harder_to_draft():
    """With the same model and drafter, at each length: the text of a chain of thought is accepted less, or as much."""
    for thinking, plain in (("v4-pro-thinking", "v4-pro"),):
        pairs = zip(CATALOG.curves[thinking].accepted_lengths, CATALOG.curves[plain].accepted_lengths, strict=True)
        assert all(a < b for a, b in pairs)


@pytest.mark.parametrize("key", [key for key in BY_BATCH if not key.startswith("mimo")])
def test_drafting_gains_less_in_a_large_batch(key):
    """Short contexts: every published row falls from its smallest batch to its largest, though not at every step."""
    gains = CATALOG.speedups[key].speedups
    assert gains[-1] < gains[0]
    assert max(gains) <= gains[0] + 0.011  # one row gains a hundredth before it falls


def test_long_contexts_turn_it_round():
    """MagicDec: at 64 sequences a loss at 4K becomes a gain at 64K."""
    short, long = CATALOG.speedups["magicdec-4k"], CATALOG.speedups["magicdec-64k"]
    assert short.batches == long.batches == (64,)
    assert short.speedups[0] < 1 < long.speedups[0]


def test_vllms_slowdowns_are_inverted():
    """Published as 1.4 and 1.8 times slower."""
    assert CATALOG.speedups["llama-3-70b-draft-busy"].speedups[0] == pytest.approx(1 / 1.4, abs=0.005)
    assert CATALOG.speedups["llama-3-70b-ngram-busy"].speedups[0] == pytest.approx(1 / 1.8, abs=0.005)


def test_papers_measure_more_than_one_machine_for_all():
    """Spec-Bench on one A100 finds less than each method's own paper, in nearly the same order."""
    own = {key[:-4]: row for key, row in CATALOG.speedups.items() if key.endswith("-own") and "vicuna" in key}
    ratios = {key: CATALOG.speedups[key].speedups[0] / row.speedups[0] for key, row in own.items()}
    assert len(ratios) == 8
    assert all(0.5 < ratio < 0.95 for ratio in ratios.values()), ratios
    assert CATALOG.speedups["vicuna-13b-eagle3"].accepted_length < own["vicuna-13b-eagle3"].accepted_length


def test_no_speedup_exceeds_its_accepted_length():
    """A pass that checks drafted tokens costs at least a plain one, so tokens of a pass bound the gain."""
    for key, row in CATALOG.speedups.items():
        if row.accepted_length:
            assert max(row.speedups) < row.accepted_length, key


def test_mimos_fit_passes_through_its_figure():
    """Figure 7: about 3.6 tokens for WebDev, the surest, and 2.85 to 2.9 where the figure ends."""
    fit = CATALOG.entropy_fits["mimo-v2-flash"]
    assert fit.accepted_length(fit.lowest_entropy) == pytest.approx(3.6, abs=0.02)
    assert fit.accepted_length(fit.highest_entropy) == pytest.approx(2.87, abs=0.03)
    assert fit.accepted_length(0.0) == fit.draft_length + 1
    with pytest.raises(ValueError, match=r"entropy = -0.1 should be at least 0"):
        fit.accepted_length(-0.1)
