"""What providers' usage objects count: documented shapes, and the mistakes that others made with them."""

import pytest
from logged import NOON, counts_of, record_of

from costlab.catalog import PriceRow
from costlab.prices import Counts, charge
from costlab.prices.usage import USAGE_FORMATS

#: (source, document, hit, miss, write, write_long, output, thinking)
READ = [
    # OpenAI, chat completions: cached and reasoning lie within (openai 3.57.0, types/completion_usage.py)
    (
        "developers.openai.com, prompt caching",
        {
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 120, "rejected_prediction_tokens": 7},
        },
        (1920, 86, 0, 0, 300, 120),
    ),
    # cache writes from GPT-5.6 on replace the input they are part of
    (
        "laravel/ai 846",
        {
            "input_tokens": 18_014,
            "input_tokens_details": {"cache_write_tokens": 18_011, "cached_tokens": 0},
            "output_tokens": 5,
            "total_tokens": 18_019,
        },
        (0, 3, 18_011, 0, 5, 0),
    ),
    (
        "dotnet/extensions 7635",
        {
            "prompt_tokens": 9657,
            "completion_tokens": 78,
            "total_tokens": 9735,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 9654, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 37, "audio_tokens": 0, "accepted_prediction_tokens": 0},
        },
        (0, 3, 9654, 0, 78, 37),
    ),
    (
        "openai 3.57.0, types/responses/response_usage.py",
        {
            "input_tokens": 2600,
            "input_tokens_details": {
                "cached_tokens": 2000,
                "cache_write_tokens": 400,
                "cache_write_tokens_details": {"ttl_12h_tokens": 300, "ttl_30m_tokens": 100},
            },
            "output_tokens": 10,
            "output_tokens_details": {"reasoning_tokens": 4},
            "total_tokens": 2610,
        },
        (2000, 200, 100, 300, 10, 4),
    ),
    # Moonshot's hits stand beside prompt_tokens, not in its details
    (
        "earendil-works/pi 8119",
        {"prompt_tokens": 90, "completion_tokens": 4, "cached_tokens": 64},
        (64, 26, 0, 0, 4, 0),
    ),
    # xAI counts reasoning beside the completion; the total tells, whoever passes it on
    (
        "Wei-Shaw/sub2api 5771",
        {
            "prompt_tokens": 10_120,
            "completion_tokens": 1499,
            "total_tokens": 14_428,
            "prompt_tokens_details": {"cached_tokens": 128},
            "completion_tokens_details": {"reasoning_tokens": 2809},
        },
        (128, 9992, 0, 0, 4308, 2809),
    ),
    (
        "vercel/ai 12425",
        {
            "prompt_tokens": 12,
            "completion_tokens": 1,
            "total_tokens": 399,
            "completion_tokens_details": {"reasoning_tokens": 386},
        },
        (0, 12, 0, 0, 387, 386),
    ),
    # DeepSeek: hits and misses add up to the prompt
    (
        "api-docs.deepseek.com",
        {
            "prompt_tokens": 1000,
            "completion_tokens": 50,
            "total_tokens": 1050,
            "prompt_tokens_details": {"cached_tokens": 640},
            "completion_tokens_details": {"reasoning_tokens": 20},
            "prompt_cache_hit_tokens": 640,
            "prompt_cache_miss_tokens": 360,
        },
        (640, 360, 0, 0, 50, 20),
    ),
    # Anthropic: three kinds of input that leave one another out
    (
        "anthropic 2.14.0, types/usage.py",
        {
            "input_tokens": 21,
            "cache_creation_input_tokens": 3000,
            "cache_read_input_tokens": 188_086,
            "cache_creation": {"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 2000},
            "output_tokens": 393,
            "output_tokens_details": {"thinking_tokens": 100},
            "service_tier": "standard",
            "inference_geo": "global",
            "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0},
        },
        (188_086, 21, 1000, 2000, 393, 100),
    ),
    # Gemini: cached within the prompt, thoughts beside the candidates, tools' results more input
    (
        "Wei-Shaw/sub2api 554",
        {
            "promptTokenCount": 55_021,
            "candidatesTokenCount": 923,
            "thoughtsTokenCount": 785,
            "totalTokenCount": 56_729,
        },
        (0, 55_021, 0, 0, 1708, 785),
    ),
    (
        "google-genai 3.6.1, types.py",
        {
            "prompt_token_count": 1000,
            "cached_content_token_count": 700,
            "candidates_token_count": 20,
            "thoughts_token_count": None,
            "tool_use_prompt_token_count": 50,
            "total_token_count": 1070,
            "prompt_tokens_details": [
                {"modality": "TEXT", "token_count": 742},
                {"modality": "IMAGE", "token_count": 258},
            ],
        },
        (700, 350, 0, 0, 20, 0),
    ),
    # before May 2025 its candidates held the thoughts; the total tells
    (
        "BerriAI/litellm 10141",
        {"promptTokenCount": 10, "candidatesTokenCount": 100, "thoughtsTokenCount": 80, "totalTokenCount": 110},
        (0, 10, 0, 0, 100, 80),
    ),
    # OpenRouter's log: native tokens are billed, not those of the common tokenizer
    (
        "anomalyco/opencode 534",
        {
            "tokens_prompt": 12_572,
            "tokens_completion": 376,
            "native_tokens_prompt": 15_328,
            "native_tokens_completion": 457,
            "native_tokens_reasoning": 0,
            "native_tokens_cached": 15_252,
            "usage": 0.0117111,
        },
        (15_252, 76, 0, 0, 457, 0),
    ),
]


