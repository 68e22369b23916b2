"""How many workers a load needs, in closed form: microseconds a layout, so a whole search takes less than a second.

Formulas, each an approximation that `verify` checks by simulation:

- A prompt of u uncached tokens takes S = the seconds of its chunks. Under load a step holds as many prompts as its
  token budget does, and a prompt takes D = the seconds of that step over the prompts of one data-parallel rank.
- Prefill waits as a queue of c = workers x ranks servers with service D. Mean wait: Erlang's M/M/c, and M/D/c after
  Cosmetatos, mixed by the squared variation of D; other arrivals by (Ca^2 + Cs^2) / (1 + Cs^2) (Allen and Cunneen).
  P(wait > t) = P(wait) exp(-t P(wait) / mean wait). TTFT = wait + S, over the shapes of requests.
- Ranks of a prefill worker step together, so prompts that come during a step are read in the next one, and it takes as
  long as on the rank with most: T = S (rate T / ranks + 1/2), half a prompt of rounding up. TTFT = what is left of the
  step under way, if any rank is busy, and T.
- Decode: Little's law. n sequences run on a worker, n = rate x (output - 1) x step(n): solved by Newton's steps. A
  request finds no free slot with the chance of Halfin and Whitt.
- A pool that does both runs a chunk in a share phi of its steps: phi g = rate x u x t, t = T0 + phi (T1 - T0), where
  T0 is a step without a chunk, T1 one with a chunk of g tokens. Prompts that come while an answer is made lengthen it
  as a Poisson number of interruptions: that is the spread of TPOT. With R ranks a step is long if any rank has a chunk,
  in 1 - (1 - phi)^R of the steps.
- Transfer: latency + bytes / bandwidth on each chip that holds distinct cache; it delays the second token.
- Separated pools stand in the ratio alpha = prefill requests per second of a worker over decode requests per second of
  one (arXiv 2506.05508): whole workers round it, which is the cost of small deployments.

Sources: G. P. Cosmetatos, INFOR 13(3), 1975; A. O. Allen, Probability, Statistics, and Queueing Theory, 1990, 5.3;
S. Halfin and W. Whitt, Operations Research 29(3), 1981.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

_NORMAL = NormalDist()
#: Beyond so many servers the chance of waiting is Halfin and Whitt's, there within a tenth of Erlang's above 0.05.
_MANY = 200


@dataclass(frozen=True)
class Waiting:
    """A wait that is 0 with some chance, and exponential otherwise."""

    chance: float  # of having to wait, 0 to 1
    mean_s: float  # over all, those that do not wait included
    gated: float = 0.0  # chance that a step of other ranks is under way and has to end first
    step_s: float = 0.0  # how long it takes; it ends at any time of it alike
    longer_s: float = 0.0  # by which one's own step takes longer for what else is read in it

    def within(self, seconds: float) -> float:
        """Return the chance that the wait is at most so long."""
        seconds -= self.longer_s
        if seconds < 0 or not self.gated:
            return self._queued_within(seconds)
        late = sum([self._queued_within(seconds - part * self.step_s) for part in _PARTS]) / len(_PARTS)
        return (1 - self.gated) * self._queued_within(seconds) + self.gated * late

    def _queued_within(self, seconds: float) -> float:
        if seconds < 0:
            return 0.0
        if self.chance <= 0 or self.mean_s <= 0:
            return 1.0
        return 1.0 - self.chance * math.exp(-seconds * self.chance / self.mean_s)


#: Middles of the quarters of a step.
_PARTS = (0.125, 0.375, 0.625, 0.875)

#: Where nothing waits.
NO_WAIT = Waiting(0.0, 0.0)


def erlang_c(servers: int, load: float) -> float:
    """Return the chance of waiting in an M/M/c queue; 1 where the load is the servers' or more.

    Args:
        servers: c, at least 1.
        load: offered, in servers: rate x service time.

    Source: A. K. Erlang, 1917, by the recursion of his loss formula; Halfin and Whitt's limit for many servers.
    """
    if load >= servers:
        return 1.0
    if servers > _MANY:
        return no_slot(servers, load)
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = load * blocked / (k + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def queueing(servers: int, rate_per_s: float, mean_s: float, cv2: float, arrivals_cv2: float = 1.0) -> Waiting | None:
    """Return the wait in a G/G/c queue, approximately; None where it grows without end.

    Args:
        servers: c.
        rate_per_s: arrivals per second.
        mean_s: mean service time.
        cv2: squared coefficient of variation of the service time.
        arrivals_cv2: that of the gaps between arrivals; 1 is a Poisson process.

    Source: see the module.
    """
    load = rate_per_s * mean_s
    if load >= servers:
        return None
    chance, used = erlang_c(servers, load), load / servers
    exponential = chance * mean_s / (servers - load)
    spread = (1 - used) * (servers - 1) * (math.sqrt(4 + 5 * servers) - 2) / (16 * used * servers) if used > 0 else 0.0
    constant = exponential / 2 * (1 + spread)
    mixed = cv2 * exponential + (1 - cv2) * constant if cv2 <= 1 else (1 + cv2) / 2 * exponential
    return Waiting(chance, mixed * (arrivals_cv2 + cv2) / (1 + cv2))


def no_slot(slots: float, busy: float) -> float:
    """Return the chance that all of many slots are taken, where `busy` are on average asked for at once.

    Source: Halfin and Whitt; 1 / (1 + b Phi(b) / phi(b)) with b = (slots - busy) / sqrt(busy).
    """
    if busy <= 0:
        return 0.0
    spare = (slots - busy) / math.sqrt(busy)
    if spare <= 0:
        return 1.0
    return 1.0 / (1.0 + spare * _NORMAL.cdf(spare) / _NORMAL.pdf(spare)) if spare < 30 else 0.0


def below(limit: float, mean: float, deviation: float) -> float:
    """Return the chance that a normal variable is at most the limit; a step where it does not vary."""
    if deviation <= 0:
        return float(mean <= limit)
    return _NORMAL.cdf((limit - mean) / deviation)


def largest(holds: Callable[[int], bool], most: int) -> int:
    """Return the largest whole number from 1 to `most` at which a falling condition holds; 0 where none does."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def smallest(holds: Callable[[int], bool], most: int, least: int = 1) -> int | None:
    """Return the smallest whole number from `least` to `most` at which a rising condition holds; None where none does.

    It is looked for in steps that double, so that one near `least` is found soon.
    """
    low, high, step = least, least, 1
    while not holds(high):
        if high >= most:
            return None
        low, high, step = high + 1, min(most, high + step), 2 * step
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
