"""Bills of logs: public cases that others got wrong, each call at its own price, sums that are exact."""

import dataclasses
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logged import bill_of, chat, message

from costlab import catalog, prices
from costlab.prices.usage import billing

#: (thread, record, right amount in dollars by the list of the day); audits and threads named, arithmetic by hand.
CASES = [
    # writes counted twice
    ("litellm 9812", message("claude-opus-4-8", "2026-07-12T12:00:00Z", 3, 550, created=12_304), "0.090665"),
    ("litellm 11364", message("claude-opus-4-7", "2026-07-12T12:00:00Z", 10, 5120, 66_360, 32_435), "0.36394875"),
    ("browser-use 5305", message("claude-opus-4-8", "2026-07-25T12:00:00Z", 1200, 0, 500, 300), "0.008125"),
    # the cached part added to an input that holds it
    ("codex-observability-plugin 22", chat("gpt-5.5", "2026-07-04T12:00:00Z", 117_231, 225, 115_584), "0.072777"),
    ("langfuse 10592", chat("gpt-5.5", "2026-06-01T12:00:00Z", 17_903, 0, 17_817), "0.0093385"),
    # the tier chosen by bucket: 270,540 and 7,936 lie below 272,000, the request does not
    ("tokscale 862", chat("gpt-5.5", "2026-07-12T12:00:00Z", 278_476, 630, 7_936), "2.741686"),
    # weekends at the peak price, or the rule backwards
    ("llm-gateway 2755", chat("deepseek-v4-pro", "2026-08-22T02:00:00Z", 10**6, 0), "1.32"),
    ("LangAlpha 364", chat("deepseek-v4-pro", "2026-08-23T09:30:00+08:00", 10**6, 0), "0.66"),
    ("defog 298", chat("deepseek-v4-pro", "2026-08-23T07:00:00Z", 10**6, 0), "0.66"),
    ("dsh-usage-plugin 9", chat("deepseek-v4-pro", "2026-08-24T01:30:00Z", 10**6, 0), "1.32"),
    ("dsh-usage-plugin 9", chat("deepseek-v4-pro", 1_787_934_600, 10**6, 0), "0.66"),  # 2026-08-28T16:30:00Z
    # the peak price in a July that had none
    ("genai-prices 582", chat("deepseek-v4-pro", "2026-07-15T02:00:00Z", 10**6, 0), "0.435"),
    # the hit price of before the April cut
    ("DeepSeek-Reasonix 949", chat("deepseek-v4-flash", "2026-05-15T12:00:00Z", 10**6, 0, 10**6), "0.0028"),
    # hits billed as misses where a list left them out
    ("headroom 3032", chat("qwen-plus", "2026-11-17T12:00:00Z", 10**6, 0, 10**6), "0.24"),
    ("opencode 20801", chat("mimo-v2.5", "2026-04-25T12:00:00Z", 38_876, 0, 38_876), "0.00311008"),
    # the old name is billed as its successor
    ("yoagent v0.25.6", chat("deepseek-v4-flash", "2026-09-12T02:00:00Z", 10**6, 0), "0.15"),
    # reasoning counted twice: it lies within the completion
    (
        "LionSR/TeXRA 2962",
        {
            "model": "gpt-5.5",
            "created": "2026-07-04T12:00:00Z",
            "usage": {
                "prompt_tokens": 1000,
                "completion_tokens": 1000,
                "total_tokens": 2000,
                "completion_tokens_details": {"reasoning_tokens": 800},
            },
        },
        "0.035",
    ),
    # written for an hour at the price of five minutes
    (
        "clbrge/mohdel v0.114.0",
        message(
            "claude-opus-4-8",
            "2026-07-12T12:00:00Z",
            0,
            0,
            created=3000,
            cache_creation={"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 2000},
        ),
        "0.02625",
    ),
    # tokens of input that Anthropic leaves out of input_tokens taken to lie within
    ("new-api convention", message("claude-opus-4-8", "2026-07-12T12:00:00Z", 100, 0, 1_000_000), "0.5005"),
]


@pytest.mark.parametrize(("thread", "record", "amount"), CASES)
def test_public_mistakes(thread, record, amount):
    assert bill_of(record).total.total == Decimal(amount)


def written(model, when, prompt, completion, tokens):
    record = chat(model, when, prompt, completion, 0)
    record["usage"]["prompt_tokens_details"]["cache_write_tokens"] = tokens
    return record


#: As genai-prices 0.2.3 extracts and prices them (run on 2026-11-27), where it is right: of DeepSeek's records it
#: overlooks the hits and counts 0.082764 for 0.021516.
PEER = [
    (
        {
            "modelVersion": "gemini-3.1-pro-preview",
            "createTime": "2026-07-12T12:00:00Z",
            "usageMetadata": {
                "promptTokenCount": 300_000,
                "cachedContentTokenCount": 1000,
                "candidatesTokenCount": 923,
                "thoughtsTokenCount": 785,
                "totalTokenCount": 301_708,
            },
        },
        "1.227144",
    ),
    (written("gpt-5.6-luna", "2026-09-10T12:00:00Z", 9657, 78, 9654), "0.0025077"),
    (
        message(
            "claude-opus-4-8",
            "2026-07-12T12:00:00Z",
            3,
            550,
            50,
            12_304,
            cache_creation={"ephemeral_5m_input_tokens": 2304, "ephemeral_1h_input_tokens": 10_000},
        ),
        "0.12819",
    ),
    (
        {
            "model": "grok-4.7",
            "created": "2026-09-25T12:00:00Z",
            "usage": {
                "prompt_tokens": 10_120,
                "completion_tokens": 1499,
                "total_tokens": 14_428,
                "prompt_tokens_details": {"cached_tokens": 128},
                "completion_tokens_details": {"reasoning_tokens": 2809},
            },
        },
        "0.045896",
    ),
]


@pytest.mark.parametrize(("record", "amount"), PEER, ids=["gemini", "openai writes", "anthropic lifetimes", "xai"])
def test_equal_to_a_peer(record, amount):
    assert bill_of(record).total.total == Decimal(amount)


def test_a_long_prompt_of_gemini():
    """opik 6982, synaplan 1319: above 200,000 tokens everything is dearer."""
    used = {"promptTokenCount": 300_000, "candidatesTokenCount": 1000, "totalTokenCount": 301_000}
    record = {"modelVersion": "gemini-2.5-pro", "createTime": "2026-07-13T12:00:00Z", "usageMetadata": used}
    assert bill_of(record).total.total == Decimal("0.765")


def test_what_a_host_serves_has_the_hosts_price_where_it_is_known():
    record = {**chat("deepseek/deepseek-v4-pro", "2026-11-26T12:00:00Z", 10**6, 0), "provider": "DeepInfra"}
    (row,) = prices.history("deepinfra/deepseek-v4-pro")
    bill = bill_of(record)
    assert (list(bill.by_product), float(bill.total.total)) == (["deepinfra/deepseek-v4-pro"], row.miss)
    before = bill_of({**record, "created": "2026-11-16T12:00:00Z"})
    assert (list(before.by_product), before.total.total) == (["deepseek-v4-pro"], Decimal("0.66"))
    assert [note for note in before.notes if "served by 'DeepInfra'" in note]


def test_calls_by_a_name_of_weights_say_whose_list_was_taken():
    """Where a record says who served it, that is said instead, or is no question."""
    when, said = "2026-11-16T12:00:00Z", "many hosts may sell weights named"
    named, plain = (chat(name, when, 1000, 10) for name in ("deepseek-ai/DeepSeek-V4-Pro", "deepseek-v4-pro"))
    assert [note for note in bill_of(named, named, plain).notes if said in note] == [
        f"2 calls: {said} 'deepseek-ai/DeepSeek-V4-Pro', at prices of their own: DeepSeek's own list was taken"
    ]
    for host, words in (("DeepInfra", "served by 'DeepInfra'"), ("DeepSeek", "")):
        found = bill_of({**named, "provider": host}).notes
        assert not [note for note in found if said in note] and (not words or any(words in note for note in found))


def test_the_tier_counts_what_was_written():
    """openscience 121."""
    record = written("gpt-5.5", "2026-07-07T12:00:00Z", 272_001, 0, 272_001)
    assert bill_of(record).total.total == Decimal("2.72001")


def test_a_measured_bill_in_yuan():
    """dsh-cost-meter 157: 357,030 missed tokens on a Saturday took CNY 0.36 off a balance."""
    bill = bill_of(chat("deepseek-v4.1-flash", "2026-09-19T04:00:00Z", 357_030, 1), currency="CNY")
    assert bill.total.total == Decimal("0.357034")
    assert not bill.rates


def test_a_product_that_is_sold_no_more_is_refused_with_what_followed():
    """llmgateway 4173."""
    with pytest.raises(ValueError, match=r"line 1: model: .*mimo-v2\.5-pro.*mimo-v2\.6-pro"):
        bill_of(chat("mimo-v2.5-pro", "2026-11-17T12:00:00Z", 10**6, 0))


def test_what_a_router_charged_stands_beside():
    """can1357/oh-my-pi 6956, an entry of OpenRouter's log: 0.8106725 charged.

    Our 0.6938 lacks what its usage_cache names, 0.1168725: 93,498 written tokens at a quarter above the plain price,
    which the entry does not count.
    """
    entry = {
        "generation_id": "gen-1785301746-y5WK0lm6e59yRx8tqg2u",
        "provider_name": "Amazon Bedrock",
        "model": "anthropic/claude-opus-5-20260723",
        "created_at": "2026-07-29T05:09:06.673Z",
        "tokens_prompt": 57_169,
        "tokens_completion": 4424,
        "native_tokens_prompt": 93_500,
        "native_tokens_completion": 9052,
        "native_tokens_reasoning": 2499,
        "native_tokens_cached": 0,
        "usage": 0.8106725,
        "usage_cache": 0.1168725,
    }
    bill = bill_of(entry)
    assert bill.total.total == Decimal("0.6938")
    assert bill.total.reported == Decimal("0.8106725")
    assert bill.total.difference == Decimal("-0.1168725")
    assert any("Amazon Bedrock" in note for note in bill.notes)


def test_ones_own_key_is_charged_by_the_provider():
    """With a key of one's own, `cost` is the router's fee and the provider's charge stands in its details."""
    record = chat("openai/gpt-5.5", "2026-07-04T12:00:00Z", 1000, 100)
    record["usage"] |= {"cost": 0.0004, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.008}}
    bill = bill_of(record)
    assert bill.total.total == bill.total.reported == Decimal("0.008")


