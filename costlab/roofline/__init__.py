"""What a second of a chip yields: compute, memory and link time of a prefill and of a decode step.

One table of speeds (`rates`), the time of a step (`steps`) on a deployment (`deployments`), the compute time of a
prefill layer by layer, fast enough for a simulator (`layers`), and published days and prices recomputed (`published`).
For a simulator of serving: a step's time from running sums (`mixed`, `coefficients`, `decoding`), compiled from a
deployment (`compiled`) or measured (`measured`), and the tokens of cache that fit (`room`). Many deployments at once:
`grids`.

>>> from costlab import roofline
>>> node = roofline.deployment("deepseek-v3", "h800", 32)
>>> node.decode(batch=2048, context=4989).bound
'memory'

Chapter: roofline
"""

from costlab.roofline.compiled import speculative_cost, step_cost
from costlab.roofline.decoding import DecodeLoad
from costlab.roofline.deployments import Deployment, deployment
from costlab.roofline.grids import StepGrid, decode_grid, prefill_grid
from costlab.roofline.layers import PrefillCost, prefill_cost
from costlab.roofline.measured import (
    RatePrediction,
    StepFit,
    StepPoint,
    fit_steps,
    ideal_step,
    predict_rate,
    published_cost,
)
from costlab.roofline.mixed import StepCost
from costlab.roofline.published import DayCheck, OutputPriceCheck, check_day, check_output_price
from costlab.roofline.rates import FALLBACK, rate, seconds_per_flop_at, seconds_per_flop_on, unit_for
from costlab.roofline.room import KVRoom, kv_room
from costlab.roofline.steps import Efficiency, Piece, Step, Term, share_of_experts_touched

__all__ = [
    "FALLBACK", "DayCheck", "DecodeLoad", "Deployment", "Efficiency", "KVRoom", "OutputPriceCheck", "Piece",
    "PrefillCost", "RatePrediction", "Step", "StepCost", "StepFit", "StepGrid", "StepPoint", "Term", "check_day",
    "check_output_price", "decode_grid", "deployment", "fit_steps", "ideal_step", "kv_room", "predict_rate",
    "prefill_cost", "prefill_grid", "published_cost", "rate", "seconds_per_flop_at", "seconds_per_flop_on",
    "share_of_experts_touched", "speculative_cost", "step_cost", "unit_for",
]  # fmt: skip
