"""What breaks a cache: of pairs of requests made by hand the cause, the place and the byte are known."""

import json
from pathlib import Path

import pytest
from asked import DOCUMENTS, POLICY, RULES, TOOLS, broken, chat, claude
from hypothesis import given
from hypothesis import strategies as st

from costlab import prompts
from costlab.prompts.patterns import volatile_kind, without_volatile

CLOCKS = (
    "It is 2026-11-27T10:12:00Z.",
    "It is 2026-11-28.",
    "Time: 10:12:55 PM",
    "Today is Friday, 27 November 2026.",
    "Today is Thursday, November 26, 2026 at 9:05 am.",
    "Now: 1790000123",
    "Date: 27/11/2026 10:12",
    "今天是2026年11月27日。",
)
LATER = (
    "It is 2026-11-27T10:13:31Z.",
    "It is 2026-12-01.",
    "Time: 11:02:55 PM",
    "Today is Monday, 30 November 2026.",
    "Today is Friday, November 27, 2026 at 9:05 am.",
    "Now: 1790000456",
    "Date: 28/11/2026 10:12",
    "今天是2026年11月28日。",
)
IDS = ("Session 123e4567-e89b-12d3-a456-426614174000", "req_8fK2mQ91xZ", "trace 9f86d081884c7d65", "user 48213377")
OTHERS = ("Session 123e4567-e89b-12d3-a456-426614174999", "req_8fK2mQ77aa", "trace 9f86d081ffff7d65", "user 48213399")


def only(*bodies, **more):
    (found,) = broken(*bodies, **more)
    return found


def reordered(value):
    """The same JSON with the keys of each object the other way round."""
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(each) for each in value] if isinstance(value, list) else value


# --- one pair for each cause -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "before", "after"), [
    *(("clock", a, b) for a, b in zip(CLOCKS, LATER, strict=True)),
    *(("id", a, b) for a, b in zip(IDS, OTHERS, strict=True)),
])  # fmt: skip
@pytest.mark.parametrize("form", ["chat", "messages"])
def test_a_clock_or_an_id_in_the_system_text(kind, before, after, form):
    make, path = (chat, "messages[0].content") if form == "chat" else (claude, "system")
    found = only(*(make("Where is it?", system=f"Be kind.\n{stamp}\n{POLICY}") for stamp in (before, after)))
    assert (found.cause, found.path) == (kind, path)
    a, b = (f"Be kind.\n{stamp}".encode() for stamp in (before, after))
    assert a[: found.offset] == b[: found.offset] and a[found.offset] != b[found.offset]
    rest = len(POLICY) + len("\n<user>\nWhere is it?")
    assert rest <= found.lost_tokens <= rest + max(len(a), len(b))


def test_tools_in_another_order():
    found = only(chat("Hi", tools=TOOLS), chat("Hi", tools=TOOLS[::-1]))
    assert (found.cause, found.path) == ("tool order", "tools")


def test_the_same_tools_with_other_keys_first():
    found = only(chat("Hi", tools=TOOLS), chat("Hi", tools=reordered(TOOLS)))
    assert found.cause == "key order" and found.path.startswith("tools[0]")


def test_a_schema_with_other_keys_first():
    schema = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"a": {"type": "string"}, "b": 1}}}
    found = only(*(chat("Hi", response_format=each) for each in (schema, reordered(schema))))
    assert found.cause == "key order" and found.path.startswith("response_format")


def test_arguments_of_a_call_with_other_keys_first():
    def turn(arguments):
        call = {"id": "c", "type": "function", "function": {"name": "find", "arguments": json.dumps(arguments)}}
        body = chat("Hi", tools=TOOLS)
        answer = {"role": "tool", "tool_call_id": "c", "content": "found. " * 30}
        return {**body, "messages": [*body["messages"], {"role": "assistant", "tool_calls": [call]}, answer]}

    found = only(turn({"order": 1, "sum": 2}), turn({"sum": 2, "order": 1}))
    assert (found.cause, found.path) == ("key order", "messages[2].tool_calls.arguments")


