"""Planning a deployment: closed-form sizing, a search over layouts, and the simulation of every plan that is shown.

`workload` says what is offered; `sizing`, `pools` and `estimate` answer in microseconds how many `workers` a load
needs; `searching` looks through a `space` of layouts for `candidates`, and `reasons` says why others cannot serve;
`verify` simulates them, as `running` builds them; `pareto` keeps the front; `money` prices it; `export` writes the
flags of engines; `calibrate` fits efficiencies to what an engine's own benchmark measured.

The closed form alone; `plan_serving` takes the same three and simulates what it finds:

>>> from costlab.serving import Objective
>>> from costlab.serving.plan import Space, demand, search
>>> found = search(Space("llama-3.1-70b", ("h100-sxm",)), demand(4, 2048, 256), Objective(ttft_s=1, tpot_s=0.03))
>>> found.candidates[0].name
'co-located 1x4 h100-sxm TP4 workers, 512 tokens a step'

Chapter: serving
"""

from costlab.serving.plan.searching import search
from costlab.serving.plan.space import Space
from costlab.serving.plan.verify import plan_serving
from costlab.serving.plan.workload import Demand, demand, demand_of

__all__ = ["Demand", "Space", "demand", "demand_of", "plan_serving", "search"]
