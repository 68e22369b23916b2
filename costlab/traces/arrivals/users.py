"""Closed loop: users who wait for the answer before they ask again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from costlab.checks import count
from costlab.traces.arrivals.lengths import DRAWN, Lengths
from costlab.traces.generators import Shape, session_calls
from costlab.traces.requests import Request


class ClosedLoop:
    """Users that wait for an answer, think, and ask again: requests whose times depend on the service.

    A simulator takes `starts()`, and asks `ended` for the next request whenever one has come to its end.

    Args:
        users: who ask; at most so many requests are under way.
        requests: how many, all users together.
        sessions: talks of one call or more, without end, such as those of `talks` and `single_calls`: who has ended
            one takes the next. The pauses between the times of its calls, and that before the first, are the thinking.
        ramp_s: over which the users begin, at equal distances.

    Raises:
        ValueError: counts that are none, or a ramp that is negative or endless.
    """

    def __init__(self, users: int, requests: int, sessions: Iterator[list[Request]], ramp_s: float = 0.0) -> None:
        self.users, self.requests = count(users, "users"), count(requests, "requests")
        if not 0 <= ramp_s < math.inf:
            raise ValueError(f"ramp_s = {ramp_s} should be a number of seconds of at least 0")
        self.ramp_s, self.asked = ramp_s, 0
        self._sessions = sessions
        self._talks: dict[int, tuple[float, Iterator[Request]]] = {}  # by session: the last call's own time, the rest
        self._serial = itertools.count()

    def starts(self) -> Iterator[Request]:
        """Yield each user's first request, in order of time; the simulator may do it once."""
        for user in range(min(self.users, self.requests)):
            yield self._begin(self.ramp_s * user / self.users, thinks=False)

    def ended(self, request: Request, now_s: float) -> Request | None:
        """Return the next request of the user whose request has ended, at `now_s` or later; None if all are asked.

        Raises:
            ValueError: a request that is not under way.
        """
        if request.session not in self._talks:
            raise ValueError(f"{request} is not under way")
        before_s, rest = self._talks.pop(request.session)
        if self.asked >= self.requests:
            return None
        call = next(rest, None)
        if call is None:
            return self._begin(now_s, thinks=True)
        return self._ask(request.session, call, now_s + call.time_s - before_s, rest)

    def _begin(self, now_s: float, thinks: bool) -> Request:
        """Return the first call of a new talk, after its pause or at once."""
        calls = iter(next(self._sessions))
        first = next(calls)
        return self._ask(next(self._serial), first, now_s + (first.time_s if thinks else 0.0), calls)

    def _ask(self, session: int, call: Request, time_s: float, rest: Iterator[Request]) -> Request:
        self._talks[session] = (call.time_s, rest)
        self.asked += 1
        return replace(call, time_s=time_s, session=session)


def talks(shape: Shape, rng: np.random.Generator) -> Iterator[list[Request]]:
    """Yield talks of one shape without end: each prompt is the one before, its answer and something new.

    Their blocks are named, so that a prefix cache can hit.
    """
    return session_calls(shape, rng.spawn(1)[0])


def single_calls(lengths: Lengths, rng: np.random.Generator, think_s: float = 0.0) -> Iterator[list[Request]]:
    """Yield single calls without end, each after exponential thinking: with no thinking, a fixed concurrency.

    Raises:
        ValueError: thinking that is negative or endless.
    """
    if not 0 <= think_s < math.inf:
        raise ValueError(f"think_s = {think_s} should be a number of seconds of at least 0")
    return _single_calls(lengths, rng.spawn(1)[0], think_s)


def _single_calls(lengths: Lengths, rng: np.random.Generator, think_s: float) -> Iterator[list[Request]]:
    while True:
        given, made = lengths.draw(DRAWN, rng)
        pauses = rng.exponential(think_s, DRAWN)
        for pause, tokens, answer in zip(pauses.tolist(), given.tolist(), made.tolist(), strict=True):
            yield [Request(pause, tokens, answer, ())]
