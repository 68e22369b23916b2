"""The links of a run, and what crosses them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from costlab.serving.jobs import Job
from costlab.serving.links import Pieces, SharedLink
from costlab.serving.pools import Station, Trip, Wire
from costlab.serving.report import LinkUse
from costlab.serving.rules import Separation
from costlab.serving.run import Run


class Crossings:
    """The links between the pools of a run, made when something first crosses them.

    Args:
        rules: how jobs move.
        run: whose clock it is.
        arrived: told of each job whose cache has arrived.
        broken: told of a link on which something was to cross while it is down.
    """

    def __init__(
        self, rules: Separation, run: Run, arrived: Callable[[Wire, Job], None], broken: Callable[[Wire], None]
    ) -> None:
        self.rules, self.run = rules, run
        self.wires: dict[Station | None, Wire] = {}  # by the end that shares one; None: all do
        self._tell_arrived, self._tell_broken = arrived, broken

    def post(self, job: Job, trip: Trip, pieces: Pieces, last: bool) -> None:
        """Send pieces of a job's cache after those that were sent before."""
        if trip.wire is None:
            trip.wire = self.wire_of(trip.decode if self.rules.shared_by == "receiver" else trip.prefill)
        wire, now = trip.wire, self.run.now
        if wire.outages:
            if job not in wire.lost:
                wire.failed += 1
                wire.lost.append(job)
                self._tell_broken(wire)
            return
        if trip.transfer is None:
            trip.transfer = wire.shared.post(now, job, pieces, last)
        else:
            wire.shared.extend(now, trip.transfer, pieces, last)
        self._set(wire)

    def stop(self, trip: Trip) -> None:
        """Take what crosses off its link."""
        wire, transfer = trip.wire, trip.transfer
        assert wire is not None and transfer is not None
        trip.transfer = None
        wire.failed += 1
        wire.shared.cancel(self.run.now, transfer)
        self._set(wire)

    def wire_of(self, station: Station | None) -> Wire:
        """Return the link of a sender or receiver, or the one that all share."""
        station = None if self.rules.shared_by == "all" else station
        wire = self.wires.get(station)
        if wire is None:
            wire = self.wires[station] = Wire(station, SharedLink(self.rules.link, self.run.jumps))
        return wire

    def uses(self) -> list[LinkUse]:
        """Return what each link carried so far."""
        bandwidth = self.rules.link.bandwidth_bytes_s
        carried = ((wire, wire.shared.carried_bytes) for wire in self.wires.values())
        return [LinkUse(w.name, w.transfers, moved, moved / bandwidth, w.failed) for w, moved in carried]

    def _set(self, wire: Wire) -> None:
        """Set the time at which something happens next on a link."""
        events = self.run.events
        if wire.due:
            events.cancel(wire.due)
        next_s = wire.shared.next_s()
        wire.due = events.at(max(next_s, events.now), partial(self._on, wire)) if next_s < math.inf else 0

    def _on(self, wire: Wire) -> None:
        wire.due = 0
        for transfer in wire.shared.advance(self.run.now):
            wire.transfers += 1
            self._tell_arrived(wire, transfer.key)
        self._set(wire)
