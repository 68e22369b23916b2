"""Another order of prompts: it loses nothing, it never makes misses more, and its saving is that of a replay."""

import dataclasses
import itertools
import json
import re
import time
from collections import Counter

import pytest
from asked import BARE, DOCUMENTS, POLICY, RULES, TOOLS, chat, claude, log_of, run_of
from hypothesis import given
from hypothesis import strategies as st

from costlab import prompts
from costlab.prompts.rendering import content_hash, key_sorted
from costlab.prompts.rewriting import documents_first

SMALL = dataclasses.replace(RULES["deepseek"], minimum_tokens=8, block_tokens=8)
RULE_NAMES = ("openai", "deepseek", "openai-marks", "anthropic")


def outcome_of(rule, price=(0.1, 1.0, 1.25)):
    """Hits cost a tenth, writes a quarter more where the cache is told what to keep."""

    def outcome(requests):
        run = run_of(requests, rule, 3.0)
        hit, miss, write = price
        plain = run.misses - run.writes
        return prompts.ReplaySums(run.tokens, run.hits, run.misses, hit * run.hits + write * run.writes + miss * plain)

    return outcome


def plan_of(*bodies, rule=BARE):
    return prompts.proposal(log_of(*bodies), outcome_of(rule))


def taken(plan):
    return [change.name for change in plan.changes if change.taken]


# --- each change where it is the right one -----------------------------------------------------------------------


def clocked(i, **more):
    return chat("Where is my order?", system=f"Be kind.\nIt is 2026-11-27 10:{i:02d}:00 UTC.\n{POLICY}", **more)


@pytest.mark.parametrize(
    ("names", "bodies"),
    [
        (["clock and ids last"], [clocked(i) for i in range(4)]),
        (["tools sorted"], [chat(f"Question {i}", tools=TOOLS[:: (-1) ** i]) for i in range(4)]),
        (["documents first"], [chat(f"Question {i}\n{DOCUMENTS[0]}") for i in range(4)]),
        (
            ["tools sorted", "clock and ids last", "documents first"],
            [
                chat(
                    f"Question {i}\n{DOCUMENTS[i % 2]}\n{DOCUMENTS[1 - i % 2]}",
                    tools=TOOLS[:: (-1) ** i],
                    system=f"It is 10:{i}5.\n{POLICY}",
                )
                for i in range(6)
            ],
        ),
    ],
)
def test_what_mends_it_is_proposed_and_nothing_else(names, bodies):
    plan = plan_of(*bodies)
    assert taken(plan) == names
    assert plan.after.misses < plan.before.misses and plan.saved > 0
    assert plan.after.hits > 0.5 * plan.after.tokens
    for change in plan.changes:
        assert change.taken == (change.name in names)
        if change.taken:
            assert change.without.cost > plan.after.cost


def test_keys_in_one_order():
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"a": {"type": "string"}, "b": {"c": 1}}}}
    flipped = json.loads(json.dumps(schema))
    flipped["json_schema"] = dict(reversed(flipped["json_schema"].items()))
    assert taken(plan_of(*(chat("Hi", response_format=each) for each in (schema, flipped) * 2))) == ["keys sorted"]


def test_changes_that_help_only_together_are_found():
    """Neither sorted tools nor sorted keys alone make the first tool the same."""
    flipped = [{key: tool[key] for key in reversed(tool)} for tool in TOOLS[::-1]]
    plan = plan_of(*(chat(f"Question {i}", tools=(TOOLS, flipped)[i % 2]) for i in range(6)))
    assert taken(plan) == ["tools sorted", "keys sorted"]
    assert all(change.alone.misses > plan.after.misses for change in plan.changes)


def test_marks_are_proposed_where_nothing_is_kept_without_them():
    rule = dataclasses.replace(RULES["anthropic"], minimum_tokens=64)
    plan = plan_of(*(claude(f"Question {i}", tools=TOOLS) for i in range(4)), rule=rule)
    assert plan.before.hits == 0 and taken(plan) == ["marks"]
    assert plan.after.hits > 0.6 * plan.after.tokens
    marked = plan.requests[0].body
    assert marked["system"][-1]["cache_control"] == marked["messages"][-1]["content"][-1]["cache_control"]


def test_marks_that_cost_more_than_they_save_are_not_proposed():
    """Two requests an hour apart: each write costs a quarter more, and nothing is found."""
    requests = log_of(claude("One"), claude("One"), gap_s=3600)
    plan = prompts.proposal(requests, outcome_of(RULES["anthropic"]))
    assert taken(plan) == [] and plan.after == plan.before and plan.requests == tuple(requests)


