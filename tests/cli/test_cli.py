"""The command line: each verb as table and JSON, its numbers those of the package, its errors short and useful."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from costlab import __version__, arch, catalog, moe, prices, roofline, speculative
from costlab.prices import LINES

ROOT = Path(__file__).parents[2]
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def answer(document):
    """A function that gives the rows and notes of a command's JSON."""

    def rows_and_notes(line):
        found = document(line)
        return found["rows"], found["notes"]

    return rows_and_notes


VERBS = {
    "models": "models",
    "kv": "kv deepseek-v3.2 deepseek-v4-pro --tokens 1M",
    "flops": "flops deepseek-v3.2 deepseek-v4-pro --tokens 1M",
    "prefill": "flops mimo-v2.5-pro --tokens 8192 --phase prefill",
    "roofline": "roofline deepseek-v3 --chip h800 --chips 32 --batch 2048 --tokens 4989",
    "bill": "bill --input 32K --output 8K --hit-rate 0.5 --calls 10 --date 2026-06-01",
    "prices": "prices --date 2026-11-25",
}
MOE = "moe deepseek-v3 --batch 128 --ranks 144"


def test_columns_align(run):
    _, out, _ = run(VERBS["models"])
    lines = out.splitlines()
    end = lines[0].index("layers") + len("layers")
    assert all(re.match(r"\d", each[end - 1]) for each in lines[1:-2])


# --- what each verb says ---------------------------------------------------------------------------------------


def test_models(answer):
    rows, notes = answer("models")
    assert [row["model"] for row in rows] == list(catalog.tables().models)
    by = {row["model"]: row for row in rows}
    assert by["deepseek-v4-pro"]["published_total_params"] == 1_600_000_000_000
    assert by["mimo-v2.5-pro"]["published_total_params"] == 1_020_000_000_000
    assert by["llama-2-7b"]["published_active_params"] is None
    assert by["deepseek-v4-pro"]["attention"] == ["csa", "hca"]
    assert by["deepseek-v4-pro"]["total_params"] == arch.load("deepseek-v4-pro").params.total
    assert by["deepseek-v3"]["kv_bytes_per_token"] == 70_272
    assert "without" in notes[0] and "131,072" in notes[1]


def test_what_makers_publish_is_shown_as_they_write_it(run):
    _, out, _ = run("models")
    for key, record in catalog.tables().models.items():
        said = record.published
        printed = f"{said.total} / {said.active or '-'}" if said else "- / -"
        assert f" {printed} " in next(each for each in out.splitlines() if each.startswith(f"{key} "))


def test_kv(run, answer):
    """5.28 GB, 10.5% of V3.2's 50.4 GB (arXiv 2606.19348)."""
    rows, _ = answer(VERBS["kv"])
    assert [row["model"] for row in rows] == ["deepseek-v3.2", "deepseek-v4-pro"]
    assert rows[0]["of_first"] == 1
    assert rows[1]["of_first"] == pytest.approx(0.1048, abs=5e-5)
    assert rows[1]["total_bytes"] == pytest.approx(5.28e9, abs=5e6)
    for row in rows:
        assert row["tokens"] == 2**20
        assert row["total_bytes"] == pytest.approx(row["growing_bytes"] + row["fixed_bytes"])
        assert row["index_bytes"] < row["growing_bytes"]
        assert row["kv_bytes_per_token"] * row["tokens"] == pytest.approx(row["growing_bytes"])
    _, out, _ = run(VERBS["kv"])
    assert "5.28" in out
    assert "0.1048" in out


def test_kv_of_a_batch(answer):
    """128 sequences take 128 times the bytes of one, and no more per token."""
    (one, _), (note,) = answer(VERBS["kv"])
    (all_of_them, _), notes = answer(f"{VERBS['kv']} --batch 128")
    for name, value in one.items():
        times = 128 if name.endswith("_bytes") or name == "batch" else 1
        assert all_of_them[name] == (value if isinstance(value, str) else pytest.approx(times * value))
    assert notes == [note, "all of 128 sequences of that length; bytes per token of one"]


def test_one_model_needs_no_ratio(answer):
    rows, _ = answer("kv llama-2-7b --tokens 4096")
    assert "of_first" not in rows[0]


