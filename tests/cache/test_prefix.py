"""The prefix cache: accounts that always balance, pins, the two edge cases, what each rule does."""

import math

import numpy as np
import pytest
from cache.leases import Leased, chained
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from costlab.cache import PrefixCache, Tier
from costlab.cache.policies import POLICIES
from costlab.cache.prefix.match import lookup
from costlab.cache.prefix.pools import WRITES


def flat(*capacities: float, **rules) -> PrefixCache:
    """A cache of one-byte pages without windows."""
    return PrefixCache([Tier(f"T{i}", c) for i, c in enumerate(capacities)], page_bytes=1.0, **rules)


prompts = st.lists(st.integers(0, 2), max_size=7).map(tuple)


class Serving(Leased):
    """Sequences come, grow, pause, resume and go, over any policy, write mode, capacity and kind of model."""

    @initialize(
        capacities=st.lists(st.one_of(st.integers(1, 12), st.just(math.inf)), min_size=1, max_size=3),
        windows=st.one_of(st.none(), st.lists(st.integers(0, 4), min_size=3, max_size=3)),
        eviction=st.sampled_from(POLICIES),
        write=st.sampled_from(WRITES),
        leaves_first=st.booleans(),
        checkpoint=st.one_of(st.none(), st.integers(1, 3)),
        branch=st.booleans(),
    )
    def start(self, capacities, windows, eviction, write, leaves_first, checkpoint, branch) -> None:
        tiers = [Tier(f"T{i}", 3 * c) for i, c in enumerate(capacities)]
        self.cache = PrefixCache(
            tiers,
            page_bytes=3.0,
            window_bytes=0.0 if windows is None else 2.0,
            capacities=None if windows is None else list(zip(capacities, windows, strict=False)),
            eviction=eviction,
            write=write,
            leaves_first=leaves_first,
            checkpoint_tokens=checkpoint,
            branch_points=branch,
        )
        self.windowed = windows is not None

    @rule(prompt=prompts, partial=st.booleans())
    def admit(self, prompt, partial) -> None:
        pages = chained(prompt)
        expected = self.usable(pages)
        if self.cache.can_admit(pages) or partial:
            lease = self.cache.admit(pages, partial=partial)
            assert len(lease.pages) + lease.uncached == len(pages)
            if not lease.uncached:
                assert lease.match.pages == expected
            self.running.append(lease)
        else:
            with pytest.raises(ValueError, match="no room"):
                self.cache.admit(pages)

    @rule(prompt=prompts)
    def ask(self, prompt) -> None:
        match = self.cache.match(chained(prompt))
        assert match.pages == self.usable(chained(prompt)) and sum(match.at) == match.pages <= match.found

    def usable(self, pages) -> int:
        """Brute force: the longest prefix that lies in some tier and, with windows, ends where one is kept."""
        found = 0
        while found < len(pages) and any(pages[found] in pool.policy for pool in self.cache.full.pools):
            found += 1
        if not self.windowed:
            return found
        kept = set().union(*(pool.policy.keys() for pool in self.cache.windows.pools))
        return max((i for i in range(found + 1) if i == 0 or pages[i - 1] in kept), default=0)

    @invariant()
    def accounts_balance(self) -> None:
        if not hasattr(self, "cache"):
            return
        self.cache.check()
        assert self.cache.running == len(self.running)
        in_use = {page for lease in self.running for page in lease.pages}
        assert in_use <= set(self.cache.full.pools[0].policy.keys()) and self.cache.pinned == len(in_use)
        for stack in (self.cache.full, self.cache.windows):
            for pool in stack.pools if stack is not None else ():
                assert pool.bytes_in == pool.bytes_out + pool.resident_bytes
                assert pool.pages <= pool.capacity


Serving.TestCase.settings = settings(max_examples=examples(150), stateful_step_count=30)
TestServing = Serving.TestCase