def test_another_definition_of_a_tool():
    other = [TOOLS[0], {**TOOLS[1], "function": {**TOOLS[1]["function"], "description": "Another text."}}, TOOLS[2]]
    found = only(chat("Hi", tools=TOOLS), chat("Hi", tools=other))
    assert (found.cause, found.path) == ("tool definition", "tools[1].description")


def test_a_tool_that_was_taken_out():
    found = only(chat("Hi", tools=TOOLS), chat("Hi", tools=TOOLS[1:]))
    assert found.cause == "tool definition" and found.path.startswith("tools[0]")


def test_a_clock_in_a_tool():
    tools = [[{**TOOLS[0], "about": f"as of {day}"}, *TOOLS[1:]] for day in ("2026-11-26", "2026-11-27")]
    found = only(*(chat("Hi", tools=each) for each in tools))
    assert found.cause == "clock" and found.path.startswith("tools[0]")


def test_white_space():
    spaced = POLICY.replace("Rule 1:", "Rule  1:")
    found = only(chat("Hi"), chat("Hi", system=spaced))
    assert (found.cause, found.path) == ("white space", "messages[0].content")
    assert found.offset == POLICY.index("Rule 1:") + 5


def test_a_block_at_another_place():
    orders = ["\n".join(DOCUMENTS), "\n".join(DOCUMENTS[::-1])]
    assert only(*(chat(f"{each}\nWhat?") for each in orders)).cause == "moved text"
    assert only(*(chat("What?", system=f"Read.\n{each}") for each in orders)).cause == "moved text"
    assert only(chat(*DOCUMENTS), chat(*DOCUMENTS[::-1])).cause == "moved text"


def test_a_window_that_slides_over_the_history():
    turns = [f"Turn {i}: {'and so it went on ' * 5}" for i in range(7)]
    found = only(chat(*turns[:5]), chat(*turns[2:]))
    assert (found.cause, found.path) == ("history cut", "messages[1].content")


def test_a_message_that_was_changed_or_summed_up():
    turns = [f"Turn {i}: {'and so it went on ' * 5}" for i in range(5)]
    found = only(chat(*turns), chat(turns[0], "In short, no.", *turns[2:]))
    assert (found.cause, found.path) == ("history edited", "messages[2].content")
    assert only(chat(*turns), chat("A summary.", *turns[3:])).cause == "history edited"


def test_another_system_text():
    found = only(chat("Hi", system=f"Be kind. {POLICY}"), chat("Hi", system=f"Be quick. {POLICY}"))
    assert (found.cause, found.path, found.offset) == ("system text", "messages[0].content", 3)
    found = only(claude("Hi", system=f"Be kind. {POLICY}"), claude("Hi", system=f"Be quick. {POLICY}"))
    assert (found.cause, found.path, found.offset) == ("system text", "system", 3)


def test_a_question_before_the_document():
    bodies = [chat(f"{question}\n{DOCUMENTS[0]}") for question in ("Who wrote it?", "When was it?")]
    found = only(*bodies)
    assert (found.cause, found.path, found.offset) == ("varying text first", "messages[1].content", 2)
    assert len(DOCUMENTS[0]) <= found.lost_tokens <= len(DOCUMENTS[0]) + 5


def test_another_model_or_cache_key():
    found = only(chat("Hi"), chat("Hi") | {"model": "deepseek-v4.1-flash"})
    assert (found.cause, found.path) == ("model or cache key", "model")
    found = only(chat("Hi", prompt_cache_key="a"), chat("Hi", prompt_cache_key="b"))
    assert (found.cause, found.path) == ("model or cache key", "prompt_cache_key")


def test_what_came_too_late():
    found = only(chat("Hi"), chat("Hi"), gap_s=601)
    assert found.cause == "expired" and found.lost_tokens > len(POLICY)


def test_what_the_rule_does_not_keep():
    assert only(claude("Hi"), claude("Ho"), rule=RULES["anthropic"]).cause == "unmarked"
    assert only(chat("Hi"), chat("Ho"), rule=RULES["deepseek"]).cause == "not kept yet"


