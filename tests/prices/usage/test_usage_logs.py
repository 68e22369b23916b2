"""Logs as files: one object or many, packed or not, long ones; and what is no log."""

import gzip
import io
import json
import tracemalloc
from decimal import Decimal
from pathlib import Path

import pytest
from logged import bill_of, chat, log_of

from costlab.prices import usage

GOOD = chat("gpt-5.5", "2026-07-04T12:00:00Z", 1000, 100)


def test_one_object_over_several_lines_and_several_of_them():
    pretty = json.dumps(GOOD, indent=2)
    for text in (pretty, f"\n\n{pretty}\n", f"\ufeff{pretty}"):
        assert bill_of(text).total.calls == 1
    assert bill_of(f"{pretty}\n{pretty}\n\n{json.dumps(GOOD)}").total.calls == 3
    bad = pretty.replace('"prompt_tokens": 1000', '"prompt_tokens": -1')
    line = 1 + f"{pretty}\n{bad}".split('"prompt_tokens": -1')[0].count("\n")
    with pytest.raises(ValueError, match=f"line {line}: usage.prompt_tokens: -1"):
        bill_of(f"{pretty}\n{bad}")


def test_packed(tmp_path):
    path = tmp_path / "calls.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join([json.dumps(GOOD)] * 3).encode()))
    assert usage.bill_usage(usage.read_usage(path)).total.calls == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["no usage record in 0 lines"]),
        ("\n\n", ["no usage record"]),
        ("hello", ["line 1", "not JSON"]),
        ('{"usage": {', ["line 1", "not JSON", "ends before"]),
        ("[1, 2]", ["line 1", "a list", "an object"]),
        (json.dumps([GOOD, GOOD]), ["line 1", "a list", "line of its own"]),
        ("3", ["line 1", "a number"]),
        ("null", ["line 1", "null"]),
        ("{}", ["line 1", "no usage object"]),
        ('{"model": "gpt-5.5", "usage": null}', ["line 1", "no usage object"]),
        ('{"model": "gpt-5.5", "usage": "much"}', ["line 1", "usage", "much", "object"]),
        ('{"model": "gpt-5.5", "model": "gpt-5.5"}', ["line 1", "model", "twice"]),
        ('{"usage": {"prompt_tokens": NaN}}', ["line 1", "NaN"]),
        ('{"usage": {"prompt_tokens": -Infinity}}', ["line 1", "-Infinity"]),
        ('{"usage": {"prompt_tokens": 1e999, "completion_tokens": 1}, "model": "m"}', ["prompt_tokens", "1E+999"]),
        ('{"usage": {"prompt_tokens": 1e999999999, "completion_tokens": 1}, "model": "m"}', ["prompt_tokens"]),
        ('{"usage": {"prompt_tokens": 1e-999999999, "completion_tokens": 1}, "model": "m"}', ["prompt_tokens"]),
        ('{"usage": {"prompt_tokens": ' + "9" * 5000 + "}}", ["line 1", "not a usage record"]),
        ("[" * 1000 + "]" * 1000, ["line 1"]),
        ('{"a": ' * 100_000, ["line 1"]),
        ('{"usage": {"a": ' + "[" * 100_000 + "]" * 100_000 + "}}", ["line 1", "nested"]),
        (json.dumps(GOOD) + " x", ["line 1", "'x'", "behind"]),
        (json.dumps(GOOD) + json.dumps(GOOD), ["line 1", "behind"]),
        (b'{"model": "\xff"}', ["line 1", "0xff", "UTF-8"]),
        (b"\xff\xfe{\x00}\x00", ["UTF-16"]),
        (json.dumps({**GOOD, "model": "gpt-99"}), ["line 1", "model", "gpt-99"]),
        (json.dumps({**GOOD, "model": 5}), ["line 1", "model", "5"]),
        (json.dumps({**GOOD, "model": "anthropic/gpt-5.5"}), ["line 1", "model", "OpenAI"]),
        (json.dumps({**GOOD, "model": "openai/gpt-5.5:free"}), ["line 1", "model", "free"]),
        (json.dumps({**GOOD, "created": "yesterday"}), ["line 1", "created", "yesterday"]),
        (json.dumps({**GOOD, "created": -5}), ["line 1", "created", "-5"]),
        (json.dumps({**GOOD, "created": 10**30}), ["line 1", "created"]),
        (json.dumps({**GOOD, "created": True}), ["line 1", "created", "True"]),
        (json.dumps({**GOOD, "created": "2019-01-01T00:00:00Z"}), ["line 1", "gpt-5.5", "2026-04-23"]),
        (json.dumps({**GOOD, "currency": "CNY"}), ["line 1", "currency", "CNY", "USD"]),
        (json.dumps({**GOOD, "service_tier": 5}), ["line 1", "service_tier", "5"]),
        (json.dumps({"type": "message_delta", "usage": {"output_tokens": 5}}), ["line 1", "message_delta", "stream"]),
        (
            json.dumps({"object": "bucket", "results": [{"input_tokens": 5, "num_model_requests": 2}]}),
            ["line 1", "results", "many calls"],
        ),
    ],
)
def test_what_is_no_log(text, words):
    with pytest.raises(ValueError) as error:
        bill_of(text)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert len(str(error.value)) < 500