@given(
    capacities=st.lists(st.integers(1, 12), min_size=1, max_size=2),
    eviction=st.sampled_from(POLICIES),
    write=st.sampled_from(WRITES),
    leaves_first=st.booleans(),
    held=prompts,
    later=st.lists(prompts, max_size=20),
)
def test_to_remember_is_to_admit_and_to_release_at_once(capacities, eviction, write, leaves_first, held, later) -> None:
    """The same pages in the same order of going, and the same account, whoever holds what meanwhile."""
    rules = {"eviction": eviction, "write": write, "leaves_first": leaves_first}
    short, long = flat(*capacities, **rules), flat(*capacities, **rules)
    for cache in (short, long):
        cache.admit(chained(held), partial=True)
    for prompt in map(chained, later):
        assert short.match(prompt).pages == long.match(prompt).pages == lookup(long.full.has, prompt).found
        short.remember(prompt)
        long.release(long.admit(prompt, partial=True))
        short.check()
        for mine, other in zip(short.full.pools, long.full.pools, strict=True):
            assert list(mine.there) == list(other.there)
            assert (mine.added, mine.evicted, mine.refused) == (other.added, other.evicted, other.refused)


@given(st.integers(0, 9), st.lists(st.sets(st.integers(0, 9)), min_size=1, max_size=3), st.integers(0, 9))
def test_a_lookup_says_where_each_page_is(count, tiers, first) -> None:
    """Whole beginnings and pages with gaps between them, against a question for each page and tier."""
    for held in ([set(range(len(tier))) for tier in tiers], tiers):
        found = lookup([tier.__contains__ for tier in held], tuple(range(count)))
        where = [[level for level, tier in enumerate(held) if page in tier] for page in range(count)]
        assert [list(keys) for keys in found.held] == [[k for k in range(count) if k in tier] for tier in held]
        assert [list(keys) for keys in found.lacking] == [[k for k in range(count) if k not in tier] for tier in held]
        assert found.found == next((page for page in range(count) if not where[page]), count)
        assert found.resident == sum(map(bool, where))
        for level in range(len(held)):
            assert found.at(first)[level] == sum(levels[:1] == [level] for levels in where[:first])
            assert found.below(level, first) == {
                k for k, levels in enumerate(where[:first]) if not {*range(level + 1)} & {*levels}
            }


# --- the two edge cases ----------------------------------------------------------------------------------------


def test_a_preempted_sequence_resumes_with_what_is_left() -> None:
    cache = flat(4, 8)
    lease = cache.admit("abc")
    cache.extend(lease, "d")
    cache.preempt(lease)
    assert cache.pinned == 0 and not cache.can_extend(lease, "e")
    other = cache.admit("wxyz")  # takes the whole first tier; a..d survive in the second
    assert not cache.can_resume(lease)
    with pytest.raises(ValueError, match="no room to resume 4 pages"):
        cache.resume(lease)
    cache.release(other)
    assert cache.can_resume(lease)
    cache.resume(lease)
    assert lease.match.at == (0, 4) and lease.pages == list("abcd")  # loaded back, nothing computed again
    cache.extend(lease, [])
    cache.release(lease)
    cache.check()
    assert cache.pinned == cache.running == 0
    assert cache.full.read == [0, 4]


def test_a_preempted_sequence_whose_pages_are_gone_computes_them_again() -> None:
    cache = flat(4)
    lease = cache.admit("abc")
    cache.preempt(lease)
    cache.release(cache.admit("wxyz"))
    cache.resume(lease)
    assert lease.match.pages == 0
    assert cache.full.pools[0].added["computed"] == 3 + 4 + 3
    cache.preempt(lease)
    cache.release(lease)  # ends without running again
    with pytest.raises(ValueError, match="should be running here, it is released"):
        cache.release(lease)
    cache.check()


def test_a_prompt_wholly_cached_is_shared_not_copied() -> None:
    cache = flat(3)
    first, second = cache.admit("abc"), cache.admit("abc")
    assert second.match.pages == 3 and cache.pinned == 3
    assert not cache.can_admit("x")
    cache.release(first)
    assert not cache.can_admit("x"), "the other one still holds its pages"
    cache.release(second)
    cache.release(cache.admit("x"))
    cache.check()
    assert cache.full.pools[0].evicted == 1 and cache.match("abc").pages == 2  # the leaf went


