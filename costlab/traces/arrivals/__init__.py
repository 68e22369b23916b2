"""Load: requests that come as often, as evenly and as long as one says, or as public traces have them.

Open loop: requests come whatever becomes of those before them. The gaps between them follow a family of a mean and a
coefficient of variation (CV, standard deviation over mean): Poisson has 1, production traffic often more. A service is
a sum of clients, each with its own gaps and lengths; a daily curve speeds all of them up and slows them down. Closed
loop: each user waits for the answer before it asks again, so that a slow service is asked less.

Lengths come from tables, condensed from public traces in `catalog/workloads.toml`, or from a formula. Nothing here
shares a prefix, except the `talks` of a closed loop.

>>> import numpy as np
>>> from costlab.traces import arrivals
>>> client = arrivals.Client(4.0, arrivals.lengths_of("azure-conv"))
>>> trace = arrivals.open_loop([client], 1000, np.random.default_rng(0))
>>> [round(request.time_s, 2) for request in trace][:3]
[0.82, 1.01, 1.33]

Chapter: serving
"""

from costlab.traces.arrivals.clients import (
    GAP_FAMILIES,
    Client,
    Curve,
    GapFamily,
    clients_of,
    day_of,
    open_loop,
    weibull_shape,
)
from costlab.traces.arrivals.lengths import Bins, FixedLengths, Lengths, LengthTable, SpreadLengths, lengths_of
from costlab.traces.arrivals.users import ClosedLoop, single_calls, talks

__all__ = [
    "GAP_FAMILIES", "Bins", "Client", "ClosedLoop", "Curve", "FixedLengths", "GapFamily", "LengthTable", "Lengths",
    "SpreadLengths", "clients_of", "day_of", "lengths_of", "open_loop", "single_calls", "talks", "weibull_shape",
]  # fmt: skip