def test_at_most_four_marks_are_made():
    """Anthropic takes no more than four."""
    mark = {"cache_control": {"type": "ephemeral"}}
    turns = [[{"type": "text", "text": f"Turn {i}", **mark}] for i in range(4)]
    (written,) = next(c for c in prompts.CHANGES if c.name == "marks").rewrite(
        log_of(claude(*turns, "Hi", tools=TOOLS))
    )
    ends = prompts.rendered(written).marks
    assert len(ends) == 2 and ends[-1] == len(prompts.rendered(written).data)
    (kept,) = next(c for c in prompts.CHANGES if c.name == "marks").rewrite(
        log_of(claude(*turns[:2], "Hi", tools=TOOLS))
    )
    assert len(prompts.rendered(kept).marks) == 4


def test_nothing_is_put_behind_an_answer_that_was_begun():
    bodies = [chat("Hi", "So", system=f"It is 10:{i}5.\n{POLICY}") for i in range(4)]
    assert taken(plan_of(*bodies)) == []


@pytest.mark.parametrize("bodies", [[chat("Hi")], [chat("Hi")] * 3, [chat("Hi"), chat("Hi", "Hello.", "More?")]])
def test_nothing_is_proposed_where_nothing_is_broken(bodies):
    plan = plan_of(*bodies)
    assert taken(plan) == [] and plan.saved == 0


def test_a_text_that_is_all_clock_stays():
    plan = plan_of(*(chat(POLICY, system=f"It is 10:{i}5.") for i in range(4)))
    assert taken(plan) == []


def test_results_of_tools_stay_where_they_are():
    result = {"type": "tool_result", "tool_use_id": "t", "content": DOCUMENTS[0]}
    bodies = [claude([result, {"type": "text", "text": f"{DOCUMENTS[1]} {i}"}]) for i in range(3)]
    assert "documents first" not in [change.name for change in plan_of(*bodies).changes]


def test_tags_that_no_one_closes_take_no_time():
    """Looking for the end of each of a text's tags took minutes where none is closed."""
    tags = "<doc> <file src='a'/> <source" * 20_000
    started = time.process_time()
    found = documents_first(log_of(chat(tags), chat(f"{tags}{DOCUMENTS[0]}\nand?"), chat(f"Why?\n{DOCUMENTS[0]}")))
    assert time.process_time() - started < 10
    assert found[2].body["messages"][-1]["content"] == f"{DOCUMENTS[0]}\nWhy?\n"


# --- nothing is lost ---------------------------------------------------------------------------------------------

SYSTEMS = st.sampled_from(
    [
        "Be kind.",
        "It is 10:05.\nBe kind.",
        "It is 10:06.\nBe kind.",
        f"On 2026-11-27.\n{POLICY}",
        f"On 2026-11-28.\n{POLICY}",
    ]
)
TURNS = st.sampled_from(
    ["Hi", "Well?", *(f"{a}\n{b}" for a, b in itertools.permutations(DOCUMENTS[:2])), f"Why?\n{DOCUMENTS[2]}\nAnd?"]
)


@st.composite
def bodies(draw):
    make = draw(st.sampled_from([chat, claude]))
    turns = draw(st.lists(TURNS, min_size=1, max_size=4))
    if draw(st.booleans()):
        turns[-1] = [{"type": "text", "text": turns[-1]}, {"type": "text", "text": draw(TURNS)}]
    tools = draw(st.none() | st.permutations(TOOLS))
    more = {} if tools is None else {"tools": list(tools)}
    if draw(st.booleans()) and tools:
        more["tools"] = [{key: tool[key] for key in reversed(tool)} for tool in more["tools"]]
    return make(*turns, system=draw(SYSTEMS), **more)


def content(request):
    """All that a request says, whatever its order: its tools, and its lines of text."""
    body = request.body
    tools = [content_hash(tool) for tool in body.get("tools") or ()]
    values = [body.get("system"), *(turn.get("content") for turn in request.turns)]
    texts = [
        part if isinstance(part, str) else part["text"]
        for v in values
        for part in ([v] if isinstance(v, str) else v or [])
    ]
    lines = [line.strip() for text in texts for line in re.split(r"\n|(?=<document>)|(?<=</document>)", text)]
    return Counter(tools), Counter(line for line in lines if line)