# --- what each rule does ---------------------------------------------------------------------------------------


def test_write_through_copies_at_once_selective_at_the_second_use_back_on_eviction() -> None:
    written = {}
    for mode in WRITES:
        cache = flat(2, 9, write=mode)
        steps = []
        for prompt in ("ab", "ab", "cd"):
            cache.release(cache.admit(prompt))
            steps.append(cache.full.pools[1].added["written"])
        written[mode] = steps
    assert written == {"through": [2, 2, 4], "selective": [0, 2, 2], "back": [0, 0, 2]}


def test_a_page_from_the_third_tier_passes_through_the_second() -> None:
    cache = flat(2, 2, 9)
    for prompt in ("ab", "cd", "ef"):
        cache.release(cache.admit(prompt))
    lease = cache.admit("ab")
    assert lease.match.at == (0, 0, 2) and cache.full.read == [0, 2, 2]
    assert cache.full.pools[1].added["loaded"] == cache.full.pools[0].added["loaded"] == 2
    cache.check()


def test_written_back_pages_fall_tier_by_tier() -> None:
    cache = flat(1, 1, 1, write="back")
    for prompt in "abcd":
        cache.release(cache.admit(prompt))
    assert [sorted(pool.policy.keys()) for pool in cache.full.pools] == [["d"], ["c"], ["b"]]
    assert cache.full.lost == 1
    cache.check()


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("eviction", POLICIES)
def test_leaves_go_first_under_every_policy_in_every_tier(eviction: str, write: str) -> None:
    cache = flat(30, 50, 70, eviction=eviction, write=write)
    rng = np.random.default_rng(3)
    for _ in range(300):
        cache.release(cache.admit(chained(tuple(rng.integers(0, 3, rng.integers(1, 8)).tolist()))))
        # write-back leaves what a page builds on above it: only the first tier is whole by itself
        for pool in cache.full.pools[: 1 if write == "back" else 3]:
            there = set(pool.policy.keys())
            assert all(len(page) == 1 or page[:-1] in there for page in there), "a page without what it builds on"
    assert cache.full.pools[0].evicted >= 500
    cache.check()


def test_without_the_rule_a_trunk_can_go_first() -> None:
    cache = flat(3, eviction="fifo", leaves_first=False)
    cache.release(cache.admit("abc"))
    cache.release(cache.admit("x"))
    assert cache.match("abc").pages == 0
    tree = flat(3, eviction="fifo")
    tree.release(tree.admit("abc"))
    tree.release(tree.admit("x"))
    assert tree.match("abc").pages == 2


@pytest.mark.parametrize("eviction", POLICIES)
def test_ids_that_are_not_prefix_chained_come_to_an_end(eviction: str) -> None:
    """After bc, ac and cb each of two pages builds on the other; the walk to a leaf must not go round for ever."""
    cache = flat(2, eviction=eviction)
    for prompt in ("bc", "ac", "cb", "d"):
        cache.release(cache.admit(prompt))
        cache.check()


def test_a_grown_sequence_is_still_evicted_from_its_end() -> None:
    cache = flat(4)
    lease = cache.admit("ab")
    cache.extend(lease, "c")
    cache.extend(lease, "d")
    cache.release(lease)
    cache.release(cache.admit("x"))
    assert cache.match("abcd").pages == 3


@given(st.lists(prompts, max_size=30), st.integers(1, 15), st.sampled_from(POLICIES))
def test_a_larger_request_than_the_cache_keeps_its_beginning(asked, capacity, eviction) -> None:
    cache = flat(capacity, eviction=eviction)
    for prompt in asked:
        lease = cache.admit(chained(prompt), partial=True)
        assert lease.pages == list(chained(prompt)[:capacity])
        cache.release(lease)
        cache.check()


# --- windows ---------------------------------------------------------------------------------------------------