def test_flops(answer):
    rows, notes = answer(VERBS["flops"])
    assert rows[1]["of_first"] == pytest.approx(0.2703, abs=5e-5)
    assert rows[1]["total_flops"] / rows[0]["total_flops"] == pytest.approx(0.262, abs=5e-4)
    for row in rows:
        parts = sum(row[f"{part}_flops"] for part in ("linear", "indexer", "core"))
        assert parts == pytest.approx(row["total_flops"])
        assert row["phase"] == "decode"
    assert "fp4 x0.5" in notes[0]
    prefill, notes = answer(VERBS["prefill"])
    expected = arch.load("mimo-v2.5-pro").prefill_flops(8192)
    assert prefill[0]["total_flops"] == float(expected.total)
    assert "the whole prompt" in notes[0]


def test_roofline(run, answer):
    rows, notes = answer(VERBS["roofline"])
    node = roofline.deployment("deepseek-v3", "h800", 32)
    step = node.decode(2048, 4989)
    assert [row["phase"] for row in rows] == ["prefill", "decode"]
    assert rows[1]["step_s"] == step.seconds
    assert rows[1]["tokens_per_s"] == step.tokens_per_s
    assert rows[1]["usd_per_million_tokens"] == node.usd_per_million(step, 2.0)
    assert {row["max_batch"] for row in rows} == {node.max_batch(4989)}
    assert {row["weight_bytes_per_chip"] for row in rows} == {node.weight_bytes_per_chip}
    assert [row["batch"] for row in rows] == [32, 2048]  # a prompt on each replica
    assert (
        "attention data-parallel on 32 replicas of 1 chip, experts over all 32; prefill: one prompt on each" in notes[0]
    )
    assert rows[0]["step_s"] == node.prefill(4989, batch=32).seconds
    assert rows[0]["tokens_per_s"] == node.prefill(4989, batch=32).tokens_per_s
    _, out, _ = run(VERBS["roofline"])
    assert f"room for {node.max_batch(4989):,} sequences of 4,989 tokens" in out
    assert "efficiency 1 compute, 1 memory, 1 link; 2 USD/chip-h, as of 2025-02-28" in out


V4_PRO = "speculate deepseek-v4-pro --chip h200 --chips 32 --batch 512 --tokens 32K --draft mtp"
LLAMA = "speculate llama-3.1-8b --chip h100-sxm --chips 1 --batch 64 --tokens 512 --draft eagle3"


def test_speculate(run, answer):
    rows, notes = answer(f"{V4_PRO} --acceptance 0.79,0.61,0.46,0.23")
    node = roofline.deployment("deepseek-v4-pro", "h200", 32)
    known = (0.79, 0.61, 0.46, 0.23)
    found = speculative.speculate(node, arch.drafter("mtp", node.model), known, 1, 512, 32768)
    assert [row["length"] for row in rows] == [0, 1, found.best_length]
    plain, one, best = rows
    assert one["round_s"] == found.round_s == pytest.approx(one["draft_s"] + one["verify_s"])
    assert one["tokens_per_round"] == 1.79
    assert one["speedup"] == pytest.approx(1.79 / one["round_cost"])
    assert one["speedup"] == pytest.approx(one["tokens_per_s"] / plain["tokens_per_s"])
    rent = prices.chip_rent("h200").amount
    assert one["usd_per_million_tokens"] == found.usd_per_million(rent)
    assert plain["usd_per_million_tokens"] == node.usd_per_million(node.decode(512, 32768), rent)
    assert plain["usd_per_million_tokens"] / one["usd_per_million_tokens"] == pytest.approx(one["speedup"])
    assert plain["weight_bytes_per_chip"] == node.weight_bytes_per_chip < one["weight_bytes_per_chip"]
    assert plain["max_batch"] == node.max_batch(32768) > one["max_batch"]
    assert best["speedup"] >= one["speedup"]
    assert {row["losing_batch"] for row in rows} == {found.losing_batch}
    assert notes == [found.note]
    _, out, _ = run(f"{V4_PRO} --acceptance 0.79")
    assert "MTP of DeepSeek-V4-Pro: " in out and "one acceptance for all positions" in out


def test_speculate_with_a_head_and_with_a_model(document):
    eagle = document(f"{LLAMA} --acceptance 0.8 --length 3 --rent 2")
    assert [each["kind"] for each in eagle["sources"]] == ["model", "draft head", "chip"]
    assert eagle["inputs"]["acceptance"] == [0.8]
    line = "speculate llama-3.1-70b --chip h100-sxm --chips 8 --tensor-parallel 8 --batch 8 --tokens 1K --rent 2"
    small = document(f"{line} --draft LLAMA-3.1-8B --acceptance 0.8 --length 2")
    assert [each["what"] for each in small["sources"]] == ["llama-3.1-70b", "llama-3.1-8b", "h100-sxm"]
    assert [row["length"] for row in small["rows"]][:2] == [0, 2]