# --- what is no break --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bodies",
    [
        [chat("Hi"), chat("Hi")],
        [chat("Hi"), chat("Ho")],  # a new question, with nothing behind it
        [chat("Hi"), chat("Hi", "Hello.", "More?"), chat("Hi", "Hello.", "More?", "Yes.", "Well?")],
        [chat("It is 10:12. Hi"), chat("It is 10:13. Hi")],
        [chat("Hi", system="Short, 10:12."), chat("Hi", system="Short, 10:13.")],
        [chat("Hi")],
    ],
)
def test_requests_that_go_on_or_end_differently_break_nothing(bodies):
    assert broken(*bodies) == []


@given(st.lists(st.sampled_from(["Hi", "Ho", "a b c", "10:12", "two\nlines"]), min_size=1, max_size=6))
def test_a_talk_that_only_grows_breaks_nothing(turns):
    assert broken(*(chat(*turns[:end]) for end in range(1, len(turns) + 1))) == []


def test_the_closest_request_is_compared_and_not_just_the_last():
    """Two talks by turns, a clock in each: a request is held against the last one of its own talk."""
    talks = [[f"{name}: {'a long story indeed, ' * 20}" for _ in range(3)] for name in ("First", "Second")]
    bodies = [chat(*talks[i % 2][: 1 + i // 2], system=f"It is 10:{i}0.\n{POLICY}") for i in range(6)]
    found = broken(*bodies)
    assert [each.cause for each in found] == ["clock"] * 5
    assert [each.relative for each in found][1:] == [0, 1, 2, 3]


# --- groups ------------------------------------------------------------------------------------------------------


def test_breaks_of_one_cause_at_one_place_are_summed_up():
    bodies = [chat("Hi", system=f"It is 10:{i}0.\n{POLICY}") for i in range(5)]
    found = broken(*bodies)
    (group,) = prompts.grouped_breaks(found)
    assert (group.cause, group.path, group.requests, group.first) == ("clock", "messages[0].content", 4, 1)
    assert group.lost_tokens == sum(each.lost_tokens for each in found)
    assert group.lost_per_request == group.lost_tokens / 4


def test_places_in_other_messages_are_one_place():
    turns = [f"Turn {i}: {'and so it went on ' * 5}" for i in range(9)]
    pairs = [(chat(*turns), chat(*turns[:at], "Otherwise.", *turns[at + 1 :])) for at in (3, 5)]
    found = prompts.grouped_breaks([only(*pair) for pair in pairs])
    assert [(group.path, group.requests) for group in found] == [("messages[*].content", 2)]


def test_a_break_shows_no_text_in_its_repr():
    found = only(chat("Hi", system=f"secret 10:12\n{POLICY}"), chat("Hi", system=f"secret 10:13\n{POLICY}"))
    assert "secret" not in repr(found) and b"secret" in found.before
    assert "10:13" in found.after.decode()


# --- patterns ----------------------------------------------------------------------------------------------------


@given(
    st.sampled_from(["ten green bottles", "section 4", "v2 of it", "five 3 two", "a-b-c"]), st.text("ab 12", max_size=9)
)
def test_plain_text_is_neither_clock_nor_id(text, more):
    a, b = f"{text}x{more}".encode(), f"{text}y{more}".encode()
    kind = volatile_kind(a, b, len(text))
    assert kind is None or len(more.split(" ")[0]) + len(text.split(" ")[-1]) >= 11  # a long word may be an id


@pytest.mark.parametrize(("a", "b"), [*zip(CLOCKS, LATER, strict=True), *zip(IDS, OTHERS, strict=True)])
def test_what_varies_can_be_taken_out(a, b):
    assert without_volatile(a.encode()) == without_volatile(b.encode())
    assert a != b


def test_all_causes_are_covered_here():
    """Each cause that there is stands in a test of this file."""
    text = Path(__file__).read_text()
    assert all(f'"{cause}"' in text for cause in prompts.BREAK_CAUSES)
