"""Kept states of recurrent layers: where a prompt may resume, who competes for room, accounts that always balance."""

import math
from collections import OrderedDict
from itertools import takewhile

import pytest
from cache.leases import Leased, chained
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from costlab.cache import PrefixCache, StateRule, Tier
from costlab.cache.policies import POLICIES
from costlab.cache.policies.belady import Future
from costlab.cache.prefix.pools import WRITES

ENDS, BRANCHES, NONE = StateRule(ends=True), StateRule(branches=True), StateRule()


def recurrent(*capacities: float, rule=ENDS, page=1.0, state=1.0, **rules) -> PrefixCache:
    """Pages and states that compete, or with `state_capacities` do not."""
    tiers = [Tier(f"T{i}", capacity) for i, capacity in enumerate(capacities)]
    return PrefixCache(tiers, page, state_bytes=state, state_rule=rule, **rules)


prompts = st.lists(st.integers(0, 2), max_size=7).map(tuple)
state_rules = st.builds(StateRule, st.one_of(st.none(), st.integers(1, 4)), st.booleans(), st.booleans())


# --- the rule --------------------------------------------------------------------------------------------------


@given(state_rules)
def test_a_rule_is_read_as_it_is_written(rule) -> None:
    assert StateRule.parse(str(rule)) == rule


def test_rules_are_read() -> None:
    assert StateRule.parse("every:4K+ends") == StateRule(4096, ends=True)
    assert StateRule.parse(" Branches + EVERY:100 ") == StateRule(100, branches=True)
    assert str(StateRule(4096, ends=True, branches=True)) == "every:4096+ends+branches"
    assert StateRule.parse("none") == NONE and str(NONE) == "none"


@pytest.mark.parametrize(
    "text",
    ["", "every", "every:", "every:0", "every:-1", "every:1.5", "every:4G", "end", "ends+ends", "ends+none",
     "every:1+every:2", "ends,branches", "every:99999999999999999999"],
)  # fmt: skip
def test_what_is_no_rule_is_quoted(text) -> None:
    with pytest.raises(ValueError, match="should be none, or every:TOKENS, ends and branches") as found:
        StateRule.parse(text)
    assert repr(text) in str(found.value)


def test_a_rule_counts_whole_pages() -> None:
    everything = StateRule(1000, ends=True, branches=True)
    assert everything.marks(5 * 512 + 100, 512, found=3) == (2, 3, 4, 5)
    assert StateRule(1000).marks(1023, 512, found=1) == ()
    assert ENDS.marks(511, 512, found=0) == () and ENDS.marks(1024, 512, 0) == (2,)
    assert BRANCHES.marks(1000, 512, found=2) == (1,), "the second page is not whole"
    assert NONE.marks(9999, 512, found=3) == ()
    with pytest.raises(ValueError, match="every_tokens should be a whole number from 1"):
        StateRule(0)


# --- where a prompt resumes ------------------------------------------------------------------------------------


def test_pages_help_only_up_to_a_state() -> None:
    cache = recurrent(math.inf)
    cache.release(cache.admit("abcd"))
    assert cache.match("abcdef")[:2] == (4, 4)
    assert cache.match("abcx")[:2] == (0, 3), "three pages are there, and no state behind them"
    marked = recurrent(math.inf, rule=StateRule(2))
    marked.release(marked.admit("abcde"))
    assert marked.match("abcdex")[:2] == (4, 5) and marked.match("abcx")[:2] == (2, 3)
    never = recurrent(math.inf, rule=NONE)
    never.release(never.admit("abcd"))
    assert never.match("abcde")[:2] == (0, 4)


def test_a_state_is_kept_only_of_what_was_computed() -> None:
    """One that went from before the place of resumption cannot come back without computing that part."""
    cache = recurrent(math.inf, rule=StateRule(1))
    cache.release(cache.admit("ab"))
    cache.states.discard(["a"])
    cache.release(cache.admit("abc"))
    assert cache.states.keys() == {"b", "c"}


def test_a_state_is_kept_where_the_second_prompt_left_the_first() -> None:
    cache = recurrent(math.inf, rule=BRANCHES)
    cache.release(cache.admit("abcd"))
    cache.release(cache.admit("abxy"))  # computes a and b again
    assert cache.match("abz")[:2] == (2, 2)
    assert cache.states.keys() == {"b"}