def hybrid(full: float, window: float, **rules) -> PrefixCache:
    return PrefixCache([Tier("HBM")], 1.0, 1.0, capacities=[(full, window)], **rules)


def test_a_match_counts_up_to_a_boundary_with_its_window() -> None:
    cache = hybrid(99, 99)
    cache.release(cache.admit("abcd"))
    assert cache.match("abcdef")[:2] == (4, 4)
    assert cache.match("abxy")[:2] == (0, 2), "the pages are there, the window behind b is not"
    cache.release(cache.admit("abxy"))
    assert cache.match("abz")[:2] == (0, 2)
    marked = hybrid(99, 99, checkpoint_tokens=2)
    marked.release(marked.admit("abcd"))
    assert marked.match("abxy")[:2] == (2, 2)
    branching = hybrid(99, 99, branch_points=True)
    branching.release(branching.admit("abcd"))
    branching.release(branching.admit("abxy"))  # computes a and b again, and keeps the window behind b
    assert branching.match("abz")[:2] == (2, 2)


def test_a_window_may_go_while_its_pages_stay_but_not_the_reverse() -> None:
    cache = hybrid(4, 1)
    cache.release(cache.admit("ab"))
    cache.release(cache.admit("cd"))
    assert cache.match("ab")[:2] == (0, 2) and cache.match("cd")[:2] == (2, 2)
    cache.release(cache.admit("wxyz"))
    cache.check()
    assert cache.windows.keys() == {"z"}
    assert cache.windows.pools[0].evicted + cache.windows.pools[0].discarded == 2


def test_windows_live_in_tiers_of_their_own() -> None:
    cache = PrefixCache([Tier("HBM"), Tier("DRAM")], 1.0, 1.0, capacities=[(2, 1), (9, 9)])
    cache.release(cache.admit("ab"))
    cache.release(cache.admit("cd"))
    lease = cache.admit("ab")
    assert lease.match.at == (0, 2) and lease.match.window_at == 1
    assert cache.full.read == [0, 2] and cache.windows.read == [0, 1]
    cache.check()


def test_generated_text_leaves_a_window_behind_too() -> None:
    cache = hybrid(9, 9)
    lease = cache.admit("ab")
    cache.extend(lease, "cd")
    cache.release(lease)
    assert cache.match("abcdx")[:2] == (4, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: flat(), "0 tiers"),
        (lambda: flat(3, eviction="mru"), "unknown eviction policy 'mru'"),
        (lambda: flat(3, write="never"), "unknown write mode 'never'"),
        (lambda: flat(3, eviction="belady"), "needs the future"),
        (lambda: PrefixCache([Tier("HBM")], 1.0, 1.0), "how each tier is split"),
        (lambda: flat(9).admit("aba"), "'a' comes twice"),
        (lambda: flat(9).remember("aba"), "'a' comes twice"),
        (lambda: flat(2).admit("abc"), "no room: 3 pages, only 2 fit beside 0 running"),
    ],
)
def test_bad_calls_are_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_bad_steps_are_refused() -> None:
    cache = flat(3)
    lease = cache.admit("ab")
    with pytest.raises(ValueError, match="'b' comes twice"):
        cache.extend(lease, "b")
    with pytest.raises(ValueError, match="no room for 2 further pages"):
        cache.extend(lease, "cd")
    with pytest.raises(ValueError, match="should be preempted here, it is running"):
        cache.resume(lease)
    cache.preempt(lease)
    with pytest.raises(ValueError, match="should be running here, it is preempted"):
        cache.preempt(lease)


def test_check_sees_a_broken_account() -> None:
    cache = flat(3)
    cache.admit("ab")
    cache.full.pools[0].evicted += 1
    with pytest.raises(AssertionError, match="T0 full: 2 pages came, 1 went, 2 are there"):
        cache.check()
    other = flat(3)
    other.admit("ab")
    other.full.pins["a"] = 2
    with pytest.raises(AssertionError, match="reference counts"):
        other.check()