# --- each call at its own price --------------------------------------------------------------------------------


def test_calls_of_one_log_have_their_own_days_hours_and_tiers():
    bill = bill_of(
        chat("deepseek-v4-pro", "2026-07-15T02:00:00Z", 10**6, 0),
        chat("deepseek-v4-pro", "2026-09-15T03:00:00Z", 10**6, 0),
        chat("deepseek-v4-pro", "2026-09-15T05:00:00Z", 10**6, 0),
        chat("gpt-5.5", "2026-09-15T05:00:00Z", 272_000, 0),
        chat("gpt-5.5", "2026-09-15T05:00:00Z", 272_001, 0),
    )
    amounts = {name: part.total for name, part in bill.by_day.items()}
    assert amounts == {"2026-07-15": Decimal("0.435"), "2026-09-15": Decimal("6.06001")}
    assert {n: p.total for n, p in bill.by_window.items()} == {
        "all day": Decimal("4.51501"),
        "off-peak": Decimal("0.66"),
        "peak": Decimal("1.32"),
    }
    assert bill.by_product["gpt-5.5"].total == Decimal("1.36") + Decimal("2.72001")
    assert bill.total.total == Decimal("6.49501")


def test_the_day_is_that_of_utc():
    bill = bill_of(chat("deepseek-v4-pro", "2026-09-15T05:00:00+08:00", 1, 0))
    assert list(bill.by_day) == ["2026-09-14"]