def test_what_can_only_lose(answer, run):
    """Nothing is accepted: the best length is none, and every batch loses."""
    rows, _ = answer(f"{LLAMA} --acceptance 0 --length 3")
    assert [row["length"] for row in rows] == [0, 3]
    assert rows[1]["best_length"] == 0 and rows[1]["losing_batch"] == 1
    assert rows[1]["usd_per_million_tokens"] > rows[0]["usd_per_million_tokens"]
    _, out, _ = run(f"{LLAMA} --acceptance 0 --length 3")
    assert "slower than plain decoding from batch 1 on" in out


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f"{LLAMA} --acceptance 1.2", ["'1.2' should be a number between 0 and 1"]),
        (f"{LLAMA} --acceptance x", ["'x' should be a number between 0 and 1"]),
        (f"{LLAMA} --acceptance 0.9,0.8 --length 3", ["length = 3 is more than the 2 positions"]),
        (f"{LLAMA.replace('eagle3', 'mtp')} --acceptance 0.9", ["Llama-3.1-8B has no multi-token-prediction module"]),
        (
            f"{LLAMA.replace('eagle3', 'medusa')} --acceptance 0.9",
            ["'medusa' should be mtp, eagle3, lookup or a model"],
        ),
        (f"{LLAMA.replace('eagle3', 'llama-2-7b')} --acceptance 0.9", ["32,000 tokens in its vocabulary"]),
        (
            f"{LLAMA.replace('64', '832')} --acceptance 0.9",
            ["batch 832 of 513 tokens does not fit", "at most 794 would"],
        ),
        (V4_PRO.replace("h200 --chips 32", "h800 --chips 8") + " --acceptance 0.9", ["does not fit on 8 NVIDIA H800"]),
    ],
)
def test_speculate_refuses(run, line, says):
    """The largest batch that plain decoding holds is 833: with the drafter it does not fit."""
    status, out, err = run(line)
    assert (status, out) == (2, "")
    assert all(each in err for each in says), err


def test_roofline_options(run, answer):
    line = f"{VERBS['roofline']} --rent 4 --compute-efficiency 0.5 --memory-efficiency 0.5 --link-efficiency 0.5"
    slow, _ = answer(line)
    ideal, _ = answer(VERBS["roofline"])
    for a, b in zip(slow, ideal, strict=True):
        assert a["step_s"] == pytest.approx(2 * b["step_s"])
        assert a["usd_per_million_tokens"] == pytest.approx(4 * b["usd_per_million_tokens"])
    assert "efficiency 0.5 compute, 0.5 memory, 0.5 link; 4 USD/chip-h\n" in run(line)[1]


def test_the_rent_is_the_catalogs_latest(answer, document):
    """Of one day's offers the lowest; where there is none, it must be given."""
    line = "roofline mimo-v2.5-pro --chip h100-sxm --chips 32 --batch 1 --tokens 1K"
    found = document(line)
    offers = [offer for offer in catalog.chip("h100-sxm").offers if offer.kind == "rent"]
    last = max(offer.date for offer in offers)
    lowest = min((offer for offer in offers if offer.date == last), key=lambda offer: offer.amount)
    assert len([offer for offer in offers if offer.date == last]) > 1
    assert found["inputs"]["usd_per_chip_hour"] == found["rows"][0]["usd_per_chip_hour"] == lowest.amount
    entry = {"kind": "rent", "what": "h100-sxm", "source": lowest.source, "date": last.isoformat()}
    assert entry in found["sources"]
    stated = document(f"{line} --rent 0")
    assert stated["rows"][0]["usd_per_million_tokens"] == 0
    assert [each["kind"] for each in stated["sources"]] == ["model", "chip"]
    answer("roofline llama-2-7b --chip ascend-910b --chips 8 --batch 8 --tokens 1K --rent 1")


def test_one_prompt_on_eight_replicas(answer):
    """Llama-2-7B on 8 H800: eight prompts at once, each read in the time of one chip."""
    rows, _ = answer("roofline llama-2-7b --chip h800 --chips 8 --batch 8 --tokens 4096")
    assert rows[0]["step_s"] == pytest.approx(0.05806, rel=1e-3)
    assert rows[0]["tokens_per_s"] == pytest.approx(8 * 4096 / 0.05806, rel=1e-3)


