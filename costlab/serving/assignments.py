"""Who takes a job of a running layout: chosen by a pool's router, borrowed from the other pool, and let go again.

A borrowed worker serves a job from beginning to end. So those that hold memory of one worker and wait for another's are
read in the first pool and decoded in the second, never the other way round, and nobody waits in a circle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from costlab.serving.jobs import Job
from costlab.serving.pools import RunningPool, Station, Trip
from costlab.serving.rules import Borrowing


class Assignments:
    """Which workers have which jobs of a run.

    Args:
        pools: the one that reads prompts first; one that does all may be alone.
        borrowing: when they lend one another workers; None: never.
    """

    def __init__(self, pools: Sequence[RunningPool], borrowing: Borrowing | None) -> None:
        self.pools, self.borrowing = pools, borrowing
        self.lendings = 0  # how often a worker was borrowed

    def prefill_for(self, job: Job) -> Station | None:
        """Return who reads a job's prompt: its router's choice, or a worker of the other pool; None for nobody."""
        station, borrowing = self.pools[0].choose(job), self.borrowing
        if borrowing is None or (station and station.pending_tokens <= borrowing.pending_tokens):
            return station
        return self._borrow(self.pools[1].stations, station, lambda s: s.pending_tokens, borrowing.pending_tokens)

    def decode_for(self, job: Job, reader: Station | None = None) -> Station | None:
        """Return who decodes a job: its router's choice, or a worker of the other pool; None for nobody.

        Args:
            job: whose.
            reader: who has read its prompt, the only one to be borrowed then; None: nobody has.
        """
        station, borrowing = self.pools[1].choose(job), self.borrowing
        if borrowing is None or (station and station.kv_share <= borrowing.kv_share and not station.waiting):
            return station
        lenders = self.pools[0].stations if reader is None else [reader]
        return self._borrow(lenders, station, lambda s: s.kv_share, borrowing.kv_share)

    def _borrow(
        self, lenders: Sequence[Station], own: Station | None, load: Callable[[Station], float], limit: float
    ) -> Station | None:
        """Return a worker of the other pool if it is below the limit and less loaded; those borrowed already first."""
        alive = [station for station in lenders if station.alive and load(station) <= limit]
        best = min(alive, key=lambda s: (not s.borrowed, load(s), s.requests, s.index), default=None)
        if best is None or (own is not None and load(best) >= load(own)):
            return own
        if not best.borrowed:
            best.borrowed = True
            self.lendings += 1
        return best

    def assign_prefill(self, trip: Trip, station: Station) -> None:
        """Note who reads a job's prompt."""
        trip.prefill = station
        station.requests += 1
        station.foreign += trip.whole

    def assign_decode(self, trip: Trip, station: Station) -> None:
        """Note who decodes a job."""
        trip.decode = station
        station.requests += 1

    def leave_prefill(self, trip: Trip) -> None:
        """A job leaves the worker that reads its prompt."""
        station, trip.prefill = trip.prefill, None
        if station is not None:
            self._unpromise_at(trip, station)
            self._let_go(station, trip.whole)

    def leave_decode(self, trip: Trip) -> None:
        """A job leaves the worker that decodes it."""
        station, trip.decode = trip.decode, None
        if station is not None:
            self._let_go(station, False)

    def _let_go(self, station: Station, foreign: bool) -> None:
        """A job leaves a worker; one that was borrowed goes back with the last job that it serves to the end."""
        station.requests -= 1
        station.foreign -= foreign
        if station.borrowed and not station.foreign:
            station.borrowed = False

    def promise(self, trip: Trip, tokens: int) -> None:
        """Tell a job's reader of a prompt that will come once decode has room for it."""
        assert trip.prefill is not None
        trip.promised = tokens
        trip.prefill.promised_tokens += tokens

    def unpromise(self, trip: Trip) -> None:
        """The prompt that was promised to a job's reader is there, or will not come."""
        if trip.prefill is not None:
            self._unpromise_at(trip, trip.prefill)

    def _unpromise_at(self, trip: Trip, station: Station) -> None:
        station.promised_tokens -= trip.promised
        trip.promised = 0