@pytest.mark.parametrize(("source", "document", "counts"), READ, ids=[each[0] for each in READ])
def test_what_is_counted(source, document, counts):
    assert counts_of(document) == counts
    assert counts_of({"model": "m", "created": 1_783_823_520, "usage": document}) == counts


def test_a_provider_billed_the_reasoning_beside_the_completion():
    """Sub2api 5771: xAI's own cost_in_usd_ticks, 1e10 to the dollar, equals the counts at its list of that day."""
    usage = {**READ[5][1], "cost_in_usd_ticks": 232_856_000}
    record = record_of({"model": "grok-4.20", "created": 1_787_000_000, "usage": usage})
    row = PriceRow("grok-4.20", "xAI", "USD", 1.25, 2.5, NOON.date(), "issue", NOON.date(), hit=0.2)
    assert record.format == "xai"
    assert charge(row, *record.calls).total == record.reported
    assert float(record.reported) == 0.0232856


def test_a_compaction_is_billed_beside_the_counts_above_it():
    """pydantic-ai 5065: the top of the record leaves it out; each iteration is a call with a tier of its own."""
    usage = {
        "input_tokens": 23_000,
        "output_tokens": 1000,
        "cache_read_input_tokens": 0,
        "iterations": [
            {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3500},
            {"type": "message", "input_tokens": 23_000, "output_tokens": 1000},
        ],
    }
    record = record_of({"model": "claude-opus-5", "created": 1_785_000_000, "usage": usage})
    assert record.calls == (Counts(miss=180_000, output=3500), Counts(miss=23_000, output=1000))
    assert any("compaction" in note for note in record.notes)


# --- which format ----------------------------------------------------------------------------------------------

PLAIN = {"input_tokens": 10, "output_tokens": 5}