@pytest.mark.parametrize(
    "when",
    [
        1_789_441_200,
        1_789_441_200.5,
        1_789_441_200_000,
        "1789441200",
        "2026-09-15T03:00:00Z",
        "2026-09-15T11:00:00+08:00",
    ],
)
def test_times(when):
    bill = bill_of(chat("deepseek-v4-pro", when, 10**6, 0))
    assert bill.total.total == Decimal("1.32")
    assert not [note for note in bill.notes if "zone" in note]


def test_times_without_zone_are_utc_and_that_is_said():
    bill = bill_of(*[chat("deepseek-v4-pro", "2026-09-15 03:00:00", 10**6, 0, id=f"chatcmpl-{i}") for i in (1, 2)])
    assert bill.total.total == Decimal("2.64")
    assert [note for note in bill.notes if note.startswith("2 calls: times without a zone")]


def test_what_a_record_lacks_can_be_given():
    usage = {"prompt_tokens": 10**6, "completion_tokens": 0}
    moment = datetime(2026, 9, 15, 3, tzinfo=UTC)
    assert bill_of(usage, model="deepseek-v4-pro", moment=moment).total.total == Decimal("1.32")
    # and what it has holds
    record = chat("deepseek-v4-pro", "2026-09-15T05:00:00Z", 10**6, 0)
    assert bill_of(record, model="gpt-5.5", moment=moment).total.total == Decimal("0.66")
    for given_, name in (({"model": "gpt-5.5"}, "created"), ({"moment": moment}, "model")):
        with pytest.raises(ValueError, match=f"line 1: {name}"):
            bill_of(usage, **given_)


