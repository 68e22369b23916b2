"""`costlab bill --usage`: what it prints is what the package finds; bad records end it with nothing printed."""

import gzip
import io
import json
import sys
from types import SimpleNamespace

import pytest

from costlab.prices import usage

CALLS = [
    {
        "id": f"chatcmpl-{i}",
        "model": model,
        "created": when,
        "usage": {"prompt_tokens": 10**6, "completion_tokens": 10**4, "prompt_tokens_details": {"cached_tokens": hit}},
    }
    for i, (model, when, hit) in enumerate(
        [
            ("deepseek-v4-pro", "2026-09-15T03:00:00Z", 0),
            ("deepseek-v4-pro", "2026-09-16T05:00:00Z", 500_000),
            ("openai/gpt-5.5", "2026-09-15T05:00:00Z", 10**6),
        ]
    )
]


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "calls.jsonl"
    path.write_text("\n".join(map(json.dumps, CALLS)))
    return path


def test_json_has_every_sum(log, document):
    found = document(f"bill --usage {log}")
    bill = usage.bill_usage(usage.read_usage(log))
    rows = {(row["by"], row["name"]): row for row in found["rows"]}
    groups = ("product", "day", "window", "all")
    assert list(dict.fromkeys(by for by, _ in rows)) == list(groups)
    assert rows["all", None]["total_amount"] == float(bill.total.total)
    assert rows["product", "gpt-5.5"]["hit_tokens"] == 10**6
    for by in groups:
        assert sum(row["calls"] for (each, _), row in rows.items() if each == by) == 3
    assert {name for by, name in rows if by == "window"} == {None, "off-peak", "peak"}
    assert list(bill.notes) == found["notes"]
    assert {source["what"] for source in found["sources"]} == {"deepseek-v4-pro", "gpt-5.5"}


def test_rows_by_what_calls_differ_in(log, document):
    def groups(line):
        return list(dict.fromkeys(row["by"] for row in document(line)["rows"]))

    log.write_text(json.dumps(CALLS[2]))
    assert groups(f"bill --usage {log}") == ["product", "day", "all"]
    assert groups(f"bill --usage {log} --currency EUR") == ["product", "day", "list_currency", "all"]
    log.write_text(json.dumps({**CALLS[2], "service_tier": "batch"}))
    assert groups(f"bill --usage {log}") == ["product", "day", "service", "all"]


def test_table_shows_the_rows(log, run):
    status, out, err = run(f"bill --usage {log}")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[1:9]] == [
        *["product"] * 2, *["day"] * 2, *["window"] * 3, "all",
    ]  # fmt: skip
    assert f"3 calls in {log}, 2026-09-15 03:00 to 2026-09-16 05:00 UTC" in out


@pytest.mark.parametrize(
    "verb",
    [
        "prices NAME --date 2026-11-26",
        "bill NAME --date 2026-11-26 --input 9K --output 1K --hit-rate 0",
        "bill --usage LOG",
    ],
)
def test_a_name_of_weights_is_warned_of(verb, log, run, document):
    """In the table and in JSON, whichever verb takes it."""
    name = "deepseek-ai/DeepSeek-V4-Pro"
    log.write_text(json.dumps({**CALLS[0], "model": name}))
    line = verb.replace("NAME", name).replace("LOG", str(log))
    said = f"many hosts may sell weights named '{name}', at prices of their own: DeepSeek's own list was taken"
    assert said.lower() in " ".join(run(line)[1].split()).lower()
    assert len([note for note in document(line)["notes"] if note.lower().endswith(said.lower())]) == 1


def test_packed_and_from_standard_input(log, document, monkeypatch):
    wanted = document(f"bill --usage {log}")["rows"]
    packed = log.with_suffix(".gz")
    packed.write_bytes(gzip.compress(log.read_bytes()))
    assert document(f"bill --usage {packed}")["rows"] == wanted
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(log.read_bytes())))
    assert document("bill --usage -")["rows"] == wanted


def test_what_records_lack_is_given(log, document):
    log.write_text('{"input_tokens": 1000000, "output_tokens": 0}')
    options = "--format anthropic --model claude-opus-4.8 --date 2026-07-12"
    assert document(f"bill --usage {log} {options}")["rows"][-1]["total_amount"] == 5


def test_bad_records_are_skipped_on_demand(log, run, document):
    bad = {**CALLS[0], "id": "chatcmpl-x", "usage": {"prompt_tokens": 1, "completion_tokens": -1}}
    with log.open("a") as file:
        file.write("\n" + json.dumps(bad))
    status, out, err = run(f"bill --usage {log}")
    assert (status, out) == (2, "")
    assert err == (
        f"costlab bill: {log}, line 4: usage.completion_tokens: -1 should be a whole number from 0 to 2**53\n"
    )
    assert f"1 bad record skipped, first: {log}, line 4" in document(f"bill --usage {log} --skip-bad")["notes"][-1]


@pytest.mark.parametrize(
    "option",
    ["--input 1", "--output 1", "--hit-rate 0", "--write 1", "--calls 2", "gpt-5.5"],
)
def test_a_workload_is_not_described_beside_records(log, run, option):
    status, out, err = run(f"bill {option} --usage {log}")
    assert (status, out) == (2, "")
    assert (option.split()[0] if option.startswith("-") else "PRODUCT") in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["no usage record"]),
        ("[]", ["line 1", "a list"]),
        ('{"usage": {}}', ["line 1", "model"]),
        ("{" * 1000, ["line 1"]),
        ('{"a": 1, "a": 2}', ["line 1", "a", "twice"]),
    ],
)
def test_what_is_no_log_ends_with_status_2(log, run, text, words):
    log.write_text(text)
    status, out, err = run(f"bill --usage {log}")
    assert (status, out) == (2, "")
    assert all(word in err for word in words)
    assert err.count("\n") == 1


def test_no_file_unknown_format_unknown_currency(log, run):
    assert run("bill --usage no/such/file")[0] == 2
    assert "cohere" in run(f"bill --usage {log} --format cohere")[2]
    assert "XXX" in run(f"bill --usage {log} --currency XXX")[2]