def test_moe(run, answer):
    """EP144: 256 experts and 32 redundant ones, 2 to a rank (github.com/deepseek-ai/open-infra-index, day 6)."""
    (row,), _ = answer(f"{MOE} --redundant 32")
    found = moe.summary("deepseek-v3", 128, 144, redundant=32)
    own = {
        "moe_layers": "layers",
        "shared_experts": "shared",
        "experts_per_token": "top_k",
        "redundant_experts": "redundant",
    }
    assert {own.get(key, key): value for key, value in row.items()} == dataclasses.asdict(found)
    assert (row["moe_layers"], row["redundant_experts"], row["experts_per_rank"]) == (58, 32, 2)
    _, out, _ = run(f"{MOE} --redundant 32")
    for what, value in found.rows().items():
        assert re.search(rf"^{re.escape(what)} +{re.escape(value)}$", out, re.MULTILINE)
    assert "256 routed + 32 redundant, 1 shared" in out
    _, out, _ = run("moe deepseek-v3")
    assert "redundant" not in out


def test_bill(answer):
    rows, notes = answer(VERBS["bill"])
    load = prices.Workload(32 * 1024, 8 * 1024, 0.5, 10)
    for row in rows:
        due = prices.bill(row["product"], load)
        assert row["total_amount"] == due.total
        parts = (row[f"{part}_amount"] for part in ("hit", "miss", "write", "output"))
        assert row["total_amount"] == pytest.approx(sum(parts))
        assert row["currency"] == "USD"
    assert len(rows) > 2
    assert rows[0]["product"] == "deepseek-v4-pro"
    assert notes[0] == "prices at 2026-06-01 12:00 UTC"


def test_bill_options(answer):
    line = "bill --input 100000 --output 1000 --hit-rate 0.4 --write 50000 --date 2026-09-01T02:00 --currency cny"
    rows, notes = answer(f"{line} deepseek-v4-pro claude-opus-4.8")
    assert [row["price_window"] for row in rows] == ["peak", None]
    assert {row["currency"] for row in rows} == {"CNY"}
    assert rows[0]["hit_amount"] == pytest.approx(0.04 * 0.3)  # the yuan list's peak price
    assert rows[1]["write_amount"] == pytest.approx(0.05 * 6.25 * 6.7223)  # ECB, 2026-09-01
    assert notes == [
        "prices at 2026-09-01 02:00 UTC",
        "deepseek-v4-pro: peak price; off-peak: miss 4.5, hit 0.15, output 13.5 CNY per million",
        "claude-opus-4.8: 1 USD = 6.7223 CNY, the rate of 2026-09-01",
    ]


def test_bill_says_what_it_rests_on(run, document):
    """Tier, row, its source and reading day, exchange rate and its day; each note once, with its products."""
    line = "bill --input 300000 --output 0 --hit-rate 0.5 --date 2026-11-17T02:00 --currency eur gpt-5.5 qwen-plus"
    rows, notes, sources = (document(line)[part] for part in ("rows", "notes", "sources"))
    for row in rows:
        listed = prices.price_at(row["product"], "2026-11-17T02:00", input_tokens=300_000)
        assert (row["billed_as"], row["list_currency"]) == (listed.product, "USD")
        entry = {"kind": "price", "what": listed.product, "source": listed.source, "date": listed.date.isoformat()}
        assert entry in sources
        assert (row["exchange_rate"], row["exchange_date"]) == (0.8951, "2026-10-30")
    assert [(row["min_input_tokens"], row["max_input_tokens"]) for row in rows] == [(272_001, None), (256_001, None)]
    assert [each["what"] for each in sources] == ["gpt-5.5", "qwen-plus", "USD/EUR"]
    assert sources[2]["date"] == "2026-10-30" and "ECB" in sources[2]["source"]
    assert notes == [
        "prices at 2026-11-17 02:00 UTC",
        "gpt-5.5, qwen-plus: 1 USD = 0.8951 EUR, the rate of 2026-10-30",
        "qwen-plus: output without thinking; with it 12 instead of 3.6 USD per million",
    ]
    assert rows[1]["notes"] == [note.split(": ", 1)[1] for note in (notes[2], notes[1])]
    assert [row["price_tier"] for row in rows] == ["> 272,000 tokens", "> 256,000 tokens"]
    _, out, _ = run(line)
    assert "> 272,000  all day  2026-04-23" in out
    below = [each.strip() for each in out.splitlines()[3:]]
    assert below[0] == "1 call of 300,000 input tokens and 0 output tokens"
    for row, told in zip(rows, below[1:3], strict=True):
        assert told == f"{row['product']}: list in USD, read {row['price_read']}: {row['price_source']}"
    assert below[3:] == notes