def test_price_lists_in_another_currency_are_converted_by_the_day():
    records = [chat("glm-5.1", f"2026-{month:02}-20T12:00:00Z", 10**6, 0) for month in (5, 6)]
    bill = bill_of(*records, currency="EUR")
    rates = [Decimal(repr(prices.exchange_rate("USD", "EUR", f"2026-{month:02}-20"))) for month in (5, 6)]
    assert bill.total.total == Decimal("1.4") * sum(rates)
    assert bill.by_currency["USD"].total == Decimal("2.8")
    assert bill.rates


# --- how it was served -----------------------------------------------------------------------------------------

HALF = catalog.ServiceTier("OpenAI", "batch", 0.5, date(2024, 1, 1), "test", date(2026, 1, 1))


@pytest.fixture
def batches(monkeypatch):
    """A catalog in which OpenAI and Anthropic sell batches at half price, whatever it holds otherwise."""
    tables = catalog.tables()
    sold = tuple(dataclasses.replace(HALF, provider=provider) for provider in ("OpenAI", "Anthropic"))
    mended = dataclasses.replace(tables, services=sold)
    monkeypatch.setattr(catalog, "tables", lambda: mended)


@pytest.mark.usefixtures("batches")
def test_batches_are_known_by_their_lines():
    body = chat("gpt-5.5", "2026-07-04T12:00:00Z", 10**5, 0, service_tier="default")
    of_openai = {"id": "batch_req_1", "custom_id": "a", "response": {"status_code": 200, "body": body}, "error": None}
    assert bill_of(of_openai).total.total == Decimal("0.25")
    of_anthropic = message("claude-opus-4-8", "", 10**5, 0, service_tier="batch")["message"]
    line = {"custom_id": "a", "result": {"type": "succeeded", "message": of_anthropic}}
    moment = datetime(2026, 7, 12, tzinfo=UTC)
    assert bill_of(line, moment=moment).total.total == Decimal("0.25")
    bill = bill_of(of_openai, line, body, moment=moment)
    assert {name: part.calls for name, part in bill.by_service.items()} == {"batch": 2, "standard": 1}
    assert bill.services


@pytest.mark.usefixtures("batches")
def test_the_way_to_be_served_can_be_given_and_must_be_known():
    record = chat("gpt-5.5", "2026-07-04T12:00:00Z", 10**5, 0)
    assert bill_of(record, service="batch").total.total == Decimal("0.25")
    for word in ("flex", "ultrafast"):
        with pytest.raises(ValueError, match=f"line 1: service_tier: .*{word}"):
            bill_of({**record, "service_tier": word})
    with pytest.raises(ValueError, match="service_tier: 'scale' is paid by capacity"):
        bill_of({**record, "service_tier": "scale"})


# --- copies ----------------------------------------------------------------------------------------------------


def test_a_response_written_down_while_it_streams_counts_once():
    """titeya/dms-claudecode 52, getagentseal/codeburn 201: lines of one message repeat its input; the last is whole."""
    outputs = enumerate([1, 1, 420])
    lines = [message("claude-opus-4-8", f"2026-07-12T12:00:0{i}Z", 2, output, 15_030, 8655) for i, output in outputs]
    for line in lines:
        line["message"]["id"] = "msg_011CeV8JXHSwTV15by93NgCv"
    once = bill_of(lines[-1])
    for order in (lines, lines[::-1], [*lines, lines[0]]):
        bill = bill_of(*order)
        assert (bill.total, bill.total.calls) == (once.total, 1)
        assert [note for note in bill.notes if f"{len(order) - 1} repeated records" in note]


def test_a_copy_stays_on_the_day_of_the_first():
    first = chat("gpt-5.5", "2026-07-04T23:59:59Z", 10, 1, id="chatcmpl-1")
    last = chat("gpt-5.5", "2026-07-05T00:00:01Z", 10, 9, id="chatcmpl-1")
    bill = bill_of(first, last)
    assert {day: part.output_tokens for day, part in bill.by_day.items()} == {"2026-07-04": 9}


def test_an_id_that_names_no_response_is_refused():
    records = [chat("gpt-5.5", "2026-07-04T12:00:00Z", prompt, 5, id="session-7") for prompt in (100, 300)]
    with pytest.raises(ValueError, match="line 2: id: 'session-7' came on line 1: 100 input tokens there, 300 here"):
        bill_of(*records)