@given(st.lists(bodies(), min_size=1, max_size=5), st.sampled_from(RULE_NAMES))
def test_rewriting_keeps_each_requests_content(some, name):
    requests = log_of(*some)
    for change in prompts.CHANGES:
        written = change.rewrite(requests)
        assert [content(request) for request in written] == [content(request) for request in requests], change.name
        assert [request.line for request in written] == [request.line for request in requests]
        assert list(map(prompts.rendered, change.rewrite(written))) == list(map(prompts.rendered, written)), change.name
    plan = prompts.proposal(requests, outcome_of(dataclasses.replace(RULES[name], minimum_tokens=16)))
    assert [content(request) for request in plan.requests] == [content(request) for request in requests]


@given(st.lists(bodies(), min_size=1, max_size=6), st.sampled_from(RULE_NAMES))
def test_a_proposal_never_makes_misses_or_the_bill_more(some, name):
    outcome = outcome_of(dataclasses.replace(RULES[name], minimum_tokens=16))
    requests = log_of(*some)
    plan = prompts.proposal(requests, outcome)
    assert plan.before == outcome(requests) and plan.after == outcome(plan.requests)
    assert plan.after.misses <= plan.before.misses
    assert plan.after.cost <= plan.before.cost
    assert bool(taken(plan)) == (plan.after.cost < plan.before.cost)


# --- money -------------------------------------------------------------------------------------------------------


def test_an_account_is_the_replay_at_the_products_prices():
    bodies = [clocked(i) for i in range(5)]
    found = prompts.prompt_account(log_of(*bodies), "deepseek-v4-pro", "2026-06-01")
    run = run_of(log_of(*bodies), RULES["deepseek"], 1 / 0.3)
    assert (found.run.hits, found.run.misses) == (run.hits, run.misses)
    assert found.proposal.before.cost == pytest.approx((run.hits * 0.003625 + run.misses * 0.435) / 1e6)
    assert found.lost_price == pytest.approx(0.435 - 0.003625)
    assert found.requests_per_month == pytest.approx(365.25 / 12 * 86_400 / 10)
    assert found.monthly == pytest.approx(found.requests_per_month / 5)


def test_a_write_is_paid_where_the_cache_is_told_what_to_keep():
    bodies = [claude(POLICY * 2, cache_control={"type": "ephemeral"})] * 2
    found = prompts.prompt_account(log_of(*bodies), "claude-opus-5", "2026-11-01")
    tokens = found.run.found[0].tokens
    assert found.run.writes == found.run.hits == tokens
    assert found.proposal.before.cost == pytest.approx(tokens * (6.25 + 0.5) / 1e6)


def test_a_long_request_is_priced_in_its_tier():
    long = chat("word " * 300_000, system=None)
    found = prompts.prompt_account(log_of(long), "gpt-5.5", "2026-11-01", bytes_per_token=4.0)
    assert found.run.tokens > 272_000
    assert found.proposal.before.cost == pytest.approx(found.run.tokens * 10.0 / 1e6)


def test_a_month_is_as_given_or_unknown():
    untimed = [prompts.request_of(chat("Hi"))] * 2
    assert prompts.prompt_account(untimed).monthly is None
    assert prompts.prompt_account(untimed, requests_per_month=1000).monthly == 500
    assert prompts.prompt_account(log_of(chat("Hi"))).monthly is None


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"product": "gpt-99"}, "unknown product with a price 'gpt-99'"),
        ({"when": "2020-01-01"}, "no price of 'deepseek-v4-pro' is known"),
        ({"requests_per_month": 0}, "requests_per_month = 0"),
        ({"requests_per_month": float("inf")}, "requests_per_month = inf"),
        ({"requests_per_month": 1e308}, r"at most 2\*\*53"),
        ({"bytes_per_token": -1}, "bytes_per_token = -1"),
        ({"lifetime_s": 0}, "lifetime_s = 0"),
        ({"requests": []}, "at least one"),
    ],
)
def test_bad_input_is_refused(more, says):
    with pytest.raises(ValueError, match=says):
        prompts.prompt_account(**{"requests": log_of(chat("Hi")), **more})


def test_canonical_is_the_same_json():
    assert key_sorted({"b": [{"d": 1, "c": 2}], "a": None}) == {"a": None, "b": [{"c": 2, "d": 1}]}
    assert SMALL.finds == "units"
