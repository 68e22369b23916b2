"""Logs of requests: every form and wrapping is read alike; damage ends in an answer or an error that quotes no text."""

import gzip
import io
import json
import random

import pytest
from asked import TOOLS, broken, chat, claude
from hypothesis import given
from hypothesis import strategies as st

from costlab import prompts
from costlab.prompts import requests as reading
from costlab.prompts.rendering import json_text

CANARY = "xyzzy-canary"


def read(*lines):
    return prompts.read_requests(io.BytesIO("\n".join(lines).encode()))


def texts(request):
    return prompts.rendered(request).data.decode()


# --- what is read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [
        lambda body: body,
        lambda body: {"timestamp": 1_790_000_000, "request": body, "response": {"usage": {"prompt_tokens": 9}}},
        lambda body: {"time": "2026-09-21T14:13:20Z", "body": body},
        lambda body: {"custom_id": "a-1", "method": "POST", "url": "/v1/chat/completions", "body": body},
        lambda body: {"custom_id": "a-1", "params": body},
        lambda body: {"created_at": 1_790_000_000_000, "data": {"request": body}, "usage": None},
    ],
)
def test_a_request_is_found_in_what_is_wrapped_around_it(wrap):
    (request,) = read(json.dumps(wrap(chat("Hello", tools=TOOLS))))
    assert request.body == chat("Hello", tools=TOOLS)
    assert request.form == "chat" and request.model == "deepseek-v4-pro"
    assert request.time_s in (None, 1_790_000_000)


def test_the_forms_are_told_apart():
    responses = {"model": "gpt-6-sol", "instructions": "Be short.", "input": "Hello", "tools": []}
    items = {**responses, "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}]}
    found = read(*map(json.dumps, (chat("Hello"), claude("Hello"), responses, items)))
    assert [request.form for request in found] == ["chat", "messages", "responses", "responses"]
    assert [texts(request)[-6:].strip() for request in found] == ["Hello"] * 4
    assert texts(found[2]) == texts(found[3])


def test_lines_are_put_in_order_of_time_and_keep_their_number():
    lines = [json.dumps({"time": f"2026-09-01T0{hour}:00:00Z", "request": chat(str(hour))}) for hour in (3, 1, 2)]
    assert [request.line for request in read(*lines)] == [2, 3, 1]
    assert [request.line for request in read("", *(json.dumps(chat("a")) for _ in range(3)))] == [2, 3, 4]


def test_packed_files_and_objects_over_several_lines_are_read(tmp_path):
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(chat("a")).encode() + b"\n" + json.dumps(chat("b"), indent=2).encode()))
    assert [request.line for request in prompts.read_requests(path)] == [1, 2]


def test_an_objects_keys_keep_their_order_and_numbers_their_digits():
    line = '{"messages": [{"role": "user", "content": "a"}], "tools": [{"b": 1.50, "a": 12345678901234567890}]}'
    (request,) = read(line)
    assert json_text(request.body["tools"]) == '[{"b": 1.50, "a": 12345678901234567890}]'


# --- what is refused ---------------------------------------------------------------------------------------------


def message(value):
    return json.dumps({"messages": [{"role": "user", "content": value}]})


DEEP = '{"messages": [{"role": "user", "content": "a"}], "tools": [' + '{"a": ' * 80 + "1" + "}" * 80 + "]}"