def test_copies_far_apart_are_said_to_count_twice(monkeypatch):
    monkeypatch.setattr(billing, "RESPONSES_REMEMBERED", 2)
    bill = bill_of(*[chat("gpt-5.5", "2026-07-04T12:00:00Z", 10, 1, id=name) for name in "abca"])
    assert bill.total.calls == 4
    assert [note for note in bill.notes if "repeated after 2 others" in note]


def test_an_answer_of_no_model_costs_nothing():
    """Claude Code writes down its own messages as those of "<synthetic>", with counts of 0."""
    synthetic = message("<synthetic>", "2026-07-12T12:00:00Z", 0, 0)
    bill = bill_of(synthetic, message("claude-opus-4-8", "2026-07-12T12:00:00Z", 10**6, 0))
    assert (bill.total.total, bill.total.calls) == (5, 1)
    assert [note for note in bill.notes if note.startswith("1 record of no tokens")]
    with pytest.raises(ValueError, match="synthetic"):
        bill_of(message("<synthetic>", "2026-07-12T12:00:00Z", 1, 0))


@pytest.mark.parametrize("cost", ["1e-300", "0." + "3" * 10_000, "0.0003000000000000000124"])
def test_what_a_router_charged_may_have_many_digits(cost):
    line = '{"model": "openai/gpt-5.5", "created": 1783152000, "usage": {"prompt_tokens": 1, "completion_tokens": 1, '
    bill = bill_of(line + f'"cost": {cost}}}}}')
    assert float(bill.total.reported) == pytest.approx(float(cost), abs=1e-30)


# --- sums ------------------------------------------------------------------------------------------------------

PRODUCTS = ("deepseek-v4-pro", "deepseek-v4-flash", "gpt-5.5", "claude-opus-4.8", "qwen-plus", "glm-5.1")
TOKENS = st.integers(0, 400_000)
MINUTES = st.integers(0, 200 * 24 * 60)
CALLS = st.lists(st.tuples(st.sampled_from(PRODUCTS), MINUTES, TOKENS, TOKENS, TOKENS), min_size=1, max_size=25)


@given(CALLS, st.sampled_from(["USD", "EUR", "CNY"]))
def test_parts_add_up_to_the_whole_exactly(calls, currency):
    start = datetime(2026, 6, 1, tzinfo=UTC)
    records, right = [], Fraction(0)
    for product, minutes, hit, miss, output in calls:
        when = start + timedelta(minutes=minutes)
        records.append(chat(product, when.isoformat(), hit + miss, output, hit))
        row = prices.price_at(product, when, input_tokens=hit + miss, currency=currency)
        listed = [Fraction(repr(price)) for price in (prices.hit_price(row), row.miss, row.output)]
        rate = Fraction(repr(prices.exchange_rate(row.currency, currency, when)))
        right += sum(a * b for a, b in zip(listed, (hit, miss, output), strict=True)) * rate / 10**6
    bill = bill_of(*records, currency=currency)
    assert Fraction(bill.total.total) == right
    for parts in (bill.by_product, bill.by_day, bill.by_window, bill.by_service):
        assert sum(Fraction(part.total) for part in parts.values()) == right
        assert sum(part.calls for part in parts.values()) == len(calls)
    whole = bill.total
    assert sum(map(Fraction, (whole.hit, whole.miss, whole.write, whole.write_long, whole.output))) == right
    assert whole.output_tokens == sum(call[-1] for call in calls)


@given(CALLS, st.data())
def test_copies_in_any_order_change_nothing(calls, data):
    start = datetime(2026, 6, 1, tzinfo=UTC)
    records = [
        chat(product, (start + timedelta(minutes=minutes)).isoformat(), hit + miss, output, hit, id=f"chatcmpl-{i}")
        for i, (product, minutes, hit, miss, output) in enumerate(calls)
    ]
    repeated = data.draw(st.permutations([*records, *data.draw(st.lists(st.sampled_from(records), max_size=10))]))
    one, other = bill_of(*records), bill_of(*repeated)
    assert (one.total, one.by_product, one.by_day) == (other.total, other.by_product, other.by_day)


def test_prices_change_on_whole_minutes():
    """A call's price is looked up by its minute, or by its hour where none changes in it."""
    tables = catalog.tables()
    entries = (*tables.prices, *tables.windows, *tables.services, *tables.aliases)
    borders = [each for entry in entries for each in (entry.valid_from, entry.valid_to) if isinstance(each, datetime)]
    hours = [time for window in tables.windows for pair in window.hours for time in pair]
    assert borders and hours
    assert {(each.second, each.microsecond) for each in (*borders, *hours)} == {(0, 0)}
