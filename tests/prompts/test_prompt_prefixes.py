"""A cache over requests: its hits are those of brute force, and every token is accounted for."""

import dataclasses
import itertools

import pytest
from asked import BARE, POLICY, RULES, chat, claude, log_of, run_of
from hypothesis import given
from hypothesis import strategies as st

from costlab import prompts
from costlab.catalog.cache_rules import cache_rule, cache_rules
from costlab.prompts.prefixes import common_length
from costlab.prompts.rendering import Rendered

PIECES = st.lists(st.sampled_from([b"a", b"b", b"ab" * 9, b"c" * 40]), min_size=1, max_size=6).map(b"".join)


@st.composite
def logs(draw):
    """(requests as bytes with marks, in two partitions; times; a small rule)."""
    data = draw(st.lists(PIECES, min_size=1, max_size=14))
    shown = [
        Rendered(
            each,
            (0,),
            ("system",),
            tuple(sorted(draw(st.sets(st.integers(1, len(each)), max_size=2)))),
            (draw(st.sampled_from("mn")),),
        )
        for each in data
    ]
    gaps = draw(st.lists(st.sampled_from([0.0, 1.0, 6.0]), min_size=len(data), max_size=len(data)))
    rule = dataclasses.replace(
        RULES[draw(st.sampled_from(["deepseek", "openai", "anthropic", "openai-marks"]))],
        minimum_tokens=draw(st.integers(1, 9)),
        block_tokens=draw(st.integers(1, 5)),
        lifetime_s=7.0,
    )
    return shown, list(itertools.accumulate(gaps)), rule


def common(a, b):
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def brute_force(shown, times, rule, ratio):
    """(hits, longest live beginning) of each request: every earlier one and every kept beginning is looked at."""
    kept = {}
    for i, (one, now) in enumerate(zip(shown, times, strict=True)):
        live = [shown[j] for j in range(i) if times[j] >= now - rule.lifetime_s and shown[j].partition == one.partition]
        longest = max((common(one.data, other.data) for other in live), default=0)
        asked = len(one.data) if rule.finds != "marks" or rule.marks_end else max(one.marks, default=0)
        mine = [
            key for key, at in kept.items()
            if at >= now - rule.lifetime_s and key[0] == one.partition and one.data[:asked].startswith(key[1])
        ]  # fmt: skip
        usable = int((longest if rule.finds == "blocks" else max((len(key[1]) for key in mine), default=0)) / ratio)
        yield usable - usable % rule.block_tokens if usable >= rule.minimum_tokens else 0, longest
        ends = {"blocks": [], "units": [longest, len(one.data)], "marks": list(one.marks)}[rule.finds]
        ends += [len(one.data)] * rule.marks_end
        kept.update(dict.fromkeys(mine, now))
        kept.update({(one.partition, one.data[:end]): now for end in ends if int(end / ratio) >= rule.minimum_tokens})


@given(logs(), st.sampled_from([1.0, 2.0, 3.4]))
def test_hits_are_those_of_brute_force(log, ratio):
    shown, times, rule = log
    run = prompts.replay_prompts(shown, times, rule, ratio)
    assert [(each.hits, each.shared_bytes) for each in run.found] == list(brute_force(shown, times, rule, ratio))


@given(logs(), st.sampled_from([1.0, 2.0, 3.4]))
def test_every_token_is_a_hit_or_a_miss(log, ratio):
    shown, times, rule = log
    run = prompts.replay_prompts(shown, times, rule, ratio)
    for each, one in zip(run.found, shown, strict=True):
        assert each.hits + each.misses == each.tokens == max(1, int(len(one.data) / ratio))
        assert 0 <= each.writes <= each.misses and each.hits >= 0
        assert each.hits % rule.block_tokens == 0 and (
            each.hits == 0 or each.hits >= rule.minimum_tokens - rule.block_tokens
        )
        if each.relative is not None:
            other = shown[each.relative]
            assert common(one.data, other.data) == each.shared_bytes
    assert run.hits + run.misses == run.tokens


@given(st.binary(max_size=400), st.binary(max_size=400), st.integers(0, 300), st.binary(max_size=300))
def test_common_length_is_counted_right(a, b, most, both):
    a, b = both + a, both + b
    assert common_length(a, 0, b, 0, most) == min(most, common(a, b))


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.finds != "marks" or rule.marks_end])
def test_equal_requests_hit_after_the_first(name):
    rule = dataclasses.replace(RULES[name], minimum_tokens=64)
    run = run_of(log_of(*[chat("How do I send it back?")] * 5, gap_s=1), rule, 3.0)
    first, *others = run.found
    assert first.hits == 0 and first.tokens > 500
    assert {each.hits for each in others} == {first.tokens - first.tokens % rule.block_tokens}


def test_below_the_least_length_nothing_hits():
    requests = log_of(*[chat("Hi", system="Be short.")] * 3)
    assert run_of(requests, RULES["openai"]).hits == 0
    assert run_of(requests, BARE).hits > 0


