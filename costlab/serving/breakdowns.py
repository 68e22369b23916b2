"""Outages of a run: when they come, when they are noticed, when they are over."""

from __future__ import annotations

import heapq
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
        stations = self._stations(outage)
        if outage.what == "link":
            wires = {self._crossings.wire_of(self._end_of_link(station)): None for station in stations}
            for wire in wires:
                self._cut(wire)
            over = [partial(self._mend, wire) for wire in wires]
        else:
            for station in stations:
                self._kill(station, outage.at_s)
            over = [partial(self._revive, station) for station in stations]
        if outage.repair_s < float("inf"):
            for action in over:
                self._at(outage.back_s, action)
        self._await(following)

    def _stations(self, outage: Outage) -> Sequence[Station]:
        stations = self._pool(outage.pool).stations
        if outage.what != "node":
            return [stations[outage.index]]
        size = self.failures.workers_per_node
        return stations[outage.index * size : (outage.index + 1) * size]

    @property
    def _crossings(self) -> Crossings:
        assert self.service.crossings is not None
        return self.service.crossings

    def _end_of_link(self, station: Station) -> Station | None:
        return None if self.service.rules.separation.shared_by == "all" else station

    # --- workers -----------------------------------------------------------------------------------------------

    def _kill(self, station: Station, at_s: float) -> None:
        """All that a worker has is lost; nobody knows yet."""
        station.outages += 1
        if station.outages > 1:
            return
        for job in station.worker.take_all():
            self._strand(job, station)
        self._at(at_s + self.recovery.detection_s, partial(self._notice, station))

    def notice_later(self, station: Station) -> None:
        """Set the time at which it is noticed that something has come to a dead worker."""
        self._at(self._events.now + self.recovery.detection_s, partial(self._notice, station))

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

    def _notice(self, station: Station) -> None:
        """A worker's death is noticed: whatever waits for it is lost."""
        station.works = station.worker.alive
        for job in [*station.lost, *(() if station.works else station.waiting)]:
            self.service.lose(job, "worker lost")
        self.service.grant(station)

    def _revive(self, station: Station) -> None:
        station.outages -= 1
        if station.outages:
            return
        station.worker.revive()
        self._notice(station)

    # --- links -------------------------------------------------------------------------------------------------

    def _cut(self, wire: Wire) -> None:
        """What crosses a link is lost; nobody knows yet."""
        wire.outages += 1
        if wire.outages > 1:
            return
        for job, trip in self.service.trips.items():
            if trip.wire is wire and trip.transfer is not None:
                self._crossings.stop(trip)
                wire.lost.append(job)
        self.notice_wire(wire)

    def notice_wire(self, wire: Wire) -> None:
        """Set the time at which a broken transfer is noticed."""
        self._at(self._events.now + self.recovery.detection_s, partial(self._notice_lost, wire))

    def _notice_lost(self, wire: Wire) -> None:
        wire.down = wire.outages > 0
        self._avoid(wire)
        for job in [*wire.lost]:
            self.service.lose(job, "link lost")

    def _avoid(self, wire: Wire) -> None:
        """Let routers avoid workers whose link is believed to be down, unless those of all the pool are."""
        wires = self._crossings.wires
        for end in [end for end, its in wires.items() if its is wire and end is not None]:
            stations = end.pool.stations
            down = [station in wires and wires[station].down for station in stations]
            for station, cut in zip(stations, down, strict=True):
                station.cut = cut and not all(down)

    def _mend(self, wire: Wire) -> None:
        wire.outages -= 1
        if not wire.outages:
            self._notice_lost(wire)