def test_no_token_can_be_taken_back_out_of_a_state() -> None:
    """A prompt that is wholly cached computes its last token, which the state at its end has seen already."""
    cache = recurrent(math.inf, rule=StateRule(2), page_tokens=1)
    cache.release(cache.admit("abcd"))
    assert cache.match("abcd")[:2] == (2, 4)
    assert cache.match("abcd", tokens=5)[:2] == (4, 4), "a page more is to come"
    lease = cache.admit("abcd")
    assert lease.match.pages == 2
    longer = recurrent(math.inf, rule=ENDS, page_tokens=4)
    longer.release(longer.admit("ab", tokens=8))
    assert longer.match("ab", tokens=8).pages == 0 and longer.match("abc", tokens=9).pages == 2


def test_a_state_of_a_partial_page_is_not_kept() -> None:
    cache = recurrent(math.inf, rule=StateRule(1, ends=True, branches=True), page_tokens=4)
    for _ in range(2):
        cache.release(cache.admit("abc", tokens=10))
    assert cache.states.keys() == {"a", "b"}


def test_generated_text_leaves_a_state_behind_too() -> None:
    cache = recurrent(math.inf)
    lease = cache.admit("ab")
    cache.extend(lease, "cd")
    cache.release(lease)
    assert cache.states.keys() == {"b", "d"} and cache.match("abcdx")[:2] == (4, 4)


def test_a_preempted_sequence_resumes_from_a_state() -> None:
    cache = recurrent(math.inf, rule=StateRule(2))
    lease = cache.admit("abc")
    cache.extend(lease, "d")
    cache.preempt(lease)
    cache.resume(lease)
    assert lease.match.pages == 2, "the state behind d has seen the token that is computed next"


def test_windows_and_states_must_both_be_there() -> None:
    cache = PrefixCache([Tier("HBM")], 1.0, 1.0, 1.0, capacities=[(99, 1)], state_rule=StateRule(1))
    cache.release(cache.admit("ab"))
    assert cache.match("abx") == (2, 2, (2,), 0, 0)
    cache.release(cache.admit("cd"))  # its window takes the place of the one behind b
    assert cache.states.keys() == set("abcd") and cache.windows.keys() == {"d"}
    assert cache.match("abx")[:2] == (0, 2) and cache.match("cdx")[:2] == (2, 2)
    cache.check()


