"""Running models as a server runs them.

In one process: prefixes kept and loaded (`prefix`), prefill timed (`speed`).

In several, with prefill and decode in the same processes or apart: `engine` coordinates them and is the place to begin.
It is asked with `requests`, keeps its processes alive through `fleet`, each of which runs `worker`, and says in `pages`
who may touch which piece of the shared memory that holds keys and values. `compare` measures both layouts under one
load. The same service in numbers, without a model, is `costlab.serving`.
"""
