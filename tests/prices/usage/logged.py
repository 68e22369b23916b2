"""Logs for tests: records as providers return them, and what they are billed."""

import io
import json
from datetime import UTC, datetime

from costlab.prices import usage


def log_of(*records, errors="raise", **defaults):
    """A log of records, each a document, a line of text or bytes."""
    lines = [r if isinstance(r, bytes | str) else json.dumps(r) for r in records]
    data = b"\n".join(line.encode() if isinstance(line, str) else line for line in lines)
    return usage.read_usage(io.BytesIO(data), usage.UsageDefaults(**defaults), errors)


def bill_of(*records, currency="USD", errors="raise", **defaults):
    """The bill of a log."""
    return usage.bill_usage(log_of(*records, errors=errors, currency=currency, **defaults), currency)


def record_of(document, **defaults):
    """What one document says."""
    return usage.usage_record(json.loads(json.dumps(document)), usage.UsageDefaults(**defaults))


def counts_of(document, **defaults):
    """(hit, miss, write, write_long, output, thinking) of a document of one call."""
    (counts,) = record_of(document, **({"model": "m", "moment": NOON} | defaults)).calls
    return counts.hit, counts.miss, counts.write, counts.write_long, counts.output, counts.thinking


NOON = datetime(2026, 7, 12, 12, tzinfo=UTC)


def chat(model, when, prompt, completion, cached=None, **more):
    """A chat completion of OpenAI's shape."""
    used = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    if cached is not None:
        used["prompt_tokens_details"] = {"cached_tokens": cached}
    return {"object": "chat.completion", "model": model, "created": when, "usage": used, **more}


def message(model, when, input, output, read=0, created=0, **more):
    """A message of Anthropic's, in a line of a log that has the time."""
    used = {
        "input_tokens": input,
        "cache_creation_input_tokens": created,
        "cache_read_input_tokens": read,
        "output_tokens": output,
        **more,
    }
    return {"timestamp": when, "message": {"type": "message", "model": model, "usage": used}}