BAD = {
    "nothing": ("", "no request in 0 lines"),
    "no JSON": (f"{CANARY} is no JSON", "line 1: not JSON"),
    "a list": (f'[{{"messages": "{CANARY}"}}]', "a list, should be an object; write each of its objects on a line"),
    "text": (f'"{CANARY}"', "text, should be an object"),
    "two on a line": (f'{{"messages": []}} {{"a": "{CANARY}"}}', "something stands behind the object"),
    "a key twice": (f'{{"{CANARY}": 1, "{CANARY}": 2}}', "a key comes twice in one object"),
    "the key of a tool twice": (f'{{"messages": [{{"{CANARY}": 1, "{CANARY}": 2}}]}}', "a key comes twice"),
    "not finite": (f'{{"messages": [{{"role": "{CANARY}", "content": NaN}}]}}', "NaN is not JSON"),
    "unfinished": (f'{{"messages": [{{"role": "{CANARY}"', "it ends before the object does"),
    "no messages": (f'{{"prompt": "{CANARY}"}}', 'messages: is missing; a request has "messages"'),
    "a response": (f'{{"choices": [{{"message": "{CANARY}"}}], "usage": {{}}}}', "messages: is missing"),
    "messages are text": (f'{{"messages": "{CANARY}"}}', "messages: is text, should be a list of messages"),
    "no message": ('{"messages": []}', "messages: is empty"),
    "no input": ('{"input": []}', "input: is empty"),
    "input is a number": ('{"input": 3}', "input: is a number, should be text or a list"),
    "a message is text": (f'{{"messages": ["{CANARY}"]}}', "messages[0]: is text, should be an object"),
    "no role": (f'{{"messages": [{{"content": "{CANARY}"}}]}}', "messages[0].role: should be text"),
    "content is a number": (message(7), "messages[0].content: is a number"),
    "content is an object": (message({CANARY: 1}), "messages[0].content: is an object"),
    "a part is a number": (message([{"text": CANARY}, 7]), "messages[0].content[1]: is a number"),
    "a part's text is none": (message([{"text": [CANARY]}]), "messages[0].content[0].text: is a list"),
    "system is a number": (json.dumps(claude("a", system=7)), "system: is a number"),
    "tools are an object": (json.dumps(chat("a", tools={CANARY: 1})), "tools: is an object, should be a list"),
    "a tool is text": (json.dumps(chat("a", tools=[CANARY])), "tools[0]: is text, should be an object"),
    "model is a number": ('{"model": 4, "input": "a"}', "model: should be the name of a model"),
    "nested": (DEEP, "nested deeper than 64 levels"),
    "nested without end": ('{"messages": ' + "[" * 100_000, "nested too deep"),
    "a long number": ('{"messages": ' + "9" * 5000 + "}", "line 1"),
    "a time that is none": (json.dumps({"time": CANARY, "body": chat("a")}), "time: should be seconds or milliseconds"),
    "one time missing": (
        json.dumps({"time": 1_790_000_000, "body": chat("a")}) + "\n" + json.dumps(chat("b")),
        "line 2: timestamp: is missing, while other lines have one",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_request_is_refused_without_a_word_of_it(case):
    text, says = BAD[case]
    with pytest.raises(ValueError) as error:
        read(text)
    assert says in str(error.value)
    assert CANARY not in str(error.value)


@pytest.mark.parametrize("raw", [b"\x00\x01\x02", b"\xff\xfe{}", b"PAR1....", b"PK\x03\x04....", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_text_is_refused(raw):
    with pytest.raises(ValueError, match=r"line 1|packed as"):
        prompts.read_requests(io.BytesIO(raw))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        prompts.read_requests(tmp_path / "none.jsonl")


def test_a_row_without_end_and_a_log_without_end_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="line 1: longer than 16,777,216 bytes, not a request"):
        prompts.read_requests(io.BytesIO(b" " * (1 << 24) + b"{}"))
    monkeypatch.setattr(reading, "MOST_LOGGED", 2)
    with pytest.raises(ValueError, match="line 3: more than 2 requests"):
        read(*[json.dumps(chat("a"))] * 3)


NAMES = st.sampled_from(["role", "content", "text", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "text", "x"]), inner)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["messages", "input", "system", "tools", "model", "request", "body", "response_format", "time"]
)


@given(st.dictionaries(FIELDS, JSON))
def test_any_object_is_a_request_or_an_error(document):
    """Whatever is taken can be put into bytes, run and explained."""
    try:
        found = read(json.dumps(document), json.dumps(document))
    except ValueError:
        return
    account = prompts.prompt_account(found)
    assert account.run.tokens == account.run.hits + account.run.misses


@given(st.integers(0, 2**32), st.integers(1, 8))
def test_a_damaged_log_is_read_or_refused(seed, wounds):
    rng = random.Random(seed)
    lines = [chat("Hello", "Yes?", "More", tools=TOOLS), claude([{"type": "text", "text": "Hi"}]), {"input": "Hello"}]
    raw = bytearray("\n".join(map(json.dumps, lines)).encode())
    for _ in range(wounds):
        at = rng.randrange(len(raw))
        wound = rng.choice(["set", "cut", "double"])
        if wound == "set":
            raw[at] = rng.randrange(256)
        elif wound == "cut":
            del raw[at : at + rng.randrange(1, 9)]
        else:
            raw[at:at] = raw[at : at + rng.randrange(1, 30)]
    try:
        found = prompts.read_requests(io.BytesIO(bytes(raw)))
    except ValueError as error:
        assert "Hello" not in str(error) and "Rule" not in str(error)
        return
    assert prompts.prompt_account(found).run.tokens > 0


# --- the bytes ---------------------------------------------------------------------------------------------------


def test_tools_stand_before_the_system_text_and_that_before_messages():
    for body in (chat("Hello", tools=TOOLS, response_format={"type": "json_object"}), claude("Hello", tools=TOOLS)):
        shown = prompts.rendered(prompts.request_of(body))
        order = [shown.data.index(part) for part in (b"find: what", b"send: what", b"Rule 0", b"Rule 29", b"Hello")]
        assert order == sorted(order)
        assert shown.path_at(order[0]).startswith("tools[0].")
        assert shown.path_at(order[1]) == "tools[2].description"
        assert shown.path_at(order[2]) in ("messages[0].content", "system")
        assert b"".join(text for _, text in shown.segments()) == shown.data
    shown = prompts.rendered(prompts.request_of(chat("a", tools=TOOLS, response_format={"type": "json_object"})))
    assert shown.data.index(b"json_object") < shown.data.index(b"Rule 0")


def test_places_name_fields_of_the_interface_only():
    tools = [tool | {CANARY: {CANARY: 1}} for tool in TOOLS]
    tools[0]["function"]["parameters"]["properties"] = {CANARY: {"type": "string"}}
    call = {"id": "c1", "type": "function", "function": {"name": CANARY, "arguments": json.dumps({CANARY: 1})}}
    turns = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": CANARY, "content": CANARY, CANARY: 1},
    ]
    body = chat("a", tools=tools) | {"messages": turns}
    shown = prompts.rendered(prompts.request_of(body))
    assert CANARY.encode() in shown.data
    assert not any(CANARY in path for path in shown.paths)
    assert CANARY not in repr(shown)
    assert {"tools[0].parameters.properties", "messages[0].tool_calls.arguments"} <= set(shown.paths)


