"""Whether the accounts of a service balance: jobs, tokens and blocks of each worker, transfers of each link."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from costlab.serving.crossings import Crossings
from costlab.serving.jobs import Job, State
from costlab.serving.pools import Station, Trip, Wire
from costlab.serving.run import Run
from costlab.serving.worker import Worker


class Accountable(Protocol):
    """A service whose accounts can be checked."""

    run: Run
    trips: dict[Job, Trip]
    crossings: Crossings | None

    @property
    def stations(self) -> Mapping[Worker, Station]:
        """All workers."""


def check_accounts(service: Accountable) -> None:
    """Raise AssertionError unless each job is where it should be, and each block somebody's who is there."""
    trips = service.trips
    assert set(trips) == set(service.run.live)
    for station in service.stations.values():
        _check_station(station, trips)
    for wire in service.crossings.wires.values() if service.crossings else ():
        _check_wire(wire, trips)
    for job, trip in trips.items():
        _check_job(job, trip)


def _check_station(station: Station, trips: Mapping[Job, Trip]) -> None:
    worker = station.worker
    for rank in worker.ranks:
        rank.check()
    awaited = sum(rank.awaited_tokens for rank in worker.ranks)
    assert awaited == sum(worker.awaiting.values()), f"{worker.name}: {awaited} tokens awaited, of others' caches"
    here = {job for job, trip in trips.items() if station in _places(trip)}
    assert here == set(worker.jobs), f"{worker.name} has {len(worker.jobs)} jobs, should have {len(here)}"
    holders = {holder for rank in worker.ranks for holder in rank.blocks.holders}
    assert holders <= here, f"{worker.name}: blocks are held for jobs that are not there"
    assert worker.alive or not here
    sent = sum(place is station for trip in trips.values() for place in (trip.prefill, trip.decode))
    assert sent == station.requests, f"{worker.name}: {station.requests} requests, should be {sent}"
    assert station.promised_tokens == sum(trip.promised for trip in trips.values() if trip.prefill is station)


def _check_wire(wire: Wire, trips: Mapping[Job, Trip]) -> None:
    crossing = sum(trip.wire is wire and trip.transfer is not None for trip in trips.values())
    assert crossing == wire.shared.under_way, f"{wire.shared.under_way} transfers, should be {crossing}"
    assert not (wire.outages and crossing)


def _check_job(job: Job, trip: Trip) -> None:
    """Somebody has a job, it waits for room, or it is lost and somebody will notice."""
    waits = trip.decode is not None and job in trip.decode.waiting
    lost = any(place is not None and job in place.lost for place in (trip.prefill, trip.decode, trip.wire))
    assert _places(trip) or waits or lost, f"nobody has request {job.serial}"
    if job.state is State.MOVING and not lost:
        assert trip.at_prefill and (waits or trip.transfer is not None), f"request {job.serial} does not move"
    assert not (waits and trip.at_decode)


def _places(trip: Trip) -> list[Station | None]:
    return [place for place, there in ((trip.prefill, trip.at_prefill), (trip.decode, trip.at_decode)) if there]
