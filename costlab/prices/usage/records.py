"""A record of a log: a usage object, and what around it says which model answered, when, and how it was served."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from costlab.prices.usage.fields import UsageFault, UsageFields, shown
from costlab.prices.usage.formats import UsageReading, read_counts
from costlab.prices.usage.recognition import recognised
from costlab.prices.workload import Counts


@dataclass(frozen=True)
class UsageRecord:
    """What one response used."""

    model: str  # its name in the record
    moment: datetime  # when, in UTC
    calls: tuple[Counts, ...]  # what is billed; several where a server looped within one response
    format: str  # one of `USAGE_FORMATS`
    service: str | None = None  # "batch", "flex", "priority" and the like; None: the standard way
    host: str | None = None  # who served it, where a router says so
    id: str | None = None  # of the response, by which copies are known; None where there is none
    reported: Decimal | None = None  # what the record itself says it cost, in dollars
    line: int = 0  # where it begins in its file
    notes: tuple[str, ...] = field(default=(), repr=False)  # what is not in the amounts, or was taken as something


@dataclass(frozen=True)
class UsageDefaults:
    """What a record lacks is taken from here."""

    format: str = "auto"  # one of `USAGE_FORMATS`; "auto": the fields tell
    model: str | None = None  # name of the model
    moment: datetime | None = None  # when
    service: str | None = None  # how it was served
    currency: str = "USD"  # a record that names another one is refused


def usage_record(document: Mapping[str, Any], defaults: UsageDefaults, line: int = 0) -> UsageRecord:
    """Return what an object of a log says.

    Args:
        document: a usage object, a response that holds one, or a line of a log around that.
        defaults: for what it lacks.
        line: where it begins.

    Raises:
        UsageFault: no usage object, one that cannot be read, or no model or time.
    """
    layers = _layers(document)
    usage, path = _usage_of(layers)
    model = _model(layers) or defaults.model
    if model is None:
        raise UsageFault("model", "is missing; give it (--model)")
    format = defaults.format
    if format == "auto":
        format = recognised(usage, _family(layers, model))
    fields = UsageFields(usage, path)
    read = read_counts(format, fields)
    moment, time_notes = moment_within(layers)
    moment = moment or defaults.moment
    if moment is None:
        raise UsageFault("created", "no time; give one (--date)")
    _check_currency(layers, defaults.currency)
    service, service_notes = _service(layers, read)
    return UsageRecord(
        model=model,
        moment=moment,
        calls=read.calls,
        format=format,
        service=service or defaults.service,
        host=_text(layers, "provider_name", "provider"),
        id=_text(layers, "id", "responseId", "response_id", "message_id"),
        reported=read.reported,
        line=line,
        notes=(*read.notes, *time_notes, *service_notes),
    )


# --- where the usage object is ---------------------------------------------------------------------------------

_USAGE = ("usage", "usageMetadata", "usage_metadata")
#: What holds a response: lines of batches, of Claude Code's transcripts, of events and of gateways' logs.
_HOLDERS = ("response", "message", "body", "result", "data")
_DEEPEST = 4


def _layers(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the object and those within it on the way to the usage object, which lies in or is the last."""
    _refuse_parts(document)
    layers = [document]
    while not _holds_usage(layers[-1]) and len(layers) < _DEEPEST:
        inner = next((v for name in _HOLDERS if isinstance(v := layers[-1].get(name), dict) and _leads(v)), None)
        if inner is None:
            break
        layers.append(inner)
    return layers


def _leads(value: Mapping[str, Any], depth: int = _DEEPEST) -> bool:
    """Whether an object holds a usage object, or one in it does."""
    inner = (value.get(name) for name in _HOLDERS)
    return _holds_usage(value) or (depth > 0 and any(isinstance(v, dict) and _leads(v, depth - 1) for v in inner))


def _holds_usage(value: Mapping[str, Any]) -> bool:
    return any(isinstance(value.get(name), dict) for name in _USAGE) or _is_usage(value)


def _is_usage(value: Mapping[str, Any]) -> bool:
    return any(value.get(name) is not None for name in _COUNTED)


_COUNTED = (
    "prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "promptTokenCount", "prompt_token_count",
    "native_tokens_prompt", "native_tokens_completion", "prompt_cache_hit_tokens", "cache_read_input_tokens",
)  # fmt: skip


def _usage_of(layers: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], str]:
    last = layers[-1]
    for name in _USAGE:
        if isinstance(last.get(name), dict):
            return last[name], name
    if _is_usage(last):
        return last, ""
    for name in _USAGE:
        if last.get(name) is not None and not isinstance(last[name], Decimal | int | float):
            raise UsageFault(name, f"{shown(last[name])} should be an object")
    raise UsageFault("usage", "no usage object, alone or in a response")


def _refuse_parts(document: Mapping[str, Any]) -> None:
    """Refuse what stands for a part of a call, or for many."""
    if document.get("type") in ("message_start", "message_delta"):
        problem = f"{shown(document['type'])} is an event of a stream and counts a part; give the final message"
        raise UsageFault("type", problem)
    for name in ("num_model_requests", "results"):
        if document.get(name) is not None and document.get("object") in (
            "bucket",
            "organization.usage.completions.result",
        ):
            raise UsageFault(name, "a sum over many calls, of which the tier of each is not known; give the calls")