def test_marks_are_no_part_of_the_bytes_and_say_where_something_ends():
    mark = {"cache_control": {"type": "ephemeral"}}
    plain = claude(
        [{"type": "text", "text": "Hello"}], system=[{"type": "text", "text": "Rules"}], tools=[{"name": "t"}]
    )
    marked = claude(
        [{"type": "text", "text": "Hello", **mark}],
        system=[{"type": "text", "text": "Rules", **mark}],
        tools=[{"name": "t", **mark}],
    )
    shown, bare = (prompts.rendered(prompts.request_of(body)) for body in (marked, plain))
    assert shown.data == bare.data and bare.marks == ()
    assert [shown.data[:end][-6:].strip() for end in shown.marks] == [b'"t"}', b"Rules", b"Hello"]
    whole = prompts.rendered(prompts.request_of(plain | mark))
    assert whole.marks == (len(whole.data),)


def test_images_are_hashes():
    part = {"type": "image", "source": {"type": "base64", "data": CANARY * 1000}}
    shown = prompts.rendered(prompts.request_of(claude([part, {"type": "text", "text": "What?"}])))
    assert CANARY.encode() not in shown.data and shown.opaque == 1
    other = {"type": "image", "source": {"data": CANARY * 1001, "type": "base64"}}
    assert prompts.rendered(prompts.request_of(claude([other]))).data != shown.data


def test_tools_of_the_old_form_are_part_of_the_prompt():
    functions = [each["function"] for each in TOOLS]
    old, new = (prompts.rendered(prompts.request_of(chat("Hi", **more))) for more in ({"functions": functions}, {}))
    assert old.data.endswith(new.data) and old.paths[0].startswith("functions")
    assert len(old.data) - len(new.data) == len(json.dumps(functions, ensure_ascii=False)) + len("\n")
    turned = [dict(reversed(each.items())) for each in functions]
    causes = [each.cause for each in broken(*(chat("Hi", functions=some) for some in (functions, turned)))]
    assert causes == ["key order"]