def test_the_line_is_named_and_bad_ones_can_be_left_out():
    lines = [json.dumps(GOOD), "", "{}", json.dumps(GOOD), "not JSON", json.dumps({**GOOD, "model": "gpt-99"})]
    with pytest.raises(ValueError, match="stream, line 3: usage: no usage object"):
        bill_of(*lines)
    bill = bill_of(*lines, errors="skip")
    assert bill.total.calls == 2
    assert [note for note in bill.notes if note.startswith("3 bad records skipped, first: stream, line 3: usage")]
    with pytest.raises(ValueError, match="could be priced"):
        bill_of(lines[-1], errors="skip")
    with pytest.raises(ValueError, match="no usage record"):
        bill_of("{}", errors="skip")


def test_a_line_of_50_megabytes():
    with pytest.raises(ValueError, match="line 2: longer than 16,777,216 bytes, not a usage record"):
        bill_of(json.dumps(GOOD), b'{"x": "' + b"a" * (50 << 20) + b'"}')


def test_currencies_are_not_mixed():
    lines = [{**GOOD, "currency": "CNY"}, {**GOOD, "currency": "USD"}]
    with pytest.raises(ValueError, match="line 2: currency: 'USD' in a bill in CNY"):
        bill_of(*lines, currency="CNY")
    with pytest.raises(ValueError, match="XXX"):
        bill_of(GOOD, currency="XXX")


def test_unknown_ways_to_read():
    with pytest.raises(ValueError, match="unknown usage format 'cohere'; known: auto, openai"):
        log_of(GOOD, format="cohere")
    with pytest.raises(ValueError, match="errors = 'ignore'"):
        log_of(GOOD, errors="ignore")
    with pytest.raises(ValueError, match="cannot be read"):
        usage.read_usage("no/such/file")


def test_a_long_log_is_never_in_memory():
    """100 MB would be; copies of responses are known among a limited number of latest ones."""

    class Endless(io.RawIOBase):
        def __init__(self):
            self.left = 5000

        def readable(self):
            return True

        def read(self, size=-1):
            if not self.left:
                return b""
            self.left -= 1
            return (json.dumps({**GOOD, "content": "x" * 20_000, "id": f"chatcmpl-{self.left}"}) + "\n").encode()

    tracemalloc.start()
    bill = usage.bill_usage(usage.read_usage(Endless()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert bill.total.calls == 5000
    assert bill.total.total == 5000 * Decimal("0.008")
    assert peak < 20e6


def test_the_log_that_the_pages_show():
    """By hand from the lists of the day: peak and off-peak, a response that was written down twice."""
    bill = usage.bill_usage(usage.read_usage(Path(__file__).with_name("calls.jsonl")))
    opus = Decimal("0.000105") + Decimal("0.094043") + Decimal("0.01875") + Decimal("0.009825")
    assert {name: part.total for name, part in bill.by_product.items()} == {
        "claude-opus-4.8": opus,
        "deepseek-v4-pro": Decimal("0.021516") * 3 / 2,
        "gpt-5.5": Decimal("0.072777"),
    }
    assert "1 repeated record of a response not counted again" in bill.notes
