"""Outages of a run: when they come, when they are noticed, when they are over."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from costlab.serving.crossings import Crossings
from costlab.serving.failures import Failures, Outage, OutageRate
from costlab.serving.jobs import Job, State
from costlab.serving.pools import RunningPool, Station, Trip, Wire
from costlab.serving.rules import PoolRules
from costlab.serving.run import Run


class Breakable(Protocol):
    """A service whose parts may go out."""

    rules: PoolRules
    run: Run
    pools: list[RunningPool]
    trips: dict[Job, Trip]
    crossings: Crossings | None

    def grant(self, station: Station) -> None:
        """Give blocks to those that wait for them at a worker."""

    def lose(self, job: Job, reason: str) -> None:
        """A job was lost, and it is noticed."""


class Breakdowns:
    """Takes workers and links of a service out and brings them back.

    While no request is under way time stands still here, so that outages to come do not keep a run from its end; what
    should have happened meanwhile is made up when the next request comes.
    """

    def __init__(self, service: Breakable, failures: Failures) -> None:
        self.service, self.failures, self.recovery = service, failures, failures.recovery
        self._events = service.run.events
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self._alarm = 0  # number of the event at which the first of them is due; 0: none
        self._awake = False
        for outage in failures.outages:
            self._await(iter([outage]))
        for place, rate in enumerate(failures.rates):
            for index in range(self._count(rate)):
                # one stream of numbers for each, whatever happens to the others
                self._await(rate.outages(index, np.random.default_rng((failures.seed, place, index))))

    # --- time --------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Go on: a request is under way."""
        if not self._awake:
            self._awake = True
            self._make_up()

    def sleep(self) -> None:
        """Stand still: no request is under way."""
        self._awake = False
        self._silence()

    def _at(self, time_s: float, action: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._due, (time_s, self._serial, action))
        if self._awake and self._due[0][1] == self._serial:
            self._set()

    def _ring(self) -> None:
        self._alarm = 0
        self._make_up()

    def _make_up(self) -> None:
        """Do all that is due."""
        now = self._events.now
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()
        if self._awake:
            self._set()

    def _set(self) -> None:
        self._silence()
        if self._due:
            self._alarm = self._events.at(max(self._due[0][0], self._events.now), self._ring)

    def _silence(self) -> None:
        if self._alarm:
            self._events.cancel(self._alarm)
            self._alarm = 0

    # --- outages -----------------------------------------------------------------------------------------------

    def _count(self, rate: OutageRate) -> int:
        """How many of a kind a pool has."""
        workers = len(self._pool(rate.pool).stations)
        return -(-workers // self.failures.workers_per_node) if rate.what == "node" else workers

    def _pool(self, name: str) -> RunningPool:
        pools = self.service.pools
        return next(pool for pool in pools if name in ("", pool.name))

    def _await(self, outages: Iterator[Outage]) -> None:
        """Wait for the next of a row of outages."""
        outage = next(outages, None)
        if outage is not None:
            self._at(outage.at_s, partial(self._begin, outage, outages))

    def _begin(self, outage: Outage, following: Iterator[Outage]) -> None:
        """Something goes out: what it has is lost. Nobody knows until it is noticed."""
        for place in self._places(outage):
            place.outages += 1
            if place.outages == 1:
                if isinstance(place, Wire):
                    self._cut(place)
                else:
                    self._kill(place)
                self._at(outage.at_s + self.recovery.detection_s, partial(self._notice, place))
            if outage.repair_s < math.inf:
                self._at(outage.back_s, partial(self._mend, place))
        self._await(following)

    def _places(self, outage: Outage) -> Sequence[Station | Wire]:
        """What goes out together."""
        stations, index = self._pool(outage.pool).stations, outage.index
        if outage.what == "link":
            return [self._crossings.wire_of(stations[index])]
        size = self.failures.workers_per_node if outage.what == "node" else 1
        return stations[index * size : (index + 1) * size]

    def _mend(self, place: Station | Wire) -> None:
        """One outage is over; with the last of them it works again, and that is noticed at once."""
        place.outages -= 1
        if not place.outages:
            if isinstance(place, Station):
                place.worker.revive()
            self._notice(place)

    def notice_later(self, place: Station | Wire) -> None:
        """Set the time at which it is noticed that something has come to what is out."""
        self._at(self._events.now + self.recovery.detection_s, partial(self._notice, place))

    def _notice(self, place: Station | Wire) -> None:
        """It is noticed whether something works: what was lost there is tried again, or given up."""
        works = not place.outages
        if isinstance(place, Wire):
            if place.end is not None:
                place.end.linked = works
            for job in [*place.lost]:
                self.service.lose(job, "link lost")
            return
        place.works = works
        for job in [*place.lost, *(() if works else place.waiting)]:
            self.service.lose(job, "worker lost")
        self.service.grant(place)

    @property
    def _crossings(self) -> Crossings:
        assert self.service.crossings is not None
        return self.service.crossings

    # --- what is lost ------------------------------------------------------------------------------------------

    def _kill(self, station: Station) -> None:
        """All that a worker has is lost."""
        for job in station.worker.take_all():
            self._strand(job, station)

    def _strand(self, job: Job, station: Station) -> None:
        """A job has lost a worker: what crosses stops, and it waits for somebody to notice."""
        trip = self.service.trips[job]
        if trip.transfer is not None and trip.wire is not None:
            self._crossings.stop(trip)
        trip.at_prefill = trip.at_prefill and trip.prefill is not station
        trip.at_decode = trip.at_decode and trip.decode is not station
        if not trip.at_prefill:
            job.state = State.QUEUED
        if trip.decode is not None and job in trip.decode.waiting:
            trip.decode.waiting.remove(job)  # no room is kept for what is lost
        station.lost.append(job)

    def _cut(self, wire: Wire) -> None:
        """All that crosses a link is lost."""
        for job, trip in self.service.trips.items():
            if trip.wire is wire and trip.transfer is not None:
                self._crossings.stop(trip)
                wire.lost.append(job)
