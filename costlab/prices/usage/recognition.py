"""Which provider's usage object it is, by its fields; what could be two is refused, not guessed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from costlab.prices.usage.fields import UsageFault
from costlab.prices.usage.formats import LOG_ENTRY, USAGE_FORMATS


def recognised(usage: Mapping[str, Any], family: str | None) -> str:
    """Return the format that an object's fields speak for.

    Args:
        usage: the object.
        family: the format that the record around it speaks for, None where it speaks for none.

    Raises:
        UsageFault: fields of no known format, of two, or of either of two.
    """
    there = {name for name, value in usage.items() if value is not None}
    if there & {"promptTokenCount", "prompt_token_count", "candidatesTokenCount", "candidates_token_count"}:
        return "gemini"
    chat, plain = there & {"prompt_tokens", "completion_tokens"}, there & {"input_tokens", "output_tokens"}
    if there & {"prompt_cache_hit_tokens", "prompt_cache_miss_tokens"}:
        return "deepseek"
    if there & {"cost", "cost_details", "is_byok", *LOG_ENTRY}:
        return "openrouter"
    if "cost_in_usd_ticks" in there:
        return "xai"
    anthropic = there & _ANTHROPIC_MARKS
    if anthropic and chat:
        _ambiguous(chat, "openai", anthropic, "anthropic")
    if anthropic:
        return "anthropic"
    if chat or there & {"input_tokens_details"}:
        return family if family == "xai" else "openai"
    if plain:
        return family or _family_of_plain(usage, plain)
    raise UsageFault("", f"no counts of a known format; known: {', '.join(USAGE_FORMATS)} (--format)")


def _family_of_plain(usage: Mapping[str, Any], plain: set[str]) -> str:
    details = usage.get("output_tokens_details")
    if isinstance(details, dict) and "reasoning_tokens" in details and "total_tokens" in usage:
        return "openai"
    _ambiguous(plain, "openai", plain, "anthropic")


_ANTHROPIC_MARKS = {
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation",
    "server_tool_use",
    "inference_geo",
    "iterations",
}


def _ambiguous(one: set[str], first: str, other: set[str], second: str) -> NoReturn:
    names = " and ".join(sorted(one | other))
    problem = f"may be {first}'s, with cached tokens in the input, or {second}'s, without; say which (--format)"
    raise UsageFault(names, problem)