def test_bill_says_that_a_hit_price_is_missing_and_who_bills_an_old_name(answer):
    _, notes = answer("bill --input 100 --output 0 --hit-rate 1 --date 2025-09-01 qwen-plus")
    assert notes[1] == "qwen-plus: no hit price listed: hits billed as misses"
    rows, notes = answer("bill --input 100 --output 0 --hit-rate 1 --date 2026-10-01 DeepSeek-V4-Flash")
    assert (rows[0]["product"], rows[0]["billed_as"]) == ("deepseek-v4-flash", "deepseek-v4.1-flash")
    assert notes[1] == (
        "deepseek-v4-flash: ended on 2026-09-10 04:00 UTC; the name is billed as deepseek-v4.1-flash since"
    )


@pytest.mark.parametrize(
    ("when", "names"),
    [
        ("2025-01-10", ["deepseek-v3"]),
        ("2026-06-01", ["deepseek-v4-pro", "mimo-v2.5-pro", "qwen3.7-max", "gpt-5.5", "claude-opus-4.8"]),
        ("2026-11-25", ["deepseek-v4-pro", "mimo-v2.6-pro", "qwen3.8-max", "gpt-6.1-sol", "claude-opus-5.5"]),
        ("2026-11-25", ["gemini-4-argon", "deepseek-v4.1-flash", "gpt-6-luna", "claude-haiku-5.5"]),
    ],
)
def test_bill_compares_what_was_sold_that_day(when, names, answer):
    rows, _ = answer(f"bill --input 100 --output 10 --hit-rate 0.5 --date {when}")
    shown = [row["product"] for row in rows]
    assert [name for name in shown if name in names] == names
    assert len(shown) <= len(LINES)


def test_bill_compares_products_that_there_are():
    assert {name for line in LINES for name in line.products} <= set(prices.products())


def test_bill_is_of_today_unless_a_day_is_given(document):
    found = document("bill --input 100 --output 10 --hit-rate 0.5 deepseek-v4-pro")
    assert found["inputs"]["moment"] == "2026-11-25T12:00:00+00:00"


def test_bill_of_article_es_agent(answer):
    """Qwen-Plus $0.177, where it was $0.229 while its hits were billed as misses."""
    rows, _ = answer(f"{VERBS['bill']} qwen-plus")
    assert rows[0]["total_amount"] == pytest.approx(0.177, abs=5e-4)


def test_bill_by_counts(answer):
    """BerriAI/litellm 11364: 98,805 in, of which 66,360 read and 32,435 written."""
    line = "bill --input 98805 --output 5120 --hit-tokens 66360 --date 2026-07-12 claude-opus-4.7"
    rows, _ = answer(f"{line} --write 32435")
    assert rows[0]["total_amount"] == pytest.approx((10 * 5 + 66_360 * 0.5 + 32_435 * 6.25 + 5_120 * 25) / 1e6)
    rows, _ = answer(f"{line} --write 30000 --write-long 2435")  # an hour's write costs twice a miss
    assert rows[0]["write_long_amount"] == pytest.approx(2_435 * 10e-6)


def test_bill_of_a_week(answer):
    """V4-Pro's list over the week of 2026-11-25, 35 of 168 hours peak: 0.798 / 0.0266 / 2.393."""
    for tokens, rate, key, right in ((10**6, 0, "miss", 0.7975), (10**6, 1, "hit", 0.0266), (0, 0, "output", 2.3925)):
        line = f"bill --input {tokens} --output 1000000 --hit-rate {rate} --over week --date 2026-11-25 deepseek-v4-pro"
        rows, notes = answer(line)
        assert rows[0][f"{key}_amount"] == pytest.approx(right, rel=1e-3)
        assert rows[0]["peak_share"] == pytest.approx(35 / 168)
        assert notes[0] == "prices of a load spread evenly from 2026-11-23 to before 2026-11-30, UTC"


def test_bill_says_where_272k_is_another_tier_than_272_000(answer):
    _, notes = answer("bill --input 272K --output 0 --hit-rate 0 --date 2026-11-20 gpt-5.5 deepseek-v4-pro")
    said = [note for note in notes if "K being 1,024" in note]
    assert said == [
        "gpt-5.5: 272K is 278,528 tokens here, K being 1,024; 272,000 tokens are in the tier ≤ 272,000 tokens: miss 5,"
        " hit 0.5, output 30 USD per million"
    ]
    for tokens in ("278528", "260K", "1M"):
        _, notes = answer(f"bill --input {tokens} --output 0 --hit-rate 0 --date 2026-11-20 gpt-5.5")
        assert not any("K being 1,024" in note for note in notes)