class Reference:
    """Endless room: which pages were seen, and after which of them a state was kept."""

    def __init__(self, rule: StateRule) -> None:
        self.rule, self.seen, self.kept = rule, set(), set()

    def serve(self, pages, tokens, page_tokens) -> tuple[int, int]:
        """Return how many pages are found and how many can be used, then take the prompt in."""
        found = len(list(takewhile(self.seen.__contains__, pages)))
        usable = [i for i in range(1, found + 1) if pages[i - 1] in self.kept and i * page_tokens < tokens]
        start = max(usable, default=0)
        for i in range(start + 1, len(pages) + 1):
            whole = i * page_tokens <= tokens
            every = self.rule.every_tokens and i % math.ceil(self.rule.every_tokens / page_tokens) == 0
            end = self.rule.ends and (i + 1) * page_tokens > tokens
            branch = self.rule.branches and i == min(found, tokens // page_tokens)
            if whole and (every or end or branch):
                self.kept.add(pages[i - 1])
        self.seen.update(pages)
        return found, start


@given(
    st.lists(st.tuples(prompts.filter(len), st.integers(0, 3)), max_size=25),
    state_rules,
    st.integers(1, 4),
    st.booleans(),
    st.integers(1, 2),
)
def test_endless_room_resumes_at_the_longest_prefix_with_a_state(asked, rule, page_tokens, share, tiers) -> None:
    capacities = [math.inf] * tiers
    rules = {"state_capacities": capacities} if share else {}
    cache, plain = recurrent(*capacities, rule=rule, page_tokens=page_tokens, **rules), Reference(rule)
    for prompt, less in asked:
        tokens = len(prompt) * page_tokens - min(less, page_tokens - 1)
        lease = cache.admit(chained(prompt), tokens)
        assert (lease.match.found, lease.match.pages) == plain.serve(chained(prompt), tokens, page_tokens)
        cache.release(lease)
    assert cache.states.keys() == plain.kept
    assert cache.states.pools[0].resident_bytes == len(plain.kept)


@pytest.mark.parametrize("every", [1, 2, 7, 16])
def test_the_loss_of_a_distance_is_below_it_and_half_of_it_on_average(every) -> None:
    """Prefixes of all lengths, as often each: the loss is uniform on 0 … N-1, so (N-1)/2 on average."""
    trunk = tuple(range(every * 12))
    cache = recurrent(math.inf, rule=StateRule(every))
    cache.release(cache.admit(trunk))
    lost = []
    for length in range(len(trunk)):
        match = cache.match((*trunk[:length], "new"))
        assert match.found == length
        lost.append(match.found - match.pages)
    assert max(lost) == every - 1 and sum(lost) / len(lost) == (every - 1) / 2


# --- histories -------------------------------------------------------------------------------------------------


class Serving(Leased):
    """Sequences come, grow, pause, resume and go, with states that compete for room or have their own."""

    @initialize(
        capacities=st.lists(st.one_of(st.integers(1, 14), st.just(math.inf)), min_size=1, max_size=3),
        windows=st.one_of(st.none(), st.lists(st.integers(0, 3), min_size=3, max_size=3)),
        apart=st.one_of(st.none(), st.lists(st.integers(0, 4), min_size=3, max_size=3)),
        state=st.sampled_from([0.5, 2.0, 3.0, 7.0]),
        rule=state_rules,
        eviction=st.sampled_from(POLICIES),
        write=st.sampled_from(WRITES),
        leaves_first=st.booleans(),
    )
    def start(self, capacities, windows, apart, state, rule, eviction, write, leaves_first) -> None:
        self.sizes = 2.0, 1.0, state
        tiers = [Tier(f"T{i}", 2.0 * c + 3.0) for i, c in enumerate(capacities)]
        self.cache = PrefixCache(
            tiers,
            2.0,
            0.0 if windows is None else 1.0,
            state,
            capacities=None if windows is None else list(zip(capacities, windows, strict=False)),
            state_rule=rule,
            state_capacities=None if apart is None else apart[: len(tiers)],
            eviction=eviction,
            write=write,
            leaves_first=leaves_first,
        )
        self.apart, self.windowed = apart is not None, windows is not None

    @rule(prompt=prompts, partial=st.booleans())
    def admit(self, prompt, partial) -> None:
        pages = chained(prompt)
        expected = self.usable(pages)
        assert self.cache.match(pages).pages == expected
        if self.cache.can_admit(pages) or partial:
            lease = self.cache.admit(pages, partial=partial)
            if not lease.uncached:
                assert lease.match.pages == expected
            self.running.append(lease)
        else:
            with pytest.raises(ValueError, match="no room"):
                self.cache.admit(pages)

    def usable(self, pages) -> int:
        """Brute force: the longest prefix, short of the last page, that lies in some tier and ends where all is."""
        held, windows, kept = (
            set().union(*(pool.there for pool in stack.pools)) if stack is not None else set()
            for stack in (self.cache.full, self.cache.windows, self.cache.states)
        )
        best = 0
        for count in range(1, len(pages)):
            if pages[count - 1] not in held:
                break
            if pages[count - 1] in kept and (not self.windowed or pages[count - 1] in windows):
                best = count
        return best

    @invariant()
    def accounts_balance(self) -> None:
        if not hasattr(self, "cache"):
            return
        cache = self.cache
        cache.check()
        assert all(pool.page_bytes == self.sizes[2] for pool in cache.states.pools)
        in_use = {page for lease in self.running for page in lease.pages}
        assert in_use <= set(cache.full.pools[0].there)
        assert cache.states.keys() <= cache.full.keys()
        for level, tier in enumerate(cache.tiers):
            stacks = [cache.full, cache.states] + ([cache.windows] if self.windowed else [])
            pools = [stack.pools[level] for stack in stacks]
            for pool in pools:
                assert pool.bytes_in == pool.bytes_out + pool.resident_bytes and pool.resident_bytes >= 0
                assert pool.pages <= pool.capacity
            if not self.apart:
                assert sum(pool.resident_bytes for pool in pools) <= tier.capacity_bytes * (1 + 1e-9)


Serving.TestCase.settings = settings(max_examples=examples(120), stateful_step_count=25)
TestServing = Serving.TestCase


# --- who goes --------------------------------------------------------------------------------------------------


class Napkin:
    """LRU in one tier: a queue of pages and one of states, the older of their two heads goes."""

    def __init__(self, room: float, page: float, state: float, rule: StateRule) -> None:
        self.room, self.size, self.rule, self.now = room, (state, page), rule, 0
        self.queues: tuple[OrderedDict, OrderedDict] = OrderedDict(), OrderedDict()  # states, pages: key -> age
        self.gone: list[tuple[int, object]] = []

    def serve(self, pages) -> int:
        states, held = self.queues
        self.now += 1
        pages = pages[: math.floor(self.room / self.size[1])]
        found = len(list(takewhile(held.__contains__, pages)))
        start = max((i for i in range(1, found + 1) if pages[i - 1] in states and i < len(pages)), default=0)
        if start:
            self._use(0, pages, [start])
        for key in pages:
            if key in held:
                held[key] = self.now, -1 - pages.index(key), 1
        new = [i for i, key in enumerate(pages, 1) if key not in held]
        self._add(1, pages, new, pages)
        self._use(1, pages, [i for i in range(1, len(pages) + 1) if i not in new])
        marks = [i for i in self.rule.marks(len(pages), 1, found) if i > start and pages[i - 1] not in states]
        again = [i for i in self.rule.marks(len(pages), 1, found) if i > start and pages[i - 1] in states]
        for i in again:
            states[pages[i - 1]] = self.now, -i, 0
        self._add(0, pages, marks, pages)
        return start

    def _use(self, kind, pages, places) -> None:
        for i in reversed(places):
            self.queues[kind][pages[i - 1]] = self.now, -i, kind
            self.queues[kind].move_to_end(pages[i - 1])

    def _add(self, kind, pages, places, pinned) -> None:
        while self._used() + len(places) * self.size[kind] > self.room:
            heads = [
                (queue[key], which, key)
                for which, queue in enumerate(self.queues)
                for key in [k for k in queue if which == 0 or k not in pinned][:1]
            ]
            if not heads:
                places = places[: math.floor((self.room - self._used()) / self.size[kind])]
                break
            _, which, key = min(heads, key=lambda head: head[0])
            del self.queues[which][key]
            self.gone.append((which, key))
            if which == 1:
                self.queues[0].pop(key, None)
        self._use(kind, pages, places)

    def _used(self) -> float:
        return sum(size * len(queue) for size, queue in zip(self.size, self.queues, strict=True))


@given(
    st.lists(prompts.filter(len), max_size=30),
    st.integers(1, 25),
    st.sampled_from([1.0, 2.0]),
    st.sampled_from([0.5, 1.0, 3.0, 7.0]),
    state_rules,
)
@settings(max_examples=examples(300))
def test_pages_and_states_are_one_queue(asked, room, page, state, rule) -> None:
    room = max(room, page)
    cache, napkin = recurrent(room, rule=rule, page=page, state=state), Napkin(room, page, state, rule)
    for prompt in asked:
        lease = cache.admit(chained(prompt), partial=True)
        if not lease.uncached:
            expected = napkin.serve(chained(prompt))
            assert lease.match.pages == expected
        else:
            napkin.serve(chained(prompt))
        cache.release(lease)
        assert cache.full.keys() == set(napkin.queues[1]) and cache.states.keys() == set(napkin.queues[0])
        cache.check()


def test_a_state_takes_the_room_of_the_pages_used_longest_ago() -> None:
    cache = recurrent(6, state=2.0)
    cache.release(cache.admit("abcd"))  # four pages and a state behind d
    assert cache.full.keys() == set("abcd") and cache.states.keys() == {"d"}
    cache.release(cache.admit("xy"))  # takes d's state first, d and c follow for the new one
    assert cache.full.keys() == set("abxy") and cache.states.keys() == {"y"}
    pool, states = cache.full.pools[0], cache.states.pools[0]
    assert (pool.evicted, states.evicted + states.discarded) == (2, 1)
    assert cache.full.used_bytes(0) == 6


def test_what_a_sequence_resumes_from_does_not_go_for_its_pages() -> None:
    cache = recurrent(8, state=2.0)
    cache.release(cache.admit("ab"))  # 4 bytes
    cache.release(cache.admit("x"))  # 3 bytes
    lease = cache.admit("abcd")  # 2 + 2 more: x's state and x go, used later than b's state until that is resumed from
    assert lease.match.pages == 2 and cache.states.keys() == {"b", "d"} and cache.full.keys() == set("abcd")


def test_states_apart_leave_the_pages_alone() -> None:
    """Pages come and go as if there were no states, in the room that is theirs."""
    for eviction in POLICIES:
        apart = recurrent(6, eviction=eviction, state_capacities=[1], rule=StateRule(1))
        plain = PrefixCache([Tier("HBM", 6)], 1.0, eviction=eviction)
        for prompt in ("ab", "abcd", "xy", "abz", "qrs", "abcd"):
            assert apart.match(prompt).found == plain.match(prompt).found
            for cache in (apart, plain):
                cache.release(cache.admit(prompt))
            assert list(apart.full.pools[0].there) == list(plain.full.pools[0].there)
            assert apart.states.pools[0].pages <= 1
            apart.check()


def test_belady_keeps_what_is_asked_for_sooner() -> None:
    asked = [chained("ab"), chained("cd"), chained("ef"), chained("abx")]
    for eviction, found in (("lru", 0), ("belady", 2)):
        future = Future(asked) if eviction == "belady" else None
        cache = recurrent(7, state=1.0, eviction=eviction, future=future)
        matches = []
        for pages in asked:
            lease = cache.admit(pages)
            matches.append(lease.match.pages)
            cache.release(lease)
            cache.check()
        assert matches[3] == found


# --- tiers -----------------------------------------------------------------------------------------------------


def test_states_move_between_tiers_with_their_bytes() -> None:
    cache = recurrent(5, 99, state=2.0)
    for prompt in ("ab", "cde"):
        cache.release(cache.admit(prompt))
    assert cache.states.pools[0].there.keys() == {"e"} and cache.states.pools[1].there.keys() == {"b", "e"}
    lease = cache.admit("abx")
    assert (lease.match.pages, lease.match.at, lease.match.state_at) == (2, (0, 2), 1)
    assert cache.states.read == [0, 1] and cache.full.read == [0, 2]
    cache.check()


@pytest.mark.parametrize(("write", "steps"), [("through", [1, 1, 2]), ("selective", [0, 1, 1]), ("back", [0, 0, 1])])
def test_states_are_copied_down_as_pages_are(write, steps) -> None:
    cache, written = recurrent(3, 99, write=write, rule=StateRule(2)), []
    for prompt in ("ab", "ab", "cd"):
        cache.release(cache.admit(prompt))
        written.append(cache.states.pools[1].added["written"])
    assert written == steps
    cache.check()


def test_a_state_only_in_a_slower_tier_can_be_left_out() -> None:
    cache = recurrent(5, 99, state=2.0, rule=StateRule(1))
    for prompt in ("ab", "cde"):
        cache.release(cache.admit(prompt))
    assert cache.match("abx").state_at == 1
    assert cache.match("abx", states_within=1)[:2] == (0, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: recurrent(3, state=-1.0), r"states of -1.0 bytes: there should be a tier, and no size below 0"),
        (lambda: recurrent(3, state=math.inf), "states of inf bytes"),
        (lambda: recurrent(3, state_capacities=[1, 2]), "argument 2 is longer"),
    ],
)
def test_bad_caches_are_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_check_sees_a_broken_account() -> None:
    cache = recurrent(6)
    cache.release(cache.admit("ab"))
    cache.states.pools[0].evicted += 1
    with pytest.raises(AssertionError, match="T0 state: 1 pages came, 1 went, 1 are there"):
        cache.check()
    cache = recurrent(6)
    cache.release(cache.admit("ab"))
    cache.states.put(0, ["z"], "computed")
    with pytest.raises(AssertionError, match="a state outlived its page"):
        cache.check()