@pytest.mark.parametrize(
    ("document", "format"),
    [
        ({"usage": {"prompt_tokens": 1, "completion_tokens": 1}}, "openai"),
        ({"usage": {**PLAIN, "input_tokens_details": {"cached_tokens": 0}}}, "openai"),
        ({"object": "response", "usage": PLAIN}, "openai"),
        ({"type": "message", "usage": PLAIN}, "anthropic"),
        ({"model": "claude-opus-5", "usage": PLAIN}, "anthropic"),
        ({"model": "gpt-5.5", "usage": PLAIN}, "openai"),
        ({"usage": {**PLAIN, "cache_read_input_tokens": 3}}, "anthropic"),
        ({"usage": {"prompt_tokens": 4, "completion_tokens": 1, "prompt_cache_hit_tokens": 4}}, "deepseek"),
        ({"usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 3}, "modelVersion": "gemini-x"}, "gemini"),
        ({"usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.1}}, "openrouter"),
        ({"data": {"native_tokens_prompt": 1, "native_tokens_completion": 1, "usage": 0.5}}, "openrouter"),
        ({"model": "grok-4.7", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}, "xai"),
        ({"custom_id": "1", "response": {"body": {"object": "chat.completion", "usage": READ[0][1]}}}, "openai"),
        (
            {"custom_id": "1", "result": {"type": "succeeded", "message": {"type": "message", "usage": PLAIN}}},
            "anthropic",
        ),
        ({"type": "response.completed", "response": {"object": "response", "usage": PLAIN}}, "openai"),
        ({"type": "assistant", "message": {"type": "message", "usage": PLAIN}}, "anthropic"),
    ],
)
def test_recognised_by_its_fields(document, format):
    assert record_of(document, model="m", moment=NOON).format == format


@pytest.mark.parametrize(
    ("usage", "words"),
    [
        (PLAIN, ["input_tokens", "openai", "anthropic", "--format"]),
        ({**PLAIN, "total_tokens": 15}, ["input_tokens", "openai", "anthropic", "--format"]),
        (
            {"prompt_tokens": 9, "completion_tokens": 1, "cache_read_input_tokens": 4},
            ["prompt_tokens", "cache_read_input_tokens", "--format"],
        ),
        ({"tokens": 9}, ["no usage object"]),
        ({"image_tokens": 9, "input_images": 1}, ["no usage object"]),
    ],
)
def test_ambiguous_ones_are_refused_by_name(usage, words):
    with pytest.raises(ValueError) as error:
        record_of(usage, model="m", moment=NOON)
    assert all(word in str(error.value) for word in words)


def test_the_format_can_be_said():
    assert counts_of(PLAIN, format="anthropic") == counts_of(PLAIN, format="openai") == (0, 10, 0, 0, 5, 0)
    proxied = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 4}}
    assert counts_of({**proxied, "cache_read_input_tokens": 4}, format="openai") == (4, 5, 0, 0, 1, 0)
    with pytest.raises(ValueError, match="cache_read_input_tokens: 5 contradicts 4"):
        counts_of({**proxied, "cache_read_input_tokens": 5}, format="openai")


def test_every_format_was_read():
    read = {
        record_of(document, model="grok-4" if "5771" in source else "m", moment=NOON).format
        for source, document, _ in READ
    }
    assert read == set(USAGE_FORMATS)


# --- what is refused, or said ----------------------------------------------------------------------------------

CHAT = {"prompt_tokens": 100, "completion_tokens": 10}


@pytest.mark.parametrize(
    ("usage", "words"),
    [
        # cached > input
        ({**CHAT, "prompt_tokens_details": {"cached_tokens": 101}}, ["cached_tokens", "101", "100"]),
        (
            {**CHAT, "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 50}},
            ["60 cached and 50 written", "100"],
        ),
        ({"promptTokenCount": 10, "cachedContentTokenCount": 11}, ["cachedContentTokenCount", "11", "10"]),
        (
            {"native_tokens_prompt": 3, "native_tokens_completion": 1, "native_tokens_cached": 4},
            ["native_tokens_cached"],
        ),
        # parts that contradict the whole
        ({**CHAT, "total_tokens": 111}, ["total_tokens", "111", "110"]),
        ({**PLAIN, "input_tokens_details": {}, "total_tokens": 16}, ["total_tokens", "16", "15"]),
        ({"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 16}, ["totalTokenCount", "16", "15"]),
        ({**CHAT, "prompt_cache_hit_tokens": 60, "prompt_cache_miss_tokens": 50}, ["prompt_tokens", "60", "50"]),
        ({**CHAT, "prompt_cache_miss_tokens": 101}, ["prompt_tokens"]),
        (
            {**PLAIN, "cache_creation_input_tokens": 5, "cache_creation": {"ephemeral_5m_input_tokens": 4}},
            ["cache_creation_input_tokens", "5", "4"],
        ),
        ({**CHAT, "completion_tokens_details": {"reasoning_tokens": 11}}, ["reasoning_tokens", "11", "10"]),
        (
            {
                **CHAT,
                "prompt_tokens_details": {"cache_write_tokens": 9, "cache_write_tokens_details": {"ttl_12h_tokens": 8}},
            },
            ["cache_write_tokens", "9", "8"],
        ),
        (
            {
                **PLAIN,
                "cache_read_input_tokens": 0,
                "iterations": [{"type": "message", "input_tokens": 9, "output_tokens": 5}],
            },
            ["iterations", "input_tokens"],
        ),
        # no counts
        ({**CHAT, "prompt_tokens": -1}, ["prompt_tokens", "-1"]),
        ({**CHAT, "prompt_tokens": 1.5}, ["prompt_tokens", "1.5"]),
        ({**CHAT, "prompt_tokens": True}, ["prompt_tokens", "True"]),
        ({**CHAT, "prompt_tokens": "100"}, ["prompt_tokens", "'100'"]),
        ({**CHAT, "prompt_tokens": 2**53 + 1}, ["prompt_tokens", "2**53"]),
        ({"completion_tokens": 10}, ["prompt_tokens", "missing"]),
        ({**CHAT, "prompt_tokens_details": [1]}, ["prompt_tokens_details", "[1]", "object"]),
        # kinds of tokens with other prices, or of which nothing is known here
        ({**CHAT, "prompt_tokens_details": {"audio_tokens": 7}}, ["prompt_tokens_details.audio_tokens", "7"]),
        ({**CHAT, "completion_tokens_details": {"audio_tokens": 7}}, ["completion_tokens_details.audio_tokens", "7"]),
        ({**CHAT, "completion_tokens_details": {"image_tokens": 7}}, ["image_tokens", "7"]),
        ({**CHAT, "prompt_tokens_details": {"smell_tokens": 7}}, ["prompt_tokens_details.smell_tokens = 7"]),
        ({**CHAT, "extra_details": {"steps": {"tool_tokens": 7}}}, ["extra_details.steps.tool_tokens = 7"]),
        (
            {"promptTokenCount": 9, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 4}]},
            ["promptTokensDetails[0].tokenCount", "audio"],
        ),
        (
            {
                "promptTokenCount": 9,
                "candidatesTokenCount": 4,
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 4}],
            },
            ["candidatesTokensDetails", "image"],
        ),
        (
            {**PLAIN, "cache_read_input_tokens": 0, "iterations": [{"type": "advisor_message", "model": "x", **PLAIN}]},
            ["iterations[0].type", "advisor_message"],
        ),
        # xAI's convention depends on who passes the record on
        (
            {**CHAT, "completion_tokens_details": {"reasoning_tokens": 4}, "cost_in_usd_ticks": 1},
            ["total_tokens", "missing", "reasoning"],
        ),
    ],
)
def test_refused_with_the_field(usage, words):
    with pytest.raises(ValueError) as error:
        record_of({"model": "m", "created": 1_783_823_520, "usage": usage})
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("usage", "word"),
    [
        ({**PLAIN, "cache_read_input_tokens": 0, "server_tool_use": {"web_search_requests": 3}}, "web_search_requests"),
        ({**PLAIN, "cache_read_input_tokens": 0, "inference_geo": "us"}, "inference_geo 'us'"),
        ({**PLAIN, "cache_creation_input_tokens": 9}, "without a lifetime"),
        ({**CHAT, "prompt_tokens_details": {"image_tokens": 7}}, "image_tokens"),
        ({**CHAT, "num_sources_used": 2, "cost_in_usd_ticks": 1}, "num_sources_used"),
        ({"native_tokens_prompt": 9, "native_tokens_completion": 1, "cache_discount": -0.01}, "cache_discount"),
    ],
)
def test_said_by_name(usage, word):
    record = record_of({"model": "m", "created": 1_783_823_520, "usage": usage})
    assert [note for note in record.notes if word in note]


@pytest.mark.parametrize(
    "usage",
    [
        {**CHAT, "prompt_tokens": 100.0, "prompt_tokens_details": {"audio_tokens": 0, "smell_tokens": 0}},
        {**CHAT, "prompt_tokens_details": None, "completion_tokens_details": None, "total_tokens": None},
        {**CHAT, "queue_time": 0.1, "tokens_per_second": 83.2, "max_tokens": 4096},
    ],
)
def test_what_changes_no_bill_is_let_be(usage):
    assert counts_of(usage) == (0, 100, 0, 0, 10, 0)