def test_bill_in_batches(answer):
    """Half of the list at Anthropic."""
    line = "bill --input 1000000 --output 1000000 --hit-rate 0.5 --date 2026-11-25 claude-opus-5.5"
    (full,), _ = answer(line)
    (half,), notes = answer(f"{line} --service batch")
    assert half["total_amount"] == pytest.approx(full["total_amount"] / 2)
    assert half["service_factor"] == 0.5
    assert any("batch: 0.5 of the list price" in note for note in notes)


# --- prices ----------------------------------------------------------------------------------------------------


def test_prices_of_a_day(answer):
    rows, notes = answer(VERBS["prices"])
    by = {(row["product"], row["price_tier"], row["price_window"]): row for row in rows}
    assert by["gpt-6.1-sol", "> 272,000 tokens", None]["miss_price"] == 4
    assert by["grok-4.7", "≥ 200,000 tokens", None]["miss_price"] == 4
    assert by["grok-4.7", "< 200,000 tokens", None]["miss_price"] == 2
    assert by["deepseek-v4-pro", None, "peak"]["miss_over_hit"] == pytest.approx(30)
    assert not {row["product"] for row in rows} & {"mimo-v2.5-pro", "claude-opus-4", "deepseek-v4-flash"}
    assert not any("/" in row["product"] for row in rows)
    assert notes[0] == "prices at 2026-11-25 12:00 UTC"
    assert "DeepSeek: off-peak hours" in notes
    assert "gemini-4-argon: announced for 2026-12-01: miss 4, hit 0.2, output 20 USD per million" in notes


def test_prices_of_a_provider_and_its_hosts(answer):
    rows, _ = answer("prices --date 2026-11-25 --provider openai")
    assert {row["provider"] for row in rows} == {"OpenAI"}
    rows, _ = answer("prices --date 2026-11-25 --hosts")
    assert "deepseek-v4-pro" in {row["host_of"] for row in rows}


def test_prices_in_another_currency(answer):
    """Yuan where there is a list, else the dollars of the list at the day's rate."""
    rows, notes = answer("prices --date 2026-11-25 --currency cny deepseek-v4-pro gpt-5.5")
    assert {row["currency"] for row in rows} == {"CNY"}
    assert [row["list_currency"] for row in rows] == ["CNY", "CNY", "USD", "USD"]
    assert rows[2]["miss_price"] == pytest.approx(5 * rows[2]["exchange_rate"])
    assert any("1 USD = " in note for note in notes)


def test_prices_over_time(answer):
    rows, _ = answer("prices --history --currency USD deepseek-v4-pro")
    assert [row["miss_price"] for row in rows] == [1.74, 0.435, 0.435, 0.435, 1.32, 0.66]
    assert rows[0]["price_until"] == "2026-04-25" and rows[-1]["price_until"] is None


def test_prices_drawn(run, tmp_path):
    path = tmp_path / "moves.svg"
    line = f"prices deepseek-v4-pro gpt-5.5 --date 2026-11-25 --plot {path}"
    assert run(line)[0] == 0
    first = path.read_bytes()
    assert b"DeepSeek-V4-Pro" in first and b"GPT-5.5" in first
    assert run(line)[0] == 0
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("prices gpt-6", ["'gpt-6'", "did you mean 'gpt-6-astra'"]),
        ("prices --provider opnai", ["'opnai'", "did you mean 'openai'"]),
        ("prices gpt-5.5 --provider anthropic", ["'gpt-5.5'", "does not sell"]),
        ("prices mimo-v2.5-pro", ["ended on 2026-10-21 02:00 UTC", "mimo-v2.6-pro"]),
        ("prices --plot x.svg", ["--plot", "1 to 7 products"]),
        ("prices gpt-5.5 --plot nowhere/x.svg", ["--plot", "no such folder"]),
        ("prices gpt-5.5 --plot x.bmp", ["--plot", ".svg, .png or .pdf"]),
        ("prices --date 1999-01-01", ["no prices", "1999-01-01"]),
    ],
)
def test_prices_refused(line, words, run):
    status, out, err = run(line)
    assert (status, out) == (2, "")
    assert all(word in err for word in words), err


def test_nothing_costs_nothing(answer):
    rows, _ = answer("bill --input 0 --output 0 --hit-rate 0")
    assert {row["total_amount"] for row in rows} == {0}
    assert rows[1]["of_first"] is None


COUNTS = {"4096": 4096, "128K": 131_072, "128k": 131_072, "1M": 2**20, "0.5M": 2**19, "1e6": 10**6, "4_096": 4096}
EXACT = {"4096.00": 4096, "9007199254740991": 2**53 - 1, "9007199254740992": 2**53, "8589934592M": 2**53}


