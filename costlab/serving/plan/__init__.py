"""Planning a deployment: closed-form sizing, a search over layouts, and the simulation of every plan that is shown.

`workload` says what is offered; `sizing`, `pools` and `estimate` answer in microseconds how many workers a load needs;
`search` looks through a `space` of layouts for `candidates`; `verify` simulates them, as `running` builds them;
`pareto` keeps the front; `money` prices it; `export` writes the flags of engines; `calibrate` fits efficiencies to what
an engine's own benchmark measured.

Chapter: serving
"""