def test_what_is_unused_for_a_lifetime_is_gone_and_each_use_renews_it():
    bodies = [chat("Hello")] * 4
    assert [each.hits > 0 for each in run_of(log_of(*bodies, gap_s=599)).found] == [False, True, True, True]
    assert [each.hits > 0 for each in run_of(log_of(*bodies, gap_s=601)).found] == [False] * 4


def test_units_are_found_whole_as_deepseeks_guide_tells():
    """A + B, then A + C finds nothing but keeps A, which A + D finds (api-docs.deepseek.com/guides/kv_cache)."""
    rule = RULES["deepseek"]
    found = run_of(log_of(*(chat(f"{name} question") for name in ("first", "second", "third"))), rule, 3.0).found
    assert [each.hits > 0 for each in found] == [False, False, True]
    assert found[2].hits >= len(POLICY) / 3 - 64
    grown = run_of(log_of(chat("one"), chat("one", "answer", "two")), rule, 3.0).found
    assert grown[1].hits == grown[0].tokens - grown[0].tokens % 64


def test_nothing_unmarked_is_kept_where_marks_say_what_is():
    marked = claude("Hello", cache_control={"type": "ephemeral"})
    rule = dataclasses.replace(RULES["anthropic"], minimum_tokens=64)
    assert run_of(log_of(claude("Hello"), claude("Hello")), rule).hits == 0
    run = run_of(log_of(marked, marked), rule)
    assert run.found[1].hits == run.found[0].tokens == run.found[0].writes
    assert run.found[1].writes == 0


def test_nothing_is_read_behind_the_last_mark_of_a_request():
    """Anthropic looks for a beginning at a request's own breakpoints and before them; without one it reads none."""
    mark = {"cache_control": {"type": "ephemeral"}}
    both = claude("Hello", system=[{"type": "text", "text": POLICY, **mark}], **mark)
    system_only = claude("Hello", system=[{"type": "text", "text": POLICY, **mark}])
    rule = dataclasses.replace(RULES["anthropic"], minimum_tokens=64)
    first, without, some, *_ = run_of(log_of(both, claude("Hello"), system_only), rule).found
    kept = prompts.rendered(log_of(both)[0]).marks
    assert (first.writes, without.hits, some.hits) == (kept[-1], 0, kept[0])
    late = run_of(log_of(both, claude("Hello"), both, gap_s=200), rule).found
    assert late[2].hits == 0  # what did not read it has not let it live on
    assert run_of(log_of(both, system_only, both, gap_s=200), rule).found[2].hits == kept[0]


def test_models_and_keys_share_nothing():
    bodies = [chat("Hi"), chat("Hi") | {"model": "deepseek-v4.1-flash"}, chat("Hi", prompt_cache_key="b"), chat("Hi")]
    assert [each.hits > 0 for each in run_of(log_of(*bodies)).found] == [False, False, False, True]


def test_shared_beginnings_say_who_shares_what():
    bodies = [chat(f"{name} please") for name in ("find", "refund", "send")]
    shown = [prompts.rendered(request) for request in log_of(*bodies)]
    best = prompts.shared_prefixes(shown, 1.0)[0]
    assert best.requests == 3 and best.size == len(POLICY) + len("\n<system>\n\n<user>\n")
    assert best.saved_tokens == 2 * best.size and best.path == "messages[1].role"


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ({"bytes_per_token": 0.0}, "bytes_per_token = 0.0"),
        ({"bytes_per_token": float("nan")}, "bytes_per_token = nan"),
        ({"bytes_per_token": 1e-320}, "should be from 0.01 to 1,000"),
        ({"lifetime_s": 0.0}, "lifetime_s = 0.0"),
        ({"times_s": [2.0, 1.0]}, "times_s"),
        ({"times_s": [1.0]}, "times_s"),
        ({"times_s": [1.0, float("nan")]}, "times_s"),
    ],
)
def test_bad_numbers_are_refused(numbers, says):
    shown = [prompts.rendered(request) for request in log_of(chat("a"), chat("b"))]
    with pytest.raises(ValueError, match=says):
        prompts.replay_prompts(
            **{"prompts": shown, "times_s": [0.0, 1.0], "rule": BARE, "bytes_per_token": 3.0} | numbers
        )


@pytest.mark.parametrize(
    ("provider", "product", "name"),
    [
        ("DeepSeek", "deepseek-v4-pro", "deepseek"),
        ("OpenAI", "gpt-5.5", "openai"),
        ("OpenAI", "gpt-6.1-sol", "openai-marks"),
        ("Anthropic", "claude-opus-4.8", "anthropic"),
        ("Anthropic", "claude-opus-5", "anthropic-512"),
        ("Anthropic", "claude-haiku-4.5", "anthropic-4096"),
        ("Google", "gemini-4-argon", "google"),
        ("Google", "gemini-2.5-pro", "google-25"),
        ("xAI", "grok-5", "other"),
    ],
)
def test_a_product_has_the_rule_of_its_provider(provider, product, name):
    assert cache_rule(provider, product) is cache_rules().rules[name]