# --- what stands around it -------------------------------------------------------------------------------------


def _found(layers: Sequence[Mapping[str, Any]], names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Yield what the innermost objects have under the names, the innermost first."""
    for layer in reversed(layers):
        yield from ((name, layer[name]) for name in names if layer.get(name) is not None)


def _text(layers: Sequence[Mapping[str, Any]], *names: str) -> str | None:
    return next((value for _, value in _found(layers, names) if isinstance(value, str) and value.strip()), None)


def _model(layers: Sequence[Mapping[str, Any]]) -> str | None:
    for name, value in _found(layers, ("model", "modelVersion", "model_version", "model_name")):
        if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_NAME:
            raise UsageFault(name, f"{shown(value)} should be the name of a model")
        return value.strip()
    return None


_LONGEST_NAME = 200


def _family(layers: Sequence[Mapping[str, Any]], model: str) -> str | None:
    """Return the format that a record's kind, or the maker of its model, speaks for."""
    kinds = {layer.get(name) for layer in layers for name in ("object", "type") if isinstance(layer.get(name), str)}
    if kinds & {"chat.completion", "chat.completion.chunk", "response", "response.completed"}:
        return "xai" if model.lower().startswith("grok") else "openai"
    if "message" in kinds:
        return "anthropic"
    makers = {"claude": "anthropic", "gpt-": "openai", "chatgpt-": "openai", "grok": "xai"}
    return next((format for start, format in makers.items() if model.lower().startswith(start)), None)


def _check_currency(layers: Sequence[Mapping[str, Any]], wanted: str) -> None:
    for name, value in _found(layers, ("currency",)):
        if not isinstance(value, str) or value.upper() != wanted:
            raise UsageFault(name, f"{shown(value)} in a bill in {wanted}; currencies are not mixed (--currency)")


# --- when ------------------------------------------------------------------------------------------------------

_TIMES = ("created", "created_at", "createdAt", "createTime", "create_time", "timestamp", "time", "ts", "date")
#: Beyond what seconds reach lie milliseconds and so on: 10**11 seconds after 1970 is the year 5138.
_UNITS = ((10**11, 1), (10**14, 10**3), (10**17, 10**6), (10**20, 10**9))
NAIVE_TIME = "times without a zone: taken as UTC"
DAY_ALONE = "days without a time: taken as their noon"


def moment_within(layers: Sequence[Mapping[str, Any]]) -> tuple[datetime | None, tuple[str, ...]]:
    """Return when a record of a log is of, and what was taken as something; None where it has no time.

    Args:
        layers: the record and the objects within it, the outermost first; the innermost time counts.

    Raises:
        UsageFault: something that is no time.
    """
    for name, value in _found(layers, _TIMES):
        try:
            return _instant(value)
        except (ValueError, OverflowError, ArithmeticError):
            should = "seconds or milliseconds after 1970, or a time such as 2026-09-15T03:00:00Z"
            raise UsageFault(name, f"{shown(value)} should be {should}", f"{name}: should be {should}") from None
    return None, ()


def _instant(value: object) -> tuple[datetime, tuple[str, ...]]:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise ValueError
    if isinstance(value, str) and not value.strip().isdigit():
        found = datetime.fromisoformat(value.strip())
        if len(value.strip()) == len("2026-09-15"):
            return found.replace(hour=12, tzinfo=UTC), (DAY_ALONE,)
        if found.tzinfo is None:
            return found.replace(tzinfo=UTC), (NAIVE_TIME,)
        return found.astimezone(UTC), ()
    number = Decimal(value)
    unit = next((unit for most, unit in _UNITS if 0 < number < most), None)
    if unit is None:
        raise ValueError
    return datetime.fromtimestamp(float(number / unit), UTC), ()


# --- how it was served -----------------------------------------------------------------------------------------

_STANDARD = {"default", "standard", "on_demand", "unspecified", "traffic_type_unspecified", "null", "none", ""}
_PREPAID = {"scale", "provisioned_throughput"}


def _service(layers: Sequence[Mapping[str, Any]], read: UsageReading) -> tuple[str | None, tuple[str, ...]]:
    """Return how a call was served, None for the standard way, and what was taken as something."""
    asked = next((value for _, value in _found(layers, ("service_tier", "serviceTier"))), None)
    name = read.service if read.service is not None else asked
    if name is not None and not isinstance(name, str):
        raise UsageFault("service_tier", f"{shown(name)} should be text")
    word = (name or "").lower().removeprefix("on_demand_")
    if word in _PREPAID:
        raise UsageFault("service_tier", f"{shown(name)} is paid by capacity, not by tokens")
    if _is_batch(layers) and (word in _STANDARD or word in ("batch", "auto")):
        return "batch", ()
    if word == "auto":
        return None, ("service_tier 'auto': taken as the standard one",)
    return (None if word in _STANDARD else word), ()


def _is_batch(layers: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a record is a line of a batch's results, as OpenAI and Anthropic write them."""
    return "custom_id" in layers[0] and len(layers) > 1
