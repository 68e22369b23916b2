"""A layout that runs: jobs go to pools, wait for room, are read, cross over and are decoded, whatever fails.

The life of a job that is read by one worker and decoded by another: a decode worker is chosen; the job waits until that
has blocks for it (reservation); a prefill worker reads the prompt and emits the first token; the cache crosses the
link, while its blocks stay where it was read; when all has arrived they are free, and the job decodes. So where decode
is full nothing is read for it, and where the link is slow the memory of prefill fills: both push back to the queue.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import partial

from costlab.serving.accounts import check_accounts
from costlab.serving.assignments import Assignments
from costlab.serving.breakdowns import Breakdowns
from costlab.serving.crossings import Crossings
from costlab.serving.failures import Patience
from costlab.serving.jobs import Job, State
from costlab.serving.links import Pieces
from costlab.serving.pools import Ending, RunningPool, Station, Trip, Wire
from costlab.serving.report import LinkUse
from costlab.serving.rules import PoolRules
from costlab.serving.run import Run
from costlab.serving.worker import Worker


class PooledService:
    """The pools of a run, one that does all or one for each phase, and the jobs that are on their way through them."""

    def __init__(self, rules: PoolRules, run: Run) -> None:
        self.rules, self.run = rules, run
        self.moving, self.recovery, self.patience = rules.moving, rules.failures.recovery, rules.failures.patience
        routers = ("least pending tokens", "least requests")
        named = zip(rules.pools.items(), routers, strict=False)
        self.pools = [RunningPool(name, pool, run, self, router) for (name, pool), router in named]
        self.stations = {station.worker: station for pool in self.pools for station in pool.stations}
        self.workers = list(self.stations)
        self.trips: dict[Job, Trip] = {}
        self.impatient = self.patience != Patience()
        self.alarms: dict[Job, dict[Ending, int]] = {}  # numbers of the events at which somebody loses patience
        self.failures: Counter[str] = Counter()  # what users saw, by what they saw
        self.assigned = Assignments(self.pools, self.moving.borrowing if self.moving else None)
        self.crossings: Crossings | None = None
        if self.moving is not None:
            self.crossings = Crossings(self.moving, run, self._arrived, self._broken)
        if self.moving is not None and self.moving.sending != "whole":
            for worker in self.workers:
                worker.tell_readings(self.reading)
        self.breakdowns = Breakdowns(self, rules.failures) if rules.failures.any else None

    # --- a job arrives -----------------------------------------------------------------------------------------

    def arrive(self, job: Job) -> None:
        """Bring a job to a worker, or reject it."""
        trip = self.trips[job] = Trip()
        if self.breakdowns:
            self.breakdowns.wake()
        if self.impatient:
            self._watch(job)
        self._place(job, trip)

    def _place(self, job: Job, trip: Trip) -> None:
        """Choose who serves a job that nobody has."""
        moving = self.moving
        if moving is None:
            self._serve(job, trip, self.pools[0].choose(job), self.pools[0])
        elif job.request.output_tokens - job.generated <= 1:  # prefill emits the only token: nothing to move
            self._serve(job, trip, self.assigned.prefill_for(job), self.pools[0])
        elif moving.order == "decode last":
            self._read(job, trip, self.assigned.prefill_for(job))
        else:
            self._place_both(job, trip, self.assigned.decode_for(job))

    def _place_both(self, job: Job, trip: Trip, decode: Station | None) -> None:
        """Let a job wait for room where it will decode, unless it is read there too."""
        moving = self.rules.separation
        if decode is None or (reason := decode.worker.refusal(job)):
            self._reject(job, _no_worker(self.pools[1]) if decode is None else reason)
            return
        few = moving.uncached_tokens and job.known - decode.worker.cached_tokens(job) <= moving.uncached_tokens
        if few or decode.pool is self.pools[0]:
            self._serve(job, trip, decode, decode.pool)
            return
        if moving.order == "together":
            prefill = self.assigned.prefill_for(job)
            if prefill is None or prefill.pool is self.pools[1]:
                self._serve(job, trip, prefill, self.pools[0])
                return
            self.assigned.assign_prefill(trip, prefill)
            self.assigned.promise(trip, job.known)
        self.assigned.assign_decode(trip, decode)
        self._wait_for(job, decode)

    def _wait_for(self, job: Job, station: Station) -> None:
        """Let a job wait for blocks of a worker, which may be free."""
        station.waiting.append(job)
        self.grant(station)
        self._send_to_dead(station)

    def _send_to_dead(self, station: Station) -> None:
        """See to it that somebody notices what comes to a worker that is known to be dead: a router may be late."""
        if self.breakdowns and not station.works and not station.worker.alive:
            self.breakdowns.notice_later(station)

    def _serve(self, job: Job, trip: Trip, station: Station | None, pool: RunningPool) -> None:
        """Let one worker read a prompt and decode the answer."""
        if station is None:
            self._reject(job, _no_worker(pool))
        elif reason := station.worker.refusal(job):
            self._reject(job, reason)
        else:
            trip.whole = True
            self.assigned.assign_prefill(trip, station)
            self._submit(job, trip, station)

    def _read(self, job: Job, trip: Trip, station: Station | None) -> None:
        """Let a worker read a prompt that another one goes on with; one that is borrowed goes on itself."""
        if station is None or station.pool is not self.pools[0]:
            self._serve(job, trip, station, self.pools[0])
            return
        job.prefill_only = True
        blocks = station.worker.ranks[0].blocks
        if reason := "larger than memory" if blocks.needed(job.known) > blocks.total else station.worker.refusal(job):
            self._reject(job, reason)
            return
        if trip.prefill is None:
            self.assigned.assign_prefill(trip, station)
        self.assigned.unpromise(trip)
        self._submit(job, trip, station)

    def _submit(self, job: Job, trip: Trip, station: Station) -> None:
        if station.worker.alive:
            trip.at_prefill = True
            station.worker.submit(job)
        else:
            station.lost.append(job)
            self._send_to_dead(station)

    def grant(self, station: Station) -> None:
        """Give blocks to those that wait for them here, in order, as long as there is room."""
        if not station.waiting or station.granting:  # whoever grants here already will see what has become free
            return
        station.granting, growth = True, self.rules.separation.growth_tokens
        while station.waiting and station.worker.alive and station.has_room(station.waiting[0], growth):
            job = station.waiting.popleft()
            trip = self.trips[job]
            if job.state is State.MOVING:
                self._reserve(job, trip, station)
                self._send(job, trip)
                continue
            reader = self._reader(job, trip)
            if reader is not None and reader.pool is self.pools[1]:
                self.assigned.leave_prefill(trip)
                self.assigned.leave_decode(trip)
                self._serve(job, trip, reader, reader.pool)
            else:
                self._reserve(job, trip, station)
                self._read(job, trip, reader)
        station.granting = False

    def _reserve(self, job: Job, trip: Trip, station: Station) -> None:
        station.worker.reserve(job)
        trip.at_decode = True

    def _reader(self, job: Job, trip: Trip) -> Station | None:
        """Return who reads a prompt: whoever was chosen at arrival and still works, else somebody chosen now."""
        if trip.prefill is not None and trip.prefill.alive:
            return trip.prefill
        self.assigned.leave_prefill(trip)
        return self.assigned.prefill_for(job)

    # --- what workers tell -------------------------------------------------------------------------------------

    def first_token(self, job: Job, worker: Worker) -> None:
        """Nothing to do."""

    def reading(self, job: Job, tokens: int, end_s: float, worker: Worker) -> None:
        """A step that reads so many tokens of a prompt has begun, and will end at `end_s`: send them meanwhile."""
        trip = self.trips[job]
        moving = self.rules.separation
        if not job.prefill_only or not trip.at_decode or trip.decode is None:
            return
        last = job.left == tokens
        if trip.transfer is None and not trip.sent_tokens:
            trip.sent_tokens = min(trip.decode.worker.cached_tokens(job), job.known - 1)
        upto = job.computed + tokens
        if upto <= trip.sent_tokens and not last:  # decode has it, from before or since it was read the first time
            return
        size = moving.sent.between(trip.sent_tokens, upto, last)
        trip.sent_tokens = max(trip.sent_tokens, upto)
        if moving.sending == "chunks":
            pieces = Pieces(size, end_s, moving.link.latency_s)
        else:
            layers, now = moving.sent.layers, self.run.now
            each_s = (end_s - now) / layers
            pieces = Pieces(size, now + each_s, moving.link.layer_setup_s, layers, each_s)
        self._cross.post(job, trip, pieces, last)

    def prefilled(self, job: Job, worker: Worker) -> None:
        """A prompt is read that another worker goes on with: send it, or find who does."""
        trip, moving = self.trips[job], self.rules.separation
        job.state = State.MOVING
        if moving.order == "decode last":
            decode = self.assigned.decode_for(job, trip.prefill)
            job.prefill_only = False
            reason = _no_worker(self.pools[1]) if decode is None else decode.worker.refusal(job)
            job.prefill_only = True
            if decode is None or reason:
                self._reject(job, reason)
                return
            if decode is trip.prefill:
                self.assigned.leave_prefill(trip)
                trip.whole, trip.at_prefill = True, True
                self.assigned.assign_prefill(trip, decode)
                worker.keep(job)
                return
            self.assigned.assign_decode(trip, decode)
            self._wait_for(job, decode)
        elif trip.arrived:
            self._deliver(job, trip)
        elif moving.sending == "whole" and trip.at_decode:
            self._send(job, trip)

    def finished(self, job: Job, worker: Worker) -> None:
        """The last token is there."""
        trip = self.trips[job]
        trip.at_prefill = trip.at_decode = False
        self._end(job, trip)
        self.run.finish(job)
        self.grant(self.stations[worker])
        self._rest()

    def preempted(self, job: Job, worker: Worker) -> None:
        """It waits where it is."""

    # --- the link ----------------------------------------------------------------------------------------------

    @property
    def _cross(self) -> Crossings:
        assert self.crossings is not None
        return self.crossings

    def _broken(self, wire: Wire) -> None:
        if self.breakdowns:
            self.breakdowns.notice_later(wire)

    def _send(self, job: Job, trip: Trip) -> None:
        """Send all of a prompt that has been read, but for what decode has cached."""
        moving, decode = self.rules.separation, trip.decode
        assert decode is not None
        size = moving.sent(job.computed, min(decode.worker.cached_tokens(job), job.computed))
        self._cross.post(job, trip, Pieces(size, self.run.now, moving.link.latency_s), last=True)

    def _arrived(self, wire: Wire, job: Job) -> None:
        trip = self.trips[job]
        trip.transfer = None
        trip.arrived = True
        if job.state is State.MOVING:
            self._deliver(job, trip)

    def _deliver(self, job: Job, trip: Trip) -> None:
        """All is read and has arrived: the blocks where it was read are free, and it decodes; or it failed."""
        prefill, decode, wire = trip.prefill, trip.decode, trip.wire
        assert prefill is not None and decode is not None and wire is not None
        if self.recovery.transfer_loss and self.run.rng.random() < self.recovery.transfer_loss:
            wire.failed += 1
            self.lose(job, "transfer lost")
            return
        prefill.worker.release(job)
        trip.at_prefill = False
        self.assigned.leave_prefill(trip)
        job.prefill_only = False
        decode.worker.keep_prefix(job)
        decode.worker.submit(job)
        self.grant(prefill)

    # --- a job ends, or is lost --------------------------------------------------------------------------------

    def _reject(self, job: Job, reason: str) -> None:
        self._drop(job)
        if self.moving is not None and self.moving.borrowing:  # a worker may have been borrowed for it
            for station in self.stations.values():
                station.borrowed = station.borrowed and station.foreign > 0
        self.run.reject(job, reason)
        self._rest()

    def _drop(self, job: Job) -> None:
        """Take a job from wherever it is, for good."""
        trip = self.trips[job]
        freed = self._detach(job, trip)
        self._end(job, trip)
        for station in freed:
            self.grant(station)

    def _detach(self, job: Job, trip: Trip) -> list[Station]:
        """Take a job from wherever it is, and return whose it was; what crosses stops before its room is free."""
        freed = [station for station in (trip.prefill, trip.decode) if station is not None]
        if trip.transfer is not None:
            self._cross.stop(trip)
        decode = trip.decode
        if trip.at_prefill and trip.prefill is not None:
            trip.prefill.worker.take(job)
        if trip.at_decode and decode is not None:
            decode.worker.take(job)
        elif decode is not None and job in decode.waiting:
            decode.waiting.remove(job)
        for place in (trip.prefill, decode, trip.wire):
            if place is not None and job in place.lost:
                place.lost.remove(job)
        self.assigned.leave_prefill(trip)
        self.assigned.leave_decode(trip)
        trip.wire = None
        trip.at_prefill = trip.at_decode = trip.arrived = trip.whole = False
        trip.sent_tokens = 0
        return freed

    def _end(self, job: Job, trip: Trip) -> None:
        """Forget a job that nobody has any more."""
        self.assigned.leave_prefill(trip)
        self.assigned.leave_decode(trip)
        if self.impatient:
            for number in self.alarms.pop(job).values():
                self.run.events.cancel(number)
        del self.trips[job]

    def _rest(self) -> None:
        if self.breakdowns and not self.run.live:
            self.breakdowns.sleep()

    def lose(self, job: Job, reason: str) -> None:
        """A job was lost, and it is noticed: try again, or give it up."""
        trip = self.trips.get(job)
        if trip is None:
            return
        freed = self._detach(job, trip)
        trip.tries += 1
        seen = self.recovery.after_loss(trip.tries)
        self.failures[seen if seen == "error" or job.generated else "delay"] += 1
        if seen == "error":
            self._end(job, trip)
            self.run.reject(job, reason)
            self._rest()
        else:
            job.computed = job.cached = 0
            job.prefill_only, job.state = False, State.QUEUED
            if seen == "restart":
                job.generated, job.worst_gap_s = 0, 0.0
                job.first_s = job.last_s = math.nan
        for station in freed:
            self.grant(station)
        if seen != "error":
            self._place(job, trip)

    # --- patience ----------------------------------------------------------------------------------------------

    def _watch(self, job: Job) -> None:
        """Note when somebody loses patience with a job."""
        patience, run = self.patience, self.run
        after: dict[Ending, float] = {"first late": patience.first_by_s, "last late": patience.done_by_s}
        if patience.leave_s < math.inf:
            after["leaves"] = float(run.rng.exponential(patience.leave_s))
        self.alarms[job] = {
            ending: run.events.at(run.now + seconds, partial(self._ring, job, ending))
            for ending, seconds in after.items()
            if seconds < math.inf
        }

    def _ring(self, job: Job, ending: Ending) -> None:
        """Somebody loses patience."""
        del self.alarms[job][ending]
        if ending == "leaves":
            self.quit(job, self.run.cancel)
        elif ending == "last late" or not job.generated:
            self.quit(job, self.run.expire)

    def quit(self, job: Job, note: Callable[[Job], None]) -> None:
        """End a job that nobody waits for any more, wherever it is: `note` writes it down, `Run.cancel` for one."""
        if job in self.trips:
            self._drop(job)
            note(job)
            self._rest()

    def link_uses(self) -> list[LinkUse]:
        """Return what each link carried so far."""
        return self.crossings.uses() if self.crossings else []

    def check(self) -> None:
        """Raise AssertionError unless each job is where it should be, and each block somebody's who is there."""
        check_accounts(self)


def _no_worker(pool: RunningPool) -> str:
    """Why a pool has no worker for a job."""
    return "refused by the router" if any(station.alive for station in pool.stations) else "no worker alive"