@pytest.mark.parametrize(("text", "tokens"), list((COUNTS | EXACT).items()))
def test_token_counts(text, tokens, answer):
    rows, _ = answer(f"kv llama-2-7b --tokens {text}")
    assert rows[0]["tokens"] == tokens


def test_absurd_but_whole(answer):
    rows, _ = answer("flops mimo-v2.5 --tokens 1000000000000000 --phase prefill")
    assert rows[0]["total_flops"] > 1e29
    answer("kv mimo-v2.5 --tokens 1000000000000000")
    answer("bill --input 1000000000000000 --output 1000000000000000 --hit-rate 0 --calls 1000000000000000")


def test_help_and_version(run):
    status, out, err = run("--version")
    assert (status, out.strip(), err) == (0, f"costlab {__version__}", "")
    for verb in ("", "models", "kv", "flops", "moe", "roofline", "speculate", "bill"):
        status, out, _ = run(f"{verb} --help")
        assert status == 0
        assert out.startswith(f"usage: costlab {verb}".rstrip())


# --- errors ----------------------------------------------------------------------------------------------------

ROOF = "roofline deepseek-v3 --chip h800 --chips 16 --batch 1 --tokens 10"
ROOF_1M = "roofline deepseek-v3.2 --chip h200 --chips 8 --batch 4 --tokens 1M"
ROOF_128K = "roofline deepseek-v3 --chip h200 --chips 8 --batch 17 --tokens 128K"
BILL = "bill --input 10 --output 10 --hit-rate 0"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", ["VERB"]),
        ("price", ["'price'", "models", "kv", "flops", "roofline", "bill", "prices"]),
        ("kv", ["MODEL"]),
        ("kv llama-2-7b", ["--tokens"]),
        ("kv llama-2-7b --tokens -1", ["--tokens", "'-1'", "from 1"]),
        ("kv llama-2-7b --tokens 0", ["--tokens", "'0'", "from 1"]),
        ("kv llama-2-7b --tokens 1e400", ["--tokens", "'1e400'"]),
        ("kv llama-2-7b --tokens 1e300", ["--tokens", "'1e300'", "2**53"]),
        ("kv llama-2-7b --tokens 9007199254740993", ["--tokens", "'9007199254740993'", "2**53"]),
        ("kv llama-2-7b --tokens 4096.00000000000000000001", ["--tokens", "'4096.00000000000000000001'", "whole"]),
        ("kv llama-2-7b --tokens 1e999999999", ["--tokens", "'1e999999999'", "4096"]),
        ("kv llama-2-7b --tokens 1e-999999999", ["--tokens", "'1e-999999999'", "4096"]),
        ("kv llama-2-7b --tokens inf", ["--tokens", "'inf'"]),
        ("kv llama-2-7b --tokens nan", ["--tokens", "'nan'", "4096"]),
        ("kv llama-2-7b --tokens abc", ["--tokens", "'abc'", "4096", "128K"]),
        ("kv llama-2-7b --tokens 1.5", ["--tokens", "'1.5'", "whole"]),
        ("kv llama-2-7b --tokens K", ["--tokens", "'K'"]),
        ("kv llama-2-7b --tokens 10 --batch 0", ["--batch", "'0'", "from 1"]),
        ("kv llama-2-8b --tokens 10", ["'llama-2-8b'", "did you mean 'llama-2-7b'", "llama-3.1-8b", "more"]),
        ("kv llama-2-7b gpt-5.5 --tokens 10", ["'gpt-5.5'", "gpt-oss-120b", " more"]),
        ("flops llama-2-7b --tokens 10 --phase train", ["'train'", "prefill", "decode"]),
        ("flops nope --tokens 10", ["'nope'", "llama-2-7b"]),
        ("roofline nope --chip h800 --chips 8 --batch 1 --tokens 10", ["'nope'", "llama-2-7b"]),
        (ROOF.replace("h800", "h80"), ["'h80'", "did you mean 'h800'", "b200"]),
        (ROOF.replace("--chips 16", "--chips 0"), ["--chips", "'0'", "from 1"]),
        (ROOF.replace("--batch 1", "--batch -4"), ["--batch", "'-4'", "from 1"]),
        (f"{ROOF} --tensor-parallel 3", ["16 chips", "tensor_parallel = 3"]),
        (
            ROOF.replace("--chips 16", "--chips 8"),
            ["DeepSeek-V3 does not fit on 8", "100.8 GB of weights", "80 GB of memory 72 GB may"],
        ),
        (ROOF_1M, ["batch 4", "at most 0 would", "25.2", "50.4 GB on each chip of its replica"]),
        (ROOF_128K, ["batch 17", "at most 16 would", "26.08 GB free", "9.21"]),
        (f"{ROOF} --compute-efficiency 1.5", ["compute efficiency", "1.5"]),
        (f"{ROOF} --link-efficiency nan", ["link efficiency", "nan"]),
        (f"{ROOF} --rent -1", ["rent", "-1"]),
        (f"{ROOF} --rent nan", ["rent", "nan"]),
        (f"{ROOF} --rent inf", ["rent", "inf"]),
        (f"{ROOF} --rent much", ["--rent", "'much'"]),
        (ROOF.replace("h800", "ascend-910b").replace("16", "32"), ["no rent of 'ascend-910b'", "--rent", "USD"]),
        (f"{BILL} gpt-5.7", ["unknown product with a price 'gpt-5.7'", "costlab prices"]),
        (f"{BILL} gemini-2.5-po", ["unknown product with a price 'gemini-2.5-po'; did you mean 'gemini-2.5-pro'?"]),
        (f"{BILL} --hit-tokens 1", ["--hit-rate", "--hit-tokens", "one of"]),
        ("bill --input 10 --output 10", ["--hit-rate", "--hit-tokens", "one of"]),
        ("bill --input 10 --output 10 --hit-tokens 11", ["hit_tokens = 11", "10 input tokens"]),
        ("bill --output 10 --hit-rate 0", ["--input is missing"]),
        (f"{BILL} --thinking 11", ["thinking_tokens = 11", "10 output tokens"]),
        (f"{BILL} --over month", ["--over", "'month'", "week"]),
        (f"{BILL} --service bulk gpt-5.5", ["no service 'bulk'", "batch", "flex"]),
        (f"{BILL} --date 2026-11-17 mimo-v2.5-pro", ["ended on 2026-10-21 02:00 UTC", "mimo-v2.6-pro"]),
        (f"{BILL} --date 2026-11-17 claude-opus-4", ["ended on 2026-06-15 00:00 UTC", "claude-opus-4.6"]),
        (MOE, ["256 experts", "144 ranks", "32 redundant ones would make it 288"]),
        (f"{MOE} --redundant 31", ["287 slots", "144 ranks", "32 redundant"]),
        (f"{MOE} --redundant -1", ["--redundant", "'-1'", "from 0"]),
        ("moe deepseek-v3 --redundant 1", ["257 slots per rank for 256 experts"]),
        ("moe llama-2-7b", ["llama-2-7b", "has no layer with experts"]),
        (f"{BILL} --currency XYZ", ["'XYZ'", "CNY, EUR, USD"]),
        (f"{BILL} --date 2026-13-01", ["'2026-13-01'", "2026-06-01"]),
        (f"{BILL} --date 0001-01-01T00:00+10:00", ["'0001-01-01T00:00+10:00'", "2026-06-01"]),
        (f"{BILL} --date 1999-01-01", ["1999-01-01", "2026-04-24"]),
        (f"{BILL} --hit-rate 1.5", ["hit_rate", "1.5", "between 0 and 1"]),
        (f"{BILL} --hit-rate nan", ["hit_rate", "nan"]),
        (f"{BILL} --calls 0", ["--calls", "'0'", "from 1"]),
        (f"{BILL} --write 11", ["write_tokens = 11", "10 input tokens"]),
        (BILL.replace("--input 10", "--input -5"), ["--input", "'-5'", "from 0"]),
        (BILL.replace("--output 10", "--output 1e400"), ["--output", "'1e400'"]),
    ],
)
def test_errors(line, words, run):
    status, out, err = run(line)
    assert status == 2
    assert out == ""
    assert err.startswith("costlab")
    assert "Traceback" not in err
    assert len(err.splitlines()[0]) < 700
    for word in words:
        assert word in err, err


# --- as a process ----------------------------------------------------------------------------------------------


def process(*args, **options):
    return subprocess.run(
        [sys.executable, "-m", "costlab.cli", *args], env=ENV, stderr=subprocess.PIPE, timeout=600, **options
    )


def test_process_answers():
    done = process("kv", "deepseek-v4-pro", "--tokens", "1M", "--json", stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["rows"][0]["total_bytes"] == pytest.approx(5.28e9, abs=5e6)


def test_process_refuses():
    done = process("kv", "nope", "--tokens", "10", stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"unknown model 'nope'" in done.stderr


def test_a_reader_that_has_gone():
    """`costlab models | head -1` ends quietly."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = process("models", stdout=write)
    finally:
        os.close(write)
    assert done.stderr == b""
    assert done.returncode == 0
