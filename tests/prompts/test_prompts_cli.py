"""The verb prompts: its numbers are the package's, it sends nothing, and it prints no text unless it is asked to."""

import contextlib
import io
import json
import shlex
import socket
import sys
from pathlib import Path

import make_log
import pytest
from asked import POLICY, TOOLS, chat, claude
from hypothesis import given
from hypothesis import strategies as st

from costlab import prompts
from costlab.cli.main import main

LOG = Path(__file__).parent / "support.jsonl"
WHEN = "--when 2026-11-27"
CANARY = "Xyzzy7canary"


def run(line):
    """(status, standard output, standard error) of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(shlex.split(f"prompts {line}"))
        except SystemExit as stop:
            status = stop.code
    return status, out.getvalue(), err.getvalue()


def row(line):
    status, out, err = run(f"{line} --json")
    assert (status, err) == (0, "")
    (found,) = json.loads(out)["rows"]
    return found


@pytest.fixture
def log(tmp_path):
    def write(*lines):
        path = tmp_path / "log.jsonl"
        path.write_text("\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines))
        return path

    return write


# --- numbers -----------------------------------------------------------------------------------------------------


def test_the_example_is_the_one_that_the_script_writes():
    assert LOG.read_text() == "".join(f"{line}\n" for line in make_log.requests())


def test_the_row_is_the_account():
    found = prompts.prompt_account(prompts.read_requests(LOG), "deepseek-v4-pro", "2026-11-27")
    one = row(f"{LOG} {WHEN}")
    assert one["input_tokens"] == found.run.tokens == one["hit_tokens"] + one["miss_tokens"] + one["write_tokens"]
    assert one["input_amount"] == found.proposal.before.cost
    assert one["saved_amount"] == found.proposal.saved == one["input_amount"] - one["proposed_amount"]
    assert one["monthly_saved_amount"] == pytest.approx(found.proposal.saved * one["requests_per_month"] / 16)
    assert [(each["cause"], each["lost_tokens"]) for each in one["breaks"]] == [
        (group.cause, group.lost_tokens) for group in found.groups
    ]
    clock = next(each for each in one["breaks"] if each["cause"] == "clock")
    assert clock["monthly_lost_amount"] == pytest.approx(clock["lost_tokens"] * found.monthly * found.lost_price / 1e6)


def test_the_example_is_broken_as_it_was_made():
    one = row(f"{LOG} {WHEN}")
    assert {"clock", "tool order"} <= {each["cause"] for each in one["breaks"]}
    taken = [each["change"] for each in one["changes"] if each["taken"]]
    assert taken == ["tools sorted", "clock and ids last", "documents first"]
    assert one["proposed_hit_rate"] > 0.8 > 0.3 > one["hit_rate"]


def test_options_do_what_they_say():
    plain = row(f"{LOG} {WHEN}")
    assert row(f"{LOG} {WHEN} --requests-per-month 1600")["monthly_amount"] == pytest.approx(
        plain["input_amount"] * 100
    )
    assert row(f"{LOG} {WHEN} --bytes-per-token 5")["input_tokens"] < plain["input_tokens"]
    assert row(f"{LOG} {WHEN} --ttl 1")["hit_tokens"] == 0
    other = row(f"{LOG} --when 2026-11-27 --product gpt-5.5")
    assert (other["provider"], other["minimum_tokens"], other["block_tokens"]) == ("OpenAI", 1024, 128)
    assert row(f"{LOG} --when 2026-06-01")["input_amount"] != plain["input_amount"]


def test_standard_input_is_read(monkeypatch):
    plain = row(f"{LOG} {WHEN}")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LOG.read_bytes())))
    assert row(f"- {WHEN}") == plain


def test_the_table_says_what_and_where():
    status, out, _ = run(f"{LOG} {WHEN}")
    assert status == 0
    for word in ("as logged", "proposed changes together", "tool order", "clock", "messages[0].content", "a month"):
        assert word in out
    assert "read on this machine and sent nowhere; no text is shown" in out
    assert not any(line != line.rstrip() for line in out.splitlines())


def test_a_log_without_times_or_breaks_says_so(log):
    status, out, _ = run(f"{log(chat('Hi'))} {WHEN}")
    assert status == 0
    assert "the log has no times" in out and "give --requests-per-month" in out
    assert "no request stops being found" in out and "no two requests begin alike" in out


def test_it_says_what_to_do_and_what_that_may_change(log):
    out = run(f"{LOG} {WHEN}")[1]
    assert out.count("to do: ") == 3 and "to do: take times and ids out of the system text" in out
    assert "is read as the user's words" in out and "another order can change answers" in out
    tools = [chat(f"{i}?", tools=TOOLS[:: 1 - 2 * (i % 2)]) for i in range(6)]
    out = run(f"{log(*tools)} {WHEN}")[1]
    assert "to do: send tools in one order, by name" in out
    assert "user's words" not in out and "change answers" not in out
    out = run(f"{log(*(chat('Hi', model=name) for name in 'abab'))} {WHEN}")[1]
    assert "to do: no change of order that is tried here" in out


def test_what_the_provider_adds_is_said_to_be_missing(log):
    bodies = [{"model": "gpt-5.5", "input": "And?", "previous_response_id": f"resp_{CANARY}"}] * 2
    out = run(f"{log(*bodies, chat('Hi'))} {WHEN}")[1]
    assert "that go on from previous_response_id: 2;" in out and CANARY not in out
    assert "previous_response_id" not in run(f"{log(chat('Hi'))} {WHEN}")[1]


def test_a_mark_with_a_time_of_its_own_is_said_to_be_left_out(log):
    def marked(**ttl):
        return claude("Hi", system=[{"type": "text", "text": POLICY, "cache_control": {"type": "ephemeral", **ttl}}])

    line = f"{log(marked(ttl='1h'), marked(ttl='5m'), marked())} {WHEN} --product"
    assert "be kept for a time of their own: 1; here all stays 300 s" in run(f"{line} claude-opus-5")[1]
    assert "time of their own" not in run(f"{line} deepseek-v4-pro")[1]
    assert "time of their own" not in run(f"{log(marked(ttl='5m'))} {WHEN} --product claude-opus-5")[1]


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f"{LOG} --product gpt-99", "unknown product with a price 'gpt-99'"),
        (f"{LOG} --when 2020-01-01", "no price of 'deepseek-v4-pro' is known"),
        (f"{LOG} --when soon", "soon"),
        (f"{LOG} --ttl 0", "'0' should be a finite number above 0"),
        (f"{LOG} --bytes-per-token none", "'none' should be"),
        (f"{LOG} --requests-per-month -1", "'-1' should be"),
        ("no-such-file.jsonl", "cannot be read"),
        (str(LOG.parent), "cannot be read"),
        ("", "FILE"),
    ],
)
def test_bad_options_end_with_2(line, says):
    status, out, err = run(line)
    assert (status, out) == (2, "")
    assert says in err


@pytest.mark.parametrize(
    "raw", [b"\x00\xff\x10binary", b"not json\n", b"[1, 2]\n", b"{}\n", b"", b"\x1f\x8b broken gzip"]
)
def test_what_is_no_log_ends_with_2(tmp_path, raw):
    path = tmp_path / "log.jsonl"
    path.write_bytes(raw)
    status, out, err = run(str(path))
    assert (status, out) == (2, "") and "log.jsonl" in err and len(err.splitlines()) == 1


# --- privacy -----------------------------------------------------------------------------------------------------


def test_no_socket_is_opened(monkeypatch):
    def refused(*args, **more):
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo", "socketpair"):
        monkeypatch.setattr(socket, name, refused)
    assert run(f"{LOG} {WHEN}")[0] == run(f"{LOG} {WHEN} --json")[0] == 0


def with_canary(place):
    """Two requests that differ, with a word at a place where a request may have text."""
    stamp = [f"It is 10:{i}5, {CANARY}.\n{POLICY}" for i in range(2)]
    schema = {"type": "object", "properties": {CANARY: {"type": "string", "description": CANARY}}, CANARY: 1}
    named = {"type": "function", "function": {"name": CANARY, "description": CANARY, "parameters": schema}}
    call = {"id": CANARY, "type": "function", "function": {"name": CANARY, "arguments": f'{{"{CANARY}": "{CANARY}"}}'}}
    answer = [{"type": CANARY, CANARY: schema}, {CANARY: schema, "type": CANARY}]
    turn = {"role": "assistant", "content": None, "tool_calls": [call], CANARY: CANARY, "name": CANARY}
    return {
        "system": [chat("Hi", system=each) for each in stamp],
        "system of Claude": [claude("Hi", system=[{"type": "text", "text": each, CANARY: CANARY}]) for each in stamp],
        "question": [chat(f"{CANARY} {i}\n{POLICY}\n{CANARY}") for i in range(2)],
        "tools": [chat("Hi", tools=[named, *TOOLS][:: (-1) ** i]) for i in range(2)],
        "a call": [{"messages": [{**turn, "role": f"{CANARY} {i}"}, *chat(POLICY)["messages"]]} for i in range(2)],
        "an image": [
            chat([{"type": "image_url", "image_url": {"url": f"{CANARY}{i}"}}, {"text": POLICY}]) for i in range(2)
        ],
        "around": [{"custom_id": CANARY, CANARY: CANARY, "body": chat("Hi", user=CANARY)} for _ in range(2)],
        "a key": [chat("Hi", prompt_cache_key=f"{CANARY}{i}") for i in range(2)],
        "a schema": [chat("Hi", response_format=each) for each in answer],
        "a number of tools": [chat("Hi", tools=[CANARY])],
        "a role": [{"messages": [{CANARY: CANARY}]}],
        "a time": [{"time": CANARY, "body": chat("Hi")}],
        "no request": [{CANARY: CANARY, "usage": CANARY}],
    }[place]


PLACES = (
    "system", "system of Claude", "question", "tools", "a call", "an image", "around", "a key", "a schema",
    "a number of tools", "a role", "a time", "no request",
)  # fmt: skip


@pytest.mark.parametrize("product", ["deepseek-v4-pro", "gpt-6.1-sol", "claude-opus-5"])
@pytest.mark.parametrize("place", PLACES)
def test_no_text_is_printed_unless_asked(place, product, log):
    path = log(*with_canary(place))
    for form in ("", "--json"):
        status, out, err = run(f"{path} {WHEN} --product {product} {form}")
        assert status in (0, 2) and (status == 0) == bool(out)
        assert CANARY not in out + err


@pytest.mark.parametrize("place", PLACES[:9])
def test_no_object_shows_text_either(place, log):
    """What a notebook prints of an account, and of all that it holds."""
    account = prompts.prompt_account(prompts.read_requests(log(*with_canary(place))), requests_per_month=9)
    assert CANARY not in repr(account)
    assert CANARY not in repr([*account.requests, *account.prompts, *account.groups, account.proposal])
    assert any(CANARY.encode() in prompt.data for prompt in account.prompts) or place in ("an image", "around", "a key")


def test_text_is_shown_when_asked(log):
    path = log(*with_canary("system"))
    assert CANARY in run(f"{path} {WHEN} --show-text")[1]
    shown = row(f"{path} {WHEN} --show-text")["breaks"][0]
    assert "It is 10:05" in shown["text_before"] and "It is 10:15" in shown["text_after"]
    assert row(f"{path} {WHEN}")["breaks"][0]["text_before"] is None


@given(st.integers(0, 500), st.sampled_from(["cut", "quote", "byte", "brace", "double"]), st.booleans())
def test_no_text_is_printed_of_damaged_logs_either(at, wound, as_json):
    raw = json.dumps(with_canary("tools")[0]).replace(POLICY[:600], f"{CANARY} " * 20).encode()
    at %= len(raw)
    damage = {
        "cut": raw[:at],
        "quote": raw[:at] + b'"' + raw[at:],
        "byte": raw[:at] + b"\xff" + raw[at:],
        "brace": raw[:at] + b"}" + raw[at:],
        "double": raw + raw,
    }
    stream = io.TextIOWrapper(io.BytesIO(damage[wound] + b"\n"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", stream)
        status, out, err = run(f"- {WHEN} {'--json' if as_json else ''}")
    assert status in (0, 2) and CANARY not in out + err
