"""The states that a prefix cache keeps: which one a prompt resumes from, which ones it leaves behind.

A state is used by being copied: the sequence goes on in its copy, and the kept one is never in use. It stands for the
prefix up to its page, so it lies beside pages and goes with its page at the latest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from costlab.cache.policies.base import Key
from costlab.cache.prefix.match import Lease
from costlab.cache.prefix.pools import PageTiers
from costlab.cache.prefix.shared import SharedTiers
from costlab.cache.prefix.states import StateRule


class KeptStates:
    """States in tiers, each named by the id of the last page that it has seen.

    Args:
        tiers: where they lie; if it is shared, then with the full pages.
        rule: after which pages a state is kept.
        page_tokens: tokens of a full page.
        full: where the full pages lie.
    """

    def __init__(self, tiers: PageTiers, rule: StateRule, page_tokens: int, full: PageTiers) -> None:
        self.tiers, self.rule, self.page_tokens = tiers, rule, page_tokens
        self._shared: tuple[SharedTiers, SharedTiers] | None = None  # full pages and states, where they compete
        self._step = 0  # times that pages were used: the clock of what competes
        if isinstance(tiers, SharedTiers) and isinstance(full, SharedTiers):
            self._shared = full, tiers

    def resumable(
        self, pages: Sequence[Key], tokens: int, windows: PageTiers | None, within: int | None = None
    ) -> tuple[int, int | None, int | None]:
        """Return how many pages there are up to the last with a state (and a window), and the tiers of both.

        It lies before the prompt's last token: that one is computed in any case, as the answer comes out of it, and
        no token can be taken back out of a state.

        Args:
            pages: those of a prompt's first pages that are cached.
            tokens: length of the whole prompt.
            windows: where windows lie, for models that have them, too.
            within: use states of the first so many tiers only; None: of all.

        Returns:
            pages, the fastest tier of the window (None without windows), the fastest tier of the state.
        """
        for count in range(min(len(pages), (tokens - 1) // self.page_tokens), 0, -1):
            state_at = self.tiers.fastest(pages[count - 1], within)
            if state_at is not None:
                if windows is None:
                    return count, None, state_at
                window_at = windows.fastest(pages[count - 1])
                if window_at is not None:
                    return count, window_at, state_at
        return 0, None, None

    def use(self, lease: Lease, wants_copy: Callable[[Key], bool]) -> None:
        """Copy the state that a sequence's match rests on, and load it."""
        match = lease.match
        if match.pages and match.state_at is not None:
            self._note([match.pages], lease)
            self.tiers.fetch(lease.pages[match.pages - 1], match.state_at, wants_copy)

    def keep(self, lease: Lease, start: int, wants_copy: Callable[[Key], bool]) -> None:
        """Keep a state at each mark of the rule after page `start` that the sequence has computed."""
        marks = self.rule.marks(lease.tokens, self.page_tokens, lease.match.found)
        marks = tuple(mark for mark in marks if start < mark <= len(lease.pages))
        self._note(marks, lease)
        self.tiers.keep([lease.pages[mark - 1] for mark in marks], wants_copy)

    def note_pages(self, pages: Sequence[Key], before: int = 0) -> None:
        """Note that pages are used now, which compete with states; `before` pages stand before them."""
        if self._shared is not None:
            self._step += 1
            self._shared[0].uses.note(self._step, pages, range(before + 1, before + 1 + len(pages)))

    def forget(self, pages: Sequence[Key]) -> None:
        """Drop the states of pages that no tier holds any more."""
        self.tiers.discard(pages)
        for kind in self._shared or ():
            kind.uses.forget(pages)

    def _note(self, marks: Sequence[int], lease: Lease) -> None:
        if self._shared is not None:
            self._shared[1].uses.note(self._step, [lease.pages[mark - 1] for mark in marks], marks)
