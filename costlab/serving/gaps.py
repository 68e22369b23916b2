"""The gaps between tokens: one count for all that decode together, and the longest gap of each."""

from __future__ import annotations

from bisect import bisect_left

from costlab.serving.jobs import Job
from costlab.serving.recorder import Recorder


class WorstGaps:
    """The longest gap since each of the moments at which somebody began to wait.

    Between two of these moments only the longest is kept; and of the moments those that no later gap has made useless.

    >>> gaps = WorstGaps()
    >>> gaps.begin(1.0); gaps.add(0.5); gaps.begin(1.5); gaps.add(0.1); gaps.add(0.2)
    >>> gaps.since(1.0), gaps.since(1.5)
    (0.5, 0.2)
    """

    def __init__(self) -> None:
        self.longest_s = 0.0  # since the latest moment
        self._began_s = 0.0  # the latest moment
        self._falling: list[tuple[float, float]] = []  # earlier ones, and the longest gap up to the next one; falling

    def begin(self, now_s: float) -> None:
        """Note that somebody begins to wait, no earlier than all before."""
        if self.longest_s:
            falling = self._falling
            while falling and falling[-1][1] <= self.longest_s:
                falling.pop()
            falling.append((self._began_s, self.longest_s))
            self.longest_s = 0.0
        self._began_s = now_s

    def add(self, gap_s: float) -> None:
        """Note a gap, the latest one."""
        if gap_s > self.longest_s:
            self.longest_s = gap_s

    def since(self, began_s: float) -> float:
        """Return the longest gap of those who began to wait at a moment; 0 where there is none."""
        falling = self._falling
        at = bisect_left(falling, (began_s,))
        return max(falling[at][1], self.longest_s) if at < len(falling) else self.longest_s

    def clear(self) -> None:
        """Forget all: nobody is there who has waited."""
        self.longest_s = 0.0
        self._falling.clear()


class TokenTimes:
    """When the sequences of a rank that decode had their latest token: all at the same time, but for late ones.

    A job's own times (`last_s`, `worst_gap_s`) stand still while it decodes, and are made up when it leaves.

    Args:
        log: who counts gaps.
    """

    def __init__(self, log: Recorder) -> None:
        self._log, self._runs = log, log.gap_runs
        self.decoded_s = -1.0  # when all but the late ones had their latest token
        self.late: dict[Job, None] = {}  # have joined, with a latest token of another time, and not decoded yet
        self.worst = WorstGaps()

    def join(self, job: Job, others: bool) -> None:
        """Let a job, whose latest token is that of `last_s`, decode from now on, with others or alone."""
        if not others:
            self.decoded_s = job.last_s
        if job.last_s == self.decoded_s:
            self.worst.begin(job.last_s)
        else:
            self.late[job] = None

    def leave(self, job: Job, others: bool) -> None:
        """Make up a job's times, as it stops decoding, while others go on or none."""
        if job in self.late:
            del self.late[job]
        else:
            job.worst_gap_s = max(job.worst_gap_s, self.worst.since(job.last_s))
            job.last_s = self.decoded_s
        if not others:
            self.worst.clear()

    def decode(self, sequences: int, start_s: float, steps: int, first_s: float, last_s: float, end_s: float) -> None:
        """Note steps of `first_s` to `last_s` seconds, evenly rising, from `start_s` to `end_s`."""
        if self.late or self.decoded_s != start_s:
            self._catch_up(sequences, start_s + first_s)
            steps -= 1
            first_s += (last_s - first_s) / max(steps, 1)
        if steps:
            self._runs += (sequences, first_s, last_s, steps, end_s)
            if last_s > self.worst.longest_s:
                self.worst.longest_s = last_s
        self.decoded_s = end_s

    def _catch_up(self, sequences: int, end_s: float) -> None:
        """Note the first step, where the latest token of some, or of all, is older than its start."""
        gap_s, alike = end_s - self.decoded_s, sequences - len(self.late)
        if alike:
            self._log.gaps(alike, gap_s, gap_s, 1, end_s)
            self.worst.add(gap_s)
        for job in self.late:
            gap_s = end_s - job.last_s
            self._log.gap(gap_s, end_s)
            job.worst_gap_s, job.last_s = max(job.worst_gap_s, gap_s), end_s
        if self.late:
            self.worst.begin(end_s)
            self.late.clear()
