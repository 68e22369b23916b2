"""What providers' usage objects count, and how each becomes the counts that are billed.

Their conventions differ, and a bill that mixes them up is wrong by whole factors:

- `openai`: `prompt_tokens` (chat completions) and `input_tokens` (responses) include what was found in the cache
  (`cached_tokens`) and what was written to it (`cache_write_tokens`, billed from GPT-5.6 on); reasoning lies within
  the output. Many others return the same shape, Moonshot with `cached_tokens` beside `prompt_tokens`.
- `xai`: the shape of OpenAI, but chat completions count reasoning beside `completion_tokens`; the total tells.
- `deepseek`: `prompt_tokens` = `prompt_cache_hit_tokens` + `prompt_cache_miss_tokens`.
- `anthropic`: `input_tokens` leaves out both `cache_read_input_tokens` and `cache_creation_input_tokens`; a server-side
  loop's `iterations` are calls of their own, and those that compact the context stand in no sum above them.
- `gemini`: `promptTokenCount` includes the cached ones, `candidatesTokenCount` leaves out the thoughts,
  `toolUsePromptTokenCount` is more input.
- `openrouter`: the shape of OpenAI and what was charged as `cost`; or an entry of its log, counted in native tokens.

Source: types of openai 3.57.0, anthropic 2.14.0, google-genai 3.6.1 and openrouter 1.3.84 (PyPI, read 2026-11-27);
api-docs.deepseek.com; docs.x.ai, cost tracking; earendil-works/pi PR 8119 (Moonshot); vercel/ai PR 12425 (xAI).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal

from costlab.prices.usage.fields import UsageFault, UsageFields, shown
from costlab.prices.workload import Counts


@dataclass(frozen=True)
class UsageReading:
    """What a usage object says."""

    calls: tuple[Counts, ...]  # what is billed; several where a server looped within one response
    notes: tuple[str, ...] = ()  # what it counts that is not in the amounts, or was taken as something, by field
    service: str | None = None  # how it was served, in the provider's word; None where not said here
    reported: Decimal | None = None  # what the record itself says it cost, in dollars


# --- OpenAI and those who return its shape ---------------------------------------------------------------------


def _openai(usage: UsageFields) -> UsageReading:
    return _chat(usage) if "prompt_tokens" in usage or "completion_tokens" in usage else _responses(usage)


def _xai(usage: UsageFields) -> UsageReading:
    ticks = usage.optional("cost_in_usd_ticks")
    notes = _searches(usage, "num_sources_used", "num_server_side_tools_used")
    if "prompt_tokens" in usage and "total_tokens" not in usage:
        reasoning = usage.inner("completion_tokens_details").count("reasoning_tokens")
        if reasoning:
            problem = "is missing: it tells whether completion_tokens hold the reasoning, as gateways send it, or not"
            raise UsageFault(usage.named("total_tokens"), problem)
    read = _openai(usage)
    reported = None if ticks is None else Decimal(ticks).scaleb(-10)
    return UsageReading(read.calls, (*read.notes, *notes), None, reported)


def _chat(usage: UsageFields, hit: int | None = None) -> UsageReading:
    """Return the counts of a chat completion; the total tells whether reasoning lies in or beside the completion.

    Args:
        usage: the object.
        hit: tokens found in the cache where another field says it.
    """
    prompt, completion = usage.needed("prompt_tokens"), usage.needed("completion_tokens")
    details, out = usage.inner("prompt_tokens_details"), usage.inner("completion_tokens_details")
    reasoning = out.count("reasoning_tokens")
    total = usage.optional("total_tokens")
    within, outside = prompt + completion, prompt + completion + reasoning
    if total is not None and total not in (within, outside):
        sums = f"{within:,} ({prompt:,} + {completion:,})"
        raise UsageFault(usage.named("total_tokens"), f"{total:,} should be {sums}: the parts contradict it")
    output = completion if total is None else total - prompt
    return _split(usage, details, out, prompt, output, reasoning, hit)


def _responses(usage: UsageFields) -> UsageReading:
    prompt, output = usage.needed("input_tokens"), usage.needed("output_tokens")
    details, out = usage.inner("input_tokens_details"), usage.inner("output_tokens_details")
    _check_total(usage, "total_tokens", {"input_tokens": prompt, "output_tokens": output})
    return _split(usage, details, out, prompt, output, out.count("reasoning_tokens"))


def _split(
    usage: UsageFields,
    details: UsageFields,
    out: UsageFields,
    prompt: int,
    output: int,
    reasoning: int,
    hit: int | None = None,
) -> UsageReading:
    """Return an input that includes what was cached, divided into its kinds."""
    notes = [*_media(details, "image_tokens", "video_tokens", "file_tokens"), *_no_audio(details, out)]
    for each in (details, out):
        each.skip("text_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens")
    cached = _same(hit, details.optional("cached_tokens"), details.named("cached_tokens"))
    cached = _same(cached, usage.optional("cached_tokens"), usage.named("cached_tokens")) or 0
    # proxies repeat the counts in Anthropic's words
    _same(cached, usage.optional("cache_read_input_tokens"), usage.named("cache_read_input_tokens"))
    written = details.count("cache_write_tokens")
    _same(written, details.optional("cache_creation_tokens"), details.named("cache_creation_tokens"))
    _same(written, usage.optional("cache_creation_input_tokens"), usage.named("cache_creation_input_tokens"))
    long = _written_long(details, written)
    if cached + written > prompt:
        what = f"{cached:,} cached" + (f" and {written:,} written" if written else "")
        raise UsageFault(details.named("cached_tokens"), f"{what} exceed the {prompt:,} tokens of the input")
    if reasoning > output:
        raise UsageFault(out.named("reasoning_tokens"), f"{reasoning:,} exceed the {output:,} output tokens")
    if written and "cache_write_tokens_details" not in details:
        notes.append(UNSTATED_LIFETIME)
    counts = Counts(
        hit=cached,
        miss=prompt - cached - written,
        write=written - long,
        write_long=long,
        output=output,
        thinking=reasoning,
    )
    return UsageReading((counts,), tuple(notes))


def _written_long(details: UsageFields, written: int) -> int:
    """Return how many of the written tokens are kept for the longer lifetime."""
    if "cache_write_tokens_details" not in details:
        return 0
    lives = details.inner("cache_write_tokens_details")
    short = lives.count("ttl_30m_tokens", "ttl_5m_tokens")
    long = lives.count("ttl_12h_tokens", "ttl_1h_tokens")
    if short + long != written:
        problem = f"{written:,} should be {short + long:,}, the sum of its lifetimes"
        raise UsageFault(details.named("cache_write_tokens"), problem)
    return long


def _deepseek(usage: UsageFields) -> UsageReading:
    prompt, hit, miss = (usage.optional(f"prompt{name}_tokens") for name in ("", "_cache_hit", "_cache_miss"))
    if hit is None:
        if prompt is None or miss is None:
            raise UsageFault(usage.named("prompt_cache_hit_tokens"), "is missing")
        hit = prompt - miss
    if prompt is None:
        raise UsageFault(usage.named("prompt_tokens"), "is missing")
    if hit < 0 or hit > prompt or (miss is not None and hit + miss != prompt):
        parts = f"prompt_cache_hit_tokens = {hit:,} and prompt_cache_miss_tokens = {miss or 0:,}"
        raise UsageFault(usage.named("prompt_tokens"), f"{prompt:,} should be the sum of {parts}")
    return _chat(usage, hit=hit)


def _openrouter(usage: UsageFields) -> UsageReading:
    if any(name in usage for name in LOG_ENTRY):
        return _log_entry(usage)
    cost, byok = _amount(usage, "cost"), usage.values.get("is_byok") is True
    upstream = _amount(usage.inner("cost_details"), "upstream_inference_cost")
    usage.skip("is_byok", "cost_details")
    tools = usage.inner("server_tool_use_details", "server_tool_use")
    read = _chat(usage) if "prompt_tokens" in usage else _responses(usage)
    notes = _searches(tools, "web_search_requests")
    return UsageReading(read.calls, (*read.notes, *notes), None, upstream if byok and upstream is not None else cost)


#: What an entry of OpenRouter's log counts.
LOG_ENTRY = ("native_tokens_prompt", "native_tokens_completion")


def _log_entry(entry: UsageFields) -> UsageReading:
    """Return an entry of OpenRouter's log; billed are native tokens, the others are a common tokenizer's."""
    prompt, output = (entry.needed(name) for name in LOG_ENTRY)
    cached, reasoning = entry.count("native_tokens_cached"), entry.count("native_tokens_reasoning")
    entry.skip("tokens_prompt", "tokens_completion")
    if cached > prompt:
        problem = f"{cached:,} exceed native_tokens_prompt = {prompt:,}"
        raise UsageFault(entry.named("native_tokens_cached"), problem)
    if reasoning > output:
        problem = f"{reasoning:,} exceed native_tokens_completion = {output:,}"
        raise UsageFault(entry.named("native_tokens_reasoning"), problem)
    if images := entry.count("native_tokens_completion_images"):
        raise UsageFault(entry.named("native_tokens_completion_images"), _apart(images, "images"))
    notes = [*_searches(entry, "num_search_results"), *_media(entry, "num_media_prompt")]
    if entry.count("num_input_audio_prompt"):
        raise UsageFault(entry.named("num_input_audio_prompt"), "audio has prices of its own, which are not known here")
    discount = _amount(entry, "cache_discount", signed=True)
    if discount is not None and discount < 0:
        notes.append("cache_discount below 0: tokens were written to a cache, but not counted; billed as misses")
    charged = [_amount(entry, name) for name in ("total_cost", "usage")]
    cost = next((amount for amount in charged if amount is not None), None)
    counts = Counts(hit=cached, miss=prompt - cached, output=output, thinking=reasoning)
    return UsageReading((counts,), tuple(notes), entry.text("service_tier"), cost)


# --- Anthropic -------------------------------------------------------------------------------------------------


def _anthropic(usage: UsageFields) -> UsageReading:
    top = _message(usage)
    iterations = usage.items("iterations")
    notes = [*_lifetime(usage, top), *_anthropic_extras(usage)]
    speed, tier = usage.text("speed"), usage.text("service_tier")
    service = speed if speed not in (None, "standard") else tier
    if not iterations:
        return UsageReading((top,), tuple(notes), service)
    calls = [_iteration(each) for each in iterations]
    told = [call for each, call in zip(iterations, calls, strict=True) if each.values.get("type") == "message"]
    for name in ("hit", "miss", "write", "write_long", "output"):
        if sum(getattr(each, name) for each in told) != getattr(top, name):
            where = usage.named("iterations")
            raise UsageFault(where, f"its messages do not add up to the record's own {_ANTHROPIC_NAMES[name]}")
    if len(told) < len(calls):
        notes.append("usage.iterations of type compaction: billed beside the record's own counts, which leave them out")
    return UsageReading(tuple(calls), tuple(notes), service)


_ANTHROPIC_NAMES = {
    "hit": "cache_read_input_tokens",
    "miss": "input_tokens",
    "write": "cache_creation_input_tokens",
    "write_long": "cache_creation_input_tokens",
    "output": "output_tokens",
}


def _iteration(entry: UsageFields) -> Counts:
    kind = entry.text("type")
    if kind not in ("message", "compaction"):
        problem = f"{shown(kind)} may be billed as another model or not at all; give its calls as records of their own"
        raise UsageFault(entry.named("type"), problem)
    entry.skip("model")
    return _message(entry)


def _message(usage: UsageFields) -> Counts:
    """Return the counts of one sampling: its three kinds of input tokens leave one another out."""
    hit, miss = usage.count("cache_read_input_tokens"), usage.needed("input_tokens")
    written, output = usage.optional("cache_creation_input_tokens"), usage.needed("output_tokens")
    lives, out = usage.inner("cache_creation"), usage.inner("output_tokens_details")
    short, long = lives.optional("ephemeral_5m_input_tokens"), lives.optional("ephemeral_1h_input_tokens")
    if short is None and long is None:
        short = written or 0
    short, long = short or 0, long or 0
    if written is not None and short + long != written:
        problem = f"{written:,} should be {short + long:,}, the sum of cache_creation's lifetimes"
        raise UsageFault(usage.named("cache_creation_input_tokens"), problem)
    thinking = out.count("thinking_tokens", "reasoning_tokens")
    if thinking > output:
        raise UsageFault(out.named("thinking_tokens"), f"{thinking:,} exceed output_tokens = {output:,}")
    total = usage.optional("total_tokens")  # Anthropic sends none; who logs it may have left the cache out of it
    if total is not None and total not in (miss + output, hit + miss + short + long + output):
        problem = f"{total:,} should be {hit + miss + short + long + output:,}: the parts contradict it"
        raise UsageFault(usage.named("total_tokens"), problem)
    return Counts(hit=hit, miss=miss, write=short, write_long=long, output=output, thinking=thinking)


def _lifetime(usage: UsageFields, counts: Counts) -> list[str]:
    return [UNSTATED_LIFETIME] if counts.write and "cache_creation" not in usage else []


def _anthropic_extras(usage: UsageFields) -> list[str]:
    tools = usage.inner("server_tool_use")
    geo = usage.text("inference_geo")
    regional = [] if geo in (None, "global", "not_available", "") else [f"inference_geo {geo!r}: {_SURCHARGE}"]
    return [*_searches(tools, "web_search_requests"), *regional]


_SURCHARGE = "a region's surcharge is not in the amounts"


# --- Gemini ----------------------------------------------------------------------------------------------------


def _gemini(usage: UsageFields) -> UsageReading:
    prompt = usage.needed("promptTokenCount", "prompt_token_count")
    cached = usage.count("cachedContentTokenCount", "cached_content_token_count")
    candidates = usage.count("candidatesTokenCount", "candidates_token_count")
    thoughts = usage.count("thoughtsTokenCount", "thoughts_token_count")
    tools = usage.count("toolUsePromptTokenCount", "tool_use_prompt_token_count")
    total = usage.optional("totalTokenCount", "total_token_count")
    apart = prompt + candidates + thoughts + tools
    if total is not None and total not in (apart, apart - thoughts):
        parts = " + ".join(f"{n:,}" for n in (prompt, candidates, thoughts, tools) if n)
        raise UsageFault(usage.named("totalTokenCount"), f"{total:,} should be {apart:,} ({parts})")
    if cached > prompt:
        problem = f"{cached:,} exceed promptTokenCount = {prompt:,}"
        raise UsageFault(usage.named("cachedContentTokenCount"), problem)
    within = total is not None and total == apart - thoughts  # as the API counted before May 2025
    if within and thoughts > candidates:
        problem = f"{thoughts:,} exceed candidatesTokenCount = {candidates:,}, and totalTokenCount leaves them out"
        raise UsageFault(usage.named("thoughtsTokenCount"), problem)
    output = candidates if within else candidates + thoughts
    counts = Counts(hit=cached, miss=prompt - cached + tools, output=output, thinking=thoughts)
    service = usage.text("serviceTier", "service_tier") or usage.text("trafficType", "traffic_type")
    return UsageReading((counts,), tuple(_modalities(usage)), service)


def _modalities(usage: UsageFields) -> list[str]:
    """Return what media lie in the input, and refuse those that have prices of their own."""
    notes = []
    for camel, snake in (
        ("promptTokensDetails", "prompt_tokens_details"),
        ("cacheTokensDetails", "cache_tokens_details"),
        ("toolUsePromptTokensDetails", "tool_use_prompt_tokens_details"),
        ("candidatesTokensDetails", "candidates_tokens_details"),
    ):
        for entry in usage.items(camel, snake):
            kind = (entry.text("modality") or "TEXT").upper()
            tokens = entry.count("tokenCount", "token_count")
            if kind in ("TEXT", "MODALITY_UNSPECIFIED") or not tokens:
                continue
            if kind == "AUDIO" or camel == "candidatesTokensDetails":
                raise UsageFault(entry.named("tokenCount"), _apart(tokens, kind.lower()))
            notes.append(f"{camel}: {kind.lower()} tokens of the input, billed as text")
    return notes


# --- small parts -----------------------------------------------------------------------------------------------

UNSTATED_LIFETIME = "written tokens without a lifetime: taken as written for the shorter one"


def _same(known: int | None, other: int | None, name: str) -> int | None:
    """Return what two fields say that should agree."""
    if known is not None and other is not None and known != other:
        raise UsageFault(name, f"{other:,} contradicts {known:,} elsewhere in the record")
    return other if known is None else known


def _check_total(usage: UsageFields, name: str, parts: Mapping[str, int]) -> None:
    total = usage.optional(name)
    if total is not None and total != sum(parts.values()):
        sums = " + ".join(f"{value:,}" for value in parts.values())
        problem = f"{total:,} should be {sum(parts.values()):,} ({sums}): the parts contradict it"
        raise UsageFault(usage.named(name), problem)


def _no_audio(*details: UsageFields) -> list[str]:
    for each in details:
        if tokens := each.count("audio_tokens"):
            raise UsageFault(each.named("audio_tokens"), _apart(tokens, "audio"))
    for name in ("image_tokens", "video_tokens"):
        if tokens := details[-1].count(name):
            raise UsageFault(details[-1].named(name), _apart(tokens, "images"))
    return []


def _apart(tokens: int, what: str) -> str:
    return f"{tokens:,} tokens of {what} have prices of their own, which are not known here"


def _media(usage: UsageFields, *names: str) -> list[str]:
    return [f"{usage.named(name)}: part of the input, billed as text" for name in names if usage.count(name)]


def _searches(usage: UsageFields, *names: str) -> list[str]:
    return [f"{usage.named(name)}: billed a piece, not in the amounts" for name in names if usage.count(name)]


_NO_AMOUNT = Decimal("NaN")
#: Of what records say that they cost, as far as any of them goes; what lies behind comes from binary fractions.
_LAST_DIGIT = Decimal(1).scaleb(-30)
_AMOUNTS = Context(prec=60)


def _amount(usage: UsageFields, name: str, signed: bool = False) -> Decimal | None:
    usage.skip(name)
    value = usage.values.get(name)
    if value is None:
        return None
    fits = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    amount = Decimal(repr(value) if isinstance(value, float) else value) if fits else _NO_AMOUNT
    if not amount.is_finite() or not abs(amount) < 10**9 or (amount < 0 and not signed):
        raise UsageFault(usage.named(name), f"{shown(value)} should be an amount of dollars")
    return amount.quantize(_LAST_DIGIT, context=_AMOUNTS)


#: How each provider's usage object is read.
USAGE_FORMATS: Mapping[str, Callable[[UsageFields], UsageReading]] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "deepseek": _deepseek,
    "gemini": _gemini,
    "openrouter": _openrouter,
    "xai": _xai,
}


def read_counts(format: str, usage: UsageFields) -> UsageReading:
    """Return what a usage object says.

    Args:
        format: one of `USAGE_FORMATS`.
        usage: the object.

    Raises:
        UsageFault: a count that is missing, no count, contradicted by another, or of a kind that is not known here.
    """
    read = USAGE_FORMATS[format](usage)
    for unknown in usage.unknown_counts():
        raise UsageFault("", f"{unknown}: a count that {format}'s records do not have; it may change the bill")
    return read
